package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.Created;
import blocktree.tree.FileSystem.ExtendedAttributeMode;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystem.RenameMode;
import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** What every {@link FileSystem} promises. */
abstract class FileSystemContractTest {
    static final long ROOT = FileSystem.ROOT_INODE;
    static final Caller USER = new Caller(1000, 100);
    static final OpenMode READ = new OpenMode(true, false, false, false, false);
    static final OpenMode WRITE = new OpenMode(true, true, false, false, false);
    static final OpenMode APPEND = new OpenMode(true, true, true, false, false);
    static final OpenMode TRUNCATE = new OpenMode(true, true, false, true, false);

    FileSystem fs;

    /** A fresh, empty file system, whose root belongs to 0:0 with mode 0755. */
    abstract FileSystem open() throws Exception;

    @BeforeEach
    void openFileSystem() throws Exception {
        fs = open();
    }

    @AfterEach
    void closeFileSystem() throws Exception {
        fs.close();
    }

    // ---- helpers

    static Name name(String text) {
        return Name.of(text);
    }

    static void assertFails(Code code, Executable executable) {
        FileSystemException e = assertThrows(FileSystemException.class, executable);
        assertEquals(code, e.code(), e.getMessage());
    }

    long directory(long parent, String name) throws FileSystemException {
        return fs.makeDirectory(USER, parent, name(name), 0755).inode();
    }

    long file(long parent, String name, byte[] content) throws FileSystemException {
        Created created = fs.create(USER, parent, name(name), 0644, WRITE);
        if (content.length > 0) {
            assertEquals(content.length, fs.write(USER, created.handle(), 0, ByteBuffer.wrap(content)));
        }
        fs.release(created.handle());
        return created.attributes().inode();
    }

    static byte[] bytes(int size, int seed) {
        byte[] content = new byte[size];
        new java.util.Random(seed).nextBytes(content);
        return content;
    }

    byte[] content(long inode) throws FileSystemException {
        long handle = fs.open(USER, inode, READ);
        try {
            return read(handle, 0, (int) fs.getAttributes(inode).sizeBytes() + 10);
        } finally {
            fs.release(handle);
        }
    }

    byte[] read(long handle, long offset, int size) throws FileSystemException {
        ByteBuffer target = ByteBuffer.allocate(size);
        int count = fs.read(handle, offset, target);
        assertEquals(count, target.position());
        return Arrays.copyOf(target.array(), count);
    }

    Map<String, Long> list(long inode) throws FileSystemException {
        Map<String, Long> found = new HashMap<>();
        fs.readDirectory(inode, 0, (name, child, mode, cookie) -> {
            assertTrue(cookie >= 1 && cookie <= Long.MAX_VALUE - 2, "cookie " + cookie);
            assertFalse(found.containsKey(name.plaintext()), "listed twice");
            found.put(name.plaintext(), child);
            return true;
        });
        return found;
    }

    // ---- names and attributes

    @Test
    void theRootIsAnEmptyDirectory() throws Exception {
        Attributes root = fs.getAttributes(ROOT);
        assertTrue(root.isDirectory());
        assertEquals(2, root.linkCount());
        assertEquals(ROOT, root.inode());
        assertTrue(list(ROOT).isEmpty());
        assertEquals(ROOT, fs.parent(ROOT));
    }

    @Test
    void aMadeFileIsFoundWithItsAttributes() throws Exception {
        Attributes made = fs.makeNode(USER, ROOT, name("f"), Attributes.TYPE_REGULAR | 04711, 0);
        assertEquals(made, fs.lookup(ROOT, name("f")));
        assertEquals(Attributes.TYPE_REGULAR | 04711, made.mode());
        assertEquals(1000, made.uid());
        assertEquals(100, made.gid());
        assertEquals(1, made.linkCount());
        assertEquals(0, made.sizeBytes());
        assertEquals(0, made.storedBytes());
        assertTrue(made.inode() > 1);
        assertEquals(made.modifyTimeNanos(), made.changeTimeNanos());
        assertEquals(made.modifyTimeNanos(), made.birthTimeNanos());
        fs.setAttributes(USER, made.inode(), AttributeChange.permissions(04711));
        fs.rename(ROOT, name("f"), ROOT, name("g"), RenameMode.REPLACE);
        assertEquals(made.birthTimeNanos(), fs.getAttributes(made.inode()).birthTimeNanos());
        fs.rename(ROOT, name("g"), ROOT, name("f"), RenameMode.REPLACE);
        assertEquals(Map.of("f", made.inode()), list(ROOT));
    }

    @Test
    void absentNamesAreNotFound() {
        assertFails(Code.NOT_FOUND, () -> fs.lookup(ROOT, name("x")));
        assertFails(Code.NOT_FOUND, () -> fs.unlink(ROOT, name("x")));
        assertFails(Code.NOT_FOUND, () -> fs.removeDirectory(ROOT, name("x")));
        assertFails(Code.NOT_FOUND, () -> fs.rename(ROOT, name("x"), ROOT, name("y"), RenameMode.REPLACE));
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(987654321987654321L));
    }

    @Test
    void takenNamesExist() throws Exception {
        file(ROOT, "f", new byte[0]);
        directory(ROOT, "d");
        for (String taken : List.of("f", "d")) {
            assertFails(Code.EXISTS, () -> fs.create(USER, ROOT, name(taken), 0644, WRITE));
            assertFails(Code.EXISTS, () -> fs.makeDirectory(USER, ROOT, name(taken), 0755));
            assertFails(Code.EXISTS, () -> fs.makeSymlink(USER, ROOT, name(taken), new byte[] {'t'}));
            assertFails(Code.EXISTS, () -> fs.makeNode(USER, ROOT, name(taken), Attributes.TYPE_FIFO | 0600, 0));
        }
    }

    @Test
    void namesAreBytesUpTo255() throws Exception {
        byte[] odd = new byte[255];
        for (int i = 0; i < 255; i++) {
            odd[i] = (byte) (i + 1 == '/' ? '_' : i + 1);
        }
        long inode = fs.makeNode(USER, ROOT, Name.wrap(odd), Attributes.TYPE_REGULAR | 0600, 0)
                .inode();
        assertEquals(inode, fs.lookup(ROOT, Name.wrap(odd.clone())).inode());
        assertFails(Code.NAME_TOO_LONG, () -> fs.lookup(ROOT, Name.wrap(new byte[256])));
        assertFails(Code.NAME_TOO_LONG, () -> directory(ROOT, "n".repeat(256)));
    }

    @Test
    void everyKindCanBeMade() throws Exception {
        Attributes fifo = fs.makeNode(USER, ROOT, name("fifo"), Attributes.TYPE_FIFO | 0600, 0);
        Attributes socket = fs.makeNode(USER, ROOT, name("socket"), Attributes.TYPE_SOCKET | 0600, 0);
        Attributes device = fs.makeNode(USER, ROOT, name("null"), Attributes.TYPE_CHARACTER_DEVICE | 0666, 0x103);
        assertEquals(Attributes.TYPE_FIFO | 0600, fifo.mode());
        assertEquals(Attributes.TYPE_SOCKET | 0600, socket.mode());
        assertEquals(0x103, fs.lookup(ROOT, name("null")).device());
        assertEquals(Attributes.TYPE_CHARACTER_DEVICE | 0666, device.mode());
        Attributes link = fs.makeSymlink(USER, ROOT, name("link"), "to/where".getBytes(StandardCharsets.UTF_8));
        assertEquals("to/where", new String(fs.readSymlink(link.inode()), StandardCharsets.UTF_8));
        assertEquals(8, link.sizeBytes());
        assertEquals(Attributes.TYPE_SYMLINK | 0777, link.mode());
        assertEquals(
                4095,
                fs.readSymlink(fs.makeSymlink(USER, ROOT, name("long"), bytesWithoutNul(4095))
                                .inode())
                        .length);
        assertFails(Code.INVALID, () -> fs.readSymlink(fifo.inode()));
    }

    private static byte[] bytesWithoutNul(int size) {
        byte[] target = new byte[size];
        Arrays.fill(target, (byte) 'a');
        return target;
    }

    @Test
    void directoriesCountTheirSubdirectories() throws Exception {
        long a = directory(ROOT, "a");
        long b = directory(a, "b");
        directory(a, "c");
        file(a, "f", new byte[0]);
        assertEquals(4, fs.getAttributes(a).linkCount());
        assertEquals(3, fs.getAttributes(ROOT).linkCount());
        assertEquals(a, fs.parent(b));
        fs.removeDirectory(a, name("b"));
        assertEquals(3, fs.getAttributes(a).linkCount());
        fs.rename(a, name("c"), ROOT, name("c"), RenameMode.REPLACE);
        assertEquals(2, fs.getAttributes(a).linkCount());
        assertEquals(4, fs.getAttributes(ROOT).linkCount());
    }

    @Test
    void setGroupIdIsInherited() throws Exception {
        long d = directory(ROOT, "d");
        fs.setAttributes(new Caller(0, 0), d, new AttributeChange(02775, null, 555, null, null, null, null));
        Attributes sub = fs.makeDirectory(USER, d, name("sub"), 0755);
        Attributes plain = fs.makeNode(USER, d, name("f"), Attributes.TYPE_REGULAR | 0644, 0);
        assertEquals(555, sub.gid());
        assertEquals(02755, sub.mode() & 07777);
        assertEquals(555, plain.gid());
        assertEquals(0644, plain.mode() & 07777);
    }

    @Test
    void attributesChangeAsAsked() throws Exception {
        long f = file(ROOT, "f", bytes(10, 1));
        Attributes before = fs.getAttributes(f);
        Attributes after = fs.setAttributes(USER, f, AttributeChange.permissions(0600));
        assertEquals(Attributes.TYPE_REGULAR | 0600, after.mode());
        assertTrue(after.changeTimeNanos() > before.changeTimeNanos());
        assertEquals(before.modifyTimeNanos(), after.modifyTimeNanos());
        after = fs.setAttributes(USER, f, AttributeChange.owner(5, null));
        assertEquals(5, after.uid());
        assertEquals(100, after.gid());
        after = fs.setAttributes(USER, f, AttributeChange.times(-1_500_000_001L, 4_000_000_000_123_456_789L));
        assertEquals(-1_500_000_001L, after.accessTimeNanos());
        assertEquals(4_000_000_000_123_456_789L, after.modifyTimeNanos());
        assertEquals(after, fs.lookup(ROOT, name("f")));
    }

    @Test
    void changesOfADirectoryMoveItsTimes() throws Exception {
        long d = directory(ROOT, "d");
        Attributes before = fs.getAttributes(d);
        long f = file(d, "f", new byte[0]);
        Attributes after = fs.getAttributes(d);
        assertTrue(after.modifyTimeNanos() > before.modifyTimeNanos());
        assertTrue(after.changeTimeNanos() > before.changeTimeNanos());
        Attributes fileBefore = fs.getAttributes(f);
        fs.link(f, ROOT, name("g"));
        assertTrue(fs.getAttributes(f).changeTimeNanos() > fileBefore.changeTimeNanos());
        assertEquals(after.modifyTimeNanos(), fs.getAttributes(d).modifyTimeNanos());
        fs.unlink(d, name("f"));
        assertTrue(fs.getAttributes(d).modifyTimeNanos() > after.modifyTimeNanos());
    }

    // ---- content

    @Test
    void contentOfEverySizeIsReadBack() throws Exception {
        int i = 0;
        for (int size : new int[] {
            0, 1, 100, 4095, 4096, 4097, 8192, 10_000, 65_536, 65_537, 300_000, 1 << 20, (1 << 20) + 1, 3_000_000
        }) {
            byte[] expected = bytes(size, size);
            long inode = file(ROOT, "f" + i++, expected);
            assertEquals(size, fs.getAttributes(inode).sizeBytes());
            assertArrayEquals(expected, content(inode));
        }
    }

    @Test
    void readsEndAtTheEndOfTheFile() throws Exception {
        long inode = file(ROOT, "f", bytes(10_000, 1));
        long handle = fs.open(USER, inode, READ);
        assertEquals(0, read(handle, 10_000, 10).length);
        assertEquals(0, read(handle, 1L << 40, 10).length);
        assertEquals(10, read(handle, 9_990, 100).length);
        fs.release(handle);
    }

    @Test
    void holesReadAsZerosAndTakeNoRoom() throws Exception {
        Created created = fs.create(USER, ROOT, name("sparse"), 0644, WRITE);
        long handle = created.handle();
        long far = 5L << 40;
        fs.write(USER, handle, far, ByteBuffer.wrap(bytes(100, 3)));
        assertEquals(far + 100, fs.getAttributes(created.attributes().inode()).sizeBytes());
        assertTrue(fs.getAttributes(created.attributes().inode()).storedBytes() <= 1 << 17);
        assertArrayEquals(new byte[5000], read(handle, 0, 5000));
        assertArrayEquals(new byte[5000], read(handle, 3L << 40, 5000));
        byte[] end = read(handle, far - 10, 200);
        assertArrayEquals(new byte[10], Arrays.copyOf(end, 10));
        assertArrayEquals(bytes(100, 3), Arrays.copyOfRange(end, 10, 110));
        fs.release(handle);
    }

    @Test
    void appendWritesAtTheEndWhereverItIs() throws Exception {
        long inode = file(ROOT, "f", bytes(10, 1));
        long one = fs.open(USER, inode, APPEND);
        long two = fs.open(USER, inode, APPEND);
        fs.write(USER, one, 0, ByteBuffer.wrap(new byte[] {1}));
        fs.write(USER, two, 0, ByteBuffer.wrap(new byte[] {2}));
        fs.write(USER, one, 3, ByteBuffer.wrap(new byte[] {3}));
        byte[] content = content(inode);
        assertEquals(13, content.length);
        assertArrayEquals(new byte[] {1, 2, 3}, Arrays.copyOfRange(content, 10, 13));
        fs.release(one);
        fs.release(two);
    }

    @Test
    void truncationCutsAndExtendsWithZeros() throws Exception {
        for (int size : new int[] {100, 5_000, 20_000, 2_000_000}) {
            byte[] expected = bytes(size, 7);
            long inode = file(ROOT, "t" + size, expected);
            int cut = size / 2 + 1;
            fs.setAttributes(USER, inode, AttributeChange.size(cut));
            assertArrayEquals(Arrays.copyOf(expected, cut), content(inode));
            fs.setAttributes(USER, inode, AttributeChange.size(size + 10));
            assertArrayEquals(Arrays.copyOf(Arrays.copyOf(expected, cut), size + 10), content(inode));
            fs.setAttributes(USER, inode, AttributeChange.size(0));
            assertEquals(0, fs.getAttributes(inode).storedBytes());
            fs.setAttributes(USER, inode, AttributeChange.size(size));
            assertArrayEquals(new byte[size], content(inode));
        }
        assertFails(
                Code.INVALID, () -> fs.setAttributes(USER, file(ROOT, "neg", new byte[0]), AttributeChange.size(-1)));
    }

    @Test
    void openWithTruncateEmptiesTheFile() throws Exception {
        long inode = file(ROOT, "f", bytes(9000, 1));
        fs.release(fs.open(USER, inode, TRUNCATE));
        assertEquals(0, fs.getAttributes(inode).sizeBytes());
    }

    @Test
    void writingMovesModifyAndChangeTime() throws Exception {
        long inode = file(ROOT, "f", bytes(10, 1));
        Attributes before = fs.getAttributes(inode);
        long handle = fs.open(USER, inode, WRITE);
        fs.write(USER, handle, 2, ByteBuffer.wrap(new byte[] {9}));
        Attributes after = fs.getAttributes(inode);
        assertTrue(after.modifyTimeNanos() > before.modifyTimeNanos());
        assertTrue(after.changeTimeNanos() > before.changeTimeNanos());
        fs.release(handle);
    }

    @Test
    void relatimeMovesTheAccessTimeOnce() throws Exception {
        long inode = file(ROOT, "f", bytes(10, 1));
        content(inode);
        Attributes first = fs.getAttributes(inode);
        assertTrue(first.accessTimeNanos() >= first.modifyTimeNanos());
        content(inode);
        assertEquals(first.accessTimeNanos(), fs.getAttributes(inode).accessTimeNanos());
    }

    @Test
    void unlinkedFilesLiveUntilTheirLastHandleGoes() throws Exception {
        byte[] expected = bytes(100_000, 1);
        long inode = file(ROOT, "f", expected);
        long handle = fs.open(USER, inode, WRITE);
        fs.unlink(ROOT, name("f"));
        assertFails(Code.NOT_FOUND, () -> fs.lookup(ROOT, name("f")));
        assertEquals(0, fs.getAttributes(inode).linkCount());
        fs.write(USER, handle, 0, ByteBuffer.wrap(new byte[] {1, 2, 3}));
        fs.setAttributes(USER, inode, AttributeChange.size(50_000));
        fs.fsync(handle, false);
        byte[] content = read(handle, 0, 100_000);
        assertEquals(50_000, content.length);
        assertEquals(2, content[1]);
        fs.release(handle);
        fs.forget(inode, 1);
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(inode));
    }

    @Test
    void namelessFilesLiveUntilTheirLastHandleGoes() throws Exception {
        Attributes before = fs.getAttributes(ROOT);
        Created made = fs.createNameless(USER, ROOT, 0640, WRITE, true);
        long inode = made.attributes().inode();
        assertEquals(Attributes.TYPE_REGULAR | 0640, made.attributes().mode());
        assertEquals(0, made.attributes().linkCount());
        assertEquals(before, fs.getAttributes(ROOT));
        assertEquals(Map.of(), list(ROOT));
        fs.write(USER, made.handle(), 0, ByteBuffer.wrap(bytes(100_000, 1)));
        fs.fsync(made.handle(), false);
        assertArrayEquals(bytes(100_000, 1), content(inode));
        fs.release(made.handle());
        assertArrayEquals(bytes(100_000, 1), content(inode), "it is still referred to");
        fs.forget(inode, 1);
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(inode));
        fs.sync();
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(inode));
    }

    @Test
    void namelessFilesGetANameOnce() throws Exception {
        Created made = fs.createNameless(USER, ROOT, 0640, WRITE, true);
        long inode = made.attributes().inode();
        fs.write(USER, made.handle(), 0, ByteBuffer.wrap(bytes(100_000, 1)));
        fs.sync();
        file(ROOT, "taken", new byte[0]);
        assertFails(Code.EXISTS, () -> fs.link(inode, ROOT, name("taken")));
        assertEquals(1, fs.link(inode, ROOT, name("named")).linkCount());
        fs.release(made.handle());
        fs.forget(inode, 2);
        fs.sync();
        assertEquals(inode, fs.lookup(ROOT, name("named")).inode());
        assertArrayEquals(bytes(100_000, 1), content(inode));
        fs.unlink(ROOT, name("named"));
        assertFails(Code.NOT_FOUND, () -> fs.link(inode, ROOT, name("again")));
        fs.forget(inode, 1);
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(inode));

        long unlinkable =
                fs.createNameless(USER, ROOT, 0640, WRITE, false).attributes().inode();
        assertFails(Code.NOT_FOUND, () -> fs.link(unlinkable, ROOT, name("again")));
        long directory = directory(ROOT, "d");
        fs.removeDirectory(ROOT, name("d"));
        assertFails(Code.NOT_FOUND, () -> fs.createNameless(USER, directory, 0640, WRITE, true));
        long plain = file(ROOT, "plain", new byte[0]);
        assertFails(Code.NOT_DIRECTORY, () -> fs.createNameless(USER, plain, 0640, WRITE, true));
    }

    @Test
    void unlinkedFilesLiveWhileTheyAreReferredTo() throws Exception {
        long inode = file(ROOT, "f", bytes(100_000, 1));
        fs.unlink(ROOT, name("f"));
        fs.sync();
        assertEquals(0, fs.getAttributes(inode).linkCount());
        fs.setAttributes(USER, inode, AttributeChange.permissions(0600));
        fs.setExtendedAttribute(USER, inode, name("user.k"), new byte[] {1}, ExtendedAttributeMode.SET);
        fs.sync();
        assertArrayEquals(new byte[] {1}, fs.getExtendedAttribute(inode, name("user.k")));
        assertArrayEquals(bytes(100_000, 1), content(inode));
        assertEquals(0100600, fs.getAttributes(inode).mode());
        fs.forget(inode, 1);
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(inode));
        fs.sync();
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(inode));
    }

    @Test
    void replacedFilesLiveWhileTheyAreReferredTo() throws Exception {
        long old = file(ROOT, "f", bytes(10, 1));
        long handle = fs.open(USER, old, READ);
        file(ROOT, "g", bytes(20, 2));
        fs.rename(ROOT, name("g"), ROOT, name("f"), RenameMode.REPLACE);
        fs.release(handle);
        fs.sync();
        assertArrayEquals(bytes(10, 1), content(old));
        fs.forget(old, 1);
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(old));
    }

    @Test
    void removedDirectoriesLiveWhileTheyAreReferredTo() throws Exception {
        long d = directory(ROOT, "d");
        fs.removeDirectory(ROOT, name("d"));
        fs.sync();
        assertEquals(0, fs.getAttributes(d).linkCount());
        fs.setAttributes(USER, d, AttributeChange.permissions(0700));
        assertEquals(Map.of(), list(d));
        fs.fsyncDirectory(d);
        assertFails(Code.NOT_FOUND, () -> file(d, "late", new byte[0]));
        fs.forget(d, 1);
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(d));
    }

    @Test
    void aWriteByAnybodyButTheSuperuserTakesAwaySetIds() throws Exception {
        long inode = file(ROOT, "f", bytes(10, 1));
        long handle = fs.open(USER, inode, WRITE);
        Caller superuser = new Caller(0, 0);
        fs.setAttributes(superuser, inode, AttributeChange.permissions(06755));
        fs.write(superuser, handle, 0, ByteBuffer.wrap(new byte[1]));
        assertEquals(06755, fs.getAttributes(inode).mode() & 07777);
        fs.write(USER, handle, 0, ByteBuffer.wrap(new byte[1]));
        assertEquals(0755, fs.getAttributes(inode).mode() & 07777);
        fs.setAttributes(superuser, inode, AttributeChange.permissions(06745));
        fs.allocate(USER, handle, 0, 0, 20);
        assertEquals(02745, fs.getAttributes(inode).mode() & 07777, "a group that may not execute");
        fs.setAttributes(superuser, inode, AttributeChange.permissions(06755));
        fs.setAttributes(USER, inode, AttributeChange.size(3));
        assertEquals(0755, fs.getAttributes(inode).mode() & 07777);
        fs.release(handle);
    }

    @Test
    void handlesAreChecked() throws Exception {
        long inode = file(ROOT, "f", bytes(10, 1));
        long handle = fs.open(USER, inode, READ);
        assertFails(Code.BAD_HANDLE, () -> fs.write(USER, handle, 0, ByteBuffer.allocate(1)));
        fs.release(handle);
        assertFails(Code.BAD_HANDLE, () -> fs.read(handle, 0, ByteBuffer.allocate(1)));
        fs.release(handle);
        assertFails(Code.IS_DIRECTORY, () -> fs.open(USER, ROOT, READ));
    }

    @Test
    void allocateExtendsAndPunches() throws Exception {
        byte[] expected = bytes(1_000_000, 1);
        long inode = file(ROOT, "f", expected);
        long handle = fs.open(USER, inode, WRITE);
        long storedBefore = fs.getAttributes(inode).storedBytes();
        fs.allocate(USER, handle, 3, 10_000, 700_000);
        Arrays.fill(expected, 10_000, 710_000, (byte) 0);
        assertArrayEquals(expected, content(inode));
        assertTrue(fs.getAttributes(inode).storedBytes() < storedBefore);
        fs.setAttributes(USER, inode, AttributeChange.times(1L, 1L));
        fs.allocate(USER, handle, 1, 0, 2_000_000);
        assertEquals(1_000_000, fs.getAttributes(inode).sizeBytes());
        assertNotEquals(1L, fs.getAttributes(inode).modifyTimeNanos(), "also when nothing shows in the content");
        fs.allocate(USER, handle, 0, 0, 2_000_000);
        assertEquals(2_000_000, fs.getAttributes(inode).sizeBytes());
        fs.allocate(USER, handle, 17, 999_990, 20);
        Arrays.fill(expected, 999_990, 1_000_000, (byte) 0);
        assertArrayEquals(Arrays.copyOf(expected, 2_000_000), content(inode));
        fs.allocate(USER, handle, 16, 1_999_999, 100);
        assertEquals(2_000_099, fs.getAttributes(inode).sizeBytes());
        assertFails(Code.NOT_SUPPORTED, () -> fs.allocate(USER, handle, 8, 0, 4096));
        fs.release(handle);
    }

    @Test
    void seekFindsDataAndHoles() throws Exception {
        Created created = fs.create(USER, ROOT, name("f"), 0644, WRITE);
        long handle = created.handle();
        long mib = 1 << 20;
        fs.write(USER, handle, 2 * mib, ByteBuffer.wrap(bytes((int) mib, 1)));
        fs.setAttributes(USER, created.attributes().inode(), AttributeChange.size(5 * mib));
        assertEquals(2 * mib, fs.seek(handle, 0, false));
        assertEquals(2 * mib + 5, fs.seek(handle, 2 * mib + 5, false));
        assertEquals(0, fs.seek(handle, 0, true));
        assertEquals(3 * mib, fs.seek(handle, 2 * mib, true));
        assertFails(Code.NO_DATA, () -> fs.seek(handle, 3 * mib, false));
        assertFails(Code.NO_DATA, () -> fs.seek(handle, 5 * mib, true));
        fs.release(handle);
    }

    // ---- links and renames

    @Test
    void hardLinksShareOneInode() throws Exception {
        long inode = file(ROOT, "f", bytes(10, 1));
        long d = directory(ROOT, "d");
        assertEquals(2, fs.link(inode, d, name("g")).linkCount());
        assertEquals(inode, fs.lookup(d, name("g")).inode());
        fs.unlink(ROOT, name("f"));
        assertEquals(1, fs.getAttributes(inode).linkCount());
        assertArrayEquals(bytes(10, 1), content(inode));
        assertFails(Code.NOT_PERMITTED, () -> fs.link(d, ROOT, name("h")));
        assertFails(Code.EXISTS, () -> fs.link(inode, d, name("g")));
    }

    @Test
    void aFileWithoutNamesGetsNoNewOne() throws Exception {
        long inode = file(ROOT, "f", bytes(10, 1));
        file(ROOT, "taken", new byte[0]);
        long handle = fs.open(USER, inode, READ);
        fs.unlink(ROOT, name("f"));
        assertFails(Code.NOT_FOUND, () -> fs.link(inode, ROOT, name("g")));
        assertFails(Code.EXISTS, () -> fs.link(inode, ROOT, name("taken")));
        fs.release(handle);
    }

    @Test
    void removalChecksKindAndEmptiness() throws Exception {
        long d = directory(ROOT, "d");
        file(d, "f", new byte[0]);
        assertFails(Code.NOT_EMPTY, () -> fs.removeDirectory(ROOT, name("d")));
        assertFails(Code.IS_DIRECTORY, () -> fs.unlink(ROOT, name("d")));
        assertFails(Code.NOT_DIRECTORY, () -> fs.removeDirectory(d, name("f")));
        assertFails(Code.NOT_DIRECTORY, () -> fs.lookup(fs.lookup(d, name("f")).inode(), name("x")));
        fs.unlink(d, name("f"));
        fs.removeDirectory(ROOT, name("d"));
        assertFails(Code.NOT_FOUND, () -> file(d, "late", new byte[0]));
    }

    @Test
    void renameMovesAndReplaces() throws Exception {
        long a = directory(ROOT, "a");
        long b = directory(ROOT, "b");
        long f = file(a, "f", bytes(10, 1));
        long g = file(b, "g", bytes(20, 2));
        fs.rename(a, name("f"), b, name("g"), RenameMode.REPLACE);
        assertEquals(f, fs.lookup(b, name("g")).inode());
        assertTrue(list(a).isEmpty());
        fs.forget(g, 1);
        assertFails(Code.NOT_FOUND, () -> fs.getAttributes(g));
        fs.rename(ROOT, name("a"), b, name("a"), RenameMode.REPLACE);
        assertEquals(b, fs.parent(a));
        fs.rename(b, name("g"), b, name("h"), RenameMode.REPLACE);
        assertEquals(Set.of("a", "h"), list(b).keySet());
    }

    @Test
    void renameRefusesWhatPosixRefuses() throws Exception {
        long a = directory(ROOT, "a");
        long b = directory(a, "b");
        long full = directory(ROOT, "full");
        file(full, "x", new byte[0]);
        file(ROOT, "f", new byte[0]);
        assertFails(Code.INVALID, () -> fs.rename(ROOT, name("a"), b, name("c"), RenameMode.REPLACE));
        assertFails(Code.INVALID, () -> fs.rename(ROOT, name("a"), a, name("c"), RenameMode.REPLACE));
        assertFails(Code.NOT_EMPTY, () -> fs.rename(ROOT, name("a"), ROOT, name("full"), RenameMode.REPLACE));
        assertFails(Code.NOT_EMPTY, () -> fs.rename(a, name("b"), ROOT, name("a"), RenameMode.REPLACE));
        assertFails(Code.NOT_DIRECTORY, () -> fs.rename(ROOT, name("a"), ROOT, name("f"), RenameMode.REPLACE));
        assertFails(Code.IS_DIRECTORY, () -> fs.rename(ROOT, name("f"), ROOT, name("a"), RenameMode.REPLACE));
        assertFails(Code.EXISTS, () -> fs.rename(ROOT, name("f"), ROOT, name("a"), RenameMode.NO_REPLACE));
        assertFails(Code.NOT_FOUND, () -> fs.rename(ROOT, name("f"), ROOT, name("none"), RenameMode.EXCHANGE));
        assertFails(Code.INVALID, () -> fs.rename(ROOT, name("a"), a, name("b"), RenameMode.EXCHANGE));
        fs.rename(a, name("b"), ROOT, name("new"), RenameMode.NO_REPLACE);
        assertEquals(b, fs.lookup(ROOT, name("new")).inode());
    }

    @Test
    void renameOntoAnotherNameOfTheSameFileDoesNothing() throws Exception {
        long f = file(ROOT, "f", new byte[0]);
        fs.link(f, ROOT, name("g"));
        fs.rename(ROOT, name("f"), ROOT, name("g"), RenameMode.REPLACE);
        assertEquals(Set.of("f", "g"), list(ROOT).keySet());
        fs.rename(ROOT, name("f"), ROOT, name("f"), RenameMode.REPLACE);
        assertEquals(2, fs.getAttributes(f).linkCount());
    }

    @Test
    void exchangeSwapsWhatTwoNamesStandFor() throws Exception {
        long a = directory(ROOT, "a");
        long b = directory(ROOT, "b");
        long d = directory(a, "d");
        long f = file(b, "f", bytes(3, 1));
        fs.rename(a, name("d"), b, name("f"), RenameMode.EXCHANGE);
        assertEquals(f, fs.lookup(a, name("d")).inode());
        assertEquals(d, fs.lookup(b, name("f")).inode());
        assertEquals(b, fs.parent(d));
        assertEquals(2, fs.getAttributes(a).linkCount());
        assertEquals(3, fs.getAttributes(b).linkCount());
    }

    @Test
    void replacingAnOpenFileKeepsItReadable() throws Exception {
        long old = file(ROOT, "old", bytes(5000, 1));
        file(ROOT, "new", bytes(6000, 2));
        long handle = fs.open(USER, old, READ);
        fs.rename(ROOT, name("new"), ROOT, name("old"), RenameMode.REPLACE);
        assertArrayEquals(bytes(5000, 1), read(handle, 0, 10_000));
        fs.release(handle);
        assertArrayEquals(bytes(6000, 2), content(fs.lookup(ROOT, name("old")).inode()));
    }

    // ---- listings

    @Test
    void largeDirectoriesListInPieces() throws Exception {
        long d = directory(ROOT, "d");
        Set<String> expected = new HashSet<>();
        for (int i = 0; i < 3000; i++) {
            fs.makeNode(USER, d, name("entry-" + i), Attributes.TYPE_REGULAR | 0600, 0);
            expected.add("entry-" + i);
        }
        List<String> seen = new ArrayList<>();
        long[] cookie = new long[1];
        while (true) {
            int before = seen.size();
            fs.readDirectory(d, cookie[0], (name, inode, mode, at) -> {
                if (seen.size() - before == 7) {
                    return false;
                }
                assertEquals(Attributes.TYPE_REGULAR, mode & Attributes.TYPE_MASK);
                seen.add(name.plaintext());
                cookie[0] = at;
                return true;
            });
            if (seen.size() == before) {
                break;
            }
        }
        assertEquals(3000, seen.size());
        assertEquals(expected, new HashSet<>(seen));
        for (int i = 0; i < 3000; i++) {
            fs.unlink(d, name("entry-" + i));
        }
        assertTrue(list(d).isEmpty());
        fs.removeDirectory(ROOT, name("d"));
    }

    // ---- extended attributes

    @Test
    void extendedAttributesAreKept() throws Exception {
        long f = file(ROOT, "f", new byte[0]);
        assertFails(Code.NO_DATA, () -> fs.getExtendedAttribute(f, name("user.a")));
        fs.setExtendedAttribute(USER, f, name("user.a"), bytes(10, 1), ExtendedAttributeMode.SET);
        fs.setExtendedAttribute(
                USER, f, FileSystem.ACCESS_LIST, AccessListTest.withUser(6, 7), ExtendedAttributeMode.CREATE);
        fs.setExtendedAttribute(USER, f, name("user.empty"), new byte[0], ExtendedAttributeMode.SET);
        assertArrayEquals(bytes(10, 1), fs.getExtendedAttribute(f, name("user.a")));
        assertEquals(0, fs.getExtendedAttribute(f, name("user.empty")).length);
        assertFails(
                Code.EXISTS,
                () -> fs.setExtendedAttribute(USER, f, name("user.a"), new byte[1], ExtendedAttributeMode.CREATE));
        assertFails(
                Code.NO_DATA,
                () -> fs.setExtendedAttribute(USER, f, name("user.b"), new byte[1], ExtendedAttributeMode.REPLACE));
        Set<String> names = new HashSet<>();
        for (Name name : fs.listExtendedAttributes(f)) {
            names.add(name.plaintext());
        }
        assertEquals(Set.of("user.a", "user.empty", "system.posix_acl_access"), names);
        fs.removeExtendedAttribute(f, name("user.a"));
        assertFails(Code.NO_DATA, () -> fs.removeExtendedAttribute(f, name("user.a")));
    }

    private void setList(Caller caller, long inode, Name name, byte[] list) throws FileSystemException {
        fs.setExtendedAttribute(caller, inode, name, list, ExtendedAttributeMode.SET);
    }

    private int permissions(long inode) throws FileSystemException {
        return fs.getAttributes(inode).mode() & 07777;
    }

    @Test
    void accessListAndModeChangeTogether() throws Exception {
        Caller superuser = new Caller(0, 0);
        long f = file(ROOT, "f", new byte[0]);
        fs.setAttributes(USER, f, AttributeChange.permissions(06644));
        setList(superuser, f, FileSystem.ACCESS_LIST, AccessListTest.withUser(7, 6));
        assertEquals(06760, permissions(f));
        assertEquals(06740, fs.getAttributes(f).modeWithoutLists() & 07777);
        assertEquals(06740, fs.getAttributes(f).withoutLists().mode() & 07777);
        setList(USER, f, FileSystem.ACCESS_LIST, AccessListTest.withUser(7, 6));
        assertEquals(04760, permissions(f));
        fs.setAttributes(USER, f, AttributeChange.permissions(0652));
        assertArrayEquals(
                AccessListTest.list(1, 6, -1, 2, 7, 2000, 4, 4, -1, 16, 5, -1, 32, 2, -1),
                fs.getExtendedAttribute(f, FileSystem.ACCESS_LIST));
        assertEquals(0652, permissions(f));
        fs.removeExtendedAttribute(f, FileSystem.ACCESS_LIST);
        fs.removeExtendedAttribute(f, FileSystem.ACCESS_LIST);
        fs.removeExtendedAttribute(f, FileSystem.DEFAULT_ACCESS_LIST);
        assertEquals(0652, permissions(f));
        setList(USER, f, FileSystem.ACCESS_LIST, AccessListTest.withUser(7, 6));
        setList(USER, f, FileSystem.ACCESS_LIST, AccessListTest.list(1, 6, -1, 4, 2, -1, 32, 1, -1));
        assertEquals(0621, permissions(f));
        assertEquals(0, fs.listExtendedAttributes(f).length);
    }

    @Test
    void whatIsNoListIsRefusedAndChangesNothing() throws Exception {
        long f = file(ROOT, "f", new byte[0]);
        long d = directory(ROOT, "d");
        long link = fs.makeSymlink(USER, ROOT, name("l"), new byte[] {'x'}).inode();
        byte[] list = AccessListTest.withUser(7, 7);
        assertFails(Code.INVALID, () -> setList(USER, f, FileSystem.ACCESS_LIST, new byte[12]));
        assertFails(Code.INVALID, () -> setList(USER, d, FileSystem.DEFAULT_ACCESS_LIST, new byte[0]));
        assertFails(Code.DENIED, () -> setList(USER, f, FileSystem.DEFAULT_ACCESS_LIST, list));
        assertFails(Code.NOT_SUPPORTED, () -> setList(USER, link, FileSystem.ACCESS_LIST, list));
        assertEquals(0644, permissions(f));
        assertEquals(0755, permissions(d));
        for (long inode : new long[] {f, d, link}) {
            assertEquals(0, fs.listExtendedAttributes(inode).length);
        }
    }

    @Test
    void aDefaultListTakesThePlaceOfTheUmaskAndIsHandedDown() throws Exception {
        Caller caller = new Caller(1000, 100, 077);
        long d = directory(ROOT, "d");
        assertEquals(
                0600,
                fs.makeNode(caller, d, name("a"), Attributes.TYPE_REGULAR | 0664, 0)
                                .mode()
                        & 07777);
        Created nameless = fs.createNameless(caller, d, 0664, WRITE, true);
        assertEquals(0600, nameless.attributes().mode() & 07777);
        byte[] list = AccessListTest.withUser(6, 7);
        setList(USER, d, FileSystem.DEFAULT_ACCESS_LIST, list);
        assertEquals(0755, permissions(d));
        Created namelessInherits = fs.createNameless(caller, d, 0664, WRITE, true);
        assertEquals(0660, namelessInherits.attributes().mode() & 07777);
        Created file = fs.create(caller, d, name("b"), 0664, WRITE);
        fs.release(file.handle());
        assertEquals(0660, file.attributes().mode() & 07777);
        assertArrayEquals(
                AccessListTest.list(1, 6, -1, 2, 6, 2000, 4, 4, -1, 16, 6, -1, 32, 0, -1),
                fs.getExtendedAttribute(file.attributes().inode(), FileSystem.ACCESS_LIST));
        assertFails(
                Code.NO_DATA, () -> fs.getExtendedAttribute(file.attributes().inode(), FileSystem.DEFAULT_ACCESS_LIST));
        long below = fs.makeDirectory(caller, d, name("c"), 02755).inode();
        assertEquals(02750, permissions(below));
        assertArrayEquals(list, fs.getExtendedAttribute(below, FileSystem.DEFAULT_ACCESS_LIST));
        assertEquals(
                0660,
                fs.makeNode(caller, below, name("p"), Attributes.TYPE_FIFO | 0666, 0)
                                .mode()
                        & 07777);
        long link = fs.makeSymlink(caller, below, name("l"), new byte[] {'x'}).inode();
        assertEquals(0777, permissions(link));
        assertEquals(0, fs.listExtendedAttributes(link).length);
        setList(USER, d, FileSystem.DEFAULT_ACCESS_LIST, AccessListTest.list(1, 7, -1, 4, 5, -1, 32, 0, -1));
        Attributes plain = fs.makeDirectory(caller, d, name("e"), 0777);
        assertEquals(0750, plain.mode() & 07777);
        assertArrayEquals(new Name[] {FileSystem.DEFAULT_ACCESS_LIST}, fs.listExtendedAttributes(plain.inode()));
    }

    @Test
    void listsStayWithTheInode() throws Exception {
        long f = file(ROOT, "f", new byte[0]);
        long other = file(ROOT, "other", new byte[0]);
        byte[] list = AccessListTest.withUser(6, 7);
        setList(USER, f, FileSystem.ACCESS_LIST, list);
        fs.link(f, ROOT, name("link"));
        fs.rename(ROOT, name("f"), ROOT, name("moved"), RenameMode.REPLACE);
        fs.rename(ROOT, name("moved"), ROOT, name("other"), RenameMode.EXCHANGE);
        fs.setAttributes(USER, f, AttributeChange.owner(5, 6));
        for (String name : List.of("other", "link")) {
            Attributes found = fs.lookup(ROOT, name(name));
            assertEquals(f, found.inode());
            assertEquals(0770, found.mode() & 07777);
            assertArrayEquals(list, fs.getExtendedAttribute(found.inode(), FileSystem.ACCESS_LIST));
        }
        assertEquals(0, fs.listExtendedAttributes(other).length);
    }

    @Test
    void extendedAttributesUpTo64KiB() throws Exception {
        long f = file(ROOT, "f", new byte[0]);
        fs.setExtendedAttribute(USER, f, name("user.big"), bytes(65_536, 1), ExtendedAttributeMode.SET);
        assertArrayEquals(bytes(65_536, 1), fs.getExtendedAttribute(f, name("user.big")));
        assertFails(
                Code.TOO_BIG,
                () -> fs.setExtendedAttribute(USER, f, name("user.huge"), new byte[65_537], ExtendedAttributeMode.SET));
    }

    // ---- the whole

    @Test
    void statisticsAreSane() throws Exception {
        FileSystem.Statistics statistics = fs.statistics();
        assertTrue(statistics.totalBytes() > 0);
        assertTrue(statistics.availableBytes() <= statistics.totalBytes());
        assertNotEquals(0, statistics.blockSizeBytes());
    }

    @Test
    void syncAndFsyncWork() throws Exception {
        Created created = fs.create(USER, ROOT, name("f"), 0644, WRITE);
        fs.write(USER, created.handle(), 0, ByteBuffer.wrap(bytes(10_000, 1)));
        fs.flush(created.handle());
        fs.fsync(created.handle(), true);
        fs.fsyncDirectory(ROOT);
        fs.sync();
        fs.release(created.handle());
        assertArrayEquals(bytes(10_000, 1), content(created.attributes().inode()));
    }

    @Test
    void closedFileSystemsSaySo() throws Exception {
        FileSystem other = open();
        other.close();
        assertFails(Code.CLOSED, () -> other.lookup(ROOT, name("x")));
    }

    @Test
    void threadsWorkSideBySideInOneDirectory() throws Exception {
        ExecutorService executor = Executors.newFixedThreadPool(4);
        try {
            List<Future<?>> results = new ArrayList<>();
            for (int t = 0; t < 4; t++) {
                int thread = t;
                results.add(executor.submit(() -> {
                    for (int i = 0; i < 200; i++) {
                        String own = "t" + thread + "-" + i;
                        long inode = file(ROOT, own, bytes(5000, i));
                        fs.rename(ROOT, name(own), ROOT, name(own + "-b"), RenameMode.REPLACE);
                        assertArrayEquals(bytes(5000, i), content(inode));
                        if (i % 3 == 0) {
                            fs.unlink(ROOT, name(own + "-b"));
                        }
                        if (i % 50 == 0) {
                            fs.sync();
                        }
                    }
                    return null;
                }));
            }
            for (Future<?> result : results) {
                result.get();
            }
        } finally {
            executor.shutdown();
        }
        assertEquals(4 * (200 - 67), list(ROOT).size());
    }

    @Test
    void directoriesMovedBackAndForthByManyThreadsStayATree() throws Exception {
        long[] directories = new long[6];
        for (int i = 0; i < directories.length; i++) {
            directories[i] = directory(ROOT, "d" + i);
        }
        ExecutorService executor = Executors.newFixedThreadPool(4);
        try {
            List<Future<?>> results = new ArrayList<>();
            for (int t = 0; t < 4; t++) {
                java.util.Random random = new java.util.Random(t);
                results.add(executor.submit(() -> {
                    for (int i = 0; i < 500; i++) {
                        int moved = random.nextInt(directories.length);
                        long from = random.nextInt(3) == 0 ? ROOT : directories[random.nextInt(directories.length)];
                        long to = random.nextInt(3) == 0 ? ROOT : directories[random.nextInt(directories.length)];
                        try {
                            fs.rename(from, name("d" + moved), to, name("d" + moved), RenameMode.REPLACE);
                        } catch (FileSystemException e) {
                            assertTrue(
                                    Set.of(Code.NOT_FOUND, Code.INVALID, Code.NOT_EMPTY)
                                            .contains(e.code()),
                                    e.toString());
                        }
                    }
                    return null;
                }));
            }
            for (Future<?> result : results) {
                result.get();
            }
        } finally {
            executor.shutdown();
        }
        Set<Long> reached = new HashSet<>();
        walk(ROOT, reached);
        for (long directory : directories) {
            assertTrue(reached.contains(directory), "a directory is lost");
        }
    }

    private void walk(long inode, Set<Long> reached) throws FileSystemException {
        assertTrue(reached.add(inode), "reached twice");
        long subdirectories = 0;
        for (Map.Entry<String, Long> entry : list(inode).entrySet()) {
            Attributes child = fs.lookup(inode, name(entry.getKey()));
            assertEquals(entry.getValue(), child.inode());
            if (child.isDirectory()) {
                subdirectories++;
                assertEquals(inode, fs.parent(child.inode()));
                walk(child.inode(), reached);
            }
        }
        assertEquals(2 + subdirectories, fs.getAttributes(inode).linkCount());
    }
}
