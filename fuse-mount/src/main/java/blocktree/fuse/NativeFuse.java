package blocktree.fuse;

import com.kenai.jffi.CallContext;
import com.kenai.jffi.CallingConvention;
import com.kenai.jffi.Invoker;
import com.kenai.jffi.MemoryIO;
import com.kenai.jffi.Type;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import jnr.ffi.LastError;
import jnr.ffi.LibraryLoader;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;
import jnr.ffi.Struct;
import jnr.ffi.annotations.Delegate;
import org.jspecify.annotations.Nullable;
import ru.serce.jnrfuse.LibFuse;
import ru.serce.jnrfuse.struct.FuseOperations;

/**
 * libfuse 2.9 below jnr-fuse's own API: what a loop of our own needs, and callbacks that see raw addresses, since jnr-fuse turns paths into
 * Strings and loses names that are not UTF-8. Addresses and sizes are longs; an {@code int} argument of a callback arrives in the low half of
 * its long.
 */
final class NativeFuse {
    static final String LIBRARY = "libfuse.so.2";
    private static final int MNT_DETACH = 2;
    private static final int UMOUNT_NOFOLLOW = 8;
    static final MemoryIO MEMORY = MemoryIO.getInstance();

    /** Functions that jnr-fuse does not bind. */
    public interface Library extends LibFuse {
        /** Not fuse_mount and fuse_new: by name alone the loader finds the fuse_new of libfuse 2.1. */
        long fuse_setup(
                int argumentCount,
                long arguments,
                long operations,
                long operationsSize,
                long mountPointCell,
                long multithreadedCell,
                long userData);

        void fuse_destroy(long fuse);

        long fuse_get_session(long fuse);

        void fuse_remove_signal_handlers(long session);

        long fuse_session_next_chan(long session, long channel);

        long fuse_chan_bufsize(long channel);

        int fuse_chan_recv(long channelPointer, long buffer, long size);

        int fuse_chan_send(long channel, long vectors, long count);

        long fuse_chan_new(long operations, int descriptor, long bufferSize, long data);

        void fuse_chan_destroy(long channel);

        int fuse_lowlevel_notify_inval_inode(long channel, long node, long offset, long size);

        void fuse_session_process(long session, long buffer, long size, long channel);
    }

    /** From the C library. */
    public interface SystemLibrary {
        void free(long address);

        int umount2(String path, int flags);

        String strerror(int errno);
    }

    /** Callbacks by number of arguments, each as wide as a register. */
    public interface Callback2 {
        @Delegate
        int call(long a, long b);
    }

    public interface Callback3 {
        @Delegate
        int call(long a, long b, long c);
    }

    public interface Callback4 {
        @Delegate
        int call(long a, long b, long c, long d);
    }

    public interface Callback5 {
        @Delegate
        int call(long a, long b, long c, long d, long e);
    }

    public interface Callback1 {
        @Delegate
        int call(long a);
    }

    /** Places in {@code struct fuse_operations}, each a pointer wide, in the order of fuse.h. */
    enum Slot {
        GETATTR,
        READLINK,
        GETDIR,
        MKNOD,
        MKDIR,
        UNLINK,
        RMDIR,
        SYMLINK,
        RENAME,
        LINK,
        CHMOD,
        CHOWN,
        TRUNCATE,
        UTIME,
        OPEN,
        READ,
        WRITE,
        STATFS,
        FLUSH,
        RELEASE,
        FSYNC,
        SETXATTR,
        GETXATTR,
        LISTXATTR,
        REMOVEXATTR,
        OPENDIR,
        READDIR,
        RELEASEDIR,
        FSYNCDIR,
        INIT,
        DESTROY,
        ACCESS,
        CREATE,
        FTRUNCATE,
        FGETATTR,
        LOCK,
        UTIMENS,
        BMAP,
        FLAGS,
        IOCTL,
        POLL,
        WRITE_BUF,
        READ_BUF,
        FLOCK,
        FALLOCATE
    }

    /** {@code flag_nullpath_ok | flag_nopath | flag_utime_omit_ok}. */
    private static final int FLAGS = 7;

    private static final CallContext FILL_DIRECTORY = CallContext.getCallContext(
            Type.SINT32,
            new Type[] {Type.POINTER, Type.POINTER, Type.POINTER, Type.SINT64},
            CallingConvention.DEFAULT,
            false);

    private static final Invoker INVOKER = Invoker.getInstance();

    final Library library;
    private final SystemLibrary system;
    private final Runtime runtime;

    private NativeFuse(Library library, SystemLibrary system) {
        this.library = library;
        this.system = system;
        this.runtime = Runtime.getRuntime(library);
    }

    /** @throws LinkageError when the library is not there */
    static NativeFuse load() {
        return new NativeFuse(
                LibraryLoader.create(Library.class).failImmediately().load(LIBRARY), SystemLibraryHolder.LOADED);
    }

    /** Loaded once, when it is first used: each loading makes a class. */
    private static final class SystemLibraryHolder {
        static final SystemLibrary LOADED =
                LibraryLoader.create(SystemLibrary.class).failImmediately().load("libc.so.6");
    }

    void free(long address) {
        system.free(address);
    }

    /**
     * Unmounts as umount2(2) does, for who may: root and who has CAP_SYS_ADMIN.
     *
     * @return null, or why it could not be done
     */
    static @Nullable String unmount(Path mountPoint, boolean lazy) {
        SystemLibrary system = SystemLibraryHolder.LOADED;
        int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
        return system.umount2(mountPoint.toString(), flags) == 0
                ? null
                : system.strerror(LastError.getLastError(Runtime.getRuntime(system)));
    }

    /** Calls libfuse's {@code fuse_fill_dir_t} at {@code function}; not 0: no room. */
    static int fillDirectory(long function, long buffer, long name, long stat, long offset) {
        return (int) INVOKER.invokeN4(FILL_DIRECTORY, function, buffer, name, stat, offset);
    }

    /** A channel on which libfuse sends replies through {@code send(channel, vectors, count)} instead of to the kernel. */
    final class ReplyChannel implements AutoCloseable {
        private static final long OPERATIONS_SIZE_BYTES = 24;
        private static final long SEND = 8;

        private final Callback3 send;
        private final Pointer closure;
        private final Pointer operations;
        private final long address;

        ReplyChannel(Callback3 send) {
            this.send = send;
            closure = runtime.getClosureManager().getClosurePointer(Callback3.class, this.send);
            operations = runtime.getMemoryManager().allocateDirect(OPERATIONS_SIZE_BYTES, true);
            operations.putPointer(SEND, closure);
            address = library.fuse_chan_new(operations.address(), -1, 0, 0);
        }

        long address() {
            return address;
        }

        @Override
        public void close() {
            library.fuse_chan_destroy(address);
        }
    }

    /** A table of callbacks, to be kept as long as libfuse may call any of them. */
    final class Operations {
        private final FuseOperations struct = new FuseOperations(runtime);
        // The closures' native code goes when these go.
        private final List<Object> callbacks = new ArrayList<>();

        Operations() {
            struct.useMemory(runtime.getMemoryManager().allocateDirect(Struct.size(struct), true));
            memory().putInt(Slot.FLAGS.ordinal() * 8L, FLAGS);
        }

        private Pointer memory() {
            return Struct.getMemory(struct);
        }

        long address() {
            return memory().address();
        }

        long sizeBytes() {
            return Struct.size(struct);
        }

        private <T> void put(Slot slot, Class<T> type, T callback) {
            callbacks.add(callback);
            Pointer closure = runtime.getClosureManager().getClosurePointer(type, callback);
            callbacks.add(closure);
            memory().putPointer(slot.ordinal() * 8L, closure);
        }

        void put1(Slot slot, Callback1 callback) {
            put(slot, Callback1.class, callback);
        }

        void put2(Slot slot, Callback2 callback) {
            put(slot, Callback2.class, callback);
        }

        void put3(Slot slot, Callback3 callback) {
            put(slot, Callback3.class, callback);
        }

        void put4(Slot slot, Callback4 callback) {
            put(slot, Callback4.class, callback);
        }

        void put5(Slot slot, Callback5 callback) {
            put(slot, Callback5.class, callback);
        }
    }
}
