package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.store.IntegrityNode.Entry;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Reads and verifies the stored nodes of integrity trees. Keeps verified ones by their hash, so nothing kept is ever out of date; the
 * least recently used go first. Thread-safe.
 */
final class IntegrityNodes {

    private static final int OVERHEAD_BYTES = 160;

    private final Rocks rocks;
    private final Healing healing;
    private final long sizeBytesMax;
    private final Map<Hash, byte[]> nodes = new LinkedHashMap<>(16, 0.75f, true); // guarded by itself
    private long sizeBytes; // guarded by nodes

    IntegrityNodes(Rocks rocks, long sizeBytesMax) {
        this.rocks = rocks;
        this.healing = new Healing(rocks);
        this.sizeBytesMax = sizeBytesMax;
    }

    /** Asked for what is not here. */
    Healing healing() {
        return healing;
    }

    /** The node that {@code entry} names; CORRUPT when it is not stored or not that one. Not to be changed. */
    byte[] get(BlockId block, int level, long index, Entry entry) throws StoreException {
        byte[] node = cached(entry.hash());
        if (node != null) {
            return node;
        }
        try {
            node = load(block, level, index, entry.generation());
            if (!IntegrityNode.nodeHash(level, node).equals(entry.hash())) {
                throw corrupt(block, level, index, entry.generation(), "is not the one that its parent names");
            }
        } catch (StoreException e) {
            node = healing.heal(
                    new Piece(block, level, index, entry.generation()),
                    bytes -> IntegrityNode.isNode(level, bytes, entry.hash()),
                    e);
        }
        put(entry.hash(), node);
        return node;
    }

    /** The entry of the top node of a header's tree; CORRUPT when what is stored does not give the header's payload root. */
    Entry top(Header header) throws StoreException {
        if (header.sectorCount() == 0) {
            return Entry.HOLE;
        }
        int level = IntegrityNode.depth(header.sectorCount()) - 1;
        StoreException wrong = corrupt(
                header.block(), level, 0, header.payloadGeneration(), "does not give the header's payload root");
        if (header.payloadGeneration() == 0) {
            if (!isTop(header, Entry.HOLE)) {
                throw wrong;
            }
            return Entry.HOLE;
        }
        byte[] node;
        try {
            node = load(header.block(), level, 0, header.payloadGeneration());
            if (!isTop(header, topEntry(header, level, node))) {
                throw wrong;
            }
        } catch (StoreException e) {
            node = healing.heal(
                    new Piece(header.block(), level, 0, header.payloadGeneration()),
                    bytes -> IntegrityNode.isWellFormed(bytes) && isTop(header, topEntry(header, level, bytes)),
                    e);
        }
        Entry top = topEntry(header, level, node);
        put(top.hash(), node);
        return top;
    }

    private static Entry topEntry(Header header, int level, byte[] node) {
        return new Entry(header.payloadGeneration(), IntegrityNode.nodeHash(level, node));
    }

    private static boolean isTop(Header header, Entry top) {
        return header.hasPayloadRoot(IntegrityNode.payloadRoot(header.sectorCount(), header.sectorSize(), top));
    }

    private byte[] load(BlockId block, int level, long index, long generation) throws StoreException {
        byte[] node = rocks.get(Column.NODES, Keys.node(block, level, index, generation));
        if (node == null) {
            throw corrupt(block, level, index, generation, "is missing");
        }
        if (!IntegrityNode.isWellFormed(node)) {
            throw corrupt(block, level, index, generation, "is malformed");
        }
        return node;
    }

    private byte @Nullable [] cached(Hash hash) {
        synchronized (nodes) {
            return nodes.get(hash);
        }
    }

    /** Keeps a node whose hash has been computed from its bytes. */
    void put(Hash hash, byte[] node) {
        synchronized (nodes) {
            if (nodes.putIfAbsent(hash, node) != null) {
                return;
            }
            sizeBytes += node.length + OVERHEAD_BYTES;
            var eldest = nodes.values().iterator();
            while (sizeBytes > sizeBytesMax && eldest.hasNext()) {
                sizeBytes -= eldest.next().length + OVERHEAD_BYTES;
                eldest.remove();
            }
        }
    }

    private static StoreException corrupt(BlockId block, int level, long index, long generation, String what) {
        return StoreException.corrupt("integrity node " + level + "/" + index + " of block " + block + " generation "
                + generation + " " + what);
    }
}
