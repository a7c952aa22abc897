package blocktree.btmsg.session;

import blocktree.crypto.Identity;
import blocktree.crypto.NodeProof;
import blocktree.crypto.WriteCapabilityChain;
import io.netty.buffer.ByteBufAllocator;
import io.netty.handler.ssl.ApplicationProtocolConfig;
import io.netty.handler.ssl.ClientAuth;
import io.netty.handler.ssl.SslContext;
import io.netty.handler.ssl.SslContextBuilder;
import io.netty.handler.ssl.SslHandler;
import io.netty.util.ReferenceCountUtil;
import java.time.Clock;
import java.util.concurrent.Executor;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;

/**
 * This node's certificate and the TLS contexts that show it, made again when half of the certificate's time has passed, and when the
 * clock was set back to before it was made: others would refuse a statement from their future. Thread-safe.
 */
final class Credentials implements AutoCloseable {

    /** What both sides name in the handshake. */
    static final String PROTOCOL = "blocktree/1";

    /** The same, with a client that is no node yet, shows no certificate, and brings an invitation. */
    static final String JOIN_PROTOCOL = "blocktree-join/1";

    static {
        // The JDK's servers would send tickets with each connection, which nobody here uses: BoringSSL's send none.
        System.setProperty("jdk.tls.server.newSessionTicketCount", "0");
    }

    private record Contexts(SslContext server, SslContext serverForJoiners, SslContext client, long madeAtMillis) {
        boolean holdsAt(long nowMillis) {
            return nowMillis >= madeAtMillis && nowMillis < madeAtMillis + NodeProof.LIFE_MILLIS_MAX / 2;
        }

        void release() {
            ReferenceCountUtil.release(server);
            ReferenceCountUtil.release(serverForJoiners);
            ReferenceCountUtil.release(client);
        }
    }

    private final Identity node;
    private final Platform platform;
    private final Clock clock;

    // guarded by this
    private WriteCapabilityChain chain;
    private @Nullable Contexts contexts;

    Credentials(Identity node, WriteCapabilityChain chain, Platform platform, Clock clock) {
        this.node = node;
        this.chain = chain;
        this.platform = platform;
        this.clock = clock;
    }

    /** From now on connections show {@code renewed}; IllegalArgumentException when it is not this node's: nobody would take it. */
    synchronized void use(WriteCapabilityChain renewed) {
        if (!renewed.subject().id().equals(node.id())) {
            throw new IllegalArgumentException("a chain of " + renewed.subject().id() + ", not of " + node.id());
        }
        chain = renewed;
        close();
    }

    /**
     * @param joiners whether clients that show no certificate get as far as {@link #JOIN_PROTOCOL}
     * @param signatures makes and checks those of the handshake
     */
    synchronized SslHandler newServerHandler(ByteBufAllocator allocator, boolean joiners, Executor signatures)
            throws SSLException {
        return (joiners ? contexts().serverForJoiners : contexts().server).newHandler(allocator, signatures);
    }

    /** Without the address of the server: its name is of no interest, and sessions are not to be resumed. */
    synchronized SslHandler newClientHandler(ByteBufAllocator allocator, Executor signatures) throws SSLException {
        return contexts().client.newHandler(allocator, signatures);
    }

    private Contexts contexts() throws SSLException {
        long nowMillis = clock.millis();
        Contexts current = contexts;
        if (current == null || !current.holdsAt(nowMillis)) {
            close();
            current = newContexts(nowMillis);
            contexts = current;
        }
        return current;
    }

    private Contexts newContexts(long nowMillis) throws SSLException {
        NodeCertificate own = NodeCertificate.create(node, chain, nowMillis);
        SslContext server = configure(SslContextBuilder.forServer(own.key(), own.certificate()), PROTOCOL)
                .clientAuth(ClientAuth.REQUIRE)
                .build();
        SslContext serverForJoiners = configure(
                        SslContextBuilder.forServer(own.key(), own.certificate()), PROTOCOL, JOIN_PROTOCOL)
                .clientAuth(ClientAuth.OPTIONAL)
                .build();
        SslContext client = configure(SslContextBuilder.forClient().keyManager(own.key(), own.certificate()), PROTOCOL)
                .endpointIdentificationAlgorithm(null)
                .build();
        return new Contexts(server, serverForJoiners, client, nowMillis);
    }

    private SslContextBuilder configure(SslContextBuilder builder, String... protocols) {
        return builder.sslProvider(platform.tls())
                .protocols("TLSv1.3")
                .trustManager(new NodeTrustManager())
                .applicationProtocolConfig(new ApplicationProtocolConfig(
                        ApplicationProtocolConfig.Protocol.ALPN,
                        ApplicationProtocolConfig.SelectorFailureBehavior.NO_ADVERTISE,
                        ApplicationProtocolConfig.SelectedListenerFailureBehavior.ACCEPT,
                        protocols));
    }

    @Override
    public synchronized void close() {
        if (contexts != null) {
            contexts.release();
            contexts = null;
        }
    }
}
