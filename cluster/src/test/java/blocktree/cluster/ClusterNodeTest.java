package blocktree.cluster;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import blocktree.cluster.TreeCluster.Node;
import blocktree.crypto.Authority;
import blocktree.crypto.BlockId;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyChange;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.BlockStore;
import blocktree.store.Commit;
import blocktree.store.FsckOptions;
import blocktree.store.NewBlock;
import blocktree.store.OpenBlock;
import blocktree.store.StatePin;
import blocktree.store.StoreException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(120)
class ClusterNodeTest {

    private static final int SECTOR_LOG2 = 12;
    private static final int SECTOR_SIZE = 1 << SECTOR_LOG2;

    @TempDir
    Path directory;

    private static byte[] sector(int fill) {
        byte[] bytes = new byte[SECTOR_SIZE];
        new Random(fill).nextBytes(bytes);
        return bytes;
    }

    private static BlockId create(BlockStore store, int sectors, int fill) throws StoreException {
        try (Commit commit = store.newCommit()) {
            NewBlock block = store.newBlock(store.rootDomain());
            var edit = commit.create(block, SECTOR_LOG2).attributes(("made with " + fill).getBytes(UTF_8));
            for (int i = 0; i < sectors; i++) {
                edit.putSector(i, sector(fill + i), 0);
            }
            store.commit(commit, true);
            return block.id();
        }
    }

    private static void put(BlockStore store, BlockId id, int fill) throws StoreException {
        put(store, id, fill, 1);
    }

    private static void put(BlockStore store, BlockId id, int fill, int sectors) throws StoreException {
        try (Commit commit = store.newCommit()) {
            var edit = commit.edit(store.read(id));
            for (int i = 0; i < sectors; i++) {
                edit.putSector(i, sector(fill + i), 0);
            }
            store.commit(commit, true);
        }
    }

    private static void assertReads(BlockStore store, BlockId id, long index, int fill) throws StoreException {
        OpenBlock block = store.read(id);
        byte[] read = new byte[SECTOR_SIZE];
        assertTrue(block.readSector(index, read));
        assertArrayEquals(sector(fill), read);
    }

    private static void assertSound(TreeCluster cluster) throws StoreException {
        for (Node node : cluster.there()) {
            node.store().forEachBlock(id -> {});
            assertEquals(
                    cluster.there().get(0).store().headPosition(), node.store().headPosition());
        }
    }

    @Test
    void whatOneWritesAllHave() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Map<BlockId, Integer> expected = new HashMap<>();
            for (int i = 0; i < 12; i++) {
                BlockStore store = cluster.nodes.get(i % 3).store();
                int fill = 10_000 * i;
                // small, beside the log, and as a file of its own
                expected.put(create(store, List.of(1, 40, 700).get(i % 3), fill), fill);
            }
            cluster.awaitSame();
            for (Node node : cluster.nodes) {
                for (Map.Entry<BlockId, Integer> one : expected.entrySet()) {
                    assertReads(node.store(), one.getKey(), 0, one.getValue());
                }
            }
            assertSound(cluster);
        }
    }

    @Test
    void ofTwoWhoChangeABlockAtOnceOneMeetsAConflict() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            BlockId id = create(cluster.nodes.get(0).store(), 1, 1);
            cluster.awaitSame();
            int taken = 0;
            for (int round = 0; round < 10; round++) {
                int fill = 100 * round;
                CompletableFuture<Boolean> a = attempt(cluster.nodes.get(0).store(), id, fill);
                CompletableFuture<Boolean> b = attempt(cluster.nodes.get(1).store(), id, fill + 1);
                boolean first = a.get(30, TimeUnit.SECONDS);
                boolean second = b.get(30, TimeUnit.SECONDS);
                assertTrue(first || second, "one of the two is the first");
                taken += (first ? 1 : 0) + (second ? 1 : 0);
                cluster.awaitSame();
            }
            for (Node node : cluster.nodes) {
                assertEquals(1 + taken, node.store().read(id).generation());
            }
        }
    }

    private static CompletableFuture<Boolean> attempt(BlockStore store, BlockId id, int fill) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                put(store, id, fill);
                return true;
            } catch (StoreException e) {
                assertEquals(StoreException.Code.CONFLICT, e.code(), e::toString);
                return false;
            }
        });
    }

    @Test
    void writesGoOnWhenTheLeaderIsLostAndItComesBack() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Node leader = cluster.awaitLeader();
            BlockId id = create(leader.store(), 1, 1);
            cluster.awaitSame();
            leader.stop();
            Node other = cluster.there().get(0);
            long begunNanos = System.nanoTime();
            put(other.store(), id, 2);
            long millis = (System.nanoTime() - begunNanos) / 1_000_000;
            assertTrue(millis < 10_000, "writes went on after " + millis + " ms");
            BlockId large = create(other.store(), 100, 500);
            leader.start();
            cluster.awaitSame();
            assertReads(leader.store(), id, 0, 2);
            assertReads(leader.store(), large, 99, 599);
            put(leader.store(), id, 3);
            cluster.awaitSame();
            assertReads(other.store(), id, 0, 3);
            assertSound(cluster);
        }
    }

    @Test
    void withoutAMajorityAWriteWaitsAndGoesOnWithIt() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            BlockId id = create(cluster.awaitLeader().store(), 1, 1);
            cluster.awaitSame();
            Node alone = cluster.nodes.get(0);
            cluster.nodes.get(1).stop();
            cluster.nodes.get(2).stop();
            CompletableFuture<Void> write = CompletableFuture.runAsync(() -> {
                try {
                    put(alone.store(), id, 2);
                } catch (StoreException e) {
                    throw new IllegalStateException(e);
                }
            });
            assertThrows(TimeoutException.class, () -> write.get(2, TimeUnit.SECONDS));
            assertReads(alone.store(), id, 0, 1);
            cluster.nodes.get(1).start();
            try {
                write.get(30, TimeUnit.SECONDS);
            } catch (ExecutionException e) {
                fail(e);
            }
            cluster.nodes.get(2).start();
            cluster.awaitSame();
            assertReads(cluster.nodes.get(2).store(), id, 0, 2);
        }
    }

    @Test
    void allComeBackFromTheirDirectories() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            BlockId id = create(cluster.nodes.get(0).store(), 100, 1);
            for (int i = 0; i < 20; i++) {
                put(cluster.nodes.get(0).store(), id, 1_000 + i);
            }
            for (Node node : cluster.nodes) {
                node.stop();
            }
            for (Node node : cluster.nodes) {
                node.start();
            }
            cluster.awaitSame();
            put(cluster.nodes.get(1).store(), id, 2_000);
            cluster.awaitSame();
            for (Node node : cluster.nodes) {
                assertReads(node.store(), id, 0, 2_000);
                assertReads(node.store(), id, 99, 100);
                node.store().fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
            }
        }
    }

    @Test
    void authorityIsAgreedOnToo() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3);
                Identity friend = Identity.generate()) {
            byte[] chain = chainOf(cluster, friend);
            cluster.nodes.get(1).store().appendAuthority(RecordKind.WRITECAP_CHAIN, chain);
            cluster.awaitSame();
            for (Node node : cluster.nodes) {
                assertEquals(1, node.store().authority().chainsOf(friend.id()).size());
            }
            StoreException e = assertThrows(
                    StoreException.class,
                    () -> cluster.nodes.get(2).store().appendAuthority(RecordKind.WRITECAP_CHAIN, chain));
            assertTrue(e.isRefusal(), e::toString);
        }
    }

    private static byte[] chainOf(TreeCluster cluster, Identity to) {
        return WriteCapabilityChain.of(List.of(WriteCapability.issue(
                        cluster.root,
                        cluster.founding.tree(),
                        cluster.founding.rootDomain(),
                        to.keys(),
                        Rights.WRITE,
                        0,
                        WriteCapability.NO_END)))
                .toBytes();
    }

    /** Writes as fast as it goes, each time a higher number, until it is closed. */
    private static final class Writer implements AutoCloseable {
        private final AtomicBoolean stopped = new AtomicBoolean();
        private final CompletableFuture<Void> writing;
        final BlockId id;

        Writer(BlockStore store) throws StoreException {
            id = create(store, 1, 0);
            writing = CompletableFuture.runAsync(() -> {
                for (int fill = 1; !stopped.get(); fill++) {
                    try {
                        put(store, id, fill);
                    } catch (StoreException e) {
                        assertEquals(StoreException.Code.CONFLICT, e.code(), e::toString); // keys were changed
                    }
                }
            });
        }

        @Override
        public void close() throws Exception {
            stopped.set(true);
            writing.get(30, TimeUnit.SECONDS);
        }
    }

    private static byte[] read(OpenBlock block) throws StoreException {
        byte[] read = new byte[SECTOR_SIZE];
        assertTrue(block.readSector(0, read));
        return read;
    }

    private static List<String> snapshots(Node node) throws StoreException {
        return node.store().snapshots().stream()
                .map(info -> new String(info.name(), UTF_8) + " " + info.madePosition() + " " + info.position() + " "
                        + info.stateRoot())
                .toList();
    }

    private static void assertSameSnapshots(TreeCluster cluster, BlockId... ids) throws StoreException {
        Node first = cluster.nodes.get(0);
        for (Node node : cluster.nodes) {
            assertEquals(snapshots(first), snapshots(node));
            for (int i = 0; i < node.store().snapshots().size(); i++) {
                for (BlockId id : ids) {
                    assertArrayEquals(
                            read(first.store()
                                    .readAt(id, first.store().snapshots().get(i))),
                            read(node.store()
                                    .readAt(id, node.store().snapshots().get(i))));
                }
            }
        }
    }

    @Test
    void whileTwoWriteSnapshotsRotationsAndChecksGoOn() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3);
                Identity fresh = Identity.generate()) {
            List<BlockStore> stores = cluster.nodes.stream().map(Node::store).toList();
            List<BlockId> ids = new ArrayList<>();
            try (Writer a = new Writer(stores.get(0));
                    Writer b = new Writer(stores.get(1))) {
                ids.addAll(List.of(a.id, b.id));
                for (int i = 0; i < 6; i++) {
                    stores.get(i % 3).createSnapshot(("s" + i).getBytes(UTF_8));
                }
                CompletableFuture<Boolean> one = namedFirst(stores.get(0));
                CompletableFuture<Boolean> two = namedFirst(stores.get(2));
                assertTrue(one.get(30, TimeUnit.SECONDS) ^ two.get(30, TimeUnit.SECONDS), "one has the name");
                stores.get(2).deleteSnapshot("s1".getBytes(UTF_8));
                for (BlockStore store : stores) {
                    try (StatePin pin = store.pin()) {
                        byte[] then = read(store.readAt(a.id, pin));
                        store.fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
                        store.collectGarbage();
                        assertArrayEquals(then, read(store.readAt(a.id, pin)));
                    }
                }
                // more chains than an entry takes along
                for (int i = 0; i < 45; i++) {
                    try (Identity friend = Identity.generate()) {
                        stores.get(1).appendAuthority(RecordKind.WRITECAP_CHAIN, chainOf(cluster, friend));
                    }
                }
                Authority authority = stores.get(2).authority();
                KeyChange change = KeyChange.rotateRoot(authority, cluster.root, fresh, System.currentTimeMillis(), 0);
                stores.get(2).appendAuthority(change.entries(), authority.position());
                assertTrue(change.writers().size() >= 45);
            }
            cluster.awaitSame();
            assertSameSnapshots(cluster, ids.toArray(BlockId[]::new));
            assertEquals(6, snapshots(cluster.nodes.get(0)).size());
            for (BlockStore store : stores) {
                assertTrue(store.authority().isRoot(fresh.id()));
                assertEquals(1, store.authority().rotations());
                store.fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
            }
        }
    }

    private static CompletableFuture<Boolean> namedFirst(BlockStore store) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                store.createSnapshot("wanted".getBytes(UTF_8));
                return true;
            } catch (StoreException e) {
                assertEquals(StoreException.Code.CONFLICT, e.code(), e::toString);
                return false;
            }
        });
    }

    /** Whatever became of what it had proposed, it is the same for all. */
    @Test
    void aNodeThatStopsWhileItMakesASnapshotLeavesAWholeOneOrNone() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Node maker = cluster.nodes.get(2);
            try (Writer writer = new Writer(cluster.nodes.get(0).store())) {
                for (int round = 0; round < 3; round++) {
                    byte[] name = ("s" + round).getBytes(UTF_8);
                    BlockStore store = maker.store();
                    CompletableFuture<Boolean> making = CompletableFuture.supplyAsync(() -> {
                        try {
                            store.createSnapshot(name);
                            return true;
                        } catch (StoreException e) {
                            assertEquals(StoreException.Code.CLOSED, e.code(), e::toString);
                            return false;
                        }
                    });
                    Thread.sleep(2L * round);
                    maker.stop();
                    boolean made = making.get(30, TimeUnit.SECONDS);
                    maker.start();
                    cluster.nodes.get(0).store().createSnapshot(("after " + round).getBytes(UTF_8));
                    if (made) {
                        assertTrue(snapshots(cluster.nodes.get(0)).toString().contains("s" + round + " "));
                    }
                }
            }
            cluster.awaitSame();
            assertSameSnapshots(cluster);
            assertTrue(snapshots(maker).size() >= 3);
        }
    }

    @Test
    void whoWasAwayForTooLongTakesTheStoreOverAndGoesOn() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3, options -> options.withLog(50, 0))) {
            BlockId id = create(cluster.nodes.get(0).store(), 3, 1);
            cluster.awaitSame();
            Node away = cluster.nodes.get(2);
            away.stop();
            // more than the log keeps: as much as fits into entries, until it has begun its third file
            for (int i = 0; i < 200; i++) {
                put(cluster.nodes.get(0).store(), id, 100_000 + 100 * i, 14);
            }
            cluster.awaitSame();
            put(cluster.nodes.get(1).store(), id, 1);
            away.start();
            away.cluster().behind().get(30, TimeUnit.SECONDS);
            away.stop();
            away.copyFrom(cluster.nodes.get(0));
            away.start();
            put(cluster.nodes.get(0).store(), id, 5_000);
            cluster.awaitSame();
            assertReads(away.store(), id, 0, 5_000);
            assertReads(away.store(), id, 13, 100_000 + 100 * 199 + 13);
            put(away.store(), id, 6_000);
            cluster.awaitSame();
            assertReads(cluster.nodes.get(1).store(), id, 0, 6_000);
            for (Node node : cluster.nodes) {
                node.store().fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
            }
        }
    }

    @Test
    void whoIsLeftAppliesWhatIsInItsLogAndGoesOnAlone() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Node left = cluster.awaitLeader();
            BlockId id = create(left.store(), 1, 1);
            cluster.awaitSame();
            List<Node> lost =
                    cluster.there().stream().filter(node -> node != left).toList();
            lost.forEach(node -> node.messenger().close());
            CompletableFuture<Void> write = CompletableFuture.runAsync(() -> {
                try {
                    put(left.store(), id, 2, 40); // more than an entry has room for
                } catch (StoreException e) {
                    throw new IllegalStateException(e);
                }
            });
            TreeCluster.await("it sees that it is alone", () -> left.leads() ? null : true);
            for (Node node : cluster.nodes) {
                node.stop();
            }
            assertThrows(ExecutionException.class, () -> write.get(30, TimeUnit.SECONDS));
            left.recover();
            assertReads(left.store(), id, 39, 41);
            put(left.store(), id, 3);
            left.stop();
            left.start();
            assertReads(left.store(), id, 0, 3);
            put(left.store(), id, 4);
            assertEquals(Set.of(left.identity.id()), left.cluster().status().voters());
            left.store().fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
        }
    }
}
