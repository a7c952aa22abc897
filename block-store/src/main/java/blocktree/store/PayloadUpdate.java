package blocktree.store;

import blocktree.store.IntegrityNode.Entry;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.NavigableMap;
import org.jspecify.annotations.Nullable;

/**
 * Makes the integrity tree of a new generation from that of the one before: only nodes above changed sectors are read and written.
 * What the new tree no longer has goes into the garbage record. Used once.
 */
final class PayloadUpdate {

    /** A new node, to be stored under the new generation. */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    record NewNode(int level, long index, byte[] bytes) {}

    private final Payload base;
    private final long generation;
    private final NavigableMap<Long, Sector> sectors;
    private final Ranges dropped;
    private final Garbage.@Nullable Builder garbage;
    private final List<NewNode> nodes = new ArrayList<>();
    private final List<Entry> nodeEntries = new ArrayList<>();

    /**
     * {@code sectors} are the new ones by their index; {@code dropped} become holes before the new ones are put. {@code garbage} is
     * null for the first generation.
     */
    PayloadUpdate(
            Payload base,
            long generation,
            NavigableMap<Long, Sector> sectors,
            Ranges dropped,
            Garbage.@Nullable Builder garbage) {
        this.base = base;
        this.generation = generation;
        this.sectors = sectors;
        this.dropped = dropped;
        this.garbage = garbage;
    }

    /** The entry of the new top node, for {@code sectorCount} sectors. Every sector from there on must be dropped, none put. */
    Entry build(long sectorCount) throws StoreException {
        if (garbage != null) {
            dropped.forEach((from, to) -> {
                if (from < base.sectorCount()) {
                    garbage.sectors(from, Math.min(to, base.sectorCount()));
                }
            });
        }
        if (sectorCount == 0) {
            dropSubtree(base.topLevel(), 0, base.top());
            return Entry.HOLE;
        }
        int level = IntegrityNode.depth(sectorCount) - 1;
        Entry old = base.top();
        for (int l = base.topLevel(); l > level && !old.isHole(); l--) {
            byte[] node = base.node(l, 0, old);
            superseded(l, 0, old);
            for (int child = 1; child < node.length / IntegrityNode.ENTRY_SIZE; child++) {
                dropSubtree(l - 1, child, IntegrityNode.entry(node, child));
            }
            old = IntegrityNode.entry(node, 0);
        }
        return update(level, 0, old);
    }

    /** In the order of children before parents. */
    List<NewNode> nodes() {
        return nodes;
    }

    /** The entries that name {@link #nodes}, in the same order. */
    List<Entry> nodeEntries() {
        return nodeEntries;
    }

    /** {@code old} is the node's entry in the base, or, for a node above the base's top, the base's top. */
    private Entry update(int level, long index, Entry old) throws StoreException {
        long span = IntegrityNode.sectorsBelow(level);
        long first = index * span;
        boolean above = level > base.topLevel() && index == 0 && !old.isHole();
        NavigableMap<Long, Sector> here = sectors.subMap(first, true, first + span, false);
        if (here.isEmpty() && !above) {
            if (old.isHole() || !dropped.intersects(first, first + span)) {
                return old;
            }
            if (dropped.covers(first, Math.min(first + span, base.sectorCount()))) {
                dropSubtree(level, index, old);
                return Entry.HOLE;
            }
        }
        byte[] before = old.isHole() || above ? new byte[0] : base.node(level, index, old);
        byte[] node = Arrays.copyOf(before, IntegrityNode.SIZE_MAX);
        if (level == 0) {
            updateLeaves(node, first, here);
        } else {
            for (int child = 0; child < IntegrityNode.FAN_OUT; child++) {
                Entry entry = above && child == 0 ? old : IntegrityNode.entry(node, child);
                Entry changed = update(level - 1, (index << IntegrityNode.FAN_OUT_LOG2) + child, entry);
                IntegrityNode.setEntry(node, child, changed);
            }
        }
        byte[] trimmed = IntegrityNode.trim(node);
        if (!above && Arrays.equals(trimmed, before)) {
            return old;
        }
        if (!above) {
            superseded(level, index, old);
        }
        if (trimmed.length == 0) {
            return Entry.HOLE;
        }
        Entry entry = new Entry(generation, IntegrityNode.nodeHash(level, trimmed));
        nodes.add(new NewNode(level, index, trimmed));
        nodeEntries.add(entry);
        return entry;
    }

    private void updateLeaves(byte[] node, long first, NavigableMap<Long, Sector> here) {
        for (int child = 0; child < IntegrityNode.FAN_OUT; child++) {
            if (dropped.contains(first + child)) {
                IntegrityNode.setEntry(node, child, Entry.HOLE);
            }
        }
        here.forEach((index, sector) -> {
            int child = (int) (index - first);
            Entry old = IntegrityNode.entry(node, child);
            if (garbage != null && !old.isHole()) {
                garbage.sector(index, old.generation());
            }
            IntegrityNode.setEntry(node, child, generation, sector.hash());
        });
    }

    private void superseded(int level, long index, Entry old) {
        if (garbage != null && !old.isHole()) {
            garbage.node(level, index, old.generation());
        }
    }

    /** Lists the nodes of a subtree that goes; its sectors are in a range. */
    private void dropSubtree(int level, long index, Entry entry) throws StoreException {
        if (garbage == null || entry.isHole() || level < 0) {
            return;
        }
        garbage.node(level, index, entry.generation());
        if (level > 0) {
            byte[] node = base.node(level, index, entry);
            for (int child = 0; child < node.length / IntegrityNode.ENTRY_SIZE; child++) {
                dropSubtree(level - 1, (index << IntegrityNode.FAN_OUT_LOG2) + child, IntegrityNode.entry(node, child));
            }
        }
    }
}
