package blocktree.cluster;

import static org.junit.jupiter.api.Assertions.fail;

import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.MessengerOptions;
import blocktree.cluster.raft.RaftAgreement;
import blocktree.cluster.raft.RaftOptions;
import blocktree.crypto.Identity;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.Rights;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import blocktree.store.StoreOptions;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/**
 * Voters with real stores, logs and sessions on loopback. Their stores begin as the same founding, and so all sign with the key of its
 * one node; who they are to one another is a key of their own.
 */
final class TreeCluster implements AutoCloseable {

    private static final long PATIENCE_MILLIS = 30_000;

    final Identity root = Identity.generate();
    private final Identity keeper = Identity.generate();
    private final long startMillis = System.currentTimeMillis() - 60_000;
    final TreeFounding founding = TreeFounding.create(root, keeper, startMillis);
    private final Path directory;
    final List<Node> nodes = new ArrayList<>();

    TreeCluster(Path directory, int count) throws StoreException, IOException {
        this.directory = directory;
        for (int i = 0; i < count; i++) {
            Node node = new Node();
            nodes.add(node);
            BlockStore.create(node.path("store"), options(), founding, keeper);
        }
        for (Node node : nodes) {
            node.start();
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

        @Nullable
        BlockStore store;

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

        void start() throws StoreException, IOException {
            BlockStore opened = BlockStore.open(path("store"), options(), keeper);
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
                    opened.authority(),
                    System::currentTimeMillis,
                    "/test",
                    "test 1"));
            port = own.listen(new InetSocketAddress("127.0.0.1", port)).getPort();
            for (Node other : nodes) {
                if (other.number < number) {
                    own.peer(other.identity.id()).setAddresses(List.of(new InetSocketAddress("127.0.0.1", other.port)));
                }
            }
            ClusterNode started = new ClusterNode(opened, own, identity.id(), path("cluster"), Clock.systemUTC());
            started.start(machine -> RaftAgreement.start(
                    RaftOptions.of(path("raft"), founding.tree(), identity.id(), ids(), own, machine)));
            store = opened;
            messenger = own;
            cluster = started;
        }

        /** Nobody is told but by their sockets, and the store does not get to its end. */
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
        long deadlineNanos = System.nanoTime() + PATIENCE_MILLIS * 1_000_000;
        while (System.nanoTime() < deadlineNanos) {
            T value = condition.call();
            if (value != null) {
                return value;
            }
            Thread.sleep(5);
        }
        return fail("not within " + PATIENCE_MILLIS + " ms: " + what);
    }

    @Override
    public void close() throws Exception {
        for (Node node : there()) {
            node.stop();
        }
        nodes.forEach(node -> node.identity.close());
        keeper.close();
        root.close();
    }
}
