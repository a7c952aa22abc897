package blocktree.btmsg.session;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.Rights;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.handler.ssl.ClientAuth;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslHandler;
import io.netty.handler.ssl.SslHandshakeCompletionEvent;
import io.netty.handler.ssl.SslProvider;
import io.netty.handler.ssl.util.InsecureTrustManagerFactory;
import io.netty.util.ReferenceCountUtil;
import io.netty.util.concurrent.GlobalEventExecutor;
import java.net.InetSocketAddress;
import java.security.cert.Certificate;
import java.security.cert.X509Certificate;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** TLS alone, over real sockets, with both providers on either side. */
@Timeout(60)
class HandshakeTest {
    private final TestTree tree = new TestTree();

    private interface Tls {
        SslHandler newHandler(Channel channel) throws Exception;
    }

    /** What each side has seen of the other, or why it let go. */
    private record Outcome(CompletableFuture<X509Certificate[]> server, CompletableFuture<X509Certificate[]> client) {}

    private static final class Watch extends ChannelInboundHandlerAdapter {
        private final SslHandler tls;
        private final CompletableFuture<X509Certificate[]> seen;
        private final boolean waitsForAWord;

        Watch(SslHandler tls, CompletableFuture<X509Certificate[]> seen, boolean waitsForAWord) {
            this.tls = tls;
            this.seen = seen;
            this.waitsForAWord = waitsForAWord;
        }

        @Override
        public void userEventTriggered(ChannelHandlerContext context, Object event) throws Exception {
            if (event instanceof SslHandshakeCompletionEvent handshake) {
                if (!handshake.isSuccess()) {
                    seen.completeExceptionally(handshake.cause());
                } else if (!waitsForAWord) {
                    assertEquals(Credentials.PROTOCOL, tls.applicationProtocol());
                    seen.complete(shown(tls));
                    context.writeAndFlush(Unpooled.copyInt(1));
                }
            }
        }

        @Override
        public void channelRead(ChannelHandlerContext context, Object message) throws Exception {
            ReferenceCountUtil.release(message);
            seen.complete(shown(tls));
            context.close();
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
            seen.completeExceptionally(cause);
            context.close();
        }

        @Override
        public void channelInactive(ChannelHandlerContext context) {
            seen.completeExceptionally(new IllegalStateException("closed"));
        }
    }

    /** BoringSSL gives them in an array of another type. */
    private static X509Certificate[] shown(SslHandler tls) throws Exception {
        Certificate[] all = tls.engine().getSession().getPeerCertificates();
        return Arrays.copyOf(all, all.length, X509Certificate[].class);
    }

    private static Outcome connect(Platform serverSide, Tls server, Platform clientSide, Tls client) throws Exception {
        Outcome outcome = new Outcome(new CompletableFuture<>(), new CompletableFuture<>());
        ChannelGroup all = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);
        EventLoopGroup serverLoop = new MultiThreadIoEventLoopGroup(1, serverSide.ioHandlers());
        EventLoopGroup clientLoop = new MultiThreadIoEventLoopGroup(1, clientSide.ioHandlers());
        try {
            Channel listening = new ServerBootstrap()
                    .group(serverLoop)
                    .channel(serverSide.serverChannel())
                    .childHandler(initializer(server, outcome.server, false, all))
                    .bind(new InetSocketAddress("127.0.0.1", 0))
                    .sync()
                    .channel();
            new Bootstrap()
                    .group(clientLoop)
                    .channel(clientSide.channel())
                    .handler(initializer(client, outcome.client, true, all))
                    .connect(listening.localAddress())
                    .sync();
            outcome.server.handle((seen, failure) -> 0).get(30, TimeUnit.SECONDS);
            outcome.client.handle((seen, failure) -> 0).get(30, TimeUnit.SECONDS);
            return outcome;
        } finally {
            all.close().sync();
            serverLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS).sync();
            clientLoop.shutdownGracefully(0, 1, TimeUnit.SECONDS).sync();
        }
    }

    private static ChannelInitializer<Channel> initializer(
            Tls side, CompletableFuture<X509Certificate[]> seen, boolean waitsForAWord, ChannelGroup all) {
        return new ChannelInitializer<>() {
            @Override
            protected void initChannel(Channel channel) throws Exception {
                all.add(channel);
                SslHandler tls = side.newHandler(channel);
                channel.pipeline().addLast(tls, new Watch(tls, seen, waitsForAWord));
            }
        };
    }

    private Credentials credentials(Identity node, Platform platform) {
        return new Credentials(node, tree.chain(node), platform, Clock.systemUTC());
    }

    @ParameterizedTest
    @CsvSource({"PORTABLE,PORTABLE", "PORTABLE,NATIVE", "NATIVE,PORTABLE", "NATIVE,NATIVE"})
    void twoNodesProveToOneAnotherWhoTheyAre(Platform serverSide, Platform clientSide) throws Exception {
        Identity a = Identity.generate();
        Identity b = Identity.generate();
        try (Credentials server = credentials(a, serverSide);
                Credentials client = credentials(b, clientSide)) {
            Outcome outcome = connect(
                    serverSide,
                    channel -> server.newServerHandler(channel.alloc(), false, Runnable::run),
                    clientSide,
                    channel -> client.newClientHandler(channel.alloc(), Runnable::run));
            assertEquals(
                    a.id(),
                    NodeCertificate.prove(outcome.client.get()).subject().id());
            assertEquals(
                    b.id(),
                    NodeCertificate.prove(outcome.server.get()).subject().id());
        }
    }

    @ParameterizedTest
    @CsvSource({"PORTABLE,NATIVE", "NATIVE,PORTABLE"})
    void theLongestChainFits(Platform serverSide, Platform clientSide) throws Exception {
        List<WriteCapability> links = new ArrayList<>();
        Identity issuer = tree.root;
        for (int i = 0; i < WriteCapabilityChain.LINKS_MAX; i++) {
            Identity subject = Identity.generate();
            links.add(tree.grant(issuer, subject, Rights.ALL, tree.startMillis, WriteCapability.NO_END));
            issuer = subject;
        }
        Identity last = issuer;
        WriteCapabilityChain longest = WriteCapabilityChain.of(links);
        try (Credentials server = new Credentials(last, longest, serverSide, Clock.systemUTC());
                Credentials client = new Credentials(last, longest, clientSide, Clock.systemUTC())) {
            Outcome outcome = connect(
                    serverSide,
                    channel -> server.newServerHandler(channel.alloc(), false, Runnable::run),
                    clientSide,
                    channel -> client.newClientHandler(channel.alloc(), Runnable::run));
            assertEquals(
                    longest.id(),
                    NodeCertificate.prove(outcome.client.get()).chain().id());
            assertEquals(
                    longest.id(),
                    NodeCertificate.prove(outcome.server.get()).chain().id());
        }
    }

    @ParameterizedTest
    @EnumSource(Platform.class)
    void aStrangerGetsAnAlertWhicheverSideItIsOn(Platform platform) throws Exception {
        try (Credentials honest = credentials(Identity.generate(), platform)) {
            for (Map.Entry<String, BadCertificates.Shown> bad :
                    BadCertificates.all(tree).entrySet()) {
                Outcome asClient = connect(
                        platform,
                        channel -> honest.newServerHandler(channel.alloc(), false, Runnable::run),
                        Platform.PORTABLE,
                        channel -> context(bad.getValue(), false).newHandler(channel.alloc()));
                assertTrue(asClient.server.isCompletedExceptionally(), bad.getKey());
                assertTrue(asClient.client.isCompletedExceptionally(), bad.getKey());
                Outcome asServer = connect(
                        Platform.PORTABLE,
                        channel -> context(bad.getValue(), true).newHandler(channel.alloc()),
                        platform,
                        channel -> honest.newClientHandler(channel.alloc(), Runnable::run));
                assertTrue(asServer.client.isCompletedExceptionally(), bad.getKey());
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Platform.class)
    void whoShowsNothingIsAStranger(Platform platform) throws Exception {
        try (Credentials honest = credentials(Identity.generate(), platform)) {
            Outcome outcome = connect(
                    platform,
                    channel -> honest.newServerHandler(channel.alloc(), false, Runnable::run),
                    Platform.PORTABLE,
                    channel -> SslContextBuilder.forClient()
                            .sslProvider(SslProvider.JDK)
                            .trustManager(InsecureTrustManagerFactory.INSTANCE)
                            .endpointIdentificationAlgorithm(null)
                            .build()
                            .newHandler(channel.alloc()));
            assertTrue(outcome.server.isCompletedExceptionally());
            assertTrue(outcome.client.isCompletedExceptionally());
        }
    }

    /** A stranger that trusts everybody. */
    private static io.netty.handler.ssl.SslContext context(BadCertificates.Shown shown, boolean server)
            throws Exception {
        SslContextBuilder builder = server
                ? SslContextBuilder.forServer(shown.key(), shown.certificates()).clientAuth(ClientAuth.REQUIRE)
                : SslContextBuilder.forClient()
                        .keyManager(shown.key(), shown.certificates())
                        .endpointIdentificationAlgorithm(null);
        return builder.sslProvider(SslProvider.JDK)
                .protocols("TLSv1.3")
                .trustManager(InsecureTrustManagerFactory.INSTANCE)
                .build();
    }

    @Test
    void eachBadCertificateIsRefusedForWhatIsWrongWithIt() throws Exception {
        Map<String, String> reasons = Map.ofEntries(
                Map.entry("statement over another key", "over another key"),
                Map.entry("no extension", "critical extensions"),
                Map.entry("extension not critical", "critical extensions"),
                Map.entry("another critical extension", "critical extensions"),
                Map.entry("garbage in the extension", "node proof"),
                Map.entry("empty extension", "links"),
                Map.entry("oversized chain", "more than"),
                Map.entry("oversized certificate", "more than 20480"),
                Map.entry("two certificates", "2 certificates"),
                Map.entry("another kind of key", "P-256"),
                Map.entry("signed by another key", "does not sign itself"));
        Map<String, BadCertificates.Shown> all = BadCertificates.all(tree);
        assertEquals(reasons.keySet(), all.keySet());
        all.forEach((name, shown) -> {
            CryptoException e =
                    assertThrows(CryptoException.class, () -> NodeCertificate.prove(shown.certificates()), name);
            assertTrue(String.valueOf(e.getMessage()).contains(reasons.get(name)), name + ": " + e.getMessage());
        });
    }

    @Test
    void aCertificateIsMadeAgainWhenHalfItsTimeHasPassedAndWhenTheClockIsSetBack() throws Exception {
        long[] nowMillis = {System.currentTimeMillis()};
        Clock clock = new Clock() {
            @Override
            public java.time.ZoneId getZone() {
                return java.time.ZoneOffset.UTC;
            }

            @Override
            public Clock withZone(java.time.ZoneId zone) {
                return this;
            }

            @Override
            public java.time.Instant instant() {
                return java.time.Instant.ofEpochMilli(nowMillis[0]);
            }
        };
        Identity node = Identity.generate();
        try (Credentials credentials = new Credentials(node, tree.chain(node), Platform.PORTABLE, clock)) {
            byte[] first = shownBy(credentials);
            assertArrayEquals(first, shownBy(credentials));
            nowMillis[0] += blocktree.crypto.NodeProof.LIFE_MILLIS_MAX / 2;
            byte[] second = shownBy(credentials);
            assertTrue(!Arrays.equals(first, second));
            nowMillis[0] -= 3_600_000;
            byte[] third = shownBy(credentials);
            assertTrue(!Arrays.equals(second, third));
            assertArrayEquals(third, shownBy(credentials));
        }
    }

    private byte[] shownBy(Credentials credentials) throws Exception {
        Outcome outcome = connect(
                Platform.PORTABLE,
                channel -> credentials.newServerHandler(channel.alloc(), false, Runnable::run),
                Platform.PORTABLE,
                channel -> credentials.newClientHandler(channel.alloc(), Runnable::run));
        return assertInstanceOf(X509Certificate.class, outcome.client.get()[0]).getEncoded();
    }
}
