package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.fuse.PathResolver.Found;
import org.jspecify.annotations.Nullable;

/** A {@link RequestThread} on libfuse 2, which gets some of what it hands on to the path API wrong. */
final class PathRequestThread extends RequestThread {
    /** Places in the scratch memory. */
    private static final long CHANNEL_CELL = 0;

    private static final long VECTOR = 16;
    private static final long REPLY = 32;
    private static final long STAT = REPLY + REPLY_HEADER_SIZE_BYTES + RESULT_SIZE_BYTES_MAX;
    private static final long NAME = STAT + NativeStructs.STAT_SIZE_BYTES;
    private static final long SCRATCH_SIZE_BYTES = NAME + 256;

    private final PathOperations operations;
    private final long amendedReplies;
    private final NativeFuse.Library library;
    private final long channel;
    private final long session;
    private final long buffer;
    private final long bufferSizeBytes;
    private final long scratch;
    private long requestSizeBytes;

    /** Whether attributes in the reply belong to a file of several names. */
    private boolean severalNames;

    /** What a request for a name has found, until the kernel is told its node. */
    private @Nullable Found lookedUp;

    /** @param amendedReplies the channel whose replies pass {@link #sendAmended} */
    PathRequestThread(
            RequestLoop loop,
            String name,
            NativeFuse.Library library,
            PathOperations operations,
            long session,
            long channel,
            long amendedReplies) {
        super(loop, name);
        this.library = library;
        this.operations = operations;
        this.session = session;
        this.channel = channel;
        this.amendedReplies = amendedReplies;
        this.bufferSizeBytes = library.fuse_chan_bufsize(channel);
        this.buffer = MEMORY.allocateMemory(bufferSizeBytes, false);
        this.scratch = MEMORY.allocateMemory(SCRATCH_SIZE_BYTES, true);
    }

    static @Nullable PathRequestThread current() {
        return Thread.currentThread() instanceof PathRequestThread thread ? thread : null;
    }

    @Override
    long request() {
        return buffer;
    }

    @Override
    long requestSizeBytes() {
        return requestSizeBytes;
    }

    @Override
    void process() {
        try {
            if (!operations.intercept(this)) {
                severalNames = false;
                long replies = needsAmending(opcode()) ? amendedReplies : channel;
                library.fuse_session_process(session, buffer, requestSizeBytes, replies);
            }
        } finally {
            forgetLookedUp();
        }
    }

    @Override
    void refuse(int errno) {
        reply(errno, 0);
    }

    @Override
    void free() {
        MEMORY.freeMemory(buffer);
        MEMORY.freeMemory(scratch);
    }

    @Override
    boolean receive() {
        while (true) {
            MEMORY.putLong(scratch + CHANNEL_CELL, channel);
            int size = library.fuse_chan_recv(scratch + CHANNEL_CELL, buffer, bufferSizeBytes);
            if (size != -Errno.EINTR) {
                requestSizeBytes = size;
                return size > 0;
            }
        }
    }

    /** The requests that address an inode, or return one, but none of those that come with each read and write. */
    private static boolean needsAmending(int opcode) {
        return switch (opcode) {
            case OPCODE_GETATTR,
                    OPCODE_SETATTR,
                    OPCODE_READLINK,
                    OPCODE_OPEN,
                    OPCODE_SETXATTR,
                    OPCODE_GETXATTR,
                    OPCODE_LISTXATTR,
                    OPCODE_REMOVEXATTR,
                    OPCODE_OPENDIR -> true;
            default -> returnsNode(opcode);
        };
    }

    /** The requests for a name that are answered with a struct fuse_entry_out. */
    private static boolean returnsNode(int opcode) {
        return switch (opcode) {
            case OPCODE_LOOKUP, OPCODE_SYMLINK, OPCODE_MKNOD, OPCODE_MKDIR, OPCODE_LINK -> true;
            default -> false;
        };
    }

    /**
     * Corrects what the path API gets wrong in a reply, then sends it.
     *
     * <p>An inode whose name went while the kernel held it is ENOENT to libfuse: when it was looked up lately, it still answers; otherwise ESTALE makes
     * the kernel look the name up again, so that who opens a file during its replacement gets the new one. Each name of a file is another inode to the kernel: what it keeps of one would not change
     * with the others, so it must ask each time.
     */
    int sendAmended(long vectors, long count) {
        long header = MEMORY.getLong(vectors);
        int opcode = opcode();
        int error = MEMORY.getInt(header + 4);
        if (error == 0 && returnsNode(opcode) && lookedUp != null && count > 1) {
            operations.lookedUp(MEMORY.getLong(MEMORY.getLong(vectors + 16)), lookedUp);
        }
        if (error == -Errno.ENOENT && !returnsNode(opcode)) {
            if (operations.answerWithoutPath(this)) {
                return 0;
            }
            MEMORY.putInt(header + 4, -Errno.ESTALE);
        } else if (error == 0 && severalNames && count > 1) {
            long body = MEMORY.getLong(vectors + 16);
            if (returnsNode(opcode)) {
                MEMORY.putLong(body + 16, 0); // of the name: while it holds, the kernel decides by attributes it has
                MEMORY.putInt(body + 32, 0);
                MEMORY.putLong(body + 24, 0);
                MEMORY.putInt(body + 36, 0);
            } else if (opcode == OPCODE_GETATTR || opcode == OPCODE_SETATTR) { // struct fuse_attr_out
                MEMORY.putLong(body, 0);
                MEMORY.putInt(body + 8, 0);
            }
        }
        return library.fuse_chan_send(channel, vectors, count);
    }

    /** The attributes that a callback has just returned are those of a file with several names. */
    void noteSeveralNames() {
        severalNames = true;
    }

    /** The callback has found this, with a reference that stays with it until the kernel is told. */
    void noteLookedUp(Found found) {
        if (found.hasReference() && returnsNode(opcode())) {
            forgetLookedUp();
            lookedUp = found.moved();
        }
    }

    private void forgetLookedUp() {
        if (lookedUp != null) {
            lookedUp.close();
            lookedUp = null;
        }
    }

    /** Makes the kernel ask for the attributes of {@code node} before it shows them again. */
    void invalidateAttributes(long node) {
        library.fuse_lowlevel_notify_inval_inode(channel, node, -1, 0);
    }

    /** 144 bytes for a stat, followed by 256 for a name. */
    long scratchStat() {
        return scratch + STAT;
    }

    long scratchName() {
        return scratch + NAME;
    }

    @Override
    long replyBody() {
        return scratch + REPLY + REPLY_HEADER_SIZE_BYTES;
    }

    @Override
    void reply(int errno, int bodySizeBytes) {
        send(scratch + REPLY, errno, errno == 0 ? bodySizeBytes : 0);
    }

    @Override
    void reply(byte[] body) {
        long reply = MEMORY.allocateMemory(REPLY_HEADER_SIZE_BYTES + (long) body.length, false);
        MEMORY.putByteArray(reply + REPLY_HEADER_SIZE_BYTES, body, 0, body.length);
        send(reply, 0, body.length);
        MEMORY.freeMemory(reply);
    }

    private void send(long reply, int errno, int bodySizeBytes) {
        send(library, channel, scratch + VECTOR, reply, unique, errno, bodySizeBytes);
    }

    static void send(
            NativeFuse.Library library,
            long channel,
            long vector,
            long reply,
            long unique,
            int errno,
            int bodySizeBytes) {
        int size = REPLY_HEADER_SIZE_BYTES + bodySizeBytes;
        MEMORY.putInt(reply, size);
        MEMORY.putInt(reply + 4, -errno);
        MEMORY.putLong(reply + UNIQUE, unique);
        MEMORY.putLong(vector, reply);
        MEMORY.putLong(vector + 8, size);
        library.fuse_chan_send(channel, vector, 1);
    }
}
