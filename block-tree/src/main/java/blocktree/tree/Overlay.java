package blocktree.tree;

import java.util.Map;
import java.util.TreeMap;

/**
 * Which sectors of the stored generation no longer count, because the file was truncated or punched since. Written under the inode's exclusive lock; while it is part of a
 * commit it does not change.
 */
final class Overlay {
    /** Sectors from here on are void. */
    private long limit = Long.MAX_VALUE;
    /** The smallest size that the file had since. */
    private long sizeBytesMin = Long.MAX_VALUE;
    /** The sector in which the last truncation cut, and whose zeroed page must go with it; -1: none. */
    private long cutIndex = -1;
    /** Ranges below {@link #limit}: first sector to first sector behind. Never adjacent. Replaced, not changed, so that readers need no lock. */
    private volatile TreeMap<Long, Long> punched = new TreeMap<>();

    boolean isEmpty() {
        return limit == Long.MAX_VALUE && punched.isEmpty();
    }

    long limit() {
        return limit;
    }

    long sizeBytesMin() {
        return sizeBytesMin;
    }

    long cutIndex() {
        return cutIndex;
    }

    Map<Long, Long> punched() {
        return punched;
    }

    boolean hides(long index) {
        if (index >= limit) {
            return true;
        }
        TreeMap<Long, Long> ranges = punched;
        if (ranges.isEmpty()) {
            return false;
        }
        Map.Entry<Long, Long> range = ranges.floorEntry(index);
        return range != null && index < range.getValue();
    }

    /** The first sector at or behind {@code index} that is not hidden; Long.MAX_VALUE when all are. */
    long nextShown(long index) {
        if (index >= limit) {
            return Long.MAX_VALUE;
        }
        Map.Entry<Long, Long> range = punched.floorEntry(index);
        long shown = range != null && index < range.getValue() ? range.getValue() : index;
        return shown >= limit ? Long.MAX_VALUE : shown;
    }

    /** The first sector behind {@code index} that is hidden; Long.MAX_VALUE when none is. */
    long nextHidden(long index) {
        Map.Entry<Long, Long> range = punched.ceilingEntry(index);
        return range == null ? limit : Math.min(limit, range.getKey());
    }

    void truncate(long sectorCount, long sizeBytes, long cut) {
        limit = Math.min(limit, sectorCount);
        sizeBytesMin = Math.min(sizeBytesMin, sizeBytes);
        cutIndex = cut;
        TreeMap<Long, Long> kept = new TreeMap<>(punched.headMap(limit));
        Map.Entry<Long, Long> last = kept.lastEntry();
        if (last != null && last.getValue() > limit) {
            kept.put(last.getKey(), limit);
        }
        punched = kept;
    }

    void punch(long from, long to) {
        long end = Math.min(to, limit);
        if (from >= end) {
            return;
        }
        TreeMap<Long, Long> changed = new TreeMap<>(punched);
        long start = from;
        Map.Entry<Long, Long> before = changed.floorEntry(start);
        if (before != null && before.getValue() >= start) {
            start = before.getKey();
            end = Math.max(end, before.getValue());
        }
        for (Map.Entry<Long, Long> next = changed.ceilingEntry(start);
                next != null && next.getKey() <= end;
                next = changed.ceilingEntry(start)) {
            end = Math.max(end, next.getValue());
            changed.remove(next.getKey());
        }
        changed.put(start, end);
        punched = changed;
    }

    /** Adds what {@code later} hides: after a commit of this one failed. */
    void merge(Overlay later) {
        if (later.limit < limit || later.sizeBytesMin < sizeBytesMin) {
            truncate(later.limit, later.sizeBytesMin, later.cutIndex);
        }
        later.punched.forEach(this::punch);
    }
}
