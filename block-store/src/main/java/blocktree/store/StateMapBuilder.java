package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.TaggedHash;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.Iterator;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksIterator;

/**
 * Makes several versions of the state map from the stored headers alone, in one pass over them: in the version of position p a block has the newest header that
 * was committed at or before p. That is so as long as the headers of these versions are kept, as those of snapshots and of the newest state are. Memory is
 * bounded by a path of the trie, whatever the size of the tree.
 */
final class StateMapBuilder implements AutoCloseable {

    /** Takes the nodes; {@code superseded} when an older version has one at the same path. */
    @FunctionalInterface
    interface NodeConsumer {
        void accept(byte[] encodedPath, long position, byte[] node, boolean superseded) throws StoreException;
    }

    /** A block and what each version has of it. */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    private record Item(byte[] id, @Nullable StateEntry[] versions) {}

    /** A subtree in one version: its entries when they fit into a bucket, else its top node. */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    private record Subtree(@Nullable List<StateEntry> entries, byte[] node, Hash hash) {

        static final Subtree EMPTY = new Subtree(List.of(), new byte[0], StateRoot.NONE);

        static Subtree of(List<StateEntry> entries) {
            return entries.isEmpty() ? EMPTY : of(entries, StateMap.bucket(entries));
        }

        static Subtree of(@Nullable List<StateEntry> entries, byte[] node) {
            return new Subtree(entries, node, Hash.of(TaggedHash.sha256().digest(node)));
        }
    }

    private final Rocks rocks;
    private final long[] positions;
    private final NodeConsumer consumer;
    private final ReadOptions readOptions =
            new ReadOptions().setTotalOrderSeek(true).setFillCache(false);
    private final RocksIterator headers;
    private final RocksIterator stored;
    private final Deque<Item> ahead = new ArrayDeque<>();

    /** {@code positions} are ascending. What the state map has of these versions already is not handed to {@code consumer}. */
    StateMapBuilder(Rocks rocks, long[] positions, NodeConsumer consumer) {
        this.rocks = rocks;
        this.positions = positions.clone();
        this.consumer = consumer;
        this.headers = rocks.db().newIterator(rocks.family(Column.HEADERS), readOptions);
        this.stored = rocks.db().newIterator(rocks.family(Column.STATE), readOptions);
    }

    /** The roots of the versions, in the order of their positions. */
    List<Hash> build() throws StoreException {
        headers.seekToFirst();
        byte[] root = new byte[Id.SIZE];
        List<Subtree> top = build(root, 0);
        write(root, 0, top, null);
        return top.stream().map(Subtree::hash).toList();
    }

    private List<Subtree> build(byte[] path, int depth) throws StoreException {
        int count = lookAhead(path, depth);
        if (count <= StateMap.BUCKET_ENTRIES_MAX) {
            List<Item> items = new ArrayList<>(count);
            for (int i = 0; i < count; i++) {
                items.add(ahead.remove());
            }
            return bucket(items);
        }
        List<List<Subtree>> children = new ArrayList<>(StateMap.FAN_OUT);
        for (int i = 0; i < StateMap.FAN_OUT; i++) {
            children.add(build(StateMap.withNibble(path, depth, i), depth + 1));
        }
        List<Subtree> made = new ArrayList<>(positions.length);
        for (int v = 0; v < positions.length; v++) {
            made.add(v > 0 && isAsBefore(children, v) ? made.get(v - 1) : join(children, v));
        }
        for (int i = 0; i < StateMap.FAN_OUT; i++) {
            write(StateMap.withNibble(path, depth, i), depth + 1, children.get(i), made);
        }
        return made;
    }

    private List<Subtree> bucket(List<Item> items) {
        List<Subtree> made = new ArrayList<>(positions.length);
        for (int v = 0; v < positions.length; v++) {
            List<StateEntry> entries = new ArrayList<>(items.size());
            boolean asBefore = v > 0;
            for (Item item : items) {
                StateEntry entry = item.versions[v];
                if (entry != null) {
                    entries.add(entry);
                }
                asBefore &= v > 0 && entry == item.versions[v - 1];
            }
            made.add(asBefore ? made.get(v - 1) : Subtree.of(entries));
        }
        return made;
    }

    private static boolean isAsBefore(List<List<Subtree>> children, int version) {
        for (List<Subtree> child : children) {
            if (child.get(version) != child.get(version - 1)) {
                return false;
            }
        }
        return true;
    }

    private static Subtree join(List<List<Subtree>> children, int version) {
        List<StateEntry> entries = new ArrayList<>();
        List<Hash> hashes = new ArrayList<>(StateMap.FAN_OUT);
        boolean fits = true;
        for (List<Subtree> child : children) {
            Subtree subtree = child.get(version);
            hashes.add(subtree.hash);
            fits &= subtree.entries != null;
            if (fits && subtree.entries != null) {
                entries.addAll(subtree.entries);
                fits = entries.size() <= StateMap.BUCKET_ENTRIES_MAX;
            }
        }
        return fits ? Subtree.of(entries) : Subtree.of(null, StateMap.inner(hashes));
    }

    /** Hands over the nodes of one path in the versions in which {@code above}, if there is something above, is an inner node. */
    private void write(byte[] path, int depth, List<Subtree> versions, @Nullable List<Subtree> above)
            throws StoreException {
        byte[] encoded = StateMap.encodePath(path, depth);
        Hash last = StateRoot.NONE;
        for (int v = 0; v < positions.length; v++) {
            Subtree subtree = versions.get(v);
            boolean isNode = above == null || above.get(v).entries == null;
            if (!isNode || subtree.hash.equals(last)) {
                continue;
            }
            byte[] older = stored(encoded, positions[v]);
            if (!Arrays.equals(older, subtree.node)) {
                consumer.accept(encoded, positions[v], subtree.node, older != null || !last.equals(StateRoot.NONE));
            }
            last = subtree.hash;
        }
    }

    /** What the state map has at a path in a version; null: nothing. */
    private byte @Nullable [] stored(byte[] encodedPath, long position) throws StoreException {
        stored.seek(StateMap.nodeKey(encodedPath, position));
        if (!stored.isValid()) {
            rocks.checkEnd(stored, Column.STATE);
            return null;
        }
        byte[] key = stored.key();
        boolean samePath = key.length == encodedPath.length + Long.BYTES && Keys.startsWith(key, encodedPath);
        return samePath ? stored.value() : null;
    }

    /** Of the blocks to come, how many are below a path; more than fit into a bucket are not counted. All are in {@link #ahead}. */
    private int lookAhead(byte[] path, int depth) throws StoreException {
        int count = 0;
        for (Iterator<Item> it = ahead.iterator(); it.hasNext() && isBelow(it.next().id, path, depth); ) {
            count++;
        }
        while (count == ahead.size() && count <= StateMap.BUCKET_ENTRIES_MAX && headers.isValid()) {
            Item item = read();
            ahead.add(item);
            count += isBelow(item.id, path, depth) ? 1 : 0;
        }
        rocks.checkEnd(headers, Column.HEADERS);
        return count;
    }

    private static boolean isBelow(byte[] id, byte[] path, int depth) {
        for (int i = 0; i < depth; i++) {
            if (StateMap.nibble(id, i) != StateMap.nibble(path, i)) {
                return false;
            }
        }
        return true;
    }

    /** The block at which the headers are, newest generation first; leaves them at the next. */
    private Item read() throws StoreException {
        byte[] id = Arrays.copyOf(headers.key(), Id.SIZE);
        @Nullable StateEntry[] versions = new StateEntry[positions.length];
        int v = positions.length - 1;
        for (; headers.isValid() && Keys.startsWith(headers.key(), id); headers.next()) {
            if (v < 0) {
                continue;
            }
            HeaderRecord record = HeaderRecord.parse(headers.value());
            StateEntry entry = new StateEntry(
                    BlockId.of(id),
                    record.header().generation(),
                    record.header().hash());
            for (; v >= 0 && record.position() <= positions[v]; v--) {
                versions[v] = entry;
            }
        }
        return new Item(id, versions);
    }

    @Override
    public void close() {
        headers.close();
        stored.close();
        readOptions.close();
    }
}
