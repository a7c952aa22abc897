package blocktree.fuse;

import blocktree.tree.FileSystem;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The inodes of the nodes that were looked up last, each with a reference that keeps it when it loses its name. Between the lookup of a name and the
 * request that follows, somebody may rename another file over it: libfuse then has no path for the node any more, and the kernel looks a name up a second
 * time only. Special files stay for as long as the kernel knows them, since it opens them without a request. An entry goes when the kernel forgets the
 * node, so that a file that is deleted gives its space back at once. Thread-safe.
 */
final class RecentNodes {
    static final int COUNT_MAX = 1024;

    private final FileSystem fileSystem;

    // Guarded by this. A node that was forgotten stays in the ring until its turn.
    private final Map<Long, Long> inodes = new HashMap<>();
    private final long[] ring = new long[COUNT_MAX];
    private int next;

    RecentNodes(FileSystem fileSystem) {
        this.fileSystem = fileSystem;
    }

    /** Takes over a reference to {@code inode}. */
    void add(long node, long inode, boolean special) {
        Long known;
        Long displaced = null;
        synchronized (this) {
            known = inodes.put(node, inode);
            if (known == null && !special) {
                displaced = inodes.remove(ring[next]);
                ring[next] = node;
                next = (next + 1) % COUNT_MAX;
            }
        }
        forget(known);
        forget(displaced);
    }

    synchronized @Nullable Long inode(long node) {
        return inodes.get(node);
    }

    void remove(long node) {
        Long inode;
        synchronized (this) {
            inode = inodes.remove(node);
        }
        forget(inode);
    }

    void clear() {
        List<Long> all;
        synchronized (this) {
            all = List.copyOf(inodes.values());
            inodes.clear();
        }
        all.forEach(this::forget);
    }

    private void forget(@Nullable Long inode) {
        if (inode != null) {
            fileSystem.forget(inode, 1);
        }
    }
}
