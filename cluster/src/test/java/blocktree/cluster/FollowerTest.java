package blocktree.cluster;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import blocktree.btmsg.session.MessageException;
import blocktree.cluster.ClusterProto.Entry;
import blocktree.cluster.ClusterProto.Lease;
import blocktree.cluster.TreeCluster.Node;
import blocktree.crypto.BlockId;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import blocktree.store.Commit;
import blocktree.store.FsckOptions;
import blocktree.store.LogPort;
import blocktree.store.NewBlock;
import blocktree.store.Order;
import blocktree.store.ReplicatedLog;
import blocktree.store.SealedCommit;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Nodes that do not vote, with real sessions and stores. */
@Timeout(120)
class FollowerTest {
    private static final int SECTOR_LOG2 = 12;
    private static final int SECTOR_SIZE = 1 << SECTOR_LOG2;

    /** In its entry, beside it, and beside it in many pieces. */
    private static final List<Integer> SECTOR_COUNTS = List.of(1, 40, 700);

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

    private static void assertReads(BlockStore store, BlockId id, int sectors, int fill) throws StoreException {
        byte[] read = new byte[SECTOR_SIZE];
        for (int i = 0; i < sectors; i++) {
            assertTrue(store.read(id).readSector(i, read));
            assertArrayEquals(sector(fill + i), read);
        }
    }

    private static boolean has(Node node, BlockId id) {
        try {
            node.store().read(id);
            return true;
        } catch (StoreException e) {
            assertEquals(StoreException.Code.NOT_FOUND, e.code(), e::toString);
            return false;
        }
    }

    private static void awaitFollowing(Node node) throws Exception {
        TreeCluster.await(
                "node " + node.number + " follows",
                () -> !node.cluster().agreement().isVoter()
                                && node.cluster().status().leader() != null
                        ? true
                        : null);
    }

    private static void fsck(TreeCluster cluster) throws StoreException {
        for (Node node : cluster.there()) {
            node.store().fsck(FsckOptions.defaults(), finding -> fail("node " + node.number + ": " + finding));
        }
    }

    @Test
    void aReplicaFollowsWritesAndMayBeginToVoteAndEnd() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Node leader = cluster.awaitLeader();
            BlockId before = create(leader.store(), 700, 1);
            Node replica = cluster.addFollower(leader, true);
            awaitFollowing(replica);
            assertReads(replica.store(), before, 700, 1);
            Set<BlockId> told = ConcurrentHashMap.newKeySet();
            replica.cluster().onChanges(told::addAll);

            List<Long> delaysMillis = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                Node writer = cluster.nodes.get(i % 3);
                int sectors = SECTOR_COUNTS.get(i % 3);
                BlockId id = create(writer.store(), sectors, 10_000 * i);
                long doneNanos = System.nanoTime();
                TreeCluster.await("the replica has it", () -> has(replica, id) ? true : null);
                delaysMillis.add(TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - doneNanos));
                assertReads(replica.store(), id, sectors, 10_000 * i);
                assertTrue(told.contains(id));
            }
            assertTrue(
                    Collections.min(delaysMillis) < 100, delaysMillis::toString); // nobody waits for a turn of a clock

            for (int sectors : SECTOR_COUNTS) {
                BlockId id = create(replica.store(), sectors, 500_000);
                assertTrue(has(replica, id), "a commit returns when it is applied here");
                cluster.awaitSame();
                for (Node node : cluster.nodes) {
                    assertReads(node.store(), id, sectors, 500_000);
                }
            }
            replica.cluster().writeLease().enter(Duration.ofSeconds(10));
            assertEquals(replica.identity.id(), leader.cluster().writer());
            replica.cluster().writeLease().leave();

            byte[] lease = Entry.newBuilder()
                    .setVersion(ReplicatedTree.VERSION)
                    .setLease(Lease.newBuilder()
                            .setHolder(ByteString.copyFrom(replica.identity.id().toBytes())))
                    .build()
                    .toByteArray();
            byte[] reply = replica.messenger()
                    .peer(leader.identity.id())
                    .request(FollowDesk.PROPOSE, lease, Duration.ofSeconds(10))
                    .get(10, TimeUnit.SECONDS);
            assertEquals(FollowDesk.REFUSED, reply[0], () -> Arrays.toString(reply));

            // Whom it follows may be lost, and lead.
            Node lost = cluster.awaitLeader();
            lost.stop();
            BlockId without = create(replica.store(), 40, 600_000);
            Node other = cluster.awaitLeader();
            assertReads(other.store(), without, 40, 600_000);
            BlockId fromOther = create(other.store(), 40, 700_000);
            TreeCluster.await("the replica has it", () -> has(replica, fromOther) ? true : null);

            other.cluster().setVoter(replica.identity.id(), true);
            assertTrue(replica.cluster().agreement().isVoter());
            assertReads(replica.store(), create(replica.store(), 40, 800_000), 40, 800_000);
            lost.start();
            cluster.awaitSame();
            assertTrue(other.cluster().status().voters().contains(replica.identity.id()));

            cluster.awaitLeader().cluster().setVoter(replica.identity.id(), false);
            awaitFollowing(replica);
            BlockId after = create(other.store(), 40, 900_000);
            TreeCluster.await("the replica has it", () -> has(replica, after) ? true : null);
            assertReads(other.store(), create(replica.store(), 1, 950_000), 1, 950_000);

            replica.stop();
            BlockId meanwhile = create(other.store(), 40, 990_000);
            replica.start();
            TreeCluster.await("the replica has it", () -> has(replica, meanwhile) ? true : null);
            assertFalse(replica.cluster().agreement().isVoter());

            // Not even who has founded the agreement founds another.
            Node founder = cluster.nodes.get(0);
            Node third = cluster.nodes.get(2);
            third.cluster().setVoter(founder.identity.id(), false);
            awaitFollowing(founder);
            founder.stop();
            founder.start();
            awaitFollowing(founder);
            assertReads(third.store(), create(founder.store(), 1, 999_000), 1, 999_000);
            cluster.awaitSame();
            fsck(cluster);
        }
    }

    private static MessageException refused(Node asker, Node asked, String service, byte[] body) {
        ExecutionException e = assertThrows(
                ExecutionException.class,
                () -> asker.messenger()
                        .peer(asked.identity.id())
                        .request(service, body, Duration.ofSeconds(10))
                        .get(10, TimeUnit.SECONDS));
        return (MessageException) Objects.requireNonNull(e.getCause());
    }

    @Test
    void aBlindReplicaStoresAndServesAndMayDoNothingElse() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 1)) {
            Node voter = cluster.nodes.get(0);
            BlockId before = create(voter.store(), 40, 1);
            Node blind = cluster.addFollower(voter, false);
            awaitFollowing(blind);
            BlockId after = create(voter.store(), 700, 1_000);
            cluster.awaitSame();
            for (BlockId id : List.of(before, after)) {
                assertEquals(
                        StoreException.Code.DENIED,
                        assertThrows(
                                        StoreException.class,
                                        () -> blind.store().read(id).attributes())
                                .code());
            }
            for (String service : List.of(
                    WriteLease.ACQUIRE, WriteLease.RECALL, FollowDesk.PROPOSE, "cluster.voters", "cluster.ready")) {
                assertEquals(
                        MessageException.Code.DENIED,
                        refused(blind, voter, service, new byte[0]).code(),
                        service);
            }
            // Neither its store nor its key gives it a key of the tree.
            assertFalse(blind.store().canRead());
            assertTrue(voter.store().canRead());
            // All that it has is verified without a key, and another gets a copy of it.
            blind.store().fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
            Node second = cluster.addFollower(voter, true);
            second.stop();
            BlockId late = create(voter.store(), 40, 5_000);
            cluster.awaitSame();
            second.copyFrom(blind);
            second.start();
            assertReads(second.store(), late, 40, 5_000);
            assertReads(second.store(), after, 700, 1_000);
        }
    }

    @Test
    void whatNoVoterKeepsAnyMoreIsTakenOverWithTheState() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 1, options -> options.withLog(16, 8))) {
            Node voter = cluster.nodes.get(0);
            create(voter.store(), 1, 1);
            Node replica = cluster.addFollower(voter, true);
            awaitFollowing(replica);
            replica.stop();
            // Raft's log is cut file by file, of 4 MB each.
            for (int i = 0; i < 150; i++) {
                create(voter.store(), 14, 100 * i);
            }
            replica.start();
            PrincipalId from = replica.cluster().behind().get(30, TimeUnit.SECONDS);
            assertEquals(voter.identity.id(), from);
            replica.stop();
            replica.copyFrom(voter);
            replica.start();
            BlockId id = create(replica.store(), 1, 5);
            assertReads(voter.store(), id, 1, 5);
            fsck(cluster);
        }
    }

    /** Of a node that has gone its own way. */
    private record OwnOrder(ReplicatedLog log) implements LogPort {
        @Override
        public Placed commit(SealedCommit commit, boolean sync) throws StoreException {
            Order before = Objects.requireNonNull(log.applied());
            return log.apply(new Order(before.term(), before.index() + 1, System.currentTimeMillis()), commit);
        }

        @Override
        public Placed change(byte[] change) {
            throw new UnsupportedOperationException();
        }
    }

    @Test
    void aLogOfItsOwnIsNoticedAndNothingIsAppliedToIt() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 1)) {
            Node voter = cluster.nodes.get(0);
            create(voter.store(), 1, 1);
            Node replica = cluster.addFollower(voter, true);
            awaitFollowing(replica);
            replica.stop();
            BlockId own;
            try (BlockStore alone = BlockStore.open(replica.path("store"), TreeCluster.options(), replica.identity)) {
                alone.orderBy(new OwnOrder(alone.replicatedLog()));
                own = create(alone, 1, 2);
            }
            BlockId theirs = create(voter.store(), 1, 3);
            replica.start();
            TreeCluster.await(
                    "the replica says so", () -> replica.cluster().status().stopped());
            assertTrue(has(replica, own));
            assertFalse(has(replica, theirs));
        }
    }
}
