package blocktree.cluster;

import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.crypto.BlockId;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.time.Clock;
import java.util.Collection;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Consumer;
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
    private final VoterChanges changes;
    private final WriteLease lease;
    private volatile @Nullable Agreement agreement;

    /** {@code dir} is this node's for parcels. Store and messenger stay the caller's, and are to be closed after this. */
    public ClusterNode(BlockStore store, Messenger messenger, PrincipalId self, Path dir, Clock clock)
            throws IOException {
        Parcels parcels = new Parcels(dir.resolve("parcels"));
        ParcelExchange exchange = new ParcelExchange(messenger, parcels, threads, this::isVoter);
        lease = new WriteLease(messenger, self, () -> agreement, this::isVoter, clock);
        tree = new ReplicatedTree(store, parcels, exchange, self, clock, threads, lease.desk()::applied);
        changes = new VoterChanges(messenger, self, () -> agreement, this::isVoter);
    }

    /**
     * Before {@link #start}, when the majority is lost for good: applies an entry that this voter has in its log, agreed on or not. Once all are, {@link
     * BlockStore#sync} has them on the device. False when what it names is not here, so that nobody can go on from it.
     */
    public boolean applyOwn(Machine.Mark mark, ByteString entry) throws IOException {
        try {
            return tree.applyIfWhole(mark, entry);
        } catch (StoreException e) {
            throw new IOException(e.getMessage(), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted");
        }
    }

    /** The newest entry that is applied. */
    public Machine.Mark applied() {
        return tree.applied();
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

    /** Has {@code listener} told, on the thread that applies, of the blocks of each commit of another node once it is applied. It must not wait for a commit. */
    public void onChanges(Consumer<Collection<BlockId>> listener) {
        tree.onChanges(listener);
    }

    /** This node's right to change the tree. */
    public WriteLease writeLease() {
        return lease;
    }

    /** For how long this node has been cut off from the majority, so that it can only read; 0 when it is not. */
    public long cutOffMillis() {
        return lease.watch().cutOffMillis();
    }

    /** Who has the right to change the tree, as far as this node knows; null: nobody, or unknown. */
    public @Nullable PrincipalId writer() {
        return lease.desk().holder();
    }

    /** Whether {@code node} is connected and runs, so that it can vote. Waits for its answer for up to five seconds. */
    public boolean isReady(PrincipalId node) throws InterruptedException {
        return changes.isReady(node);
    }

    /**
     * Has {@code node} vote, or vote no more; whoever leads carries it out. Returns once it is so, which takes as long as a new voter needs to follow.
     *
     * @throws AgreementException NO_LEADER when nothing was changed; UNKNOWN when nobody can tell
     */
    public void setVoter(PrincipalId node, boolean votes) throws AgreementException, InterruptedException {
        changes.change(node, votes);
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
        lease.close();
        tree.close();
        threads.shutdownNow();
    }
}
