package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.Created;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystem.RenameMode;
import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Snapshots, earlier generations, subtrees and read-only views. */
class TreeViewTest {
    private static final long ROOT = FileSystem.ROOT_INODE;
    private static final Caller USER = new Caller(1, 1);
    private static final OpenMode READ = new OpenMode(true, false, false, false, false);
    private static final OpenMode WRITE = new OpenMode(true, true, false, false, false);

    @TempDir
    Path directory;

    @SuppressWarnings("NullAway.Init") // made before each test
    private TestTree tree;

    @BeforeEach
    void makeTree() throws Exception {
        tree = new TestTree(directory);
    }

    @AfterEach
    void closeTree() throws Exception {
        tree.close();
    }

    private static Attributes at(FileSystem fs, String... path) throws FileSystemException {
        Attributes found = fs.getAttributes(ROOT);
        for (String name : path) {
            found = fs.lookup(found.inode(), Name.of(name));
        }
        return found;
    }

    private static String text(FileSystem fs, long inode) throws FileSystemException {
        long handle = fs.open(USER, inode, READ);
        ByteBuffer target = ByteBuffer.allocate(100_000);
        int size = fs.read(handle, 0, target);
        fs.release(handle);
        return new String(target.array(), 0, size, StandardCharsets.UTF_8);
    }

    private static void write(FileSystem fs, long inode, String text) throws FileSystemException {
        long handle = fs.open(USER, inode, new OpenMode(true, true, false, true, false));
        fs.write(USER, handle, 0, ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
        fs.fsync(handle, false);
        fs.release(handle);
    }

    private static long make(FileSystem fs, long parent, String name, String text) throws FileSystemException {
        Created created = fs.create(USER, parent, Name.of(name), 0640, WRITE);
        fs.release(created.handle());
        write(fs, created.attributes().inode(), text);
        return created.attributes().inode();
    }

    private static TreeMap<String, Long> list(FileSystem fs, long inode) throws FileSystemException {
        TreeMap<String, Long> names = new TreeMap<>();
        long[] cookie = new long[1];
        int before;
        // In pieces of two, so that cookies are used.
        do {
            before = names.size();
            int from = before;
            fs.readDirectory(inode, cookie[0], (name, child, mode, at) -> {
                if (names.size() - from == 2) {
                    return false;
                }
                names.put(name.plaintext(), child);
                cookie[0] = at;
                return true;
            });
        } while (names.size() > before);
        return names;
    }

    private static void assertReadOnly(Executable action) {
        assertEquals(
                Code.READ_ONLY, assertThrows(FileSystemException.class, action).code());
    }

    @Test
    void aSnapshotShowsTheTreeAsItWas() throws Exception {
        TreeFileSystem fs = tree.fs;
        long d = fs.makeDirectory(USER, ROOT, Name.of("d"), 0750).inode();
        long f = make(fs, d, "f", "before");
        byte[] large = new byte[2_000_000];
        Arrays.fill(large, (byte) 'x');
        make(fs, d, "large", new String(large, StandardCharsets.US_ASCII));
        fs.createSnapshot(Name.of("monday"));
        write(fs, f, "after");
        fs.unlink(d, Name.of("large"));
        make(fs, ROOT, "new", "new");
        fs.sync();

        Attributes snapshot = at(fs, ".snapshots", "monday", "d");
        assertEquals(0750, snapshot.mode() & 07777);
        assertEquals(Set.of("f", "large"), list(fs, snapshot.inode()).keySet());
        assertEquals("before", text(fs, at(fs, ".snapshots", "monday", "d", "f").inode()));
        assertEquals(2_000_000, at(fs, ".snapshots", "monday", "d", "large").sizeBytes());
        assertEquals("after", text(fs, at(fs, "d", "f").inode()));
        assertEquals(
                Set.of("d"), list(fs, at(fs, ".snapshots", "monday").inode()).keySet());
        assertEquals(
                Set.of("monday", ".versions"),
                list(fs, at(fs, ".snapshots").inode()).keySet());
        assertEquals(at(fs, ".snapshots", "monday").inode(), fs.parent(snapshot.inode()));
        assertEquals(
                at(fs, ".snapshots").inode(),
                fs.parent(at(fs, ".snapshots", "monday").inode()));

        assertReadOnly(() -> fs.makeDirectory(USER, snapshot.inode(), Name.of("x"), 0700));
        assertReadOnly(
                () -> fs.open(USER, at(fs, ".snapshots", "monday", "d", "f").inode(), WRITE));
        assertReadOnly(() -> fs.unlink(snapshot.inode(), Name.of("f")));
        assertReadOnly(() -> fs.rename(snapshot.inode(), Name.of("f"), ROOT, Name.of("g"), RenameMode.REPLACE));
        assertReadOnly(() -> fs.setAttributes(USER, snapshot.inode(), AttributeChange.permissions(0)));
        assertEquals(
                Code.EXISTS,
                assertThrows(FileSystemException.class, () -> fs.createSnapshot(Name.of("monday")))
                        .code());
        assertEquals(
                Code.EXISTS,
                assertThrows(FileSystemException.class, () -> make(fs, ROOT, ".snapshots", ""))
                        .code());
    }

    @Test
    void accessListsAreKeptInSnapshotsAndNeverWidened() throws Exception {
        FileSystem fs = tree.fs;
        Created made = fs.create(USER, ROOT, Name.of("f"), 0600, WRITE);
        fs.release(made.handle());
        long f = made.attributes().inode();
        byte[] list = AccessListTest.list(1, 7, -1, 2, 4, 2000, 4, 0, -1, 16, 7, -1, 32, 0, -1);
        fs.setExtendedAttribute(USER, f, FileSystem.ACCESS_LIST, list, FileSystem.ExtendedAttributeMode.SET);
        tree.fs.createSnapshot(Name.of("s"));
        fs.removeExtendedAttribute(f, FileSystem.ACCESS_LIST);
        fs.setAttributes(USER, f, AttributeChange.permissions(0600));
        Attributes then = at(fs, ".snapshots", "s", "f");
        assertEquals(0770, then.mode() & 07777);
        assertArrayEquals(list, fs.getExtendedAttribute(then.inode(), FileSystem.ACCESS_LIST));
        assertEquals(0500, at(fs, ".snapshots", ".versions", "f").mode() & 07777);
        fs.setExtendedAttribute(USER, f, FileSystem.ACCESS_LIST, list, FileSystem.ExtendedAttributeMode.SET);
        fs.sync();
        fs.forget(f, 2);
        tree.reopen();
        // The directory of its versions has no list: the mask is nothing that the owning group may do.
        assertEquals(0500, at(tree.fs, ".snapshots", ".versions", "f").mode() & 07777);
    }

    @Test
    void snapshotsOfTheSameStateAreAllListedInTheOrderInWhichTheyWereMade() throws Exception {
        List<String> names = List.of("d", "b", "e", "a", "c");
        for (String name : names) {
            tree.fs.createSnapshot(Name.of(name));
        }
        Set<String> listed = new HashSet<>(names);
        listed.add(".versions");
        assertEquals(listed, list(tree.fs, at(tree.fs, ".snapshots").inode()).keySet());
        tree.reopen();
        assertEquals(
                names,
                tree.store.snapshots().stream()
                        .map(snapshot -> Name.wrap(snapshot.name()).plaintext())
                        .toList());
    }

    @Test
    void earlierGenerationsOfAFileCanBeRead() throws Exception {
        TreeFileSystem fs = tree.fs;
        long d = fs.makeDirectory(USER, ROOT, Name.of("d"), 0750).inode();
        long f = make(fs, d, "f", "one");
        write(fs, f, "two");
        write(fs, f, "three");
        long versions = at(fs, ".snapshots", ".versions", "d", "f").inode();
        List<String> texts = new ArrayList<>();
        for (var entry : list(fs, versions).entrySet()) {
            assertTrue(entry.getKey().matches("\\d{6}@\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ"), entry.getKey());
            Attributes generation = fs.lookup(versions, Name.of(entry.getKey()));
            assertEquals(entry.getValue(), generation.inode());
            texts.add(text(fs, generation.inode()));
        }
        assertEquals("three", texts.get(texts.size() - 1));
        assertTrue(texts.containsAll(List.of("one", "two")), texts.toString());
        assertEquals(
                Set.of("f"),
                list(fs, at(fs, ".snapshots", ".versions", "d").inode()).keySet());
        assertReadOnly(() -> make(fs, versions, "x", ""));
    }

    @Test
    void theSnapshotsDirectoryIsListedOnlyWhenAsked() throws Exception {
        make(tree.fs, ROOT, "a", "");
        make(tree.fs, ROOT, "b", "");
        assertEquals(
                Set.of("a", "b"),
                list(tree.fs.view(ViewOptions.defaults()), ROOT).keySet());
        FileSystem showing = tree.fs.view(ViewOptions.defaults().withShowSnapshots(true));
        assertEquals(Set.of("a", "b", ".snapshots"), list(showing, ROOT).keySet());
    }

    @Test
    void allViewsSeeTheLocksOfTheTree() throws Exception {
        long a = tree.fs.makeDirectory(USER, ROOT, Name.of("a"), 0755).inode();
        make(tree.fs, a, "f", "");
        FileSystem whole = tree.fs.view(ViewOptions.defaults());
        FileSystem part = tree.fs.view(ViewOptions.defaults().withSubtree(List.of(Name.of("a"))));
        FileLocks.Lock lock = new FileLocks.Lock(new FileLocks.Owner("whole", 1), 0, FileLocks.END, true, 1, 0);
        assertTrue(whole.locks()
                .tryAcquire(at(whole, "a", "f").inode(), FileLocks.Kind.FLOCK, lock)
                .join());
        FileLocks.Lock other = new FileLocks.Lock(new FileLocks.Owner("part", 1), 0, FileLocks.END, false, 2, 0);
        assertEquals(
                lock,
                part.locks()
                        .conflict(at(part, "f").inode(), FileLocks.Kind.FLOCK, other)
                        .join());
    }

    @Test
    void aSubtreeIsAFileSystemOfItsOwn() throws Exception {
        long a = tree.fs.makeDirectory(USER, ROOT, Name.of("a"), 0755).inode();
        long b = tree.fs.makeDirectory(USER, a, Name.of("b"), 0711).inode();
        make(tree.fs, b, "f", "text");
        FileSystem view = tree.fs.view(ViewOptions.defaults().withSubtree(List.of(Name.of("a"), Name.of("b"))));
        assertEquals(0711, view.getAttributes(ROOT).mode() & 07777);
        assertEquals(ROOT, view.getAttributes(ROOT).inode());
        assertEquals(ROOT, view.parent(ROOT));
        assertEquals("text", text(view, view.lookup(ROOT, Name.of("f")).inode()));
        long sub = view.makeDirectory(USER, ROOT, Name.of("sub"), 0755).inode();
        assertEquals(ROOT, view.parent(sub));
        assertEquals(Set.of("f", "sub"), list(tree.fs, b).keySet());
        view.close();
        assertEquals(
                Code.CLOSED,
                assertThrows(FileSystemException.class, () -> view.getAttributes(ROOT))
                        .code());
        assertEquals("text", text(tree.fs, at(tree.fs, "a", "b", "f").inode()), "the tree is open still");
        ViewOptions absent = ViewOptions.defaults().withSubtree(List.of(Name.of("none")));
        assertEquals(
                Code.NOT_FOUND,
                assertThrows(FileSystemException.class, () -> tree.fs.view(absent))
                        .code());
        ViewOptions file = ViewOptions.defaults().withSubtree(List.of(Name.of("a"), Name.of("b"), Name.of("f")));
        assertEquals(
                Code.NOT_DIRECTORY,
                assertThrows(FileSystemException.class, () -> tree.fs.view(file))
                        .code());
    }

    @Test
    void aReadOnlyViewRefusesEveryChange() throws Exception {
        long f = make(tree.fs, ROOT, "f", "text");
        FileSystem view = tree.fs.view(ViewOptions.defaults().withReadOnly(true));
        assertEquals("text", text(view, f));
        assertReadOnly(() -> view.open(USER, f, WRITE));
        assertReadOnly(() -> view.makeDirectory(USER, ROOT, Name.of("d"), 0700));
        assertReadOnly(() -> view.create(USER, ROOT, Name.of("g"), 0600, WRITE));
        assertReadOnly(() -> view.unlink(ROOT, Name.of("f")));
        assertReadOnly(() -> view.setExtendedAttribute(
                USER, f, Name.of("user.a"), new byte[0], FileSystem.ExtendedAttributeMode.SET));
        view.close();
    }

    @Test
    void aLiveTreeCanBeChecked() throws Exception {
        long d = tree.fs.makeDirectory(USER, ROOT, Name.of("d"), 0750).inode();
        for (int i = 0; i < 300; i++) {
            make(tree.fs, d, "f" + i, "text");
        }
        tree.fs.link(at(tree.fs, "d", "f1").inode(), ROOT, Name.of("hard"));
        long handle = tree.fs.open(USER, at(tree.fs, "d", "f2").inode(), WRITE);
        tree.fs.unlink(d, Name.of("f2"));
        List<TreeFinding> findings = new ArrayList<>();
        tree.fs.sync();
        long head = tree.store.headPosition();
        TreeCheck.Summary summary = tree.fs.check(findings::add);
        assertEquals(head, tree.store.headPosition(), "a check puts nothing in the log");
        assertEquals(List.of(), findings);
        assertEquals(2, summary.directories());
        assertEquals(299, summary.files());
        assertTrue(tree.store.snapshots().isEmpty());
        assertArrayEquals(
                new byte[] {'t'},
                text(tree.fs, at(tree.fs, "hard").inode()).substring(0, 1).getBytes(StandardCharsets.US_ASCII));
        tree.fs.release(handle);
    }

    @Test
    void whatAnEarlierVersionsCheckHasLeftIsDeleted() throws Exception {
        tree.store.createSnapshot("\0check-1f".getBytes(StandardCharsets.UTF_8));
        tree.fs.createSnapshot(Name.of("kept"));
        tree.reopen();
        assertEquals(1, tree.store.snapshots().size());
        assertArrayEquals(
                "kept".getBytes(StandardCharsets.UTF_8),
                tree.store.snapshots().get(0).name());
    }
}
