package blocktree.store;

/**
 * Where a cluster has put something: what a {@link ReplicatedLog} applies comes with it.
 *
 * @param term and {@code index}: the place in the order, ascending by index
 * @param timeMillis what the leader's clock said; log time is this, or that of the entry before if that is later
 */
public record Order(long term, long index, long timeMillis) {}
