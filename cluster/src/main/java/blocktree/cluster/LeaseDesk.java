package blocktree.cluster;

import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.btmsg.session.Service;
import blocktree.cluster.ClusterProto.Entry;
import blocktree.cluster.ClusterProto.Lease;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Hands the {@link WriteLease} out, on whichever node leads. Who gets it is an entry of the order: a leader that was deposed cannot give it away, and the
 * next one knows who may still have it. That it is renewed is known to the leader only. Thread-safe.
 */
final class LeaseDesk {

    private static final Logger log = LoggerFactory.getLogger(LeaseDesk.class);

    /** For so long a leader that was deposed may go on renewing: until it finds that no majority hears it. */
    static final long DEPOSED_MILLIS_MAX = 1_200;

    private static final long RECALL_MILLIS_MAX = 60_000;
    private static final long PROPOSE_SECONDS_MAX = 10;
    private static final long PAUSE_MILLIS = 10;

    /** Takes the lease back from this very node; false when it does not have it. */
    @FunctionalInterface
    interface Own {
        boolean giveBack() throws InterruptedException;
    }

    private final Messenger messenger;
    private final PrincipalId self;
    private final Supplier<@Nullable Agreement> agreement;
    private final Own own;
    private final ExecutorService giving = Executors.newSingleThreadExecutor(task -> {
        Thread thread = new Thread(task, "lease-desk");
        thread.setDaemon(true);
        return thread;
    });

    // All below is guarded by this.
    /** As the order says. Null: nobody, once {@link #known}. */
    private @Nullable PrincipalId holder;

    /** Whether an entry since this process started has said who holds it. */
    private boolean known;

    private long term = -1;
    /** The term in which everything of those before is applied here. */
    private long confirmedTerm = -1;

    /** Who has given it back, or can use it no more, while the order does not say yet who is next: there are no renewals for it. */
    private @Nullable PrincipalId takenBack;

    /** Until when the holder may use it, as this leader knows. */
    private long expiresNanos;

    LeaseDesk(
            Messenger messenger,
            PrincipalId self,
            Supplier<@Nullable Agreement> agreement,
            Predicate<PeerIdentity> mayWrite,
            Own own) {
        this.messenger = messenger;
        this.self = self;
        this.agreement = agreement;
        this.own = own;
        messenger.register(Service.ofMessages(
                        WriteLease.ACQUIRE,
                        1,
                        64,
                        call -> answered(acquire(call.caller().principal())))
                .onlyFor(mayWrite));
        messenger.register(Service.ofMessages(
                        WriteLease.RENEW,
                        1,
                        64,
                        call -> answered(renew(call.caller().principal())))
                .onlyFor(mayWrite));
        messenger.register(Service.ofMessages(
                        WriteLease.RELEASE,
                        1,
                        64,
                        call -> answered(release(call.caller().principal())))
                .onlyFor(mayWrite));
    }

    /** BUSY from who does not lead: the lease is none the worse for it. */
    private static CompletionStage<byte[]> answered(CompletableFuture<Void> done) {
        CompletableFuture<byte[]> answer = new CompletableFuture<>();
        done.whenComplete((nothing, failure) -> {
            if (failure == null) {
                answer.complete(new byte[0]);
            } else {
                boolean isElsewhere =
                        failure instanceof AgreementException e && e.code() == AgreementException.Code.NO_LEADER;
                answer.completeExceptionally(new MessageException(
                        isElsewhere ? MessageException.Code.BUSY : MessageException.Code.FAILED,
                        String.valueOf(failure.getMessage())));
            }
        });
        return answer;
    }

    private static AgreementException notHere() {
        return new AgreementException(AgreementException.Code.NO_LEADER, "this node does not lead");
    }

    /** Null when this node does not lead. Notes since when it does. */
    private synchronized @Nullable Agreement leading() {
        Agreement current = agreement.get();
        AgreementStatus status = current == null ? null : current.status();
        if (status == null || !Objects.equals(self, status.leader())) {
            return null;
        }
        if (status.term() != term) {
            term = status.term();
            expiresNanos =
                    System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(WriteLease.TERM_MILLIS + DEPOSED_MILLIS_MAX);
        }
        return current;
    }

    /** Completes once {@code node} has it; fails with an {@link AgreementException} when this node cannot give it. */
    CompletableFuture<Void> acquire(PrincipalId node) {
        return inTurn(() -> give(node));
    }

    @FunctionalInterface
    private interface Step {
        void take() throws AgreementException, InterruptedException;
    }

    /** One after the other, as they were asked for. */
    private CompletableFuture<Void> inTurn(Step step) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        try {
            giving.execute(() -> {
                try {
                    step.take();
                    done.complete(null);
                } catch (AgreementException | RuntimeException e) {
                    done.completeExceptionally(e);
                } catch (InterruptedException e) {
                    done.completeExceptionally(notHere());
                }
            });
        } catch (RejectedExecutionException e) {
            done.completeExceptionally(notHere());
        }
        return done;
    }

    private void give(PrincipalId node) throws AgreementException, InterruptedException {
        Agreement here = confirmed();
        awaitKnown();
        PrincipalId current;
        synchronized (this) {
            current = holder;
            if (Objects.equals(node, current) && !Objects.equals(node, takenBack)) {
                return; // it has lost sight of it
            }
        }
        if (current != null && !Objects.equals(node, current)) {
            takeBack(current);
        }
        long grantedNanos = System.nanoTime();
        order(here, node);
        synchronized (this) {
            if (!Objects.equals(node, holder)) {
                throw new AgreementException(AgreementException.Code.UNKNOWN, "another node got it first");
            }
            expiresNanos = grantedNanos + TimeUnit.MILLISECONDS.toNanos(WriteLease.TERM_MILLIS);
        }
    }

    /** The agreement that this node leads, once all that was put in order under earlier leaders is applied here: who has the lease is in there. */
    Agreement confirmed() throws AgreementException, InterruptedException {
        Agreement here = leading();
        if (here == null) {
            throw notHere();
        }
        long current;
        synchronized (this) {
            current = term;
            if (confirmedTerm == current) {
                return here;
            }
        }
        propose(here, Entry.newBuilder().setVersion(ReplicatedTree.VERSION).build());
        long index = here.status().committed();
        long deadlineNanos = System.nanoTime() + TimeUnit.SECONDS.toNanos(PROPOSE_SECONDS_MAX);
        while (here.status().applied() < index) {
            if (System.nanoTime() - deadlineNanos > 0) {
                throw new AgreementException(AgreementException.Code.UNKNOWN, "not applied in time");
            }
            TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
        }
        synchronized (this) {
            confirmedTerm = current;
        }
        return here;
    }

    /** Returns once {@code current} has given it back, or may not use it any more; it gets no renewal then. */
    private void takeBack(PrincipalId current) throws InterruptedException, AgreementException {
        long deadlineNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(RECALL_MILLIS_MAX);
        CompletableFuture<?> back;
        if (current.equals(self)) {
            own.giveBack();
            noteTakenBack(current);
            return;
        }
        back = messenger.peer(current).request(WriteLease.RECALL, new byte[0], Duration.ofMillis(RECALL_MILLIS_MAX));
        while (System.nanoTime() - deadlineNanos < 0) {
            long leftNanos;
            synchronized (this) {
                leftNanos = expiresNanos - System.nanoTime();
                if (leftNanos <= 0) {
                    takenBack = current;
                }
            }
            if (leftNanos <= 0) {
                log.atWarn().addKeyValue("peer", current).log("lease_expired");
                back.cancel(false);
                return;
            }
            try {
                back.get(Math.min(leftNanos, TimeUnit.MILLISECONDS.toNanos(100)), TimeUnit.NANOSECONDS);
                noteTakenBack(current);
                return;
            } catch (ExecutionException e) {
                TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS); // not reached: it ends by itself
                back = messenger
                        .peer(current)
                        .request(WriteLease.RECALL, new byte[0], Duration.ofMillis(RECALL_MILLIS_MAX));
            } catch (TimeoutException e) {
                if (leading() == null) {
                    throw notHere();
                }
            }
        }
        throw new AgreementException(
                AgreementException.Code.UNKNOWN,
                current + " renews the right to change the tree, but does not give it back");
    }

    private synchronized void noteTakenBack(PrincipalId node) {
        takenBack = node;
    }

    /** A leader that has just started waits until nobody can hold it that it does not know of. */
    private void awaitKnown() throws InterruptedException {
        while (true) {
            long leftNanos;
            synchronized (this) {
                leftNanos = known ? 0 : expiresNanos - System.nanoTime();
                if (leftNanos <= 0) {
                    return;
                }
                TimeUnit.NANOSECONDS.timedWait(this, leftNanos);
            }
        }
    }

    /** Has all nodes know that {@code node} has it, null: that nobody has; returns when this one does. */
    private void order(Agreement here, @Nullable PrincipalId node) throws AgreementException, InterruptedException {
        propose(
                here,
                Entry.newBuilder()
                        .setVersion(ReplicatedTree.VERSION)
                        .setLease(Lease.newBuilder()
                                .setHolder(node == null ? ByteString.EMPTY : ByteString.copyFrom(node.toBytes())))
                        .build());
        long deadlineNanos = System.nanoTime() + TimeUnit.SECONDS.toNanos(PROPOSE_SECONDS_MAX);
        synchronized (this) {
            while (!known || !Objects.equals(node, holder)) {
                long leftNanos = deadlineNanos - System.nanoTime();
                if (leftNanos <= 0) {
                    throw new AgreementException(AgreementException.Code.UNKNOWN, "not applied in time");
                }
                TimeUnit.NANOSECONDS.timedWait(this, leftNanos);
            }
        }
    }

    static void propose(Agreement here, Entry entry) throws AgreementException, InterruptedException {
        try {
            here.propose(entry.toByteString()).get(PROPOSE_SECONDS_MAX, TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            throw AgreementException.of(e);
        } catch (TimeoutException e) {
            throw new AgreementException(AgreementException.Code.UNKNOWN, "no majority answers", e);
        }
    }

    /** Completes when {@code node} has it for another term; fails when it does not have it. */
    CompletableFuture<Void> renew(PrincipalId node) {
        if (leading() == null) {
            return CompletableFuture.failedFuture(notHere());
        }
        synchronized (this) {
            if (!Objects.equals(node, holder) || Objects.equals(node, takenBack)) {
                return CompletableFuture.failedFuture(
                        new AgreementException(AgreementException.Code.REFUSED, "another node has it"));
            }
            long untilNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(WriteLease.TERM_MILLIS);
            if (untilNanos - expiresNanos > 0) {
                expiresNanos = untilNanos;
            }
            return CompletableFuture.completedFuture(null);
        }
    }

    /** Of who has given it back by itself. */
    CompletableFuture<Void> release(PrincipalId node) {
        return inTurn(() -> {
            Agreement here = leading();
            if (here != null && Objects.equals(node, holder())) {
                order(here, null);
            }
        });
    }

    /** What the order says, on every node. */
    synchronized void applied(@Nullable PrincipalId newHolder) {
        holder = newHolder;
        takenBack = null;
        known = true;
        notifyAll();
    }

    /** Returns once this node has been told by the order that {@code node} has it. */
    synchronized void awaitHolder(PrincipalId node, Duration patience) throws TimeoutException, InterruptedException {
        long deadlineNanos = System.nanoTime() + patience.toNanos();
        while (!Objects.equals(node, holder)) {
            long leftNanos = deadlineNanos - System.nanoTime();
            if (leftNanos <= 0) {
                throw new TimeoutException("not applied here in time");
            }
            TimeUnit.NANOSECONDS.timedWait(this, leftNanos);
        }
    }

    /** So that a new leader's time begins with it, not with the first who asks. */
    void noteLeader() {
        leading();
    }

    /** Who has it, as far as this node knows. */
    synchronized @Nullable PrincipalId holder() {
        return holder;
    }

    void close() {
        giving.shutdownNow();
    }
}
