package blocktree.store;

import static blocktree.store.TestTree.bytes;
import static blocktree.store.TestTree.read;
import static blocktree.store.TestTree.sector;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class LedgerTest {

    @TempDir
    Path temp;

    private static void awaitCheckpoint(TestTree tree, long position) {
        long end = System.nanoTime() + Duration.ofSeconds(60).toNanos();
        while (tree.store.ledger().checkpointPosition() < position) {
            assertTrue(System.nanoTime() < end, "no checkpoint covers position " + position);
            LockSupport.parkNanos(1_000_000);
        }
    }

    @Test
    void checkpointComesWithTime() throws StoreException {
        try (TestTree tree = new TestTree(temp, TestTree.options().withCheckpoints(20, 1 << 20))) {
            awaitCheckpoint(tree, tree.create("a", 1).position());
        }
    }

    @Test
    void checkpointComesWithManyChanges() throws StoreException {
        try (TestTree tree = new TestTree(temp, TestTree.options().withCheckpoints(3_600_000, 3))) {
            OpenBlock last = tree.create("a", 1);
            tree.create("b", 1);
            assertTrue(tree.store.ledger().checkpointPosition() < last.position());
            awaitCheckpoint(tree, tree.create("c", 1).position());
            assertArrayEquals(sector(1), read(tree.store.read(last.id()), 0));
        }
    }

    @Test
    void anchorKeepsItsPaceHoweverOftenTheStoreIsSynced() throws Exception {
        try (TestTree tree = new TestTree(temp)) {
            long before = anchorSequence(tree);
            long start = System.nanoTime();
            for (int i = 0; i < 200; i++) {
                tree.create("a", 1);
                tree.store.sync();
            }
            long paces = Duration.ofNanos(System.nanoTime() - start).dividedBy(Duration.ofMillis(50));
            long written = anchorSequence(tree) - before;
            assertTrue(written <= paces + 2, written + " anchors in " + paces + " times 50 ms");
        }
    }

    private static long anchorSequence(TestTree tree) throws Exception {
        try (AnchorFile file = AnchorFile.open(tree.dir.resolve("anchor"), tree.node.deriveSecret("anchor"), true)) {
            Anchor anchor = file == null ? null : file.read();
            return anchor == null ? 0 : anchor.sequence();
        }
    }

    @Test
    void logTimeNeverFallsWhateverTheClockDoes() throws StoreException {
        long[] now = {System.currentTimeMillis() + 1_000_000};
        try (TestTree tree = new TestTree(temp, TestTree.options().withClock(() -> Instant.ofEpochMilli(now[0])))) {
            OpenBlock ahead = tree.create("a", 1);
            assertEquals(now[0], ahead.timeMillis());
            now[0] -= 900_000;
            assertEquals(ahead.timeMillis(), tree.create("b", 1).timeMillis());
            tree.reopen();
            assertEquals(ahead.timeMillis(), tree.create("c", 1).timeMillis());
        }
    }

    /** A capability that begins after the newest commit must not sign for the state before it began. */
    @Test
    void checkpointIsSignedUnderACapabilityThatCountedAtItsPlace() throws Exception {
        long[] now = {System.currentTimeMillis()};
        try (TestTree tree = new TestTree(temp, TestTree.options().withClock(() -> Instant.ofEpochMilli(now[0])))) {
            tree.store.appendAuthority(
                    RecordKind.WRITECAP_CHAIN,
                    WriteCapabilityChain.of(List.of(WriteCapability.issue(
                                    tree.root,
                                    tree.founding.tree(),
                                    tree.founding.rootDomain(),
                                    tree.node.keys(),
                                    Rights.ALL,
                                    now[0] + 1_000,
                                    WriteCapability.NO_END)))
                            .toBytes());
            OpenBlock block = tree.create("a", 1);
            now[0] += 2_000;
            tree.reopen();
            assertArrayEquals(sector(1), read(tree.store.read(block.id()), 0));
        }
    }

    /** Nodes of one tree make them at moments of their own, and have one log. */
    @Test
    void checkpointLeavesTheLogAsItIs() throws Exception {
        try (TestTree tree = new TestTree(temp)) {
            long position = tree.create("a", 1).position();
            tree.store.ledger().checkpoint();
            assertEquals(position, tree.store.ledger().checkpointPosition());
            assertEquals(position, tree.store.headPosition());
            tree.reopen();
            assertEquals(position, tree.store.headPosition());
            assertEquals(position + 1, tree.create("b", 1).position());
        }
    }

    @Test
    void logThatHoldsCheckpointsFromBeforeIsRead() throws Exception {
        try (TestTree tree = new TestTree(temp)) {
            OpenBlock first = tree.create("a", 1);
            tree.store
                    .ledger()
                    .appendAtCheckpoint(
                            LogKind.CHECKPOINT,
                            (state, signedState, position, timeMillis, batch) -> Objects.requireNonNull(
                                    tree.store.ledger().rocks().get(Column.META, Ledger.META_CHECKPOINT)));
            long old = tree.store.headPosition();
            OpenBlock second = tree.create("b", 2);
            assertEquals(old + 1, second.position());
            tree.reopen();
            assertArrayEquals(sector(1), read(tree.store.read(first.id()), 0));
            assertArrayEquals(sector(2), read(tree.store.read(second.id()), 0));
            List<Finding> findings = new ArrayList<>();
            tree.store.fsck(FsckOptions.defaults(), findings::add);
            assertEquals(List.of(), findings);
        }
    }

    /** Power loss can take the end of one write-ahead log and leave some of the next. */
    @Test
    void logIsCutAtAGapWhenNothingBehindItWasAcknowledged() throws Exception {
        TestTree tree = new TestTree(temp);
        OpenBlock kept = tree.create("kept", 1);
        tree.store.sync();
        Path copy = temp.resolve("copy");
        tree.store.ledger().checkpoint();
        tree.store.sync();
        OpenBlock lost = tree.put(kept, 0, 11);
        OpenBlock behind = tree.create("behind the gap", 2);
        Files.createDirectory(copy);
        try (Stream<Path> files = Files.list(tree.dir)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, copy.resolve(file.getFileName().toString()));
            }
        }
        tree.store.close();
        try (Rocks rocks = new Rocks(copy, tree.options, Rocks.Mode.WRITE)) {
            rocks.delete(Column.LOG, Keys.log(lost.position()));
        }
        try (BlockStore store = BlockStore.open(copy, tree.options, tree.node)) {
            assertEquals(lost.position() - 1, store.headPosition());
            assertArrayEquals(sector(1), read(store.read(kept.id()), 0));
            BlockStoreTest.assertCode(StoreException.Code.NOT_FOUND, () -> store.read(behind.id()));
            try (Commit commit = store.newCommit()) {
                commit.edit(store.read(kept.id())).putSector(0, sector(12), 0);
                store.commit(commit, true);
            }
        }
        try (BlockStore store = BlockStore.open(copy, tree.options, tree.node)) {
            assertArrayEquals(sector(12), read(store.read(kept.id()), 0));
        }
        tree.open();
        tree.close();
    }

    /** Four writers of blocks of their own, half of them with sync, a reader, and checkpoints without pause. */
    @Test
    void writersReadersAndCheckpointsAtOnce() throws Exception {
        int writers = 4;
        int rounds = 60;
        try (TestTree tree = new TestTree(temp, TestTree.options().withCheckpoints(1, 8))) {
            List<OpenBlock> blocks = new ArrayList<>();
            for (int i = 0; i < writers; i++) {
                blocks.add(tree.create("block " + i, 1, 1));
            }
            ExecutorService threads = Executors.newCachedThreadPool();
            AtomicBoolean done = new AtomicBoolean();
            Callable<Void> reading = () -> {
                while (!done.get()) {
                    for (OpenBlock block : blocks) {
                        OpenBlock now = tree.store.read(block.id());
                        assertArrayEquals(
                                read(now, 0),
                                read(now, 1),
                                "both sectors are of one commit, generation " + now.generation());
                    }
                }
                return null;
            };
            Future<Void> reader = threads.submit(reading);
            List<Future<Void>> writing = new ArrayList<>();
            for (int i = 0; i < writers; i++) {
                OpenBlock first = blocks.get(i);
                boolean sync = i % 2 == 0;
                writing.add(threads.submit(() -> {
                    OpenBlock base = first;
                    for (int round = 2; round < rounds; round++) {
                        try (Commit commit = tree.store.newCommit()) {
                            BlockEdit edit = commit.edit(base);
                            edit.putSector(0, sector(round), 0);
                            edit.putSector(1, sector(round), 0);
                            base = tree.store.commit(commit, sync).block(base.id());
                        }
                    }
                    return null;
                }));
            }
            for (Future<Void> writer : writing) {
                writer.get();
            }
            done.set(true);
            reader.get();
            threads.shutdown();
            tree.reopen();
            for (OpenBlock block : blocks) {
                OpenBlock now = tree.store.read(block.id());
                assertEquals(rounds - 1, now.generation());
                assertArrayEquals(sector(rounds - 1), read(now, 1));
            }
        }
    }

    @Test
    void closingWaitsForOperationsAndLeavesAStoreThatOpens() throws Exception {
        TestTree tree = new TestTree(temp);
        OpenBlock block = tree.create("a", 1);
        BlockStore store = tree.store;
        ExecutorService threads = Executors.newCachedThreadPool();
        List<Future<StoreException.Code>> users = new ArrayList<>();
        for (int i = 0; i < 4; i++) {
            users.add(threads.submit(() -> {
                while (true) {
                    try {
                        assertArrayEquals(sector(1), read(store.read(block.id()), 0));
                        store.local("t").put(bytes("k"), bytes("v"));
                        store.sync();
                    } catch (StoreException e) {
                        return e.code();
                    }
                }
            }));
        }
        LockSupport.parkNanos(50_000_000);
        store.close();
        for (Future<StoreException.Code> user : users) {
            assertEquals(StoreException.Code.CLOSED, user.get());
        }
        threads.shutdown();
        tree.open();
        assertArrayEquals(sector(1), read(tree.store.read(block.id()), 0));
        tree.close();
    }
}
