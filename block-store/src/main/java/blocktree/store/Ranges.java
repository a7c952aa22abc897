package blocktree.store;

import java.util.Map;
import java.util.TreeMap;

/** A set of sector indexes, kept as disjoint ranges. Not thread-safe. */
final class Ranges {

    @FunctionalInterface
    interface RangeConsumer {
        void accept(long from, long to);
    }

    /** First index of each range to the index after its last; no two touch. */
    private final TreeMap<Long, Long> ranges = new TreeMap<>();

    /** Adds {@code from} to before {@code to}. */
    void add(long from, long to) {
        if (from >= to) {
            return;
        }
        long first = from;
        long end = to;
        Map.Entry<Long, Long> before = ranges.floorEntry(from);
        if (before != null && before.getValue() >= from) {
            first = before.getKey();
            end = Math.max(end, before.getValue());
        }
        Map.Entry<Long, Long> last = ranges.floorEntry(end);
        if (last != null) {
            end = Math.max(end, last.getValue());
        }
        ranges.subMap(first, true, end, true).clear();
        ranges.put(first, end);
    }

    boolean contains(long index) {
        Map.Entry<Long, Long> range = ranges.floorEntry(index);
        return range != null && index < range.getValue();
    }

    /** Whether all from {@code from} to before {@code to} are in it; true for none. */
    boolean covers(long from, long to) {
        Map.Entry<Long, Long> range = ranges.floorEntry(from);
        return from >= to || range != null && to <= range.getValue();
    }

    boolean intersects(long from, long to) {
        Map.Entry<Long, Long> range = ranges.lowerEntry(to);
        return range != null && from < range.getValue();
    }

    void forEach(RangeConsumer consumer) {
        ranges.forEach(consumer::accept);
    }
}
