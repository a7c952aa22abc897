package blocktree.testharness.history;

/**
 * How long things may take where nothing is done to the cluster.
 *
 * @param lagNanos until what is committed is seen on all nodes
 * @param commitNanos until what was changed without a sync is committed
 * @param hangNanos until a call returns
 */
public record Bounds(long lagNanos, long commitNanos, long hangNanos) {}
