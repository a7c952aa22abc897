package blocktree.store;

import blocktree.store.IntegrityNode.Entry;

/**
 * Finds what one generation of a block has and a later one, of which it is not known how it came about, has not. Walks only what differs. Used once.
 */
final class Superseded {

    /** More are not listed: they stay when the generation is collected, until {@code fsck} removes them. Bounds memory. */
    private static final int LISTED_MAX = 1 << 20;

    private final IntegrityNodes nodes;
    private final Garbage.Builder garbage;
    private int listed;

    Superseded(IntegrityNodes nodes, Garbage.Builder garbage) {
        this.nodes = nodes;
        this.garbage = garbage;
    }

    void record(Header old, Header now) throws StoreException {
        if (now.tombstone() || old.sectorSizeLog2() != now.sectorSizeLog2()) {
            garbage.all();
            return;
        }
        Payload before = Payload.of(nodes, old);
        if (before.sectorCount() > 0) {
            record(before, before.topLevel(), 0, before.top(), Payload.of(nodes, now));
        }
    }

    private void record(Payload before, int level, long index, Entry old, Payload now) throws StoreException {
        if (old.isHole() || listed >= LISTED_MAX || now.entry(level, index).equals(old)) {
            return;
        }
        listed++;
        if (level < 0) {
            garbage.sector(index, old.generation());
            return;
        }
        garbage.node(level, index, old.generation());
        byte[] node = before.node(level, index, old);
        for (int child = 0; child < node.length / IntegrityNode.ENTRY_SIZE; child++) {
            record(
                    before,
                    level - 1,
                    (index << IntegrityNode.FAN_OUT_LOG2) + child,
                    IntegrityNode.entry(node, child),
                    now);
        }
    }
}
