package blocktree.fuse;

import blocktree.tree.FileSystem.RenameMode;
import blocktree.tree.Name;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The names that the kernel may use without asking, by directory, and what it was told that they stand for. A name is kept as long as the kernel may use it, with some time on top: nobody says when the kernel has taken an answer.
 * There is a limit, above which it may use no further ones. Thread-safe.
 */
final class KnownNames {
    /** @param inode 0: it stands for nothing */
    record Known(Name name, long inode, long untilNanos) {
        boolean isOver(long nowNanos) {
            return untilNanos - nowNanos < 0;
        }
    }

    private static final long TAKEN_NANOS = TimeUnit.SECONDS.toNanos(10);
    private static final int SWEPT_MIN = 1024;

    private final boolean kept;
    private final int countMax;

    // Guarded by this:
    private final Map<Long, Map<Name, Known>> directories = new HashMap<>();
    private int count;
    private int sweepAt = SWEPT_MIN;

    /** @param kept false: nobody will ask for them, and the kernel may use as many as it likes */
    KnownNames(boolean kept, int countMax) {
        this.kept = kept;
        this.countMax = countMax;
    }

    /**
     * The kernel is about to be told what a name stands for.
     *
     * @param inode 0: nothing
     * @return how long it may use that: {@code validNanos}, or 0 when there is no room
     */
    long give(long directory, Name name, long inode, long validNanos) {
        return kept && validNanos != 0 ? keep(directory, name, inode, validNanos) : validNanos;
    }

    private synchronized long keep(long directory, Name name, long inode, long validNanos) {
        long now = System.nanoTime();
        if (count >= sweepAt) {
            sweep(now);
        }
        if (count >= countMax) {
            return 0; // what it was told of this name before stays known
        }
        put(directory, new Known(name, inode, now + validNanos + TAKEN_NANOS));
        return validNanos;
    }

    /** The kernel is about to be told that a rename through its own mount is done: it moves what it knows. */
    synchronized void move(long directory, Name name, long newDirectory, Name newName, RenameMode mode) {
        Known moved = take(directory, name);
        Known other = take(newDirectory, newName);
        if (moved != null) {
            put(newDirectory, new Known(newName, moved.inode, moved.untilNanos));
        }
        if (other != null && mode == RenameMode.EXCHANGE) {
            put(directory, new Known(name, other.inode, other.untilNanos));
        }
    }

    /** Those of a directory. */
    synchronized List<Known> of(long directory) {
        Map<Name, Known> names = directories.get(directory);
        return names == null ? List.of() : new ArrayList<>(names.values());
    }

    /** The kernel does not use it any more, unless it has been told something else since. */
    synchronized void remove(long directory, Known known) {
        Map<Name, Known> names = directories.get(directory);
        if (names != null && names.remove(known.name, known)) {
            removed(directory, names);
        }
    }

    synchronized int count() {
        return count;
    }

    private void put(long directory, Known known) {
        if (directories.computeIfAbsent(directory, unused -> new HashMap<>()).put(known.name, known) == null) {
            count++;
        }
    }

    private @Nullable Known take(long directory, Name name) {
        Map<Name, Known> names = directories.get(directory);
        Known known = names == null ? null : names.remove(name);
        if (names != null && known != null) {
            removed(directory, names);
        }
        return known;
    }

    private void removed(long directory, Map<Name, Known> names) {
        count--;
        if (names.isEmpty()) {
            directories.remove(directory);
        }
    }

    /** Each name costs a constant share of this: it runs when as many have come as were left the last time. */
    private void sweep(long nowNanos) {
        directories.values().removeIf(names -> {
            names.values().removeIf(known -> known.isOver(nowNanos));
            return names.isEmpty();
        });
        count = directories.values().stream().mapToInt(Map::size).sum();
        sweepAt = Math.max(SWEPT_MIN, 2 * count);
    }
}
