package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.FileSystem;
import java.nio.file.Path;
import jnr.ffi.Pointer;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Through the low-level API of libfuse 3. */
final class InodeConnection implements Connection {
    private static final Logger log = LoggerFactory.getLogger(InodeConnection.class);

    private final NativeFuse3 fuse;
    private final InodeOperations operations;
    private final NativeFuse3.RequestCallback callback = InodeConnection::answer;
    private final Pointer closure;
    private long session;
    private int descriptor;

    /** @throws LinkageError when the library is not there, or does not fit */
    InodeConnection(FileSystem fileSystem, MountOptions options) {
        fuse = FuseCheck.requireFitting();
        operations = new InodeOperations(fuse, fileSystem, options);
        closure = fuse.closure(NativeFuse3.RequestCallback.class, callback);
    }

    /** Answers libfuse's request on a thread of the mount; throws nothing. */
    static void answer(long request) {
        InodeRequestThread thread = InodeRequestThread.current();
        try {
            if (thread != null) {
                thread.begin(request);
            }
        } catch (Throwable t) { // native code calls this
            log.atError().setCause(t).log("callback_failed");
        }
    }

    @Override
    public boolean open(MountPoint mountPoint, MountOptions options) throws MountException {
        session = fuse.newSession(options.toFuse3Options(), closure);
        if (session == 0) {
            throw PathConnection.failed(mountPoint, null);
        }
        if (fuse.mount(session, mountPoint.path().toString()) != 0) {
            fuse.functions.fuse_session_destroy(session);
            throw PathConnection.failed(mountPoint, null);
        }
        descriptor = fuse.functions.fuse_session_fd(session);
        Negotiation negotiation = new Negotiation(fuse, session, descriptor);
        try {
            negotiation.run(options);
        } catch (IllegalStateException e) {
            fuse.functions.fuse_session_destroy(session);
            var unused = mountPoint.unmount(true);
            throw new MountException(
                    MountException.Code.FAILED,
                    "%s could not be mounted: %s".formatted(mountPoint.path(), e.getMessage()),
                    "mount with --fuse-library libfuse2, and without --acl",
                    e);
        }
        operations.start(
                session, negotiation.has(Negotiation.WRITEBACK_CACHE), negotiation.has(Negotiation.ACCESS_LISTS));
        log.atDebug()
                .addKeyValue("mount_point", mountPoint.path())
                .addKeyValue("features", negotiation)
                .log("mount_negotiated");
        return true;
    }

    @Override
    public RequestThread newThread(RequestLoop loop, String name) {
        return new InodeRequestThread(loop, name, fuse, operations, session);
    }

    @Override
    public void refuse(long unique, int errno) {
        long reply = MEMORY.allocateMemory(RequestThread.REPLY_HEADER_SIZE_BYTES, false);
        MEMORY.putInt(reply, RequestThread.REPLY_HEADER_SIZE_BYTES);
        MEMORY.putInt(reply + 4, -errno);
        MEMORY.putLong(reply + RequestThread.UNIQUE, unique);
        var unused = fuse.system.write(descriptor, reply, RequestThread.REPLY_HEADER_SIZE_BYTES);
        MEMORY.freeMemory(reply);
    }

    @Override
    public void writeBack(Path mountPoint) {
        operations.cache().writeBackAll(mountPoint);
    }

    @Override
    public MountOperations operations() {
        return operations;
    }

    @Override
    public void close() {
        operations.cache().stop();
        operations.lockRequests().end(); // who waits for a lock is among those who are answered later
        operations.waiting().end();
        operations.deferredReplies().awaitNone();
        // Not fuse_session_unmount: it would detach whatever is mounted here by now.
        fuse.functions.fuse_session_destroy(session);
    }
}
