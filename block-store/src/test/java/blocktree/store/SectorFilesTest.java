package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.SectorCipher;
import blocktree.store.StoreException.Code;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.IntUnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rocksdb.WriteBatch;

/** Large commits, whose sectors come into the database as files. */
class SectorFilesTest {

    private static final int LOG2 = 16;
    private static final int COUNT = 40;

    @TempDir
    Path temp;

    private TestTree tree;

    @BeforeEach
    void found() throws StoreException {
        tree = new TestTree(temp);
    }

    @AfterEach
    void close() throws Exception {
        assertNoFiles();
        tree.close();
    }

    private void assertNoFiles() throws IOException {
        try (Stream<Path> files = Files.list(tree.dir.resolve("incoming"))) {
            assertEquals(List.of(), files.toList());
        }
    }

    private static byte[] content(int fill) {
        byte[] content = new byte[1 << LOG2];
        new Random(fill).nextBytes(content);
        return content;
    }

    private static void fill(BlockEdit edit, int seed) throws StoreException {
        for (int i = 0; i < COUNT; i++) {
            edit.putSector(i, content(seed + i), 0);
        }
    }

    private static void assertFilled(OpenBlock block, int seed) throws StoreException {
        for (int i = 0; i < COUNT; i++) {
            assertArrayEquals(content(seed + i), TestTree.read(block, i));
        }
    }

    private interface Edits {
        void on(BlockEdit edit) throws StoreException;
    }

    private OpenBlock commit(OpenBlock base, Edits edits) throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            edits.on(commit.edit(base));
            return tree.store.commit(commit, true).block(base.id());
        }
    }

    /** Reads all sectors in one go. */
    private static void assertRun(OpenBlock block, IntUnaryOperator fillOf) throws StoreException {
        byte[][] run = new byte[COUNT][1 << LOG2];
        block.readSectors(0, run, (i, present) -> assertArrayEquals(content(fillOf.applyAsInt(i)), run[i]));
    }

    private OpenBlock create(int seed) throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            NewBlock block = tree.store.newBlock(tree.store.rootDomain());
            fill(commit.create(block, LOG2).attributes(bytes("large")), seed);
            return tree.store.commit(commit, true).block(block.id());
        }
    }

    @Test
    void largeBlocksAreReadBackOverwrittenAndKeptForTheirHolders() throws StoreException {
        OpenBlock first = create(100);
        OpenBlock other = create(200);
        assertFilled(first, 100);
        OpenBlock second;
        try (Commit commit = tree.store.newCommit()) {
            fill(commit.edit(first), 300);
            fill(commit.edit(other), 400);
            second = tree.store.commit(commit, false).block(first.id());
        }
        assertFilled(first, 100);
        assertFilled(second, 300);
        tree.reopen();
        assertFilled(tree.store.read(first.id()), 300);
        assertFilled(tree.store.read(other.id()), 400);
    }

    @Test
    void conflictLeavesNothing() throws Exception {
        OpenBlock base = create(100);
        OpenBlock now = commit(base, edit -> edit.putSector(0, content(7), 0));
        try (Commit late = tree.store.newCommit()) {
            fill(late.edit(base), 300);
            assertCode(Code.CONFLICT, () -> tree.store.commit(late, true));
        }
        assertNoFiles();
        assertArrayEquals(content(7), TestTree.read(now, 0));
        assertArrayEquals(content(101), TestTree.read(tree.reopen().read(base.id()), 1));
    }

    /** The moment between the files and the commit's batch, in which a process may be killed. */
    @Test
    void crashBetweenFilesAndCommitLeavesNeither() throws Exception {
        OpenBlock base = create(100);
        Ledger ledger = tree.store.ledger();
        try (Commit commit = tree.store.newCommit();
                SectorFiles files = new SectorFiles(ledger.rocks(), tree.dir.resolve("incoming"));
                WriteBatch neverWritten = new WriteBatch()) {
            fill(commit.edit(base), 300);
            SealedBlock block = commit.seal().commit().blocks().get(0);
            files.ingest(List.of(block), List.of(files.write(block)), neverWritten);
            files.write(block);
        }
        assertNotNull(ledger.rocks().get(Column.STREAMS, Keys.sector(base.id(), 3, 2)));
        tree.reopen();
        assertNoFiles();
        for (int i = 0; i < COUNT; i++) {
            assertNull(tree.store.ledger().rocks().get(Column.STREAMS, Keys.sector(base.id(), i, 2)));
        }
        boolean[] rows = new boolean[1];
        tree.store.local("store.incoming").forEach((key, value) -> rows[0] = true);
        assertFalse(rows[0]);
        OpenBlock read = tree.store.read(base.id());
        assertEquals(1, read.generation());
        assertFilled(read, 100);
        assertFilled(commit(read, edit -> fill(edit, 500)), 500);
    }

    /** The row of an attempt that failed, then the same generation committed in another way, then superseded and collected. */
    @Test
    void rowOfAFailedAttemptDoesNotCostWhatALaterOneCommitted() throws Exception {
        OpenBlock base = create(100);
        try (Commit failed = tree.store.newCommit();
                SectorFiles files = new SectorFiles(tree.store.ledger().rocks(), tree.dir.resolve("incoming"));
                WriteBatch neverWritten = new WriteBatch()) {
            fill(failed.edit(base), 300);
            SealedBlock block = failed.seal().commit().blocks().get(0);
            files.ingest(List.of(block), List.of(files.write(block)), neverWritten);
        }
        OpenBlock now = commit(base, edit -> edit.putSector(0, content(7), 0));
        commit(now, edit -> edit.attributes(bytes("third")));
        tree.store.ledger().rocks().delete(Column.HEADERS, Keys.header(base.id(), 2));
        tree.reopen();
        assertArrayEquals(content(7), TestTree.read(tree.store.read(base.id()), 0));
        assertArrayEquals(content(101), TestTree.read(tree.store.read(base.id()), 1));
    }

    @Test
    void runsAndScatteredSectorsAreReadTogether() throws Exception {
        OpenBlock base = create(100);
        OpenBlock now = commit(base, edit -> {
            for (int i = 0; i < COUNT; i++) {
                edit.putSector(3L * i, content(500 + i), 0);
            }
        });
        assertNotNull(tree.store.ledger().rocks().get(Column.SECTORS, Keys.sector(base.id(), 3, 2)));
        assertNull(tree.store.ledger().rocks().get(Column.STREAMS, Keys.sector(base.id(), 3, 2)));
        assertFilled(base, 100);
        IntUnaryOperator fillOf = i -> i % 3 == 0 ? 500 + i / 3 : 100 + i;
        assertRun(now, fillOf);
        assertRun(tree.reopen().read(base.id()), fillOf);
        assertTrue(tree.store.fsck(FsckOptions.defaults(), finding -> {}).isClean());
    }

    /** What a lost commit of the same generation can leave in the other family is neither read nor in the way, and fsck takes it away. */
    @Test
    void aSectorInTheOtherFamilyIsNotTakenForTheOne() throws Exception {
        OpenBlock base = create(100);
        OpenBlock now = commit(base, edit -> {
            edit.putSector(1, content(7), 0);
            edit.putSector(2, content(8), 0);
        });
        Rocks rocks = tree.store.ledger().rocks();
        byte[] other = new byte[(1 << LOG2) + SectorCipher.OVERHEAD];
        rocks.put(Column.STREAMS, Keys.sector(base.id(), 1, 2), other);
        rocks.put(Column.SECTORS, Keys.sector(base.id(), 5, 1), other);
        rocks.put(Column.SECTORS, Keys.sector(base.id(), 6, 1), new byte[] {1});
        for (int round = 0; round < 2; round++) {
            assertArrayEquals(content(7), TestTree.read(now, 1));
            assertRun(now, i -> i == 1 || i == 2 ? 6 + i : 100 + i);
            List<Finding> findings = new ArrayList<>();
            tree.store.fsck(FsckOptions.defaults().withRepair(true), findings::add);
            assertEquals(round == 0 ? 3 : 0, findings.size(), findings.toString());
            assertTrue(findings.stream().allMatch(finding -> finding.kind() == Finding.Kind.SECTOR_ORPHAN));
        }
    }

    @Test
    void smallCommitsGoThroughTheLog() throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            byte[] sector = Arrays.copyOf(content(2), 4096);
            for (int count : new int[] {511, 512}) {
                BlockEdit edit = commit.create(tree.store.newBlock(tree.store.rootDomain()), 12)
                        .attributes(bytes("some"));
                for (int i = 0; i < count; i++) {
                    edit.putSector(i, sector, 0);
                }
            }
            for (SealedBlock block : commit.seal().commit().blocks()) {
                assertEquals(block.sectors().size() == 512, SectorFiles.isWorthFile(block));
            }
        }
    }
}
