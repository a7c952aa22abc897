package blocktree.fuse;

import java.util.EnumMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAdder;

/** Counts finished requests by kind. */
final class OperationMetrics {
    private static final int KIND_COUNT = Operation.values().length;

    private final LongAdder[] counts = adders();
    private final LongAdder[] failures = adders();
    private final LongAdder[] nanos = adders();

    private static LongAdder[] adders() {
        LongAdder[] adders = new LongAdder[KIND_COUNT];
        for (int i = 0; i < adders.length; i++) {
            adders[i] = new LongAdder();
        }
        return adders;
    }

    void finished(Operation operation, boolean failed, long durationNanos) {
        int kind = operation.ordinal();
        counts[kind].increment();
        nanos[kind].add(durationNanos);
        if (failed) {
            failures[kind].increment();
        }
    }

    Map<Operation, MountStatistics.Count> snapshot() {
        Map<Operation, MountStatistics.Count> result = new EnumMap<>(Operation.class);
        for (Operation operation : Operation.values()) {
            int kind = operation.ordinal();
            long count = counts[kind].sum();
            if (count > 0) {
                result.put(operation, new MountStatistics.Count(count, failures[kind].sum(), nanos[kind].sum()));
            }
        }
        return result;
    }
}
