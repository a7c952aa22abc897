package blocktree.store;

import static blocktree.store.TestTree.bytes;
import static blocktree.store.TestTree.read;
import static blocktree.store.TestTree.sector;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import blocktree.crypto.Identity;
import blocktree.store.StoreException.Code;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class BlockStoreTest {

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

    static StoreException assertCode(Code code, Executable executable) {
        StoreException e = assertThrows(StoreException.class, executable);
        assertEquals(code, e.code(), e.getMessage());
        return e;
    }

    @Test
    void readsWhatWasCommittedBeforeAndAfterReopening() throws StoreException {
        OpenBlock written = tree.create("name", 1, 0, 3);
        for (int round = 0; round < 2; round++) {
            OpenBlock block = tree.store.read(written.id());
            assertEquals(1, block.generation());
            assertEquals(3, block.sectorCount());
            assertEquals(tree.store.rootDomain(), block.domain());
            assertArrayEquals(bytes("name"), block.attributes());
            assertArrayEquals(sector(1), read(block, 0));
            assertNull(read(block, 1));
            assertArrayEquals(sector(3), read(block, 2));
            assertNull(read(block, 3));
            tree.reopen();
        }
    }

    @Test
    void rootBlockIsCreatedOnceThroughItsFoundingNonce() throws StoreException {
        BlockStore store = tree.store;
        assertCode(Code.NOT_FOUND, () -> store.read(store.rootBlock()));
        try (Commit commit = store.newCommit()) {
            commit.create(store.newRootBlock(), 12).attributes(bytes("root"));
            store.commit(commit, true);
        }
        assertArrayEquals(
                bytes("root"), tree.reopen().read(tree.store.rootBlock()).attributes());
        try (Commit again = tree.store.newCommit()) {
            again.create(tree.store.newRootBlock(), 12).attributes(bytes("other"));
            assertCode(Code.CONFLICT, () -> tree.store.commit(again, true));
        }
    }

    @Test
    void editKeepsWhatItDoesNotChange() throws StoreException {
        OpenBlock first = tree.create("a", 1, 2, 3);
        OpenBlock second = tree.put(first, 1, 22);
        assertEquals(2, second.generation());
        assertArrayEquals(bytes("a"), second.attributes());
        assertArrayEquals(sector(22), read(second, 1));
        assertArrayEquals(sector(3), read(tree.store.read(first.id()), 2));
        tree.reopen();
        OpenBlock now = tree.store.read(first.id());
        assertEquals(3, now.sectorCount());
        assertArrayEquals(bytes("a"), now.attributes());
        assertArrayEquals(sector(1), read(now, 0));
        assertArrayEquals(sector(22), read(now, 1));
        assertArrayEquals(sector(3), read(now, 2));
    }

    @Test
    void supersededGenerationStaysReadableForItsHolder() throws StoreException {
        OpenBlock first = tree.create("a", 1, 2);
        tree.put(first, 0, 11);
        assertArrayEquals(sector(1), read(first, 0));
        assertArrayEquals(bytes("a"), first.attributes());
        OpenBlock earlier = tree.store.readGeneration(first.id(), 1);
        assertArrayEquals(sector(1), read(earlier, 0));
        assertCode(Code.NOT_FOUND, () -> tree.store.readGeneration(first.id(), 3));
        List<GenerationInfo> kept = tree.store.generations(first.id());
        assertEquals(
                List.of(2L, 1L), kept.stream().map(GenerationInfo::generation).toList());
        assertEquals(tree.node.id(), kept.get(0).writer());
        assertEquals(first.timeMillis(), kept.get(1).timeMillis());
    }

    @Test
    void secondWriterOfTheSameGenerationMeetsAConflict() throws StoreException {
        OpenBlock base = tree.create("a", 1);
        OpenBlock other = tree.create("b", 2);
        tree.put(base, 0, 11);
        try (Commit late = tree.store.newCommit()) {
            late.edit(base).putSector(0, sector(99), 0);
            late.edit(other).putSector(0, sector(98), 0);
            assertCode(Code.CONFLICT, () -> tree.store.commit(late, true));
        }
        assertArrayEquals(sector(11), read(tree.store.read(base.id()), 0));
        assertEquals(1, tree.store.read(other.id()).generation(), "nothing of a refused commit is applied");
    }

    @Test
    void deletedBlockIsGoneForGood() throws StoreException {
        OpenBlock block = tree.create("a", 1);
        try (Commit commit = tree.store.newCommit()) {
            commit.delete(block);
            tree.store.commit(commit, true);
        }
        assertCode(Code.NOT_FOUND, () -> tree.store.read(block.id()));
        assertCode(Code.NOT_FOUND, () -> tree.reopen().read(block.id()));
        assertTrue(tree.store.generations(block.id()).get(0).tombstone());
        assertArrayEquals(sector(1), read(tree.store.readGeneration(block.id(), 1), 0));
        try (Commit commit = tree.store.newCommit()) {
            commit.edit(tree.store.readGeneration(block.id(), 1)).attributes(bytes("again"));
            assertCode(Code.CONFLICT, () -> tree.store.commit(commit, true));
        }
    }

    @Test
    void truncatesPunchesAndResizes() throws StoreException {
        OpenBlock block = tree.create("a", 1, 2, 3, 4);
        try (Commit commit = tree.store.newCommit()) {
            BlockEdit edit = commit.edit(block);
            edit.truncate(3);
            edit.punch(0, 2);
            edit.putSector(1, sector(22), 0);
            block = tree.store.commit(commit, false).block(block.id());
        }
        assertEquals(3, block.sectorCount());
        assertNull(read(block, 0));
        assertArrayEquals(sector(22), read(block, 1));
        assertArrayEquals(sector(3), read(block, 2));
        assertNull(read(block, 3));
        try (Commit commit = tree.store.newCommit()) {
            BlockEdit edit = commit.edit(block);
            edit.resize(13);
            edit.putSector(0, new byte[8192], 0);
            block = tree.store.commit(commit, false).block(block.id());
        }
        OpenBlock reopened = tree.reopen().read(block.id());
        assertEquals(8192, reopened.sectorSize());
        assertEquals(1, reopened.sectorCount());
        assertArrayEquals(new byte[8192], read(reopened, 0));
        assertTrue(reopened.readSector(0, new byte[8192]), "zeros that were written are no hole");
    }

    @Test
    void sparsePayloadOfManyTebibytesCostsItsDataOnly() throws StoreException {
        OpenBlock block = tree.create("a");
        long far = 1L << 40;
        block = tree.put(block, far, 7);
        block = tree.put(block, 5, 6);
        assertEquals(far + 1, block.sectorCount());
        OpenBlock reopened = tree.reopen().read(block.id());
        assertArrayEquals(sector(7), read(reopened, far));
        assertArrayEquals(sector(6), read(reopened, 5));
        assertEquals(5, reopened.nextData(0));
        assertEquals(6, reopened.nextHole(5));
        assertEquals(far, reopened.nextData(6));
        assertEquals(far + 1, reopened.nextHole(far));
        assertEquals(far + 1, reopened.nextData(far + 1));
        try (Commit commit = tree.store.newCommit()) {
            commit.edit(reopened).truncate(6);
            block = tree.store.commit(commit, false).block(block.id());
        }
        assertArrayEquals(sector(6), read(tree.reopen().read(block.id()), 5));
        assertEquals(6, tree.store.read(block.id()).nextData(6));
    }

    @Test
    void aSmallWriteToALargeBlockCostsItsSectorAndAPath() throws StoreException {
        int[] fills = new int[3000];
        Arrays.fill(fills, 1);
        OpenBlock small = tree.create("small", 1, 1);
        OpenBlock large = tree.create("large", fills);
        OpenBlock huge = tree.put(large, 1L << 40, 1);
        assertEquals(1, nodesOfASmallWrite(small));
        assertEquals(2, nodesOfASmallWrite(large));
        int levels = IntegrityNode.depth(huge.sectorCount());
        assertEquals(levels, nodesOfASmallWrite(huge));
        assertTrue(levels <= 7, "a path of " + levels + " nodes");
    }

    /** How many nodes of the integrity tree a commit of one sector brings. */
    private int nodesOfASmallWrite(OpenBlock block) throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            commit.edit(block).putSector(1, sector(9), 0);
            SealedBlock sealed = commit.seal().commit().blocks().get(0);
            assertEquals(1, sealed.sectors().size());
            return sealed.nodes().size();
        }
    }

    @Test
    void sectorsOfOneBlockAreSealedByManyThreads() throws Exception {
        OpenBlock block = tree.create("a");
        int count = 300;
        ExecutorService threads = Executors.newFixedThreadPool(4);
        try (Commit commit = tree.store.newCommit()) {
            BlockEdit edit = commit.edit(block);
            List<Future<?>> puts = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                int index = i;
                Callable<Void> put = () -> {
                    edit.putSector(index, sector(index + 1), 0);
                    return null;
                };
                puts.add(threads.submit(put));
            }
            for (Future<?> put : puts) {
                put.get();
            }
            tree.store.commit(commit, true);
        } finally {
            threads.shutdownNow();
        }
        OpenBlock read = tree.reopen().read(block.id());
        assertEquals(count, read.sectorCount());
        for (int i = 0; i < count; i++) {
            assertArrayEquals(sector(i + 1), read(read, i));
        }
    }

    @Test
    void logPositionsAndTimesAscend() throws StoreException {
        OpenBlock a = tree.create("a");
        OpenBlock b = tree.create("b");
        assertEquals(a.position() + 1, b.position());
        assertTrue(b.timeMillis() >= a.timeMillis());
        assertEquals(b.position(), tree.store.headPosition());
    }

    @Test
    void secondOpenIsLockedOut() {
        StoreException e = assertCode(Code.LOCKED, () -> BlockStore.open(tree.dir, tree.options, tree.node));
        assertTrue(String.valueOf(e.getMessage()).contains("another node runs"), e.getMessage());
    }

    @Test
    void anotherNodesKeyIsRefused() throws StoreException {
        tree.store.close();
        try (Identity other = Identity.generate()) {
            assertCode(Code.WRONG_KEY, () -> BlockStore.open(tree.dir, tree.options, other));
        }
        tree.open();
    }

    @Test
    void openingAndCreatingSayWhatIsThere() throws Exception {
        assertCode(Code.NOT_FOUND, () -> BlockStore.open(temp.resolve("none"), tree.options, tree.node));
        assertCode(
                Code.NOT_FOUND,
                () -> BlockStore.open(Files.createDirectory(temp.resolve("empty")), tree.options, tree.node));
        tree.store.close();
        assertCode(Code.INVALID, () -> BlockStore.create(tree.dir, tree.options, tree.founding, tree.node));
        tree.open();
    }

    @Test
    void closedStoreRefusesAndClosingAgainDoesNothing() throws StoreException {
        OpenBlock block = tree.create("a", 1);
        BlockStore store = tree.store;
        store.close();
        store.close();
        assertCode(Code.CLOSED, () -> store.read(block.id()));
        assertCode(Code.CLOSED, block::attributes);
        assertCode(Code.CLOSED, () -> read(block, 0));
        assertCode(Code.CLOSED, store::sync);
        assertCode(Code.CLOSED, () -> store.local("t").get(bytes("k")));
        assertCode(Code.CLOSED, () -> store.commit(store.newCommit(), true));
    }

    @Test
    void readOnlyStoreReadsAndRefusesToWrite() throws StoreException {
        OpenBlock block = tree.create("a", 1);
        tree.store.close();
        tree.options = tree.options.withReadOnly(true);
        BlockStore store = tree.open();
        assertTrue(store.isReadOnly());
        OpenBlock read = store.read(block.id());
        assertArrayEquals(sector(1), read(read, 0));
        try (Commit commit = store.newCommit()) {
            commit.edit(read).attributes(bytes("b"));
            assertCode(Code.READ_ONLY, () -> store.commit(commit, true));
        }
        assertCode(Code.READ_ONLY, () -> store.local("t").put(bytes("k"), bytes("v")));
        store.sync();
    }

    @Test
    void unknownBlockIsNotFound() {
        BlockId id = tree.store.newBlock(tree.store.rootDomain()).id();
        assertCode(Code.NOT_FOUND, () -> tree.store.read(id));
        assertFalse(tree.store.isReadOnly());
    }
}
