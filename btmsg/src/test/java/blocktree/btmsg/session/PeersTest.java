package blocktree.btmsg.session;

import static blocktree.btmsg.session.Eventually.assertEventually;
import static java.util.concurrent.CompletableFuture.completedFuture;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.Identity;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(180)
class PeersTest {
    private static final Duration SOON = Duration.ofSeconds(20);

    private final TestTree tree = new TestTree();
    /** What is tested lies above it. */
    private final Platform platform = Platform.best();

    private static Service echo() {
        return Service.ofMessages("echo", 2, 1000, call -> completedFuture(call.body()));
    }

    @Test
    void nodesThatDialOneAnotherAtOnceEndWithOneSessionAndLoseNoRequest() throws Exception {
        for (int round = 0; round < 8; round++) {
            try (TestNode a = new TestNode(tree, platform);
                    TestNode b = new TestNode(tree, platform)) {
                a.messenger.register(echo());
                b.messenger.register(echo());
                Peer toB = a.peer(b);
                Peer toA = b.peer(a);
                toB.setAddresses(List.of(b.address));
                toA.setAddresses(List.of(a.address));
                toB.whenConnected().get(30, TimeUnit.SECONDS);
                toA.whenConnected().get(30, TimeUnit.SECONDS);
                List<CompletableFuture<byte[]>> replies = new ArrayList<>();
                long endNanos = System.nanoTime() + 300_000_000L;
                while (System.nanoTime() < endNanos) {
                    replies.add(toB.request("echo", new byte[100], SOON));
                    replies.add(toA.request("echo", new byte[100], SOON));
                    Thread.sleep(1);
                }
                for (CompletableFuture<byte[]> reply : replies) {
                    assertEquals(100, reply.get(30, TimeUnit.SECONDS).length);
                }
                assertEventually(
                        () -> toB.sessions().size() == 1 && toA.sessions().size() == 1, "one session is left");
                assertEquals(
                        toB.sessions().get(0).terms().dialled(),
                        !toA.sessions().get(0).terms().dialled());
                if (toB.stats().sessions() > 1) {
                    assertEquals(
                            a.id().compareTo(b.id()) < 0,
                            toB.sessions().get(0).terms().dialled(),
                            "the session of the lower principal stays");
                }
            }
        }
    }

    @Test
    void aPeerThatComesBackIsFoundAgain() throws Exception {
        Identity id = Identity.generate();
        try (TestNode a = new TestNode(tree, platform)) {
            Peer peer;
            try (TestNode b = new TestNode(tree, id, platform)) {
                peer = a.connect(b);
            }
            assertEventually(() -> !peer.isConnected(), "the loss is noticed");
            assertThrows(MessageException.class, () -> peer.oneWay("echo", new byte[0]));
            try (TestNode again = new TestNode(tree, id, platform)) {
                peer.setAddresses(List.of(again.address));
                peer.whenConnected().get(30, TimeUnit.SECONDS);
                assertEquals(2, peer.stats().sessions());
            }
        }
    }

    @Test
    void addressesAreTriedInTurn() throws Exception {
        int closedPort;
        try (ServerSocket socket = new ServerSocket(0)) {
            closedPort = socket.getLocalPort();
        }
        try (TestNode a = new TestNode(tree, platform);
                TestNode b = new TestNode(tree, platform)) {
            Peer peer = a.peer(b);
            peer.setAddresses(List.of(
                    new InetSocketAddress("127.0.0.1", closedPort),
                    InetSocketAddress.createUnresolved("localhost", b.address.getPort())));
            peer.whenConnected().get(30, TimeUnit.SECONDS);
        }
    }

    /** As those of one name are. */
    @Test
    void addressesOfOneTryAreDialledUntilOneAnswers() throws Exception {
        int closedPort;
        try (ServerSocket socket = new ServerSocket(0)) {
            closedPort = socket.getLocalPort();
        }
        InetSocketAddress closed = new InetSocketAddress("127.0.0.1", closedPort);
        try (TestNode a = new TestNode(tree, platform);
                TestNode b = new TestNode(tree, platform)) {
            CompletableFuture<Session> found = new CompletableFuture<>();
            a.messenger.dialInTurn(b.id(), List.of(closed, b.address), found);
            assertEquals(b.id(), found.get(30, TimeUnit.SECONDS).peer().principal());
            CompletableFuture<Session> none = new CompletableFuture<>();
            a.messenger.dialInTurn(b.id(), List.of(closed, closed), none);
            assertThrows(ExecutionException.class, () -> none.get(30, TimeUnit.SECONDS));
        }
    }

    @Test
    void theAddressThatWorkedIsTriedFirstAgain() throws Exception {
        try (ServerSocket silent = new ServerSocket(0);
                TestNode a = new TestNode(tree, platform);
                TestNode b = new TestNode(tree, platform)) {
            Peer toB = a.peer(b);
            toB.setAddresses(List.of(b.address, addressOf(silent)));
            for (int sessions = 1; sessions <= 3; sessions++) {
                int expected = sessions;
                assertEventually(() -> toB.stats().sessions() == expected && toB.isConnected(), "there is a session");
                Thread.sleep(200); // until the dialler has heard of it
                if (sessions < 3) {
                    toB.sessions().forEach(session -> session.leave(Session.Goodbye.OTHER, "a test"));
                }
            }
            silent.setSoTimeout(1);
            assertThrows(SocketTimeoutException.class, silent::accept, "the other address was not needed");
        }
    }

    private static InetSocketAddress addressOf(ServerSocket socket) {
        return new InetSocketAddress("127.0.0.1", socket.getLocalPort());
    }

    @Test
    void aNoticeBeginsATryThoughAnotherStillWaitsAndTheSameAddressesDoNot() throws Exception {
        try (ServerSocket silent = new ServerSocket(0);
                TestNode a = new TestNode(tree, platform)) {
            silent.setSoTimeout(5_000); // half of what a try may take
            Peer peer = a.messenger.peer(Identity.generate().id());
            peer.setAddresses(List.of(addressOf(silent)));
            try (Socket first = silent.accept()) {
                a.messenger.networkChanged();
                try (Socket second = silent.accept()) {
                    silent.setSoTimeout(1_000);
                    peer.setAddresses(List.of(addressOf(silent)));
                    assertThrows(SocketTimeoutException.class, silent::accept);
                    assertTrue(!first.isClosed() && !second.isClosed());
                }
            }
        }
    }

    @Test
    void dialsBecomeRareWhileNobodyAnswers() throws Exception {
        List<Long> tries = java.util.Collections.synchronizedList(new ArrayList<>());
        try (ServerSocket deaf = new ServerSocket(0);
                TestNode a = new TestNode(tree, platform)) {
            Thread counter = new Thread(() -> {
                try {
                    while (true) {
                        try (Socket socket = deaf.accept()) {
                            tries.add(System.nanoTime());
                        }
                    }
                } catch (java.io.IOException e) {
                    // closed
                }
            });
            counter.setDaemon(true);
            counter.start();
            Peer peer = a.messenger.peer(Identity.generate().id());
            peer.setAddresses(List.of(addressOf(deaf)));
            assertEventually(() -> tries.size() >= 8, "it is tried again");
            Thread.sleep(3000);
            int before = tries.size();
            Thread.sleep(3000);
            int rare = tries.size() - before;
            assertTrue(rare >= 2 && rare < 60, rare + " tries in 3 s, each after 0 to 0.5 s");
            a.messenger.networkChanged();
        }
    }

    @Test
    void sessionsThatDoNotLastBecomeRareToo() throws Exception {
        try (TestNode a = new TestNode(tree, platform);
                TestNode b = new TestNode(tree, platform)) {
            Peer toB = a.peer(b);
            Peer toA = b.peer(a);
            toB.setAddresses(List.of(b.address));
            long endNanos = System.nanoTime() + 4_000_000_000L;
            while (System.nanoTime() < endNanos) {
                toA.sessions().forEach(session -> session.leave(Session.Goodbye.OTHER, "a test"));
                Thread.sleep(1);
            }
            // where they are ended: the one who dials may hear of the end before it has the session
            long sessions = toA.stats().sessions();
            assertTrue(sessions >= 3 && sessions < 80, sessions + " sessions in 4 s, each after up to 0.5 s");
        }
    }

    @Test
    void whoHasComeOfItselfIsForgottenWithItsSession() throws Exception {
        try (TestNode host = new TestNode(tree, platform);
                TestNode asked = new TestNode(tree, platform)) {
            Peer kept = host.peer(asked);
            for (int i = 0; i < 3; i++) {
                try (TestNode guest = new TestNode(tree, platform)) {
                    Peer toHost = guest.peer(host);
                    toHost.setAddresses(List.of(host.address));
                    toHost.whenConnected().get(30, TimeUnit.SECONDS);
                    assertEquals(2, host.messenger.peers().size());
                }
                assertEventually(() -> List.of(kept).equals(List.copyOf(host.messenger.peers())), "it is forgotten");
            }
            asked.connect(host);
            assertTrue(kept.isConnected());
        }
    }

    /** One side has noticed that the link is gone and dials: the other has not, and its principal is the lower one. */
    @Test
    void aNewSessionReplacesAnOldOneWhoeverOpenedThem() throws Exception {
        Limits hasty = TestNode.limits(new Limits.Times(2_000, 10_000, 25_000, 10_000, 20, 500, 10_000));
        try (TestNode one = new TestNode(tree, platform, hasty);
                TestNode two = new TestNode(tree, platform, hasty)) {
            TestNode lower = one.id().compareTo(two.id()) < 0 ? one : two;
            TestNode higher = lower == one ? two : one;
            higher.messenger.register(echo());
            try (SlowLink link = new SlowLink(higher.address, 100 << 20)) {
                Peer toHigher = lower.peer(higher);
                toHigher.setAddresses(List.of(link.address()));
                toHigher.whenConnected().get(30, TimeUnit.SECONDS);
                toHigher.setAddresses(List.of());
                Thread.sleep(6_500);
                assertEquals(1, toHigher.stats().sessions());
                link.cut();
                higher.messenger.dial(lower.id(), lower.address).get(30, TimeUnit.SECONDS);
                assertEventually(() -> toHigher.stats().sessions() == 2, "it has begun here too");
                assertEquals(
                        3,
                        toHigher.request("echo", new byte[3], Duration.ofSeconds(8))
                                .get(30, TimeUnit.SECONDS)
                                .length);
            }
        }
    }

    /** The link goes silent without closing: no word of the peer ends the session on both sides. */
    @Test
    void aSilentPeerIsLost() throws Exception {
        Limits hasty = TestNode.limits(new Limits.Times(10_000, 400, 1500, 10_000, 20, 500, 10_000));
        try (TestNode a = new TestNode(tree, platform, hasty);
                TestNode b = new TestNode(tree, platform, hasty);
                SlowLink link = new SlowLink(b.address, 100 << 20)) {
            Peer peer = a.peer(b);
            peer.setAddresses(List.of(link.address()));
            peer.whenConnected().get(30, TimeUnit.SECONDS);
            Thread.sleep(3000);
            assertEquals(1, peer.stats().sessions(), "pings keep an idle session");
            link.cut();
            peer.setAddresses(List.of());
            assertEventually(() -> !peer.isConnected(), "silence is noticed");
        }
    }
}
