package blocktree.tree;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.LongAdder;
import java.util.stream.IntStream;

/** How long something took, how often. Thread-safe; noting one costs some tens of nanoseconds. */
public final class LatencyHistogram {
    /** The longest time of each bucket but the last, which has no bound; in nanoseconds. */
    public static final List<Long> UPPER_NANOS = List.of(
            10_000L,
            25_000L,
            50_000L,
            100_000L,
            250_000L,
            500_000L,
            1_000_000L,
            2_500_000L,
            5_000_000L,
            10_000_000L,
            25_000_000L,
            50_000_000L,
            100_000_000L,
            250_000_000L,
            500_000_000L,
            1_000_000_000L,
            2_500_000_000L,
            5_000_000_000L,
            10_000_000_000L);

    private static final long[] UPPER =
            UPPER_NANOS.stream().mapToLong(Long::longValue).toArray();

    private final LongAdder[] counts = new LongAdder[UPPER.length + 1];
    private final LongAdder totalNanos = new LongAdder();

    public LatencyHistogram() {
        for (int i = 0; i < counts.length; i++) {
            counts[i] = new LongAdder();
        }
    }

    public void add(long nanos) {
        int bucket = 0;
        while (bucket < UPPER.length && nanos > UPPER[bucket]) {
            bucket++;
        }
        counts[bucket].increment();
        totalNanos.add(nanos);
    }

    /** What it was at about one moment. */
    public Snapshot snapshot() {
        List<Long> now = new ArrayList<>();
        for (LongAdder count : counts) {
            now.add(count.sum());
        }
        return new Snapshot(now, totalNanos.sum());
    }

    /**
     * @param counts of each bucket of {@link #UPPER_NANOS} and of the one beyond
     * @param totalNanos of all together
     */
    public record Snapshot(List<Long> counts, long totalNanos) {
        public Snapshot {
            counts = List.copyOf(counts);
        }

        public Snapshot plus(Snapshot other) {
            return new Snapshot(
                    IntStream.range(0, counts.size())
                            .mapToObj(i -> counts.get(i) + other.counts.get(i))
                            .toList(),
                    totalNanos + other.totalNanos);
        }

        public long count() {
            return counts.stream().mapToLong(Long::longValue).sum();
        }
    }
}
