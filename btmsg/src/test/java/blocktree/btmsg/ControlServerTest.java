package blocktree.btmsg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class ControlServerTest {
    private static final Duration TIMEOUT = Duration.ofSeconds(20);

    @TempDir
    Path directory;

    private final CountDownLatch released = new CountDownLatch(1);
    private final CountDownLatch syncEntered = new CountDownLatch(1);
    private final AtomicInteger syncsUnderWay = new AtomicInteger();
    private final AtomicInteger partsSent = new AtomicInteger();
    private Path socket = Path.of("");
    private ControlServer server;

    /** Sync waits for the test; fsck sends far more than a socket holds; unmount fails by accident. */
    private final ControlHandler handler = new ControlHandler() {
        @Override
        public ControlReply.Welcome welcome() {
            return new ControlReply.Welcome(ControlCodec.PROTOCOL_VERSION, "test", 1, "tree");
        }

        @Override
        public ControlReply handle(ControlRequest request, Stream stream) {
            if (request instanceof ControlRequest.Sync) {
                syncsUnderWay.incrementAndGet();
                syncEntered.countDown();
                await(released);
            } else if (request instanceof ControlRequest.Fsck) {
                try {
                    for (int i = 0; i < 20_000; i++) {
                        stream.send(new ControlReply.Finding("info", "k", "s", "x".repeat(1000), false));
                        partsSent.incrementAndGet();
                    }
                } catch (ControlException e) {
                    return new ControlReply.Failed(1, "", "", "");
                }
                return new ControlReply.Checked(Map.of());
            } else if (request instanceof ControlRequest.Unmount) {
                throw new IllegalStateException("a bug");
            }
            return new ControlReply.Done();
        }
    };

    @BeforeEach
    void start() throws IOException {
        socket = directory.resolve("control.sock");
        server = ControlServer.start(socket, handler);
    }

    @AfterEach
    void stop() throws IOException {
        released.countDown();
        server.close();
    }

    @Test
    void isClosedToOtherUsersAndGoneAfterwards() throws IOException {
        assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)));
        server.close();
        assertFalse(Files.exists(socket));
    }

    @Test
    void answersRequestsOfSeveralClients() throws IOException {
        try (ControlClient first = ControlClient.connect(socket);
                ControlClient second = ControlClient.connect(socket)) {
            assertEquals("tree", first.greet(TIMEOUT).tree());
            second.greet(TIMEOUT);
            assertEquals(new ControlReply.Done(), first.call(new ControlRequest.Status(), TIMEOUT));
            assertEquals(new ControlReply.Done(), second.call(new ControlRequest.Status(), TIMEOUT));
        }
    }

    @Test
    void aSlowRequestDoesNotHoldUpAnotherOnTheSameConnection() throws Exception {
        try (ControlClient client = connect()) {
            CompletableFuture<ControlReply> slow =
                    CompletableFuture.supplyAsync(() -> call(client, new ControlRequest.Sync()));
            assertTrue(syncEntered.await(20, TimeUnit.SECONDS));
            assertEquals(new ControlReply.Done(), client.call(new ControlRequest.Status(), TIMEOUT));
            assertFalse(slow.isDone());
            released.countDown();
            assertEquals(new ControlReply.Done(), slow.get());
        }
    }

    @Test
    void boundsTheRequestsUnderWayAndAnswersTheRestLater() throws Exception {
        try (SocketChannel raw = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            raw.connect(UnixDomainSocketAddress.of(socket));
            raw.write(ByteBuffer.wrap(ControlCodec.encode(1, new ControlRequest.Hello(ControlCodec.PROTOCOL_VERSION))));
            FrameDecoder decoder = new FrameDecoder();
            assertEquals(1, readReplies(raw, decoder, 1).get(0).id());
            int count = 3 * ControlSession.REQUESTS_IN_FLIGHT_MAX;
            for (int i = 0; i < count; i++) {
                raw.write(ByteBuffer.wrap(ControlCodec.encode(10 + i, new ControlRequest.Sync())));
            }
            assertTrue(syncEntered.await(20, TimeUnit.SECONDS));
            // Another connection is served, and when its answer is here, no further sync was let in.
            try (ControlClient other = connect()) {
                other.call(new ControlRequest.Status(), TIMEOUT);
            }
            assertTrue(
                    syncsUnderWay.get() <= ControlSession.REQUESTS_IN_FLIGHT_MAX, "under way: " + syncsUnderWay.get());
            released.countDown();
            assertEquals(count, readReplies(raw, decoder, count).size());
        }
    }

    @Test
    void aClientThatDoesNotReadStopsTheWorkForIt() throws Exception {
        CountDownLatch firstPart = new CountDownLatch(1);
        CountDownLatch readOn = new CountDownLatch(1);
        AtomicInteger received = new AtomicInteger();
        try (ControlClient client = connect()) {
            CompletableFuture<ControlReply> last =
                    CompletableFuture.supplyAsync(() -> call(client, new ControlRequest.Fsck(false, false), part -> {
                        received.incrementAndGet();
                        firstPart.countDown();
                        await(readOn);
                    }));
            assertTrue(firstPart.await(20, TimeUnit.SECONDS));
            try (ControlClient other = connect()) {
                int before;
                do {
                    before = partsSent.get();
                    // A round trip of another client each time gives the worker the chance to go on.
                    for (int i = 0; i < 50; i++) {
                        other.call(new ControlRequest.Status(), TIMEOUT);
                    }
                } while (partsSent.get() != before);
            }
            assertTrue(partsSent.get() < 20_000, "the server took in all " + partsSent.get());
            readOn.countDown();
            assertEquals(new ControlReply.Checked(Map.of()), last.get());
            assertEquals(20_000, received.get());
        }
    }

    @Test
    void refusesAnotherVersionWithBothNumbers() throws IOException {
        try (SocketChannel raw = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            raw.connect(UnixDomainSocketAddress.of(socket));
            raw.write(ByteBuffer.wrap(ControlCodec.encode(1, new ControlRequest.Hello(9))));
            ControlReply.Failed failed = (ControlReply.Failed)
                    readReplies(raw, new FrameDecoder(), 1).get(0).reply();
            assertTrue(failed.found().contains("version 1") && failed.found().contains("version 9"), failed.found());
            assertEquals(-1, raw.read(ByteBuffer.allocate(1)));
        }
    }

    @Test
    void endsAConnectionThatDoesNotGreetOrSendsGarbage() throws IOException {
        for (byte[] bytes :
                List.of(ControlCodec.encode(1, new ControlRequest.Status()), new byte[] {3, 1, 2, 3}, new byte[] {
                    (byte) 0xff, (byte) 0xff, (byte) 0xff, (byte) 0xff, 1
                })) {
            try (SocketChannel raw = SocketChannel.open(StandardProtocolFamily.UNIX)) {
                raw.connect(UnixDomainSocketAddress.of(socket));
                raw.write(ByteBuffer.wrap(bytes));
                assertEquals(-1, raw.read(ByteBuffer.allocate(1)));
            }
        }
        connect().close();
    }

    @Test
    void boundsTheNumberOfConnections() throws IOException {
        List<ControlClient> clients = new ArrayList<>();
        try {
            for (int i = 0; i < ControlServer.CONNECTIONS_MAX; i++) {
                clients.add(connect());
            }
            try (ControlClient oneTooMany = ControlClient.connect(socket)) {
                assertThrows(ControlException.class, () -> oneTooMany.greet(TIMEOUT));
            }
        } finally {
            for (ControlClient client : clients) {
                client.close();
            }
        }
    }

    @Test
    void aBugInAHandlerFailsTheRequestAndNotTheConnection() throws IOException {
        try (ControlClient client = connect()) {
            ControlReply.Failed failed =
                    (ControlReply.Failed) client.call(new ControlRequest.Unmount("/mnt", false), TIMEOUT);
            assertTrue(failed.found().contains("internal error"), failed.found());
            assertEquals(new ControlReply.Done(), client.call(new ControlRequest.Status(), TIMEOUT));
        }
    }

    @Test
    void tellsWaitingClientsThatItCloses() throws Exception {
        try (ControlClient client = connect()) {
            CompletableFuture<ControlReply> waiting =
                    CompletableFuture.supplyAsync(() -> call(client, new ControlRequest.Sync()));
            assertTrue(syncEntered.await(20, TimeUnit.SECONDS));
            server.close();
            assertTrue(client.awaitClosed(TIMEOUT));
            // The interrupted request may still have been answered; what counts is that nobody waits on.
            assertTrue(waiting.handle((reply, failure) -> true).get(20, TimeUnit.SECONDS));
        }
    }

    private ControlClient connect() throws IOException {
        ControlClient client = ControlClient.connect(socket);
        client.greet(TIMEOUT);
        return client;
    }

    private static List<ControlCodec.Reply> readReplies(SocketChannel raw, FrameDecoder decoder, int count)
            throws IOException {
        List<ControlCodec.Reply> replies = new ArrayList<>();
        ByteBuffer buffer = ByteBuffer.allocate(1000);
        while (replies.size() < count && raw.read(buffer.clear()) >= 0) {
            buffer.flip();
            byte[] frame;
            while ((frame = decoder.next(buffer)) != null) {
                replies.add((ControlCodec.Reply) ControlCodec.decodeMessage(frame));
            }
        }
        return replies;
    }

    private static ControlReply call(ControlClient client, ControlRequest request) {
        return call(client, request, part -> {});
    }

    private static ControlReply call(
            ControlClient client, ControlRequest request, java.util.function.Consumer<ControlReply> parts) {
        try {
            return client.call(request, TIMEOUT, parts);
        } catch (ControlException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void await(CountDownLatch latch) {
        try {
            latch.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
