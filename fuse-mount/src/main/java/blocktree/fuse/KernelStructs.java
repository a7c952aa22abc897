package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.Attributes;
import blocktree.tree.FileSystem.Statistics;

/** Structures of linux/fuse.h that answers consist of. They are the same on every 64-bit machine. */
final class KernelStructs {
    /** {@code struct fuse_attr_out}. */
    static final int ATTRIBUTES_SIZE_BYTES = 104;

    /** {@code struct fuse_entry_out}. */
    static final int ENTRY_SIZE_BYTES = 128;

    /** {@code struct fuse_statx_out}. */
    static final int STATX_SIZE_BYTES = 288;

    /** {@code struct fuse_open_out}. */
    static final int OPEN_SIZE_BYTES = 16;

    /** {@code struct fuse_kstatfs}. */
    static final int STATISTICS_SIZE_BYTES = 80;

    static final int FOPEN_DIRECT_IO = 1;
    static final int FOPEN_KEEP_CACHE = 1 << 1;

    private static final int ATTR_SIZE_BYTES = 88;

    /** STATX_BASIC_STATS and STATX_BTIME. */
    private static final int STATX_MASK = 0xfff;

    private static final int DIRENT_HEADER_SIZE_BYTES = 24;
    private static final int ALIGNMENT = 8;
    private static final int STAT_BLOCK_SIZE_BYTES = 512;

    private KernelStructs() {}

    /** @param validNanos how long the kernel may use them without asking */
    static void putAttributes(long out, Attributes attributes, long validNanos) {
        MEMORY.putLong(out, validNanos / NativeStructs.NANOS_PER_SECOND);
        MEMORY.putInt(out + 8, (int) (validNanos % NativeStructs.NANOS_PER_SECOND));
        MEMORY.putInt(out + 12, 0);
        putAttr(out + 16, attributes);
    }

    /** Attributes with the time of birth. The kernel knows the number of a device already, and of what file system it is. */
    static void putStatx(long out, Attributes attributes, long validNanos) {
        MEMORY.setMemory(out, STATX_SIZE_BYTES, (byte) 0);
        MEMORY.putLong(out, validNanos / NativeStructs.NANOS_PER_SECOND);
        MEMORY.putInt(out + 8, (int) (validNanos % NativeStructs.NANOS_PER_SECOND));
        long statx = out + 32;
        MEMORY.putInt(statx, STATX_MASK);
        MEMORY.putInt(statx + 4, attributes.blockSizeBytes());
        MEMORY.putInt(statx + 16, (int) attributes.linkCount());
        MEMORY.putInt(statx + 20, attributes.uid());
        MEMORY.putInt(statx + 24, attributes.gid());
        MEMORY.putShort(statx + 28, (short) attributes.mode());
        MEMORY.putLong(statx + 32, attributes.inode());
        MEMORY.putLong(statx + 40, attributes.sizeBytes());
        MEMORY.putLong(statx + 48, blocks(attributes));
        putStatxTime(statx + 64, attributes.accessTimeNanos());
        putStatxTime(statx + 80, attributes.birthTimeNanos());
        putStatxTime(statx + 96, attributes.changeTimeNanos());
        putStatxTime(statx + 112, attributes.modifyTimeNanos());
    }

    private static void putStatxTime(long time, long nanos) {
        MEMORY.putLong(time, Math.floorDiv(nanos, NativeStructs.NANOS_PER_SECOND));
        MEMORY.putInt(time + 8, (int) Math.floorMod(nanos, NativeStructs.NANOS_PER_SECOND));
    }

    static void putEntry(long out, Attributes attributes, long entryValidNanos, long attributesValidNanos) {
        MEMORY.putLong(out, attributes.inode());
        putValidity(out, entryValidNanos, attributesValidNanos);
        putAttr(out + 40, attributes);
    }

    /** An answer to a lookup that says, for {@code validNanos}, that there is no such name. */
    static void putNoEntry(long out, long validNanos) {
        MEMORY.setMemory(out, ENTRY_SIZE_BYTES, (byte) 0);
        putValidity(out, validNanos, 0);
    }

    private static void putValidity(long out, long entryValidNanos, long attributesValidNanos) {
        MEMORY.putLong(out + 8, 0); // generation: inode numbers are not used again
        MEMORY.putLong(out + 16, entryValidNanos / NativeStructs.NANOS_PER_SECOND);
        MEMORY.putLong(out + 24, attributesValidNanos / NativeStructs.NANOS_PER_SECOND);
        MEMORY.putInt(out + 32, (int) (entryValidNanos % NativeStructs.NANOS_PER_SECOND));
        MEMORY.putInt(out + 36, (int) (attributesValidNanos % NativeStructs.NANOS_PER_SECOND));
    }

    private static void putAttr(long attr, Attributes attributes) {
        MEMORY.setMemory(attr, ATTR_SIZE_BYTES, (byte) 0);
        MEMORY.putLong(attr, attributes.inode());
        MEMORY.putLong(attr + 8, attributes.sizeBytes());
        MEMORY.putLong(attr + 16, blocks(attributes));
        putTime(attr, 0, attributes.accessTimeNanos());
        putTime(attr, 1, attributes.modifyTimeNanos());
        putTime(attr, 2, attributes.changeTimeNanos());
        MEMORY.putInt(attr + 60, attributes.mode());
        MEMORY.putInt(attr + 64, (int) attributes.linkCount());
        MEMORY.putInt(attr + 68, attributes.uid());
        MEMORY.putInt(attr + 72, attributes.gid());
        MEMORY.putInt(attr + 76, (int) attributes.device());
        MEMORY.putInt(attr + 80, attributes.blockSizeBytes());
    }

    /** What stat(2) counts: 512 bytes each. */
    static long blocks(Attributes attributes) {
        return (attributes.storedBytes() + STAT_BLOCK_SIZE_BYTES - 1) / STAT_BLOCK_SIZE_BYTES;
    }

    private static void putTime(long attr, int index, long nanos) {
        MEMORY.putLong(attr + 24 + 8L * index, Math.floorDiv(nanos, NativeStructs.NANOS_PER_SECOND));
        MEMORY.putInt(attr + 48 + 4L * index, (int) Math.floorMod(nanos, NativeStructs.NANOS_PER_SECOND));
    }

    static void putOpen(long out, long handle, int flags) {
        MEMORY.putLong(out, handle);
        MEMORY.putInt(out + 8, flags);
        MEMORY.putInt(out + 12, 0);
    }

    static void putStatistics(long out, Statistics statistics, int nameSizeMax) {
        MEMORY.setMemory(out, STATISTICS_SIZE_BYTES, (byte) 0);
        long blockSize = statistics.blockSizeBytes();
        MEMORY.putLong(out, statistics.totalBytes() / blockSize);
        MEMORY.putLong(out + 8, statistics.freeBytes() / blockSize);
        MEMORY.putLong(out + 16, statistics.availableBytes() / blockSize);
        MEMORY.putLong(out + 24, statistics.inodeCount());
        MEMORY.putLong(out + 32, statistics.freeInodeCount());
        MEMORY.putInt(out + 40, (int) blockSize);
        MEMORY.putInt(out + 44, nameSizeMax);
        MEMORY.putInt(out + 48, (int) blockSize);
    }

    /** Bytes that an entry of a listing takes, without its {@code struct fuse_entry_out}. */
    static int directoryEntrySizeBytes(int nameSizeBytes) {
        return (DIRENT_HEADER_SIZE_BYTES + nameSizeBytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    /** {@code struct fuse_dirent}. */
    static void putDirectoryEntry(long out, byte[] name, long inode, int mode, long nextCookie) {
        MEMORY.putLong(out, inode);
        MEMORY.putLong(out + 8, nextCookie);
        MEMORY.putInt(out + 16, name.length);
        MEMORY.putInt(out + 20, (mode & Attributes.TYPE_MASK) >>> 12);
        MEMORY.putByteArray(out + DIRENT_HEADER_SIZE_BYTES, name, 0, name.length);
        for (int i = DIRENT_HEADER_SIZE_BYTES + name.length; i < directoryEntrySizeBytes(name.length); i++) {
            MEMORY.putByte(out + i, (byte) 0);
        }
    }
}
