package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import org.jspecify.annotations.Nullable;

/**
 * A thread that takes requests from the kernel and hands them to libfuse, which calls back on the same thread. The raw request stays readable
 * meanwhile: it tells what libfuse does not pass on. Layouts are those of linux/fuse.h.
 */
final class RequestThread extends Thread {
    static final int OPCODE_UNLINK = 10;
    static final int OPCODE_RENAME = 12;
    static final int OPCODE_RELEASE = 18;
    static final int OPCODE_GETXATTR = 22;
    static final int OPCODE_INIT = 26;
    static final int OPCODE_SEEK = 46;

    private static final int HEADER_SIZE_BYTES = 40;
    private static final int REPLY_HEADER_SIZE_BYTES = 16;

    /** Places in the scratch memory. */
    private static final long CHANNEL_CELL = 0;

    private static final long VECTOR = 16;
    private static final long REPLY = 32;
    private static final long STAT = 64;
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

    /** When the request under way began, 0 while there is none; written by this thread only. */
    volatile long startedNanos;

    volatile @Nullable Operation operation;

    /** The start of the request that was last reported as slow; used by the watch only. */
    long reportedStartNanos;

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
            while (!surplus && receive()) {
                startedNanos = System.nanoTime() | 1; // never 0
                loop.taken();
                try {
                    int opcode = opcode();
                    if (!loop.intercept(this)) {
                        library.fuse_session_process(session, buffer, requestSizeBytes, channel);
                    }
                    if (opcode == OPCODE_INIT) {
                        loop.initialised();
                    }
                } finally {
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

    /** 144 bytes for a stat, followed by 256 for a name. */
    long scratchStat() {
        return scratch + STAT;
    }

    long scratchName() {
        return scratch + NAME;
    }

    /** Answers the request without libfuse: {@code errno} 0 with one long as the result, else the error alone. */
    void reply(int errno, long result) {
        int size = errno == 0 ? REPLY_HEADER_SIZE_BYTES + 8 : REPLY_HEADER_SIZE_BYTES;
        MEMORY.putInt(scratch + REPLY, size);
        MEMORY.putInt(scratch + REPLY + 4, -errno);
        MEMORY.putLong(scratch + REPLY + 8, MEMORY.getLong(buffer + 8));
        MEMORY.putLong(scratch + REPLY + REPLY_HEADER_SIZE_BYTES, result);
        MEMORY.putLong(scratch + VECTOR, scratch + REPLY);
        MEMORY.putLong(scratch + VECTOR + 8, size);
        library.fuse_chan_send(channel, scratch + VECTOR, 1);
    }
}
