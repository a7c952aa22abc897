package blocktree.cluster;

import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.cluster.ClusterProto.Followed;
import blocktree.cluster.ClusterProto.Standing;
import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.Rights;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One node of a cluster: its store takes commits through the order that all voters agree on, from its start on. It is one of them, or follows them; which, may change
 * while it runs. Thread-safe.
 */
public final class ClusterNode implements AutoCloseable {
    private static final Logger log = LoggerFactory.getLogger(ClusterNode.class);

    private static final long WATCH_MILLIS = 300;

    /** A node that is ready to vote and is not taken in within this time follows again. */
    private static final long AWAITED_NANOS = TimeUnit.SECONDS.toNanos(10);

    private static final Duration STANDING_PATIENCE = Duration.ofSeconds(1);

    /** The agreement of a voter. */
    public interface Engine {
        /**
         * Starts it; {@code machine} applies its entries.
         *
         * @param voters who may take this node in; this node alone when it founds the agreement. What the engine has kept from before goes before
         */
        Agreement start(Machine machine, Set<PrincipalId> voters) throws IOException;

        /** Whether it was started before, and not forgotten since. */
        boolean isBegun() throws IOException;

        /** Whether it was ever forgotten: then this node founds no agreement of its own. */
        boolean isForgotten();

        /** Deletes what it keeps, while it does not run: this node votes no more. */
        void forget() throws IOException;
    }

    private final ExecutorService threads = Executors.newCachedThreadPool(task -> thread(task, "cluster-parcels"));
    private final ScheduledExecutorService watching =
            Executors.newSingleThreadScheduledExecutor(task -> thread(task, "cluster-role"));
    private final BlockStore store;
    private final Messenger messenger;
    private final PrincipalId self;
    private final ReplicatedTree tree;
    private final VoterChanges changes;
    private final WriteLease lease;
    private final LockLeases locks;

    /** Held while this node begins to vote, or to follow. */
    private final Object turning = new Object();

    private volatile @Nullable Agreement agreement;

    // guarded by turning
    private @Nullable Engine engine;
    private long sinceNanos = System.nanoTime();
    private boolean hasVoted;
    private boolean closed;

    private static Thread thread(Runnable task, String name) {
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        return thread;
    }

    /** {@code dir} is this node's for parcels. Store and messenger stay the caller's, and are to be closed after this. */
    public ClusterNode(BlockStore store, Messenger messenger, PrincipalId self, Path dir, Clock clock)
            throws IOException {
        this.store = store;
        this.messenger = messenger;
        this.self = self;
        Parcels parcels = new Parcels(dir.resolve("parcels"));
        ParcelExchange exchange = new ParcelExchange(messenger, parcels, threads, this::isVoter);
        lease = new WriteLease(messenger, self, () -> agreement, ClusterNode::mayWrite, clock);
        locks = new LockLeases(messenger, self, () -> agreement, lease, ClusterNode::mayWrite, clock, store);
        tree = new ReplicatedTree(
                store, parcels, exchange, self, clock, threads, lease.desk()::applied, locks.desk()::applied);
        changes = new VoterChanges(messenger, self, () -> agreement, ClusterNode::mayWrite, this::becomeVoter);
        FollowDesk desk = new FollowDesk(
                messenger, store, parcels, exchange, () -> agreement, tree::applied, ClusterNode::mayWrite, threads);
        tree.onApplied(desk::appliedMore);
        store.healFrom(new PieceExchange(messenger, store));
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

    /** Takes part from now on: as a voter when it was one before, or is to found the agreement, as one of {@code firstVoters}; else it follows. */
    public void start(Engine voting, Set<PrincipalId> firstVoters) throws IOException {
        synchronized (turning) {
            engine = voting;
            if (voting.isBegun() || firstVoters.contains(self) && !voting.isForgotten()) {
                vote(voting, firstVoters);
            } else {
                follow();
            }
        }
        watching.scheduleWithFixedDelay(this::watch, WATCH_MILLIS, WATCH_MILLIS, TimeUnit.MILLISECONDS);
    }

    private void vote(Engine voting, Set<PrincipalId> voters) throws IOException {
        Agreement started = voting.start(tree, voters);
        agreement = started;
        tree.begin(started);
        sinceNanos = System.nanoTime();
        hasVoted = false;
    }

    private void follow() {
        begun(new Follower(messenger, store, tree)).start();
    }

    private Follower begun(Follower follower) {
        agreement = follower;
        tree.begin(follower);
        sinceNanos = System.nanoTime();
        return follower;
    }

    private boolean isVoter(PeerIdentity peer) {
        Agreement current = agreement;
        return current != null && current.status().voters().contains(peer.principal());
    }

    /** Whether a node may change the tree, and is trusted with its order; a blind one is not. */
    static boolean mayWrite(PeerIdentity peer) {
        return peer.chain().rights().contains(Rights.WRITE);
    }

    // ---- who votes ----

    /** It follows no more, and waits to be taken in where it stands. */
    private void becomeVoter() throws IOException {
        synchronized (turning) {
            Engine voting = engine;
            if (closed || voting == null) {
                throw new IOException("the node does not take part yet");
            }
            if (!(agreement instanceof Follower follower)) {
                return;
            }
            Set<PrincipalId> voters = follower.status().voters();
            if (voters.isEmpty()) {
                throw new IOException("the node has heard of no voter yet");
            }
            follower.close();
            try {
                vote(voting, voters);
            } catch (IOException e) {
                follow();
                throw e;
            }
        }
    }

    private void becomeFollower(Agreement old, Engine voting) throws IOException {
        Follower follower = begun(new Follower(messenger, store, tree));
        try {
            old.close();
            voting.forget();
        } finally {
            follower.start();
        }
        log.atInfo().log("votes_no_more");
    }

    /** Finds out when the others have made this node a voter, or made it none: it may be told nothing. */
    private void watch() {
        try {
            Agreement current = agreement;
            if (current == null) {
                return;
            }
            AgreementStatus status = current.status();
            if (current instanceof Follower) {
                if (status.leader() != null
                        && status.voters().contains(self)
                        && System.nanoTime() - sinceNanos() > AWAITED_NANOS) {
                    becomeVoter();
                }
            } else if (isLeftOut(current, status) && isNoVoter(status.applied())) {
                synchronized (turning) {
                    Engine voting = engine;
                    if (!closed && voting != null && current == agreement) {
                        becomeFollower(current, voting);
                    }
                }
            }
        } catch (InterruptedException e) {
            // the node stops
        } catch (IOException | RuntimeException e) {
            log.atWarn().setCause(e).log("role_not_changed");
        }
    }

    private long sinceNanos() {
        synchronized (turning) {
            return sinceNanos;
        }
    }

    private boolean isLeftOut(Agreement current, AgreementStatus status) {
        synchronized (turning) {
            boolean votes = current.isVoter();
            hasVoted |= votes;
            return status.leader() == null && (hasVoted || System.nanoTime() - sinceNanos > AWAITED_NANOS)
                    || hasVoted && !votes
                    || !votes && System.nanoTime() - sinceNanos > AWAITED_NANOS;
        }
    }

    /** Whether a voter that has applied as much says so. */
    private boolean isNoVoter(long applied) throws InterruptedException {
        for (Map.Entry<PrincipalId, Standing> one : standings().entrySet()) {
            PeerIdentity peer = messenger.peer(one.getKey()).identity();
            Set<PrincipalId> voters = Standings.voters(one.getValue());
            if (peer != null
                    && mayWrite(peer)
                    && voters.contains(one.getKey())
                    && !voters.contains(self)
                    && one.getValue().getApplied() >= applied) {
                return true;
            }
        }
        return false;
    }

    private Map<PrincipalId, Standing> standings() throws InterruptedException {
        Map<PrincipalId, CompletableFuture<byte[]>> asked = new HashMap<>();
        for (Peer peer : messenger.peers()) {
            if (peer.isConnected()) {
                asked.put(peer.principal(), peer.request(FollowDesk.STANDING, new byte[0], STANDING_PATIENCE));
            }
        }
        long deadlineNanos = System.nanoTime() + STANDING_PATIENCE.toNanos();
        Map<PrincipalId, Standing> standings = new HashMap<>();
        for (Map.Entry<PrincipalId, CompletableFuture<byte[]>> one : asked.entrySet()) {
            try {
                standings.put(
                        one.getKey(),
                        Standing.parseFrom(one.getValue()
                                .get(Math.max(0, deadlineNanos - System.nanoTime()), TimeUnit.NANOSECONDS)));
            } catch (ExecutionException | TimeoutException | InvalidProtocolBufferException e) {
                // it says nothing
            }
        }
        return standings;
    }

    // ---- what others see ----

    /** Where this node stands. */
    public AgreementStatus status() {
        return agreement().status();
    }

    /**
     * What another node says of itself.
     *
     * @param applied index of the order up to which its store has it
     * @param position where its tree's log ends
     */
    public record Elsewhere(long applied, long position) {}

    /** Of each node that is connected and answers within a second. */
    public Map<PrincipalId, Elsewhere> elsewhere() throws InterruptedException {
        Map<PrincipalId, Elsewhere> all = new HashMap<>();
        standings()
                .forEach((node, standing) ->
                        all.put(node, new Elsewhere(standing.getApplied(), standing.getPosition())));
        return all;
    }

    /** Of each node that is connected and answers: whether its log is this one's, as far as both reach. */
    public Map<PrincipalId, Boolean> compareLogs() throws StoreException, InterruptedException {
        Map<PrincipalId, Boolean> same = new HashMap<>();
        for (Map.Entry<PrincipalId, Standing> one : standings().entrySet()) {
            long position = Math.min(store.headPosition(), one.getValue().getPosition());
            Hash hash = store.replicatedLog().hashAt(position);
            Followed answer = hash == null
                    ? null
                    : FollowDesk.ask(messenger.peer(one.getKey()), Long.MAX_VALUE, position, hash, 0);
            if (answer != null) {
                same.put(one.getKey(), answer.getResult() != Followed.Result.FORKED);
            }
        }
        return same;
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

    /** What keeps the locks of this node's programs and of others' out of each other's way. */
    public LockLeases locks() {
        return locks;
    }

    /** Who has the right to change the tree, as far as this node knows; null: nobody, or unknown. */
    public @Nullable PrincipalId writer() {
        return lease.desk().holder();
    }

    /** Whether {@code node} is connected and ready to vote, for which it follows no more. Waits for its answer for up to five seconds. */
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

    /** The agreement of this moment, for what changes who votes and leads. */
    public Agreement agreement() {
        Agreement current = agreement;
        if (current == null) {
            throw new IllegalStateException("the node does not take part yet");
        }
        return current;
    }

    /**
     * Completes, with whom to take the store over from, when this node is too far behind to follow the others: it is to be closed, its
     * store brought up to date by {@link StoreCopies#update}, and started again.
     */
    public CompletableFuture<PrincipalId> behind() {
        return tree.behind();
    }

    /** Hands leadership over, and ends. Commits that wait fail with CLOSED. */
    @Override
    public void close() {
        watching.shutdownNow();
        if (agreement instanceof Follower) {
            tree.stop(); // it may wait for a parcel
        }
        synchronized (turning) {
            closed = true;
            Agreement current = agreement;
            if (current != null) {
                current.close();
            }
        }
        locks.close();
        lease.close();
        tree.close();
        threads.shutdownNow();
    }
}
