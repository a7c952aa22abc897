package blocktree.cluster;

import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.cluster.AgreementException.Code;
import blocktree.cluster.ClusterProto.Followed;
import blocktree.cluster.ClusterProto.Standing;
import blocktree.crypto.Hash;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@link Agreement} of a node that does not vote: it applies what the voters have put in order, as one of them tells it, and has what it proposes put in order by one
 * (docs/cluster.md, "Following"). Thread-safe.
 */
final class Follower implements Agreement {

    private static final Logger log = LoggerFactory.getLogger(Follower.class);

    private static final int WAIT_MILLIS = 1_000;
    private static final Duration PROPOSE_PATIENCE = Duration.ofSeconds(10);
    private static final long PAUSE_MILLIS = 50;

    /** What was heard counts for so long. */
    private static final long HEARD_NANOS = TimeUnit.SECONDS.toNanos(3);

    /** One that failed is not asked again for so long, while there are others. */
    private static final long AVOIDED_NANOS = TimeUnit.MILLISECONDS.toNanos(500);

    private static final long COMPARE_NANOS = TimeUnit.SECONDS.toNanos(10);

    /** What so many entries name is fetched at the same time. */
    private static final int AHEAD_COUNT = 4;

    private static final int SYNC_ENTRIES = 256;
    private static final long SYNC_NANOS = TimeUnit.SECONDS.toNanos(5);

    private final Messenger messenger;
    private final BlockStore store;
    private final Machine machine;
    private final Thread thread = new Thread(this::run, "cluster-follow");

    private volatile @Nullable Standing heard;
    private volatile long heardNanos;
    private volatile @Nullable PrincipalId followed;
    private volatile @Nullable String stopped;
    private volatile boolean closed;

    /** Guarded by this. */
    private boolean working;

    // The thread's own.
    /** Whom not to ask before a time. */
    private final Map<PrincipalId, Long> avoidedUntilNanos = new HashMap<>();

    /** Those that have not kept what comes next. */
    private final Set<PrincipalId> gone = new HashSet<>();

    private long comparedNanos = System.nanoTime();
    private int unsyncedCount;
    private long syncedNanos = System.nanoTime();

    /** Nothing happens before {@link #start}. */
    Follower(Messenger messenger, BlockStore store, Machine machine) {
        this.messenger = messenger;
        this.store = store;
        this.machine = machine;
        thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    // ---- what comes ----

    private void run() {
        try {
            while (!closed) {
                PrincipalId member = choose();
                if (member == null) {
                    followed = null;
                    TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
                } else {
                    step(member);
                }
                syncIfDue();
            }
        } catch (InterruptedException e) {
            // it is closed
        } catch (Exception | Error e) {
            if (!closed) {
                stopped = "what the voters have put in order cannot be applied: " + e.getMessage();
                log.atError().addKeyValue("reason", stopped).setCause(e).log("agreement_stopped");
            }
        }
    }

    /** The one of before as long as it will do; else the nearest that votes, as far as is known, of those that are connected. */
    private @Nullable PrincipalId choose() {
        long now = System.nanoTime();
        PrincipalId before = followed;
        Standing last = heard;
        Set<PrincipalId> voters = last == null ? Set.of() : Standings.voters(last);
        List<Peer> connected =
                messenger.peers().stream().filter(Follower::isTrusted).toList();
        avoidedUntilNanos.values().removeIf(until -> now - until > 0);
        if (before != null && !avoidedUntilNanos.containsKey(before) && isTrusted(messenger.peer(before))) {
            return before;
        }
        return connected.stream()
                .filter(peer -> !avoidedUntilNanos.containsKey(peer.principal()))
                .min(Comparator.<Peer, Boolean>comparing(peer -> !voters.contains(peer.principal()))
                        .thenComparingLong(peer -> peer.stats().rttNanos()))
                .map(Peer::principal)
                .orElse(null);
    }

    private static boolean isTrusted(Peer peer) {
        PeerIdentity identity = peer.identity();
        return identity != null && ClusterNode.mayWrite(identity);
    }

    private void avoid(PrincipalId member) {
        avoidedUntilNanos.put(member, System.nanoTime() + AVOIDED_NANOS);
    }

    private void step(PrincipalId member) throws Exception {
        long applied = machine.applied().index();
        Followed answer = ask(member, WAIT_MILLIS);
        if (answer == null) {
            avoid(member);
            return;
        }
        if (answer.getResult() == Followed.Result.FORKED) {
            throw forked(member);
        }
        if (answer.getResult() == Followed.Result.NOT_A_VOTER) {
            Standing last = heard;
            if (last == null || System.nanoTime() - heardNanos > HEARD_NANOS) {
                heard = answer.getStanding(); // who votes, to look for them; not who leads
            }
            avoid(member);
            return;
        }
        heard = answer.getStanding();
        heardNanos = System.nanoTime();
        if (answer.getResult() == Followed.Result.GONE) {
            gone.add(member);
            avoid(member);
            giveUpIfGone(member);
            return;
        }
        if (!Objects.equals(member, followed)) {
            followed = member;
            log.atInfo()
                    .addKeyValue("peer", member)
                    .addKeyValue("applied", applied)
                    .log("following");
        }
        if (answer.getStanding().getApplied() < applied || Standings.leader(answer.getStanding()) == null) {
            avoid(member); // others may know more
        }
        apply(FollowDesk.entries(answer), member);
        if (System.nanoTime() - comparedNanos > COMPARE_NANOS) {
            comparedNanos = System.nanoTime();
            compare(member);
        }
    }

    private void apply(List<OrderedEntry> entries, PrincipalId member) throws Exception {
        int preparedCount = 0;
        for (int i = 0; i < entries.size() && !closed; i++) {
            OrderedEntry entry = entries.get(i);
            if (entry.mark().index() != machine.applied().index() + 1) {
                avoid(member);
                return;
            }
            for (; preparedCount < Math.min(entries.size(), i + AHEAD_COUNT); preparedCount++) {
                machine.prepare(entries.get(preparedCount).bytes());
            }
            undisturbed(() -> machine.apply(entry.mark(), entry.bytes()));
            unsyncedCount++;
            gone.clear();
        }
    }

    /** Null when it does not answer. */
    private @Nullable Followed ask(PrincipalId member, int waitMillis) throws StoreException, InterruptedException {
        long position = store.headPosition();
        Hash hash = position < 1 ? null : store.replicatedLog().hashAt(position);
        return FollowDesk.ask(messenger.peer(member), machine.applied().index(), position, hash, waitMillis);
    }

    /** Whether another voter has the same log: one alone could tell a story of its own. */
    private void compare(PrincipalId member) throws StoreException, InterruptedException, IOException {
        Set<PrincipalId> voters = status().voters();
        PrincipalId other = messenger.peers().stream()
                .filter(Follower::isTrusted)
                .map(Peer::principal)
                .filter(peer -> !peer.equals(member) && voters.contains(peer))
                .findAny()
                .orElse(null);
        Followed answer = other == null ? null : ask(other, 0);
        if (other != null && answer != null && answer.getResult() == Followed.Result.FORKED) {
            throw forked(other);
        }
    }

    private IOException forked(PrincipalId member) {
        log.atError()
                .addKeyValue("peer", member)
                .addKeyValue("position", store.headPosition())
                .log("log_forked");
        return new IOException(
                "the log of this node and that of " + member + " are not the same at position " + store.headPosition());
    }

    /** When no voter that is known can go on from here, this node has to take the state over. */
    private void giveUpIfGone(PrincipalId member) {
        Set<PrincipalId> voters = status().voters();
        boolean isLeft = messenger.peers().stream()
                .filter(Follower::isTrusted)
                .anyMatch(peer -> voters.contains(peer.principal()) && !gone.contains(peer.principal()));
        if (!isLeft) {
            gone.clear();
            machine.catchUp(member);
        }
    }

    private void syncIfDue() throws Exception {
        if (unsyncedCount >= SYNC_ENTRIES || unsyncedCount > 0 && System.nanoTime() - syncedNanos > SYNC_NANOS) {
            unsyncedCount = 0;
            undisturbed(machine::sync);
            syncedNanos = System.nanoTime();
        }
    }

    @FunctionalInterface
    private interface Work {
        void run() throws Exception;
    }

    /** A store stops for good when what it writes is interrupted. */
    private void undisturbed(Work work) throws Exception {
        synchronized (this) {
            if (closed) {
                return;
            }
            working = true;
        }
        try {
            work.run();
        } finally {
            synchronized (this) {
                working = false;
            }
        }
    }

    // ---- what is asked of it ----

    @Override
    public boolean isVoter() {
        return false;
    }

    @Override
    public @Nullable List<OrderedEntry> entries(long after, long upTo, int sizeBytesMax) {
        return null;
    }

    @Override
    public AgreementStatus status() {
        Standing last = heard;
        boolean isFresh = System.nanoTime() - heardNanos < HEARD_NANOS && stopped == null;
        return Standings.status(
                last,
                last == null || !isFresh ? null : Standings.leader(last),
                machine.applied().index(),
                stopped);
    }

    /** By the leader, or when that is not reached by the voter that this node follows. */
    private @Nullable Peer proposer() {
        PrincipalId leader = status().leader();
        Peer first = leader == null ? null : messenger.peer(leader);
        PrincipalId member = followed;
        Peer second = member == null ? null : messenger.peer(member);
        return first != null && first.isConnected() ? first : second != null && second.isConnected() ? second : null;
    }

    @Override
    public CompletableFuture<Void> propose(ByteString entry) {
        String why = stopped;
        if (why != null) {
            return CompletableFuture.failedFuture(new AgreementException(Code.STOPPED, why));
        }
        Peer peer = proposer();
        if (peer == null || closed) {
            return CompletableFuture.failedFuture(new AgreementException(Code.NO_LEADER, "no voter is connected"));
        }
        CompletableFuture<Void> result = new CompletableFuture<>();
        peer.request(FollowDesk.PROPOSE, entry.toByteArray(), PROPOSE_PATIENCE).whenComplete((reply, failure) -> {
            AgreementException refusal = failure == null ? refusalOf(reply) : refusalOf(failure);
            if (refusal == null) {
                result.complete(null);
            } else {
                result.completeExceptionally(refusal);
            }
        });
        return result;
    }

    private static @Nullable AgreementException refusalOf(byte[] reply) {
        String text = reply.length == 0 ? "" : new String(reply, 1, reply.length - 1, StandardCharsets.UTF_8);
        return switch (reply.length == 0 ? FollowDesk.UNKNOWN : reply[0]) {
            case FollowDesk.DONE -> null;
            case FollowDesk.REFUSED -> new AgreementException(Code.REFUSED, text);
            case FollowDesk.NOT_HERE -> new AgreementException(Code.NO_LEADER, text);
            default -> new AgreementException(Code.UNKNOWN, text);
        };
    }

    private static AgreementException refusalOf(Throwable failure) {
        boolean surelyNot = failure instanceof MessageException e
                && switch (e.code()) {
                    case BUSY, NO_SERVICE, TOO_LARGE, DENIED -> true;
                    default -> false;
                };
        return new AgreementException(surelyNot ? Code.NO_LEADER : Code.UNKNOWN, String.valueOf(failure), failure);
    }

    @Override
    public CompletableFuture<Void> setVoters(List<PrincipalId> voters) {
        return notLeading();
    }

    @Override
    public CompletableFuture<Void> handOver(@Nullable PrincipalId to) {
        return notLeading();
    }

    private static CompletableFuture<Void> notLeading() {
        return CompletableFuture.failedFuture(new AgreementException(Code.NO_LEADER, "this node does not vote"));
    }

    /** Nothing is applied once this has returned. */
    @Override
    public void close() {
        synchronized (this) {
            closed = true;
            if (!working) {
                thread.interrupt();
            }
        }
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
