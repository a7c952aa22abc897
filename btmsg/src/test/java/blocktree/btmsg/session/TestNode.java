package blocktree.btmsg.session;

import blocktree.crypto.Authority;
import blocktree.crypto.Identity;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.WriteCapabilityChain;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;

/** A node that listens on loopback, with real keys. */
final class TestNode implements AutoCloseable {
    /** Same as those of real nodes, but for a short wait between tries and many connections from one address. */
    static final Limits.Times TIMES = new Limits.Times(10_000, 10_000, 25_000, 10_000, 20, 500, 10_000);

    static final Limits LIMITS = limits(TIMES);

    final Identity identity;
    final Messenger messenger;
    final InetSocketAddress address;

    TestNode(TestTree tree, Platform platform) {
        this(tree, Identity.generate(), platform, LIMITS);
    }

    TestNode(TestTree tree, Platform platform, Limits limits) {
        this(tree, Identity.generate(), platform, limits);
    }

    TestNode(TestTree tree, Identity identity, Platform platform) {
        this(tree, identity, platform, LIMITS);
    }

    private TestNode(TestTree tree, Identity identity, Platform platform, Limits limits) {
        this(
                tree,
                identity,
                tree.chain(identity),
                options -> options.withPlatform(platform).withLimits(limits),
                Protocol.CURRENT);
    }

    TestNode(
            TestTree tree,
            Identity identity,
            WriteCapabilityChain chain,
            UnaryOperator<MessengerOptions> configure,
            Protocol protocol) {
        this(tree.authority, identity, chain, configure, protocol);
    }

    TestNode(
            Authority authority,
            Identity identity,
            WriteCapabilityChain chain,
            UnaryOperator<MessengerOptions> configure,
            Protocol protocol) {
        this.identity = identity;
        this.messenger = new Messenger(
                configure.apply(
                        MessengerOptions.of(identity, chain, authority, System::currentTimeMillis, "/test", "test 1")
                                .withLimits(LIMITS)),
                protocol);
        try {
            this.address = messenger.listen(new InetSocketAddress("127.0.0.1", 0));
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    static Limits limits(Limits.Times times) {
        return new Limits(256, 64, 64, 1024, 16 << 20, 16 << 20, times);
    }

    PrincipalId id() {
        return identity.id();
    }

    /** What this node sees of {@code other}, before anything is dialled. */
    Peer peer(TestNode other) {
        return messenger.peer(other.id());
    }

    /** Dials until there is a session. */
    Peer connect(TestNode other) throws Exception {
        Peer peer = peer(other);
        peer.setAddresses(List.of(other.address));
        peer.whenConnected().get(30, TimeUnit.SECONDS);
        other.peer(this).whenConnected().get(30, TimeUnit.SECONDS);
        return peer;
    }

    @Override
    public void close() {
        messenger.close();
    }
}
