package blocktree.btmsg.session;

import io.netty.channel.Channel;
import io.netty.channel.IoHandlerFactory;
import io.netty.channel.ServerChannel;
import io.netty.channel.epoll.Epoll;
import io.netty.channel.epoll.EpollIoHandler;
import io.netty.channel.epoll.EpollServerSocketChannel;
import io.netty.channel.epoll.EpollSocketChannel;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.channel.socket.nio.NioSocketChannel;
import io.netty.handler.ssl.OpenSsl;
import io.netty.handler.ssl.SslProvider;

/** Whose sockets and TLS are used. Nodes on either talk to one another. */
public enum Platform {
    /** Sockets and TLS of the JDK: everywhere. */
    PORTABLE(NioServerSocketChannel.class, NioSocketChannel.class, SslProvider.JDK),
    /** epoll and BoringSSL: Linux on x86-64. */
    NATIVE(EpollServerSocketChannel.class, EpollSocketChannel.class, SslProvider.OPENSSL_REFCNT);

    private final Class<? extends ServerChannel> serverChannel;
    private final Class<? extends Channel> channel;
    private final SslProvider tls;

    Platform(Class<? extends ServerChannel> serverChannel, Class<? extends Channel> channel, SslProvider tls) {
        this.serverChannel = serverChannel;
        this.channel = channel;
        this.tls = tls;
    }

    /** The fastest that this machine has. */
    public static Platform best() {
        return NATIVE.isAvailable() ? NATIVE : PORTABLE;
    }

    public boolean isAvailable() {
        return this == PORTABLE || Epoll.isAvailable() && OpenSsl.isAvailable();
    }

    IoHandlerFactory ioHandlers() {
        return this == PORTABLE ? NioIoHandler.newFactory() : EpollIoHandler.newFactory();
    }

    Class<? extends ServerChannel> serverChannel() {
        return serverChannel;
    }

    Class<? extends Channel> channel() {
        return channel;
    }

    SslProvider tls() {
        return tls;
    }
}
