package blocktree.btmsg.session;

import static blocktree.btmsg.session.Eventually.assertEventually;
import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.CompletableFuture.completedFuture;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.session.MessageException.Code;
import blocktree.crypto.Identity;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

@Timeout(180)
@ParameterizedClass
@EnumSource(Platform.class)
class StreamsTest {
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    private final TestTree tree = new TestTree();
    private final Platform platform;
    private final TestNode a;
    private final TestNode b;

    StreamsTest(Platform platform) {
        this.platform = platform;
        a = new TestNode(tree, platform);
        b = new TestNode(tree, platform);
    }

    @AfterEach
    void close() {
        a.close();
        b.close();
    }

    private static byte[] readAll(PeerStream stream) throws Exception {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        StreamChunk chunk;
        while ((chunk = stream.read()) != null) {
            byte[] bytes = new byte[chunk.bytes().remaining()];
            chunk.bytes().get(bytes);
            all.writeBytes(bytes);
            chunk.close();
        }
        return all.toByteArray();
    }

    private static byte[] digestOf(PeerStream stream) throws Exception {
        MessageDigest digest = MessageDigest.getInstance("SHA-256");
        StreamChunk chunk;
        while ((chunk = stream.read()) != null) {
            digest.update(chunk.bytes());
            chunk.close();
        }
        return digest.digest();
    }

    /** Sends back the digest of what came. */
    private static Service digest() {
        return Service.ofStreams("digest", stream -> {
            try {
                stream.write(ByteBuffer.wrap(digestOf(stream)));
            } catch (MessageException | InterruptedException | RuntimeException e) {
                throw e;
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
            stream.end();
        });
    }

    @ParameterizedTest
    @EnumSource(Platform.class)
    void whatIsWrittenArrivesInBothDirectionsWhateverThePieces(Platform other) throws Exception {
        try (TestNode c = new TestNode(tree, Identity.generate(), platform);
                TestNode d = new TestNode(tree, Identity.generate(), other)) {
            c.messenger.register(digest());
            d.messenger.register(digest());
            Peer toD = c.connect(d);
            for (Peer peer : List.of(toD, d.peer(c))) {
                for (int pieceSize : new int[] {100, 4096, 70_000, 1 << 20}) {
                    Random random = new Random(pieceSize);
                    MessageDigest sent = MessageDigest.getInstance("SHA-256");
                    try (PeerStream stream = peer.openStream("digest", new byte[0], PATIENCE)) {
                        for (int left = Math.min(8 << 20, pieceSize * 2000); left > 0; left -= pieceSize) {
                            byte[] piece = new byte[pieceSize];
                            random.nextBytes(piece);
                            sent.update(piece);
                            stream.write(ByteBuffer.wrap(piece));
                        }
                        stream.end();
                        assertArrayEquals(sent.digest(), readAll(stream));
                    }
                }
            }
        }
    }

    @Test
    void aHeaderAsksAndTheAnswerIsReadWhollyThoughTheHandlerIsGone() throws Exception {
        b.messenger.register(Service.ofStreams("get", stream -> {
            stream.write(ByteBuffer.wrap(new byte[700_000]));
            stream.write(ByteBuffer.wrap(stream.header()));
            stream.end();
        }));
        try (PeerStream stream = a.connect(b).openStream("get", "what".getBytes(UTF_8), PATIENCE)) {
            Thread.sleep(300);
            byte[] all = readAll(stream);
            assertEquals(700_004, all.length);
            assertEquals("what", new String(all, 700_000, 4, UTF_8));
            assertNull(stream.read());
        }
    }

    @Test
    void aReaderThatDoesNotReadHoldsTheWriterBack() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        b.messenger.register(Service.ofStreams("slow", stream -> {
            go.await();
            while (true) {
                StreamChunk chunk = stream.read();
                if (chunk == null) {
                    break;
                }
                chunk.close();
            }
            stream.end();
        }));
        AtomicLong written = new AtomicLong();
        try (PeerStream stream = a.connect(b).openStream("slow", new byte[0], PATIENCE)) {
            CompletableFuture<Void> writer = CompletableFuture.runAsync(() -> {
                try {
                    for (int i = 0; i < 64; i++) {
                        stream.write(ByteBuffer.wrap(new byte[128 << 10]));
                        written.addAndGet(128 << 10);
                    }
                    stream.end();
                } catch (MessageException | InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
            assertEventually(() -> written.get() >= StreamLane.WINDOW_SIZE_BYTES, "the window is used");
            Thread.sleep(300);
            assertEquals(StreamLane.WINDOW_SIZE_BYTES, written.get());
            go.countDown();
            writer.get(30, TimeUnit.SECONDS);
            assertNull(stream.read());
        }
    }

    @Test
    void patienceEnds() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        b.messenger.register(Service.ofStreams("mute", stream -> go.await()));
        try (PeerStream stream = a.connect(b).openStream("mute", new byte[0], Duration.ofMillis(200))) {
            assertEquals(
                    Code.TIMED_OUT,
                    assertThrows(MessageException.class, stream::read).code());
            MessageException e =
                    assertThrows(MessageException.class, () -> stream.write(ByteBuffer.wrap(new byte[2 << 20])));
            assertEquals(Code.TIMED_OUT, e.code());
        }
        go.countDown();
    }

    @Test
    void theServiceThatIsNotThereOrNotForOneResets() throws Exception {
        b.messenger.register(digest().onlyFor(peer -> false));
        Peer peer = a.connect(b);
        for (var expected :
                List.of(java.util.Map.entry("absent", Code.NO_SERVICE), java.util.Map.entry("digest", Code.DENIED))) {
            try (PeerStream stream = peer.openStream(expected.getKey(), new byte[0], PATIENCE)) {
                assertEquals(
                        expected.getValue(),
                        assertThrows(MessageException.class, stream::read).code());
                assertThrows(MessageException.class, () -> stream.write(ByteBuffer.wrap(new byte[10])));
            }
        }
    }

    @Test
    void closingCutsTheOtherSideOffAndGivesThePlaceBack() throws Exception {
        CompletableFuture<Code> seen = new CompletableFuture<>();
        b.messenger.register(Service.ofStreams("cut", stream -> {
            try {
                while (true) {
                    StreamChunk chunk = stream.read();
                    if (chunk == null) {
                        return;
                    }
                    chunk.close();
                }
            } catch (MessageException e) {
                seen.complete(e.code());
                throw e;
            }
        }));
        Peer peer = a.connect(b);
        for (int i = 0; i < 5 * StreamLane.STREAMS_MAX; i++) {
            PeerStream stream = openWhenThereIsRoom(peer, "cut");
            try {
                stream.write(ByteBuffer.wrap(new byte[50_000]));
            } catch (MessageException e) {
                assertEquals(Code.BUSY, e.code()); // handlers that have not noticed yet have their bound
            }
            stream.close();
            assertThrows(MessageException.class, stream::read);
        }
        assertEquals(Code.CANCELLED, seen.get(20, TimeUnit.SECONDS));
    }

    /** The peer's end comes between the letting go and the moment in which the event loop hears of it. */
    @Test
    void whoseStreamIsLetGoIsToldThoughItHasEndedItsOwnDirection() throws Exception {
        CountDownLatch letGo = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        b.messenger.register(Service.ofStreams("drop", stream -> {
            stream.fail(new MessageException(Code.CANCELLED, "let go"));
            letGo.countDown();
            go.await();
        }));
        try (PeerStream stream = a.connect(b).openStream("drop", new byte[0], PATIENCE)) {
            assertTrue(letGo.await(20, TimeUnit.SECONDS));
            stream.end();
            assertEquals(
                    Code.CANCELLED,
                    assertThrows(MessageException.class, stream::read).code());
        }
        go.countDown();
    }

    @Test
    void aSmallPartOfABufferDoesNotKeepIt() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        b.messenger.register(Service.ofStreams("hold", stream -> go.await()));
        try (PeerStream stream = a.connect(b).openStream("hold", new byte[0], PATIENCE)) {
            ByteBuf decrypted = Unpooled.directBuffer(64 << 10).writeZero(64 << 10);
            for (int sizeBytes : new int[] {100, 4 << 10, 8 << 10, 16 << 10}) {
                stream.announced(sizeBytes);
                stream.deliver(decrypted.readRetainedSlice(sizeBytes), decrypted.capacity());
                assertEquals(sizeBytes < 16 << 10 ? 1 : 2, decrypted.refCnt(), sizeBytes + " bytes");
            }
            decrypted.release();
            stream.ended();
            assertEquals(100 + (28 << 10), readAll(stream).length);
        }
        go.countDown();
    }

    private static PeerStream openWhenThereIsRoom(Peer peer, String service) throws Exception {
        while (true) {
            try {
                return peer.openStream(service, new byte[0], PATIENCE);
            } catch (MessageException e) {
                assertEquals(Code.BUSY, e.code());
                Thread.sleep(5);
            }
        }
    }

    @Test
    void thereAreSoManyStreamsAndNoMore() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        b.messenger.register(Service.ofStreams("hold", stream -> go.await()));
        Peer peer = a.connect(b);
        List<PeerStream> open = new ArrayList<>();
        for (int i = 0; i < StreamLane.STREAMS_MAX; i++) {
            open.add(peer.openStream("hold", new byte[0], PATIENCE));
        }
        MessageException e = assertThrows(MessageException.class, () -> peer.openStream("hold", new byte[0], PATIENCE));
        assertEquals(Code.BUSY, e.code());
        go.countDown();
        open.forEach(PeerStream::close);
        openWhenThereIsRoom(peer, "hold").close();
    }

    @Test
    void theEndOfASessionEndsItsStreams() throws Exception {
        CountDownLatch go = new CountDownLatch(1);
        b.messenger.register(Service.ofStreams("hold", stream -> go.await()));
        Peer peer = a.connect(b);
        try (PeerStream stream = peer.openStream("hold", new byte[0], PATIENCE)) {
            peer.setAddresses(List.of());
            b.messenger.close();
            assertEquals(
                    Code.DISCONNECTED,
                    assertThrows(MessageException.class, stream::read).code());
        }
        go.countDown();
    }

    @Test
    void streamsTakeTurns() throws Exception {
        b.messenger.register(digest());
        Peer peer = a.connect(b);
        List<CompletableFuture<Long>> ends = new ArrayList<>();
        int streams = 4;
        long startNanos = System.nanoTime();
        for (int i = 0; i < streams; i++) {
            ends.add(CompletableFuture.supplyAsync(
                    () -> {
                        try (PeerStream stream = peer.openStream("digest", new byte[0], PATIENCE)) {
                            byte[] piece = new byte[256 << 10];
                            for (int n = 0; n < 160; n++) {
                                stream.write(ByteBuffer.wrap(piece));
                            }
                            stream.end();
                            assertEquals(32, readAll(stream).length);
                            return System.nanoTime() - startNanos;
                        } catch (Exception e) {
                            throw new IllegalStateException(e);
                        }
                    },
                    task -> new Thread(task).start()));
        }
        long first = Long.MAX_VALUE;
        long last = 0;
        for (CompletableFuture<Long> end : ends) {
            long nanos = end.get(120, TimeUnit.SECONDS);
            first = Math.min(first, nanos);
            last = Math.max(last, nanos);
        }
        assertTrue(first > last / 3, "the first was done after " + first + " ns, the last after " + last);
    }

    /** Both connections share a link of 8 MiB/s with deep buffers: what is queued for streams takes its time, a message does not. */
    @Test
    void smallMessagesStayFastWhileAStreamSaturatesTheLink() throws Exception {
        AtomicLong received = new AtomicLong();
        b.messenger.register(Service.ofStreams("sink", stream -> {
            while (true) {
                StreamChunk chunk = stream.read();
                if (chunk == null) {
                    break;
                }
                received.addAndGet(chunk.bytes().remaining());
                chunk.close();
            }
            stream.end();
        }));
        b.messenger.register(Service.ofMessages("echo", 1, 10, call -> completedFuture(call.body())));
        int rate = 8 << 20;
        try (SlowLink link = new SlowLink(b.address, rate)) {
            Peer peer = a.peer(b);
            peer.setAddresses(List.of(link.address()));
            peer.whenConnected().get(30, TimeUnit.SECONDS);
            AtomicLong written = new AtomicLong();
            CompletableFuture<Void> bulk = CompletableFuture.runAsync(() -> {
                try (PeerStream stream = peer.openStream("sink", new byte[0], PATIENCE)) {
                    for (int i = 0; i < 4 * 16; i++) {
                        stream.write(ByteBuffer.wrap(new byte[512 << 10]));
                        written.addAndGet(512 << 10);
                    }
                    stream.end();
                    assertNull(stream.read());
                } catch (MessageException | InterruptedException e) {
                    throw new IllegalStateException(e);
                }
            });
            assertEventually(() -> received.get() > 2 << 20, "the stream flows");
            List<Long> roundTrips = new ArrayList<>();
            long queuedBytes = 0;
            for (int i = 0; i < 30; i++) {
                long startNanos = System.nanoTime();
                peer.request("echo", new byte[64], PATIENCE).get(30, TimeUnit.SECONDS);
                roundTrips.add(System.nanoTime() - startNanos);
                queuedBytes += written.get() - received.get();
                Thread.sleep(20);
            }
            assertTrue(!bulk.isDone(), "the link was saturated throughout");
            bulk.get(60, TimeUnit.SECONDS);
            long medianNanos = roundTrips.stream().sorted().toList().get(15);
            long queueNanos = queuedBytes / 30 * 1_000_000_000L / rate;
            assertTrue(
                    medianNanos * 4 < queueNanos,
                    "a message took " + medianNanos / 1000 + " us, what is queued before it " + queueNanos / 1000);
        }
    }
}
