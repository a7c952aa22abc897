package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import blocktree.crypto.BlockId;
import blocktree.store.BlockStore;
import blocktree.store.Finding;
import blocktree.store.FsckOptions;
import blocktree.store.LocalTable;
import blocktree.store.StoreException;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.Created;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystem.RenameMode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** What is left when a node goes down without a word, and when the disk is full. */
class TreeFileSystemCrashTest {
    private static final long ROOT = FileSystem.ROOT_INODE;
    private static final Caller USER = new Caller(1, 1);
    private static final OpenMode WRITE = new OpenMode(true, true, false, false, false);

    /** Caches so small that everything is evicted and written back at once. */
    private static final TreeOptions SMALL =
            TreeOptions.defaults().withCaches(2 << 20, 1 << 20, 100_000).withDirtyAgeMillis(10);

    @TempDir
    Path directory;

    private static void assertClean(BlockStore store) throws Exception {
        List<TreeFinding> findings = new ArrayList<>();
        TreeCheck.run(store, findings::add);
        assertEquals(List.of(), findings);
    }

    private static byte[] content(FileSystem fs, Name name) throws FileSystemException {
        Attributes found = fs.lookup(ROOT, name);
        long handle = fs.open(USER, found.inode(), WRITE);
        ByteBuffer target = ByteBuffer.allocate((int) found.sizeBytes());
        fs.read(handle, 0, target);
        fs.release(handle);
        return target.array();
    }

    @Test
    void whatWasSyncedSurvivesAndTheRestIsWhole() throws Exception {
        long seed = System.nanoTime();
        System.out.println("TreeFileSystemCrashTest seed=" + seed);
        Random random = new Random(seed);
        try (TestTree tree = new TestTree(directory)) {
            tree.options = SMALL;
            tree.reopen();
            changeAndCrash(tree, random, () -> {});
        }
    }

    /** Years forward and days back, under the store and the tree: order and content come from the log, and only times are wrong. */
    @Test
    void aClockThatJumpsCostsNothing() throws Exception {
        long seed = System.nanoTime();
        System.out.println("TreeFileSystemCrashTest seed=" + seed);
        Random random = new Random(seed);
        Duration[] jumps = {Duration.ZERO, Duration.ofDays(-3), Duration.ofDays(700), Duration.ofDays(-11_000)};
        Duration[] offset = {Duration.ZERO};
        Clock jumping = new Clock() {
            @Override
            public Instant instant() {
                return Instant.now().plus(offset[0]);
            }

            @Override
            public ZoneId getZone() {
                return ZoneOffset.UTC;
            }

            @Override
            public Clock withZone(ZoneId zone) {
                return this;
            }
        };
        try (TestTree tree = new TestTree(directory)) {
            tree.options = SMALL.withClock(jumping);
            tree.storeOptions = tree.storeOptions.withClock(jumping);
            tree.reopen();
            List<String> snapshots = new ArrayList<>();
            changeAndCrash(tree, random, () -> {
                offset[0] = jumps[random.nextInt(jumps.length)];
                if (random.nextInt(20) == 0) {
                    snapshots.add("s" + snapshots.size());
                    tree.fs.createSnapshot(Name.of(snapshots.get(snapshots.size() - 1)));
                }
            });
            assertEquals(
                    snapshots,
                    tree.store.snapshots().stream()
                            .map(snapshot -> new String(snapshot.name(), StandardCharsets.UTF_8))
                            .toList(),
                    "in the order in which they were made");
        }
    }

    private interface BeforeChange {
        void run() throws FileSystemException;
    }

    private static void changeAndCrash(TestTree tree, Random random, BeforeChange before) throws Exception {
        Map<Name, byte[]> synced = new HashMap<>();
        for (int round = 0; round < 8; round++) {
            int steps = random.nextInt(150);
            for (int i = 0; i < steps; i++) {
                before.run();
                randomChange(random, tree.fs, synced);
            }
            tree.crash();
            for (Map.Entry<Name, byte[]> entry : synced.entrySet()) {
                assertArrayEquals(entry.getValue(), content(tree.fs, entry.getKey()), "round " + round);
            }
            assertClean(tree.store);
        }
    }

    /** Changes one name; {@code synced} holds what must be there after a crash. */
    private static void randomChange(Random random, TreeFileSystem fs, Map<Name, byte[]> synced)
            throws FileSystemException {
        Name name = Name.of("f" + random.nextInt(20));
        Name other = Name.of("f" + random.nextInt(20));
        try {
            switch (random.nextInt(8)) {
                case 0 -> {
                    synced.remove(name);
                    fs.unlink(ROOT, name);
                }
                case 1 -> {
                    synced.remove(name);
                    synced.remove(other);
                    fs.rename(ROOT, name, ROOT, other, RenameMode.REPLACE);
                }
                case 2 -> fs.makeDirectory(USER, ROOT, Name.of("d" + random.nextInt(50)), 0700);
                case 3 -> fs.removeDirectory(ROOT, Name.of("d" + random.nextInt(50)));
                default -> write(random, fs, name, synced);
            }
        } catch (FileSystemException e) {
            assertTrue(
                    e.code() == FileSystemException.Code.NOT_FOUND || e.code() == FileSystemException.Code.EXISTS,
                    e.toString());
        }
    }

    private static void write(Random random, TreeFileSystem fs, Name name, Map<Name, byte[]> synced)
            throws FileSystemException {
        byte[] bytes = new byte[random.nextInt(random.nextInt(10) == 0 ? 3_000_000 : 20_000)];
        random.nextBytes(bytes);
        long handle;
        synced.remove(name);
        try {
            handle = fs.create(USER, ROOT, name, 0600, WRITE).handle();
        } catch (FileSystemException e) {
            handle = fs.open(USER, fs.lookup(ROOT, name).inode(), new OpenMode(true, true, false, true, false));
        }
        for (int at = 0; at < bytes.length; at += 100_000) {
            fs.write(USER, handle, at, ByteBuffer.wrap(bytes, at, Math.min(100_000, bytes.length - at)));
        }
        if (random.nextInt(3) == 0) {
            fs.fsync(handle, true);
            synced.put(name, bytes);
        }
        fs.release(handle);
    }

    @Test
    void unlinkedOpenFilesAreGoneAfterACrash() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            Created created = tree.fs.create(USER, ROOT, Name.of("open"), 0600, WRITE);
            tree.fs.write(USER, created.handle(), 0, ByteBuffer.wrap(new byte[100_000]));
            tree.fs.fsync(created.handle(), false);
            tree.fs.unlink(ROOT, Name.of("open"));
            tree.fs.write(USER, created.handle(), 0, ByteBuffer.wrap(new byte[] {1}));
            tree.fs.sync();
            assertEquals(1, count(tree.store), "the root; the file is on the orphan list");
            tree.crash();
            AtomicInteger blocks = new AtomicInteger();
            tree.store.forEachBlock(id -> blocks.incrementAndGet());
            assertEquals(1, blocks.get());
            assertClean(tree.store);
        }
    }

    @Test
    void filesWithoutANameAreGoneAfterACrashAndNamedOnesStay() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            Created nameless = tree.fs.createNameless(USER, ROOT, 0600, WRITE, true);
            Created named = tree.fs.createNameless(USER, ROOT, 0600, WRITE, true);
            for (Created each : List.of(nameless, named)) {
                tree.fs.write(USER, each.handle(), 0, ByteBuffer.wrap(new byte[100_000]));
                tree.fs.fsync(each.handle(), false);
            }
            assertEquals(2, Flusher.listedOrphans(tree.store).size());
            assertClean(tree.store);
            tree.fs.createSnapshot(Name.of("snapshot"));
            tree.fs.link(named.attributes().inode(), ROOT, Name.of("named"));
            tree.fs.fsync(named.handle(), false);
            assertEquals(1, Flusher.listedOrphans(tree.store).size());
            assertClean(tree.store);

            tree.crash();
            assertEquals(0, Flusher.listedOrphans(tree.store).size());
            assertArrayEquals(new byte[100_000], content(tree.fs, Name.of("named")));
            AtomicInteger blocks = new AtomicInteger();
            tree.store.forEachBlock(id -> blocks.incrementAndGet());
            assertEquals(2, blocks.get(), "the root and the file with a name");
            Attributes snapshots = tree.fs.lookup(ROOT, Name.of(".snapshots"));
            Attributes snapshot = tree.fs.lookup(snapshots.inode(), Name.of("snapshot"));
            tree.fs.readDirectory(snapshot.inode(), 0, (name, inode, mode, cookie) -> fail("found " + name));
            tree.fs.deleteSnapshot(Name.of("snapshot"));
            assertClean(tree.store);
        }
    }

    /** Whatever put them there. */
    @Test
    void namedBlocksOnTheListOfOrphansAreNotDeleted() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            Created file = tree.fs.create(USER, ROOT, Name.of("file"), 0600, WRITE);
            tree.fs.write(USER, file.handle(), 0, ByteBuffer.wrap(new byte[] {1, 2, 3}));
            tree.fs.makeDirectory(USER, ROOT, Name.of("directory"), 0700);
            tree.fs.sync();
            LocalTable list = tree.store.local(Flusher.ORPHANS);
            List<BlockId> blocks = new ArrayList<>();
            tree.store.forEachBlock(blocks::add);
            for (BlockId id : blocks) {
                list.put(id.toBytes(), new byte[] {1});
            }
            list.put(new byte[32], new byte[] {1});
            list.put(new byte[] {1, 2}, new byte[] {1});
            tree.crash();
            assertArrayEquals(new byte[] {1, 2, 3}, content(tree.fs, Name.of("file")));
            tree.fs.lookup(ROOT, Name.of("directory"));
            assertEquals(3, blocks.size());
            list = tree.store.local(Flusher.ORPHANS);
            for (BlockId id : blocks) {
                assertNull(list.get(id.toBytes()));
            }
            assertNull(list.get(new byte[32]));
            assertClean(tree.store);
        }
    }

    @Test
    void aDamagedTableOfThisNodeKeepsNothingFromBeingUsed() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            Created file = tree.fs.create(USER, ROOT, Name.of("file"), 0600, WRITE);
            tree.fs.write(USER, file.handle(), 0, ByteBuffer.wrap(new byte[] {1, 2, 3}));
            tree.fs.setAttributes(USER, file.attributes().inode(), AttributeChange.times(5L, 6L));
            tree.fs.sync();
            tree.crash();
            assertEquals(5, tree.fs.lookup(ROOT, Name.of("file")).accessTimeNanos());
            tree.fs.close();
            tree.store.close();
            damageFileWith(tree.directory.resolve("a"), "access\0");
            tree.store = BlockStore.open(tree.directory.resolve("a"), tree.storeOptions, tree.node);
            assertThrows(StoreException.class, () -> tree.store.local("access").forEach((id, time) -> {}));

            tree.fs = TreeFileSystem.open(tree.store, tree.options);
            assertArrayEquals(new byte[] {1, 2, 3}, content(tree.fs, Name.of("file")));
            assertNotEquals(5, tree.fs.lookup(ROOT, Name.of("file")).accessTimeNanos());
            tree.fs.sync();
            List<Finding> findings = new ArrayList<>();
            tree.store.fsck(FsckOptions.defaults(), findings::add);
            assertEquals(1, findings.size(), findings.toString());
            assertEquals(Finding.Kind.DATABASE_DAMAGED, findings.get(0).kind());
            TreeCheck.run(tree.store, finding -> fail(finding.toString()));
        }
    }

    private static void damageFileWith(Path store, String content) throws IOException {
        List<Path> files;
        try (Stream<Path> all = Files.list(store)) {
            files = all.filter(file -> file.toString().endsWith(".sst")).toList();
        }
        int damaged = 0;
        for (Path file : files) {
            byte[] bytes = Files.readAllBytes(file);
            int at = new String(bytes, StandardCharsets.ISO_8859_1).indexOf(content);
            if (at >= 0) {
                bytes[at] ^= 1;
                Files.write(file, bytes);
                damaged++;
            }
        }
        assertEquals(1, damaged, files.toString());
    }

    private static int count(BlockStore store) throws Exception {
        AtomicInteger names = new AtomicInteger();
        TreeCheck.Summary summary = TreeCheck.run(store, finding -> names.addAndGet(1000));
        return names.get() + (int) (summary.directories() + summary.files());
    }

    @Test
    void changesReachTheStoreByThemselvesWithinTheirAge() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            tree.options = TreeOptions.defaults().withDirtyAgeMillis(200);
            tree.reopen();
            Created created = tree.fs.create(USER, ROOT, Name.of("f"), 0600, WRITE);
            tree.fs.write(USER, created.handle(), 0, ByteBuffer.wrap(new byte[1_500_000]));
            long deadline = System.nanoTime() + 30_000_000_000L;
            while (tree.fs.counters().dirtyBytes() > 0 || tree.fs.counters().dirtyInodes() > 0) {
                assertTrue(System.nanoTime() < deadline, "still dirty");
                Thread.onSpinWait();
            }
            tree.crash();
            assertEquals(1_500_000, tree.fs.lookup(ROOT, Name.of("f")).sizeBytes());
        }
    }

    @Test
    void aFullDiskRefusesWritesKeepsEverythingAndRecoversByItself() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            Created old = tree.fs.create(USER, ROOT, Name.of("old"), 0600, WRITE);
            tree.fs.write(USER, old.handle(), 0, ByteBuffer.wrap(new byte[] {1, 2, 3}));
            tree.fs.fsync(old.handle(), false);
            // Half of a filler is the margin against what others do to the disk meanwhile.
            long filler = 2L << 30;
            long reserve = Files.getFileStore(directory).getUsableSpace() - filler / 2;
            Path file = directory.resolve("filler");
            assertEquals(
                    0,
                    new ProcessBuilder("fallocate", "-l", Long.toString(filler), file.toString())
                            .inheritIO()
                            .start()
                            .waitFor());
            tree.storeOptions = tree.storeOptions.withReserveBytes(reserve);
            tree.reopen();

            Created fresh = tree.fs.create(USER, ROOT, Name.of("fresh"), 0600, WRITE);
            byte[] expected = new byte[300_000];
            new Random(1).nextBytes(expected);
            tree.fs.write(USER, fresh.handle(), 0, ByteBuffer.wrap(expected));
            assertNoSpace(() -> tree.fs.fsync(fresh.handle(), false));
            assertNoSpace(() -> tree.fs.write(USER, fresh.handle(), 300_000, ByteBuffer.wrap(new byte[10])));
            assertNoSpace(() -> tree.fs.create(USER, ROOT, Name.of("another"), 0600, WRITE));
            assertArrayEquals(new byte[] {1, 2, 3}, content(tree.fs, Name.of("old")), "what was committed is readable");
            assertArrayEquals(expected, content(tree.fs, Name.of("fresh")), "and so is what was not");

            Files.delete(file);
            long deadline = System.nanoTime() + 30_000_000_000L;
            while (!accepts(tree.fs, fresh.handle(), expected)) {
                assertTrue(System.nanoTime() < deadline, "no recovery");
                Thread.onSpinWait();
            }
            tree.fs.fsync(fresh.handle(), false);
            tree.crash();
            assertArrayEquals(expected, content(tree.fs, Name.of("fresh")));
        }
    }

    @Test
    void aReplacedNameStandsForTheOldOrTheNewContentAfterACrash() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            byte[] old = new byte[100_000];
            byte[] replacement = new byte[6 << 20];
            new Random(1).nextBytes(old);
            new Random(2).nextBytes(replacement);
            Created first = tree.fs.create(USER, ROOT, Name.of("config"), 0600, WRITE);
            tree.fs.write(USER, first.handle(), 0, ByteBuffer.wrap(old));
            tree.fs.fsync(first.handle(), false);
            Created second = tree.fs.create(USER, ROOT, Name.of("config.tmp"), 0600, WRITE);
            tree.fs.write(USER, second.handle(), 0, ByteBuffer.wrap(replacement));
            tree.fs.rename(ROOT, Name.of("config.tmp"), ROOT, Name.of("config"), RenameMode.REPLACE);
            Created third = tree.fs.create(USER, ROOT, Name.of("third"), 0600, WRITE);
            tree.fs.fsync(third.handle(), false);
            tree.crash();
            assertArrayEquals(replacement, content(tree.fs, Name.of("config")));
        }
    }

    @Test
    void closingRefusesLaterChangesAndCanBeRepeated() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            Created file = tree.fs.create(USER, ROOT, Name.of("f"), 0600, WRITE);
            tree.fs.close();
            tree.fs.close();
            FileSystemException e = assertThrows(
                    FileSystemException.class,
                    () -> tree.fs.write(USER, file.handle(), 0, ByteBuffer.wrap(new byte[1])));
            assertEquals(FileSystemException.Code.CLOSED, e.code());
        }
    }

    private static boolean accepts(FileSystem fs, long handle, byte[] content) throws FileSystemException {
        try {
            return fs.write(USER, handle, 0, ByteBuffer.wrap(content)) == content.length;
        } catch (FileSystemException e) {
            assertEquals(FileSystemException.Code.NO_SPACE, e.code());
            return false;
        }
    }

    private static void assertNoSpace(Executable action) {
        assertEquals(
                FileSystemException.Code.NO_SPACE,
                assertThrows(FileSystemException.class, action).code());
    }
}
