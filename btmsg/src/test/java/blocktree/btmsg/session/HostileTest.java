package blocktree.btmsg.session;

import static blocktree.btmsg.session.Eventually.assertEventually;
import static java.util.concurrent.CompletableFuture.completedFuture;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.session.SessionProto.Frame;
import blocktree.crypto.Identity;
import blocktree.crypto.WriteCapabilityChain;
import com.google.protobuf.ByteString;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.embedded.EmbeddedChannel;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.security.KeyStore;
import java.security.cert.Certificate;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A proven node, and a stranger, who do what no node does: their session ends, the node and its other sessions go on. */
@Timeout(180)
@ParameterizedClass
@EnumSource(Platform.class)
class HostileTest {
    private final TestTree tree = new TestTree();
    private final Identity villain = Identity.generate();
    private final WriteCapabilityChain villainsChain = tree.chain(villain);
    private final Platform platform;
    private final TestNode host;

    HostileTest(Platform platform) {
        this.platform = platform;
        host = newHost(TestNode.LIMITS);
    }

    private TestNode newHost(Limits limits) {
        TestNode node = new TestNode(tree, platform, limits);
        node.messenger.register(Service.ofMessages("echo", 2, 100, call -> completedFuture(call.body())));
        node.messenger.register(Service.ofStreams("hold", stream -> Thread.sleep(60_000)));
        return node;
    }

    @AfterEach
    void close() throws Exception {
        try (TestNode honest = new TestNode(tree, platform)) {
            assertEquals(
                    3,
                    honest.connect(host)
                            .request("echo", new byte[3], Duration.ofSeconds(20))
                            .get(30, TimeUnit.SECONDS)
                            .length);
        }
        host.close();
    }

    private SSLSocket dial(TestNode node) throws Exception {
        return dial(node, villain);
    }

    private static void send(Socket socket, Frame.Builder frame) throws IOException {
        ByteBuf bytes = FrameReader.encode(Unpooled.buffer().alloc(), frame.build());
        byte[] copy = new byte[bytes.readableBytes()];
        bytes.readBytes(copy).release();
        socket.getOutputStream().write(copy);
        socket.getOutputStream().flush();
    }

    static Frame receive(Socket socket) throws Exception {
        DataInputStream in = new DataInputStream(socket.getInputStream());
        int length = 0;
        for (int shift = 0; ; shift += 7) {
            byte next = in.readByte();
            length |= (next & 0x7f) << shift;
            if (next >= 0) {
                break;
            }
        }
        byte[] frame = new byte[length];
        in.readFully(frame);
        return FrameReader.parse(frame);
    }

    private static Frame.Builder hello(SessionProto.Lane lane, byte[] session) {
        return Frame.newBuilder()
                .setHello(SessionProto.Hello.newBuilder()
                        .setVersionMin(1)
                        .setVersionMax(1)
                        .setSession(ByteString.copyFrom(session))
                        .setLane(lane));
    }

    private record Lanes(SSLSocket messages, SSLSocket streams) {}

    private Lanes session(TestNode node) throws Exception {
        byte[] id = new byte[16];
        new java.util.Random().nextBytes(id);
        SSLSocket messages = dial(node);
        send(messages, hello(SessionProto.Lane.MESSAGES, id));
        assertTrue(receive(messages).hasWelcome());
        SSLSocket streams = dial(node);
        send(streams, hello(SessionProto.Lane.STREAMS, id));
        assertTrue(receive(streams).hasWelcome());
        return new Lanes(messages, streams);
    }

    private static void assertCutOff(Socket socket) throws Exception {
        try {
            InputStream in = socket.getInputStream();
            byte[] buffer = new byte[8192];
            while (in.read(buffer) >= 0) {}
        } catch (java.net.SocketTimeoutException e) {
            throw new AssertionError("still connected", e);
        } catch (IOException e) {
            // reset
        }
    }

    private static boolean isCutOff(Socket socket) {
        try {
            return socket.getInputStream().read() < 0;
        } catch (java.net.SocketTimeoutException e) {
            return false;
        } catch (IOException e) {
            return true;
        }
    }

    @Test
    void aLengthBeyondTheBoundEndsTheConnectionBeforeAnythingIsAllocated() throws Exception {
        try (SSLSocket greeting = dial(host)) {
            greeting.getOutputStream().write(new byte[] {(byte) 0x81, (byte) 0x80, 0x04}); // 64 KiB + 1
            assertCutOff(greeting);
        }
        Lanes lanes = session(host);
        lanes.messages.getOutputStream().write(new byte[] {(byte) 0x81, (byte) 0x80, (byte) 0x40}); // 1 MiB + 1
        assertCutOff(lanes.messages);
        assertCutOff(lanes.streams);
        Lanes endless = session(host);
        endless.messages.getOutputStream().write(new byte[] {-1, -1, -1, -1, -1});
        assertCutOff(endless.messages);
    }

    @Test
    void whatIsNotAFrameEndsTheSession() throws Exception {
        for (byte[] bad : new byte[][] {
            {0}, {2, 0x2a, 0x7f}, {3, (byte) 0xff, (byte) 0xff, 1}, {2, 0x60, 1},
        }) {
            Lanes lanes = session(host);
            lanes.messages.getOutputStream().write(bad);
            assertCutOff(lanes.messages);
            assertCutOff(lanes.streams);
        }
        for (Frame.Builder wrong : List.of(
                hello(SessionProto.Lane.MESSAGES, new byte[16]),
                Frame.newBuilder().setWelcome(SessionProto.Welcome.newBuilder().setVersion(1)))) {
            Lanes lanes = session(host);
            send(lanes.messages, wrong);
            assertCutOff(lanes.messages);
        }
    }

    @Test
    void aGreetingThatIsNoneGetsNoWelcome() throws Exception {
        for (Frame.Builder wrong : List.of(
                hello(SessionProto.Lane.MESSAGES, new byte[15]),
                hello(SessionProto.Lane.STREAMS, new byte[16]),
                Frame.newBuilder().setPing(1),
                Frame.newBuilder()
                        .setRequest(SessionProto.Request.newBuilder().setId(1).setService("echo")))) {
            try (SSLSocket socket = dial(host)) {
                send(socket, wrong);
                assertCutOff(socket);
            }
        }
    }

    @Test
    void streamsOfAnotherPrincipalsSessionAreNotTaken() throws Exception {
        byte[] id = new byte[16];
        try (SSLSocket messages = dial(host)) {
            send(messages, hello(SessionProto.Lane.MESSAGES, id));
            assertTrue(receive(messages).hasWelcome());
            try (SSLSocket streams = dial(host, Identity.generate())) {
                send(streams, hello(SessionProto.Lane.STREAMS, id));
                assertCutOff(streams);
            }
        }
    }

    @Test
    void streamsAreOfTheirSessionsVersion() throws Exception {
        Identity id = Identity.generate();
        try (TestNode newer = new TestNode(
                        tree,
                        id,
                        tree.chain(id),
                        options -> options.withPlatform(platform),
                        new Protocol(1, 2, List.of()));
                SSLSocket messages = dial(newer);
                SSLSocket streams = dial(newer)) {
            Frame.Builder second = hello(SessionProto.Lane.MESSAGES, new byte[16]);
            second.getHelloBuilder().setVersionMax(2);
            send(messages, second);
            assertEquals(2, receive(messages).getWelcome().getVersion());
            send(streams, hello(SessionProto.Lane.STREAMS, new byte[16]));
            assertCutOff(streams);
            assertCutOff(messages);
        }
    }

    private SSLSocket dial(TestNode node, Identity who) throws Exception {
        return dial(node, context(who, tree.chain(who)));
    }

    private static SSLContext context(Identity who, WriteCapabilityChain chain) throws Exception {
        NodeCertificate own = NodeCertificate.create(who, chain, System.currentTimeMillis());
        KeyStore keys = KeyStore.getInstance("PKCS12");
        keys.load(null, null);
        keys.setKeyEntry("node", own.key(), new char[0], new Certificate[] {own.certificate()});
        KeyManagerFactory keyManagers = KeyManagerFactory.getInstance("PKIX");
        keyManagers.init(keys, new char[0]);
        SSLContext context = SSLContext.getInstance("TLSv1.3");
        context.init(keyManagers.getKeyManagers(), new TrustManager[] {new NodeTrustManager()}, null);
        return context;
    }

    private static SSLSocket dial(TestNode node, SSLContext context) throws Exception {
        SSLSocket socket =
                (SSLSocket) context.getSocketFactory().createSocket(node.address.getAddress(), node.address.getPort());
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setApplicationProtocols(new String[] {Credentials.PROTOCOL});
        socket.setSSLParameters(parameters);
        socket.setSoTimeout(30_000);
        socket.startHandshake();
        return socket;
    }

    @ParameterizedTest
    @ValueSource(strings = {"silent", "drip", "proven and silent", "no streams"})
    void whoDoesNotBecomeASessionInTimeIsCutOff(String how) throws Exception {
        try (TestNode hasty =
                newHost(TestNode.limits(new Limits.Times(1500, 10_000, 25_000, 10_000, 20, 500, 10_000)))) {
            Socket socket;
            if (how.equals("silent") || how.equals("drip")) {
                socket = new Socket(hasty.address.getAddress(), hasty.address.getPort());
                socket.setSoTimeout(20_000);
            } else {
                socket = dial(hasty);
            }
            if (how.equals("no streams")) {
                send(socket, hello(SessionProto.Lane.MESSAGES, new byte[16]));
            }
            if (how.equals("drip")) {
                Thread drip = new Thread(() -> {
                    try {
                        OutputStream out = socket.getOutputStream();
                        for (byte next : new byte[] {22, 3, 1, 2, 0, 1, 0, 1, (byte) 0xfc, 3, 3}) {
                            out.write(next);
                            Thread.sleep(300);
                        }
                    } catch (IOException | InterruptedException e) {
                        // cut off
                    }
                });
                drip.start();
            }
            long startNanos = System.nanoTime();
            assertCutOff(socket);
            assertTrue(System.nanoTime() - startNanos < 8_000_000_000L);
            assertEventually(() -> hasty.messenger.halfOpen().count() == 0, "its place is free again");
            socket.close();
        }
    }

    @Test
    void halfOpenConnectionsAreBounded() throws Exception {
        try (TestNode narrow = newHost(new Limits(256, 64, 4, 1024, 16 << 20, 16 << 20, TestNode.TIMES))) {
            List<Socket> open = new ArrayList<>();
            for (int i = 0; i < 10; i++) {
                Socket socket = new Socket(narrow.address.getAddress(), narrow.address.getPort());
                socket.setSoTimeout(20);
                open.add(socket);
            }
            assertEventually(
                    () -> open.stream().filter(HostileTest::isCutOff).count() == 6, "all but four are cut off");
            assertEquals(4, narrow.messenger.halfOpen().count());
            for (Socket socket : open) {
                socket.close();
            }
            assertEventually(() -> narrow.messenger.halfOpen().count() == 0, "places are free again");
            try (TestNode honest = new TestNode(tree, platform)) {
                honest.connect(narrow);
                assertEventually(() -> narrow.messenger.halfOpen().count() == 0, "a session is not half open");
            }
        }
    }

    /** Each session needs two connections, one after the other. */
    @Test
    void oneHalfOpenPlaceIsEnoughForASession() throws Exception {
        try (TestNode narrow = newHost(new Limits(256, 64, 1, 1024, 16 << 20, 16 << 20, TestNode.TIMES));
                TestNode honest = new TestNode(tree, platform)) {
            honest.connect(narrow);
        }
    }

    @Test
    void onlyTheNewestSessionOfAPrincipalAwaitsItsStreams() throws Exception {
        try (SSLSocket first = dial(host);
                SSLSocket second = dial(host)) {
            send(first, hello(SessionProto.Lane.MESSAGES, new byte[16]));
            assertTrue(receive(first).hasWelcome());
            send(second, hello(SessionProto.Lane.MESSAGES, new byte[16]));
            assertTrue(receive(second).hasWelcome());
            long startNanos = System.nanoTime();
            assertCutOff(first);
            assertTrue(System.nanoTime() - startNanos < 8_000_000_000L, "it was not its time that was up");
            try (SSLSocket streams = dial(host)) {
                send(streams, hello(SessionProto.Lane.STREAMS, new byte[16]));
                assertTrue(receive(streams).hasWelcome());
                send(second, Frame.newBuilder().setPing(7));
                Frame frame;
                do {
                    frame = receive(second);
                } while (!frame.hasPong());
                assertEquals(7, frame.getPong());
            }
        }
    }

    @Test
    void anIpv6NetworkHasThePlacesOfOneAddress() throws Exception {
        HalfOpen halfOpen = new HalfOpen(64, 2);
        List<Runnable> places = new ArrayList<>();
        for (String address : List.of("2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2")) {
            Runnable place = halfOpen.enter(InetAddress.getByName(address));
            assertNotNull(place, address);
            places.add(place);
        }
        assertNull(halfOpen.enter(InetAddress.getByName("2001:db8::3")));
        places.forEach(Runnable::run);
        assertEquals(0, halfOpen.count());
    }

    @Test
    void aFloodIsAnsweredBusyAndUnknownIdsAreNothing() throws Exception {
        Lanes lanes = session(host);
        byte[] body = new byte[20_000];
        Thread reader = new Thread(() -> {
            try {
                assertCutOff(lanes.messages);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        reader.start();
        for (long id = 1; id <= 3000; id++) {
            send(lanes.messages, request(id, "echo", body));
            send(lanes.messages, Frame.newBuilder().setCancel(id + 1_000_000));
            send(
                    lanes.messages,
                    Frame.newBuilder().setReply(SessionProto.Reply.newBuilder().setId(id)));
            send(lanes.messages, Frame.newBuilder().setPong(id));
        }
        assertTrue(host.messenger.peer(villain.id()).isConnected());
        lanes.messages.close();
        reader.join(20_000);
    }

    @Test
    void whoAsksAndNeverReadsIsCutOff() throws Exception {
        TestNode small = newHost(new Limits(256, 64, 64, 1024, 16 << 20, 64 << 10, TestNode.TIMES));
        try (small) {
            Lanes lanes = session(small);
            byte[] body = new byte[200_000];
            try {
                for (long id = 1; id <= 2000; id++) {
                    send(lanes.messages, request(id, "echo", body));
                }
            } catch (IOException e) {
                // cut off while it wrote
            }
            assertEventually(() -> !small.messenger.peer(villain.id()).isConnected(), "it is cut off");
        }
    }

    @Test
    void whoReadsLateIsAnsweredBusyAndNothingIsDoneMeanwhile() throws Exception {
        try (TestNode small = newHost(new Limits(256, 64, 64, 1024, 16 << 20, 1 << 20, TestNode.TIMES))) {
            int requests = 300;
            AtomicInteger asked = new AtomicInteger();
            AtomicInteger handled = new AtomicInteger();
            small.messenger.register(Service.ofMessages("big", 1, requests, call -> {
                        handled.incrementAndGet();
                        return completedFuture(new byte[MessageLane.BODY_SIZE_BYTES_MAX]);
                    })
                    .onlyFor(peer -> asked.incrementAndGet() > 0));
            Lanes lanes = session(small);
            for (int id = 1; id <= requests; id++) {
                send(lanes.messages, request(id, "big", new byte[0]));
            }
            Peer peer = small.messenger.peer(villain.id());
            assertEventually(() -> asked.get() == requests && peer.served().isNothing(), "all are answered");
            assertTrue(peer.isConnected());
            int busy = 0;
            for (int i = 0; i < requests; i++) {
                SessionProto.Reply reply = receiveReply(lanes.messages);
                if (reply.getError() == MessageException.Code.BUSY.number()) {
                    busy++;
                } else {
                    assertEquals(
                            MessageLane.BODY_SIZE_BYTES_MAX, reply.getBody().size());
                }
            }
            assertEquals(requests, busy + handled.get());
            assertTrue(busy > 0);
        }
    }

    @Test
    void whoPingsAndNeverReadsIsCutOff() throws Exception {
        try (TestNode small = newHost(new Limits(256, 64, 64, 1024, 16 << 20, 64 << 10, TestNode.TIMES))) {
            Lanes lanes = session(small);
            ByteBuf pings = Unpooled.buffer();
            for (int i = 0; i < 1000; i++) {
                ByteBuf ping = FrameReader.encode(
                        pings.alloc(), Frame.newBuilder().setPing(-1).build());
                pings.writeBytes(ping);
                ping.release();
            }
            byte[] thousand = new byte[pings.readableBytes()];
            pings.readBytes(thousand).release();
            try {
                for (int i = 0; i < 10_000; i++) {
                    lanes.messages.getOutputStream().write(thousand);
                }
            } catch (IOException e) {
                // cut off while it wrote
            }
            assertEventually(() -> !small.messenger.peer(villain.id()).isConnected(), "it is cut off");
        }
    }

    @Test
    void messagesBeforeThereAreStreamsEndTheConnection() throws Exception {
        try (SSLSocket messages = dial(host)) {
            send(messages, hello(SessionProto.Lane.MESSAGES, new byte[16]));
            send(messages, Frame.newBuilder().setPing(1));
            assertTrue(receive(messages).hasWelcome());
            assertCutOff(messages);
        }
    }

    /** What TLS remembers of a connection lets nobody in who is not welcome any more. */
    @Test
    void whoResumesATlsSessionIsJudgedAgain() throws Exception {
        Identity id = Identity.generate();
        try (TestNode node = new TestNode(tree, id, platform)) {
            node.messenger.register(Service.ofMessages("echo", 1, 10, call -> completedFuture(call.body())));
            SSLContext context = context(villain, villainsChain);
            try (SSLSocket first = dial(node, context)) {
                send(first, hello(SessionProto.Lane.MESSAGES, new byte[16]));
                assertTrue(receive(first).hasWelcome());
            }
            tree.revoke(villainsChain);
            try (SSLSocket again = dial(node, context)) {
                Frame frame = receive(again);
                assertEquals(Refusal.Code.REVOKED.number(), frame.getRefusal().getCode());
            }
        }
    }

    @Test
    void aRequestUnderAnIdThatIsUnderWayEndsTheSession() throws Exception {
        host.messenger.register(Service.ofMessages("never", 1, 10, call -> new CompletableFuture<>()));
        Lanes lanes = session(host);
        for (int i = 0; i < 2; i++) {
            send(lanes.messages, request(7, "never", new byte[0]));
        }
        assertCutOff(lanes.messages);
    }

    @Test
    void aPeersShareIsOneOverAllItsSessionsOfWhichTwoLast() throws Exception {
        CountDownLatch called = new CountDownLatch(1);
        CompletableFuture<byte[]> answer = new CompletableFuture<>();
        host.messenger.register(Service.ofMessages("one", 1, 1, call -> {
            called.countDown();
            return answer;
        }));
        Lanes first = session(host);
        send(first.messages, request(1, "one", new byte[0]));
        assertTrue(called.await(20, TimeUnit.SECONDS));
        Lanes second = session(host);
        send(second.messages, request(1, "one", new byte[0]));
        assertEquals(
                MessageException.Code.BUSY.number(),
                receiveReply(second.messages).getError());
        Lanes third = session(host);
        send(third.messages, request(1, "one", new byte[0]));
        assertEquals(
                MessageException.Code.BUSY.number(),
                receiveReply(third.messages).getError());
        Peer peer = host.messenger.peer(villain.id());
        assertEquals(2, peer.sessions().size());
        assertCutOff(first.messages);
        answer.complete(new byte[0]);
        assertEventually(() -> peer.served().isNothing(), "its place is free again");
    }

    private static SessionProto.Reply receiveReply(Socket socket) throws Exception {
        while (true) {
            Frame frame = receive(socket);
            if (frame.hasReply()) {
                return frame.getReply();
            }
        }
    }

    /** It says goodbye and asks in one breath. */
    @Test
    void nothingIsCarriedOutForASessionThatIsOver() throws Exception {
        AtomicInteger asked = new AtomicInteger();
        host.messenger.register(Service.ofMessages("asked", 1, 10, call -> completedFuture(call.body()))
                .onlyFor(peer -> asked.incrementAndGet() > 0));
        Lanes lanes = session(host);
        ByteBuf both = Unpooled.buffer();
        for (Frame.Builder frame : List.of(
                Frame.newBuilder().setGoodbye(SessionProto.Goodbye.newBuilder().setCode(1)),
                request(1, "asked", new byte[0]))) {
            ByteBuf bytes = FrameReader.encode(both.alloc(), frame.build());
            both.writeBytes(bytes);
            bytes.release();
        }
        byte[] together = new byte[both.readableBytes()];
        both.readBytes(together).release();
        lanes.messages.getOutputStream().write(together);
        assertCutOff(lanes.messages);
        assertEquals(0, asked.get());
    }

    @Test
    void aServiceThatFailsWhenItIsCancelledDoesNotKeepTheSessionOpen() throws Exception {
        CountDownLatch called = new CountDownLatch(1);
        host.messenger.register(Service.ofMessages("clumsy", 1, 10, call -> {
            call.onCancel(() -> {
                throw new IllegalStateException("a test");
            });
            called.countDown();
            return new CompletableFuture<>();
        }));
        Lanes lanes = session(host);
        send(lanes.messages, request(1, "clumsy", new byte[0]));
        assertTrue(called.await(20, TimeUnit.SECONDS));
        host.messenger.peer(villain.id()).sessions().forEach(session -> session.lose("a test"));
        assertCutOff(lanes.messages);
    }

    private static Frame.Builder request(long id, String service, byte[] body) {
        return Frame.newBuilder()
                .setRequest(SessionProto.Request.newBuilder()
                        .setId(id)
                        .setService(service)
                        .setRemainingMillis(60_000)
                        .setBody(ByteString.copyFrom(body)));
    }

    private static byte[] streamFrame(int kind, int id, int length, byte[] body) {
        return Unpooled.buffer()
                .writeByte(kind)
                .writeZero(3)
                .writeInt(id)
                .writeInt(length)
                .writeBytes(body)
                .capacity(12 + body.length)
                .array();
    }

    private static byte[] open(int id) {
        byte[] body = {4, 'h', 'o', 'l', 'd'};
        return streamFrame(1, id, body.length, body);
    }

    @Test
    void whatIsNoStreamFrameEndsTheSession() throws Exception {
        byte[] none = {};
        for (byte[][] wrong : new byte[][][] {
            {streamFrame(9, 1, 0, none)}, // unknown kind
            {streamFrame(2, 1, 0, none)}, // data of a stream that was never opened
            {streamFrame(2, 2, 0, none)}, // the same, of the host's
            {open(1), streamFrame(4, -1, 0, none)}, // the end of one that nobody can open
            {streamFrame(1, 2, 5, new byte[5])}, // opened with the host's numbers
            {streamFrame(1, 1, 0, none)}, // opened to nothing
            {streamFrame(1, 1, 1 << 20, none)}, // oversized header
            {streamFrame(1, 1, -1, none)},
            {open(3), open(1)}, // backwards
            {open(1), streamFrame(2, 1, (256 << 10) + 1, none)}, // oversized data
            {open(1), streamFrame(3, 1, 4, new byte[] {0, 0, 0, 1})}, // credit that was not used
            {open(1), streamFrame(3, 1, 4, new byte[] {-1, 0, 0, 1})},
            {open(1), streamFrame(3, 1, 0, none)}, // credit without a number
            {open(1), streamFrame(4, 1, 0, none), streamFrame(2, 1, 1, new byte[1])}, // data after the end
        }) {
            Lanes lanes = session(host);
            for (byte[] frame : wrong) {
                lanes.streams.getOutputStream().write(frame);
            }
            assertCutOff(lanes.streams);
            assertCutOff(lanes.messages);
        }
    }

    @Test
    void dataBeyondTheCreditEndsTheSession() throws Exception {
        Lanes lanes = session(host);
        OutputStream out = lanes.streams.getOutputStream();
        out.write(open(1));
        byte[] body = new byte[256 << 10];
        for (int i = 0; i < 4; i++) {
            out.write(streamFrame(2, 1, body.length, body));
        }
        Thread.sleep(300);
        assertTrue(host.messenger.peer(villain.id()).isConnected());
        out.write(streamFrame(2, 1, 1, new byte[1]));
        assertCutOff(lanes.streams);
    }

    @Test
    void streamsBeyondTheBoundAreReset() throws Exception {
        Lanes lanes = session(host);
        for (int i = 0; i < 200; i++) {
            lanes.streams.getOutputStream().write(open(2 * i + 1));
        }
        DataInputStream in = new DataInputStream(lanes.streams.getInputStream());
        for (int i = StreamLane.STREAMS_MAX; i < 200; i++) {
            assertEquals(5, in.readByte());
            in.skipBytes(3);
            assertEquals(2 * i + 1, in.readInt());
            assertEquals(4, in.readInt());
            assertEquals(MessageException.Code.BUSY.number(), in.readInt());
        }
        lanes.streams.close();
    }

    /** Its places are free again at once, and the handlers may not have noticed: their threads are bounded all the same. */
    @Test
    void whoOpensAndResetsStreamsHasNoMoreHandlersThanOthers() throws Exception {
        AtomicInteger handlers = new AtomicInteger();
        CountDownLatch go = new CountDownLatch(1);
        host.messenger.register(Service.ofStreams("slow", stream -> {
            handlers.incrementAndGet();
            go.await();
        }));
        byte[] slow = {4, 's', 'l', 'o', 'w'};
        for (int round = 0; round < 3; round++) { // over sessions, too
            Lanes lanes = session(host);
            int id = 1;
            for (; id < 400; id += 2) {
                lanes.streams.getOutputStream().write(streamFrame(1, id, slow.length, slow));
                Thread.sleep(1);
                lanes.streams.getOutputStream().write(streamFrame(5, id, 4, new byte[4]));
            }
            byte[] absent = {1, 'x'};
            lanes.streams.getOutputStream().write(streamFrame(1, id, absent.length, absent));
            DataInputStream in = new DataInputStream(lanes.streams.getInputStream());
            byte[] frame = new byte[16];
            do { // everything before it is done then
                in.readFully(frame);
            } while (java.nio.ByteBuffer.wrap(frame).getInt(4) != id);
        }
        Thread.sleep(500);
        assertTrue(handlers.get() > 0 && handlers.get() <= Served.STREAM_HANDLERS_MAX, handlers + " handlers");
        go.countDown();
        assertEventually(() -> host.messenger.peer(villain.id()).served().isNothing(), "places are free again");
    }

    @Test
    void framesComeInWhateverPieces() {
        Frame frame = Frame.newBuilder()
                .setOneWay(
                        SessionProto.OneWay.newBuilder().setService("s").setBody(ByteString.copyFrom(new byte[5000])))
                .build();
        EmbeddedChannel channel = new EmbeddedChannel(new FrameReader());
        ByteBuf bytes = FrameReader.encode(channel.alloc(), frame);
        while (bytes.isReadable()) {
            channel.writeInbound(bytes.readRetainedSlice(Math.min(7, bytes.readableBytes())));
        }
        bytes.release();
        assertEquals(frame, channel.readInbound());
        channel.finishAndReleaseAll();
    }
}
