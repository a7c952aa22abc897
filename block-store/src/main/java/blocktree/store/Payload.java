package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.store.IntegrityNode.Entry;

/** The integrity tree of one generation: which version of each sector belongs to it. Immutable, thread-safe. */
final class Payload {

    private static final long NONE = -1;

    private final IntegrityNodes nodes;
    private final BlockId block;
    private final long sectorCount;
    private final Entry top;

    Payload(IntegrityNodes nodes, BlockId block, long sectorCount, Entry top) {
        this.nodes = nodes;
        this.block = block;
        this.sectorCount = sectorCount;
        this.top = top;
    }

    static Payload of(IntegrityNodes nodes, Header header) throws StoreException {
        return new Payload(nodes, header.block(), header.sectorCount(), nodes.top(header));
    }

    static Payload empty(IntegrityNodes nodes, BlockId block) {
        return new Payload(nodes, block, 0, Entry.HOLE);
    }

    long sectorCount() {
        return sectorCount;
    }

    int topLevel() {
        return IntegrityNode.depth(sectorCount) - 1;
    }

    Entry top() {
        return top;
    }

    /** The bytes of a node of this tree. */
    byte[] node(int level, long index, Entry entry) throws StoreException {
        return nodes.get(block, level, index, entry);
    }

    /** Which version of sector {@code index} belongs to this generation; a hole behind the end. */
    Entry leaf(long index) throws StoreException {
        return index < 0 || index >= sectorCount ? Entry.HOLE : entry(-1, index);
    }

    /** The entry that names node {@code index} of {@code level} (-1: a sector); a hole when the tree has none there. */
    Entry entry(int level, long index) throws StoreException {
        int at = topLevel();
        if (level > at || (index >>> IntegrityNode.FAN_OUT_LOG2 * (at - level)) != 0) {
            return Entry.HOLE;
        }
        Entry entry = top;
        for (; at > level && !entry.isHole(); at--) {
            long nodeIndex = index >>> IntegrityNode.FAN_OUT_LOG2 * (at - level);
            int child = (int) (index >>> IntegrityNode.FAN_OUT_LOG2 * (at - level - 1)) & (IntegrityNode.FAN_OUT - 1);
            entry = IntegrityNode.entry(node(at, nodeIndex, entry), child);
        }
        return entry;
    }

    /** The first sector from {@code index} on that is stored; the sector count when there is none. */
    long nextData(long index) throws StoreException {
        return next(index, true);
    }

    /** The first hole from {@code index} on; the sector count when there is none. */
    long nextHole(long index) throws StoreException {
        return next(index, false);
    }

    private long next(long index, boolean data) throws StoreException {
        if (index >= sectorCount) {
            return sectorCount;
        }
        long found = next(topLevel(), 0, top, Math.max(index, 0), data);
        return found == NONE ? sectorCount : Math.min(found, sectorCount);
    }

    private long next(int level, long nodeIndex, Entry entry, long from, boolean data) throws StoreException {
        long first = nodeIndex << IntegrityNode.FAN_OUT_LOG2 * (level + 1);
        if (entry.isHole()) {
            return data ? NONE : Math.max(from, first);
        }
        if (level < 0) {
            return data ? Math.max(from, nodeIndex) : NONE;
        }
        byte[] node = node(level, nodeIndex, entry);
        int shift = IntegrityNode.FAN_OUT_LOG2 * level;
        int child = from <= first ? 0 : (int) ((from - first) >>> shift);
        for (; child < IntegrityNode.FAN_OUT; child++) {
            long childIndex = (nodeIndex << IntegrityNode.FAN_OUT_LOG2) + child;
            long found = next(level - 1, childIndex, IntegrityNode.entry(node, child), from, data);
            if (found != NONE) {
                return found;
            }
        }
        return NONE;
    }
}
