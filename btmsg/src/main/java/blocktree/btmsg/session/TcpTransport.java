package blocktree.btmsg.session;

import blocktree.crypto.WriteCapabilityChain;
import io.netty.bootstrap.Bootstrap;
import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.AdaptiveRecvByteBufAllocator;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoop;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.WriteBufferWaterMark;
import io.netty.handler.flush.FlushConsolidationHandler;
import io.netty.handler.ssl.SslHandler;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.Queue;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** TLS 1.3 over TCP. Signatures of handshakes are made and checked on threads of their own: strangers keep no event loop busy. */
final class TcpTransport implements Transport {
    static final long FAREWELL_MILLIS = 1_000;

    private static final int LOOPS_MIN = 2;
    private static final int LOOPS_MAX = 8;
    private static final int HANDSHAKE_THREADS = 2;

    /** Handshakes that wait for a thread; one more fails. Connections that are gone may have some of them still. */
    private static final int HANDSHAKES_WAITING_MAX = 1024;

    private static final WriteBufferWaterMark WATER_MARK = new WriteBufferWaterMark(256 << 10, 512 << 10);

    /** Of 64 KiB at most: how much of one connection is decrypted before others of its loop have their turn. */
    private static final int READS_PER_TURN = 4;

    static {
        // Tells channels of different machines apart, and there is one machine: without it Netty looks for a network
        // card, and complains where there is none.
        System.setProperty("io.netty.machineId", "00:00:00:00:00:00:00:00");
    }

    private final Platform platform;
    private final Credentials credentials;
    private final long greetingMillis;
    private final EventLoopGroup loops;
    private final ExecutorService handshakes = new ThreadPoolExecutor(
            HANDSHAKE_THREADS,
            HANDSHAKE_THREADS,
            0,
            TimeUnit.SECONDS,
            new ArrayBlockingQueue<>(HANDSHAKES_WAITING_MAX),
            new DefaultThreadFactory("handshake", true));
    private final Queue<Channel> listening = new ConcurrentLinkedQueue<>();

    /** Takes over {@code credentials}. */
    TcpTransport(Platform platform, Credentials credentials, long greetingMillis) {
        this.platform = platform;
        this.credentials = credentials;
        this.greetingMillis = greetingMillis;
        this.loops = new MultiThreadIoEventLoopGroup(
                Math.max(LOOPS_MIN, Math.min(LOOPS_MAX, Runtime.getRuntime().availableProcessors())),
                new DefaultThreadFactory("peers", true),
                platform.ioHandlers());
    }

    @Override
    public InetSocketAddress listen(InetSocketAddress address, Greetings greetings) throws IOException {
        ChannelFuture bound = new ServerBootstrap()
                .group(loops)
                .channel(platform.serverChannel())
                .option(ChannelOption.SO_REUSEADDR, true)
                .childOption(ChannelOption.TCP_NODELAY, true)
                .childOption(ChannelOption.WRITE_BUFFER_WATER_MARK, WATER_MARK)
                .childOption(ChannelOption.RECVBUF_ALLOCATOR, reads())
                .childHandler(new ChannelInitializer<>() {
                    @Override
                    protected void initChannel(Channel accepted) throws IOException {
                        // null when it is gone already
                        InetSocketAddress from = (InetSocketAddress) accepted.remoteAddress();
                        Greeting greeting = from == null ? null : greetings.newGreeting(from);
                        if (greeting == null) {
                            accepted.close();
                        } else {
                            boolean joiners = greetings.awaitsJoiners();
                            add(
                                    accepted,
                                    greeting,
                                    credentials.newServerHandler(accepted.alloc(), joiners, handshakes));
                        }
                    }
                })
                .bind(address)
                .awaitUninterruptibly();
        if (!bound.isSuccess()) {
            throw new IOException(
                    "cannot listen at " + address + ": " + bound.cause().getMessage(), bound.cause());
        }
        listening.add(bound.channel());
        return (InetSocketAddress) bound.channel().localAddress();
    }

    @Override
    public void connect(InetSocketAddress address, Greeting greeting) {
        new Bootstrap()
                .group(loops)
                .channel(platform.channel())
                .option(ChannelOption.TCP_NODELAY, true)
                .option(ChannelOption.WRITE_BUFFER_WATER_MARK, WATER_MARK)
                .option(ChannelOption.RECVBUF_ALLOCATOR, reads())
                .option(ChannelOption.CONNECT_TIMEOUT_MILLIS, (int) greetingMillis)
                .handler(new ChannelInitializer<>() {
                    @Override
                    protected void initChannel(Channel channel) throws IOException {
                        add(channel, greeting, credentials.newClientHandler(channel.alloc(), handshakes));
                    }
                })
                .connect(address)
                .addListener(connected -> {
                    if (!connected.isSuccess()) {
                        greeting.unreachable(connected.cause());
                    }
                });
    }

    private static AdaptiveRecvByteBufAllocator reads() {
        AdaptiveRecvByteBufAllocator reads = new AdaptiveRecvByteBufAllocator();
        reads.maxMessagesPerRead(READS_PER_TURN);
        return reads;
    }

    private void add(Channel channel, Greeting greeting, SslHandler tls) {
        channel.pipeline().addLast(greeting); // first of all: it has to hear when the rest fails
        tls.setHandshakeTimeoutMillis(greetingMillis);
        channel.pipeline()
                .addFirst(
                        new Traffic(),
                        tls,
                        new TlsProof(tls),
                        new FlushConsolidationHandler(
                                FlushConsolidationHandler.DEFAULT_EXPLICIT_FLUSH_AFTER_FLUSHES, true));
    }

    @Override
    public void useChain(WriteCapabilityChain renewed) {
        credentials.use(renewed);
    }

    @Override
    public EventLoop nextLoop() {
        return loops.next();
    }

    @Override
    public void stopListening() {
        listening.forEach(Channel::close);
    }

    @Override
    public void close() {
        stopListening();
        loops.shutdownGracefully(50, FAREWELL_MILLIS, TimeUnit.MILLISECONDS).awaitUninterruptibly(2 * FAREWELL_MILLIS);
        handshakes.shutdownNow();
        credentials.close();
    }
}
