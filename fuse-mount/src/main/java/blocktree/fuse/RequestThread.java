package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.fuse.PathResolver.Found;
import blocktree.tree.FileSystemException;
import org.jspecify.annotations.Nullable;

/**
 * A thread that takes requests from the kernel and hands them to libfuse, which calls back on the same thread. The raw request stays readable
 * meanwhile: it tells what libfuse does not pass on. Layouts are those of linux/fuse.h.
 */
final class RequestThread extends Thread {
    static final int OPCODE_LOOKUP = 1;
    static final int OPCODE_FORGET = 2;
    static final int OPCODE_GETATTR = 3;
    static final int OPCODE_SETATTR = 4;
    static final int OPCODE_READLINK = 5;
    static final int OPCODE_SYMLINK = 6;
    static final int OPCODE_MKNOD = 8;
    static final int OPCODE_MKDIR = 9;
    static final int OPCODE_UNLINK = 10;
    static final int OPCODE_RENAME = 12;
    static final int OPCODE_LINK = 13;
    static final int OPCODE_OPEN = 14;
    static final int OPCODE_RELEASE = 18;
    static final int OPCODE_SETXATTR = 21;
    static final int OPCODE_GETXATTR = 22;
    static final int OPCODE_LISTXATTR = 23;
    static final int OPCODE_REMOVEXATTR = 24;
    static final int OPCODE_INIT = 26;
    static final int OPCODE_OPENDIR = 27;
    static final int OPCODE_RELEASEDIR = 29;
    static final int OPCODE_DESTROY = 38;
    static final int OPCODE_BATCH_FORGET = 42;
    static final int OPCODE_SEEK = 46;

    private static final int HEADER_SIZE_BYTES = 40;
    private static final int REPLY_HEADER_SIZE_BYTES = 16;

    /** Place of the request's number in its header, and in that of the reply. */
    private static final int UNIQUE = 8;

    /** Places in the scratch memory. */
    private static final long CHANNEL_CELL = 0;

    private static final long VECTOR = 16;
    private static final long REPLY = 32;
    private static final int RESULT_SIZE_BYTES_MAX = 112;
    private static final long STAT = REPLY + REPLY_HEADER_SIZE_BYTES + RESULT_SIZE_BYTES_MAX;
    private static final long NAME = STAT + NativeStructs.STAT_SIZE_BYTES;
    private static final long SCRATCH_SIZE_BYTES = NAME + 256;

    private final RequestLoop loop;
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

    /** When the request under way began, 0 while there is none; written by this thread only. */
    volatile long startedNanos;

    volatile @Nullable Operation operation;

    /** The kernel's number of the request under way; 0 for one that has no answer. Written by this thread only, before {@link #startedNanos}. */
    volatile long unique;

    /** The start of the request that was last reported as slow; used by the watch only. */
    long reportedStartNanos;

    /** The start of the request that was last answered by the watch; used by the watch only. */
    long abandonedStartNanos;

    RequestThread(RequestLoop loop, NativeFuse.Library library, long session, long channel, String name) {
        super(null, null, name, 0, false);
        setDaemon(true);
        this.loop = loop;
        this.library = library;
        this.session = session;
        this.channel = channel;
        this.bufferSizeBytes = library.fuse_chan_bufsize(channel);
        this.buffer = MEMORY.allocateMemory(bufferSizeBytes, false);
        this.scratch = MEMORY.allocateMemory(SCRATCH_SIZE_BYTES, true);
    }

    /** The thread whose request is being answered; null while libfuse cleans up behind an unmount. */
    static @Nullable RequestThread current() {
        return Thread.currentThread() instanceof RequestThread thread ? thread : null;
    }

    @Override
    public void run() {
        boolean surplus = false;
        try {
            while (!surplus && !loop.isStopping() && receive()) {
                int opcode = opcode();
                unique = MEMORY.getLong(buffer + UNIQUE);
                startedNanos = System.nanoTime() | 1; // never 0
                loop.taken();
                try {
                    if (loop.isStalled() && isAnswered(opcode)) {
                        reply(Errno.ETIMEDOUT, 0);
                    } else if (!loop.operations().intercept(this)) {
                        severalNames = false;
                        long replies = needsAmending(opcode) ? loop.amendedReplies() : channel;
                        library.fuse_session_process(session, buffer, requestSizeBytes, replies);
                    }
                    if (opcode == OPCODE_INIT) {
                        loop.initialised();
                    }
                } finally {
                    forgetLookedUp();
                    operation = null;
                    startedNanos = 0;
                }
                surplus = loop.isSurplus();
            }
        } finally {
            MEMORY.freeMemory(buffer);
            MEMORY.freeMemory(scratch);
            loop.ended(this, !surplus);
        }
    }

    /** Waits for a request; false when the file system is no longer mounted. */
    private boolean receive() {
        while (true) {
            MEMORY.putLong(scratch + CHANNEL_CELL, channel);
            int size = library.fuse_chan_recv(scratch + CHANNEL_CELL, buffer, bufferSizeBytes);
            if (size != -Errno.EINTR) {
                requestSizeBytes = size;
                return size > 0;
            }
        }
    }

    /** Not those by which the kernel gives something up. */
    private static boolean isAnswered(int opcode) {
        return switch (opcode) {
            case OPCODE_FORGET, OPCODE_BATCH_FORGET, OPCODE_INIT, OPCODE_DESTROY, OPCODE_RELEASE, OPCODE_RELEASEDIR ->
                false;
            default -> true;
        };
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
            loop.operations().lookedUp(MEMORY.getLong(MEMORY.getLong(vectors + 16)), lookedUp);
        }
        if (error == -Errno.ENOENT && !returnsNode(opcode)) {
            if (loop.operations().answerWithoutPath(this)) {
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

    int opcode() {
        return MEMORY.getInt(buffer + 4);
    }

    /** libfuse's number of the inode: another one for each name of a file. */
    long node() {
        return MEMORY.getLong(buffer + 16);
    }

    int uid() {
        return MEMORY.getInt(buffer + 24);
    }

    int gid() {
        return MEMORY.getInt(buffer + 28);
    }

    long bodyLong(int offset) {
        return MEMORY.getLong(buffer + HEADER_SIZE_BYTES + offset);
    }

    int bodyInt(int offset) {
        return MEMORY.getInt(buffer + HEADER_SIZE_BYTES + offset);
    }

    /** A NUL-terminated string in the body. */
    byte[] bodyString(int offset) {
        return MEMORY.getZeroTerminatedByteArray(
                buffer + HEADER_SIZE_BYTES + offset, (int) (requestSizeBytes - HEADER_SIZE_BYTES - offset));
    }

    /** INVALID when the request ends before. */
    byte[] bodyBytes(int offset, int sizeBytes) throws FileSystemException {
        if (sizeBytes < 0 || sizeBytes > requestSizeBytes - HEADER_SIZE_BYTES - offset) {
            throw new FileSystemException(FileSystemException.Code.INVALID, "a request shorter than it says");
        }
        byte[] bytes = new byte[sizeBytes];
        MEMORY.getByteArray(buffer + HEADER_SIZE_BYTES + offset, bytes, 0, sizeBytes);
        return bytes;
    }

    /** 144 bytes for a stat, followed by 256 for a name. */
    long scratchStat() {
        return scratch + STAT;
    }

    long scratchName() {
        return scratch + NAME;
    }

    /** Where a result of up to {@link #RESULT_SIZE_BYTES_MAX} is put for {@link #reply}. */
    long replyBody() {
        return scratch + REPLY + REPLY_HEADER_SIZE_BYTES;
    }

    /** Answers the request without libfuse: {@code errno}, or when that is 0, what {@link #replyBody} holds. */
    void reply(int errno, int bodySizeBytes) {
        send(scratch + REPLY, errno, errno == 0 ? bodySizeBytes : 0);
    }

    /** Answers the request without libfuse with {@code body}, of any size. */
    void reply(byte[] body) {
        long reply = MEMORY.allocateMemory(REPLY_HEADER_SIZE_BYTES + (long) body.length, false);
        MEMORY.putByteArray(reply + REPLY_HEADER_SIZE_BYTES, body, 0, body.length);
        send(reply, 0, body.length);
        MEMORY.freeMemory(reply);
    }

    private void send(long reply, int errno, int bodySizeBytes) {
        send(library, channel, scratch + VECTOR, reply, unique, errno, bodySizeBytes);
    }

    /** Answers request {@code unique} with an error, from any thread. The kernel takes the first answer and ignores a later one. */
    static void refuse(NativeFuse.Library library, long channel, long unique, int errno) {
        long memory = MEMORY.allocateMemory(VECTOR + REPLY_HEADER_SIZE_BYTES, false);
        send(library, channel, memory, memory + VECTOR, unique, errno, 0);
        MEMORY.freeMemory(memory);
    }

    private static void send(
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
