package blocktree.store;

import blocktree.store.IntegrityNode.Entry;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * What several generations of a block have beyond an earlier one, in an order that both sides of a transfer find by themselves (docs/format.md, section 6): the
 * top nodes, then depth first each node before what is below it, of a place first what the older generation wrote. A node or sector that several generations
 * have comes once. So nothing but content has to be sent, and a side that gets it knows what each piece must be.
 *
 * <p>Memory: the nodes of one path, of as many generations as differ there.
 */
abstract class PayloadWalk {

    /** A node or sector with what is known of it from above. */
    record Named(Entry entry, int sectorSize) {}

    /** A node at its place. */
    private record Top(int level, long generation) {}

    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    private record Known(Named named, byte[] bytes) {}

    private final long have;
    private final Map<Top, Known> tops = new HashMap<>();

    /** {@code have} is the generation that the receiver has, with all of its payload; 0: none. */
    PayloadWalk(long have) {
        this.have = have;
    }

    /** The top node of {@code header}'s tree, of a generation above what the receiver has. */
    abstract byte[] top(int level, Header header) throws StoreException;

    /** A node that was named above, of a generation above what the receiver has. */
    abstract byte[] node(int level, long index, Named named) throws StoreException;

    /** A sector, likewise. */
    abstract void sector(long index, Named named) throws StoreException;

    /** What {@code header}'s tree takes over at its top ({@code entry} null), or somewhere below, from what the receiver has. */
    abstract void taken(int level, long index, @Nullable Named named, Header header) throws StoreException;

    /** {@code headers} are all of one block, newest first. */
    final void run(List<Header> headers) throws StoreException {
        int highest = -1;
        for (Header header : headers) {
            if (header.sectorCount() == 0) {
                continue;
            }
            int level = IntegrityNode.depth(header.sectorCount()) - 1;
            if (header.payloadGeneration() == 0) {
                checkTop(header, Entry.HOLE);
            } else if (header.payloadGeneration() <= have) {
                taken(level, 0, null, header);
            } else {
                Top place = new Top(level, header.payloadGeneration());
                Known known = tops.get(place);
                if (known == null) {
                    byte[] bytes = top(level, header);
                    Entry entry = new Entry(header.payloadGeneration(), IntegrityNode.nodeHash(level, bytes));
                    known = new Known(new Named(entry, header.sectorSize()), bytes);
                    tops.put(place, known);
                }
                checkTop(header, known.named.entry());
                highest = Math.max(highest, level);
            }
        }
        if (highest >= 0) {
            visit(highest, 0, new TreeMap<>(), headers.get(0));
        }
    }

    private static void checkTop(Header header, Entry top) throws StoreException {
        if (!header.hasPayloadRoot(IntegrityNode.payloadRoot(header.sectorCount(), header.sectorSize(), top))) {
            throw StoreException.corrupt("the top node of block " + header.block() + " generation "
                    + header.generation() + " does not give its payload root");
        }
    }

    /** {@code named} has by its generation what is named from above; the tops of that level are added. */
    private void visit(int level, long index, TreeMap<Long, Named> named, Header header) throws StoreException {
        boolean topsBelow = false;
        if (index == 0) {
            for (Map.Entry<Top, Known> top : tops.entrySet()) {
                if (top.getKey().level == level) {
                    add(named, top.getValue().named, header);
                }
                topsBelow |= top.getKey().level < level;
            }
        }
        List<Known> nodes = new ArrayList<>(named.size());
        for (Named one : named.values()) {
            Known top = index == 0 ? tops.get(new Top(level, one.entry.generation())) : null;
            byte[] bytes = top != null ? top.bytes : node(level, index, one);
            nodes.add(new Known(one, bytes));
        }
        for (int i = 0; i < IntegrityNode.FAN_OUT; i++) {
            long child = (index << IntegrityNode.FAN_OUT_LOG2) + i;
            TreeMap<Long, Named> children = children(level, child, i, nodes, header);
            if (level == 0) {
                for (Named sector : children.values()) {
                    sector(child, sector);
                }
            } else if (!children.isEmpty() || topsBelow && child == 0) {
                visit(level - 1, child, children, header);
            }
        }
    }

    private TreeMap<Long, Named> children(int level, long index, int child, List<Known> nodes, Header header)
            throws StoreException {
        TreeMap<Long, Named> children = new TreeMap<>();
        for (Known node : nodes) {
            Entry entry = IntegrityNode.entry(node.bytes, child);
            if (entry.isHole()) {
                continue;
            }
            if (entry.generation() > node.named.entry.generation()) {
                throw StoreException.corrupt("an integrity node of block " + header.block() + " names what is newer");
            }
            Named named = new Named(entry, node.named.sectorSize);
            if (entry.generation() <= have) {
                taken(level - 1, index, named, header);
            } else {
                add(children, named, header);
            }
        }
        return children;
    }

    private static void add(TreeMap<Long, Named> all, Named one, Header header) throws StoreException {
        Named other = all.putIfAbsent(one.entry.generation(), one);
        if (other != null && !other.equals(one)) {
            throw StoreException.corrupt("two generations of block " + header.block() + " name different content");
        }
    }
}
