package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import jnr.ffi.LibraryLoader;
import jnr.ffi.Pointer;
import jnr.ffi.Runtime;
import jnr.ffi.annotations.Delegate;

/**
 * The low-level API of libfuse 3. Of its structures three are used, whose layout has not changed since 3.0: {@code struct fuse_lowlevel_ops}, {@code struct fuse_args} and {@code struct
 * fuse_buf}. Arguments and results are read and written as the kernel lays them out, which linux/fuse.h promises to keep. {@link FuseCheck} tries that the running library agrees.
 */
final class NativeFuse3 {
    public interface Functions {
        long fuse_session_new(long arguments, long operations, long operationsSize, long userData);

        int fuse_session_mount(long session, long mountPoint);

        int fuse_session_fd(long session);

        int fuse_session_receive_buf(long session, long buffer);

        void fuse_session_process_buf(long session, long buffer);

        void fuse_session_destroy(long session);

        int fuse_reply_err(long request, int errno);

        void fuse_reply_none(long request);

        int fuse_reply_buf(long request, long buffer, long size);

        void fuse_req_interrupt_func(long request, long function, long data);

        int fuse_lowlevel_notify_inval_inode(long session, long node, long offset, long size);

        int fuse_lowlevel_notify_inval_entry(long session, long parent, long name, long nameSize);

        String fuse_pkgversion();
    }

    /** From the C library. */
    public interface SystemFunctions {
        void free(long address);

        int socketpair(int domain, int type, int protocol, long descriptors);

        int dup(int descriptor);

        int dup3(int oldDescriptor, int newDescriptor, int flags);

        int open(String path, int flags);

        int syncfs(int descriptor);

        int close(int descriptor);

        long read(int descriptor, long buffer, long size);

        long write(int descriptor, long buffer, long size);
    }

    /** Called for every request; what else libfuse passes is in the request itself. */
    public interface RequestCallback {
        @Delegate
        void call(long request);
    }

    /** Called when the program that waits for a request was interrupted. */
    public interface InterruptCallback {
        @Delegate
        void call(long request, long data);
    }

    static final int CLOSE_ON_EXEC = 02000000;
    private static final int AF_UNIX = 1;
    private static final int SOCK_SEQPACKET = 5;

    /** Places of {@code struct fuse_buf}. */
    static final int BUFFER_SIZE_BYTES = 40;

    private static final int BUFFER_MEMORY = 16;
    private static final int BUFFER_DESCRIPTOR = 24;

    /** Functions of {@code struct fuse_lowlevel_ops} as of 3.10, and which of them are set. */
    private static final int OPERATION_COUNT = 44;

    private static final long OPERATIONS_SET = operations(
            "init 0 destroy 0 lookup forget getattr setattr readlink mknod mkdir unlink rmdir symlink rename link open read write flush release fsync opendir readdir releasedir fsyncdir"
                    + " statfs setxattr getxattr listxattr removexattr access 0 create getlk setlk bmap 0 ioctl 0 poll 0 write_buf 0 retrieve_reply 0 forget_multi flock fallocate"
                    + " readdirplus copy_file_range lseek");

    final Functions functions;
    final SystemFunctions system;
    private final Runtime runtime;

    private NativeFuse3(Functions functions, SystemFunctions system) {
        this.functions = functions;
        this.system = system;
        this.runtime = Runtime.getRuntime(functions);
    }

    /** Loaded once, when it is first used: each loading makes classes. */
    private static final class Holder {
        static final NativeFuse3 LOADED = new NativeFuse3(
                LibraryLoader.create(Functions.class).failImmediately().load(Library.LIBFUSE3.fileName()),
                LibraryLoader.create(SystemFunctions.class).failImmediately().load("libc.so.6"));
    }

    /** @throws LinkageError when the library is not there, or lacks a function */
    static NativeFuse3 load() {
        return Holder.LOADED;
    }

    /** A bit for each function that is set; a 0 follows the name of one that is not. */
    private static long operations(String text) {
        long set = 0;
        int index = -1;
        for (String word : text.split(" ")) {
            if (word.equals("0")) {
                set &= ~(1L << index);
            } else {
                index++;
                set |= 1L << index;
            }
        }
        if (index + 1 != OPERATION_COUNT) {
            throw new AssertionError(index);
        }
        return set;
    }

    /** A pointer to native code that calls {@code callback}; to be kept as long as the library may. */
    <T> Pointer closure(Class<T> type, T callback) {
        return runtime.getClosureManager().getClosurePointer(type, callback);
    }

    /**
     * Makes a session that hands each request to {@code callback}.
     *
     * @param options for {@code -o}
     * @return 0 when the library refused, having written the reason to standard error
     */
    long newSession(String options, Pointer callback) {
        long operations = MEMORY.allocateMemory(OPERATION_COUNT * 8L, true);
        for (int i = 0; i < OPERATION_COUNT; i++) {
            if ((OPERATIONS_SET >>> i & 1) != 0) {
                MEMORY.putLong(operations + 8L * i, callback.address());
            }
        }
        long arguments = MEMORY.allocateMemory(24, true); // struct fuse_args
        try (NativeStrings strings = new NativeStrings("blocktree", "-o", options)) {
            MEMORY.putInt(arguments, strings.count());
            MEMORY.putLong(arguments + 8, strings.addresses());
            return functions.fuse_session_new(arguments, operations, OPERATION_COUNT * 8L, 0);
        } finally {
            MEMORY.freeMemory(arguments);
            MEMORY.freeMemory(operations);
        }
    }

    /**
     * Mounts a session on a directory, or puts it on a descriptor where {@code path} is {@code /dev/fd/N}.
     *
     * @return not 0 when the library refused, having written the reason to standard error
     */
    int mount(long session, String path) {
        try (NativeStrings strings = new NativeStrings(path)) {
            return functions.fuse_session_mount(session, strings.address(0));
        }
    }

    /**
     * Two sockets that are connected; each write arrives as one read.
     *
     * @throws IllegalStateException when there are no descriptors left
     */
    int[] socketPair() {
        long cells = MEMORY.allocateMemory(Long.BYTES, true);
        try {
            if (system.socketpair(AF_UNIX, SOCK_SEQPACKET | CLOSE_ON_EXEC, 0, cells) != 0) {
                throw new IllegalStateException("no pair of sockets can be had");
            }
            return new int[] {MEMORY.getInt(cells), MEMORY.getInt(cells + 4)};
        } finally {
            MEMORY.freeMemory(cells);
        }
    }

    /** A {@code struct fuse_buf} for one thread. */
    long newBuffer() {
        long buffer = MEMORY.allocateMemory(BUFFER_SIZE_BYTES, true);
        MEMORY.putInt(buffer + BUFFER_DESCRIPTOR, -1);
        return buffer;
    }

    void freeBuffer(long buffer) {
        system.free(bufferMemory(buffer));
        MEMORY.freeMemory(buffer);
    }

    /** Where the library has put the request. */
    static long bufferMemory(long buffer) {
        return MEMORY.getLong(buffer + BUFFER_MEMORY);
    }

    static void setBuffer(long buffer, long memory, long sizeBytes) {
        MEMORY.putLong(buffer, sizeBytes);
        MEMORY.putLong(buffer + BUFFER_MEMORY, memory);
    }
}
