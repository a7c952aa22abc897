package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import java.io.IOException;
import java.lang.ref.Reference;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.rocksdb.PerfContext;
import org.rocksdb.PerfLevel;
import org.rocksdb.RocksDB;

/** Snapshots, collection, scrub and fsck on a real store. */
class UpkeepTest {

    @TempDir
    Path directory;

    /** What a block should read as: attributes and the fill of each sector, 0 for a hole. */
    private record Content(String attributes, List<Integer> fills) {}

    private static Content read(OpenBlock block) throws StoreException {
        List<Integer> fills = new ArrayList<>();
        byte[] sector = new byte[block.sectorSize()];
        for (long i = 0; i < block.sectorCount(); i++) {
            boolean data = block.readSector(i, sector);
            fills.add(data ? fillOf(sector) : 0);
        }
        return new Content(new String(block.attributes(), java.nio.charset.StandardCharsets.UTF_8), fills);
    }

    /** Sectors in these tests begin with their fill, and hold nothing but what follows from it. */
    private static int fillOf(byte[] sector) {
        int fill = java.nio.ByteBuffer.wrap(sector).getInt();
        assertArrayEquals(sector(fill), sector);
        return fill;
    }

    private static byte[] sector(int fill) {
        byte[] sector = TestTree.sector(fill);
        java.nio.ByteBuffer.wrap(sector).putInt(fill);
        return sector;
    }

    private static void assertClean(BlockStore store) throws StoreException {
        List<Finding> findings = new ArrayList<>();
        FsckReport report = store.fsck(FsckOptions.defaults(), findings::add);
        assertEquals(List.of(), findings);
        assertTrue(report.isClean());
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void everyKeptVersionStaysWholeThroughRandomChangeSnapshotsCollectionAndRestarts(long seed) throws Exception {
        Random random = new Random(seed);
        StoreOptions options = TestTree.options().withRetention(Retention.NONE);
        Map<BlockId, Content> current = new HashMap<>();
        Set<BlockId> deleted = new HashSet<>();
        Map<String, Map<BlockId, Content>> snapshots = new TreeMap<>();
        Map<OpenBlock, Content> held = new HashMap<>();
        Map<StatePin, Map<BlockId, Content>> pins = new HashMap<>();
        boolean ordered = seed == 3;
        try (TestTree tree = new TestTree(directory, options)) {
            if (ordered) {
                OneNodeOrder.of(tree.store);
            }
            for (int step = 0; step < 160; step++) {
                List<BlockId> ids = List.copyOf(current.keySet());
                int dice = random.nextInt(20);
                if (dice < 10 || ids.isEmpty()) {
                    change(tree.store, random, current, ids, deleted);
                } else if (dice == 10) {
                    String name = "s" + step;
                    tree.store.createSnapshot(TestTree.bytes(name));
                    snapshots.put(name, new HashMap<>(current));
                } else if (dice == 11 && !snapshots.isEmpty()) {
                    String name = List.copyOf(snapshots.keySet()).get(random.nextInt(snapshots.size()));
                    tree.store.deleteSnapshot(TestTree.bytes(name));
                    snapshots.remove(name);
                } else if (dice == 12) {
                    BlockId id = ids.get(random.nextInt(ids.size()));
                    held.put(tree.store.read(id), current.get(id));
                    pins.put(tree.store.pin(), new HashMap<>(current));
                } else if (dice == 13) {
                    held.clear();
                    pins.keySet().forEach(StatePin::close);
                    pins.clear();
                } else if (dice == 14) {
                    held.clear();
                    pins.clear();
                    tree.reopen();
                    if (ordered) {
                        OneNodeOrder.of(tree.store);
                    }
                } else {
                    tree.store.collectGarbage();
                    for (Map.Entry<OpenBlock, Content> one : held.entrySet()) {
                        assertEquals(one.getValue(), read(one.getKey()), "seed " + seed + " step " + step);
                    }
                    for (Map.Entry<StatePin, Map<BlockId, Content>> pin : pins.entrySet()) {
                        assertEqualsPinned(tree.store, pin.getKey(), pin.getValue());
                    }
                    assertEqualsModel(tree.store, current, deleted, snapshots);
                }
            }
            assertClean(tree.store);
            Reference.reachabilityFence(held);
            held.clear();
            for (String name : snapshots.keySet()) {
                tree.store.deleteSnapshot(TestTree.bytes(name));
            }
            tree.reopen(); // which no pin outlives
            tree.store.collectGarbage();
            assertEqualsModel(tree.store, current, deleted, Map.of());
            assertClean(tree.store);
            int sectors = 0;
            for (Content content : current.values()) {
                sectors += (int) content.fills.stream().filter(f -> f != 0).count();
            }
            assertEquals(sectors, count(tree.store, Column.SECTORS), "no sector is left that nobody needs");
            assertEquals(
                    current.size() + deleted.size(),
                    count(tree.store, Column.HEADERS),
                    "no header but the newest, tombstones too");
        }
    }

    private static void assertEqualsModel(
            BlockStore store,
            Map<BlockId, Content> current,
            Set<BlockId> deleted,
            Map<String, Map<BlockId, Content>> snapshots)
            throws StoreException {
        for (Map.Entry<BlockId, Content> block : current.entrySet()) {
            assertEquals(block.getValue(), read(store.read(block.getKey())));
        }
        for (BlockId id : deleted) {
            assertEquals(
                    StoreException.Code.NOT_FOUND,
                    assertThrows(StoreException.class, () -> store.read(id)).code());
        }
        Set<BlockId> live = new HashSet<>();
        store.forEachBlock(live::add);
        assertEquals(current.keySet(), live);
        assertEquals(snapshots.size(), store.snapshots().size());
        for (SnapshotInfo info : store.snapshots()) {
            Map<BlockId, Content> then =
                    snapshots.getOrDefault(new String(info.name(), java.nio.charset.StandardCharsets.UTF_8), Map.of());
            for (Map.Entry<BlockId, Content> block : then.entrySet()) {
                assertEquals(block.getValue(), read(store.readAt(block.getKey(), info)));
            }
            Set<BlockId> liveThen = new HashSet<>();
            store.forEachBlockAt(info, liveThen::add);
            assertEquals(then.keySet(), liveThen);
        }
    }

    private static void assertEqualsPinned(BlockStore store, StatePin pin, Map<BlockId, Content> then)
            throws StoreException {
        Set<BlockId> live = new HashSet<>();
        store.forEachBlockAt(pin, live::add);
        assertEquals(then.keySet(), live);
        for (Map.Entry<BlockId, Content> block : then.entrySet()) {
            assertEquals(block.getValue(), read(store.readAt(block.getKey(), pin)));
        }
    }

    @Test
    void whatIsPinnedIsKeptUntilItIsNotAndLeavesNothingInTheLog() throws Exception {
        try (TestTree tree = new TestTree(directory, TestTree.options().withRetention(Retention.NONE))) {
            BlockId id = tree.create("one", 1).id();
            long head = tree.store.headPosition();
            StatePin pin = tree.store.pin();
            assertEquals(head, tree.store.headPosition());
            assertEquals(List.of(), tree.store.snapshots());
            tree.put(tree.store.read(id), 0, 2);
            tree.store.openGenerations().letGo();
            tree.store.collectGarbage();
            assertArrayEquals(TestTree.sector(1), TestTree.read(tree.store.readAt(id, pin), 0));
            pin.close();
            pin.close();
            assertEquals(
                    StoreException.Code.NOT_FOUND,
                    assertThrows(StoreException.class, () -> tree.store.readAt(id, pin))
                            .code());
            tree.store.openGenerations().letGo();
            tree.store.collectGarbage();
            assertEquals(1, count(tree.store, Column.HEADERS));
        }
    }

    private static int count(BlockStore store, Column column) throws StoreException {
        int[] count = {0};
        store.ledger().rocks().scan(column, new byte[0], null, (key, value) -> {
            count[0]++;
            return true;
        });
        return count[0];
    }

    private static void change(
            BlockStore store, Random random, Map<BlockId, Content> current, List<BlockId> ids, Set<BlockId> deleted)
            throws StoreException {
        try (Commit commit = store.newCommit()) {
            Map<BlockId, @Nullable Content> changed = new HashMap<>();
            for (int i = 0; i <= random.nextInt(3); i++) {
                BlockId id = ids.isEmpty() || random.nextInt(4) == 0 ? null : ids.get(random.nextInt(ids.size()));
                if (id == null) {
                    NewBlock block = store.newBlock(store.rootDomain());
                    Content content = new Content("new", new ArrayList<>());
                    BlockEdit edit = commit.create(block, TestTree.SECTOR_LOG2).attributes(TestTree.bytes("new"));
                    changed.put(block.id(), mutate(edit, random, content));
                } else if (!changed.containsKey(id)) {
                    Content before = current.get(id);
                    assertNotNull(before);
                    OpenBlock base = store.read(id);
                    if (random.nextInt(10) == 0) {
                        commit.delete(base);
                        changed.put(id, null);
                    } else {
                        changed.put(id, mutate(commit.edit(base), random, before));
                    }
                }
            }
            store.commit(commit, random.nextInt(5) == 0);
            changed.forEach((id, content) -> {
                if (content == null) {
                    current.remove(id);
                    deleted.add(id);
                } else {
                    current.put(id, content);
                }
            });
        }
    }

    private static Content mutate(BlockEdit edit, Random random, Content before) throws StoreException {
        List<Integer> fills = new ArrayList<>(before.fills);
        String attributes = before.attributes;
        if (random.nextInt(2) == 0) {
            attributes = "a" + random.nextInt(1000);
            edit.attributes(TestTree.bytes(attributes));
        }
        int kind = random.nextInt(10);
        if (kind == 0) {
            int size = fills.isEmpty() ? 0 : random.nextInt(fills.size() + 1);
            edit.truncate(size);
            fills = new ArrayList<>(fills.subList(0, size));
        } else if (kind == 1 && !fills.isEmpty()) {
            int from = random.nextInt(fills.size());
            int to = from + random.nextInt(fills.size() - from + 1);
            edit.punch(from, to);
            for (int i = from; i < to; i++) {
                fills.set(i, 0);
            }
        } else {
            for (int i = 0; i < random.nextInt(6); i++) {
                int index = random.nextInt(random.nextInt(8) == 0 ? 400 : 12);
                while (fills.size() <= index) {
                    fills.add(0);
                }
                int fill = 1 + random.nextInt(1_000_000);
                edit.putSector(index, sector(fill), 0);
                fills.set(index, fill);
            }
        }
        return new Content(attributes, fills);
    }

    @Test
    void aSnapshotKeepsItsNameAndContentOverARestartAndCannotBeMadeTwice() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            OpenBlock block = tree.create("one", 1, 2);
            SnapshotInfo info = tree.store.createSnapshot(TestTree.bytes("before"));
            tree.put(tree.store.read(block.id()), 0, 9);
            assertEquals(
                    StoreException.Code.CONFLICT,
                    assertThrows(StoreException.class, () -> tree.store.createSnapshot(TestTree.bytes("before")))
                            .code());
            tree.reopen();
            SnapshotInfo again = tree.store.snapshots().get(0);
            assertArrayEquals(TestTree.bytes("before"), again.name());
            assertEquals(info.stateRoot(), again.stateRoot());
            assertArrayEquals(TestTree.sector(1), TestTree.read(tree.store.readAt(block.id(), again), 0));
            assertArrayEquals(TestTree.sector(9), TestTree.read(tree.store.read(block.id()), 0));
            tree.store.deleteSnapshot(TestTree.bytes("before"));
            assertEquals(
                    StoreException.Code.NOT_FOUND,
                    assertThrows(StoreException.class, () -> tree.store.readAt(block.id(), again))
                            .code());
            assertEquals(
                    StoreException.Code.NOT_FOUND,
                    assertThrows(StoreException.class, () -> tree.store.deleteSnapshot(TestTree.bytes("before")))
                            .code());
            assertEquals(List.of(), tree.reopen().snapshots());
        }
    }

    @Test
    void aSnapshotsNameIsNotOnDisk() throws Exception {
        String name = "quarterly-figures-of-the-owner";
        try (TestTree tree = new TestTree(directory)) {
            tree.create("one", 1);
            tree.store.createSnapshot(TestTree.bytes(name));
        }
        byte[] needle = TestTree.bytes(name);
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                byte[] content = Files.readAllBytes(file);
                for (int i = 0; i + needle.length <= content.length; i++) {
                    assertTrue(
                            !Arrays.equals(content, i, i + needle.length, needle, 0, needle.length), file.toString());
                }
            }
        }
    }

    @Test
    void deletedDataGivesItsSpaceBackToTheDevice() throws Exception {
        StoreOptions options = TestTree.options().withRetention(Retention.NONE);
        try (TestTree tree = new TestTree(directory, options)) {
            List<BlockId> ids = new ArrayList<>();
            byte[] sector = new byte[1 << 16];
            for (int i = 0; i < 64; i++) {
                try (Commit commit = tree.store.newCommit()) {
                    NewBlock block = tree.store.newBlock(tree.store.rootDomain());
                    BlockEdit edit = commit.create(block, 16).attributes(TestTree.bytes("big"));
                    for (int k = 0; k < 32; k++) {
                        edit.putSector(k, sector, 0);
                    }
                    tree.store.commit(commit, false);
                    ids.add(block.id());
                }
            }
            tree.reopen();
            tree.store.collectGarbage();
            long full = sizeOf(tree.dir);
            for (BlockId id : ids.subList(0, 60)) {
                try (Commit commit = tree.store.newCommit()) {
                    commit.delete(tree.store.read(id));
                    tree.store.commit(commit, false);
                }
            }
            tree.reopen(); // nothing is held open
            tree.store.collectGarbage();
            tree.reopen(); // the database removes files that it no longer needs
            long left = sizeOf(tree.dir);
            assertTrue(left < full / 4, left + " of " + full + " bytes are left for 4 of 64 files");
            for (BlockId id : ids.subList(60, 64)) {
                assertEquals(32, tree.store.read(id).sectorCount());
            }
        }
    }

    /** What deleted blocks had is gone, but in RocksDB's way until it is compacted: it is passed over once, and not once for each block. */
    @Test
    void aCheckOfManyDeletedBlocksDoesNotTakeTheSquareOfTheirNumber() throws Exception {
        int count = 400;
        try (TestTree tree = new TestTree(directory, TestTree.options().withRetention(Retention.NONE))) {
            List<BlockId> ids = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                ids.add(tree.create("block " + i, 1).id());
            }
            for (BlockId id : ids) {
                try (Commit commit = tree.store.newCommit()) {
                    commit.delete(tree.store.read(id));
                    tree.store.commit(commit, false);
                }
            }
            tree.reopen(); // nothing is held open
            tree.store.collectGarbage();
            try (RocksDB any = RocksDB.open(directory.resolve("any").toString())) {
                any.setPerfLevel(PerfLevel.ENABLE_COUNT); // of this thread, whatever the database
                PerfContext counts = any.getPerfContext();
                counts.reset();
                assertClean(tree.store);
                long skipped = counts.getInternalDeleteSkippedCount();
                any.setPerfLevel(PerfLevel.DISABLE);
                assertTrue(skipped < 20L * count, skipped + " deleted keys passed over for " + count + " blocks");
            }
        }
    }

    private static long sizeOf(Path dir) throws IOException {
        long size = 0;
        try (Stream<Path> files = Files.walk(dir)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                if (!file.getFileName().toString().endsWith(".log")) {
                    size += Files.size(file);
                }
            }
        }
        return size;
    }

    @Test
    void scrubGoesOnWhereItWasLeftAndCountsWhatItFinds() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            List<OpenBlock> blocks = new ArrayList<>();
            for (int i = 0; i < 20; i++) {
                blocks.add(tree.create("b" + i, i + 1, i + 2));
            }
            assertEquals(0, tree.store.scrub().runOnce());
            assertEquals(1, tree.store.stats().scrubRounds());
            assertTrue(tree.store.stats().scrubbedBytes() > 40L * TestTree.SECTOR_SIZE);
            OpenBlock damaged = blocks.get(7);
            byte[] key = Keys.sector(damaged.id(), 1, 1);
            byte[] value = tree.store.ledger().rocks().get(Column.SECTORS, key);
            assertNotNull(value);
            value[100] ^= 1;
            tree.store.ledger().rocks().put(Column.SECTORS, key, value);
            assertEquals(1, tree.store.scrub().runOnce());
            assertEquals(1, tree.store.stats().scrubErrors());
            // the cursor: half-way through, a round begins behind the damage
            byte[] behind = Keys.after(damaged.id().toBytes());
            assertNotNull(behind);
            tree.store.writeLocal(LocalTable.key("scrub", new byte[] {'c'}), Arrays.copyOf(behind, 32));
            assertEquals(0, tree.store.scrub().runOnce());
            assertEquals(1, tree.store.scrub().runOnce());
        }
    }

    @Test
    void backgroundScrubStopsAtOnceHoweverSlowItIs() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            for (int i = 0; i < 5; i++) {
                tree.create("b" + i, 1, 2, 3);
            }
            tree.store.scrub().start(1, 1);
            assertTrue(tree.store.scrub().isRunning());
            tree.store.scrub().stop();
            tree.store.scrub().start(Long.MAX_VALUE, 1);
            while (tree.store.stats().scrubRounds() < 2) {
                Thread.onSpinWait();
            }
        }
    }

    @Test
    void closingEndsARunningFsck() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            for (int i = 0; i < 50; i++) {
                tree.create("b" + i, 1, 2, 3);
            }
            List<StoreException> end = new ArrayList<>();
            Thread checker = new Thread(() -> {
                try {
                    tree.store.fsck(FsckOptions.defaults().withBytesPerSecond(1), finding -> {});
                } catch (StoreException e) {
                    end.add(e);
                }
            });
            checker.start();
            while (checker.getState() != Thread.State.TIMED_WAITING) {
                Thread.onSpinWait();
            }
            tree.store.close();
            checker.join();
            assertEquals(StoreException.Code.CLOSED, end.get(0).code());
        }
    }

    @Test
    void fsckOfAStoreInUseIsClean() throws Exception {
        try (TestTree tree = new TestTree(directory, TestTree.options().withCheckpoints(20, 50))) {
            Random random = new Random(5);
            Map<BlockId, Content> current = new HashMap<>();
            Set<BlockId> deleted = new HashSet<>();
            AtomicInteger changes = new AtomicInteger();
            Thread writer = new Thread(() -> {
                try {
                    while (!Thread.currentThread().isInterrupted()) {
                        change(tree.store, random, current, List.copyOf(current.keySet()), deleted);
                        changes.incrementAndGet();
                    }
                } catch (StoreException e) {
                    throw new IllegalStateException(e);
                }
            });
            writer.start();
            for (int i = 0; i < 5 || writer.isAlive() && changes.get() < 50; i++) {
                assertClean(tree.store);
                tree.store.collectGarbage();
            }
            assertTrue(changes.get() >= 50);
            writer.interrupt();
            writer.join();
            assertClean(tree.store);
        }
    }

    @Test
    void whatLostCommitsNotedIsForgottenWhenTheStoreOpens() throws Exception {
        try (TestTree tree = new TestTree(directory, TestTree.options().withRetention(Retention.NONE))) {
            OpenBlock block = tree.create("one", 1, 2);
            OpenBlock second = tree.put(block, 0, 3);
            Rocks rocks = tree.store.ledger().rocks();
            // a lost commit had overwritten sector 1 at the position that the next commit will take
            byte[] lost = new Garbage.Builder(2, second.position(), second.timeMillis())
                    .sector(1, 1)
                    .encode(0);
            tree.store.ledger().checkpoint();
            rocks.put(Column.GARBAGE, Keys.garbage(tree.store.headPosition() + 3, block.id()), lost);
            tree.options = tree.options.withAcceptLoss(true);
            tree.reopen();
            for (int i = 0; i < 4; i++) {
                tree.put(tree.store.read(block.id()), 0, 4 + i);
            }
            tree.reopen();
            tree.store.collectGarbage();
            assertEquals(List.of(7, 2), List.of(fill(tree, block.id(), 0), fill(tree, block.id(), 1)));
        }
    }

    private static int fill(TestTree tree, BlockId id, long index) throws StoreException {
        byte[] sector = TestTree.read(tree.store.read(id), index);
        for (int fill = 1; fill < 10; fill++) {
            if (Arrays.equals(TestTree.sector(fill), sector)) {
                return fill;
            }
        }
        return -1;
    }

    @Test
    void fsckRemovesOnlyWhatNothingCanNeed() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            OpenBlock block = tree.create("one", 1, 2);
            OpenBlock other = tree.create("two", 3);
            Rocks rocks = tree.store.ledger().rocks();
            byte[] sector = rocks.get(Column.SECTORS, Keys.sector(block.id(), 0, 1));
            assertNotNull(sector);
            NewBlock never = tree.store.newBlock(tree.store.rootDomain());
            byte[] orphan = Keys.sector(block.id(), 77, 1);
            byte[] future = Keys.sector(block.id(), 0, 2);
            byte[] stray = Keys.sector(never.id(), 0, 1);
            byte[] strayNode = Keys.node(never.id(), 0, 0, 1);
            byte[] garbage = Keys.garbage(1, never.id());
            rocks.put(Column.SECTORS, orphan, sector);
            rocks.put(Column.SECTORS, future, sector);
            rocks.put(Column.SECTORS, stray, sector);
            rocks.put(Column.NODES, strayNode, new byte[IntegrityNode.ENTRY_SIZE]);
            rocks.put(Column.GARBAGE, garbage, new byte[] {1});
            List<Finding> findings = new ArrayList<>();
            FsckReport report = tree.store.fsck(FsckOptions.defaults(), findings::add);
            assertEquals(5, report.warnings());
            assertEquals(0, report.repaired());
            assertTrue(report.isClean());
            report = tree.store.fsck(FsckOptions.defaults().withRepair(true), finding -> {});
            assertEquals(4, report.repaired());
            assertNotNull(rocks.get(Column.SECTORS, future), "it may be of a commit that is being written");
            report = tree.store.fsck(FsckOptions.defaults(), finding -> {});
            assertEquals(1, report.warnings());
            // with its header gone, what is left of a block is evidence, not waste
            rocks.delete(Column.HEADERS, Keys.header(other.id(), 1));
            report = tree.store.fsck(FsckOptions.defaults().withRepair(true), finding -> {});
            assertEquals(0, report.repaired());
            assertNotNull(rocks.get(Column.SECTORS, Keys.sector(other.id(), 0, 1)));
        }
    }
}
