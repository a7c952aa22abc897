package blocktree.fuse;

import java.util.Map;

/**
 * What a mount has done since it was made.
 *
 * @param operations by kind; a kind that never came is absent
 * @param pendingCount requests being answered now
 * @param oldestPendingMillis how long the oldest of them has been running, 0 when there is none
 * @param slowCount requests that ran longer than {@link MountOptions#slowAfter()}
 * @param threadCount threads that serve the mount now
 */
public record MountStatistics(
        Map<Operation, Count> operations, int pendingCount, long oldestPendingMillis, long slowCount, int threadCount) {

    /**
     * @param count requests finished
     * @param failureCount those of them that the caller saw fail, for whatever reason, "no such file" included
     * @param totalNanos time spent on all of them together
     */
    public record Count(long count, long failureCount, long totalNanos) {}
}
