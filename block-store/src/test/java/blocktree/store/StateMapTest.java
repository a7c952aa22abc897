package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rocksdb.ColumnFamilyDescriptor;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.WriteBatch;
import org.rocksdb.WriteOptions;

/** The state map: one shape for one content, versions side by side, nothing believed that its root does not name. */
class StateMapTest {

    private static final long NO_CACHE = 0;
    private static final long CACHE_SIZE_BYTES = 1 << 20;

    @TempDir
    Path directory;

    private Options options;
    private RocksDB db;
    private ColumnFamilyHandle states;
    private ColumnFamilyHandle garbage;
    private StateMap map;

    @BeforeEach
    void open() throws RocksDBException {
        options = new Options().setCreateIfMissing(true);
        db = RocksDB.open(options, directory.toString());
        states = db.createColumnFamily(
                new ColumnFamilyDescriptor("state".getBytes(java.nio.charset.StandardCharsets.US_ASCII)));
        garbage = db.createColumnFamily(
                new ColumnFamilyDescriptor("garbage".getBytes(java.nio.charset.StandardCharsets.US_ASCII)));
        map = new StateMap(db, states, NO_CACHE);
    }

    @AfterEach
    void close() {
        map.close();
        states.close();
        garbage.close();
        db.close();
        options.close();
    }

    @Test
    void theRootDependsOnTheContentOnlyHoweverItCameAbout() throws Exception {
        Random random = new Random(1);
        long position = 0;
        for (int size : new int[] {1, 31, 32, 33, 100, 600}) {
            List<StateEntry> entries = entries(random, size);
            StateRoot atOnce = apply(StateRoot.EMPTY, ++position, entries);
            Collections.shuffle(entries, random);
            StateRoot piecemeal = StateRoot.EMPTY;
            for (int from = 0; from < size; ) {
                int to = Math.min(size, from + 1 + random.nextInt(40));
                // a wrong value first, so that overwriting is part of the history too
                List<StateEntry> draft = entries.subList(from, to).stream()
                        .map(e -> new StateEntry(e.id(), e.generation() + 1, e.headerHash()))
                        .toList();
                piecemeal = apply(piecemeal, ++position, draft);
                piecemeal = apply(piecemeal, ++position, entries.subList(from, to));
                from = to;
            }
            assertEquals(atOnce.hash(), piecemeal.hash(), "size " + size);
            assertEquals(referenceHash(entries), atOnce.hash(), "size " + size);
        }
    }

    @Test
    void agreesWithAModelThroughRandomBatchesAndEveryVersionStaysReadable() throws Exception {
        long seed = 42;
        Random random = new Random(seed);
        TreeMap<BlockId, StateEntry> model = new TreeMap<>();
        Map<StateRoot, TreeMap<BlockId, StateEntry>> versions = new HashMap<>();
        StateRoot root = StateRoot.EMPTY;
        for (int round = 0; round < 25; round++) {
            List<StateEntry> changes = entries(random, 1 + random.nextInt(60));
            List<BlockId> known = new ArrayList<>(model.keySet());
            for (int i = 0; i < 10 && !known.isEmpty(); i++) {
                changes.add(
                        new StateEntry(known.get(random.nextInt(known.size())), 2 + random.nextInt(9), hash(random)));
            }
            changes.forEach(e -> model.put(e.id(), e));
            root = apply(root, root.position() + 1 + random.nextInt(5), changes);
            versions.put(root, new TreeMap<>(model));
        }
        for (Map.Entry<StateRoot, TreeMap<BlockId, StateEntry>> version : versions.entrySet()) {
            List<StateEntry> read = new ArrayList<>();
            map.forEach(version.getKey(), read::add);
            assertEquals(List.copyOf(version.getValue().values()), read, "seed " + seed);
            for (BlockId id : model.keySet()) {
                assertEquals(version.getValue().get(id), map.get(version.getKey(), id));
            }
        }
        assertNull(map.get(root, BlockId.of(hash(random).toBytes())));
    }

    @Test
    void nothingChangesWhenTheSameEntriesAreAppliedAgain() throws Exception {
        List<StateEntry> entries = entries(new Random(3), 200);
        StateRoot first = apply(StateRoot.EMPTY, 1, entries);
        try (WriteBatch batch = new WriteBatch()) {
            StateRoot second = map.apply(first, 2, entries.subList(50, 90), batch, garbage);
            assertEquals(first.hash(), second.hash());
            assertEquals(0, batch.count());
        }
    }

    @Test
    void differencesAreExactlyWhatDiffers() throws Exception {
        Random random = new Random(4);
        TreeMap<BlockId, StateEntry> a = new TreeMap<>();
        entries(random, 300).forEach(e -> a.put(e.id(), e));
        StateRoot rootA = apply(StateRoot.EMPTY, 1, a.values());
        TreeMap<BlockId, StateEntry> b = new TreeMap<>(a);
        List<StateEntry> changes = entries(random, 50);
        List<BlockId> ids = List.copyOf(a.keySet());
        for (int i = 0; i < 300; i += 11) {
            changes.add(new StateEntry(ids.get(i), 77, hash(random)));
        }
        changes.forEach(e -> b.put(e.id(), e));
        StateRoot rootB = apply(rootA, 2, changes);
        for (StateRoot[] pair :
                new StateRoot[][] {{rootA, rootB}, {rootB, rootA}, {StateRoot.EMPTY, rootB}, {rootA, rootA}}) {
            TreeMap<BlockId, StateEntry> left = pair[0] == rootA ? a : pair[0] == rootB ? b : new TreeMap<>();
            TreeMap<BlockId, StateEntry> right = pair[1] == rootA ? a : b;
            TreeMap<BlockId, List<StateEntry>> expected = new TreeMap<>();
            TreeMap<BlockId, StateEntry> union = new TreeMap<>(left);
            union.putAll(right);
            for (BlockId id : union.keySet()) {
                if (!java.util.Objects.equals(left.get(id), right.get(id))) {
                    expected.put(id, Arrays.asList(left.get(id), right.get(id)));
                }
            }
            TreeMap<BlockId, List<StateEntry>> seen = new TreeMap<>();
            map.diff(pair[0], pair[1], (l, r) -> {
                assertTrue(l != null || r != null);
                BlockId id = l != null ? l.id() : r != null ? r.id() : null;
                assertNull(seen.put(id, Arrays.asList(l, r)));
            });
            assertEquals(expected, seen);
        }
    }

    @Test
    void anAlteredMissingOrRolledBackNodeIsCorruptAndTheRestReadable() throws Exception {
        Random random = new Random(5);
        List<StateEntry> entries = entries(random, 400);
        StateRoot old = apply(StateRoot.EMPTY, 1, entries);
        List<StateEntry> changed = entries.stream()
                .map(e -> new StateEntry(e.id(), e.generation() + 1, hash(random)))
                .toList();
        StateRoot root = apply(old, 2, changed);
        List<byte[]> keys = keysOf(2);
        for (byte[] key : keys) {
            byte[] value = db.get(states, key);
            byte[] older = db.get(states, withPosition(key, 1));
            byte[] flipped = value.clone();
            flipped[random.nextInt(flipped.length)] ^= (byte) (1 << random.nextInt(8));
            byte[] truncated = Arrays.copyOf(value, value.length - 1);
            int readable = 0;
            for (byte[] replacement : new byte[][] {flipped, truncated, older, new byte[0], null}) {
                if (replacement == null) {
                    db.delete(states, key);
                } else {
                    db.put(states, key, replacement);
                }
                int corrupt = 0;
                for (StateEntry entry : changed) {
                    try {
                        assertEquals(entry, map.get(root, entry.id()));
                        readable++;
                    } catch (StoreException e) {
                        assertEquals(StoreException.Code.CORRUPT, e.code());
                        corrupt++;
                    }
                }
                assertTrue(corrupt > 0, "a changed node must be noticed");
                db.put(states, key, value);
            }
            assertTrue(key[0] == 0 || readable > 0, "what lies elsewhere stays readable");
        }
        for (StateEntry entry : entries) {
            assertEquals(entry, map.get(old, entry.id()));
        }
    }

    @Test
    void aRootThatWasNeverWrittenIsCorrupt() throws Exception {
        StateRoot root = apply(StateRoot.EMPTY, 1, entries(new Random(6), 10));
        BlockId id = BlockId.of(new byte[Id.SIZE]);
        StateRoot forged = new StateRoot(root.position(), hash(new Random(7)));
        assertEquals(
                StoreException.Code.CORRUPT,
                assertThrows(StoreException.class, () -> map.get(forged, id)).code());
        assertNull(map.get(StateRoot.EMPTY, id));
    }

    @Test
    void anUpdateCostsALogarithmicNumberOfNodes() throws Exception {
        Random random = new Random(8);
        List<StateEntry> entries = entries(random, 20_000);
        StateRoot root = apply(StateRoot.EMPTY, 1, entries);
        for (int i = 0; i < 50; i++) {
            StateEntry entry = entries.get(random.nextInt(entries.size()));
            try (WriteBatch batch = new WriteBatch()) {
                map.apply(root, 2, List.of(new StateEntry(entry.id(), 2, hash(random))), batch, garbage);
                // log16(20,000 / 32) is 2.3: at most five nodes on a path, and one garbage record
                assertTrue(batch.count() <= 6, "wrote " + batch.count());
            }
        }
    }

    @Test
    void deepCommonPrefixesSplitAsFarAsNeeded() throws Exception {
        Random random = new Random(9);
        List<StateEntry> entries = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            byte[] id = new byte[Id.SIZE];
            Arrays.fill(id, (byte) 0xab);
            id[31] = (byte) i;
            entries.add(new StateEntry(BlockId.of(id), 1, hash(random)));
        }
        StateRoot root = apply(StateRoot.EMPTY, 1, entries);
        assertEquals(referenceHash(entries), root.hash());
        for (StateEntry entry : entries) {
            assertEquals(entry, map.get(root, entry.id()));
        }
    }

    @Test
    void theCacheAnswersWithoutTheStoreAndStaysWithinItsBound() throws Exception {
        List<StateEntry> entries = entries(new Random(10), 400);
        StateRoot root = apply(StateRoot.EMPTY, 1, entries);
        try (StateMap cached = new StateMap(db, states, CACHE_SIZE_BYTES);
                StateMap tiny = new StateMap(db, states, 3000)) {
            for (StateEntry entry : entries) {
                assertEquals(entry, cached.get(root, entry.id()));
                assertEquals(entry, tiny.get(root, entry.id()));
            }
            for (byte[] key : keysOf(1)) {
                db.delete(states, key);
            }
            int missed = 0;
            for (StateEntry entry : entries) {
                assertEquals(entry, cached.get(root, entry.id()));
                try {
                    tiny.get(root, entry.id());
                } catch (StoreException e) {
                    missed++;
                }
            }
            assertTrue(missed > entries.size() / 2, "a cache of 3,000 bytes does not hold 30,000");
        }
    }

    @Test
    void matchesTheVectorsToTheByte() throws Exception {
        Properties vectors = new Properties();
        try (var in = StateMapTest.class.getResourceAsStream("/vectors/state-map.properties")) {
            vectors.load(in);
        }
        for (int size : new int[] {0, 1, 2, 32, 33, 1000}) {
            List<StateEntry> entries = new ArrayList<>();
            for (int i = 0; i < size; i++) {
                byte[] number = ByteBuffer.allocate(4).putInt(i).array();
                entries.add(new StateEntry(
                        BlockId.of(sha256(new byte[] {'i'}, number)),
                        i + 1L,
                        Hash.of(sha256(new byte[] {'h'}, number))));
            }
            Hash hash = size == 0
                    ? StateRoot.NONE
                    : apply(StateRoot.EMPTY, 1, entries).hash();
            assertEquals(vectors.getProperty("root." + size), hash.toHex(), "root." + size);
        }
        byte[] key = StateMap.nodeKey(new byte[] {3, (byte) 0xab, (byte) 0xc0}, 258);
        assertEquals(
                vectors.getProperty("key.abc.258"), java.util.HexFormat.of().formatHex(key));
    }

    private StateRoot apply(StateRoot base, long position, java.util.Collection<StateEntry> changes) throws Exception {
        try (WriteBatch batch = new WriteBatch();
                WriteOptions writeOptions = new WriteOptions()) {
            StateRoot root = map.apply(base, position, changes, batch, garbage);
            db.write(writeOptions, batch);
            assertNotEquals(StateRoot.NONE, root.hash());
            return root;
        }
    }

    private List<byte[]> keysOf(long position) {
        List<byte[]> keys = new ArrayList<>();
        try (RocksIterator it = db.newIterator(states)) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                if (~Keys.getU64(it.key(), it.key().length - 8) == position) {
                    keys.add(it.key());
                }
            }
        }
        return keys;
    }

    private static byte[] withPosition(byte[] key, long position) {
        byte[] copy = key.clone();
        Keys.putU64(copy, copy.length - 8, ~position);
        return copy;
    }

    private static List<StateEntry> entries(Random random, int count) {
        List<StateEntry> entries = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            entries.add(new StateEntry(BlockId.of(hash(random).toBytes()), 1 + random.nextInt(5), hash(random)));
        }
        return entries;
    }

    private static Hash hash(Random random) {
        byte[] bytes = new byte[Id.SIZE];
        random.nextBytes(bytes);
        return Hash.of(bytes);
    }

    /** The definition of docs/format.md, written down once more without any of the code under test. */
    private static Hash referenceHash(List<StateEntry> entries) throws Exception {
        TreeMap<String, byte[]> byHex = new TreeMap<>();
        for (StateEntry e : entries) {
            byHex.put(
                    e.id().toHex(),
                    ByteBuffer.allocate(72)
                            .put(e.id().toBytes())
                            .putLong(e.generation())
                            .put(e.headerHash().toBytes())
                            .array());
        }
        return Hash.of(reference(byHex, ""));
    }

    private static byte[] reference(TreeMap<String, byte[]> byHex, String prefix) throws Exception {
        Map<String, byte[]> below = byHex.subMap(prefix, prefix + "g");
        if (below.isEmpty()) {
            return new byte[32];
        }
        List<byte[]> parts = new ArrayList<>();
        if (below.size() <= 32) {
            parts.add(new byte[] {0x10});
            parts.addAll(below.values());
        } else {
            parts.add(new byte[] {0x11});
            for (char c : "0123456789abcdef".toCharArray()) {
                parts.add(reference(byHex, prefix + c));
            }
        }
        return sha256(parts.toArray(byte[][]::new));
    }

    private static byte[] sha256(byte[]... parts) throws IOException {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (byte[] part : parts) {
                digest.update(part);
            }
            return digest.digest();
        } catch (java.security.NoSuchAlgorithmException e) {
            throw new IOException(e);
        }
    }
}
