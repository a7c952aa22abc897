package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystemException;
import org.jspecify.annotations.Nullable;

/**
 * A thread that takes requests from the kernel and hands them to libfuse, which calls back on the same thread. The raw request stays readable
 * meanwhile: it tells what libfuse does not pass on. Layouts are those of linux/fuse.h.
 */
abstract class RequestThread extends Thread {
    static final int OPCODE_LOOKUP = 1;
    static final int OPCODE_FORGET = 2;
    static final int OPCODE_GETATTR = 3;
    static final int OPCODE_SETATTR = 4;
    static final int OPCODE_READLINK = 5;
    static final int OPCODE_SYMLINK = 6;
    static final int OPCODE_MKNOD = 8;
    static final int OPCODE_MKDIR = 9;
    static final int OPCODE_UNLINK = 10;
    static final int OPCODE_RMDIR = 11;
    static final int OPCODE_RENAME = 12;
    static final int OPCODE_LINK = 13;
    static final int OPCODE_OPEN = 14;
    static final int OPCODE_READ = 15;
    static final int OPCODE_WRITE = 16;
    static final int OPCODE_STATFS = 17;
    static final int OPCODE_RELEASE = 18;
    static final int OPCODE_FSYNC = 20;
    static final int OPCODE_SETXATTR = 21;
    static final int OPCODE_GETXATTR = 22;
    static final int OPCODE_LISTXATTR = 23;
    static final int OPCODE_REMOVEXATTR = 24;
    static final int OPCODE_FLUSH = 25;
    static final int OPCODE_INIT = 26;
    static final int OPCODE_OPENDIR = 27;
    static final int OPCODE_READDIR = 28;
    static final int OPCODE_RELEASEDIR = 29;
    static final int OPCODE_FSYNCDIR = 30;
    static final int OPCODE_GETLK = 31;
    static final int OPCODE_SETLK = 32;
    static final int OPCODE_SETLKW = 33;
    static final int OPCODE_CREATE = 35;
    static final int OPCODE_DESTROY = 38;
    static final int OPCODE_BATCH_FORGET = 42;
    static final int OPCODE_FALLOCATE = 43;
    static final int OPCODE_READDIRPLUS = 44;
    static final int OPCODE_RENAME2 = 45;
    static final int OPCODE_SEEK = 46;
    static final int OPCODE_COPY_FILE_RANGE = 47;
    static final int OPCODE_TMPFILE = 51;
    static final int OPCODE_STATX = 52;

    static final int HEADER_SIZE_BYTES = 40;
    static final int REPLY_HEADER_SIZE_BYTES = 16;
    static final int RESULT_SIZE_BYTES_MAX = KernelStructs.STATX_SIZE_BYTES;

    final RequestLoop loop;

    /** When this thread began with the request under way, 0 while there is none; written by this thread only. */
    volatile long startedNanos;

    /** When the kernel sent that request: before, when it has waited without a thread. Written by this thread only, before {@link #startedNanos}. */
    long cameNanos;

    /** The request under way is not this thread's any more, and waits. Used by this thread only. */
    boolean left;

    volatile @Nullable Operation operation;

    /** The kernel's number of the request under way; 0 for one that has no answer. Written by this thread only, before {@link #startedNanos}. */
    volatile long unique;

    /** When the request came that was last reported as slow; used by the watch, or while it waits for nothing. */
    volatile long reportedNanos;

    /** When the request came that was last answered by the watch; used by the watch, or while it waits for nothing. */
    volatile long abandonedNanos;

    RequestThread(RequestLoop loop, String name) {
        super(null, null, name, 0, false);
        setDaemon(true);
        this.loop = loop;
    }

    /** The thread whose request is being answered; null while libfuse cleans up behind an unmount. */
    static @Nullable RequestThread current() {
        return Thread.currentThread() instanceof RequestThread thread ? thread : null;
    }

    /** Waits for a request; false when the file system is no longer mounted. Sets {@link #cameNanos} of one that has come before. */
    abstract boolean receive();

    /** Answers the request that {@link #receive} has taken. */
    abstract void process();

    /** Where a result of up to {@link #RESULT_SIZE_BYTES_MAX} is put for {@link #reply(int, int)}. */
    abstract long replyBody();

    /** Answers the request without the library: {@code errno}, or when that is 0, what {@link #replyBody} holds. */
    abstract void reply(int errno, int bodySizeBytes);

    /** Answers the request without the library with {@code body}, of any size. */
    abstract void reply(byte[] body);

    /** Answers the request that {@link #receive} has taken with an error, without looking at it. */
    abstract void refuse(int errno);

    /** The thread ends: gives back native memory. */
    abstract void free();

    /** Where the request is. */
    abstract long request();

    abstract long requestSizeBytes();

    @Override
    public final void run() {
        boolean surplus = false;
        try {
            while (!surplus && !loop.isStopping() && receive()) {
                int opcode = opcode();
                unique = MEMORY.getLong(request() + UNIQUE);
                long now = System.nanoTime() | 1; // never 0
                cameNanos = cameNanos == 0 ? now : cameNanos;
                startedNanos = now;
                loop.taken();
                try {
                    if (loop.isStalled() && isAnswered(opcode)) {
                        refuse(Errno.ETIMEDOUT);
                    } else {
                        process();
                    }
                    if (opcode == OPCODE_INIT) {
                        loop.initialised();
                    }
                } finally {
                    operation = null;
                    startedNanos = 0;
                    cameNanos = 0;
                    left = false;
                }
                surplus = loop.isSurplus();
            }
        } finally {
            free();
            loop.ended(this, !surplus);
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

    /** Place of the kind of request in its header. */
    static final int OPCODE = 4;

    /** Place of the request's number in its header, and in that of the reply. */
    static final int UNIQUE = 8;

    int opcode() {
        return MEMORY.getInt(request() + OPCODE);
    }

    /** The kernel's number of the inode. */
    long node() {
        return MEMORY.getLong(request() + 16);
    }

    Caller caller() {
        return caller(0);
    }

    /** @param umask that has not been applied yet */
    Caller caller(int umask) {
        return new Caller(MEMORY.getInt(request() + 24), MEMORY.getInt(request() + 28), umask);
    }

    long bodyLong(int offset) {
        return MEMORY.getLong(request() + HEADER_SIZE_BYTES + offset);
    }

    int bodyInt(int offset) {
        return MEMORY.getInt(request() + HEADER_SIZE_BYTES + offset);
    }

    /** Where {@code sizeBytes} of the body are. INVALID when the request ends before. */
    long body(int offset, int sizeBytes) throws FileSystemException {
        if (sizeBytes < 0 || sizeBytes > requestSizeBytes() - HEADER_SIZE_BYTES - offset) {
            throw new FileSystemException(FileSystemException.Code.INVALID, "a request shorter than it says");
        }
        return request() + HEADER_SIZE_BYTES + offset;
    }

    /** A NUL-terminated string in the body. */
    byte[] bodyString(int offset) {
        return MEMORY.getZeroTerminatedByteArray(
                request() + HEADER_SIZE_BYTES + offset, (int) (requestSizeBytes() - HEADER_SIZE_BYTES - offset));
    }

    /** INVALID when the request ends before. */
    byte[] bodyBytes(int offset, int sizeBytes) throws FileSystemException {
        long body = body(offset, sizeBytes);
        byte[] bytes = new byte[sizeBytes];
        MEMORY.getByteArray(body, bytes, 0, sizeBytes);
        return bytes;
    }
}
