package blocktree.cluster.raft;

import static blocktree.cluster.raft.TestCluster.await;
import static blocktree.cluster.raft.TestCluster.get;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Peer;
import blocktree.cluster.AgreementException;
import blocktree.cluster.AgreementException.Code;
import blocktree.cluster.raft.TestCluster.Node;
import blocktree.crypto.Identity;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class RaftAgreementTest {
    private static final Duration SOON = Duration.ofSeconds(10);

    @TempDir
    Path directory;

    private TestCluster cluster;

    @BeforeEach
    void open() {
        cluster = new TestCluster(directory);
    }

    @AfterEach
    void close() throws Exception {
        cluster.close();
    }

    private static AgreementException assertFails(Code code, CompletableFuture<?> future) {
        ExecutionException e = assertThrows(ExecutionException.class, () -> get(future));
        AgreementException failure = assertInstanceOf(AgreementException.class, e.getCause());
        assertEquals(code, failure.code(), failure.getMessage());
        return failure;
    }

    @Test
    void theOrderIsTheSameOnAllWhoeverProposes() throws Exception {
        cluster.start(3);
        List<CompletableFuture<Void>> open = new ArrayList<>();
        for (int i = 0; i < 300; i++) {
            open.add(cluster.nodes.get(i % 3).propose("entry " + i));
        }
        for (CompletableFuture<Void> one : open) {
            get(one);
        }
        cluster.awaitSame();
        assertEquals(300, Set.copyOf(cluster.nodes.get(0).machine.texts()).size());
    }

    @Test
    void aLoneVoterDecidesAlone() throws Exception {
        cluster.start(1);
        Node node = cluster.nodes.get(0);
        get(node.propose("one"));
        assertEquals(List.of("one"), node.machine.texts());
        assertEquals(cluster.ids(), node.status().voters());
        assertTrue(node.status().lag().isEmpty());
        assertFails(Code.NO_LEADER, node.agreement().handOver(null));
    }

    @Test
    void whatTheMachineDoesNotAdmitIsRefusedWithItsWords() throws Exception {
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        leader.machine.refusal = "not today";
        for (Node node : cluster.nodes) {
            assertEquals(
                    "not today", assertFails(Code.REFUSED, node.propose("no")).getMessage());
        }
        leader.machine.refusal = null;
        leader.machine.admit = entry -> entry.concat(ByteString.copyFromUtf8(", stamped"));
        get(cluster.followers(leader).get(0).propose("yes"));
        cluster.awaitSame();
        assertEquals(List.of("yes, stamped"), leader.machine.texts());
    }

    @Test
    void theOthersGoOnWhenTheLeaderIsKilledAndNothingAcknowledgedIsLost() throws Exception {
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        List<Node> others = cluster.followers(leader);
        List<CompletableFuture<Void>> open = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            open.add(others.get(i % 2).propose("entry " + i));
        }
        get(open.get(50));
        long killedNanos = System.nanoTime();
        leader.messenger().close();
        get(others.get(0).propose("after"));
        long millis = (System.nanoTime() - killedNanos) / 1_000_000;
        leader.kill();
        assertTrue(millis < 3_000, "no new leader for " + millis + " ms");
        cluster.awaitSame();
        List<String> texts = others.get(0).machine.texts();
        for (int i = 0; i < open.size(); i++) {
            try {
                get(open.get(i));
                assertTrue(texts.contains("entry " + i), "entry " + i);
            } catch (ExecutionException e) {
                assertEquals(
                        Code.UNKNOWN,
                        assertInstanceOf(AgreementException.class, e.getCause()).code());
            }
        }
        assertEquals(texts.size(), Set.copyOf(texts).size());
    }

    @Test
    void eachComesBackFromItsDirectoryAndAppliesAgainWhatItsMachineHasLost() throws Exception {
        cluster.start(3);
        for (int i = 0; i < 30; i++) {
            get(cluster.nodes.get(i % 3).propose("entry " + i));
        }
        cluster.awaitSame();
        List<String> before = cluster.nodes.get(0).machine.texts();
        for (Node node : cluster.nodes) {
            node.kill();
            get(cluster.nodes.get((node.number + 1) % 3).propose("while " + node.number + " is away"));
            node.machine = node.machine.afterCrash(10);
            node.start(cluster.ids());
            cluster.awaitSame();
        }
        for (Node node : cluster.nodes) {
            node.kill();
            node.machine = node.machine.afterCrash(1000);
        }
        for (Node node : cluster.nodes) {
            node.start(cluster.ids());
        }
        get(cluster.nodes.get(1).propose("all are back"));
        cluster.awaitSame();
        List<String> after = cluster.nodes.get(2).machine.texts();
        assertEquals(before, after.subList(0, before.size()));
        assertEquals("all are back", after.get(after.size() - 1));
        assertEquals(34, after.size());
    }

    @Test
    void aVoterThatIsTooFarBehindTakesTheStateOverAndThenFollows() throws Exception {
        cluster.configure = options -> options.withLog(8, 0);
        cluster.start(3);
        Node away = cluster.followers(cluster.awaitLeader()).get(0);
        away.kill();
        Node leader = cluster.awaitLeader();
        for (int i = 0; i < 24; i++) {
            get(leader.agreement().propose(large("large " + i, 400 << 10)));
        }
        away.start(cluster.ids());
        get(away.propose("back"));
        cluster.awaitSame();
        assertEquals(1, away.machine.catchUps);
        assertEquals(25, away.machine.texts().size());
        // Some of its entries it has applied itself.
        get(leader.propose("more"));
        cluster.awaitSame();
        assertTrue(away.machine.applications > 0);
    }

    private static ByteString large(String text, int sizeBytes) {
        byte[] bytes = Arrays.copyOf(text.getBytes(UTF_8), sizeBytes);
        return ByteString.copyFrom(bytes);
    }

    @Test
    void aCatchUpIsCompletedUnderANewLeaderThatHasAllEntries() throws Exception {
        cluster.configure =
                options -> options.self().equals(cluster.nodes.get(0).id()) ? options.withLog(8, 0) : options;
        cluster.start(3);
        Node first = cluster.nodes.get(0);
        Node second = cluster.nodes.get(1);
        Node away = cluster.nodes.get(2);
        if (!first.leads()) {
            get(cluster.awaitLeader().agreement().handOver(first.id()));
        }
        away.kill();
        for (int i = 0; i < 24; i++) {
            get(first.agreement().propose(large("large " + i, 400 << 10)));
        }
        CompletableFuture<ListMachine> source = new CompletableFuture<>();
        away.start(cluster.ids(), leader -> source);
        await("its catching up", () -> away.machine.catchUps == 1 ? true : null);
        first.kill();
        await("the other to lead", () -> second.leads() && second.status().lag().size() == 2 ? true : null);
        CompletableFuture<Void> result = second.propose("after");
        assertThrows(TimeoutException.class, () -> result.get(500, TimeUnit.MILLISECONDS));
        source.complete(second.machine);
        get(result);
        cluster.awaitSame();
        assertEquals(1, away.machine.catchUps);
    }

    @Test
    void followersApplyWithoutWaitingForTheLeadersNextWord() throws Exception {
        cluster.configure = options -> options.withTimeouts(Duration.ofSeconds(2), Duration.ofSeconds(10));
        cluster.start(3);
        get(cluster.nodes.get(0).propose("first"));
        cluster.awaitSame();
        long begunNanos = System.nanoTime();
        for (int i = 0; i < 15; i++) {
            get(cluster.nodes.get(i % 3).propose("entry " + i));
            cluster.awaitSame();
        }
        long millis = (System.nanoTime() - begunNanos) / 1_000_000;
        assertTrue(millis < 7_000, "a word a second, and 15 entries in " + millis + " ms");
    }

    @Test
    void aCatchUpThatFailsIsTriedAgain() throws Exception {
        cluster.start(1);
        Node first = cluster.nodes.get(0);
        get(first.propose("one"));
        Node second = cluster.add();
        AtomicInteger failures = new AtomicInteger();
        second.start(Set.of(first.id()));
        Function<PrincipalId, CompletableFuture<ListMachine>> source = second.machine.source;
        second.machine.source = leader -> failures.incrementAndGet() <= 2
                ? CompletableFuture.failedFuture(new IOException("not yet"))
                : source.apply(leader);
        first.messenger()
                .peer(second.id())
                .setAddresses(List.of(cluster.link(first, second).address()));
        get(first.agreement().setVoters(List.of(first.id(), second.id())));
        cluster.awaitSame();
        assertEquals(3, failures.get());
    }

    @Test
    void aLoneVoterBecomesThreeOneByOne() throws Exception {
        cluster.start(1);
        Node first = cluster.nodes.get(0);
        get(first.propose("alone"));
        for (int count = 2; count <= 3; count++) {
            Node next = cluster.add();
            for (Node node : cluster.followers(next)) {
                node.messenger()
                        .peer(next.id())
                        .setAddresses(List.of(cluster.link(node, next).address()));
            }
            next.start(Set.of(first.id()));
            get(first.agreement().setVoters(cluster.nodes.stream().map(Node::id).toList()));
            assertEquals(cluster.ids(), first.status().voters());
            get(next.propose("now " + count));
        }
        cluster.awaitSame();
        assertEquals(List.of("alone", "now 2", "now 3"), first.machine.texts());
        for (Node node : cluster.followers(first)) {
            assertEquals(1, node.machine.catchUps);
        }
        first.kill();
        get(cluster.nodes.get(1).propose("without the first"));
    }

    @Test
    void oneVoterBecomesThreeAtOnceAndOneAgain() throws Exception {
        cluster.start(1);
        Node first = cluster.nodes.get(0);
        for (int i = 0; i < 2; i++) {
            Node next = cluster.add();
            for (Node node : cluster.followers(next)) {
                node.messenger()
                        .peer(next.id())
                        .setAddresses(List.of(cluster.link(node, next).address()));
            }
            next.start(Set.of(first.id()));
        }
        get(first.agreement().setVoters(cluster.nodes.stream().map(Node::id).toList()));
        get(first.propose("three"));
        get(first.agreement().setVoters(List.of(first.id())));
        get(first.propose("one"));
        assertEquals(Set.of(first.id()), first.status().voters());
        assertEquals(List.of("three", "one"), first.machine.texts());
    }

    @Test
    void aVoterThatIsNotThereIsNotTakenIn() throws Exception {
        cluster.configure = options -> options.withTimeouts(Duration.ofMillis(200), Duration.ofSeconds(4));
        cluster.start(1);
        Node first = cluster.nodes.get(0);
        assertFails(
                Code.NO_LEADER,
                first.agreement()
                        .setVoters(List.of(first.id(), Identity.generate().id())));
        get(first.propose("alone"));
        assertEquals(cluster.ids(), first.status().voters());
    }

    @Test
    void leadershipIsHandedOver() throws Exception {
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        Node next = cluster.followers(leader).get(1);
        assertFails(Code.NO_LEADER, next.agreement().handOver(null));
        get(leader.agreement().handOver(next.id()));
        assertEquals(next, cluster.awaitLeader());
        get(next.agreement().handOver(null));
        Node third = cluster.awaitLeader();
        assertFalse(third == next);
        long termBefore = third.status().term();
        third.stop();
        Node fourth = cluster.awaitLeader();
        get(fourth.propose("and on"));
        assertEquals(termBefore + 1, fourth.status().term());
    }

    private static void hang(Node node, CompletableFuture<Void> until) {
        node.machine.prepare = entry ->
                entry.toStringUtf8().startsWith("slow") ? until.copy() : CompletableFuture.completedFuture(null);
    }

    @Test
    void oneVoterThatCannotPrepareHoldsNobodyUpBeItTheLeader() throws Exception {
        cluster.start(3);
        for (Node slow : List.of(cluster.followers(cluster.awaitLeader()).get(0), cluster.awaitLeader())) {
            hang(slow, new CompletableFuture<>());
            Node leader = cluster.awaitLeader();
            get(leader.propose("slow of " + slow.number));
            get(slow.propose("after slow of " + slow.number));
            cluster.awaitSame();
            assertEquals(leader, cluster.awaitLeader());
            slow.machine.prepare = entry -> CompletableFuture.completedFuture(null);
        }
    }

    @Test
    void anEntryThatTwoOfThreeCannotPrepareIsNotCommittedUntilOneCan() throws Exception {
        cluster.configure = options -> options.withTimeouts(Duration.ofMillis(300), Duration.ofSeconds(20));
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        for (List<Node> slow : List.of(
                cluster.followers(leader),
                List.of(leader, cluster.followers(leader).get(0)))) {
            List<CompletableFuture<Void>> ends = List.of(new CompletableFuture<>(), new CompletableFuture<>());
            hang(slow.get(0), ends.get(0));
            hang(slow.get(1), ends.get(1));
            get(leader.propose("before"));
            long before = leader.status().committed();
            CompletableFuture<Void> result = leader.propose("slow of two");
            CompletableFuture<Void> later = leader.propose("later");
            // Longer than an election takes: nobody is deposed for it, and no word between makes it acknowledged.
            assertThrows(TimeoutException.class, () -> result.get(1500, TimeUnit.MILLISECONDS));
            assertFalse(later.isDone());
            assertEquals(before, leader.status().committed());
            assertEquals(leader, cluster.awaitLeader());
            ends.get(1).complete(null);
            get(result);
            get(later);
            cluster.awaitSame();
        }
    }

    @Test
    void aLoneVoterAcknowledgesNothingThatItHasNotPrepared() throws Exception {
        cluster.start(1);
        Node node = cluster.nodes.get(0);
        CompletableFuture<Void> end = new CompletableFuture<>();
        hang(node, end);
        CompletableFuture<Void> result = node.propose("slow");
        assertThrows(TimeoutException.class, () -> result.get(500, TimeUnit.MILLISECONDS));
        assertTrue(node.machine.texts().isEmpty());
        end.complete(null);
        get(result);
    }

    @Test
    void whatWasNotPreparedBeforeARestartIsNotAcknowledgedAfterIt() throws Exception {
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        Node slow = cluster.followers(leader).get(0);
        Node gone = cluster.followers(leader).get(1);
        gone.kill();
        CompletableFuture<Void> seen = new CompletableFuture<>();
        slow.machine.prepare = entry -> {
            seen.complete(null);
            return new CompletableFuture<>();
        };
        CompletableFuture<Void> result = leader.propose("slow");
        get(seen);
        assertFalse(result.isDone());
        CompletableFuture<Void> end = new CompletableFuture<>();
        slow.kill();
        slow.machine = slow.machine.afterCrash(0);
        hang(slow, end);
        slow.start(cluster.ids());
        cluster.awaitLeader();
        // A new leader's first entry, and words without entries, come after it.
        assertThrows(TimeoutException.class, () -> slow.propose("later").get(2, TimeUnit.SECONDS));
        assertTrue(leader.machine.texts().isEmpty());
        assertTrue(slow.machine.texts().isEmpty());
        end.complete(null);
        cluster.awaitLeader();
        await(
                "the entry",
                () -> leader.machine.texts().contains("slow")
                                && slow.machine.texts().contains("slow")
                        ? true
                        : null);
    }

    @Test
    void aMachineThatCannotApplyStopsItsVoterOnly() throws Exception {
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        Node bad = cluster.followers(leader).get(0);
        bad.machine.poison = "poison";
        get(leader.propose("good"));
        cluster.awaitSame();
        int before = bad.machine.applications;
        get(leader.propose("poison"));
        get(leader.propose("after"));
        await("its end", () -> bad.status().stopped());
        assertFails(Code.STOPPED, bad.propose("no"));
        assertEquals(before + 1, bad.machine.applications);
        assertEquals(List.of("good"), bad.machine.texts());
        get(cluster.followers(leader).get(1).propose("still"));

        leader.machine.poison = "poison of the leader";
        CompletableFuture<Void> result = leader.propose("poison of the leader");
        await("its end", () -> leader.status().stopped());
        assertThrows(ExecutionException.class, () -> get(result));
    }

    @Test
    void entriesOfTheLargestSizeGoThroughAndLargerOnesDoNot() throws Exception {
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        List<CompletableFuture<Void>> open = new ArrayList<>();
        for (int i = 0; i < 12; i++) {
            open.add(cluster.nodes
                    .get(i % 3)
                    .agreement()
                    .propose(large("large " + i, RaftSettings.ENTRY_SIZE_BYTES_MAX)));
        }
        for (CompletableFuture<Void> one : open) {
            get(one);
        }
        cluster.awaitSame();
        ByteString tooLarge = large("too large", RaftSettings.ENTRY_SIZE_BYTES_MAX + 1);
        for (Node node : cluster.nodes) {
            AgreementException e = assertFails(Code.REFUSED, node.agreement().propose(tooLarge));
            assertEquals("an entry has at most 524288 bytes, not 524289", e.getMessage());
        }
        leader.machine.admit = entry -> tooLarge;
        assertFails(Code.REFUSED, leader.propose("grows"));
    }

    @Test
    void nobodyButVotersIsHeardAndNonsenseHurtsNobody() throws Exception {
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        Node stranger = cluster.add();
        leader.messenger()
                .peer(stranger.id())
                .setAddresses(List.of(cluster.link(leader, stranger).address()));
        stranger.connect();
        Peer toLeader = stranger.messenger().peer(leader.id());
        toLeader.whenConnected().get(20, TimeUnit.SECONDS);
        for (String service : List.of("raft", "raft.propose")) {
            assertEquals(MessageException.Code.DENIED, failure(toLeader.request(service, new byte[] {2}, SOON)));
        }
        Peer fromVoter = cluster.followers(leader).stream()
                .filter(Node::isThere)
                .findFirst()
                .orElseThrow()
                .messenger()
                .peer(leader.id());
        Random random = new Random(7);
        assertEquals(MessageException.Code.FAILED, failure(fromVoter.request("raft", new byte[0], SOON)));
        for (int kind = 0; kind < 7; kind++) {
            for (int i = 0; i < 20; i++) {
                byte[] body = new byte[1 + random.nextInt(40)];
                random.nextBytes(body);
                body[0] = (byte) kind;
                // Some are messages, and answered as such.
                fromVoter
                        .request("raft", body, SOON)
                        .handle((reply, failure) -> true)
                        .get(20, TimeUnit.SECONDS);
            }
        }
        get(cluster.awaitLeader().propose("still"));
    }

    private static MessageException.Code failure(CompletableFuture<byte[]> reply) {
        ExecutionException e = assertThrows(ExecutionException.class, () -> get(reply));
        return assertInstanceOf(MessageException.class, e.getCause()).code();
    }

    @Test
    void aLeaderThatIsCutOffIsReplacedAndFollowsWhenItIsBack() throws Exception {
        cluster.configure = options -> options.withTimeouts(Duration.ofMillis(500), Duration.ofMillis(2500));
        cluster.start(3);
        Node old = cluster.awaitLeader();
        List<Node> others = cluster.followers(old);
        get(old.propose("before"));
        for (Node other : others) {
            cluster.link(old, other).cut();
        }
        CompletableFuture<Void> lost = old.propose("lost");
        await("another leader", () -> others.stream().anyMatch(Node::leads) ? true : null);
        get(others.get(0).propose("meanwhile"));
        get(others.get(1).propose("meanwhile too"));
        assertFails(Code.UNKNOWN, lost);
        assertFails(Code.NO_LEADER, old.propose("nowhere"));
        for (Node other : others) {
            cluster.link(old, other).heal();
        }
        cluster.awaitSame();
        assertEquals(List.of("before", "meanwhile", "meanwhile too"), old.machine.texts());
        get(old.propose("after"));
    }

    @Test
    void aVoterWhoseLogCannotBeWrittenStops() throws Exception {
        cluster.start(3);
        Node leader = cluster.awaitLeader();
        Node bad = cluster.followers(leader).get(0);
        get(leader.propose("first"));
        cluster.awaitSame();
        try (Stream<Path> files = Files.walk(cluster.directory(bad))) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.delete(file);
            }
        }
        // Its open file has no name any more: the next cannot take its place.
        for (int i = 0; i < 12; i++) {
            get(leader.agreement().propose(large("large " + i, 400 << 10)));
        }
        await("its end", () -> bad.status().stopped());
        assertFails(Code.STOPPED, bad.propose("no"));
        get(leader.propose("on"));
    }
}
