package blocktree.tree;

/**
 * Chooses the sector size of a file. With sectors of 4 KiB, a sequential reader or writer has half the speed that it has with 16 KiB, beyond which little is gained; a random write of 4 KiB reads, seals and writes
 * a whole sector, at a cost in proportion to its size beyond 4 KiB. So: every file starts with 4 KiB; one that is written in sequence with large requests gets 16 KiB when it reaches 1 MiB, while converting still
 * means little copying; programs that write in small requests (databases, machine images, logs) keep 4 KiB, since those tend to read and rewrite in the same pieces. A file that turns out to be used the other way
 * is converted back as long as it is small. Guarded by the inode's exclusive lock.
 */
final class SectorSizePolicy {
    static final int SMALL_LOG2 = 12;
    static final int LARGE_LOG2 = 14;

    private static final long LARGE_FROM_BYTES = 1 << 20;
    /** Largest file that is converted: bounds the work of one write. */
    private static final long CONVERTED_BYTES_MAX = 4 << 20;

    private static final int LARGE_REQUEST_BYTES = 32 << 10;
    private static final int SMALL_REQUEST_BYTES = 16 << 10;
    private static final int RANDOM_WRITES = 16;

    private long nextOffset;
    private long sequentialBytes;
    private int sequentialRequests;
    private int randomWrites;

    /** Takes note of a write and returns the sector size that the file should have. */
    int afterWrite(int sectorSizeLog2, long fileSizeBytes, long offset, int sizeBytes) {
        if (offset == nextOffset) {
            sequentialBytes += sizeBytes;
            sequentialRequests++;
            randomWrites = 0;
        } else {
            sequentialBytes = sizeBytes;
            sequentialRequests = 1;
            randomWrites = sizeBytes <= SMALL_REQUEST_BYTES ? randomWrites + 1 : 0;
        }
        nextOffset = offset + sizeBytes;
        if (fileSizeBytes > CONVERTED_BYTES_MAX) {
            return sectorSizeLog2;
        }
        boolean streaming =
                sequentialBytes >= LARGE_FROM_BYTES / 2 && sequentialBytes / sequentialRequests >= LARGE_REQUEST_BYTES;
        if (sectorSizeLog2 < LARGE_LOG2 && fileSizeBytes >= LARGE_FROM_BYTES && streaming) {
            return LARGE_LOG2;
        }
        if (sectorSizeLog2 > SMALL_LOG2 && randomWrites >= RANDOM_WRITES) {
            return SMALL_LOG2;
        }
        return sectorSizeLog2;
    }
}
