package blocktree.cluster;

import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.jspecify.annotations.Nullable;

/** One voter of a cluster: its store takes commits through the order that all voters agree on, from its start on. Thread-safe. */
public final class ClusterNode implements AutoCloseable {

    /** Starts the agreement of a voter whose entries {@code machine} applies. */
    @FunctionalInterface
    public interface Engine {
        Agreement start(Machine machine) throws IOException;
    }

    private final ExecutorService threads = Executors.newCachedThreadPool(task -> {
        Thread thread = new Thread(task, "cluster-parcels");
        thread.setDaemon(true);
        return thread;
    });
    private final ReplicatedTree tree;
    private volatile @Nullable Agreement agreement;

    /** {@code dir} is this node's for parcels. Store and messenger stay the caller's, and are to be closed after this. */
    public ClusterNode(BlockStore store, Messenger messenger, PrincipalId self, Path dir, Clock clock)
            throws IOException {
        Parcels parcels = new Parcels(dir.resolve("parcels"));
        ParcelExchange exchange = new ParcelExchange(messenger, parcels, threads, this::isVoter);
        tree = new ReplicatedTree(store, parcels, exchange, self, clock, threads);
    }

    /** Takes part from now on. */
    public void start(Engine engine) throws IOException {
        Agreement started = engine.start(tree);
        agreement = started;
        tree.begin(started);
    }

    private boolean isVoter(PeerIdentity peer) {
        Agreement current = agreement;
        return current != null && current.status().voters().contains(peer.principal());
    }

    /** Where this voter stands. */
    public AgreementStatus status() {
        return agreement().status();
    }

    /** The agreement, for what changes who votes and leads. */
    public Agreement agreement() {
        Agreement current = agreement;
        if (current == null) {
            throw new IllegalStateException("the node does not take part yet");
        }
        return current;
    }

    /**
     * Completes, with whom to take the store over from, when this voter is too far behind to follow the others: it is to be closed, its
     * store brought up to date by {@link StoreCopies#update}, and started again.
     */
    public CompletableFuture<PrincipalId> behind() {
        return tree.behind();
    }

    /** Hands leadership over, and ends. Commits that wait fail with CLOSED. */
    @Override
    public void close() {
        Agreement current = agreement;
        if (current != null) {
            current.close();
        }
        tree.close();
        threads.shutdownNow();
    }
}
