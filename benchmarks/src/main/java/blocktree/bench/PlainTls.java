package blocktree.bench;

import blocktree.btmsg.session.Platform;
import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.ServerChannel;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslProvider;
import io.netty.handler.ssl.util.InsecureTrustManagerFactory;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.X509Certificate;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicLong;

/** TLS 1.3 over Netty with nothing above it, by the same libraries as sessions: what these have to be compared with. */
final class PlainTls implements AutoCloseable {
    private static final String PASSWORD = "plain-tls";

    private static class Handler extends ChannelInboundHandlerAdapter {
        @Override
        public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
            context.close(); // the other side has
        }
    }

    private final boolean portable;
    private final EventLoopGroup loops;
    private final SslContext server;
    private final SslContext client;

    PlainTls(Platform platform, Path directory) throws IOException {
        portable = platform == Platform.PORTABLE;
        IoHandlerFactory handlers = portable ? NioIoHandler.newFactory() : EpollIoHandler.newFactory();
        loops = new MultiThreadIoEventLoopGroup(2, new DefaultThreadFactory("plain-tls", true), handlers);
        SslProvider provider = portable ? SslProvider.JDK : SslProvider.OPENSSL_REFCNT;
        try {
            KeyStore keys = newKeyStore(directory.resolve("plain-tls.p12"));
            PrivateKey key = (PrivateKey) keys.getKey("plain", PASSWORD.toCharArray());
            X509Certificate certificate = (X509Certificate) keys.getCertificate("plain");
            server = SslContextBuilder.forServer(key, certificate)
                    .sslProvider(provider)
                    .protocols("TLSv1.3")
                    .build();
            client = SslContextBuilder.forClient()
                    .sslProvider(provider)
                    .protocols("TLSv1.3")
                    .trustManager(InsecureTrustManagerFactory.INSTANCE)
                    .endpointIdentificationAlgorithm(null)
                    .build();
        } catch (GeneralSecurityException e) {
            throw new IOException(e);
        }
    }

    /** With a P-256 key and a certificate over it. */
    private static KeyStore newKeyStore(Path file) throws IOException, GeneralSecurityException {
        String keytool =
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString();
        Processes.run(
                keytool,
                "-genkeypair",
                "-alias",
                "plain",
                "-keyalg",
                "EC",
                "-groupname",
                "secp256r1",
                "-dname",
                "CN=plain",
                "-storetype",
                "PKCS12",
                "-storepass",
                PASSWORD,
                "-keystore",
                file.toString());
        KeyStore keys = KeyStore.getInstance("PKCS12");
        try (InputStream in = Files.newInputStream(file)) {
            keys.load(in, PASSWORD.toCharArray());
        }
        return keys;
    }

    /** Sends {@code bytes} in pieces of {@code pieceBytes} to a server that throws them away; returns when it has all. */
    void transfer(long bytes, int pieceBytes) throws IOException {
        CompletableFuture<Void> received = new CompletableFuture<>();
        AtomicLong left = new AtomicLong(bytes);
        Channel listening = listen(new Handler() {
            @Override
            public void channelRead(ChannelHandlerContext context, Object message) {
                ByteBuf buffer = (ByteBuf) message;
                if (left.addAndGet(-buffer.readableBytes()) <= 0) {
                    received.complete(null);
                }
                buffer.release();
            }
        });
        AtomicLong unsent = new AtomicLong(bytes);
        Channel channel = connect(listening, new Handler() {
            @Override
            public void channelActive(ChannelHandlerContext context) {
                pump(context);
            }

            @Override
            public void channelWritabilityChanged(ChannelHandlerContext context) {
                pump(context);
            }

            private void pump(ChannelHandlerContext context) {
                while (context.channel().isWritable() && unsent.get() > 0) {
                    int sizeBytes = (int) Math.min(pieceBytes, unsent.get());
                    unsent.addAndGet(-sizeBytes);
                    context.writeAndFlush(
                            context.alloc().directBuffer(sizeBytes).writeZero(sizeBytes));
                }
            }
        });
        received.join();
        channel.close().awaitUninterruptibly();
        listening.close().awaitUninterruptibly();
    }

    /** Sends {@code count} times {@code sizeBytes} there and back, one after another. Gives each time in nanoseconds. */
    long[] roundTrips(int count, int sizeBytes) throws IOException {
        Channel listening = listen(new Handler() {
            @Override
            public void channelRead(ChannelHandlerContext context, Object message) {
                context.writeAndFlush(message);
            }
        });
        long[] nanos = new long[count];
        CompletableFuture<Void> done = new CompletableFuture<>();
        Channel channel = connect(listening, new Handler() {
            private int index;
            private int receivedBytes;
            private long startNanos;

            @Override
            public void channelActive(ChannelHandlerContext context) {
                ask(context);
            }

            private void ask(ChannelHandlerContext context) {
                startNanos = System.nanoTime();
                context.writeAndFlush(context.alloc().directBuffer(sizeBytes).writeZero(sizeBytes));
            }

            @Override
            public void channelRead(ChannelHandlerContext context, Object message) {
                ByteBuf buffer = (ByteBuf) message;
                receivedBytes += buffer.readableBytes();
                buffer.release();
                if (receivedBytes < sizeBytes) {
                    return;
                }
                receivedBytes = 0;
                nanos[index++] = System.nanoTime() - startNanos;
                if (index < count) {
                    ask(context);
                } else {
                    done.complete(null);
                }
            }
        });
        done.join();
        channel.close().awaitUninterruptibly();
        listening.close().awaitUninterruptibly();
        return nanos;
    }

    private Channel listen(Handler handler) throws IOException {
        Class<? extends ServerChannel> kind = portable ? NioServerSocketChannel.class : EpollServerSocketChannel.class;
        var bound = new ServerBootstrap()
                .group(loops)
                .channel(kind)
                .childOption(ChannelOption.TCP_NODELAY, true)
                .childHandler(initializer(server, handler))
                .bind(new InetSocketAddress("127.0.0.1", 0))
                .awaitUninterruptibly();
        if (!bound.isSuccess()) {
            throw new IOException(bound.cause());
        }
        return bound.channel();
    }

    private Channel connect(Channel listening, Handler handler) throws IOException {
        Class<? extends Channel> kind = portable ? NioSocketChannel.class : EpollSocketChannel.class;
        var connected = new Bootstrap()
                .group(loops)
                .channel(kind)
                .option(ChannelOption.TCP_NODELAY, true)
                .handler(initializer(client, handler))
                .connect(listening.localAddress())
                .awaitUninterruptibly();
        if (!connected.isSuccess()) {
            throw new IOException(connected.cause());
        }
        return connected.channel();
    }

    private static ChannelInitializer<Channel> initializer(SslContext context, Handler handler) {
        return new ChannelInitializer<>() {
            @Override
            protected void initChannel(Channel channel) {
                channel.pipeline().addLast(context.newHandler(channel.alloc()), handler);
            }
        };
    }

    @Override
    public void close() {
        loops.shutdownGracefully().awaitUninterruptibly(2000);
    }
}
