package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static blocktree.store.TestTree.read;
import static blocktree.store.TestTree.sector;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.DomainKey;
import blocktree.crypto.EpochRecord;
import blocktree.crypto.ReadCapability;
import blocktree.crypto.RecordKind;
import blocktree.store.StoreException.Code;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeyEpochTest {

    @TempDir
    Path temp;

    private TestTree tree;

    @BeforeEach
    void found() throws StoreException {
        tree = new TestTree(temp);
    }

    @AfterEach
    void close() throws StoreException {
        tree.close();
    }

    /** Begins the next epoch of the root domain. The node finds its key through a readcap that comes with it. */
    private void beginEpoch(int minEpoch) throws Exception {
        int current = tree.store.authority().currentEpoch(tree.store.rootDomain());
        DomainKey before = tree.store.domainKey(tree.store.rootDomain(), current);
        try (DomainKey next = DomainKey.random(tree.store.tree(), tree.store.rootDomain(), current + 1)) {
            tree.store.appendAuthority(
                    RecordKind.EPOCH,
                    EpochRecord.create(tree.root, next, minEpoch, before, null).toBytes());
            tree.store.appendAuthority(
                    RecordKind.READCAP,
                    ReadCapability.issue(tree.root, next, tree.node.keys()).toBytes());
        }
    }

    @Test
    void whatIsWrittenAfterANewEpochGetsANewKeyAndTheRestStaysReadable() throws Exception {
        OpenBlock block = tree.create("a", 1, 2);
        beginEpoch(1);
        OpenBlock untouched = tree.store.read(block.id());
        assertEquals(1, untouched.header().epoch());
        OpenBlock second = tree.put(block, 1, 22);
        assertEquals(2, second.header().epoch());
        assertEquals(2, second.header().keys().size());
        beginEpoch(1);
        OpenBlock third = tree.put(second, 2, 3);
        assertEquals(3, third.header().keys().size());
        OpenBlock fresh = tree.create("b", 5);
        assertEquals(1, fresh.header().keys().size());
        OpenBlock now = tree.reopen().read(block.id());
        assertArrayEquals(bytes("a"), now.attributes());
        assertArrayEquals(sector(1), read(now, 0));
        assertArrayEquals(sector(22), read(now, 1));
        assertArrayEquals(sector(3), read(now, 2));
        assertArrayEquals(sector(5), read(tree.store.read(fresh.id()), 0));
    }

    @Test
    void commitMadeUnderAnEpochThatEndedMeanwhileIsAConflict() throws Exception {
        OpenBlock block = tree.create("a", 1);
        try (Commit commit = tree.store.newCommit()) {
            commit.edit(block).putSector(0, sector(11), 0);
            beginEpoch(2);
            assertCode(Code.CONFLICT, () -> tree.store.commit(commit, true));
        }
        assertArrayEquals(sector(11), read(tree.put(tree.store.read(block.id()), 0, 11), 0));
    }

    @Test
    void deletingNeedsNoKeyOfTheNewEpoch() throws Exception {
        OpenBlock block = tree.create("a", 1);
        beginEpoch(2);
        try (Commit commit = tree.store.newCommit()) {
            commit.delete(block);
            tree.store.commit(commit, true);
        }
        assertCode(Code.NOT_FOUND, () -> tree.reopen().read(block.id()));
    }

    /** An epoch that nobody gave this node the key of: what is under older ones stays readable, writing is denied. */
    @Test
    void epochThatThisNodeCannotOpen() throws Exception {
        OpenBlock block = tree.create("a", 1);
        DomainKey before = tree.store.domainKey(tree.store.rootDomain(), 1);
        try (DomainKey next = DomainKey.random(tree.store.tree(), tree.store.rootDomain(), 2)) {
            tree.store.appendAuthority(
                    RecordKind.EPOCH,
                    EpochRecord.create(tree.root, next, 1, before, null).toBytes());
        }
        OpenBlock reopened = tree.reopen().read(block.id());
        assertArrayEquals(sector(1), read(reopened, 0));
        try (Commit commit = tree.store.newCommit()) {
            assertCode(Code.DENIED, () -> commit.edit(reopened));
        }
    }

    @Test
    void fewKeysStayInMemoryHoweverManyBlocksAreOpen() throws Exception {
        tree.store.close();
        tree.options = tree.options.withCaches(8 << 20, 1 << 20, 1 << 20, 16);
        tree.open();
        OpenBlock[] blocks = new OpenBlock[100];
        for (int i = 0; i < blocks.length; i++) {
            blocks[i] = tree.create("block " + i, i + 1);
            assertTrue(tree.store.keys().size() <= 16);
        }
        for (int i = 0; i < blocks.length; i++) {
            assertArrayEquals(bytes("block " + i), blocks[i].attributes());
            assertArrayEquals(sector(i + 1), read(blocks[i], 0));
        }
        tree.store.close();
        assertEquals(0, tree.store.keys().size());
        tree.open();
    }
}
