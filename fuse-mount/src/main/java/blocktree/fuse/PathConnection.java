package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.fuse.MountException.Code;
import blocktree.tree.FileSystem;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Through jnr-fuse and the path API of libfuse 2. */
final class PathConnection implements Connection {
    private static final Logger log = LoggerFactory.getLogger(PathConnection.class);
    private static final Object SETUP = new Object();
    private static final int VECTOR_SIZE_BYTES = 16;

    private final NativeFuse fuse;
    private final PathOperations operations;
    private final NativeFuse.Operations table;
    private final NativeFuse.ReplyChannel amendedReplies;

    private long nativeMountPoint;
    private long channel;
    private long session;
    private long handle;

    /** @throws LinkageError when the library is not there */
    PathConnection(FileSystem fileSystem, MountOptions options) {
        fuse = NativeFuse.load();
        operations = new PathOperations(fileSystem, options);
        table = fuse.new Operations();
        operations.bind(table);
        amendedReplies = fuse.new ReplyChannel((sender, vectors, count) -> sendAmended(vectors, count));
    }

    /** One at a time, since libfuse keeps the session of its signal handlers in a static variable. */
    @Override
    public boolean open(MountPoint mountPoint, MountOptions options) throws MountException {
        long cells = MEMORY.allocateMemory(2L * Long.BYTES, true); // for the mount point, and for "multithreaded"
        try (NativeStrings arguments = new NativeStrings(
                "blocktree",
                "-f",
                "-o",
                options.toFuseOptions(),
                mountPoint.path().toString())) {
            synchronized (SETUP) {
                handle = fuse.library.fuse_setup(
                        arguments.count(),
                        arguments.addresses(),
                        table.address(),
                        table.sizeBytes(),
                        cells,
                        cells + Long.BYTES,
                        0);
                if (handle == 0) {
                    throw failed(mountPoint, null);
                }
                session = fuse.library.fuse_get_session(handle);
                // Signals are the daemon's business.
                fuse.library.fuse_remove_signal_handlers(session);
            }
            nativeMountPoint = MEMORY.getLong(cells);
            channel = fuse.library.fuse_session_next_chan(session, 0);
            return false;
        } finally {
            MEMORY.freeMemory(cells);
        }
    }

    static MountException failed(MountPoint mountPoint, @Nullable Exception cause) {
        return new MountException(
                Code.FAILED,
                "%s could not be mounted, libfuse wrote the reason to standard error".formatted(mountPoint.path()),
                "see that it is allowed here: a container needs /dev/fuse and CAP_SYS_ADMIN, another user's directory needs write access",
                cause);
    }

    private static int sendAmended(long vectors, long count) {
        try {
            PathRequestThread thread = PathRequestThread.current();
            return thread == null ? -Errno.EIO : thread.sendAmended(vectors, count);
        } catch (Throwable t) { // native code calls this
            log.atError().setCause(t).log("callback_failed");
            return -Errno.EIO;
        }
    }

    @Override
    public RequestThread newThread(RequestLoop loop, String name) {
        return new PathRequestThread(loop, name, fuse.library, operations, session, channel, amendedReplies.address());
    }

    @Override
    public void refuse(long unique, int errno) {
        long memory = MEMORY.allocateMemory(VECTOR_SIZE_BYTES + RequestThread.REPLY_HEADER_SIZE_BYTES, false);
        PathRequestThread.send(fuse.library, channel, memory, memory + VECTOR_SIZE_BYTES, unique, errno, 0);
        MEMORY.freeMemory(memory);
    }

    /** It keeps nothing back. */
    @Override
    public void writeBack(Path mountPoint) {}

    @Override
    public MountOperations operations() {
        return operations;
    }

    @Override
    public void close() {
        amendedReplies.close();
        // Not fuse_unmount: it would detach whatever is mounted here by now.
        fuse.library.fuse_destroy(handle);
        fuse.free(nativeMountPoint);
    }
}
