package blocktree.cluster;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.cluster.TreeCluster.Node;
import blocktree.tree.FileLocks;
import blocktree.tree.FileLocks.Kind;
import blocktree.tree.FileLocks.Lock;
import blocktree.tree.FileLocks.Owner;
import blocktree.tree.FileSystemException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Locks of programs on several nodes keep out of each other's way, whatever happens to nodes. */
@Timeout(120)
class LockLeasesTest {
    private static final long FILE = 1_000;

    /** That of {@link CompletableFuture} is of one thread on a small machine. */
    private static final Executor THREADS = task -> {
        Thread thread = new Thread(task, "locker");
        thread.setDaemon(true);
        thread.start();
    };

    @TempDir
    Path directory;

    private static FileLocks locksOf(Node node) {
        return SharedTable.connect(node.cluster().locks());
    }

    private static Lock lock(int owner, long start, long end, boolean exclusive) {
        return new Lock(new Owner("test", owner), start, end, exclusive, 100 + owner, 0);
    }

    private static boolean tries(FileLocks locks, Kind kind, Lock lock) throws Exception {
        return locks.tryAcquire(FILE, kind, lock).get(20, TimeUnit.SECONDS);
    }

    private static boolean tries(FileLocks locks, long start, long end, boolean exclusive) throws Exception {
        return tries(locks, Kind.RECORD, lock(1, start, end, exclusive));
    }

    @Test
    void rangesKindsAndTestsAreAsOnOneNodeAndTheLoneUserAsksOnce() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            FileLocks one = locksOf(cluster.nodes.get(1));
            FileLocks two = locksOf(cluster.nodes.get(2));
            long before = requests(cluster.nodes.get(1));
            assertTrue(tries(one, 0, 9, true));
            long start = System.nanoTime();
            for (int i = 0; i < 2_000; i++) {
                assertTrue(one.tryAcquire(FILE + 1 + i, Kind.RECORD, lock(1, 0, 9, true))
                        .join());
            }
            double micros = (System.nanoTime() - start) / 2e6;
            long asked = requests(cluster.nodes.get(1)) - before;
            System.out.printf("a lock of a lone user: %.1f us, %d requests for 2001%n", micros, asked);
            assertTrue(asked < 40, asked + " requests"); // those of Raft and renewals among them
            one.releaseAll("test");

            assertTrue(tries(one, 0, 9, true));
            assertFalse(tries(two, 5, 20, true));
            assertTrue(tries(two, 10, 20, true));
            assertTrue(tries(two, Kind.FLOCK, lock(1, 0, FileLocks.END, true)));
            assertFalse(tries(one, Kind.FLOCK, lock(1, 0, FileLocks.END, false)));
            Lock found = two.conflict(FILE, Kind.RECORD, lock(1, 3, 3, false)).get(20, TimeUnit.SECONDS);
            assertNotNull(found);
            assertEquals(0, found.start());
            assertEquals(9, found.end());
            assertTrue(found.exclusive());
            assertEquals(0, found.pid()); // of another node
            assertNull(two.conflict(FILE, Kind.RECORD, lock(1, 30, 40, true)).get(20, TimeUnit.SECONDS));

            // Shared ones live side by side, and stand in the way of who wants to be the only one.
            assertTrue(tries(one, 100, 109, false));
            assertTrue(tries(two, 100, 109, false));
            assertFalse(tries(one, 100, 109, true));
            two.release(FILE, Kind.RECORD, new Owner("test", 1), 100, 109);
            assertTrue(tries(one, 100, 109, true));
            assertFalse(tries(two, 109, 109, false));

            List<LockLeases.NodeLocks> all =
                    cluster.nodes.get(0).cluster().locks().list();
            assertEquals(
                    List.of(0, 2, 2),
                    all.stream()
                            .map(node ->
                                    node.locks() == null ? -1 : node.locks().size())
                            .sorted()
                            .toList());

            // Nobody uses them any more: nobody renews anything.
            one.releaseAll("test");
            two.releaseAll("test");
            TreeCluster.await(
                    "sessions end",
                    () -> !cluster.nodes.get(1).cluster().locks().isValid()
                                    && !cluster.nodes.get(2).cluster().locks().isValid()
                            ? true
                            : null);
        }
    }

    private static long requests(Node node) {
        return node.messenger().peers().stream()
                .mapToLong(peer -> peer.stats().requests())
                .sum();
    }

    @Test
    void whoWaitsIsServedOrLeaves() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            List<FileLocks> locks =
                    cluster.nodes.stream().map(LockLeasesTest::locksOf).toList();
            assertTrue(tries(locks.get(0), 0, 9, true));
            CompletableFuture<Boolean> waits = locks.get(1).acquire(FILE, Kind.RECORD, lock(1, 0, 4, true));
            CompletableFuture<Boolean> leaves = locks.get(2).acquire(FILE, Kind.RECORD, lock(1, 0, 4, true));
            // While they wait, others of the same file are not held up.
            assertTrue(tries(locks.get(1), 20, 29, true));
            assertTrue(tries(locks.get(2), 30, 39, true));
            assertFalse(waits.isDone());
            assertTrue(leaves.cancel(false));
            locks.get(0).releaseAll(FILE, Kind.RECORD, new Owner("test", 1));
            assertTrue(waits.get(20, TimeUnit.SECONDS));
            locks.get(1).releaseAll(FILE, Kind.RECORD, new Owner("test", 1));
            assertTrue(tries(locks.get(0), 0, 9, true)); // who has left is not served
        }
    }

    @Test
    void nobodyIsLetInTwiceWhileTheLeaderChangesAndHeldLocksStay() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Node leader = cluster.awaitLeader();
            List<Node> others =
                    cluster.nodes.stream().filter(node -> node != leader).toList();
            locksOf(leader)
                    .tryAcquire(FILE, Kind.RECORD, lock(1, 500, 500, true))
                    .get(20, TimeUnit.SECONDS);
            List<FileLocks> locks = others.stream().map(LockLeasesTest::locksOf).toList();
            // Held throughout.
            assertTrue(tries(locks.get(0), Kind.FLOCK, lock(9, 0, FileLocks.END, true)));
            ConcurrentHashMap<Long, AtomicInteger> inside = new ConcurrentHashMap<>();
            AtomicInteger broken = new AtomicInteger();
            AtomicLong longestNanos = new AtomicLong();
            AtomicBoolean end = new AtomicBoolean();
            List<AtomicInteger> counts = new ArrayList<>();
            List<CompletableFuture<Void>> workers = new ArrayList<>();
            for (int worker = 0; worker < 4; worker++) {
                FileLocks here = locks.get(worker % 2);
                int owner = worker;
                AtomicInteger count = new AtomicInteger();
                counts.add(count);
                Random random = new Random(worker);
                workers.add(CompletableFuture.runAsync(
                        () -> {
                            try {
                                while (!end.get()) {
                                    long at = random.nextInt(3);
                                    long start = System.nanoTime();
                                    here.acquire(FILE, Kind.RECORD, lock(owner, at, at, true))
                                            .get(60, TimeUnit.SECONDS);
                                    longestNanos.accumulateAndGet(System.nanoTime() - start, Math::max);
                                    AtomicInteger there = inside.computeIfAbsent(at, key -> new AtomicInteger());
                                    if (there.incrementAndGet() != 1) {
                                        broken.incrementAndGet();
                                    }
                                    if (random.nextInt(20) == 0) {
                                        TimeUnit.MILLISECONDS.sleep(1);
                                    }
                                    there.decrementAndGet();
                                    here.releaseAll(FILE, Kind.RECORD, new Owner("test", owner));
                                    count.incrementAndGet();
                                }
                            } catch (Exception e) {
                                throw new IllegalStateException(e);
                            }
                        },
                        THREADS));
            }
            TreeCluster.await("all work", () -> counts.stream().allMatch(count -> count.get() > 20) ? true : null);
            longestNanos.set(0);
            leader.stop(); // with a lock of its own
            int[] seen = counts.stream().mapToInt(AtomicInteger::get).toArray();
            TreeCluster.await("all go on", () -> {
                for (int i = 0; i < seen.length; i++) {
                    if (counts.get(i).get() < seen[i] + 20) {
                        return null;
                    }
                }
                return true;
            });
            end.set(true);
            for (CompletableFuture<Void> worker : workers) {
                worker.get(30, TimeUnit.SECONDS);
            }
            long longestMillis = TimeUnit.NANOSECONDS.toMillis(longestNanos.get());
            System.out.printf("locks moved %s; longest wait over a killed leader %d ms%n", counts, longestMillis);
            assertEquals(0, broken.get());
            assertTrue(longestMillis < 6_000, longestMillis + " ms");
            assertFalse(tries(locks.get(1), Kind.FLOCK, lock(9, 0, FileLocks.END, false)), "held since before");
            assertTrue(tries(locks.get(1), 500, 500, true), "of the leader that is gone");
        }
    }

    @Test
    void whoseSessionIsOverLosesItsLocksAndHearsOfIt() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Node leader = cluster.awaitLeader();
            Node cut = cluster.nodes.get((leader.number + 1) % 3);
            FileLocks here = locksOf(cut);
            FileLocks there = locksOf(leader);
            assertTrue(tries(here, 0, 9, true));
            CompletableFuture<Boolean> waits = there.acquire(FILE, Kind.RECORD, lock(1, 0, 9, true));
            assertFalse(waits.isDone());
            // The order says that another session of this node holds.
            byte[] another =
                    ClusterProto.LockClaims.newBuilder().setSession(5).build().toByteArray();
            cut.messenger()
                    .peer(leader.identity.id())
                    .request(LockDesk.CLAIM, another, Duration.ofSeconds(10))
                    .get();
            assertTrue(waits.get(20, TimeUnit.SECONDS));
            there.releaseAll("test"); // as if nothing had been
            TreeCluster.await("it hears of it", () -> here.held().isEmpty() ? true : null);
            assertTrue(here.hasLost(FILE, List.of(new Owner("test", 1))));
            FileSystemException refused = assertThrows(
                    FileSystemException.class, () -> here.release(FILE, Kind.RECORD, new Owner("test", 1), 0, 9));
            assertEquals(FileSystemException.Code.IO, refused.code());
            assertThrows(FileSystemException.class, () -> tries(here, 0, 9, true));
            assertTrue(tries(here, Kind.RECORD, lock(2, 0, 9, true)), "another descriptor");
            here.releaseAll(FILE, Kind.RECORD, new Owner("test", 1)); // it is closed
            assertFalse(tries(here, 0, 9, true));
            here.releaseAll("test");
            assertTrue(tries(here, 0, 9, true));
        }
    }

    @Test
    void withoutAMajorityNothingIsGivenAndWhatIsHeldStays() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Node one = cluster.nodes.get(0);
            FileLocks locks = locksOf(one);
            assertTrue(tries(locks, 0, 9, true));
            cluster.nodes.get(1).stop();
            cluster.nodes.get(2).stop();
            TreeCluster.await("it counts no more", () -> one.cluster().locks().isValid() ? null : true);
            CompletableFuture<Boolean> waits = locks.acquire(FILE, Kind.RECORD, lock(1, 20, 29, true));
            assertFalse(waits.isDone());
            cluster.nodes.get(1).start();
            FileLocks back = locksOf(cluster.nodes.get(1));
            assertFalse(tries(back, 0, 9, true));
            assertTrue(waits.get(20, TimeUnit.SECONDS));
            locks.release(FILE, Kind.RECORD, new Owner("test", 1), 0, 9);
            assertTrue(tries(back, 0, 9, true));
        }
    }

    @Test
    void hostileMessagesTakeNothingAndBreakNothing() throws Exception {
        try (TreeCluster cluster = new TreeCluster(directory, 3)) {
            Node leader = cluster.awaitLeader();
            Node liar = cluster.nodes.get((leader.number + 1) % 3);
            FileLocks there = locksOf(leader);
            assertTrue(tries(there, 0, 9, true));
            var peer = liar.messenger().peer(leader.identity.id());
            Duration patience = Duration.ofSeconds(10);
            // Claims what it was never given.
            byte[] claims = ClusterProto.LockClaims.newBuilder()
                    .setSession(77)
                    .addRanges(new LockRange(FILE, LockRange.Kind.RECORD, 0, 9, true).toProto())
                    .build()
                    .toByteArray();
            assertEquals(
                    ClusterProto.LockAnswer.Outcome.LOST,
                    ClusterProto.LockAnswer.parseFrom(peer.request(LockDesk.CLAIM, claims, patience)
                                    .get())
                            .getOutcome());
            // Asks without a session, and in a manner that means nothing.
            for (ClusterProto.LockRange range : List.of(
                    ClusterProto.LockRange.newBuilder().setStart(-1).build(),
                    ClusterProto.LockRange.newBuilder().setStart(9).setEnd(1).build(),
                    ClusterProto.LockRange.newBuilder().setKindValue(9).build())) {
                byte[] question = ClusterProto.LockQuestion.newBuilder()
                        .setRange(range)
                        .build()
                        .toByteArray();
                assertThrows(
                        ExecutionException.class,
                        () -> peer.request(LockDesk.ASK, question, patience).get());
                assertThrows(
                        ExecutionException.class,
                        () -> peer.request(LockLeases.RECALL, question, patience)
                                .get());
            }
            assertThrows(
                    ExecutionException.class,
                    () -> peer.request(LockDesk.ASK, new byte[] {1, 2, 3}, patience)
                            .get());
            // More that wait than may: the others are told so.
            byte[] fresh =
                    ClusterProto.LockClaims.newBuilder().setSession(78).build().toByteArray();
            peer.request(LockDesk.CLAIM, fresh, patience).get();
            byte[] waiting = ClusterProto.LockQuestion.newBuilder()
                    .setSession(78)
                    .setRange(new LockRange(FILE, LockRange.Kind.RECORD, 0, 9, true).toProto())
                    .build()
                    .toByteArray();
            List<CompletableFuture<byte[]>> asked = new ArrayList<>();
            for (int i = 0; i < LockDesk.ASKED_MAX + 10; i++) {
                asked.add(peer.request(LockDesk.ASK, waiting, patience));
            }
            TreeCluster.await(
                    "those beyond are refused",
                    () -> asked.stream()
                                            .filter(CompletableFuture::isCompletedExceptionally)
                                            .count()
                                    == 10
                            ? true
                            : null);
            assertFalse(tries(locksOf(cluster.nodes.get((leader.number + 2) % 3)), 0, 9, true));
            assertTrue(tries(there, 20, 29, true));
        }
    }
}
