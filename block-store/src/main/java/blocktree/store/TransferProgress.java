package blocktree.store;

/**
 * How far a {@link StoreSource} or a {@link StoreTarget} is.
 *
 * @param blocks blocks that are through
 * @param blocksTotal about how many there will be; 0 while nothing is known
 * @param sizeBytes bytes that went over the channel
 * @param totalSizeBytes about how many there will be; 0 while nothing is known
 */
public record TransferProgress(long blocks, long blocksTotal, long sizeBytes, long totalSizeBytes) {}
