package blocktree.cluster;

import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.MessengerOptions;
import blocktree.btmsg.session.Peer;
import blocktree.cluster.raft.LostGroup;
import blocktree.cluster.raft.RaftEngine;
import blocktree.cluster.raft.RaftOptions;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyRing;
import blocktree.crypto.NodeAdmission;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.Rights;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import blocktree.store.StoreOptions;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Voters with real keys, stores, logs and sessions on loopback. The first founds the tree alone; the others take its store over. */
final class TreeCluster implements AutoCloseable {

    private static final long PATIENCE_MILLIS = 30_000;

    final Identity root = Identity.generate();
    private final long startMillis = System.currentTimeMillis() - 60_000;
    private final Path directory;
    final List<Node> nodes = new ArrayList<>();
    final TreeFounding founding;

    /** How each voter's log is kept. */
    private final UnaryOperator<RaftOptions> configure;

    TreeCluster(Path directory, int count) throws Exception {
        this(directory, count, UnaryOperator.identity());
    }

    TreeCluster(Path directory, int count, UnaryOperator<RaftOptions> configure) throws Exception {
        this.directory = directory;
        this.configure = configure;
        Node first = new Node();
        nodes.add(first);
        founding = TreeFounding.create(root, first.identity, startMillis);
        BlockStore.create(first.path("store"), options(), founding, first.identity);
        try (BlockStore store = BlockStore.open(first.path("store"), options(), first.identity)) {
            for (int i = 1; i < count; i++) {
                Node node = new Node();
                nodes.add(node);
                admit(store, node, true);
            }
        }
        first.start();
        awaitLeader();
        for (Node node : nodes.subList(1, count)) {
            node.copyFrom(first);
            node.start();
        }
        if (count > 1) {
            for (Node node : nodes.subList(1, count)) {
                await(
                        "node " + node.number + " is ready",
                        () -> first.cluster().isReady(node.identity.id()) ? true : null);
            }
            first.cluster().agreement().setVoters(List.copyOf(ids())).get(PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
        }
    }

    /** One more that does not vote, with a copy of what {@code from} has. */
    Node addFollower(Node from, boolean trusted) throws Exception {
        Node node = new Node();
        nodes.add(node);
        admit(from.store(), node, trusted);
        node.copyFrom(from);
        node.start();
        return node;
    }

    private void admit(BlockStore store, Node node, boolean trusted) throws StoreException, CryptoException {
        try (KeyRing ring = new KeyRing(root, store.authority())) {
            NodeAdmission admission = NodeAdmission.create(
                    store.authority(),
                    root,
                    node.identity.keys(),
                    trusted ? Rights.NODE.and(Rights.WRITE) : Rights.NODE,
                    trusted ? List.of(ring.currentKey(store.rootDomain())) : List.of(),
                    System.currentTimeMillis());
            for (TreeFounding.Entry entry : admission.entries()) {
                store.appendAuthority(entry.kind(), entry.payload());
            }
        }
    }

    static StoreOptions options() {
        return StoreOptions.defaults()
                .withReserveBytes(0)
                .withWriteBufferBytes(16 << 20)
                .withCaches(8 << 20, 1 << 20, 1 << 20, 1024);
    }

    final class Node {
        final int number = nodes.size();
        final Identity identity = Identity.generate();
        private int port;

        private @Nullable BlockStore store;
        private @Nullable Messenger messenger;
        private @Nullable ClusterNode cluster;

        Path path(String name) {
            return directory.resolve("node" + number).resolve(name);
        }

        BlockStore store() {
            return Objects.requireNonNull(store);
        }

        ClusterNode cluster() {
            return Objects.requireNonNull(cluster);
        }

        Messenger messenger() {
            return Objects.requireNonNull(messenger);
        }

        boolean isThere() {
            return cluster != null;
        }

        boolean leads() {
            return Objects.equals(identity.id(), cluster().status().leader());
        }

        private Messenger connect(Authority authority) throws IOException {
            List<WriteCapabilityChain> chains = authority.chainsOf(identity.id());
            Messenger own = new Messenger(MessengerOptions.of(
                    identity, chains.get(chains.size() - 1), authority, System::currentTimeMillis, "/test", "test 1"));
            port = own.listen(new InetSocketAddress("127.0.0.1", port)).getPort();
            for (Node other : nodes) {
                if (other.number < number) {
                    own.peer(other.identity.id()).setAddresses(List.of(new InetSocketAddress("127.0.0.1", other.port)));
                }
            }
            return own;
        }

        void copyFrom(Node other) throws Exception {
            try (Messenger own = connect(other.store().authority())) {
                Peer peer = own.peer(other.identity.id());
                peer.setAddresses(List.of(new InetSocketAddress("127.0.0.1", other.port)));
                peer.whenConnected().get(PATIENCE_MILLIS, TimeUnit.MILLISECONDS);
                if (Files.exists(path("store"))) {
                    StoreCopies.update(peer, path("store"), options(), identity, progress -> {});
                } else {
                    Files.createDirectories(path("store").getParent());
                    StoreCopies.create(peer, path("store"), options(), identity, founding.tree(), progress -> {});
                }
            }
        }

        void start() throws StoreException, IOException {
            start(Set.of(nodes.get(0).identity.id()));
        }

        /** With what is left of it alone, as the others are lost for good. */
        void recover() throws StoreException, IOException {
            LostGroup group = new LostGroup(path("raft"), founding.tree(), identity.id());
            try (BlockStore opened = BlockStore.open(path("store"), options(), identity);
                    Messenger own = connect(opened.authority());
                    ClusterNode left =
                            new ClusterNode(opened, own, identity.id(), path("cluster"), Clock.systemUTC())) {
                group.read(left.applied().index(), left::applyOwn);
                opened.sync();
            }
            group.forget();
            start(Set.of(identity.id()));
        }

        private void start(Set<PrincipalId> voters) throws StoreException, IOException {
            BlockStore opened = BlockStore.open(path("store"), options(), identity);
            Messenger own = connect(opened.authority());
            StoreCopies.serve(own, opened);
            ClusterNode started = new ClusterNode(opened, own, identity.id(), path("cluster"), Clock.systemUTC());
            started.start(
                    new RaftEngine(
                            path("raft"),
                            (machine, founders) -> configure.apply(RaftOptions.of(
                                    path("raft"), opened.tree(), identity.id(), founders, own, machine))),
                    voters);
            store = opened;
            messenger = own;
            cluster = started;
        }

        /** Nobody is told but by their sockets. */
        void stop() throws StoreException {
            messenger().close();
            cluster().close();
            store().close();
            cluster = null;
        }
    }

    Set<PrincipalId> ids() {
        return nodes.stream().map(node -> node.identity.id()).collect(Collectors.toSet());
    }

    List<Node> there() {
        return nodes.stream().filter(Node::isThere).toList();
    }

    Node awaitLeader() throws Exception {
        return await(
                "a leader", () -> there().stream().filter(Node::leads).findAny().orElse(null));
    }

    /** Until all that are there have the same log. */
    void awaitSame() throws Exception {
        await(
                "the same log everywhere",
                () -> there().stream()
                                        .map(node -> node.store().headPosition())
                                        .distinct()
                                        .count()
                                == 1
                        ? true
                        : null);
    }

    static <T> T await(String what, Callable<@Nullable T> condition) throws Exception {
        return Eventually.await(what, PATIENCE_MILLIS, condition);
    }

    @Override
    public void close() throws Exception {
        for (Node node : there()) {
            node.stop();
        }
        nodes.forEach(node -> node.identity.close());
        root.close();
    }
}
