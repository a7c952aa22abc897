package blocktree.btmsg;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.epoll.EpollDomainSocketChannel;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerDomainSocketChannel;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.unix.DomainSocketAddress;
import io.netty.util.concurrent.DefaultThreadFactory;
import io.netty.util.concurrent.GlobalEventExecutor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayDeque;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The control protocol on a Unix-domain socket of mode 0600. Takes clients of the node's own user and of root only, at most
 * {@value #CONNECTIONS_MAX} at once. The event loop decodes and enforces limits; workers answer.
 */
public final class ControlServer implements AutoCloseable {
    static final int CONNECTIONS_MAX = 32;
    private static final int WORKERS_MAX = 16;
    private static final long HELLO_TIMEOUT_MILLIS = 10_000;
    private static final long LAST_REPLIES_MILLIS = 500;
    /** How long a client may leave what was sent to it unread. */
    private static final long UNREAD_MILLIS_MAX = 120_000;

    static {
        // Tells channels of different machines apart, and there is one machine: without it Netty looks for a network
        // card, and complains where there is none.
        System.setProperty("io.netty.machineId", "00:00:00:00:00:00:00:00");
    }

    private static final Logger log = LoggerFactory.getLogger(ControlServer.class);

    private final Path socket;
    private final ControlHandler handler;
    private final int ownUid;
    private final EventLoopGroup loop =
            new MultiThreadIoEventLoopGroup(1, new DefaultThreadFactory("control", true), EpollIoHandler.newFactory());
    private final ExecutorService workers = newWorkers();
    private final ChannelGroup connections = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);

    private ControlServer(Path socket, ControlHandler handler, int ownUid) {
        this.socket = socket;
        this.handler = handler;
        this.ownUid = ownUid;
    }

    /**
     * Listens at {@code socket}, in place of a socket that an earlier node left there. The caller holds a lock that says that no
     * other node uses the path, and its directory is closed to other users.
     */
    public static ControlServer start(Path socket, ControlHandler handler) throws IOException {
        Files.deleteIfExists(socket);
        int uid = (int) Files.getAttribute(socket.toAbsolutePath().getParent(), "unix:uid");
        ControlServer server = new ControlServer(socket, handler, uid);
        try {
            server.listen();
            return server;
        } catch (IOException e) {
            server.close();
            throw e;
        }
    }

    static ExecutorService newWorkers() {
        ThreadPoolExecutor workers = new ThreadPoolExecutor(
                WORKERS_MAX,
                WORKERS_MAX,
                10,
                TimeUnit.SECONDS,
                new LinkedBlockingQueue<>(),
                new DefaultThreadFactory("control-worker", true));
        workers.allowCoreThreadTimeOut(true);
        return workers;
    }

    /** Who waits for the node's end is just being answered; what takes longer is cut off. */
    static void endWorkers(ExecutorService workers) {
        workers.shutdown();
        try {
            workers.awaitTermination(LAST_REPLIES_MILLIS, TimeUnit.MILLISECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        workers.shutdownNow();
    }

    private void listen() throws IOException {
        ServerBootstrap bootstrap = new ServerBootstrap()
                .group(loop)
                .channel(EpollServerDomainSocketChannel.class)
                .childHandler(new ChannelInitializer<EpollDomainSocketChannel>() {
                    @Override
                    protected void initChannel(EpollDomainSocketChannel channel) throws IOException {
                        accept(channel);
                    }
                });
        try {
            bootstrap.bind(new DomainSocketAddress(socket.toFile())).sync();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new ControlException(ControlException.Code.CLOSED, "interrupted while opening the control socket");
        }
        Files.setPosixFilePermissions(socket, PosixFilePermissions.fromString("rw-------"));
    }

    private void accept(EpollDomainSocketChannel channel) throws IOException {
        int uid = channel.peerCredentials().uid();
        if (uid != ownUid && uid != 0 || connections.size() >= CONNECTIONS_MAX) {
            log.atWarn()
                    .addKeyValue("uid", uid)
                    .addKeyValue("connections", connections.size())
                    .log("control_refused");
            channel.close();
            return;
        }
        connections.add(channel);
        channel.pipeline().addLast(new Connection(channel));
    }

    /** Ends all connections, after replies that are on their way, and takes the socket away. */
    @Override
    public void close() throws IOException {
        endWorkers(workers);
        connections.close().awaitUninterruptibly(1, TimeUnit.SECONDS);
        loop.shutdownGracefully(0, 1, TimeUnit.SECONDS).awaitUninterruptibly(2, TimeUnit.SECONDS);
        Files.deleteIfExists(socket);
    }

    /** One connection on the event loop. */
    private final class Connection extends ChannelInboundHandlerAdapter implements ControlSession.Outlet {
        private final Channel channel;
        private final FrameDecoder decoder = new FrameDecoder();
        private final ControlSession session;
        /** What was read and not decoded yet, because the session was saturated. */
        private final ArrayDeque<ByteBuf> unread = new ArrayDeque<>();

        private final Object writable = new Object();

        Connection(Channel channel) {
            this.channel = channel;
            this.session = new ControlSession(
                    handler, workers, this, () -> channel.eventLoop().execute(this::decode));
        }

        @Override
        public void channelActive(ChannelHandlerContext context) {
            context.executor()
                    .schedule(
                            () -> {
                                if (!session.isGreeted()) {
                                    context.close();
                                }
                            },
                            HELLO_TIMEOUT_MILLIS,
                            TimeUnit.MILLISECONDS);
        }

        @Override
        public void channelRead(ChannelHandlerContext context, Object message) {
            unread.add((ByteBuf) message);
            decode();
        }

        private void decode() {
            try {
                while (!unread.isEmpty() && !session.isSaturated()) {
                    ByteBuf head = unread.element();
                    ByteBuffer bytes = head.nioBuffer();
                    byte[] frame = decoder.next(bytes);
                    head.skipBytes(head.readableBytes() - bytes.remaining());
                    if (!head.isReadable()) {
                        unread.remove().release();
                    }
                    if (frame != null) {
                        session.received(frame);
                    }
                }
                channel.config().setAutoRead(unread.isEmpty());
            } catch (ControlException e) {
                log.atWarn().addKeyValue("reason", e.getMessage()).log("control_refused");
                channel.close();
            }
        }

        @Override
        public void channelInactive(ChannelHandlerContext context) {
            unread.forEach(ByteBuf::release);
            unread.clear();
            wakeSenders();
        }

        @Override
        public void channelWritabilityChanged(ChannelHandlerContext context) {
            wakeSenders();
        }

        @Override
        public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
            log.atDebug()
                    .addKeyValue("reason", String.valueOf(cause.getMessage()))
                    .log("control_client_gone");
            context.close();
        }

        private void wakeSenders() {
            synchronized (writable) {
                writable.notifyAll();
            }
        }

        @Override
        public void send(byte[] frame) throws ControlException {
            long deadlineNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(UNREAD_MILLIS_MAX);
            synchronized (writable) {
                while (channel.isActive() && !channel.isWritable()) {
                    long leftMillis = TimeUnit.NANOSECONDS.toMillis(deadlineNanos - System.nanoTime());
                    if (leftMillis <= 0) {
                        channel.close();
                        break;
                    }
                    try {
                        writable.wait(leftMillis);
                    } catch (InterruptedException e) {
                        Thread.currentThread().interrupt();
                        channel.close();
                        break;
                    }
                }
            }
            if (!channel.isActive()) {
                throw new ControlException(ControlException.Code.CLOSED, "the client is gone");
            }
            channel.writeAndFlush(Unpooled.wrappedBuffer(frame));
        }

        @Override
        public void close() {
            channel.writeAndFlush(Unpooled.EMPTY_BUFFER).addListener(ChannelFutureListener.CLOSE);
        }
    }
}
