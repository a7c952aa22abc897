package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileSystemException.Code;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.opentest4j.AssertionFailedError;

/** The whole contract through a gate that counts: each operation that changes the tree passes it once, no other does. And what a closed gate means. */
@Timeout(120)
class ChangeGateTest extends FileSystemContractTest {
    private static final Set<String> CHANGING = Set.of(
            "setAttributes",
            "makeNode",
            "makeDirectory",
            "makeSymlink",
            "link",
            "unlink",
            "removeDirectory",
            "rename",
            "create",
            "createNameless",
            "write",
            "allocate",
            "copy",
            "setExtendedAttribute",
            "removeExtendedAttribute");

    /** Changing when it truncates. */
    private static final String OPEN = "open";

    private static final Set<String> OTHERS = Set.of(
            "lookup",
            "forget",
            "getAttributes",
            "readSymlink",
            "read",
            "flush",
            "beginFsync",
            "fsync",
            "release",
            "beginFsyncDirectory",
            "fsyncDirectory",
            "seek",
            "readDirectory",
            "parent",
            "getExtendedAttribute",
            "listExtendedAttributes",
            "room",
            "changes",
            "locks",
            "rootNumber",
            "statistics",
            "sync",
            "close");

    /** Per thread: operations do not change threads, and many run at once. */
    private static final class CountingGate implements ChangeGate {
        private final ThreadLocal<int[]> counts = ThreadLocal.withInitial(() -> new int[2]);
        private volatile boolean closed;

        @Override
        public void enter() throws FileSystemException {
            if (closed) {
                throw new FileSystemException(Code.READ_ONLY, "the gate is closed");
            }
            counts.get()[0]++;
        }

        @Override
        public void leave() {
            counts.get()[1]++;
        }

        int enteredCount() {
            return counts.get()[0];
        }

        int leftCount() {
            return counts.get()[1];
        }
    }

    @TempDir
    Path directory;

    private final CountingGate gate = new CountingGate();
    private final List<TestTree> trees = new ArrayList<>();

    @Override
    FileSystem open() throws Exception {
        TestTree tree = new TestTree(directory);
        trees.add(tree);
        tree.fs.close();
        tree.fs = TreeFileSystem.open(tree.store, tree.options, gate);
        return counted(tree.fs.view(ViewOptions.defaults()));
    }

    @AfterEach
    void closeTrees() throws Exception {
        gate.closed = false;
        fs.close();
        for (TestTree tree : trees) {
            tree.close();
        }
    }

    private FileSystem counted(FileSystem real) {
        return (FileSystem) Proxy.newProxyInstance(
                FileSystem.class.getClassLoader(), new Class<?>[] {FileSystem.class}, (proxy, method, args) -> {
                    int before = gate.enteredCount();
                    boolean done = false;
                    try {
                        Object result = method.invoke(real, args);
                        done = true;
                        return result;
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    } finally {
                        int passed = gate.enteredCount() - before;
                        int expected = changes(method, args) ? 1 : 0;
                        if (done ? passed != expected : passed > expected) {
                            throw new AssertionFailedError(
                                    method.getName() + " has passed the gate so often: " + passed);
                        }
                        assertEquals(gate.enteredCount(), gate.leftCount(), method.getName());
                    }
                });
    }

    private static boolean changes(Method method, Object[] args) {
        return CHANGING.contains(method.getName())
                || method.getName().equals(OPEN) && ((FileSystem.OpenMode) args[2]).truncate();
    }

    @Test
    void everyOperationIsKnownHere() {
        Set<String> all = new TreeSet<>();
        for (Method method : FileSystem.class.getMethods()) {
            if (!Modifier.isStatic(method.getModifiers())) {
                all.add(method.getName());
            }
        }
        Set<String> known = new TreeSet<>(CHANGING);
        known.addAll(OTHERS);
        known.add(OPEN);
        assertEquals(known, all);
    }

    @Test
    void snapshotsPassItToo() throws Exception {
        TreeFileSystem tree = trees.get(0).fs;
        tree.createSnapshot(name("s"));
        assertEquals(1, gate.enteredCount());
        tree.deleteSnapshot(name("s"));
        assertEquals(2, gate.enteredCount());
        assertEquals(2, gate.leftCount());
        gate.closed = true;
        assertFails(Code.READ_ONLY, () -> tree.createSnapshot(name("t")));
        assertEquals(List.of(), trees.get(0).store.snapshots());
    }

    @Test
    void aClosedGateLetsNothingThroughAndKeepsNobodyFromReading() throws Exception {
        long d = directory(ROOT, "d");
        long inode = file(d, "file", bytes(10_000, 1));
        long handle = fs.open(USER, inode, WRITE);
        long nameless = fs.createNameless(USER, d, 0600, WRITE, true).handle();
        fs.sync();
        gate.closed = true;
        Attributes before = fs.getAttributes(d);
        assertFails(Code.READ_ONLY, () -> fs.setAttributes(USER, inode, AttributeChange.size(1)));
        assertFails(Code.READ_ONLY, () -> fs.makeNode(USER, d, name("x"), 0100600, 0));
        assertFails(Code.READ_ONLY, () -> fs.makeDirectory(USER, d, name("x"), 0700));
        assertFails(Code.READ_ONLY, () -> fs.makeSymlink(USER, d, name("x"), new byte[] {'x'}));
        assertFails(Code.READ_ONLY, () -> fs.link(inode, d, name("x")));
        assertFails(Code.READ_ONLY, () -> fs.unlink(d, name("file")));
        assertFails(Code.READ_ONLY, () -> fs.removeDirectory(ROOT, name("d")));
        assertFails(Code.READ_ONLY, () -> fs.rename(d, name("file"), d, name("x"), FileSystem.RenameMode.REPLACE));
        assertFails(Code.READ_ONLY, () -> fs.open(USER, inode, TRUNCATE));
        assertFails(Code.READ_ONLY, () -> fs.create(USER, d, name("x"), 0600, WRITE));
        assertFails(Code.READ_ONLY, () -> fs.createNameless(USER, d, 0600, WRITE, true));
        assertFails(Code.READ_ONLY, () -> fs.write(USER, handle, 0, ByteBuffer.wrap(new byte[1])));
        assertFails(Code.READ_ONLY, () -> fs.allocate(USER, handle, 0, 0, 1 << 20));
        assertFails(Code.READ_ONLY, () -> fs.copy(USER, handle, 0, handle, 20_000, 100));
        assertFails(
                Code.READ_ONLY,
                () -> fs.setExtendedAttribute(
                        USER, inode, name("user.x"), new byte[1], FileSystem.ExtendedAttributeMode.SET));
        assertFails(Code.READ_ONLY, () -> fs.removeExtendedAttribute(inode, name("user.x")));
        assertEquals(before, fs.getAttributes(d));
        assertEquals(Map.of("file", inode), list(d));
        assertEquals(10_000, content(inode).length);
        fs.fsync(handle, false);
        fs.sync();
        fs.release(handle);
        fs.release(nameless); // which deletes it: nobody else knows it
        fs.sync();
        assertEquals(0, trees.get(0).fs.counters().dirtyInodes());
    }

    /** Both try to make and to remove the same names: each time one of them does, and the other is told that it was too late. */
    @Test
    void twoNodesThatPassTheirGatesInTurnMakeOneTree() throws Exception {
        try (TwoNodes nodes = new TwoNodes(directory.resolve("nodes"), TreeOptions.defaults())) {
            TwoNodes.Lease lease = nodes.new Lease();
            nodes.a.open(lease.gate(nodes.a));
            nodes.b.open(lease.gate(nodes.b));
            long files =
                    nodes.a.fs().makeDirectory(USER, ROOT, name("files"), 0755).inode();
            long links =
                    nodes.b.fs().makeDirectory(USER, ROOT, name("links"), 0755).inode();
            nodes.a.fs().sync();
            nodes.b.fs().sync();
            assertEquals(links, nodes.a.fs().lookup(ROOT, name("links")).inode());
            assertEquals(files, nodes.b.fs().lookup(ROOT, name("files")).inode());
            int count = 60;
            AtomicIntegerArray made = new AtomicIntegerArray(count);
            AtomicIntegerArray removed = new AtomicIntegerArray(count);
            ExecutorService threads = Executors.newFixedThreadPool(4);
            List<Future<?>> results = new ArrayList<>();
            for (int t = 0; t < 4; t++) {
                FileSystem node = (t % 2 == 0 ? nodes.a : nodes.b).fs();
                boolean backwards = t >= 2;
                results.add(threads.submit(() -> {
                    for (int i = 0; i < count; i++) {
                        int at = backwards ? count - 1 - i : i;
                        if (isMade(node, files, links, at)) {
                            made.incrementAndGet(at);
                        }
                        if (isRemoved(node, links, (at + 7) % count)) {
                            removed.incrementAndGet((at + 7) % count);
                        }
                    }
                    return null;
                }));
            }
            for (Future<?> result : results) {
                result.get(100, TimeUnit.SECONDS);
            }
            threads.shutdown();
            nodes.a.fs().sync();
            nodes.b.fs().sync();
            for (TwoNodes.Node node : List.of(nodes.a, nodes.b)) {
                for (int i = 0; i < count; i++) {
                    assertEquals(1, made.get(i), "made " + i);
                    assertTrue(removed.get(i) <= 1, "removed " + i);
                    Attributes file = node.fs().lookup(files, name("n" + i));
                    assertEquals(2 - removed.get(i), file.linkCount(), "names of " + i);
                    assertEquals(i * 37, file.sizeBytes());
                }
                assertEquals(names(nodes.a.fs(), links), names(node.fs(), links));
                List<TreeFinding> findings = new ArrayList<>();
                TreeCheck.run(node.store, findings::add);
                assertEquals(List.of(), findings);
            }
        }
    }

    private static boolean isMade(FileSystem node, long files, long links, int at) throws FileSystemException {
        FileSystem.Created created;
        try {
            created = node.create(USER, files, name("n" + at), 0600, WRITE);
        } catch (FileSystemException e) {
            assertEquals(Code.EXISTS, e.code(), e::toString);
            return false;
        }
        byte[] content = bytes(at * 37, at);
        node.write(USER, created.handle(), 0, ByteBuffer.wrap(content));
        node.link(created.attributes().inode(), links, name("n" + at));
        ByteBuffer read = ByteBuffer.allocate(content.length);
        node.read(created.handle(), 0, read);
        assertArrayEquals(content, read.array());
        node.release(created.handle());
        node.forget(created.attributes().inode(), 2);
        return true;
    }

    private static boolean isRemoved(FileSystem node, long links, int at) throws FileSystemException {
        try {
            node.unlink(links, name("n" + at));
            return true;
        } catch (FileSystemException e) {
            assertEquals(Code.NOT_FOUND, e.code(), e::toString);
            return false;
        }
    }

    private static Map<String, Long> names(FileSystem node, long directory) throws FileSystemException {
        Map<String, Long> found = new TreeMap<>();
        node.readDirectory(directory, 0, (name, child, mode, cookie) -> {
            found.put(name.plaintext(), child);
            return true;
        });
        return found;
    }

    @Test
    void aGateThatRefusesIsNotLeft() {
        gate.closed = true;
        assertThrows(FileSystemException.class, () -> directory(ROOT, "d"));
        assertEquals(0, gate.leftCount());
    }
}
