package blocktree.btmsg.session;

import static blocktree.btmsg.session.Eventually.assertEventually;
import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.CompletableFuture.completedFuture;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.session.MessageException.Code;
import blocktree.crypto.Identity;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Timeout(120)
@ParameterizedClass
@EnumSource(Platform.class)
class MessagesTest {
    private static final Duration SOON = Duration.ofSeconds(20);

    private final TestTree tree = new TestTree();
    private final Platform platform;
    private final TestNode a;
    private final TestNode b;

    MessagesTest(Platform platform) {
        this.platform = platform;
        a = new TestNode(tree, platform);
        b = new TestNode(tree, platform);
    }

    @AfterEach
    void close() {
        a.close();
        b.close();
    }

    private static byte[] bytes(String text) {
        return text.getBytes(UTF_8);
    }

    private static Service echo() {
        return Service.ofMessages("echo", 2, 2000, call -> completedFuture(call.body()));
    }

    private static byte[] get(CompletableFuture<byte[]> reply) throws Exception {
        return reply.get(30, TimeUnit.SECONDS);
    }

    private static MessageException assertFails(Code code, CompletableFuture<byte[]> reply) {
        ExecutionException e = assertThrows(ExecutionException.class, () -> get(reply));
        MessageException failure = assertInstanceOf(MessageException.class, e.getCause());
        assertEquals(code, failure.code(), failure.getMessage());
        return failure;
    }

    @ParameterizedTest
    @EnumSource(Platform.class)
    void bothSidesAskOverTheSessionThatOneHasOpened(Platform other) throws Exception {
        try (TestNode c = new TestNode(tree, Identity.generate(), platform);
                TestNode d = new TestNode(tree, Identity.generate(), other)) {
            c.messenger.register(echo());
            d.messenger.register(echo());
            Peer toD = c.connect(d);
            assertArrayEquals(bytes("there"), get(toD.request("echo", bytes("there"), SOON)));
            assertArrayEquals(bytes("back"), get(d.peer(c).request("echo", bytes("back"), SOON)));
            PeerIdentity seen = Objects.requireNonNull(toD.identity());
            assertEquals("/test", seen.nodePath());
            assertEquals(d.id(), seen.principal());
            assertEquals(1, toD.version());
        }
    }

    @Test
    void bodiesOfAllSizesUpToTheBoundArriveUnchanged() throws Exception {
        b.messenger.register(echo());
        Peer peer = a.connect(b);
        for (int size : new int[] {0, 1, 127, 128, 16_384, 100_000, MessageLane.BODY_SIZE_BYTES_MAX}) {
            byte[] body = new byte[size];
            new java.util.Random(size).nextBytes(body);
            assertArrayEquals(body, get(peer.request("echo", body, SOON)));
        }
        assertFails(Code.TOO_LARGE, peer.request("echo", new byte[MessageLane.BODY_SIZE_BYTES_MAX + 1], SOON));
        b.messenger.register(Service.ofMessages("big", 1, 1, call -> completedFuture(new byte[2 << 20])));
        assertFails(Code.TOO_LARGE, peer.request("big", new byte[0], SOON));
    }

    @Test
    void manyRequestsAtOnceFindTheirReplies() throws Exception {
        b.messenger.register(echo());
        Peer peer = a.connect(b);
        for (int round = 0; round < 5; round++) {
            List<CompletableFuture<byte[]>> replies = new ArrayList<>();
            for (int i = 0; i < 1000; i++) {
                replies.add(peer.request("echo", bytes("message " + i), SOON));
            }
            for (int i = 0; i < replies.size(); i++) {
                assertArrayEquals(bytes("message " + i), get(replies.get(i)));
            }
        }
        assertEquals(5000, peer.stats().requests());
        assertEquals(0, peer.stats().failures());
    }

    @Test
    void handlersKnowWhoAsksAndMayRefuse() throws Exception {
        b.messenger.register(Service.ofMessages(
                "who", 1, 10, call -> completedFuture(call.caller().principal().toBytes())));
        b.messenger.register(
                echoNamed("closed").onlyFor(peer -> !peer.principal().equals(a.id())));
        Peer peer = a.connect(b);
        assertArrayEquals(a.id().toBytes(), get(peer.request("who", new byte[0], SOON)));
        assertFails(Code.DENIED, peer.request("closed", new byte[0], SOON));
        assertFails(Code.NO_SERVICE, peer.request("absent", new byte[0], SOON));
    }

    private static Service echoNamed(String name) {
        return Service.ofMessages(name, 1, 10, call -> completedFuture(call.body()));
    }

    @Test
    void whatAHandlerSaysWentWrongIsToldAndWhatItDoesNotSayIsNot() throws Exception {
        b.messenger.register(Service.ofMessages("says", 1, 10, call -> {
            throw new MessageException(Code.FAILED, "no more of it");
        }));
        b.messenger.register(Service.ofMessages(
                "later", 1, 10, call -> CompletableFuture.failedFuture(new MessageException(Code.BUSY, "not now"))));
        Peer peer = a.connect(b);
        assertEquals(
                "no more of it",
                assertFails(Code.FAILED, peer.request("says", new byte[0], SOON))
                        .getMessage());
        assertFails(Code.BUSY, peer.request("later", new byte[0], SOON));
        assertEquals(2, peer.stats().failures());
    }

    @Test
    void aHandlerThatBreaksIsAFailureAndGivesItsPlaceBack() throws Exception {
        b.messenger.register(Service.ofMessages("breaks", 1, 1, call -> {
            throw new IllegalStateException("secret");
        }));
        b.messenger.register(Service.ofMessages("breaks more", 1, 1, call -> {
            throw new StackOverflowError();
        }));
        b.messenger.register(Service.ofMessages("nothing", 1, 1, call -> nothing()));
        Peer peer = a.connect(b);
        for (int i = 0; i < 3; i++) {
            for (String service : List.of("breaks", "breaks more", "nothing")) {
                MessageException failure = assertFails(Code.FAILED, peer.request(service, new byte[0], SOON));
                assertEquals("service " + service + " failed", failure.getMessage());
            }
        }
        b.messenger.register(echoNamed("undecided").onlyFor(caller -> {
            throw new IllegalStateException("a test");
        }));
        assertFails(Code.DENIED, peer.request("undecided", new byte[0], SOON));
        assertEquals(1, peer.stats().sessions());
        assertTrue(peer.isConnected());
    }

    @SuppressWarnings({"NullAway", "DataFlowIssue"}) // what a handler with a bug gives
    private static CompletableFuture<byte[]> nothing() {
        return completedFuture(null);
    }

    @Test
    void aDeadlineIsKeptOnBothSides() throws Exception {
        CompletableFuture<Call> called = new CompletableFuture<>();
        CountDownLatch cancelled = new CountDownLatch(1);
        CompletableFuture<byte[]> never = new CompletableFuture<>();
        b.messenger.register(Service.ofMessages("never", 1, 10, call -> {
            call.onCancel(cancelled::countDown);
            called.complete(call);
            return never;
        }));
        Peer peer = a.connect(b);
        assertFails(Code.TIMED_OUT, peer.request("never", new byte[0], Duration.ofMillis(500)));
        assertTrue(called.get(10, TimeUnit.SECONDS).remainingMillis() <= 500);
        assertTrue(cancelled.await(10, TimeUnit.SECONDS));
        never.complete(bytes("late, and dropped"));
        b.messenger.register(echo());
        assertArrayEquals(bytes("x"), get(peer.request("echo", bytes("x"), SOON)));
    }

    @Test
    void cancellingTheFutureTellsTheHandler() throws Exception {
        CountDownLatch called = new CountDownLatch(1);
        CountDownLatch cancelled = new CountDownLatch(1);
        b.messenger.register(Service.ofMessages("slow", 1, 10, call -> {
            call.onCancel(cancelled::countDown);
            called.countDown();
            return new CompletableFuture<>();
        }));
        CompletableFuture<byte[]> reply = a.connect(b).request("slow", new byte[0], SOON);
        assertTrue(called.await(10, TimeUnit.SECONDS));
        reply.cancel(false);
        assertTrue(cancelled.await(10, TimeUnit.SECONDS));
    }

    @Test
    void aServiceThatIsStuckIsBusyAndStopsNoOther() throws Exception {
        CountDownLatch release = new CountDownLatch(1);
        b.messenger.register(Service.ofMessages("stuck", 1, 5, call -> {
            try {
                release.await();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            return completedFuture(call.body());
        }));
        b.messenger.register(echo());
        Peer peer = a.connect(b);
        List<CompletableFuture<byte[]>> waiting = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            waiting.add(peer.request("stuck", bytes("s" + i), SOON));
        }
        assertFails(Code.BUSY, peer.request("stuck", new byte[0], SOON));
        assertArrayEquals(bytes("goes on"), get(peer.request("echo", bytes("goes on"), SOON)));
        release.countDown();
        for (CompletableFuture<byte[]> one : waiting) {
            get(one);
        }
        assertArrayEquals(bytes("again"), get(peer.request("stuck", bytes("again"), SOON)));
    }

    @Test
    void whatIsUnderWayToOnePeerIsBoundedByCountAndBytes() throws Exception {
        CompletableFuture<byte[]> answer = new CompletableFuture<>();
        b.messenger.register(Service.ofMessages("wait", 1, 5000, call -> answer));
        Peer peer = a.connect(b);
        List<CompletableFuture<byte[]>> waiting = new ArrayList<>();
        for (int i = 0; i < TestNode.LIMITS.requestsMax(); i++) {
            waiting.add(peer.request("wait", new byte[0], SOON));
        }
        assertFails(Code.BUSY, peer.request("wait", new byte[0], SOON));
        answer.complete(bytes("now"));
        for (CompletableFuture<byte[]> one : waiting) {
            assertArrayEquals(bytes("now"), get(one));
        }
    }

    /** Each waits in its handler for the other, many times: nothing that is read waits for a handler. */
    @Test
    void handlersMayAskTheOneWhoAsks() throws Exception {
        for (TestNode[] pair : new TestNode[][] {{a, b}, {b, a}}) {
            pair[0].messenger.register(echo());
            pair[0].messenger.register(Service.ofMessages(
                    "mirror", 4, 600, call -> pair[0].peer(pair[1]).request("echo", call.body(), SOON)));
        }
        Peer toB = a.connect(b);
        Peer toA = b.peer(a);
        byte[] body = new byte[20_000];
        List<CompletableFuture<byte[]>> replies = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            replies.add(toB.request("mirror", body, SOON));
            replies.add(toA.request("mirror", body, SOON));
        }
        for (CompletableFuture<byte[]> reply : replies) {
            assertEquals(body.length, get(reply).length);
        }
    }

    @Test
    void oneWayMessagesArriveInOrder() throws Exception {
        LinkedBlockingQueue<String> heard = new LinkedBlockingQueue<>();
        b.messenger.register(Service.ofMessages("ear", 1, 1000, call -> {
            assertTrue(call.isOneWay());
            heard.add(new String(call.body(), UTF_8));
            return completedFuture(new byte[0]);
        }));
        Peer peer = a.connect(b);
        for (int i = 0; i < 500; i++) {
            peer.oneWay("ear", bytes("word " + i));
        }
        for (int i = 0; i < 500; i++) {
            assertEquals("word " + i, heard.poll(20, TimeUnit.SECONDS));
        }
    }

    @Test
    void theEndOfASessionFailsWhatIsOpenAndCancelsWhatIsServed() throws Exception {
        CountDownLatch called = new CountDownLatch(1);
        CountDownLatch cancelled = new CountDownLatch(1);
        b.messenger.register(Service.ofMessages("wait", 1, 10, call -> {
            call.onCancel(cancelled::countDown);
            called.countDown();
            return new CompletableFuture<>();
        }));
        Peer peer = a.connect(b);
        CompletableFuture<byte[]> reply = peer.request("wait", new byte[0], SOON);
        assertTrue(called.await(10, TimeUnit.SECONDS));
        peer.setAddresses(List.of());
        b.messenger.close();
        assertFails(Code.DISCONNECTED, reply);
        assertTrue(cancelled.await(10, TimeUnit.SECONDS));
        assertFalse(peer.isConnected());
        assertFails(Code.DISCONNECTED, peer.request("wait", new byte[0], SOON));
        assertThrows(MessageException.class, () -> peer.oneWay("wait", new byte[0]));
    }

    @Test
    void pingsMeasureTheRoundTripAndTrafficIsCounted() throws Exception {
        b.messenger.register(echo());
        Peer peer = a.connect(b);
        get(peer.request("echo", new byte[100_000], SOON));
        assertEventually(() -> peer.stats().rttNanos() > 0, "a ping is answered");
        PeerStats stats = peer.stats();
        assertTrue(stats.connected());
        assertTrue(stats.bytesOut() > 100_000 && stats.bytesIn() > 100_000, stats.toString());
        assertEquals(1, stats.sessions());
        assertTrue(Math.abs(stats.clockDifferenceMillis()) < 10_000);
    }

    @Test
    void namesOfServicesAreBoundedAndTakenOnce() {
        a.messenger.register(echo());
        assertThrows(IllegalArgumentException.class, () -> a.messenger.register(echo()));
        assertThrows(IllegalArgumentException.class, () -> echoNamed(""));
        assertThrows(IllegalArgumentException.class, () -> echoNamed("x".repeat(65)));
        assertThrows(IllegalArgumentException.class, () -> a.peer(b).request("x".repeat(65), new byte[0], SOON));
    }
}
