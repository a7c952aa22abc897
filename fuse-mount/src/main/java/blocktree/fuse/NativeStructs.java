package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.Attributes;
import blocktree.tree.FileSystem.Statistics;

/**
 * The C structures that pass between libfuse and the mount, on 64-bit Linux; jnr-fuse's own make some thirty objects for each stat. x86-64 and
 * aarch64 order {@code struct stat} differently.
 */
final class NativeStructs {
    static final int STAT_SIZE_BYTES = 144;
    static final int TIME_NOW = 0x3fffffff;
    static final int TIME_OMIT = 0x3ffffffe;

    private static final boolean AARCH64 = System.getProperty("os.arch", "").equals("aarch64");
    private static final int STAT_MODE = AARCH64 ? 16 : 24;
    private static final int STAT_LINK_COUNT = AARCH64 ? 20 : 16;
    private static final int STAT_UID = AARCH64 ? 24 : 28;
    private static final int STAT_GID = AARCH64 ? 28 : 32;
    private static final int STAT_DEVICE = AARCH64 ? 32 : 40;

    static final long NANOS_PER_SECOND = 1_000_000_000L;

    private static final long FILE_INFO_WRITE_PAGE = 16;
    private static final long FILE_INFO_BITS = 20;
    private static final long FILE_INFO_HANDLE = 24;
    private static final int KEEP_CACHE = 2;

    private NativeStructs() {}

    static void putStat(long stat, Attributes attributes) {
        MEMORY.setMemory(stat, STAT_SIZE_BYTES - (AARCH64 ? 16 : 0), (byte) 0);
        MEMORY.putLong(stat + 8, attributes.inode());
        MEMORY.putInt(stat + STAT_MODE, attributes.mode());
        if (AARCH64) {
            MEMORY.putInt(stat + STAT_LINK_COUNT, (int) attributes.linkCount());
            MEMORY.putInt(stat + 56, attributes.blockSizeBytes());
        } else {
            MEMORY.putLong(stat + STAT_LINK_COUNT, attributes.linkCount());
            MEMORY.putLong(stat + 56, attributes.blockSizeBytes());
        }
        MEMORY.putInt(stat + STAT_UID, attributes.uid());
        MEMORY.putInt(stat + STAT_GID, attributes.gid());
        MEMORY.putLong(stat + STAT_DEVICE, attributes.device());
        MEMORY.putLong(stat + 48, attributes.sizeBytes());
        MEMORY.putLong(stat + 64, KernelStructs.blocks(attributes));
        putTime(stat + 72, attributes.accessTimeNanos());
        putTime(stat + 88, attributes.modifyTimeNanos());
        putTime(stat + 104, attributes.changeTimeNanos());
    }

    /** A stat as readdir wants it. */
    static void putEntryStat(long stat, long inode, int mode) {
        MEMORY.putLong(stat + 8, inode);
        MEMORY.putInt(stat + STAT_MODE, mode);
    }

    private static void putTime(long timespec, long nanos) {
        MEMORY.putLong(timespec, Math.floorDiv(nanos, NANOS_PER_SECOND));
        MEMORY.putLong(timespec + 8, Math.floorMod(nanos, NANOS_PER_SECOND));
    }

    static long seconds(long timespec) {
        return MEMORY.getLong(timespec);
    }

    static long nanosPart(long timespec) {
        return MEMORY.getLong(timespec + 8);
    }

    /** Nanoseconds since 1970; times before 1677 and after 2262 become those bounds. */
    static long nanos(long seconds, long nanosPart) {
        if (seconds >= Long.MAX_VALUE / NANOS_PER_SECOND) {
            return Long.MAX_VALUE;
        }
        if (seconds <= Long.MIN_VALUE / NANOS_PER_SECOND) {
            return Long.MIN_VALUE;
        }
        return seconds * NANOS_PER_SECOND + nanosPart;
    }

    static void putStatistics(long statvfs, Statistics statistics, int nameSizeMax) {
        long blockSize = statistics.blockSizeBytes();
        MEMORY.setMemory(statvfs, 112, (byte) 0);
        MEMORY.putLong(statvfs, blockSize);
        MEMORY.putLong(statvfs + 8, blockSize);
        MEMORY.putLong(statvfs + 16, statistics.totalBytes() / blockSize);
        MEMORY.putLong(statvfs + 24, statistics.freeBytes() / blockSize);
        MEMORY.putLong(statvfs + 32, statistics.availableBytes() / blockSize);
        MEMORY.putLong(statvfs + 40, statistics.inodeCount());
        MEMORY.putLong(statvfs + 48, statistics.freeInodeCount());
        MEMORY.putLong(statvfs + 56, statistics.freeInodeCount());
        MEMORY.putLong(statvfs + 80, nameSizeMax);
    }

    static int openFlags(long fileInfo) {
        return MEMORY.getInt(fileInfo);
    }

    static long handle(long fileInfo) {
        return MEMORY.getLong(fileInfo + FILE_INFO_HANDLE);
    }

    static void putHandle(long fileInfo, long handle) {
        MEMORY.putLong(fileInfo + FILE_INFO_HANDLE, handle);
    }

    /** The kernel writes back a page that was changed through mmap, through any handle of the file that may write. */
    static boolean isPageWriteBack(long fileInfo) {
        return MEMORY.getInt(fileInfo + FILE_INFO_WRITE_PAGE) != 0;
    }

    static void keepCache(long fileInfo) {
        MEMORY.putInt(fileInfo + FILE_INFO_BITS, MEMORY.getInt(fileInfo + FILE_INFO_BITS) | KEEP_CACHE);
    }
}
