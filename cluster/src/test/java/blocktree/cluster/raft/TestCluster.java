package blocktree.cluster.raft;

import blocktree.btmsg.session.Limits;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.MessengerOptions;
import blocktree.cluster.AgreementStatus;
import blocktree.cluster.Eventually;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.Rights;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Nodes of one tree on loopback, with real keys, sessions and logs. Of two nodes the one with the lower number dials. */
final class TestCluster implements AutoCloseable {
    private static final long PATIENCE_MILLIS = 20_000;

    private static final Limits LIMITS = new Limits(
            256, 64, 64, 1024, 16 << 20, 16 << 20, new Limits.Times(10_000, 10_000, 25_000, 10_000, 20, 200, 10_000));

    final Identity root = Identity.generate();
    private final long startMillis = System.currentTimeMillis() - 60_000;
    private final TreeFounding founding = TreeFounding.create(root, Identity.generate(), startMillis);
    private final Authority authority = new Authority(founding.tree());
    private final Path directory;
    final List<Node> nodes = new ArrayList<>();
    private final Map<List<Integer>, Link> links = new HashMap<>();
    UnaryOperator<RaftOptions> configure = options -> options;

    TestCluster(Path directory) {
        this.directory = directory;
        try {
            for (TreeFounding.Entry entry : founding.entries()) {
                authority.apply(entry.kind(), entry.payload(), authority.position() + 1, startMillis);
            }
        } catch (CryptoException e) {
            throw new IllegalStateException(e);
        }
    }

    final class Node {
        final int number = nodes.size();
        final Identity identity = Identity.generate();
        ListMachine machine = new ListMachine();

        @Nullable
        Messenger messenger;

        @Nullable
        InetSocketAddress address;

        @Nullable
        RaftAgreement agreement;

        PrincipalId id() {
            return identity.id();
        }

        RaftAgreement agreement() {
            if (agreement == null) {
                throw new IllegalStateException("node " + number + " is not there");
            }
            return agreement;
        }

        Messenger messenger() {
            if (messenger == null) {
                throw new IllegalStateException("node " + number + " is not there");
            }
            return messenger;
        }

        boolean isThere() {
            return agreement != null;
        }

        AgreementStatus status() {
            return agreement().status();
        }

        boolean leads() {
            return isThere() && Objects.equals(id(), status().leader());
        }

        /** A messenger, and a way to each other node. */
        void connect() throws IOException {
            WriteCapability link = WriteCapability.issue(
                    root,
                    founding.tree(),
                    founding.rootDomain(),
                    identity.keys(),
                    Rights.NODE,
                    startMillis,
                    WriteCapability.NO_END);
            Messenger own = new Messenger(MessengerOptions.of(
                            identity,
                            WriteCapabilityChain.of(List.of(link)),
                            authority,
                            System::currentTimeMillis,
                            "/test",
                            "test 1")
                    .withLimits(LIMITS));
            messenger = own;
            address = own.listen(new InetSocketAddress("127.0.0.1", 0));
            for (Node other : nodes) {
                if (other.number > number) {
                    own.peer(other.id()).setAddresses(List.of(link(this, other).address()));
                }
            }
        }

        void start(Set<PrincipalId> voters) throws IOException {
            start(voters, leader -> CompletableFuture.completedFuture(node(leader).machine));
        }

        void start(Set<PrincipalId> voters, Function<PrincipalId, CompletableFuture<ListMachine>> source)
                throws IOException {
            machine.source = source;
            connect();
            agreement = RaftAgreement.start(configure.apply(
                    RaftOptions.of(directory(this), founding.tree(), id(), voters, messenger(), machine)));
        }

        /** As a process that is killed: nobody is told but by their sockets. */
        void kill() {
            messenger().close();
            agreement().close();
            agreement = null;
        }

        void stop() {
            agreement().close();
            messenger().close();
            agreement = null;
        }

        CompletableFuture<Void> propose(String text) {
            return agreement().propose(ByteString.copyFromUtf8(text));
        }
    }

    Path directory(Node node) {
        return directory.resolve("node" + node.number);
    }

    Node add() {
        Node node = new Node();
        nodes.add(node);
        return node;
    }

    Node node(PrincipalId id) {
        return nodes.stream().filter(node -> node.id().equals(id)).findAny().orElseThrow();
    }

    Link link(Node a, Node b) throws IOException {
        Node from = a.number < b.number ? a : b;
        Node to = from == a ? b : a;
        List<Integer> key = List.of(from.number, to.number);
        Link link = links.get(key);
        if (link == null) {
            link = new Link(() -> to.address);
            links.put(key, link);
        }
        return link;
    }

    /** So many voters that begin together. */
    void start(int count) throws Exception {
        for (int i = 0; i < count; i++) {
            add();
        }
        for (Node node : nodes) {
            node.start(ids());
        }
        awaitLeader();
    }

    Set<PrincipalId> ids() {
        return nodes.stream().map(Node::id).collect(Collectors.toSet());
    }

    /** Of those that are there, one that leads and that the others follow. */
    Node awaitLeader() throws Exception {
        return await("a leader", () -> {
            List<Node> there = nodes.stream().filter(Node::isThere).toList();
            Node leader = there.stream().filter(Node::leads).findAny().orElse(null);
            return leader != null
                            && there.stream()
                                    .allMatch(node -> Objects.equals(
                                            leader.id(), node.status().leader()))
                    ? leader
                    : null;
        });
    }

    List<Node> followers(Node leader) {
        return nodes.stream().filter(node -> node.isThere() && node != leader).toList();
    }

    void awaitSame() throws Exception {
        await(
                "the same everywhere",
                () -> nodes.stream()
                                        .filter(Node::isThere)
                                        .map(node -> node.machine.entries())
                                        .distinct()
                                        .count()
                                == 1
                        ? true
                        : null);
    }

    static <T> T await(String what, Callable<@Nullable T> condition) throws Exception {
        return Eventually.await(what, PATIENCE_MILLIS, condition);
    }

    static void get(CompletableFuture<?> future) throws Exception {
        future.get(PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
    }

    @Override
    public void close() throws IOException {
        for (Node node : nodes) {
            if (node.messenger != null) {
                node.messenger.close();
            }
        }
        // Each takes up to a second.
        nodes.stream()
                .filter(Node::isThere)
                .parallel()
                .forEach(node -> node.agreement().close());
        for (Link link : links.values()) {
            link.close();
        }
    }
}
