package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.Created;
import blocktree.tree.FileSystem.ExtendedAttributeMode;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystem.RenameMode;
import blocktree.tree.FileSystemException.Code;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.LoggerFactory;

/** What one node shows of what another has committed, and what becomes of its own changes that were not. */
@SuppressWarnings("NullAway.Init")
@Timeout(120)
class ChangedElsewhereTest {
    private static final long ROOT = FileSystem.ROOT_INODE;
    private static final Caller USER = new Caller(1000, 100);
    private static final OpenMode READ = new OpenMode(true, false, false, false, false);
    private static final OpenMode WRITE = new OpenMode(true, true, false, false, false);
    private static final int PAGE = 4096;

    @TempDir
    Path directory;

    private TwoNodes nodes;
    private TreeFileSystem a;
    private TreeFileSystem b;
    private final Queue<Runnable> references = new ConcurrentLinkedQueue<>();
    private final ListAppender<ILoggingEvent> events = new ListAppender<>();
    private final Logger logger = (Logger) LoggerFactory.getLogger("blocktree.tree");

    /** Nothing is committed but on request. */
    @BeforeEach
    void open() throws Exception {
        nodes = TwoNodes.open(directory, TreeOptions.defaults().withDirtyAgeMillis(600_000));
        a = nodes.a.fs();
        b = nodes.b.fs();
        events.start();
        logger.addAppender(events);
    }

    @AfterEach
    void close() throws Exception {
        logger.detachAppender(events);
        nodes.close();
        assertFalse(events.list.stream().anyMatch(event -> event.getMessage().equals("block_missing")));
    }

    private long eventCount(String event) {
        synchronized (events) { // as whoever appends
            return events.list.stream()
                    .filter(e -> e.getMessage().equals(event))
                    .count();
        }
    }

    private static Name name(String text) {
        return Name.of(text);
    }

    private static void assertFails(Code code, Executable executable) {
        FileSystemException e = assertThrows(FileSystemException.class, executable);
        assertEquals(code, e.code(), e.getMessage());
    }

    private long at(FileSystem fs, String... path) throws FileSystemException {
        long inode = ROOT;
        for (String part : path) {
            long parent = inode;
            inode = held(fs, fs.lookup(parent, name(part)).inode());
        }
        return inode;
    }

    /** The inode, whose reference is given back before what is left is compared. */
    private long held(FileSystem fs, long inode) {
        references.add(() -> fs.forget(inode, 1));
        return inode;
    }

    private long makeDirectory(FileSystem fs, long parent, String name) throws FileSystemException {
        return held(fs, fs.makeDirectory(USER, parent, name(name), 0755).inode());
    }

    private long write(FileSystem fs, long parent, String name, byte[] content) throws FileSystemException {
        Created created = fs.create(USER, parent, name(name), 0644, WRITE);
        fs.write(USER, created.handle(), 0, ByteBuffer.wrap(content));
        fs.release(created.handle());
        return held(fs, created.attributes().inode());
    }

    private static void rewrite(FileSystem fs, long inode, byte[] content) throws FileSystemException {
        long handle = fs.open(USER, inode, new OpenMode(true, true, false, true, false));
        fs.write(USER, handle, 0, ByteBuffer.wrap(content));
        fs.release(handle);
    }

    private static byte[] read(FileSystem fs, long handle, int size) throws FileSystemException {
        ByteBuffer target = ByteBuffer.allocate(size);
        return Arrays.copyOf(target.array(), fs.read(handle, 0, target));
    }

    private static byte[] content(FileSystem fs, long inode) throws FileSystemException {
        long handle = fs.open(USER, inode, READ);
        try {
            return read(fs, handle, 1 << 20);
        } finally {
            fs.release(handle);
        }
    }

    private static Map<String, Long> list(FileSystem fs, long inode) throws FileSystemException {
        Map<String, Long> found = new TreeMap<>();
        fs.readDirectory(inode, 0, (name, child, mode, cookie) -> {
            assertFalse(found.containsKey(name.plaintext()), "listed twice");
            found.put(name.plaintext(), child);
            return true;
        });
        return found;
    }

    private static byte[] bytes(int size, int seed) {
        byte[] content = new byte[size];
        new Random(seed).nextBytes(content);
        return content;
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Both nodes show the same tree, and it is whole. */
    private void assertSame() throws Exception {
        references.forEach(Runnable::run);
        references.clear();
        a.sync();
        b.sync();
        assertSame(ROOT);
        for (TwoNodes.Node node : List.of(nodes.a, nodes.b)) {
            List<TreeFinding> findings = new ArrayList<>();
            TreeCheck.run(node.store, findings::add);
            assertEquals(List.of(), findings);
        }
    }

    /** All but the time of access, which is each node's own. */
    private static List<Object> shown(Attributes of) {
        return List.of(
                of.inode(),
                of.mode(),
                of.uid(),
                of.gid(),
                of.linkCount(),
                of.sizeBytes(),
                of.storedBytes(),
                of.modifyTimeNanos(),
                of.changeTimeNanos());
    }

    private void assertSame(long inode) throws Exception {
        Map<String, Long> names = list(a, inode);
        assertEquals(names, list(b, inode));
        for (Map.Entry<String, Long> entry : names.entrySet()) {
            Attributes there = a.lookup(inode, name(entry.getKey()));
            Attributes here = b.lookup(inode, name(entry.getKey()));
            assertEquals(shown(there), shown(here), entry.getKey());
            if (there.isDirectory()) {
                assertEquals(a.parent(there.inode()), b.parent(here.inode()));
                assertSame(there.inode());
            } else {
                assertArrayEquals(content(a, there.inode()), content(b, here.inode()));
            }
            a.forget(there.inode(), 1);
            b.forget(here.inode(), 1);
        }
    }

    // ---- what is shown

    @Test
    void contentIsWhatTheOtherHasWrittenThroughHandlesThatAreOpenToo() throws Exception {
        long inode = write(a, ROOT, "file", bytes(10, 0));
        a.sync();
        long handle = b.open(USER, at(b, "file"), READ);
        int[] sizes = {100, 4096, 5000, 300_000, 70_000, 0, 1, 200_000, 40};
        for (int i = 0; i < sizes.length; i++) {
            byte[] content = bytes(sizes[i], i);
            rewrite(a, inode, content);
            a.sync();
            assertArrayEquals(content, read(b, handle, 1 << 20));
            assertEquals(sizes[i], b.getAttributes(inode).sizeBytes());
            assertArrayEquals(content, content(b, inode));
        }
        byte[] expected = bytes(200_000, 7);
        rewrite(a, inode, expected);
        a.sync();
        assertArrayEquals(expected, read(b, handle, 1 << 20));
        long writer = a.open(USER, inode, WRITE);
        a.write(USER, writer, 10 * PAGE + 5, ByteBuffer.wrap(text("in the middle")));
        a.allocate(USER, writer, 3, 2 * PAGE, PAGE);
        a.fsync(writer, false);
        System.arraycopy(text("in the middle"), 0, expected, 10 * PAGE + 5, 13);
        Arrays.fill(expected, 2 * PAGE, 3 * PAGE, (byte) 0);
        assertArrayEquals(expected, read(b, handle, 1 << 20));
        assertEquals(2 * PAGE, b.seek(handle, 0, true));
        b.release(handle);
        a.release(writer);
    }

    @Test
    void attributesAreThoseThatTheOtherHasSet() throws Exception {
        long inode = write(a, ROOT, "file", bytes(10, 0));
        a.sync();
        assertEquals(0644, b.lookup(ROOT, name("file")).mode() & 07777);
        a.setAttributes(USER, inode, new AttributeChange(0600, 1, 2, null, null, null, null));
        a.setExtendedAttribute(USER, inode, name("user.x"), text("value"), ExtendedAttributeMode.SET);
        a.link(inode, ROOT, name("link"));
        a.sync();
        Attributes seen = b.getAttributes(inode);
        assertEquals(shown(a.getAttributes(inode)), shown(seen));
        assertEquals(2, seen.linkCount());
        assertArrayEquals(text("value"), b.getExtendedAttribute(inode, name("user.x")));
        a.removeExtendedAttribute(inode, name("user.x"));
        a.sync();
        assertEquals(0, b.listExtendedAttributes(inode).length);
        assertSame();
    }

    @Test
    void namesThatAreKnownComeGoAndMove() throws Exception {
        long p = makeDirectory(a, ROOT, "p");
        long q = makeDirectory(a, ROOT, "q");
        long inner = makeDirectory(a, p, "inner");
        write(a, inner, "file", text("one"));
        a.sync();
        assertArrayEquals(text("one"), content(b, at(b, "p", "inner", "file")));
        assertFails(Code.NOT_FOUND, () -> at(b, "q", "inner"));

        a.rename(p, name("inner"), q, name("inner"), RenameMode.REPLACE);
        write(a, ROOT, "new", text("new"));
        write(a, inner, "other", text("two"));
        a.rename(inner, name("other"), inner, name("file"), RenameMode.REPLACE);
        a.sync();
        assertFails(Code.NOT_FOUND, () -> at(b, "p", "inner"));
        assertArrayEquals(text("two"), content(b, at(b, "q", "inner", "file")));
        assertEquals(q, b.parent(inner));
        assertArrayEquals(text("new"), content(b, at(b, "new")));

        a.rename(ROOT, name("new"), inner, name("file"), RenameMode.EXCHANGE);
        a.removeDirectory(ROOT, name("p"));
        a.sync();
        assertArrayEquals(text("two"), content(b, at(b, "new")));
        assertArrayEquals(text("new"), content(b, at(b, "q", "inner", "file")));
        assertFails(Code.NOT_FOUND, () -> at(b, "p"));
        assertSame();
    }

    @Test
    void aDirectoryGrowsAndShrinksByThousandsOfNames() throws Exception {
        long d = makeDirectory(a, ROOT, "d");
        a.sync();
        assertEquals(Map.of(), list(b, at(b, "d")));
        int count = 5_000;
        for (int i = 0; i < count; i++) {
            a.forget(write(a, d, "a name that takes some room " + i, text("content " + i)), 1);
            if (i % 1_000 == 500) {
                a.sync();
                assertEquals(list(a, d), list(b, d));
            }
        }
        a.sync();
        assertEquals(count, list(b, d).size());
        for (int i = 0; i < count; i += 7) {
            long inode = at(b, "d", "a name that takes some room " + i);
            assertArrayEquals(text("content " + i), content(b, inode));
            if (i % 2 == 0) {
                b.forget(inode, 1);
            }
        }
        for (int i = 0; i < count; i++) {
            if (i % 100 != 0) {
                a.unlink(d, name("a name that takes some room " + i));
            }
        }
        a.sync();
        assertEquals(count / 100, list(b, d).size());
        for (int i = 0; i < count; i += 50) {
            String name = "a name that takes some room " + i;
            if (i % 100 == 0) {
                assertArrayEquals(text("content " + i), content(b, at(b, "d", name)));
            } else {
                assertFails(Code.NOT_FOUND, () -> at(b, "d", name));
            }
        }
        assertSame();
    }

    @Test
    void aListingThatHasBegunGoesOn() throws Exception {
        long d = makeDirectory(a, ROOT, "d");
        for (int i = 0; i < 1_000; i++) {
            write(a, d, "stays" + i, new byte[0]);
        }
        a.sync();
        Set<String> listed = ConcurrentHashMap.newKeySet();
        assertEquals(d, at(b, "d"));
        long[] cookie = new long[1];
        for (int round = 0; listed.size() < 1_000 && round < 100; round++) {
            int[] left = {30};
            b.readDirectory(d, cookie[0], (name, child, mode, at) -> {
                if (left[0]-- == 0) {
                    return false;
                }
                if (name.plaintext().startsWith("stays")) {
                    assertTrue(listed.add(name.plaintext()), "listed twice");
                }
                cookie[0] = at;
                return true;
            });
            for (int i = 0; i < 20; i++) {
                write(a, d, "comes" + round + "-" + i, new byte[0]);
            }
            a.sync();
        }
        assertEquals(1_000, listed.size());
    }

    @Test
    void whatTheOtherHasDeletedIsStaleWhereItIsInUse() throws Exception {
        long inode = write(a, ROOT, "file", bytes(100_000, 1));
        long d = makeDirectory(a, ROOT, "d");
        a.sync();
        assertEquals(inode, at(b, "file"));
        assertEquals(d, at(b, "d"));
        long handle = b.open(USER, inode, WRITE);
        assertEquals(100_000, read(b, handle, 1 << 20).length);
        a.forget(inode, 1);
        a.forget(d, 1);
        a.unlink(ROOT, name("file"));
        a.removeDirectory(ROOT, name("d"));
        write(a, ROOT, "file", text("another"));
        a.sync();
        assertFails(Code.STALE, () -> read(b, handle, 10));
        assertFails(Code.STALE, () -> b.write(USER, handle, 0, ByteBuffer.wrap(new byte[1])));
        assertFails(Code.STALE, () -> b.getAttributes(inode));
        assertFails(Code.STALE, () -> b.lookup(d, name("x")));
        assertFails(Code.STALE, () -> b.makeDirectory(USER, d, name("x"), 0755));
        assertFails(Code.STALE, () -> list(b, d));
        assertFails(Code.NOT_FOUND, () -> at(b, "d"));
        assertArrayEquals(text("another"), content(b, at(b, "file")));
        b.fsync(handle, false);
        b.release(handle);
        b.forget(inode, 1);
        b.forget(d, 1);
        assertEquals(0, b.counters().openHandles());
        assertEquals(0, eventCount("changes_lost"));
        assertSame();
    }

    @Test
    void aFileWithoutANameLivesAsLongAsItsNodeUsesIt() throws Exception {
        long inode = write(a, ROOT, "file", text("content"));
        a.sync();
        at(b, "file");
        long there = a.open(USER, inode, READ);
        long here = b.open(USER, inode, READ);
        a.unlink(ROOT, name("file"));
        a.sync();
        assertArrayEquals(text("content"), read(b, here, 100));
        assertEquals(0, b.getAttributes(inode).linkCount());
        assertFails(Code.NOT_FOUND, () -> b.link(inode, ROOT, name("again")));
        b.release(here);
        b.forget(inode, 1);
        b.sync();
        assertArrayEquals(text("content"), read(a, there, 100), "it is not the other's to delete");
        long again = a.open(USER, inode, READ);
        a.release(there);
        a.release(again);
        a.forget(inode, 1);
        assertSame();
    }

    @Test
    void blocksThatNobodyKnowsCostLittle() throws Exception {
        List<BlockId> unknown = new ArrayList<>();
        for (int i = 0; i < 100_000; i++) {
            unknown.add(BlockId.of(bytes(32, i)));
        }
        b.changedElsewhere(unknown);
        long start = System.nanoTime();
        b.changedElsewhere(unknown);
        long micros = (System.nanoTime() - start) / 1_000;
        assertTrue(micros < 2_000_000, micros + " µs for 100,000 blocks");
        assertEquals(1, b.counters().cachedInodes());
    }

    @Test
    void whatIsNotInUseLeavesMemory() throws Exception {
        for (int i = 0; i < 100; i++) {
            write(a, ROOT, "f" + i, bytes(10_000, i));
        }
        a.sync();
        for (int i = 0; i < 100; i++) {
            long inode = at(b, "f" + i);
            content(b, inode);
            b.forget(inode, 1);
        }
        assertTrue(b.counters().cachedInodes() > 100);
        long before = b.counters().cleanBytes();
        for (int i = 0; i < 100; i++) {
            rewrite(a, at(a, "f" + i), bytes(10_000, i + 1));
        }
        a.sync();
        assertTrue(b.counters().cachedInodes() <= 2);
        assertTrue(b.counters().cleanBytes() <= before - 100 * 2 * PAGE);
        assertSame();
    }

    @Test
    void viewsOfHistoryFollow() throws Exception {
        long d = makeDirectory(a, ROOT, "d");
        long inode = write(a, d, "file", text("one"));
        a.sync();
        assertEquals(Set.of("d"), list(b, at(b, ".snapshots", ".versions")).keySet());
        long versions = at(b, ".snapshots", ".versions", "d", "file");
        assertEquals(1, list(b, versions).size());
        rewrite(a, inode, text("two"));
        a.setAttributes(USER, d, new AttributeChange(0700, null, null, null, null, null, null));
        write(a, d, "other", text("x"));
        a.sync();
        List<Long> generations = new ArrayList<>(list(b, versions).values());
        assertEquals(2, generations.size());
        b.lookup(versions, name(List.copyOf(list(b, versions).keySet()).get(0)));
        assertArrayEquals(text("one"), content(b, generations.get(0)));
        assertEquals(
                Set.of("file", "other"),
                list(b, at(b, ".snapshots", ".versions", "d")).keySet());
        assertEquals(
                0500, b.getAttributes(at(b, ".snapshots", ".versions", "d")).mode() & 07777);
    }

    // ---- before it is told

    @Test
    void aNameWhoseBlockIsGoneAlreadyIsNoDamage() throws Exception {
        for (int i = 0; i < 200; i++) {
            write(a, ROOT, "f" + i, text("one"));
        }
        a.sync();
        assertEquals(200, list(b, ROOT).size());
        nodes.b.deafen();
        for (int i = 0; i < 200; i++) {
            if (i % 2 == 0) {
                a.forget(at(a, "f" + i), 2);
                a.unlink(ROOT, name("f" + i));
            } else {
                write(a, ROOT, "new", text("two"));
                a.rename(ROOT, name("new"), ROOT, name("f" + i), RenameMode.REPLACE);
            }
        }
        a.sync();
        assertEquals(
                Code.NOT_FOUND,
                assertThrows(FileSystemException.class, () -> at(b, "f0")).code());
        for (int i = 1; i < 200; i += 2) {
            assertArrayEquals(text("two"), content(b, at(b, "f" + i)));
        }
        nodes.b.hear();
        assertSame();
    }

    @Test
    void aLookupThatRacesWithTheNoticeFindsOneOrTheOther() throws Exception {
        long d = makeDirectory(a, ROOT, "d");
        write(a, d, "file", text("0"));
        a.sync();
        at(b, "d");
        ExecutorService threads = Executors.newFixedThreadPool(2);
        List<Future<Integer>> results = new ArrayList<>();
        AtomicBoolean over = new AtomicBoolean();
        for (int i = 0; i < 2; i++) {
            results.add(threads.submit(() -> {
                int count = 0;
                int last = 0;
                while (!over.get() || count == 0) {
                    try {
                        long inode = b.lookup(d, name("file")).inode();
                        try {
                            int read = Integer.parseInt(new String(content(b, inode), StandardCharsets.UTF_8));
                            assertTrue(read >= last, read + " after " + last);
                            last = read;
                            count++;
                        } finally {
                            b.forget(inode, 1);
                        }
                    } catch (FileSystemException e) {
                        // Between the lookup and the open it may be replaced, and deleted.
                        assertEquals(Code.STALE, e.code(), e::toString);
                    }
                }
                return count;
            }));
        }
        for (int i = 1; i < 300; i++) {
            long made = write(a, d, "new", text(String.valueOf(i)));
            a.forget(made, 1);
            a.rename(d, name("new"), d, name("file"), RenameMode.REPLACE);
            a.sync();
        }
        over.set(true);
        for (Future<Integer> result : results) {
            assertTrue(result.get(60, TimeUnit.SECONDS) > 0);
        }
        threads.shutdown();
    }

    // ---- while it is read

    @Test
    void whoReadsMeanwhileGetsOneOfTheVersionsAndNoneThatIsOlderThanWhatWasTold() throws Exception {
        int[] sizes = {100, 3_000, 20_000, 150_000};
        int fileCount = 24;
        AtomicIntegerArray told = new AtomicIntegerArray(fileCount);
        AtomicIntegerArray written = new AtomicIntegerArray(fileCount);
        long[] inodes = new long[fileCount];
        long d = makeDirectory(a, ROOT, "d");
        for (int i = 0; i < fileCount; i++) {
            inodes[i] = write(a, d, "f" + i, version(sizes[i % 4], 0));
        }
        a.sync();
        long[] handles = new long[fileCount];
        for (int i = 0; i < fileCount; i += 2) {
            handles[i] = b.open(USER, at(b, "d", "f" + i), READ);
        }
        ExecutorService threads = Executors.newFixedThreadPool(3);
        List<Future<?>> results = new ArrayList<>();
        AtomicInteger readCount = new AtomicInteger();
        AtomicBoolean over = new AtomicBoolean();
        for (int t = 0; t < 3; t++) {
            Callable<?> reading = () -> {
                ByteBuffer target = ByteBuffer.allocate(200_000);
                while (!over.get()) {
                    int i = ThreadLocalRandom.current().nextInt(fileCount);
                    int min = told.get(i);
                    long handle = handles[i] != 0 ? handles[i] : b.open(USER, at(b, "d", "f" + i), READ);
                    int read = b.read(handle, 0, target.clear());
                    int max = written.get(i);
                    if (handles[i] == 0) {
                        b.release(handle);
                        b.forget(inodes[i], 1);
                        b.forget(d, 1);
                    }
                    int version = target.getInt(0);
                    assertTrue(min <= version && version <= max, version + " is not of " + min + " to " + max);
                    assertArrayEquals(
                            version(read, version), Arrays.copyOf(target.array(), read), "a mixture of versions");
                    assertEquals(sizes[i % 4] + version % 7 * 4, read);
                    readCount.incrementAndGet();
                }
                return null;
            };
            results.add(threads.submit(reading));
        }
        Random random = new Random(1);
        for (int version = 1; version <= 100 || readCount.get() < 1_000; version++) {
            if (results.stream().anyMatch(Future::isDone)) {
                break; // one has failed
            }
            List<Integer> changed = new ArrayList<>();
            for (int n = random.nextInt(4); n >= 0; n--) {
                int i = random.nextInt(fileCount);
                if (!changed.contains(i)) {
                    changed.add(i);
                    written.set(i, version);
                    // In one operation, as far as the reader is concerned: what is committed is both or neither.
                    rewrite(a, inodes[i], version(sizes[i % 4] + version % 7 * 4, version));
                }
            }
            a.sync();
            for (int i : changed) {
                told.set(i, version);
            }
        }
        over.set(true);
        for (Future<?> result : results) {
            result.get(60, TimeUnit.SECONDS);
        }
        threads.shutdown();
        assertSame();
    }

    private static byte[] version(int size, int version) {
        ByteBuffer content = ByteBuffer.allocate(size);
        while (content.remaining() >= 4) {
            content.putInt(version);
        }
        return content.array();
    }

    // ---- what was not committed

    @Test
    void theOthersContentCountsAndWhoHasWrittenIsTold() throws Exception {
        long inode = write(a, ROOT, "file", bytes(50_000, 0));
        write(a, ROOT, "untouched", bytes(50_000, 0));
        a.sync();
        long handle = b.open(USER, at(b, "file"), WRITE);
        long untouched = b.open(USER, at(b, "untouched"), WRITE);
        b.write(USER, handle, 0, ByteBuffer.wrap(bytes(60_000, 1)));
        b.write(USER, untouched, 0, ByteBuffer.wrap(bytes(60_000, 2)));
        rewrite(a, inode, bytes(30_000, 3));
        a.sync();
        assertArrayEquals(bytes(30_000, 3), read(b, handle, 1 << 20));
        assertFails(Code.IO, () -> b.fsync(handle, false));
        b.fsync(handle, false);
        b.fsync(untouched, false);
        assertArrayEquals(bytes(60_000, 2), read(b, untouched, 1 << 20));
        assertEquals(1, eventCount("changes_lost"));
        assertArrayEquals(bytes(30_000, 3), content(a, inode));
        b.release(handle);
        b.release(untouched);
        assertSame();
    }

    @Test
    void whatWasWrittenToAFileThatTheOtherHasDeletedIsLost() throws Exception {
        long inode = write(a, ROOT, "file", bytes(50_000, 0));
        a.forget(inode, 1);
        a.sync();
        long handle = b.open(USER, at(b, "file"), WRITE);
        b.write(USER, handle, 0, ByteBuffer.wrap(bytes(60_000, 1)));
        a.unlink(ROOT, name("file"));
        a.sync();
        assertFails(Code.STALE, () -> b.write(USER, handle, 0, ByteBuffer.wrap(new byte[1])));
        assertFails(Code.STALE, () -> b.fsync(handle, false));
        b.release(handle);
        b.sync();
        assertEquals(0, b.counters().dirtyBytes());
        assertEquals(0, b.counters().dirtyInodes());
        assertEquals(1, eventCount("changes_lost"));
        assertSame();
    }

    /** Of a rename between two directories one half must not be left. */
    @Test
    void namesAreGivenUpTogether() throws Exception {
        long p = makeDirectory(a, ROOT, "p");
        long q = makeDirectory(a, ROOT, "q");
        write(a, p, "moved", text("moved"));
        long inner = makeDirectory(a, p, "inner");
        write(a, p, "removed", text("removed"));
        write(a, q, "linked", text("linked"));
        long kept = write(a, q, "kept", text("kept"));
        a.sync();

        at(b, "p");
        at(b, "q");
        long movedInode = at(b, "p", "moved");
        at(b, "p", "inner");
        b.rename(p, name("moved"), q, name("moved"), RenameMode.REPLACE);
        b.rename(p, name("inner"), q, name("inner"), RenameMode.REPLACE);
        b.unlink(p, name("removed"));
        b.link(at(b, "q", "linked"), p, name("link"));
        long made = write(b, q, "made", text("made"));
        Created unnamed = b.createNameless(USER, p, 0600, WRITE, true);
        held(b, unnamed.attributes().inode());
        long nameless = unnamed.handle();
        b.write(USER, nameless, 0, ByteBuffer.wrap(text("nameless")));
        long opened = b.open(USER, made, WRITE);
        long keptHandle = b.open(USER, at(b, "q", "kept"), WRITE);
        b.write(USER, keptHandle, 0, ByteBuffer.wrap(text("KEPT")));

        write(a, p, "theirs", text("theirs"));
        a.sync(); // which concerns p alone
        assertEquals(Set.of("moved", "inner", "removed", "theirs"), list(b, p).keySet());
        b.sync();
        assertEquals(Set.of("linked", "kept"), list(b, q).keySet());
        assertFails(Code.STALE, () -> read(b, opened, 10));
        assertFails(Code.STALE, () -> b.getAttributes(made));
        assertFails(Code.NOT_FOUND, () -> at(b, "q", "made"));
        assertEquals(p, b.parent(inner));
        assertEquals(1, b.getAttributes(at(b, "q", "linked")).linkCount());
        assertArrayEquals(text("removed"), content(b, at(b, "p", "removed")));
        assertArrayEquals(text("moved"), content(b, movedInode));
        assertArrayEquals(text("KEPT"), content(a, kept));
        assertArrayEquals(text("nameless"), read(b, nameless, 100));
        assertTrue(eventCount("changes_lost") >= 4);
        assertFails(Code.IO, () -> b.fsyncDirectory(p));
        b.fsyncDirectory(p);
        b.release(opened);
        b.release(keptHandle);
        b.release(nameless);
        b.forget(made, 1);
        b.sync();
        makeDirectory(b, q, "after");
        assertSame();
    }

    @Test
    void whatIsDoneAfterALossIsNotLostWithIt() throws Exception {
        long p = makeDirectory(a, ROOT, "p");
        long q = makeDirectory(a, ROOT, "q");
        a.sync();
        at(b, "p");
        at(b, "q");
        makeDirectory(b, p, "lost");
        makeDirectory(b, q, "lost, too");
        makeDirectory(a, p, "theirs");
        a.sync();
        makeDirectory(b, q, "after");
        b.sync();
        assertEquals(Set.of("theirs"), list(a, p).keySet());
        assertEquals(Set.of("after"), list(a, q).keySet());
        assertSame();
    }

    /** It learns of the other's commit from the refusal of its own. */
    @Test
    void aCommitThatComesTooLateIsGivenUp() throws Exception {
        long d = makeDirectory(a, ROOT, "d");
        long file = write(a, ROOT, "file", text("one"));
        a.sync();
        at(b, "d");
        long handle = b.open(USER, at(b, "file"), WRITE);
        nodes.b.deafen();
        write(a, d, "theirs", text("theirs"));
        a.sync();
        long made = write(b, d, "mine", text("mine"));
        b.forget(made, 1);
        b.write(USER, handle, 0, ByteBuffer.wrap(text("two")));
        b.settle();
        assertEquals(0, b.counters().dirtyInodes());
        assertEquals(Set.of("theirs"), list(b, d).keySet());
        b.fsync(handle, false);
        assertArrayEquals(text("two"), content(a, file));
        nodes.b.hear();
        b.release(handle);
        assertEquals(0, eventCount("commit_failed"));
        assertSame();
    }

    @Test
    void theDeletionOfAFileThatTheOtherStillWritesIsMadeGood() throws Exception {
        long inode = write(a, ROOT, "file", text("one"));
        a.sync();
        long here = b.open(USER, at(b, "file"), WRITE);
        a.unlink(ROOT, name("file"));
        long there = a.open(USER, inode, READ);
        a.forget(inode, 1);
        a.sync();
        nodes.a.deafen();
        b.write(USER, here, 0, ByteBuffer.wrap(bytes(10_000, 1)));
        b.fsync(here, false);
        a.release(there);
        a.sync();
        nodes.a.hear();
        assertFails(Code.STALE, () -> read(b, here, 10));
        b.release(here);
        b.forget(inode, 1);
        assertEquals(0, eventCount("changes_lost"));
        assertSame();
    }

    @Test
    void aFileThatALookupMissedSinceItsRemovalWasNotGivenUpYetCanBeRemoved() throws Exception {
        a.forget(write(a, ROOT, "file", text("one")), 1);
        a.sync();
        b.unlink(ROOT, name("file"));
        write(a, ROOT, "theirs", text("theirs"));
        a.sync();
        assertFails(Code.NOT_FOUND, () -> b.lookup(ROOT, name("file")));
        b.sync();
        assertArrayEquals(text("one"), content(b, at(b, "file")));
        references.forEach(Runnable::run);
        references.clear();
        b.unlink(ROOT, name("file"));
        assertSame();
    }

    @Test
    void aNamelessFileThatLosesItsFirstNameIsDeletedAfterItsLastUse() throws Exception {
        for (boolean open : new boolean[] {false, true}) {
            Created made = b.createNameless(USER, ROOT, 0600, WRITE, true);
            long inode = made.attributes().inode();
            b.sync();
            b.link(inode, ROOT, name("mine"));
            b.forget(inode, 2);
            if (!open) {
                b.release(made.handle());
            }
            write(a, ROOT, "theirs" + open, text("theirs"));
            a.sync();
            b.sync();
            if (open) {
                assertEquals(0, b.getAttributes(inode).linkCount());
                b.release(made.handle());
            }
            b.sync();
            assertFails(Code.NOT_FOUND, () -> b.getAttributes(inode));
        }
        assertSame();
    }

    // ---- while a commit is under way

    /** Does it in the middle of a commit of the first node. */
    private void whileCommitting(Executable action) throws Exception {
        List<Throwable> failures = new ArrayList<>();
        AtomicBoolean done = new AtomicBoolean();
        nodes.a.whenApplied(() -> {
            try {
                if (!done.getAndSet(true)) {
                    action.execute();
                }
            } catch (Throwable e) {
                failures.add(e);
            }
        });
        a.sync();
        assertEquals(List.of(), failures);
        assertTrue(done.get());
    }

    private void writeElsewhere(long handle, byte[] content) throws FileSystemException {
        b.write(USER, handle, 0, ByteBuffer.wrap(content));
        b.fsync(handle, false);
    }

    @Test
    void aNameIsGivenUpWithTheFileThatItsFirstCommitBringsAndTheOtherChangesAtOnce() throws Exception {
        long d = makeDirectory(a, ROOT, "d");
        a.sync();
        long inode = write(a, d, "file", text("one"));
        whileCommitting(() -> {
            a.unlink(d, name("file"));
            long handle = b.open(USER, at(b, "d", "file"), WRITE);
            writeElsewhere(handle, text("two"));
            b.release(handle);
            assertEquals(1, a.getAttributes(inode).linkCount());
        });
        a.sync();
        assertArrayEquals(text("two"), content(a, at(a, "d", "file")));
        assertTrue(eventCount("changes_lost") > 0);
        assertSame();
    }

    @Test
    void aFileWhoseLastNameGoesWithACommitIsDeletedThoughTheOtherChangesItAtOnce() throws Exception {
        for (boolean closed : new boolean[] {false, true}) {
            long inode = write(a, ROOT, "file", text("one"));
            a.sync();
            long here = b.open(USER, at(b, "file"), WRITE);
            long there = a.open(USER, inode, READ);
            a.forget(inode, 1);
            a.unlink(ROOT, name("file"));
            whileCommitting(() -> {
                if (closed) {
                    a.release(there);
                }
                writeElsewhere(here, text("two"));
                if (closed) {
                    assertFails(Code.NOT_FOUND, () -> a.getAttributes(inode));
                } else {
                    assertArrayEquals(text("two"), read(a, there, 100));
                }
            });
            assertEquals(List.of(), Flusher.listedOrphans(nodes.b.store));
            if (!closed) {
                a.release(there);
            }
            a.sync();
            assertFails(Code.STALE, () -> read(b, here, 10));
            b.release(here);
            references.clear();
            b.forget(inode, 1);
        }
        assertEquals(0, eventCount("changes_lost"));
        assertSame();
    }

    /** Both change the same few names at the same time, which a gate is to prevent. */
    @Test
    void whateverIsLostBothShowOneWholeTree() throws Exception {
        long seed = System.nanoTime();
        String[] directories = {"d0", "d1"};
        for (String d : directories) {
            makeDirectory(a, ROOT, d);
        }
        a.sync();
        for (TwoNodes.Node node : List.of(nodes.a, nodes.b)) {
            // Time for the other to change what a commit has just brought.
            node.whenApplied(
                    () -> LockSupport.parkNanos(ThreadLocalRandom.current().nextLong(6_000_000)));
        }
        AtomicBoolean over = new AtomicBoolean();
        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<?>> results = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            TreeFileSystem fs = t % 2 == 0 ? a : b;
            Random random = new Random(seed + t);
            results.add(threads.submit(() -> {
                try {
                    while (!over.get()) {
                        try {
                            changeSomething(fs, directories, random);
                        } catch (FileSystemException e) {
                            assertTrue(CONFLICTS.contains(e.code()), () -> e + ", seed " + seed);
                        }
                    }
                } finally {
                    over.set(true);
                }
            }));
        }
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(3);
        for (long lost = 0; !over.get() && (lost == 0 || lost < 150 && System.nanoTime() < end); ) {
            Thread.sleep(10);
            lost = eventCount("changes_lost");
        }
        over.set(true);
        for (Future<?> result : results) {
            result.get(60, TimeUnit.SECONDS);
        }
        threads.shutdown();
        a.settle();
        b.settle();
        assertEquals(0, eventCount("commit_failed"), "seed " + seed);
        for (TreeFileSystem fs : List.of(a, b)) {
            assertEquals(0, fs.counters().openHandles());
            assertEquals(0, fs.counters().dirtyInodes());
            assertEquals(0, fs.counters().dirtyBytes());
        }
        assertSame();
    }

    /** What an operation may say whose names and files go under its hands, and a sync after a loss. */
    private static final Set<Code> CONFLICTS = Set.of(
            Code.NOT_FOUND,
            Code.EXISTS,
            Code.STALE,
            Code.IO,
            Code.NOT_EMPTY,
            Code.INVALID,
            Code.IS_DIRECTORY,
            Code.NOT_DIRECTORY,
            Code.NOT_PERMITTED);

    private static void changeSomething(TreeFileSystem fs, String[] directories, Random random)
            throws FileSystemException {
        List<Long> references = new ArrayList<>();
        try {
            long from = referred(fs, ROOT, directories[random.nextInt(directories.length)], references);
            long to = referred(fs, ROOT, directories[random.nextInt(directories.length)], references);
            Name name = name("n" + random.nextInt(4));
            Name other = name("n" + random.nextInt(4));
            switch (random.nextInt(10)) {
                case 0, 1 -> {
                    Created created = fs.create(USER, from, name, 0600, WRITE);
                    references.add(created.attributes().inode());
                    try {
                        fs.write(USER, created.handle(), 0, ByteBuffer.wrap(bytes(random.nextInt(30_000), 1)));
                    } finally {
                        fs.release(created.handle());
                    }
                }
                case 2 ->
                    references.add(fs.makeDirectory(USER, from, name, 0700).inode());
                case 3 -> fs.unlink(from, name);
                case 4 -> fs.removeDirectory(from, name);
                case 5 -> fs.rename(from, name, to, other, RenameMode.REPLACE);
                case 6 -> fs.rename(from, name, to, other, RenameMode.EXCHANGE);
                case 7 -> {
                    long inode = referred(fs, from, name.plaintext(), references);
                    references.add(fs.link(inode, to, other).inode());
                }
                case 8 -> {
                    long inode = referred(fs, from, name.plaintext(), references);
                    long handle = fs.open(USER, inode, WRITE);
                    try {
                        fs.write(USER, handle, random.nextInt(20_000), ByteBuffer.wrap(bytes(5_000, 2)));
                        fs.fsync(handle, false);
                    } finally {
                        fs.release(handle);
                    }
                }
                default -> fs.sync();
            }
        } finally {
            references.forEach(inode -> fs.forget(inode, 1));
        }
    }

    private static long referred(FileSystem fs, long parent, String name, List<Long> references)
            throws FileSystemException {
        long inode = fs.lookup(parent, name(name)).inode();
        references.add(inode);
        return inode;
    }

    // ---- settling

    @Test
    void afterSettlingNothingIsLeft() throws Exception {
        long d = makeDirectory(a, ROOT, "d");
        long handle = a.create(USER, d, name("file"), 0600, WRITE).handle();
        for (int i = 0; i < 40; i++) {
            a.write(USER, handle, (long) i << 20, ByteBuffer.wrap(bytes(1 << 20, i)));
        }
        a.settle();
        assertEquals(0, a.counters().dirtyInodes());
        assertEquals(0, a.counters().dirtyBytes());
        assertArrayEquals(bytes(1 << 20, 0), content(b, at(b, "d", "file")));
        long commits = a.counters().commits();
        LatencyHistogram.Snapshot syncs = a.counters().syncLatency();
        for (int i = 0; i < 1_000; i++) {
            a.settle();
        }
        assertEquals(commits, a.counters().commits());
        assertEquals(syncs, a.counters().syncLatency());
        a.release(handle);
    }
}
