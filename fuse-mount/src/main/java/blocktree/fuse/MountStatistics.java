package blocktree.fuse;

import blocktree.tree.LatencyHistogram;
import java.util.EnumMap;
import java.util.Map;

/**
 * What a mount has done since it was made.
 *
 * @param operations by kind; a kind that never came is absent
 * @param pendingCount requests that are not answered yet, those that wait for a lock left out
 * @param oldestPendingMillis how long the oldest of them has been running, 0 when there is none
 * @param slowCount requests that ran longer than {@link MountOptions#slowAfter()}
 * @param threadCount threads that serve the mount now
 * @param knownInodeCount inodes that the kernel has references to; 0 through libfuse 2, which keeps that to itself
 */
public record MountStatistics(
        Map<Operation, Count> operations,
        int pendingCount,
        long oldestPendingMillis,
        long slowCount,
        int threadCount,
        int knownInodeCount) {

    /** Of a mount that was never used. */
    public static final MountStatistics NONE = new MountStatistics(Map.of(), 0, 0, 0, 0, 0);

    /** Of both mounts together. */
    public MountStatistics plus(MountStatistics other) {
        Map<Operation, Count> all = new EnumMap<>(Operation.class);
        all.putAll(operations);
        other.operations.forEach((operation, count) -> all.merge(operation, count, Count::plus));
        return new MountStatistics(
                all,
                pendingCount + other.pendingCount,
                Math.max(oldestPendingMillis, other.oldestPendingMillis),
                slowCount + other.slowCount,
                threadCount + other.threadCount,
                knownInodeCount + other.knownInodeCount);
    }

    /** What stays true of a mount that is gone. */
    public MountStatistics afterwards() {
        return new MountStatistics(operations, 0, 0, slowCount, 0, 0);
    }

    /**
     * @param latency of each request, from when libfuse had read it to when it has the answer
     * @param failureCount requests that the caller saw fail, for whatever reason, "no such file" included
     */
    public record Count(LatencyHistogram.Snapshot latency, long failureCount) {

        public long count() {
            return latency.count();
        }

        private Count plus(Count other) {
            return new Count(latency.plus(other.latency), failureCount + other.failureCount);
        }
    }
}
