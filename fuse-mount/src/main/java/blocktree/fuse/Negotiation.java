package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

/**
 * What the kernel and the mount agree on when they meet. libfuse 3.14 knows fewer of the kernel's features than a mount needs (without {@code HANDLE_KILLPRIV_V2} each buffered write asks for
 * an extended attribute first), so its answer to the kernel's INIT is read and completed before the kernel gets it: meanwhile, its descriptor leads to a socket.
 */
final class Negotiation {
    static final long ASYNC_READ = 1;
    static final long POSIX_LOCKS = 1 << 1;
    static final long ATOMIC_O_TRUNC = 1 << 3;
    static final long BIG_WRITES = 1 << 5;
    static final long DONT_MASK = 1 << 6;
    static final long FLOCK_LOCKS = 1 << 10;
    static final long READDIRPLUS = 1 << 13;
    static final long READDIRPLUS_AUTO = 1 << 14;
    static final long ASYNC_DIO = 1 << 15;
    static final long WRITEBACK_CACHE = 1 << 16;
    static final long PARALLEL_DIROPS = 1 << 18;
    static final long POSIX_ACL = 1 << 20;
    static final long MAX_PAGES = 1 << 22;
    static final long CACHE_SYMLINKS = 1 << 23;
    static final long EXPLICIT_INVAL_DATA = 1 << 25;
    static final long HANDLE_KILLPRIV_V2 = 1 << 28;
    static final long SETXATTR_EXT = 1 << 29;
    static final long INIT_EXT = 1 << 30;
    static final long DIRECT_IO_ALLOW_MMAP = 1L << 36;

    /** What it takes to keep access control lists: each is of use with the others only. */
    static final long ACCESS_LISTS = POSIX_ACL | DONT_MASK | SETXATTR_EXT;

    private static final long WANTED = ASYNC_READ
            | POSIX_LOCKS
            | ATOMIC_O_TRUNC
            | BIG_WRITES
            | FLOCK_LOCKS
            | READDIRPLUS
            | READDIRPLUS_AUTO
            | ASYNC_DIO
            | PARALLEL_DIROPS
            | MAX_PAGES
            | CACHE_SYMLINKS
            | EXPLICIT_INVAL_DATA
            | HANDLE_KILLPRIV_V2
            | INIT_EXT
            | DIRECT_IO_ALLOW_MMAP;

    private static final int PAGE_SIZE_BYTES = 4096;
    private static final int WRITE_SIZE_BYTES_MAX = 1 << 20;
    private static final int MEMORY_SIZE_BYTES = 1 << 17;

    /** Requests that the kernel may have under way in the background, such as read-ahead and write-back. */
    private static final int BACKGROUND_COUNT_MAX = 64;

    /** Places of {@code struct fuse_init_in}, behind the header of the request. */
    private static final int IN_READ_AHEAD = RequestThread.HEADER_SIZE_BYTES + 8;

    private static final int IN_MINOR = RequestThread.HEADER_SIZE_BYTES + 4;
    private static final int IN_FLAGS = RequestThread.HEADER_SIZE_BYTES + 12;
    private static final int IN_FLAGS2 = RequestThread.HEADER_SIZE_BYTES + 16;

    /** Places of {@code struct fuse_init_out}, behind the header of the answer. */
    private static final int OUT_READ_AHEAD = RequestThread.REPLY_HEADER_SIZE_BYTES + 8;

    private static final int OUT_FLAGS = RequestThread.REPLY_HEADER_SIZE_BYTES + 12;
    private static final int OUT_BACKGROUND = RequestThread.REPLY_HEADER_SIZE_BYTES + 16;
    private static final int OUT_MAX_WRITE = RequestThread.REPLY_HEADER_SIZE_BYTES + 20;
    private static final int OUT_MAX_PAGES = RequestThread.REPLY_HEADER_SIZE_BYTES + 28;
    private static final int OUT_FLAGS2 = RequestThread.REPLY_HEADER_SIZE_BYTES + 32;
    private static final int OUT_SIZE_BYTES = RequestThread.REPLY_HEADER_SIZE_BYTES + 64;

    private final NativeFuse3 fuse;
    private final long session;
    private final int descriptor;
    private long agreed;

    /** @param descriptor the session's, of /dev/fuse */
    Negotiation(NativeFuse3 fuse, long session, int descriptor) {
        this.fuse = fuse;
        this.session = session;
        this.descriptor = descriptor;
    }

    /** @throws IllegalStateException when this kernel is too old */
    void run(MountOptions options) {
        long memory = MEMORY.allocateMemory(MEMORY_SIZE_BYTES, true);
        long buffer = MEMORY.allocateMemory(NativeFuse3.BUFFER_SIZE_BYTES, true);
        int device = -1;
        int[] sockets = {};
        try {
            device = require(fuse.system.dup(descriptor));
            sockets = fuse.socketPair();
            require(fuse.system.dup3(sockets[1], descriptor, NativeFuse3.CLOSE_ON_EXEC));
            int requestSize = require(fuse.system.read(device, memory, MEMORY_SIZE_BYTES));
            int minor = MEMORY.getInt(memory + IN_MINOR);
            long offered = Integer.toUnsignedLong(MEMORY.getInt(memory + IN_FLAGS));
            if ((offered & INIT_EXT) != 0) {
                offered |= Integer.toUnsignedLong(MEMORY.getInt(memory + IN_FLAGS2)) << 32;
            }
            int readAhead = MEMORY.getInt(memory + IN_READ_AHEAD);
            NativeFuse3.setBuffer(buffer, memory, requestSize);
            fuse.functions.fuse_session_process_buf(session, buffer);
            int size = require(fuse.system.read(sockets[0], memory, MEMORY_SIZE_BYTES));
            if (MEMORY.getInt(memory + 4) != 0 || size < OUT_SIZE_BYTES) {
                throw new IllegalStateException(
                        "libfuse 3 needs version 7.23 of the kernel's protocol, and this kernel has 7." + minor);
            }
            if (options.accessLists() && (offered & ACCESS_LISTS) != ACCESS_LISTS) {
                throw new IllegalStateException("access control lists need Linux 5.12 or newer");
            }
            agreed = offered
                    & (WANTED
                            | (options.writeBackCache() ? WRITEBACK_CACHE : 0)
                            | (options.accessLists() ? ACCESS_LISTS : 0));
            MEMORY.putInt(memory + OUT_FLAGS, (int) agreed);
            MEMORY.putInt(memory + OUT_FLAGS2, (int) (agreed >>> 32));
            MEMORY.putInt(memory + OUT_READ_AHEAD, readAhead);
            MEMORY.putShort(memory + OUT_BACKGROUND, (short) BACKGROUND_COUNT_MAX);
            MEMORY.putShort(memory + OUT_BACKGROUND + 2, (short) (BACKGROUND_COUNT_MAX * 3 / 4));
            if (has(MAX_PAGES)) {
                MEMORY.putInt(memory + OUT_MAX_WRITE, WRITE_SIZE_BYTES_MAX);
                MEMORY.putShort(memory + OUT_MAX_PAGES, (short) (WRITE_SIZE_BYTES_MAX / PAGE_SIZE_BYTES));
            }
            require(fuse.system.write(device, memory, size));
        } finally {
            if (device >= 0) {
                fuse.system.dup3(device, descriptor, NativeFuse3.CLOSE_ON_EXEC);
                fuse.system.close(device);
            }
            for (int socket : sockets) {
                fuse.system.close(socket);
            }
            MEMORY.freeMemory(buffer);
            MEMORY.freeMemory(memory);
        }
    }

    private static int require(long result) {
        if (result < 0) {
            throw new IllegalStateException("a system call failed");
        }
        return (int) result;
    }

    boolean has(long features) {
        return (agreed & features) == features;
    }

    @Override
    public String toString() {
        return Long.toHexString(agreed);
    }
}
