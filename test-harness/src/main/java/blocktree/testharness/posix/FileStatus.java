package blocktree.testharness.posix;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** What statx(2) says. Times are nanoseconds since 1970. */
public record FileStatus(
        int mode,
        int linkCount,
        int uid,
        int gid,
        long inode,
        long device,
        long sizeBytes,
        long storedBytes,
        int specialMajor,
        int specialMinor,
        long accessTimeNanos,
        long modifyTimeNanos,
        long changeTimeNanos) {
    static final int STATX_SIZE = 256;

    public static final int TYPE_MASK = 0170000;
    public static final int FIFO = 0010000;
    public static final int CHARACTER_DEVICE = 0020000;
    public static final int DIRECTORY = 0040000;
    public static final int BLOCK_DEVICE = 0060000;
    public static final int REGULAR = 0100000;
    public static final int SYMLINK = 0120000;
    public static final int SOCKET = 0140000;

    static FileStatus decode(byte[] statx) {
        ByteBuffer b = ByteBuffer.wrap(statx).order(ByteOrder.nativeOrder());
        return new FileStatus(
                b.getShort(28) & 0xffff,
                b.getInt(16),
                b.getInt(20),
                b.getInt(24),
                b.getLong(32),
                ((long) b.getInt(136) << 32) | b.getInt(140),
                b.getLong(40),
                b.getLong(48) * 512,
                b.getInt(128),
                b.getInt(132),
                nanos(b, 64),
                nanos(b, 112),
                nanos(b, 96));
    }

    private static long nanos(ByteBuffer b, int offset) {
        return b.getLong(offset) * 1_000_000_000L + b.getInt(offset + 8);
    }

    public int type() {
        return mode & TYPE_MASK;
    }

    public boolean isDirectory() {
        return type() == DIRECTORY;
    }

    public boolean isRegular() {
        return type() == REGULAR;
    }

    public boolean isFifo() {
        return type() == FIFO;
    }

    public boolean isSymlink() {
        return type() == SYMLINK;
    }

    public boolean isDevice() {
        return type() == CHARACTER_DEVICE || type() == BLOCK_DEVICE;
    }
}
