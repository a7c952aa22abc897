package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import java.lang.ref.Reference;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rocksdb.ColumnFamilyDescriptor;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.CompactRangeOptions;
import org.rocksdb.FlushOptions;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.WriteBatch;
import org.rocksdb.WriteOptions;

/**
 * Collection against a model of what every generation needs. The families hold keys as commits write them; values do not matter to the
 * collector.
 */
class CollectorTest {

    private static final long MINUTE = 60_000;
    private static final long DAY = 24 * 60 * MINUTE;
    private static final Collector.Timing AT_ONCE = new Collector.Timing(1_000_000, Long.MAX_VALUE, 0, 600_000);

    @TempDir
    Path directory;

    private Options options;
    private RocksDB db;
    private Collector.Families families;
    private final OpenGenerations open = new OpenGenerations();
    private final Around around = new Around();

    @BeforeEach
    void open() throws RocksDBException {
        options = new Options().setCreateIfMissing(true);
        db = RocksDB.open(options, directory.toString());
        families = new Collector.Families(
                family("headers"),
                family("sectors"),
                family("streams"),
                family("nodes"),
                family("state"),
                family("garbage"));
    }

    private ColumnFamilyHandle family(String name) throws RocksDBException {
        return db.createColumnFamily(new ColumnFamilyDescriptor(name.getBytes(US_ASCII)));
    }

    @AfterEach
    void close() {
        for (ColumnFamilyHandle handle : List.of(
                families.headers(),
                families.sectors(),
                families.streams(),
                families.nodes(),
                families.states(),
                families.garbage())) {
            handle.close();
        }
        db.close();
        options.close();
    }

    /** The store around the collector, under the test's control. */
    private final class Around implements Collector.Surroundings {

        private long position;
        private long millis = 1_000_000;
        private final TreeSet<Long> snapshots = new TreeSet<>();
        private int looksUntilRoomy;
        private boolean mayCollect = true;

        @Override
        public long checkpointPosition() {
            return position;
        }

        @Override
        public long nowMillis() {
            return millis;
        }

        @Override
        public long[] pinnedPositions() {
            return snapshots.stream().mapToLong(Long::longValue).toArray();
        }

        @Override
        public boolean mayCollect() {
            return mayCollect;
        }

        @Override
        public boolean isSpaceLow() {
            return looksUntilRoomy > 0 && looksUntilRoomy-- > 0;
        }

        @Override
        public void makeRoom() {}

        @Override
        public boolean reclaim(CompactRangeOptions compaction) throws StoreException {
            try (FlushOptions flush = new FlushOptions()) {
                db.flush(flush, families.sectors());
                db.compactRange(families.sectors(), null, null, compaction);
                db.flush(flush, families.streams());
                db.compactRange(families.streams(), null, null, compaction);
                return false;
            } catch (RocksDBException e) {
                throw new StoreException(StoreException.Code.IO, "reclaim", e);
            }
        }

        @Override
        public void metDamage(RocksDBException e) {
            throw new AssertionError(e);
        }

        @Override
        public boolean takeOutDamage() {
            return false;
        }

        @Override
        public void write(WriteBatch batch) throws StoreException {
            try (WriteOptions writeOptions = new WriteOptions()) {
                db.write(writeOptions, batch);
            } catch (RocksDBException e) {
                throw new StoreException(StoreException.Code.IO, "write", e);
            }
        }
    }

    /** What one generation of a block needs: which generation wrote each sector, and the keys of all of it. */
    private static final class Version {

        private long generation;
        private long position;
        private long millis;
        private long supersededPosition = Long.MAX_VALUE;
        private long supersededMillis = Long.MAX_VALUE;
        private boolean tombstone;
        private long sectorCount;
        private TreeMap<Long, Long> sectors = new TreeMap<>();
        private Map<Integer, TreeMap<Long, Long>> nodes = new HashMap<>();
    }

    /** Writes commits as the store does, and remembers what each generation needs. */
    private final class Model {

        private final Random random;
        private final Map<BlockId, List<Version>> blocks = new HashMap<>();
        private final List<BlockId> ids = new ArrayList<>();

        Model(Random random) {
            this.random = random;
        }

        void commit() throws RocksDBException {
            around.position++;
            around.millis += random.nextInt(4) == 0 ? random.nextInt((int) (3 * MINUTE)) : random.nextInt(10_000);
            try (WriteBatch batch = new WriteBatch();
                    WriteOptions writeOptions = new WriteOptions()) {
                Set<BlockId> touched = new HashSet<>();
                for (int i = 0; i <= random.nextInt(3); i++) {
                    BlockId id =
                            random.nextInt(6) == 0 || ids.isEmpty() ? create() : ids.get(random.nextInt(ids.size()));
                    List<Version> versions = blocks.getOrDefault(id, List.of());
                    boolean deleted = !versions.isEmpty() && versions.get(versions.size() - 1).tombstone;
                    if (!deleted && touched.add(id)) {
                        change(id, versions, batch);
                    }
                }
                db.write(writeOptions, batch);
            }
        }

        private BlockId create() {
            byte[] bytes = new byte[Id.SIZE];
            random.nextBytes(bytes);
            BlockId id = BlockId.of(bytes);
            ids.add(id);
            blocks.put(id, new ArrayList<>());
            return id;
        }

        private void change(BlockId id, List<Version> versions, WriteBatch batch) throws RocksDBException {
            Version next = new Version();
            next.generation = versions.size() + 1L;
            next.position = around.position;
            next.millis = around.millis;
            Version base = versions.isEmpty() ? new Version() : versions.get(versions.size() - 1);
            Garbage.Builder garbage = new Garbage.Builder(base.generation, base.position, base.millis);
            next.sectors = new TreeMap<>(base.sectors);
            next.sectorCount = base.sectorCount;
            base.nodes.forEach((level, map) -> next.nodes.put(level, new TreeMap<>(map)));
            switch (versions.isEmpty() ? 0 : random.nextInt(12)) {
                case 10 -> {
                    next.tombstone = true;
                    next.sectors.clear();
                    next.nodes.clear();
                    garbage.all();
                }
                case 9 -> {
                    long from = random.nextInt((int) base.sectorCount + 1);
                    drop(next, base, garbage, from, Long.MAX_VALUE);
                    next.sectorCount = from;
                }
                case 8 -> {
                    long from = random.nextInt((int) base.sectorCount + 1);
                    drop(next, base, garbage, from, from + random.nextInt(300));
                }
                default -> {
                    int writes = random.nextInt(8);
                    for (int i = 0; i < writes; i++) {
                        long index = random.nextInt(random.nextInt(5) == 0 ? 40_000 : 300);
                        next.sectorCount = Math.max(next.sectorCount, index + 1);
                        Long old = next.sectors.put(index, next.generation);
                        if (old != null && old != next.generation) {
                            garbage.sector(index, old);
                        }
                        for (int level = 0; level < 3; level++) {
                            touchNode(next, garbage, level, index >> (7 * (level + 1)));
                        }
                    }
                }
            }
            batch.put(families.headers(), Keys.header(id, next.generation), new byte[] {1});
            for (Map.Entry<Long, Long> sector : next.sectors.entrySet()) {
                if (sector.getValue() == next.generation) {
                    ColumnFamilyHandle family = random.nextBoolean() ? families.sectors() : families.streams();
                    batch.put(family, Keys.sector(id, sector.getKey(), next.generation), new byte[] {1});
                }
            }
            for (Map.Entry<Integer, TreeMap<Long, Long>> level : next.nodes.entrySet()) {
                for (Map.Entry<Long, Long> node : level.getValue().entrySet()) {
                    if (node.getValue() == next.generation) {
                        batch.put(
                                families.nodes(),
                                Keys.node(id, level.getKey(), node.getKey(), next.generation),
                                new byte[] {1});
                    }
                }
            }
            if (!versions.isEmpty()) {
                base.supersededPosition = around.position;
                base.supersededMillis = around.millis;
                batch.put(families.garbage(), Keys.garbage(around.position, id), garbage.encode(around.millis));
            }
            versions.add(next);
        }

        private void touchNode(Version next, Garbage.Builder garbage, int level, long index) {
            Long old = next.nodes.computeIfAbsent(level, k -> new TreeMap<>()).put(index, next.generation);
            if (old != null && old != next.generation) {
                garbage.node(level, index, old);
            }
        }

        /** Drops a range: nodes wholly inside it follow from the range, those on its borders are listed. */
        private void drop(Version next, Version base, Garbage.Builder garbage, long from, long to) {
            garbage.sectors(from, to);
            next.sectors.subMap(from, to).clear();
            for (Map.Entry<Integer, TreeMap<Long, Long>> level : next.nodes.entrySet()) {
                int shift = 7 * (level.getKey() + 1);
                for (Map.Entry<Long, Long> node : List.copyOf(level.getValue().entrySet())) {
                    long first = node.getKey() << shift;
                    long end = (node.getKey() + 1) << shift;
                    boolean overlaps = first < to && end > from;
                    boolean inside = first >= from && end <= to;
                    boolean empty = next.sectors.subMap(first, end).isEmpty();
                    if (!overlaps) {
                        continue;
                    }
                    if (inside) {
                        level.getValue().remove(node.getKey());
                    } else {
                        garbage.node(level.getKey(), node.getKey(), node.getValue());
                        if (empty) {
                            level.getValue().remove(node.getKey());
                        } else {
                            level.getValue().put(node.getKey(), next.generation);
                        }
                    }
                }
            }
            assertNotNull(base);
        }

        Set<String> keys(BlockId id, Version version) {
            Set<String> keys = new HashSet<>();
            keys.add("h" + HexFormat.of().formatHex(Keys.header(id, version.generation)));
            version.sectors.forEach((index, generation) ->
                    keys.add("s" + HexFormat.of().formatHex(Keys.sector(id, index, generation))));
            version.nodes.forEach((level, map) -> map.forEach((index, generation) ->
                    keys.add("n" + HexFormat.of().formatHex(Keys.node(id, level, index, generation)))));
            return keys;
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 6})
    void whatAKeptGenerationNeedsStaysAndInTheEndNothingElse(long seed) throws Exception {
        Random random = new Random(seed);
        Retention retention = seed % 3 == 0 ? Retention.NONE : new Retention(MINUTE, seed % 3 == 1 ? DAY : 20 * MINUTE);
        Model model = new Model(random);
        Map<OpenGenerations.Generation, Object> held = new HashMap<>();
        List<OpenGenerations.Generation> heldKeys = new ArrayList<>();
        Collector collector = new Collector(db, families, open, retention, around, AT_ONCE);
        for (int step = 0; step < 400; step++) {
            model.commit();
            int dice = random.nextInt(20);
            if (dice == 0) {
                around.snapshots.add(around.position);
            } else if (dice == 1 && !around.snapshots.isEmpty()) {
                around.snapshots.remove(List.copyOf(around.snapshots).get(random.nextInt(around.snapshots.size())));
                collector.released();
            } else if (dice == 2) {
                BlockId id = model.ids.get(random.nextInt(model.ids.size()));
                List<Version> versions = model.blocks.getOrDefault(id, List.of());
                OpenGenerations.Generation generation =
                        new OpenGenerations.Generation(id, versions.get(versions.size() - 1).generation);
                Object handle = new Object();
                assertTrue(open.register(handle, id, generation.generation()));
                held.put(generation, handle);
                heldKeys.add(generation);
            } else if (dice == 3 && !heldKeys.isEmpty()) {
                held.remove(heldKeys.remove(random.nextInt(heldKeys.size())));
            } else if (dice == 4) {
                // as after a restart: no memory of what was seen, handles are gone
                collector.close();
                collector = new Collector(db, families, open, retention, around, AT_ONCE);
            } else if (dice < 10) {
                collector.collect(random.nextInt(6) == 0);
                Set<String> present = present();
                for (Map.Entry<BlockId, List<Version>> block : model.blocks.entrySet()) {
                    for (Version version : block.getValue()) {
                        boolean current = version.supersededPosition == Long.MAX_VALUE;
                        Long next = around.snapshots.ceiling(version.position);
                        boolean pinned = next != null && next < version.supersededPosition;
                        boolean kept = retention.keeps(version.millis, version.supersededMillis, around.millis);
                        boolean isHeld =
                                held.containsKey(new OpenGenerations.Generation(block.getKey(), version.generation));
                        if (current || pinned || kept || isHeld) {
                            Set<String> needed = model.keys(block.getKey(), version);
                            needed.removeAll(present);
                            assertEquals(Set.of(), needed, "seed " + seed + " step " + step);
                        }
                    }
                }
            }
        }
        Reference.reachabilityFence(held);
        held.clear();
        around.snapshots.clear();
        around.millis += 10 * DAY;
        awaitNothingHeld();
        collector.collect(true);
        Set<String> needed = new HashSet<>();
        for (Map.Entry<BlockId, List<Version>> block : model.blocks.entrySet()) {
            List<Version> versions = block.getValue();
            needed.addAll(model.keys(block.getKey(), versions.get(versions.size() - 1)));
        }
        assertEquals(needed, present(), "seed " + seed);
        assertEquals(0, count(families.garbage()));
        collector.close();
    }

    @Test
    void nothingAfterTheCheckpointIsTouched() throws Exception {
        Model model = new Model(new Random(7));
        for (int i = 0; i < 30; i++) {
            model.commit();
        }
        Set<String> before = present();
        long head = around.position;
        around.position = 0;
        try (Collector collector = new Collector(db, families, open, Retention.NONE, around, AT_ONCE)) {
            collector.collect(true);
            assertEquals(before, present());
            around.position = head;
            collector.collect(false);
            assertTrue(present().size() < before.size());
        }
    }

    @Test
    void retentionGivesWayToAFullDeviceOldestFirstAndSnapshotsDoNot() throws Exception {
        Model model = new Model(new Random(8));
        for (int i = 0; i < 2_000; i++) {
            model.commit();
        }
        around.snapshots.add(1_990L);
        try (Collector collector = new Collector(db, families, open, new Retention(0, 1_000 * DAY), around, AT_ONCE)) {
            collector.collect(true);
            int all = count(families.garbage());
            around.looksUntilRoomy = 3; // roomy again after the first portion
            collector.collect(false);
            int after = count(families.garbage());
            assertTrue(after < all && after > all / 2, all + " records, then " + after);
            try (RocksIterator it = db.newIterator(families.headers())) {
                it.seekToFirst();
                assertTrue(it.isValid());
            }
            around.looksUntilRoomy = Integer.MAX_VALUE;
            collector.collect(false);
            Set<String> present = present();
            for (Map.Entry<BlockId, List<Version>> block : model.blocks.entrySet()) {
                for (Version version : block.getValue()) {
                    boolean pinned = version.position <= 1_990 && version.supersededPosition > 1_990;
                    boolean kept = pinned || version.supersededPosition == Long.MAX_VALUE;
                    Set<String> needed = model.keys(block.getKey(), version);
                    assertEquals(kept, present.contains(header(block.getKey(), version)));
                    if (kept) {
                        assertTrue(present.containsAll(needed));
                    }
                }
            }
        }
    }

    @Test
    void supersededStateNodesGoUnlessASnapshotNamesTheirVersion() throws Exception {
        Random random = new Random(9);
        Map<StateRoot, TreeMap<BlockId, StateEntry>> versions = new HashMap<>();
        List<StateRoot> roots = new ArrayList<>();
        TreeMap<BlockId, StateEntry> content = new TreeMap<>();
        StateRoot root = StateRoot.EMPTY;
        try (StateMap map = new StateMap(db, families.states(), 0);
                Collector collector = new Collector(db, families, open, Retention.NONE, around, AT_ONCE);
                WriteOptions writeOptions = new WriteOptions()) {
            for (int i = 1; i <= 12; i++) {
                List<StateEntry> changes = new ArrayList<>();
                for (int k = 0; k < 70; k++) {
                    List<BlockId> known = List.copyOf(content.keySet());
                    BlockId id = k < 20 && !known.isEmpty()
                            ? known.get(random.nextInt(known.size()))
                            : BlockId.of(bytes(random));
                    changes.add(new StateEntry(id, i, Hash.of(bytes(random))));
                }
                try (WriteBatch batch = new WriteBatch()) {
                    root = map.apply(root, 10L * i, changes, batch, families.garbage());
                    db.write(writeOptions, batch);
                }
                changes.forEach(e -> content.put(e.id(), e));
                versions.put(root, new TreeMap<>(content));
                roots.add(root);
            }
            StateRoot snapshot = roots.get(4);
            around.snapshots.add(snapshot.position());
            around.position = root.position();
            int before = count(families.states());
            collector.collect(true); // starts the grace
            collector.collect(true);
            collector.collect(true);
            assertTrue(count(families.states()) < before);
            for (StateRoot kept : List.of(snapshot, root)) {
                List<StateEntry> read = new ArrayList<>();
                map.forEach(kept, read::add);
                assertEquals(
                        List.copyOf(versions.getOrDefault(kept, new TreeMap<>()).values()), read);
            }
            around.snapshots.clear();
            collector.collect(true);
            assertEquals(0, count(families.garbage()));
            List<StateEntry> read = new ArrayList<>();
            map.forEach(root, read::add);
            assertEquals(List.copyOf(content.values()), read);
            assertEquals(nodesOfOneVersion(), count(families.states()), "one version of each path is left");
        }
    }

    @Test
    void aMalformedRecordIsLeftAloneAndTheOthersCollected() throws Exception {
        Model model = new Model(new Random(10));
        for (int i = 0; i < 50; i++) {
            model.commit();
        }
        db.put(families.garbage(), Keys.garbage(3, BlockId.of(bytes(new Random(1)))), new byte[] {(byte) 0xff, 1, 2});
        try (Collector collector = new Collector(db, families, open, Retention.NONE, around, AT_ONCE)) {
            collector.collect(true);
            assertEquals(1, count(families.garbage()));
        }
    }

    @Test
    void theBackgroundThreadCollectsAndStops() throws Exception {
        Model model = new Model(new Random(11));
        for (int i = 0; i < 50; i++) {
            model.commit();
        }
        Collector collector = new Collector(
                db, families, open, Retention.NONE, around, new Collector.Timing(1, Long.MAX_VALUE, 0, 600_000));
        collector.start();
        while (count(families.garbage()) > 0) {
            Thread.onSpinWait();
        }
        collector.close();
        assertTrue(collector.collected().headers() > 0);
    }

    @Test
    void nothingIsCollectedWhileItCannotBeToldWhatIsNeededAndNothingAfterClosing() throws Exception {
        Model model = new Model(new Random(14));
        for (int i = 0; i < 50; i++) {
            model.commit();
        }
        Set<String> before = present();
        Collector collector = new Collector(db, families, open, Retention.NONE, around, AT_ONCE);
        around.mayCollect = false;
        around.looksUntilRoomy = Integer.MAX_VALUE;
        collector.collect(true);
        assertEquals(before, present());
        around.mayCollect = true;
        collector.close();
        assertEquals(
                StoreException.Code.CLOSED,
                assertThrows(StoreException.class, () -> collector.collect(true))
                        .code());
        assertEquals(before, present());
    }

    @Test
    void whatNobodyHoldsAnyMoreGoesSoonWithAllThatWaitedForIt() throws Exception {
        Model model = new Model(new Random(16));
        for (int i = 0; i < 60; i++) {
            model.commit();
        }
        List<Object> holders = new ArrayList<>();
        for (Map.Entry<BlockId, List<Version>> block : model.blocks.entrySet()) {
            for (Version version : block.getValue()) {
                Object holder = new Object();
                holders.add(holder);
                assertTrue(open.register(holder, block.getKey(), version.generation));
            }
        }
        int all = count(families.garbage());
        Collector.Timing soon = new Collector.Timing(1, Long.MAX_VALUE, 0, 1);
        try (Collector collector = new Collector(db, families, open, Retention.NONE, around, soon)) {
            collector.collect(true);
            assertEquals(all, count(families.garbage()));
            Reference.reachabilityFence(holders);
            holders.clear();
            collector.start();
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
            while (count(families.garbage()) > 0 && System.nanoTime() < end) {
                Thread.sleep(1);
            }
            assertEquals(0, count(families.garbage()));
        }
    }

    @Test
    void aSlowReaderHoldsUpNobody() throws Exception {
        BlockId id = BlockId.of(bytes(new Random(15)));
        Thread reader = new Thread(() -> {
            open.reading().lock();
            LockSupport.park();
            open.reading().unlock();
        });
        reader.start();
        while (reader.getState() != Thread.State.WAITING) {
            Thread.onSpinWait();
        }
        assertFalse(open.condemn(new OpenGenerations.Generation(id, 1)), "it is tried again in the next round");
        open.releaseCondemned();
        open.reading().lock();
        open.reading().unlock();
        LockSupport.unpark(reader);
        reader.join();
        assertTrue(open.condemn(new OpenGenerations.Generation(id, 1)));
    }

    @Test
    void aCondemnedGenerationCannotBeOpenedAndAnOpenOneNotCondemned() {
        BlockId id = BlockId.of(bytes(new Random(12)));
        OpenGenerations.Generation generation = new OpenGenerations.Generation(id, 5);
        Object holder = new Object();
        assertTrue(open.register(holder, id, 5));
        assertFalse(open.condemn(generation));
        assertTrue(open.condemn(new OpenGenerations.Generation(id, 4)));
        assertFalse(open.register(holder, id, 4));
        open.releaseCondemned();
        assertTrue(open.register(holder, id, 4));
        assertEquals(2, open.size());
        Reference.reachabilityFence(holder);
    }

    @Test
    void theNewestGenerationIsNotRemovedWhateverARecordSays() throws Exception {
        Model model = new Model(new Random(13));
        for (int i = 0; i < 30; i++) {
            model.commit();
        }
        BlockId id = model.ids.get(0);
        List<Version> versions = model.blocks.getOrDefault(id, List.of());
        Version newest = versions.get(versions.size() - 1);
        byte[] lie = new Garbage.Builder(newest.generation, newest.position, newest.millis)
                .all()
                .encode(around.millis);
        db.put(families.garbage(), Keys.garbage(around.position, id), lie);
        try (Collector collector = new Collector(db, families, open, Retention.NONE, around, AT_ONCE)) {
            collector.collect(true);
            assertTrue(present().containsAll(model.keys(id, newest)));
        }
    }

    private String header(BlockId id, Version version) {
        return "h" + HexFormat.of().formatHex(Keys.header(id, version.generation));
    }

    private void awaitNothingHeld() {
        while (open.size() > 0) {
            System.gc();
        }
    }

    private Set<String> present() {
        Set<String> keys = new HashSet<>();
        add("h", families.headers(), keys);
        add("s", families.sectors(), keys);
        add("s", families.streams(), keys);
        add("n", families.nodes(), keys);
        return keys;
    }

    private void add(String prefix, ColumnFamilyHandle family, Set<String> keys) {
        try (RocksIterator it = db.newIterator(family)) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                keys.add(prefix + HexFormat.of().formatHex(it.key()));
            }
        }
    }

    private int nodesOfOneVersion() {
        Set<String> paths = new HashSet<>();
        try (RocksIterator it = db.newIterator(families.states())) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                paths.add(HexFormat.of().formatHex(it.key(), 0, it.key().length - 8));
            }
        }
        return paths.size();
    }

    private int count(ColumnFamilyHandle family) {
        int count = 0;
        try (RocksIterator it = db.newIterator(family)) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                count++;
            }
        }
        return count;
    }

    private static byte[] bytes(Random random) {
        byte[] bytes = new byte[Id.SIZE];
        random.nextBytes(bytes);
        return bytes;
    }
}
