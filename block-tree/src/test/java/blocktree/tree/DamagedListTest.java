package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import blocktree.store.Commit;
import blocktree.store.OpenBlock;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.ExtendedAttributeMode;
import blocktree.tree.FileSystemException.Code;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Access control lists that this program would not have stored. */
@SuppressWarnings("NullAway.Init") // made before each test
class DamagedListTest {
    private static final Caller ROOT = new Caller(0, 0);
    private static final byte[] GARBAGE = {1, 2, 3};

    @TempDir
    Path directory;

    private TestTree tree;

    @BeforeEach
    void makeTree() throws Exception {
        tree = new TestTree(directory);
    }

    @AfterEach
    void closeTree() throws Exception {
        tree.close();
    }

    /** The tree with a root that is stored with these attributes. */
    private TreeFileSystem rootWith(int permissions, Name name, byte[] value) throws Exception {
        tree.fs.close();
        OpenBlock root = tree.store.read(tree.store.rootBlock());
        StoredInode stored = StoredInode.decode(root.attributes(), root.sectorCount());
        SortedMap<Name, byte[]> attributes = new TreeMap<>();
        attributes.put(name, value);
        StoredInode changed = new StoredInode(
                Attributes.TYPE_DIRECTORY | permissions,
                stored.uid(),
                stored.gid(),
                stored.linkCount(),
                stored.device(),
                stored.accessTimeNanos(),
                stored.modifyTimeNanos(),
                stored.changeTimeNanos(),
                stored.birthTimeNanos(),
                stored.symlinkTarget(),
                attributes,
                stored.file(),
                stored.directory());
        try (Commit commit = tree.store.newCommit()) {
            commit.edit(root).attributes(changed.encode());
            tree.store.commit(commit, true);
        }
        tree.reopen();
        return tree.fs;
    }

    private static void assertFails(Code code, Executable executable) {
        assertEquals(code, assertThrows(FileSystemException.class, executable).code());
    }

    private static List<String> findings(TreeFileSystem fs) throws FileSystemException {
        List<TreeFinding> findings = new ArrayList<>();
        fs.check(findings::add);
        return findings.stream().map(TreeFinding::code).toList();
    }

    private static int shown(FileSystem fs) throws FileSystemException {
        Attributes attributes = fs.getAttributes(FileSystem.ROOT_INODE);
        assertEquals(attributes.mode(), attributes.modeWithoutLists());
        return attributes.mode() & 07777;
    }

    @Test
    void nobodyButTheOwnerGetsInByAnAccessListThatIsNone() throws Exception {
        TreeFileSystem fs = rootWith(0777, FileSystem.ACCESS_LIST, GARBAGE);
        long root = FileSystem.ROOT_INODE;
        assertEquals(0700, shown(fs));
        assertFails(Code.CORRUPT, () -> fs.getExtendedAttribute(root, FileSystem.ACCESS_LIST));
        assertFails(Code.CORRUPT, () -> fs.setAttributes(ROOT, root, AttributeChange.permissions(0755)));
        assertEquals(0700, shown(fs));
        assertEquals(List.of("access_list"), findings(fs));
        fs.removeExtendedAttribute(root, FileSystem.ACCESS_LIST);
        assertEquals(0700, shown(fs));
        fs.setAttributes(ROOT, root, AttributeChange.permissions(0755));
        assertEquals(0755, shown(fs));
    }

    @Test
    void nobodyButTheOwnerGetsInByAModeThatIsNotThatOfTheList() throws Exception {
        byte[] list = AccessListTest.withUser(7, 5);
        TreeFileSystem fs = rootWith(0757, FileSystem.ACCESS_LIST, list);
        assertEquals(0700, shown(fs));
        assertFails(Code.CORRUPT, () -> fs.getExtendedAttribute(FileSystem.ROOT_INODE, FileSystem.ACCESS_LIST));
        fs.setExtendedAttribute(ROOT, FileSystem.ROOT_INODE, FileSystem.ACCESS_LIST, list, ExtendedAttributeMode.SET);
        assertEquals(0750, fs.getAttributes(FileSystem.ROOT_INODE).mode() & 07777);
        assertArrayEquals(list, fs.getExtendedAttribute(FileSystem.ROOT_INODE, FileSystem.ACCESS_LIST));
    }

    @Test
    void nothingIsMadeUnderADefaultListThatIsNone() throws Exception {
        TreeFileSystem fs = rootWith(0777, FileSystem.DEFAULT_ACCESS_LIST, GARBAGE);
        long root = FileSystem.ROOT_INODE;
        assertEquals(0777, shown(fs));
        assertEquals(List.of("access_list"), findings(fs));
        assertFails(Code.CORRUPT, () -> fs.makeDirectory(ROOT, root, Name.of("d"), 0777));
        assertFails(Code.CORRUPT, () -> fs.getExtendedAttribute(root, FileSystem.DEFAULT_ACCESS_LIST));
        assertFails(Code.NOT_FOUND, () -> fs.lookup(root, Name.of("d")));
        fs.makeSymlink(ROOT, root, Name.of("link"), new byte[] {'x'});
        fs.removeExtendedAttribute(root, FileSystem.DEFAULT_ACCESS_LIST);
        fs.makeDirectory(ROOT, root, Name.of("d"), 0777);
    }
}
