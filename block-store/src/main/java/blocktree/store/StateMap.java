package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.TaggedHash;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.Snapshot;
import org.rocksdb.WriteBatch;

/**
 * The authenticated map from block id to (generation, header hash): a trie whose shape depends on its content only (docs/format.md,
 * section 4, "State map").
 *
 * <p>A node's key names its path and the checkpoint that wrote it, so every version of the map that still has its nodes can be read:
 * at each path the newest node written at or before the position of the root is the one that belongs to it. The position only tells
 * where to look. What is found counts because its hash is the one that the node above names, up to the root that the caller trusts;
 * a node that is absent, altered or of another version is {@code CORRUPT}.
 *
 * <p>Entries are never removed: deleted blocks stay as tombstones.
 *
 * <p>Thread-safe. Changes reach the map with the caller's write batch, so {@link #apply} must not run again before that is written.
 */
final class StateMap implements AutoCloseable {

    /** A prefix with more ids than this is an inner node. */
    static final int BUCKET_ENTRIES_MAX = 32;

    static final int FAN_OUT = 16;

    private static final byte BUCKET = 0x10;
    private static final byte INNER = 0x11;
    private static final int INNER_SIZE = 1 + FAN_OUT * Id.SIZE;
    private static final int ENTRY_SIZE = Id.SIZE + Long.BYTES + Id.SIZE;
    private static final int DEPTH_MAX = 2 * Id.SIZE;

    /** Takes the entries of a map in ascending order of their ids. */
    @FunctionalInterface
    interface EntryConsumer {
        void accept(StateEntry entry) throws StoreException;
    }

    /** Takes what differs between two maps, in ascending order of ids; null where a map has no entry. */
    @FunctionalInterface
    interface DifferenceConsumer {
        void accept(@Nullable StateEntry a, @Nullable StateEntry b) throws StoreException;
    }

    private final RocksDB db;
    private final ColumnFamilyHandle states;
    private final ReadOptions readOptions;
    private final NodeCache cache;

    /** {@code cacheSizeBytes} bounds the verified nodes that are kept in memory. The handles stay the caller's. */
    StateMap(RocksDB db, ColumnFamilyHandle states, long cacheSizeBytes) {
        this(db, states, cacheSizeBytes, null);
    }

    /** Reads only what a database snapshot has; the snapshot stays the caller's and must outlive the map. */
    StateMap(RocksDB db, ColumnFamilyHandle states, long cacheSizeBytes, @Nullable Snapshot snapshot) {
        this.readOptions = new ReadOptions().setTotalOrderSeek(true);
        if (snapshot != null) {
            readOptions.setSnapshot(snapshot);
        }
        this.db = db;
        this.states = states;
        this.cache = new NodeCache(cacheSizeBytes);
    }

    /** The entry of {@code id} in the version {@code root}; null when that version has none. */
    @Nullable
    StateEntry get(StateRoot root, BlockId id) throws StoreException {
        byte[] key = id.toBytes();
        try (Reader reader = new Reader(root.position())) {
            Hash hash = root.hash();
            for (int depth = 0; !hash.equals(StateRoot.NONE); depth++) {
                byte[] node = reader.node(key, depth, hash);
                if (node[0] == BUCKET) {
                    return find(node, id);
                }
                hash = child(node, nibble(key, depth));
            }
            return null;
        }
    }

    /**
     * Puts {@code changes} over the version {@code base} and gives the new version; its nodes, and the garbage record of those that it
     * supersedes, go into {@code batch}. Of several changes to one id the last one counts. {@code position} must be above that of
     * {@code base}. The cost is logarithmic in the size of the map for each change.
     */
    StateRoot apply(
            StateRoot base, long position, Collection<StateEntry> changes, WriteBatch batch, ColumnFamilyHandle garbage)
            throws StoreException {
        if (position <= base.position()) {
            throw new IllegalArgumentException("position " + position + " does not follow " + base.position());
        }
        TreeMap<BlockId, StateEntry> sorted = new TreeMap<>();
        changes.forEach(change -> sorted.put(change.id(), change));
        try (Reader reader = new Reader(base.position())) {
            Update update = new Update(reader, position, batch);
            Hash hash = update.put(new byte[Id.SIZE], 0, base.hash(), List.copyOf(sorted.values()));
            if (!update.supersededPaths.isEmpty()) {
                batch.put(garbage, Garbage.stateKey(position), Garbage.encodeStatePaths(update.supersededPaths));
            }
            return new StateRoot(position, hash);
        } catch (RocksDBException e) {
            throw new StoreException(StoreException.Code.IO, "state map cannot be written", e);
        }
    }

    /** Verifies and hands over every entry of the version {@code root}. */
    void forEach(StateRoot root, EntryConsumer consumer) throws StoreException {
        try (Reader reader = new Reader(root.position())) {
            forEach(reader, new byte[Id.SIZE], 0, root.hash(), consumer);
        }
    }

    private void forEach(Reader reader, byte[] path, int depth, Hash hash, EntryConsumer consumer)
            throws StoreException {
        if (hash.equals(StateRoot.NONE)) {
            return;
        }
        byte[] node = reader.node(path, depth, hash);
        if (node[0] == BUCKET) {
            for (StateEntry entry : entries(node)) {
                consumer.accept(entry);
            }
            return;
        }
        for (int i = 0; i < FAN_OUT; i++) {
            forEach(reader, withNibble(path, depth, i), depth + 1, child(node, i), consumer);
        }
    }

    /** Hands over the entries in which two versions differ; subtrees that are equal are not read. */
    void diff(StateRoot a, StateRoot b, DifferenceConsumer consumer) throws StoreException {
        try (Reader readerA = new Reader(a.position());
                Reader readerB = new Reader(b.position())) {
            diff(new Side(readerA, a.hash()), new Side(readerB, b.hash()), new byte[Id.SIZE], 0, consumer);
        }
    }

    private void diff(Side a, Side b, byte[] path, int depth, DifferenceConsumer consumer) throws StoreException {
        if (a.sameAs(b)) {
            return;
        }
        Node nodeA = a.node(path, depth);
        Node nodeB = b.node(path, depth);
        if (nodeA.inner == null && nodeB.inner == null) {
            TreeMap<BlockId, @Nullable StateEntry[]> merged = new TreeMap<>();
            nodeA.entries.forEach(e -> merged.computeIfAbsent(e.id(), k -> new StateEntry[2])[0] = e);
            nodeB.entries.forEach(e -> merged.computeIfAbsent(e.id(), k -> new StateEntry[2])[1] = e);
            for (@Nullable StateEntry[] pair : merged.values()) {
                if (pair[0] == null || !pair[0].equals(pair[1])) {
                    consumer.accept(pair[0], pair[1]);
                }
            }
            return;
        }
        for (int i = 0; i < FAN_OUT; i++) {
            byte[] childPath = withNibble(path, depth, i);
            diff(a.child(nodeA, i, depth), b.child(nodeB, i, depth), childPath, depth + 1, consumer);
        }
    }

    @Override
    public void close() {
        readOptions.close();
    }

    /** One subtree of a comparison: named by its hash, or the entries of a bucket that was split to match the other side. */
    private static final class Side {

        private final Reader reader;
        private final @Nullable Hash hash;
        private final List<StateEntry> entries;

        Side(Reader reader, Hash hash) {
            this(reader, hash, List.of());
        }

        private Side(Reader reader, @Nullable Hash hash, List<StateEntry> entries) {
            this.reader = reader;
            this.hash = hash;
            this.entries = entries;
        }

        boolean sameAs(Side other) {
            return hash != null && other.hash != null && hash.equals(other.hash);
        }

        Node node(byte[] path, int depth) throws StoreException {
            if (hash == null || hash.equals(StateRoot.NONE)) {
                return new Node(null, entries);
            }
            byte[] node = reader.node(path, depth, hash);
            return node[0] == INNER ? new Node(node, List.of()) : new Node(null, StateMap.entries(node));
        }

        Side child(Node node, int index, int depth) {
            if (node.inner != null) {
                return new Side(reader, StateMap.child(node.inner, index));
            }
            return new Side(
                    reader,
                    null,
                    node.entries.stream()
                            .filter(e -> nibble(e.id().toBytes(), depth) == index)
                            .toList());
        }
    }

    /** An inner node's bytes, or the entries of a bucket. */
    private record Node(byte @Nullable [] inner, List<StateEntry> entries) {}

    /** Builds the nodes of a new version bottom-up. */
    private final class Update {

        private final Reader reader;
        private final long position;
        private final WriteBatch batch;
        private final List<byte[]> supersededPaths = new ArrayList<>();

        Update(Reader reader, long position, WriteBatch batch) {
            this.reader = reader;
            this.position = position;
            this.batch = batch;
        }

        /** {@code changes} are sorted, distinct, and all below {@code path}. */
        Hash put(byte[] path, int depth, Hash hash, List<StateEntry> changes) throws StoreException, RocksDBException {
            if (changes.isEmpty()) {
                return hash;
            }
            if (hash.equals(StateRoot.NONE)) {
                return build(path, depth, changes);
            }
            byte[] node = reader.node(path, depth, hash);
            Hash changed;
            if (node[0] == BUCKET) {
                TreeMap<BlockId, StateEntry> merged = new TreeMap<>();
                entries(node).forEach(e -> merged.put(e.id(), e));
                changes.forEach(e -> merged.put(e.id(), e));
                List<StateEntry> entries = List.copyOf(merged.values());
                if (entries.equals(entries(node))) {
                    return hash;
                }
                changed = build(path, depth, entries);
            } else {
                byte[] copy = node.clone();
                for (Part part : parts(changes, depth)) {
                    Hash child = put(
                            withNibble(path, depth, part.nibble), depth + 1, child(node, part.nibble), part.entries);
                    child.writeTo(copy, 1 + part.nibble * Id.SIZE);
                }
                if (Arrays.equals(copy, node)) {
                    return hash;
                }
                changed = write(path, depth, copy);
            }
            supersededPaths.add(encodePath(path, depth));
            return changed;
        }

        private Hash build(byte[] path, int depth, List<StateEntry> entries) throws RocksDBException {
            if (entries.size() <= BUCKET_ENTRIES_MAX) {
                return write(path, depth, bucket(entries));
            }
            byte[] node = new byte[INNER_SIZE];
            node[0] = INNER;
            for (Part part : parts(entries, depth)) {
                build(withNibble(path, depth, part.nibble), depth + 1, part.entries)
                        .writeTo(node, 1 + part.nibble * Id.SIZE);
            }
            return write(path, depth, node);
        }

        private Hash write(byte[] path, int depth, byte[] node) throws RocksDBException {
            batch.put(states, nodeKey(encodePath(path, depth), position), node);
            return hash(node);
        }
    }

    /** A bucket of sorted entries. */
    static byte[] bucket(List<StateEntry> entries) {
        byte[] node = new byte[1 + entries.size() * ENTRY_SIZE];
        node[0] = BUCKET;
        int at = 1;
        for (StateEntry entry : entries) {
            entry.id().writeTo(node, at);
            Keys.putU64(node, at + Id.SIZE, entry.generation());
            entry.headerHash().writeTo(node, at + Id.SIZE + Long.BYTES);
            at += ENTRY_SIZE;
        }
        return node;
    }

    /** An inner node of {@link #FAN_OUT} children; NONE for one that is absent. */
    static byte[] inner(List<Hash> children) {
        byte[] node = new byte[INNER_SIZE];
        node[0] = INNER;
        for (int i = 0; i < FAN_OUT; i++) {
            children.get(i).writeTo(node, 1 + i * Id.SIZE);
        }
        return node;
    }

    private record Part(int nibble, List<StateEntry> entries) {}

    /** Sorted entries cut where the nibble at {@code depth} changes. */
    private static List<Part> parts(List<StateEntry> entries, int depth) {
        List<Part> parts = new ArrayList<>(FAN_OUT);
        int from = 0;
        for (int i = 1; i <= entries.size(); i++) {
            int nibble = nibble(entries.get(from).id().toBytes(), depth);
            if (i == entries.size() || nibble(entries.get(i).id().toBytes(), depth) != nibble) {
                parts.add(new Part(nibble, entries.subList(from, i)));
                from = i;
            }
        }
        return parts;
    }

    /** Reads the nodes of one version. The iterator is only made when the cache does not have a node. */
    private final class Reader implements AutoCloseable {

        private final long position;
        private @Nullable RocksIterator iterator;

        Reader(long position) {
            this.position = position;
        }

        /** The node of {@code path} whose hash the node above names, verified. */
        byte[] node(byte[] path, int depth, Hash hash) throws StoreException {
            byte[] node = cache.get(hash);
            if (node != null) {
                return node;
            }
            if (depth > DEPTH_MAX) {
                throw corrupt(path, depth, "is deeper than an id is long");
            }
            node = load(encodePath(path, depth));
            if (node == null) {
                throw corrupt(path, depth, "is missing");
            }
            if (!hash(node).equals(hash)) {
                throw corrupt(path, depth, "is not the one that the map names");
            }
            if (!isWellFormed(node, path, depth)) {
                throw corrupt(path, depth, "is malformed");
            }
            cache.put(hash, node);
            return node;
        }

        private byte @Nullable [] load(byte[] encodedPath) throws StoreException {
            RocksIterator it = iterator;
            if (it == null) {
                it = db.newIterator(states, readOptions);
                iterator = it;
            }
            it.seek(nodeKey(encodedPath, position));
            if (!it.isValid()) {
                try {
                    it.status();
                } catch (RocksDBException e) {
                    throw new StoreException(Rocks.code(e), "state map cannot be read: " + e.getMessage(), e);
                }
                return null;
            }
            byte[] key = it.key();
            boolean samePath = key.length == encodedPath.length + Long.BYTES
                    && Arrays.equals(key, 0, encodedPath.length, encodedPath, 0, encodedPath.length);
            return samePath ? it.value() : null;
        }

        private StoreException corrupt(byte[] path, int depth, String what) {
            return new StoreException(
                    StoreException.Code.CORRUPT,
                    "state map node " + pathName(path, depth) + " as of position " + position + " " + what);
        }

        @Override
        public void close() {
            if (iterator != null) {
                iterator.close();
            }
        }
    }

    /** Verified nodes by hash, so nothing in it is ever out of date; the least recently used go first. */
    private static final class NodeCache {

        private static final int OVERHEAD_BYTES = 160;

        private final long sizeBytesMax;
        private final Map<Hash, byte[]> nodes = new LinkedHashMap<>(16, 0.75f, true); // guarded by this
        private long sizeBytes; // guarded by this

        NodeCache(long sizeBytesMax) {
            this.sizeBytesMax = sizeBytesMax;
        }

        synchronized byte @Nullable [] get(Hash hash) {
            return nodes.get(hash);
        }

        synchronized void put(Hash hash, byte[] node) {
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

    static Hash hash(byte[] node) {
        return Hash.of(TaggedHash.sha256().digest(node));
    }

    /** Whether hostile bytes have the form of a node at this depth of this path. */
    static boolean isWellFormed(byte[] node, byte[] path, int depth) {
        if (node.length == INNER_SIZE && node[0] == INNER) {
            return depth < DEPTH_MAX;
        }
        int body = node.length - 1;
        if (body < ENTRY_SIZE
                || body % ENTRY_SIZE != 0
                || body / ENTRY_SIZE > BUCKET_ENTRIES_MAX
                || node[0] != BUCKET) {
            return false;
        }
        for (int at = 1; at < node.length; at += ENTRY_SIZE) {
            for (int i = 0; i < depth; i++) {
                if (nibble(node, 2 * at + i) != nibble(path, i)) {
                    return false;
                }
            }
            boolean ascending = at == 1
                    || Arrays.compareUnsigned(node, at - ENTRY_SIZE, at - ENTRY_SIZE + Id.SIZE, node, at, at + Id.SIZE)
                            < 0;
            if (!ascending || Keys.getU64(node, at + Id.SIZE) < 1) {
                return false;
            }
        }
        return true;
    }

    /** The entries of a well-formed bucket. */
    static List<StateEntry> entries(byte[] bucket) {
        List<StateEntry> entries = new ArrayList<>(bucket.length / ENTRY_SIZE);
        for (int at = 1; at < bucket.length; at += ENTRY_SIZE) {
            entries.add(entry(bucket, at));
        }
        return entries;
    }

    private static StateEntry entry(byte[] bucket, int at) {
        return new StateEntry(
                BlockId.of(bucket, at), Keys.getU64(bucket, at + Id.SIZE), Hash.of(bucket, at + Id.SIZE + Long.BYTES));
    }

    private static @Nullable StateEntry find(byte[] bucket, BlockId id) {
        for (int at = 1; at < bucket.length; at += ENTRY_SIZE) {
            if (BlockId.of(bucket, at).equals(id)) {
                return entry(bucket, at);
            }
        }
        return null;
    }

    private static Hash child(byte[] inner, int index) {
        return Hash.of(inner, 1 + index * Id.SIZE);
    }

    static int nibble(byte[] bytes, int index) {
        int b = bytes[index >> 1];
        return (index & 1) == 0 ? (b >> 4) & 15 : b & 15;
    }

    static byte[] withNibble(byte[] path, int depth, int nibble) {
        byte[] child = path.clone();
        child[depth >> 1] |= (byte) ((depth & 1) == 0 ? nibble << 4 : nibble);
        return child;
    }

    /** {@code u8 nibbles ‖ path}, the last half byte zero when their number is odd. */
    static byte[] encodePath(byte[] path, int depth) {
        byte[] encoded = new byte[1 + (depth + 1) / 2];
        encoded[0] = (byte) depth;
        System.arraycopy(path, 0, encoded, 1, encoded.length - 1);
        if ((depth & 1) == 1) {
            encoded[encoded.length - 1] &= (byte) 0xf0;
        }
        return encoded;
    }

    /** The key of a node: newer versions of a path sort before older ones. */
    static byte[] nodeKey(byte[] encodedPath, long position) {
        byte[] key = Arrays.copyOf(encodedPath, encodedPath.length + Long.BYTES);
        Keys.putU64(key, encodedPath.length, ~position);
        return key;
    }

    private static String pathName(byte[] path, int depth) {
        StringBuilder name = new StringBuilder("/");
        for (int i = 0; i < depth; i++) {
            name.append(Character.forDigit(nibble(path, i), 16));
        }
        return name.toString();
    }
}
