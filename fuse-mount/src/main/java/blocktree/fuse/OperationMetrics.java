package blocktree.fuse;

import blocktree.tree.LatencyHistogram;
import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/** Counts finished requests by kind. */
final class OperationMetrics {
    private final Map<Operation, LatencyHistogram> latencies = new EnumMap<>(Operation.class);
    private final Map<Operation, LongAdder> failures = new EnumMap<>(Operation.class);

    OperationMetrics() {
        for (Operation operation : Operation.values()) {
            latencies.put(operation, new LatencyHistogram());
            failures.put(operation, new LongAdder());
        }
    }

    @SuppressWarnings("NullAway") // each operation has both
    void finished(Operation operation, boolean failed, long durationNanos) {
        latencies.get(operation).add(durationNanos);
        if (failed) {
            failures.get(operation).increment();
        }
    }

    @SuppressWarnings("NullAway")
    Map<Operation, MountStatistics.Count> snapshot() {
        Map<Operation, MountStatistics.Count> result = new EnumMap<>(Operation.class);
        latencies.forEach((operation, latency) -> {
            MountStatistics.Count count = new MountStatistics.Count(
                    latency.snapshot(), failures.get(operation).sum());
            if (count.count() > 0) {
                result.put(operation, count);
            }
        });
        return result;
    }
}
