package blocktree.btmsg;

import io.netty.bootstrap.Bootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.ChannelFuture;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.epoll.EpollDomainDatagramChannel;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.unix.DomainSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** Tells the service supervisor the state of this process, as sd_notify(3) does. */
public final class ServiceNotification {
    private ServiceNotification() {}

    /**
     * Sends one datagram to {@code socket}, the value of {@code NOTIFY_SOCKET}. Abstract names, which begin with '@',
     * cannot be reached; systemd uses paths.
     *
     * @param state for example {@code READY=1}
     * @return whether it was sent
     */
    public static boolean send(String socket, String state) {
        EventLoopGroup loop = new MultiThreadIoEventLoopGroup(1, EpollIoHandler.newFactory());
        try {
            ChannelFuture connected = new Bootstrap()
                    .group(loop)
                    .channel(EpollDomainDatagramChannel.class)
                    .handler(new ChannelInboundHandlerAdapter())
                    .connect(new DomainSocketAddress(socket))
                    .await();
            return connected.isSuccess()
                    && connected
                            .channel()
                            .writeAndFlush(Unpooled.copiedBuffer(state, StandardCharsets.UTF_8))
                            .await()
                            .isSuccess();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        } finally {
            loop.shutdownGracefully(0, 1, TimeUnit.SECONDS);
        }
    }
}
