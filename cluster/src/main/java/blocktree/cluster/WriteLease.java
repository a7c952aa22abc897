package blocktree.cluster;

import blocktree.btmsg.session.Call;
import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.btmsg.session.Service;
import blocktree.crypto.PrincipalId;
import java.nio.ByteBuffer;
import java.time.Clock;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The right to change the tree, which one node has at a time (docs/cluster.md, "The write lease"). This side takes it when something is to be changed,
 * keeps it for as long as nobody else wants it, and gives it back with nothing left unwritten. {@link LeaseDesk} hands it out. Thread-safe.
 */
public final class WriteLease implements AutoCloseable {

    private static final Logger log = LoggerFactory.getLogger(WriteLease.class);

    /** How long it holds after it was last renewed. */
    static final long TERM_MILLIS = 1_000;

    private static final long RENEW_MILLIS = 250;

    /** Unused for so long, it is given back: an idle cluster says nothing. */
    private static final long IDLE_MILLIS = 2_000;

    /** Once it has it, a node keeps it for so long, so that what waited for it is done. */
    private static final long KEPT_MILLIS_MIN = 4;

    /** What was just given is used first, if the answer comes within this time. */
    private static final long GIVEN_MILLIS_MAX = 100;

    /** What is being changed when the lease is wanted elsewhere is finished within this time, or never. */
    private static final long LEAVE_MILLIS_MAX = 60_000;

    private static final Duration ASK_PATIENCE = Duration.ofSeconds(5);
    private static final Duration RENEW_PATIENCE = Duration.ofMillis(TERM_MILLIS);
    private static final long PAUSE_MILLIS = 20;

    static final String ACQUIRE = "cluster.lease.acquire";
    static final String RENEW = "cluster.lease.renew";
    static final String RELEASE = "cluster.lease.release";
    static final String RECALL = "cluster.lease.recall";
    private static final String SETTLE = "cluster.lease.settle";
    private static final String INDEX = "cluster.lease.index";

    /** Who has the lease has so long to write what it has changed, before what is here has to do. */
    private static final long REFRESH_MILLIS_MAX = 1_000;

    private static final Duration REFRESH_PATIENCE = Duration.ofMillis(REFRESH_MILLIS_MAX);

    /** It is not asked again for so long when it was not reached. */
    private static final long REFRESH_PAUSE_MILLIS = 2_000;

    /** Has everything that was changed written: when it returns, all nodes have it. */
    @FunctionalInterface
    public interface Settling {
        void settle() throws Exception;
    }

    private final Messenger messenger;
    private final PrincipalId self;
    private final Supplier<@Nullable Agreement> agreement;
    private final LeaseDesk desk;
    private final LeaderWatch watch = new LeaderWatch();
    private final Clock clock;
    private final ScheduledExecutorService renewing =
            Executors.newSingleThreadScheduledExecutor(task -> thread(task, "lease-renew"));
    private final ExecutorService asking = Executors.newCachedThreadPool(task -> thread(task, "lease"));

    private volatile Settling settling = () -> {};

    private final Object oneRefresh = new Object();

    /** Guards the two after it. */
    private final Object refreshing = new Object();

    private @Nullable CompletableFuture<Void> nextRefresh;
    private long refreshNotBeforeNanos = System.nanoTime();

    // All below is guarded by this.
    private boolean held;
    /** On both clocks: one stands still while the machine sleeps, the other may be set back. */
    private long validUntilNanos;

    private long validUntilMillis;
    private long heldSinceNanos;
    private long usedNanos;
    private boolean leaving;
    private boolean underWay;
    /** Nothing is asked for before the leader knows that it was given back: it would take back what was given anew. */
    private boolean releasing;

    /** Rises when the lease is given back: an answer that was on its way then says nothing of now. */
    private long generation;

    private int inside;
    private boolean closed;
    private long moves;

    private static Thread thread(Runnable task, String name) {
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        return thread;
    }

    /** {@code mayWrite}: who may hold it, and recall it. */
    WriteLease(
            Messenger messenger,
            PrincipalId self,
            Supplier<@Nullable Agreement> agreement,
            Predicate<PeerIdentity> mayWrite,
            Clock clock) {
        this.messenger = messenger;
        this.self = self;
        this.agreement = agreement;
        this.clock = clock;
        this.desk = new LeaseDesk(messenger, self, agreement, mayWrite, this::giveBack);
        messenger.register(Service.ofMessages(RECALL, 2, 16, this::recalled).onlyFor(mayWrite));
        messenger.register(Service.ofMessages(SETTLE, 2, 64, this::settle).onlyFor(mayWrite));
        messenger.register(Service.ofMessages(INDEX, 2, 64, this::index).onlyFor(mayWrite));
        renewing.scheduleWithFixedDelay(this::renewOrRelease, RENEW_MILLIS, RENEW_MILLIS, TimeUnit.MILLISECONDS);
    }

    LeaseDesk desk() {
        return desk;
    }

    LeaderWatch watch() {
        return watch;
    }

    /** What is done before the lease is given back; nothing, until this is called. */
    public void onLeaving(Settling newSettling) {
        settling = newSettling;
    }

    /**
     * Returns once this node may change the tree, until {@link #leave}.
     *
     * @param patience how long it may take
     * @throws AgreementException NO_LEADER, at once, when this node is cut off from the majority; UNKNOWN when whoever has it does not give it back in time; STOPPED
     */
    public void enter(Duration patience) throws AgreementException, InterruptedException {
        long deadlineNanos = System.nanoTime() + patience.toNanos();
        synchronized (this) {
            while (!isUsable() || leaving) {
                if (closed) {
                    throw new AgreementException(AgreementException.Code.STOPPED, "the node stops");
                }
                if (!underWay && !leaving && !releasing) {
                    underWay = true;
                    asking.execute(this::ask);
                }
                if (watch.isCutOff()) {
                    throw noMajority();
                }
                long leftNanos = deadlineNanos - System.nanoTime();
                if (leftNanos <= 0) {
                    Agreement current = agreement.get();
                    throw current == null || current.status().leader() == null
                            ? noMajority()
                            : new AgreementException(
                                    AgreementException.Code.UNKNOWN,
                                    "another node changes the tree, and does not give the right to do so back");
                }
                wait(Math.max(1, Math.min(PAUSE_MILLIS * 5, TimeUnit.NANOSECONDS.toMillis(leftNanos))));
            }
            inside++;
        }
    }

    private static AgreementException noMajority() {
        return new AgreementException(AgreementException.Code.NO_LEADER, "no majority of the nodes is there");
    }

    /** After {@link #enter}. */
    public synchronized void leave() {
        inside--;
        usedNanos = System.nanoTime();
        if (inside == 0) {
            notifyAll();
        }
    }

    // ---- to see what who has it has changed ----

    /**
     * Has who has the lease write what it has changed so far, and returns when that is applied here, within a second: so what was finished on any node before
     * the call is seen after it. Nobody is asked for a while after somebody was not reached within that time. False, at once, when this node has it.
     */
    public boolean refresh() {
        if (isHeld()) {
            return false;
        }
        CompletableFuture<Void> round;
        synchronized (refreshing) {
            if (System.nanoTime() - refreshNotBeforeNanos < 0) {
                return false;
            }
            // What is under way may have begun too early: the next one serves all that wait by then.
            round = nextRefresh;
            if (round == null) {
                round = new CompletableFuture<>();
                nextRefresh = round;
                try {
                    asking.execute(this::refreshOnce);
                } catch (RejectedExecutionException e) {
                    return false; // the node stops
                }
            }
        }
        try {
            round.get(2 * REFRESH_MILLIS_MAX, TimeUnit.MILLISECONDS);
            return true;
        } catch (ExecutionException | TimeoutException e) {
            return false;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    private void refreshOnce() {
        synchronized (oneRefresh) {
            CompletableFuture<Void> round;
            synchronized (refreshing) {
                round = Objects.requireNonNull(nextRefresh);
                nextRefresh = null;
            }
            try {
                refreshFromHolder();
                round.complete(null);
            } catch (ExecutionException | TimeoutException e) {
                Agreement current = agreement.get();
                if (current != null && current.status().leader() != null) {
                    synchronized (refreshing) {
                        refreshNotBeforeNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(REFRESH_PAUSE_MILLIS);
                    }
                }
                round.completeExceptionally(e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                round.completeExceptionally(e);
            }
        }
    }

    /** The holder is asked first, who needs nobody else to answer. When it is not, the order says who is, up to where the leader has it: this node may not have heard. */
    private void refreshFromHolder() throws ExecutionException, TimeoutException, InterruptedException {
        Agreement current = agreement.get();
        if (current == null) {
            return;
        }
        long deadlineNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(REFRESH_MILLIS_MAX);
        PrincipalId asked = null;
        PrincipalId holder = desk.holder();
        while (true) {
            if (holder != null && !holder.equals(self)) {
                asked = holder;
                byte[] answer = answer(holder, SETTLE);
                if (answer.length > 0) {
                    awaitApplied(current, indexIn(answer), deadlineNanos);
                    return;
                }
            }
            awaitApplied(current, indexOfLeader(current), deadlineNanos);
            holder = desk.holder();
            if (holder == null || holder.equals(self) || Objects.equals(holder, asked)) {
                return; // who has it now, and said no, has not begun or has ended
            }
        }
    }

    private long indexOfLeader(Agreement current) throws ExecutionException, TimeoutException, InterruptedException {
        PrincipalId leader = current.status().leader();
        if (leader == null) {
            throw new TimeoutException("nobody leads");
        }
        try {
            return leader.equals(self) ? ordered() : indexIn(answer(leader, INDEX));
        } catch (AgreementException e) {
            throw new ExecutionException(e);
        }
    }

    private byte[] answer(PrincipalId node, String what)
            throws ExecutionException, TimeoutException, InterruptedException {
        return messenger
                .peer(node)
                .request(what, new byte[0], REFRESH_PATIENCE)
                .get(REFRESH_MILLIS_MAX, TimeUnit.MILLISECONDS);
    }

    /** Up to where the order goes, on the leader; includes all that earlier leaders have put in it. */
    private long ordered() throws AgreementException, InterruptedException {
        return desk.confirmed().status().committed();
    }

    private static long indexIn(byte[] answer) throws TimeoutException {
        if (answer.length != Long.BYTES) {
            throw new TimeoutException("no answer of a node that knows how");
        }
        return ByteBuffer.wrap(answer).getLong();
    }

    private static void awaitApplied(Agreement current, long index, long deadlineNanos)
            throws TimeoutException, InterruptedException {
        while (current.status().applied() < index) {
            if (System.nanoTime() - deadlineNanos > 0) {
                throw new TimeoutException("not applied here in time");
            }
            TimeUnit.MILLISECONDS.sleep(1);
        }
    }

    private CompletionStage<byte[]> index(Call call) throws MessageException {
        try {
            return CompletableFuture.completedFuture(bytes(ordered()));
        } catch (AgreementException e) {
            throw new MessageException(MessageException.Code.FAILED, String.valueOf(e.getMessage()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MessageException(MessageException.Code.CANCELLED, "the node stops");
        }
    }

    private static byte[] bytes(long index) {
        return ByteBuffer.allocate(Long.BYTES).putLong(index).array();
    }

    /** What this node has changed is written; the answer is an index of the order at or behind it. Empty when this node does not have the lease. */
    private CompletionStage<byte[]> settle(Call call) throws MessageException {
        synchronized (this) {
            if (!held) {
                return CompletableFuture.completedFuture(new byte[0]);
            }
        }
        try {
            settling.settle();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MessageException(MessageException.Code.CANCELLED, "the node stops");
        } catch (Exception e) {
            throw new MessageException(
                    MessageException.Code.FAILED, "not everything could be written: " + e.getMessage());
        }
        Agreement current = agreement.get();
        if (current == null) {
            throw new MessageException(MessageException.Code.FAILED, "the node does not take part yet");
        }
        return CompletableFuture.completedFuture(bytes(current.status().applied()));
    }

    /** Whether this node has it now. */
    public synchronized boolean isHeld() {
        return isUsable();
    }

    /** How often this node has got it. */
    public synchronized long moves() {
        return moves;
    }

    private boolean isUsable() {
        return held && System.nanoTime() - validUntilNanos < 0 && clock.millis() < validUntilMillis;
    }

    // ---- to have it ----

    private void ask() {
        try {
            Agreement current = agreement.get();
            PrincipalId leader = current == null ? null : current.status().leader();
            if (leader == null) {
                TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
                return;
            }
            long askedGeneration;
            synchronized (this) {
                askedGeneration = generation;
            }
            say(leader, ACQUIRE, ASK_PATIENCE);
            // Whatever the others changed before comes first in the order: with this it is here.
            desk.awaitHolder(self, ASK_PATIENCE);
            renew(leader, askedGeneration);
        } catch (ExecutionException | TimeoutException e) {
            log.atDebug().setCause(e).log("lease_not_given");
            pause();
        } catch (InterruptedException e) {
            // the node stops
        } finally {
            synchronized (this) {
                underWay = false;
                notifyAll();
            }
        }
    }

    private static void pause() {
        try {
            TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void say(PrincipalId leader, String what, Duration patience)
            throws ExecutionException, TimeoutException, InterruptedException {
        CompletableFuture<?> answer = leader.equals(self)
                ? switch (what) {
                    case ACQUIRE -> desk.acquire(self);
                    case RENEW -> desk.renew(self);
                    default -> desk.release(self);
                }
                : messenger.peer(leader).request(what, new byte[0], patience);
        answer.get(patience.toMillis(), TimeUnit.MILLISECONDS);
    }

    /**
     * It holds from before the leader was asked on: the leader's time for it begins later. Not at all when it was given back since {@code
     * sentGeneration}.
     */
    private void renew(PrincipalId leader, long sentGeneration)
            throws ExecutionException, TimeoutException, InterruptedException {
        long sentNanos = System.nanoTime();
        long sentMillis = clock.millis();
        say(leader, RENEW, RENEW_PATIENCE);
        synchronized (this) {
            if (closed || generation != sentGeneration) {
                return;
            }
            if (!held) {
                held = true;
                heldSinceNanos = System.nanoTime();
                usedNanos = heldSinceNanos;
                moves++;
            }
            validUntilNanos = sentNanos + TimeUnit.MILLISECONDS.toNanos(TERM_MILLIS);
            validUntilMillis = sentMillis + TERM_MILLIS;
            notifyAll();
        }
    }

    private void renewOrRelease() {
        desk.noteLeader();
        Agreement current = agreement.get();
        PrincipalId leader = current == null ? null : current.status().leader();
        watch.look(leader != null);
        long sentGeneration;
        synchronized (this) {
            if (!held || closed || leader == null) {
                return;
            }
            sentGeneration = generation;
            if (!leaving
                    && !releasing
                    && inside == 0
                    && System.nanoTime() - usedNanos > TimeUnit.MILLISECONDS.toNanos(IDLE_MILLIS)) {
                releasing = true;
                asking.execute(() -> release(leader));
            }
        }
        // Also while it is given back: what is left to write may take longer than it holds.
        try {
            renew(leader, sentGeneration);
        } catch (ExecutionException e) {
            if (isRefusal(e) && lose(sentGeneration)) {
                log.atWarn().log("lease_lost");
            }
        } catch (TimeoutException e) {
            // it ends by itself
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException e) {
            log.atDebug().setCause(e).log("lease_not_given"); // it ends by itself, and the next renewal is tried
        }
    }

    private synchronized boolean lose(long sentGeneration) {
        if (generation != sentGeneration) {
            return false; // it was given back meanwhile
        }
        held = false;
        return true;
    }

    private void release(PrincipalId leader) {
        try {
            if (giveBack()) {
                say(leader, RELEASE, ASK_PATIENCE);
            }
        } catch (ExecutionException | TimeoutException | RuntimeException e) {
            log.atDebug().setCause(e).log("lease_not_released");
        } catch (InterruptedException e) {
            // the node stops
        } finally {
            synchronized (this) {
                releasing = false;
                notifyAll();
            }
        }
    }

    private static boolean isRefusal(ExecutionException e) {
        return e.getCause() instanceof MessageException m && m.code() == MessageException.Code.FAILED
                || e.getCause() instanceof AgreementException a && a.code() == AgreementException.Code.REFUSED;
    }

    // ---- to give it back ----

    private CompletionStage<byte[]> recalled(Call call) throws MessageException {
        try {
            giveBack();
            return CompletableFuture.completedFuture(new byte[0]);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MessageException(MessageException.Code.CANCELLED, "the node stops");
        }
    }

    /** Whether this node had it; it has it no more when this returns, and nothing that was changed under it is unwritten, unless that failed, which is logged. */
    private boolean giveBack() throws InterruptedException {
        synchronized (this) {
            while (leaving) {
                wait();
            }
            long givenNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(GIVEN_MILLIS_MAX);
            while (underWay && !held && System.nanoTime() - givenNanos < 0) {
                wait(PAUSE_MILLIS);
            }
            generation++;
            if (!held) {
                return false;
            }
            long keptMillis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - heldSinceNanos);
            if (keptMillis < KEPT_MILLIS_MIN) {
                wait(KEPT_MILLIS_MIN - keptMillis);
            }
            leaving = true;
            long deadlineNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(LEAVE_MILLIS_MAX);
            while (inside > 0 && System.nanoTime() - deadlineNanos < 0) {
                wait(PAUSE_MILLIS);
            }
        }
        try {
            settling.settle();
        } catch (InterruptedException e) {
            throw e;
        } catch (Exception e) {
            log.atError().setCause(e).log("lease_not_settled");
        } finally {
            synchronized (this) {
                generation++;
                held = false;
                leaving = false;
                notifyAll();
            }
        }
        return true;
    }

    /** Gives it back, for which the tree has to be open still, and takes it no more. */
    public void stop() {
        try {
            Agreement current = agreement.get();
            PrincipalId leader = current == null ? null : current.status().leader();
            synchronized (this) {
                closed = true;
                notifyAll();
            }
            if (giveBack() && leader != null) {
                say(leader, RELEASE, RENEW_PATIENCE);
            }
        } catch (ExecutionException | TimeoutException | CompletionException e) {
            log.atDebug().setCause(e).log("lease_not_released");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        synchronized (this) {
            closed = true;
            notifyAll();
        }
        renewing.shutdownNow();
        asking.shutdownNow();
        desk.close();
    }
}
