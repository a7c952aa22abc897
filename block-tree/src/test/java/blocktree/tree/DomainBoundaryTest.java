package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.crypto.DomainKey;
import blocktree.crypto.DomainRecord;
import blocktree.crypto.EpochRecord;
import blocktree.crypto.KeyRing;
import blocktree.crypto.RecordKind;
import blocktree.store.Commit;
import blocktree.store.NewBlock;
import blocktree.store.OpenBlock;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.RenameMode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** A tree of two domains: {@code /inner} is the root directory of one that inherits from the tree's. */
class DomainBoundaryTest {
    private static final long ROOT = FileSystem.ROOT_INODE;
    private static final Caller USER = new Caller(1, 1);
    private static final Name INNER = Name.of("inner");
    private static final Name FILE = Name.of("file");
    private static final Name OTHER = Name.of("other");

    @TempDir
    Path temp;

    private TestTree tree;
    private DomainId innerDomain;
    private BlockId innerRoot;

    @BeforeEach
    void found() throws Exception {
        tree = new TestTree(temp);
        DomainRecord.Draft draft = DomainRecord.draft(tree.store.tree(), tree.store.rootDomain(), tree.root.id());
        innerDomain = draft.domain();
        NewBlock block = tree.store.newBlock(innerDomain);
        innerRoot = block.id();
        tree.store.appendAuthority(
                RecordKind.DOMAIN,
                DomainRecord.create(tree.root, tree.store.tree(), tree.store.rootDomain(), draft, true, innerRoot)
                        .toBytes());
        try (KeyRing ring = new KeyRing(tree.node, tree.store.authority());
                DomainKey key = DomainKey.random(tree.store.tree(), innerDomain, 1)) {
            tree.store.appendAuthority(
                    RecordKind.EPOCH,
                    EpochRecord.create(tree.root, key, 1, null, ring.currentKey(tree.store.rootDomain()))
                            .toBytes());
        }
        StoredInode directory = new StoredInode(
                Attributes.TYPE_DIRECTORY | 0755,
                0,
                0,
                2,
                0,
                1,
                1,
                1,
                1,
                new byte[0],
                Collections.emptySortedMap(),
                null,
                new StoredInode.Directory(
                        tree.store.rootBlock(), new byte[SipHash.KEY_SIZE], DirectoryIndex.Layout.EMPTY));
        try (Commit commit = tree.store.newCommit()) {
            commit.create(block, StoredInode.SECTOR_SIZE_LOG2).attributes(directory.encode());
            tree.store.commit(commit, true);
        }
        putIntoRoot(INNER, innerRoot, Attributes.TYPE_DIRECTORY, innerDomain);
    }

    @AfterEach
    void close() throws Exception {
        tree.close();
    }

    /** What a writer of the root directory can do who does not keep to the rules. */
    private void putIntoRoot(Name name, BlockId block, int type, @Nullable DomainId domain) throws Exception {
        tree.fs.close();
        OpenBlock root = tree.store.read(tree.store.rootBlock());
        StoredInode inode = StoredInode.decode(root.attributes(), root.sectorCount());
        StoredInode.Directory directory = Objects.requireNonNull(inode.directory());
        DirectoryIndex index = entriesOf(root.id());
        index.insert(new DirectoryEntry(0, name, block, type >> 12, domain));
        StoredInode changed = new StoredInode(
                inode.mode(),
                inode.uid(),
                inode.gid(),
                inode.linkCount() + (type == Attributes.TYPE_DIRECTORY ? 1 : 0),
                0,
                1,
                1,
                1,
                1,
                new byte[0],
                Collections.emptySortedMap(),
                null,
                new StoredInode.Directory(null, directory.hashKey(), index.layout()));
        try (Commit commit = tree.store.newCommit()) {
            commit.edit(root).attributes(changed.encode());
            tree.store.commit(commit, true);
        }
        tree.fs = TreeFileSystem.open(tree.store, tree.options);
    }

    private List<TreeFinding> check() throws Exception {
        tree.fs.sync();
        List<TreeFinding> findings = new ArrayList<>();
        TreeCheck.run(tree.store, findings::add);
        return findings;
    }

    private static void assertCode(FileSystemException.Code code, Executable call) {
        assertEquals(code, assertThrows(FileSystemException.class, call).code());
    }

    private DirectoryIndex entriesOf(BlockId block) throws Exception {
        OpenBlock read = tree.store.read(block);
        StoredInode.Directory directory = Objects.requireNonNull(
                StoredInode.decode(read.attributes(), read.sectorCount()).directory());
        return new DirectoryIndex(directory.hashKey(), directory.layout(), new Cache(1 << 20), sector -> new byte[0]);
    }

    @Test
    void whatIsMadeInADomainBelongsToIt() throws Exception {
        long inner = tree.fs.lookup(ROOT, INNER).inode();
        tree.fs.makeNode(USER, inner, FILE, Attributes.TYPE_REGULAR | 0600, 0);
        tree.fs.link(tree.fs.lookup(inner, FILE).inode(), inner, OTHER);
        tree.fs.rename(inner, FILE, inner, Name.of("renamed"), RenameMode.REPLACE);
        assertEquals(List.of(), check());
        tree.reopen();
        inner = tree.fs.lookup(ROOT, INNER).inode();
        assertEquals(2, tree.fs.lookup(inner, OTHER).linkCount());
        assertEquals(innerDomain, tree.store.read(innerRoot).domain());
    }

    @Test
    void namesDoNotCrossIntoAnotherDomain() throws Exception {
        long inner = tree.fs.lookup(ROOT, INNER).inode();
        tree.fs.makeNode(USER, inner, FILE, Attributes.TYPE_REGULAR | 0600, 0);
        tree.fs.makeNode(USER, ROOT, OTHER, Attributes.TYPE_REGULAR | 0600, 0);
        long file = tree.fs.lookup(inner, FILE).inode();
        long other = tree.fs.lookup(ROOT, OTHER).inode();
        FileSystemException.Code refused = FileSystemException.Code.CROSS_DOMAIN;
        assertCode(refused, () -> tree.fs.link(file, ROOT, Name.of("link")));
        assertCode(refused, () -> tree.fs.link(other, inner, Name.of("link")));
        for (RenameMode mode : List.of(RenameMode.REPLACE, RenameMode.NO_REPLACE)) {
            assertCode(refused, () -> tree.fs.rename(inner, FILE, ROOT, Name.of("moved"), mode));
            assertCode(refused, () -> tree.fs.rename(ROOT, OTHER, inner, Name.of("moved"), mode));
        }
        assertCode(refused, () -> tree.fs.rename(inner, FILE, ROOT, OTHER, RenameMode.EXCHANGE));
        assertEquals(List.of(), check());
    }

    @Test
    void anEntryThatHidesTheDomainOfItsBlockIsNotFollowed() throws Exception {
        long inner = tree.fs.lookup(ROOT, INNER).inode();
        tree.fs.makeNode(USER, inner, FILE, Attributes.TYPE_REGULAR | 0600, 0);
        tree.fs.sync();
        BlockId file = Objects.requireNonNull(entriesOf(innerRoot).find(FILE)).block();
        putIntoRoot(OTHER, file, Attributes.TYPE_REGULAR, null);
        assertCode(FileSystemException.Code.CORRUPT, () -> tree.fs.lookup(ROOT, OTHER));
        tree.fs.lookup(tree.fs.lookup(ROOT, INNER).inode(), FILE);
        assertEquals(
                List.of("wrong_domain"),
                check().stream()
                        .map(TreeFinding::code)
                        .filter("wrong_domain"::equals)
                        .toList());
    }
}
