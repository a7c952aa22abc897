package blocktree.cluster;

import blocktree.cluster.ClusterProto.LockKind;
import java.util.List;

/**
 * Locks of one kind on the bytes {@code start} to {@code end} of a file, both included.
 *
 * @param file its inode number
 * @param exclusive whether exclusive ones too, or shared ones only
 */
public record LockRange(long file, Kind kind, long start, long end, boolean exclusive) {
    static final long END = Long.MAX_VALUE;

    /** The two kinds of lock, which do not see each other. */
    public enum Kind {
        RECORD,
        FLOCK
    }

    public LockRange {
        if (start < 0 || end < start) {
            throw new IllegalArgumentException(start + " to " + end);
        }
    }

    /** All locks of one kind in a file. */
    record Space(long file, Kind kind) {}

    Space space() {
        return new Space(file, kind);
    }

    LockRange whole() {
        return new LockRange(file, kind, 0, END, true);
    }

    boolean overlaps(LockRange other) {
        return start <= other.end && other.start <= end;
    }

    /** Whether two nodes cannot have both; they are of one space. */
    boolean conflictsWith(LockRange other) {
        return (exclusive || other.exclusive) && overlaps(other);
    }

    LockRange within(long newStart, long newEnd, boolean isExclusive) {
        return new LockRange(file, kind, newStart, newEnd, isExclusive);
    }

    /** Takes this out of {@code ranges}, which are of one space and do not overlap, so far as it conflicts: where it is shared, exclusive ones become shared. */
    void takeFrom(List<LockRange> ranges) {
        for (LockRange range : List.copyOf(ranges)) {
            if (conflictsWith(range)) {
                ranges.remove(range);
                if (range.start < start) {
                    ranges.add(range.within(range.start, start - 1, range.exclusive));
                }
                if (range.end > end) {
                    ranges.add(range.within(end + 1, range.end, range.exclusive));
                }
                if (!exclusive) {
                    ranges.add(range.within(Math.max(start, range.start), Math.min(end, range.end), false));
                }
            }
        }
    }

    /** Adds this to {@code ranges}; what of it is there as exclusive stays so. */
    void addTo(List<LockRange> ranges) {
        if (exclusive) {
            takeFrom(ranges);
            ranges.add(this);
            return;
        }
        List<LockRange> there = List.copyOf(ranges);
        within(start, end, true).takeFrom(ranges);
        ranges.add(this);
        for (LockRange range : there) {
            if (range.exclusive && overlaps(range)) {
                range.within(Math.max(start, range.start), Math.min(end, range.end), true)
                        .addTo(ranges);
            }
        }
    }

    ClusterProto.LockRange toProto() {
        return ClusterProto.LockRange.newBuilder()
                .setFile(file)
                .setKind(kind == Kind.RECORD ? LockKind.RECORD : LockKind.FLOCK)
                .setStart(start)
                .setEnd(end)
                .setExclusive(exclusive)
                .build();
    }

    /** Throws IllegalArgumentException for what is none. */
    static LockRange of(ClusterProto.LockRange range) {
        Kind kind = switch (range.getKind()) {
            case RECORD -> Kind.RECORD;
            case FLOCK -> Kind.FLOCK;
            case UNRECOGNIZED -> throw new IllegalArgumentException("a kind of lock of a newer version");
        };
        return new LockRange(range.getFile(), kind, range.getStart(), range.getEnd(), range.getExclusive());
    }
}
