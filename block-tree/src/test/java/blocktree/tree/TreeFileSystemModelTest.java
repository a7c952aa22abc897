package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.Created;
import blocktree.tree.FileSystem.ExtendedAttributeMode;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystem.RenameMode;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The same random operations on a {@link TreeFileSystem} with tiny caches, reopened now and then, and on a {@link MemoryFileSystem}: same results, same tree. */
class TreeFileSystemModelTest {
    private static final Caller USER = new Caller(7, 8);

    @TempDir
    Path directory;

    /** One inode on both sides. */
    private record Pair(long tree, long model) {}

    private record Handles(long tree, long model, boolean writes) {}

    private interface Action<T> {
        @Nullable
        T on(FileSystem fs, boolean tree) throws FileSystemException;
    }

    private Random random = new Random();
    private final MemoryFileSystem model = new MemoryFileSystem(512 << 20);
    private FileSystem tree = model;
    private final List<Pair> directories = new ArrayList<>();
    private final List<Pair> files = new ArrayList<>();
    private final List<Handles> handles = new ArrayList<>();
    private String step = "";

    @ParameterizedTest
    @CsvSource({"0,2500,0", "0,2500,25", "0,2500,5000"})
    void behavesLikeTheModel(long givenSeed, int steps, long dirtyAgeMillis) throws Exception {
        long seed = givenSeed != 0 ? givenSeed : System.nanoTime();
        System.out.println("TreeFileSystemModelTest seed=" + seed + " age=" + dirtyAgeMillis);
        random = new Random(seed);
        try (TestTree stored = new TestTree(directory)) {
            // Age 0 stands for the default caches; otherwise hardly anything stays in memory.
            if (dirtyAgeMillis > 0) {
                stored.options = TreeOptions.defaults()
                        .withCaches(1 << 20, 100_000, 30_000)
                        .withDirtyAgeMillis(dirtyAgeMillis);
            }
            stored.reopen();
            tree = stored.fs;
            directories.add(new Pair(FileSystem.ROOT_INODE, FileSystem.ROOT_INODE));
            for (int i = 0; i < steps; i++) {
                step = "seed " + seed + " step " + i + " ";
                randomStep();
                if (random.nextInt(700) == 0) {
                    compareTrees();
                }
                if (random.nextInt(1000) == 0) {
                    releaseAll();
                    stored.reopen();
                    tree = stored.fs;
                    compareTrees();
                }
            }
            step = "seed " + seed + " end ";
            releaseAll();
            stored.reopen();
            tree = stored.fs;
            compareTrees();
            List<TreeFinding> findings = new ArrayList<>();
            TreeCheck.run(stored.store, findings::add);
            assertEquals(List.of(), findings, step);
        }
    }

    // ---- one step

    private void randomStep() throws FileSystemException {
        Pair directory = directories.get(random.nextInt(directories.size()));
        Pair other = directories.get(random.nextInt(directories.size()));
        Name name = randomName();
        Name otherName = randomName();
        switch (random.nextInt(24)) {
            case 0, 1 -> create(directory, name);
            case 2 -> {
                Pair made = both(
                        "mkdir",
                        (fs, t) -> fs.makeDirectory(USER, side(directory, t), name, 0755)
                                .inode());
                if (made != null) {
                    directories.add(made);
                }
            }
            case 3 -> {
                byte[] target = randomBytes(1 + random.nextInt(300));
                both(
                        "symlink",
                        (fs, t) -> fs.makeSymlink(USER, side(directory, t), name, target)
                                .inode());
            }
            case 4 -> {
                Pair file = anyFile();
                if (file != null) {
                    both("link", (fs, t) -> {
                        Attributes linked = fs.link(side(file, t), side(directory, t), name);
                        fs.forget(linked.inode(), 1);
                        return linked.linkCount();
                    });
                }
            }
            case 5, 6 ->
                both("unlink", (fs, t) -> {
                    fs.unlink(side(directory, t), name);
                    return 0L;
                });
            case 7 ->
                both("rmdir", (fs, t) -> {
                    fs.removeDirectory(side(directory, t), name);
                    return 0L;
                });
            case 8, 9, 10 -> {
                RenameMode mode = RenameMode.values()[random.nextInt(4) % 3];
                both("rename " + mode, (fs, t) -> {
                    fs.rename(side(directory, t), name, side(other, t), otherName, mode);
                    return 0L;
                });
            }
            case 11 -> openAny();
            case 12 -> release();
            case 13, 14, 15, 16 -> write();
            case 17, 18 -> read();
            case 19 -> truncate();
            case 20 -> punch();
            case 21 -> {
                Pair file = anyFile();
                if (file != null) {
                    byte[] value = randomBytes(random.nextInt(20) == 0 ? 30_000 : random.nextInt(50));
                    Name attribute = Name.of("user." + random.nextInt(3));
                    if (random.nextInt(3) == 0) {
                        both("removexattr", (fs, t) -> {
                            fs.removeExtendedAttribute(side(file, t), attribute);
                            return 0L;
                        });
                    } else {
                        both("setxattr", (fs, t) -> {
                            fs.setExtendedAttribute(USER, side(file, t), attribute, value, ExtendedAttributeMode.SET);
                            return 0L;
                        });
                    }
                }
            }
            case 22 -> {
                Pair file = anyFile();
                int permissions = random.nextInt(01000);
                if (file != null) {
                    both(
                            "chmod", (fs, t) -> (long)
                                    fs.setAttributes(USER, side(file, t), AttributeChange.permissions(permissions))
                                            .mode());
                }
            }
            default -> sync();
        }
    }

    private void create(Pair directory, Name name) throws FileSystemException {
        long[] handle = new long[2];
        Pair made = both("create", (fs, t) -> {
            Created created =
                    fs.create(USER, side(directory, t), name, 0644, new OpenMode(true, true, false, false, false));
            handle[t ? 1 : 0] = created.handle();
            return created.attributes().inode();
        });
        if (made != null) {
            files.add(made);
            handles.add(new Handles(handle[1], handle[0], true));
        }
    }

    private void openAny() throws FileSystemException {
        Pair file = anyFile();
        if (file != null) {
            OpenMode mode =
                    new OpenMode(true, random.nextInt(4) > 0, random.nextInt(8) == 0, random.nextInt(10) == 0, false);
            Pair opened = both("open", (fs, t) -> fs.open(USER, side(file, t), mode));
            if (opened != null) {
                handles.add(new Handles(opened.tree(), opened.model(), mode.write()));
            }
        }
    }

    private @Nullable Handles anyHandle() {
        return handles.isEmpty() ? null : handles.get(random.nextInt(handles.size()));
    }

    private void release() {
        if (handles.size() > 6) {
            Handles handle = handles.remove(random.nextInt(handles.size()));
            tree.release(handle.tree());
            model.release(handle.model());
        }
    }

    private void releaseAll() {
        for (Handles handle : handles) {
            tree.release(handle.tree());
            model.release(handle.model());
        }
        handles.clear();
    }

    private void write() throws FileSystemException {
        Handles handle = anyHandle();
        if (handle == null) {
            return;
        }
        // Streams in sequence now and then, so that sector sizes change.
        boolean stream = random.nextInt(12) == 0;
        long offset = stream ? 0 : randomOffset();
        int pieces = stream ? 1 + random.nextInt(30) : 1;
        for (int i = 0; i < pieces; i++) {
            byte[] content = randomBytes(stream ? 65_536 : random.nextInt(random.nextInt(4) == 0 ? 100_000 : 6_000));
            long at = offset;
            both("write " + at + "+" + content.length, (fs, t) ->
                    (long) fs.write(USER, t ? handle.tree() : handle.model(), at, ByteBuffer.wrap(content)));
            offset += content.length;
        }
    }

    private void read() throws FileSystemException {
        Handles handle = anyHandle();
        if (handle == null) {
            return;
        }
        long offset = randomOffset();
        int size = random.nextInt(200_000);
        byte[][] content = new byte[2][];
        both("read " + offset + "+" + size, (fs, t) -> {
            ByteBuffer target = ByteBuffer.allocate(size);
            int count = fs.read(t ? handle.tree() : handle.model(), offset, target);
            content[t ? 1 : 0] = Arrays.copyOf(target.array(), count);
            return (long) count;
        });
        assertArrayEquals(content[0], content[1], step);
    }

    private void truncate() throws FileSystemException {
        Pair file = anyFile();
        if (file != null) {
            long size = random.nextInt(5) == 0 ? 0 : randomOffset();
            both(
                    "truncate " + size,
                    (fs, t) -> fs.setAttributes(USER, side(file, t), AttributeChange.size(size))
                            .sizeBytes());
        }
    }

    private void punch() throws FileSystemException {
        Handles handle = anyHandle();
        if (handle != null) {
            long offset = randomOffset();
            long size = 1 + random.nextInt(500_000);
            int mode = new int[] {3, 3, 16, 17, 0, 1}[random.nextInt(6)];
            both("fallocate " + mode + " " + offset + "+" + size, (fs, t) -> {
                fs.allocate(USER, t ? handle.tree() : handle.model(), mode, offset, size);
                return 0L;
            });
        }
    }

    private void sync() throws FileSystemException {
        Handles handle = anyHandle();
        if (handle != null && random.nextInt(3) > 0) {
            both("fsync", (fs, t) -> {
                fs.fsync(t ? handle.tree() : handle.model(), true);
                return 0L;
            });
        } else if (random.nextInt(5) == 0) {
            tree.sync();
        }
    }

    // ---- helpers

    private static long side(Pair pair, boolean tree) {
        return tree ? pair.tree() : pair.model();
    }

    /** The same on both sides; null when both fail in the same way. Results must be equal unless they are inode numbers or handles. */
    private @Nullable Pair both(String what, Action<Long> action) throws FileSystemException {
        Object onModel;
        Object onTree;
        try {
            onModel = action.on(model, false);
        } catch (FileSystemException e) {
            onModel = e.code();
        }
        try {
            onTree = action.on(tree, true);
        } catch (FileSystemException e) {
            onTree = e.code();
            if (!(onModel instanceof FileSystemException.Code)) {
                throw new AssertionError(step + what, e);
            }
        }
        if (onModel instanceof Long m && onTree instanceof Long t) {
            if (what.equals("mkdir") || what.equals("create") || what.equals("symlink") || what.equals("open")) {
                if (!what.equals("open")) {
                    model.forget(m, 1);
                    tree.forget(t, 1);
                }
                return new Pair(t, m);
            }
        }
        assertEquals(onModel, onTree, step + what);
        return null;
    }

    private Name randomName() {
        int n = random.nextInt(30);
        return Name.of(n % 5 == 0 ? "n" + n + "-".repeat(200) : "n" + n);
    }

    private byte[] randomBytes(int size) {
        byte[] bytes = new byte[size];
        random.nextBytes(bytes);
        for (int i = 0; i < size; i++) {
            bytes[i] |= 1;
        }
        return bytes;
    }

    private long randomOffset() {
        return switch (random.nextInt(6)) {
            case 0 -> random.nextInt(100);
            case 1 -> random.nextInt(5_000);
            case 2 -> 4096L * random.nextInt(400);
            case 3 -> 131_072L * random.nextInt(20);
            default -> random.nextInt(2_500_000);
        };
    }

    private @Nullable Pair anyFile() {
        return files.isEmpty() ? null : files.get(random.nextInt(files.size()));
    }

    // ---- comparison, which also learns the inode numbers anew

    private void compareTrees() throws FileSystemException {
        directories.clear();
        files.clear();
        compareDirectory(new Pair(FileSystem.ROOT_INODE, FileSystem.ROOT_INODE), new HashSet<>());
    }

    private void compareDirectory(Pair directory, Set<Long> seen) throws FileSystemException {
        directories.add(directory);
        TreeMap<Name, Integer> expected = list(model, directory.model());
        assertEquals(expected, list(tree, directory.tree()), step + "listing");
        for (Name name : expected.keySet()) {
            Attributes m = model.lookup(directory.model(), name);
            Attributes t = tree.lookup(directory.tree(), name);
            model.forget(m.inode(), 1);
            tree.forget(t.inode(), 1);
            assertEquals(m.mode(), t.mode(), step);
            assertEquals(m.linkCount(), t.linkCount(), step);
            Pair pair = new Pair(t.inode(), m.inode());
            if (m.isDirectory()) {
                assertEquals(directory.tree(), tree.parent(t.inode()));
                compareDirectory(pair, seen);
            } else if (seen.add(m.inode())) {
                assertEquals(m.sizeBytes(), t.sizeBytes(), step);
                if (m.isSymlink()) {
                    assertArrayEquals(model.readSymlink(m.inode()), tree.readSymlink(t.inode()));
                } else {
                    compareFile(pair, m.sizeBytes());
                }
            }
        }
    }

    private void compareFile(Pair file, long size) throws FileSystemException {
        files.add(file);
        Name[] names = model.listExtendedAttributes(file.model());
        assertEquals(Set.of(names), Set.of(tree.listExtendedAttributes(file.tree())), step);
        for (Name name : names) {
            assertArrayEquals(
                    model.getExtendedAttribute(file.model(), name), tree.getExtendedAttribute(file.tree(), name), step);
        }
        OpenMode read = new OpenMode(true, false, false, false, false);
        long m = model.open(USER, file.model(), read);
        long t = tree.open(USER, file.tree(), read);
        ByteBuffer expected = ByteBuffer.allocate(100_000);
        ByteBuffer actual = ByteBuffer.allocate(100_000);
        for (long at = 0; at < size; at += expected.capacity()) {
            expected.clear();
            actual.clear();
            model.read(m, at, expected);
            tree.read(t, at, actual);
            assertEquals(expected.flip(), actual.flip(), step + "content at " + at);
        }
        checkStoredBytes(t, file.tree(), size);
        model.release(m);
        tree.release(t);
    }

    /** What stat says is what SEEK_DATA and SEEK_HOLE find. */
    private void checkStoredBytes(long handle, long inode, long size) throws FileSystemException {
        Attributes attributes = tree.getAttributes(inode);
        long block = attributes.blockSizeBytes();
        long found = 0;
        long at = 0;
        while (at < size) {
            long data;
            try {
                data = tree.seek(handle, at, false);
            } catch (FileSystemException e) {
                assertEquals(FileSystemException.Code.NO_DATA, e.code());
                break;
            }
            long hole = tree.seek(handle, data, true);
            assertTrue(hole > data, step);
            found += hole - data;
            at = hole;
        }
        long stored = attributes.storedBytes();
        assertTrue(stored >= found && stored - found < block, step + "stored " + stored + ", found " + found);
    }

    private static TreeMap<Name, Integer> list(FileSystem fs, long inode) throws FileSystemException {
        TreeMap<Name, Integer> entries = new TreeMap<>();
        fs.readDirectory(inode, 0, (name, child, mode, cookie) -> {
            entries.put(name, mode & Attributes.TYPE_MASK);
            return true;
        });
        return entries;
    }
}
