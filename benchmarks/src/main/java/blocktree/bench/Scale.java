package blocktree.bench;

/**
 * How much work the rows do.
 *
 * @param sequentialBytes size of the file that is written and read in sequence
 * @param randomBytes size of the file that is read and written at random
 * @param randomCount 4 KiB operations at random, over all jobs
 * @param syncedCount 4 KiB writes with fsync each
 * @param fileCount small files that are created, looked at and removed
 * @param treeFileCount files of the source tree
 * @param smallDirectoryEntries of the directory beside which the large one must not cost more, and operations on either
 * @param largeDirectoryEntries files in the large one
 * @param sparseBytes size of the file that is written here and there
 * @param settles whether to wait between runs until daemons are idle and the kernel's entries have expired
 */
record Scale(
        long sequentialBytes,
        long randomBytes,
        int randomCount,
        int syncedCount,
        int fileCount,
        int treeFileCount,
        int smallDirectoryEntries,
        int largeDirectoryEntries,
        long sparseBytes,
        boolean settles) {
    private static final int MIB = 1 << 20;
    private static final long SPARSE_BYTES = 100L << 30;

    /** The sizes of the published table. */
    static Scale full() {
        return new Scale(1024L * MIB, 256L * MIB, 40_000, 5_000, 10_000, 2_000, 1_000, 1_000_000, SPARSE_BYTES, true);
    }

    /** A few seconds for all rows on all sides; its figures say only that they exist. */
    static Scale small() {
        return new Scale(8L * MIB, 4L * MIB, 400, 20, 100, 60, 50, 1_000, SPARSE_BYTES, false);
    }

    Scale withSequentialBytes(long bytes) {
        return new Scale(
                bytes,
                randomBytes,
                randomCount,
                syncedCount,
                fileCount,
                treeFileCount,
                smallDirectoryEntries,
                largeDirectoryEntries,
                sparseBytes,
                settles);
    }

    /** An upper bound of what a row keeps at a time. */
    long footprintBytes() {
        return Math.max(sequentialBytes, randomBytes);
    }
}
