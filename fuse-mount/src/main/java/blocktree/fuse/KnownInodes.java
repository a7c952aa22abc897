package blocktree.fuse;

import blocktree.tree.Name;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;

/**
 * The inodes that the kernel has references to, and how many. It gives a name back only when it lacks memory, and each one costs the file system memory, too: so there is a limit, above which it is asked to
 * drop those that it has not asked about for longest. Thread-safe.
 */
final class KnownInodes {
    /** A name to be dropped. */
    record Expired(long directory, Name name) {}

    private static final class Known {
        final boolean isDirectory;
        long count;
        long directory;
        Name name;
        /** Whether its turn has come before. With a directory's name the kernel drops all that is below. */
        boolean passedOver;

        Known(boolean isDirectory, long directory, Name name) {
            this.isDirectory = isDirectory;
            this.directory = directory;
            this.name = name;
        }
    }

    private static final int EXPIRED_AT_ONCE = 2;
    private static final int TRIED_AT_ONCE = 16;

    /** By inode, in the order in which they were last looked up. */
    private final Map<Long, Known> inodes = new LinkedHashMap<>(16, 0.75f, true);

    private final int countMax;

    KnownInodes(int countMax) {
        this.countMax = countMax;
    }

    /**
     * The kernel is about to be given a reference, by this name.
     *
     * @return names that it should drop
     */
    synchronized List<Expired> give(long inode, boolean isDirectory, long directory, Name name) {
        Known known = inodes.get(inode);
        if (known == null) {
            known = new Known(isDirectory, directory, name);
            inodes.put(inode, known);
        }
        known.count++;
        known.directory = directory;
        known.name = name;
        known.passedOver = false;
        return inodes.size() > countMax ? expire() : List.of();
    }

    /**
     * Those that wait longest. They stay until the kernel gives its references back, and go to the end of the queue meanwhile. More than one at a time, since it may be told of a name before it has got it, and
     * keep that one.
     */
    private List<Expired> expire() {
        List<Expired> expired = new ArrayList<>(EXPIRED_AT_ONCE);
        for (int i = 0; i < TRIED_AT_ONCE && expired.size() < EXPIRED_AT_ONCE; i++) {
            Iterator<Map.Entry<Long, Known>> eldest = inodes.entrySet().iterator();
            Map.Entry<Long, Known> entry = eldest.next();
            Long inode = entry.getKey();
            Known known = entry.getValue();
            eldest.remove();
            inodes.put(inode, known);
            if (known.isDirectory && !known.passedOver) {
                known.passedOver = true;
            } else {
                expired.add(new Expired(known.directory, known.name));
            }
        }
        return expired;
    }

    synchronized void takeBack(long inode, long count) {
        Known known = inodes.get(inode);
        if (known != null) {
            known.count -= count;
            if (known.count <= 0) {
                inodes.remove(inode);
            }
        }
    }

    synchronized boolean contains(long inode) {
        return inodes.containsKey(inode);
    }

    synchronized boolean isDirectory(long inode) {
        Known known = inodes.get(inode);
        return known != null && known.isDirectory;
    }

    /** The number of references to each inode. */
    synchronized Map<Long, Long> counts() {
        Map<Long, Long> counts = new HashMap<>();
        inodes.forEach((inode, known) -> counts.put(inode, known.count));
        return counts;
    }

    synchronized int size() {
        return inodes.size();
    }

    /** Forgets all; {@code gone} is told each inode and the number of its references. */
    synchronized void clear(BiConsumer<Long, Long> gone) {
        inodes.forEach((inode, known) -> gone.accept(inode, known.count));
        inodes.clear();
    }
}
