package blocktree.cluster;

import blocktree.btmsg.session.Call;
import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.btmsg.session.Service;
import blocktree.cluster.ClusterProto.LockAim;
import blocktree.cluster.ClusterProto.LockAnswer;
import blocktree.cluster.ClusterProto.LockClaims;
import blocktree.cluster.ClusterProto.LockQuestion;
import blocktree.cluster.ClusterProto.LockSessions;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import com.google.protobuf.InvalidProtocolBufferException;
import java.security.SecureRandom;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
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
 * What this node may lock in the tree's files without asking, and how it asks for more (docs/cluster.md, "Locks of files"). {@link LockDesk} hands it out. Thread-safe: all but what is volatile is its one
 * thread's.
 */
public final class LockLeases implements AutoCloseable {

    private static final Logger log = LoggerFactory.getLogger(LockLeases.class);

    /**
     * How long a session holds after it was last renewed: longer than a busy machine holds a process up, since programs lose their locks with it. A leader's own, after it has renewed it with itself, for
     * less: the next leader has to wait for that.
     */
    static final long TERM_MILLIS = 4_000;

    static final long SELF_TERM_MILLIS = 250;

    private static final long TICK_MILLIS = 80;
    private static final long RENEW_MILLIS = 250;

    /** Without a lock for so long, a node ends its session. */
    private static final long IDLE_MILLIS = 2_000;

    private static final Duration RENEW_PATIENCE = Duration.ofMillis(1_000);

    /** A question is sent again after so long. */
    static final long ANSWER_MILLIS_MAX = 600_000;

    /** What is not to wait for other locks waits so long for an answer: longer than it takes another node to be chosen that leads. */
    private static final long TRY_MILLIS_MAX = 10_000;

    private static final long FRESH_MILLIS_MAX = 1_000;
    private static final Duration LIST_PATIENCE = Duration.ofSeconds(2);

    static final String RECALL = "cluster.locks.recall";
    private static final String LIST = "cluster.locks.list";

    /** A node, and what its programs hold; null when it did not answer. */
    public record NodeLocks(PrincipalId node, @Nullable List<LockTable.HeldLock> locks) {}

    /** A lone node's until {@link #serve}. */
    private static final LockTable NOTHING = new LockTable() {
        @Override
        public CompletableFuture<@Nullable LockRange> lend(LockRange range, boolean waits) {
            return CompletableFuture.completedFuture(null);
        }

        @Override
        public @Nullable LockRange inTheWay(LockRange range) {
            return null;
        }

        @Override
        public List<LockRange> retreat() {
            return List.of();
        }

        @Override
        public boolean lose() {
            return false;
        }

        @Override
        public boolean isIdle() {
            return true;
        }

        @Override
        public boolean isCrowded() {
            return false;
        }

        @Override
        public List<HeldLock> held() {
            return List.of();
        }
    };

    private static final class Asked {
        final LockRequest request;
        final long sinceNanos = System.nanoTime();

        /** Null while it is not under way. */
        @Nullable
        CompletableFuture<byte[]> answer;

        Asked(LockRequest request) {
            this.request = request;
        }

        void takeBack() {
            CompletableFuture<byte[]> underWay = answer;
            answer = null;
            if (underWay != null) {
                underWay.cancel(false);
            }
        }
    }

    /** Until when the session holds, on both clocks: one stands still while the machine sleeps, the other may be set back. */
    private record Validity(long untilNanos, long untilMillis) {}

    private final Messenger messenger;
    private final PrincipalId self;
    private final Supplier<@Nullable Agreement> agreement;
    private final WriteLease writing;
    private final Clock clock;
    private final LockDesk desk;
    private final SecureRandom random = new SecureRandom();
    private final ScheduledExecutorService turn =
            Executors.newSingleThreadScheduledExecutor(task -> thread(task, "locks"));
    private final ExecutorService refreshing = Executors.newCachedThreadPool(task -> thread(task, "locks-refresh"));

    private volatile LockTable table = NOTHING;
    private volatile @Nullable Validity validity;

    /** Whether the leader knows what this node has: while it is told, nothing is said of what is given up. */
    private volatile boolean claimed;

    private volatile long session;

    // All below is the thread's.
    private final Set<Asked> asked = new LinkedHashSet<>();
    private @Nullable PrincipalId claimedFrom;
    private int claims;
    private long claimSentNanos;
    private long renewSentNanos;
    private long usedNanos;

    private static Thread thread(Runnable task, String name) {
        Thread thread = new Thread(task, name);
        thread.setDaemon(true);
        return thread;
    }

    /** {@code isVoter}: who may have locks, and ask for those of this node. */
    LockLeases(
            Messenger messenger,
            PrincipalId self,
            Supplier<@Nullable Agreement> agreement,
            WriteLease writing,
            Predicate<PeerIdentity> isVoter,
            Clock clock,
            BlockStore store) {
        this.messenger = messenger;
        this.self = self;
        this.agreement = agreement;
        this.writing = writing;
        this.clock = clock;
        this.desk = new LockDesk(messenger, self, agreement, writing.desk(), isVoter, this::recalled, store);
        messenger.register(Service.ofMessages(RECALL, 1, 2 * LockDesk.ASKED_MAX, this::recalled)
                .onlyFor(isVoter));
        messenger.register(
                Service.ofMessages(LIST, 1, 4, call -> CompletableFuture.completedFuture(toProto(table.held())))
                        .onlyFor(isVoter));
        turn.scheduleWithFixedDelay(this::tick, TICK_MILLIS, TICK_MILLIS, TimeUnit.MILLISECONDS);
    }

    LockDesk desk() {
        return desk;
    }

    /** Whose locks these are; before that there are none. */
    public void serve(LockTable newTable) {
        table = newTable;
    }

    /** Whether what this node was given still counts. */
    public boolean isValid() {
        Validity current = validity;
        return current != null && System.nanoTime() - current.untilNanos < 0 && clock.millis() < current.untilMillis;
    }

    /** Has the other nodes asked. */
    public void ask(LockRequest request) {
        Asked one = new Asked(request);
        later(() -> {
            if (asked.size() >= LockDesk.ASKED_MAX) {
                request.failed(LockRequest.Failure.TOO_MANY);
                return;
            }
            asked.add(one);
            proceed();
        });
        request.onOver(() -> later(() -> {
            if (asked.remove(one)) {
                one.takeBack();
            }
        }));
    }

    private void later(Runnable task) {
        try {
            turn.execute(() -> {
                try {
                    task.run();
                } catch (RuntimeException e) {
                    log.atError().setCause(e).log("locks_failed");
                }
            });
        } catch (RejectedExecutionException e) {
            // the node stops
        }
    }

    private @Nullable PrincipalId leader() {
        Agreement current = agreement.get();
        return current == null ? null : current.status().leader();
    }

    // ---- to have a session ----

    private void tick() {
        try {
            desk.tick();
            learnSessions();
            for (Asked one : List.copyOf(asked)) {
                if (one.request.aim() != LockRequest.Aim.WAIT
                        && System.nanoTime() - one.sinceNanos > TimeUnit.MILLISECONDS.toNanos(TRY_MILLIS_MAX)) {
                    asked.remove(one);
                    one.takeBack();
                    one.request.failed(LockRequest.Failure.TIMED_OUT);
                }
            }
            if (session != 0) {
                if (!asked.isEmpty() || !table.isIdle()) {
                    usedNanos = System.nanoTime();
                } else if (System.nanoTime() - usedNanos > TimeUnit.MILLISECONDS.toNanos(IDLE_MILLIS)) {
                    endSession();
                }
            }
            proceed();
        } catch (RuntimeException e) {
            log.atError().setCause(e).log("locks_failed");
        }
    }

    /** A node that leads has to know who has a session: the newest entry of that may have passed this one by while it was away. */
    private void learnSessions() {
        PrincipalId leader = leader();
        if (desk.isCurrent() || leader == null || leader.equals(self)) {
            return;
        }
        var unused = messenger
                .peer(leader)
                .request(LockDesk.SESSIONS, new byte[0], RENEW_PATIENCE)
                .thenAccept(answer -> {
                    try {
                        desk.learned(LockSessions.parseFrom(answer));
                    } catch (InvalidProtocolBufferException e) {
                        log.atDebug().setCause(e).log("lock_sessions_unknown");
                    }
                });
    }

    /** Whatever is to be said to the leader now. */
    private void proceed() {
        PrincipalId leader = leader();
        if (session == 0 && !asked.isEmpty()) {
            session = newSession();
            usedNanos = System.nanoTime();
        }
        if (session == 0 || leader == null) {
            return;
        }
        long nowNanos = System.nanoTime();
        if (!Objects.equals(leader, claimedFrom) || claimed && table.isCrowded()) {
            claim(leader);
        } else if (!claimed) {
            if (nowNanos - claimSentNanos > RENEW_PATIENCE.toNanos()) {
                claim(leader);
            }
        } else {
            long renewMillis = leader.equals(self) ? 0 : RENEW_MILLIS;
            if (nowNanos - renewSentNanos >= TimeUnit.MILLISECONDS.toNanos(renewMillis)) {
                renew(leader);
            }
            for (Asked one : List.copyOf(asked)) {
                if (one.answer == null) {
                    send(leader, one);
                }
            }
        }
    }

    private long newSession() {
        long fresh = random.nextLong();
        return fresh == 0 ? 1 : fresh;
    }

    private CompletableFuture<byte[]> say(PrincipalId leader, String service, LockClaims message) {
        if (!leader.equals(self)) {
            return messenger.peer(leader).request(service, message.toByteArray(), RENEW_PATIENCE);
        }
        return switch (service) {
            case LockDesk.CLAIM -> desk.claim(self, message);
            case LockDesk.RENEW -> desk.renew(self, message);
            default -> desk.end(self, message);
        };
    }

    /** What was given under another leader counts no more, but for what is held: that is claimed. */
    private void claim(PrincipalId leader) {
        claimed = false;
        claimedFrom = leader;
        asked.forEach(Asked::takeBack);
        int claim = ++claims;
        LockClaims.Builder message = LockClaims.newBuilder().setSession(session);
        table.retreat().forEach(range -> message.addRanges(range.toProto()));
        long sentNanos = System.nanoTime();
        long sentMillis = clock.millis();
        claimSentNanos = sentNanos;
        var unused = say(leader, LockDesk.CLAIM, message.build())
                .whenComplete((answer, failure) -> later(() -> {
                    if (claim == claims) {
                        claimed(leader, sentNanos, sentMillis, outcome(answer, failure));
                    }
                }));
    }

    private void claimed(PrincipalId leader, long sentNanos, long sentMillis, LockAnswer.Outcome outcome) {
        if (outcome == LockAnswer.Outcome.GIVEN) {
            renewed(leader, sentNanos, sentMillis);
            renewSentNanos = sentNanos;
            claimed = true;
            proceed();
        } else if (outcome == LockAnswer.Outcome.LOST) {
            lose();
            proceed();
        } else {
            claimedFrom = null; // the next tick tries again
        }
    }

    private void renewed(PrincipalId leader, long sentNanos, long sentMillis) {
        long millis = leader.equals(self) ? SELF_TERM_MILLIS : TERM_MILLIS;
        validity = new Validity(sentNanos + TimeUnit.MILLISECONDS.toNanos(millis), sentMillis + millis);
    }

    private void renew(PrincipalId leader) {
        long sentNanos = System.nanoTime();
        long sentMillis = clock.millis();
        int claim = claims;
        renewSentNanos = sentNanos;
        var unused = say(
                        leader,
                        LockDesk.RENEW,
                        LockClaims.newBuilder().setSession(session).build())
                .whenComplete((answer, failure) -> later(() -> {
                    if (claim != claims) {
                        return;
                    }
                    LockAnswer.Outcome outcome = outcome(answer, failure);
                    if (outcome == LockAnswer.Outcome.GIVEN) {
                        renewed(leader, sentNanos, sentMillis);
                    } else if (outcome == LockAnswer.Outcome.UNKNOWN) {
                        claimedFrom = null;
                        proceed();
                    }
                }));
    }

    private static LockAnswer.Outcome outcome(byte @Nullable [] answer, @Nullable Throwable failure) {
        try {
            return answer == null || failure != null
                    ? LockAnswer.Outcome.OTHER
                    : LockAnswer.parseFrom(answer).getOutcome();
        } catch (InvalidProtocolBufferException e) {
            return LockAnswer.Outcome.OTHER;
        }
    }

    private void lose() {
        validity = null;
        claimed = false;
        claimedFrom = null;
        claims++;
        session = 0;
        if (table.lose()) {
            log.atWarn().log("locks_lost");
        }
    }

    private void endSession() {
        claims++;
        if (!table.retreat().isEmpty()) {
            claimedFrom = null; // somebody has just taken one: the others are given up
            claimed = false;
            return;
        }
        long ended = session;
        session = 0;
        validity = null;
        claimed = false;
        claimedFrom = null;
        PrincipalId leader = leader();
        if (leader != null) {
            var unused = say(
                    leader,
                    LockDesk.END,
                    LockClaims.newBuilder().setSession(ended).build());
        }
    }

    // ---- to ask ----

    private void send(PrincipalId leader, Asked one) {
        if (one.request.isOver()) {
            asked.remove(one);
            return;
        }
        one.request.begin();
        LockQuestion question = LockQuestion.newBuilder()
                .setSession(session)
                .setRange(one.request.range().toProto())
                .setAim(
                        switch (one.request.aim()) {
                            case WAIT -> LockAim.WAIT;
                            case TRY -> LockAim.TRY;
                            case TEST -> LockAim.TEST;
                        })
                .build();
        CompletableFuture<byte[]> answer = leader.equals(self)
                ? desk.ask(self, question)
                : messenger
                        .peer(leader)
                        .request(LockDesk.ASK, question.toByteArray(), Duration.ofMillis(ANSWER_MILLIS_MAX));
        one.answer = answer;
        var unused = answer.whenComplete((bytes, failure) -> later(() -> {
            if (one.answer == answer) {
                one.answer = null; // without an answer, the next tick sends it again
                if (failure == null) {
                    answered(one, bytes);
                }
            }
        }));
    }

    private void answered(Asked one, byte[] bytes) {
        try {
            LockAnswer answer = LockAnswer.parseFrom(bytes);
            LockRange range = answer.hasRange() ? LockRange.of(answer.getRange()) : null;
            switch (answer.getOutcome()) {
                case GIVEN -> {
                    asked.remove(one);
                    if (!one.request.given(range, refreshed(answer.getIndex()))) {
                        asked.add(one);
                        proceed();
                    }
                }
                case IN_THE_WAY -> {
                    asked.remove(one);
                    one.request.denied(Objects.requireNonNullElse(range, one.request.range()));
                }
                case FREE -> {
                    asked.remove(one);
                    one.request.denied(null);
                }
                case LOST, UNKNOWN -> {
                    claimedFrom = null;
                    proceed();
                }
                case TOO_MANY -> {
                    asked.remove(one);
                    one.request.failed(LockRequest.Failure.TOO_MANY);
                }
                case OTHER, UNRECOGNIZED -> log.atDebug().log("lock_not_given");
            }
        } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
            log.atDebug().setCause(e).log("lock_not_given");
        }
    }

    /** Complete when what others wrote before their locks were let go is applied here. */
    private CompletionStage<Void> refreshed(long index) {
        CompletableFuture<Void> done = new CompletableFuture<>();
        try {
            refreshing.execute(() -> {
                try {
                    awaitApplied(index);
                    writing.refresh();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                } finally {
                    done.complete(null);
                }
            });
        } catch (RejectedExecutionException e) {
            done.complete(null); // the node stops
        }
        return done;
    }

    private void awaitApplied(long index) throws InterruptedException {
        long deadlineNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(FRESH_MILLIS_MAX);
        Agreement current = agreement.get();
        while (current != null && current.status().applied() < index && System.nanoTime() - deadlineNanos < 0) {
            TimeUnit.MILLISECONDS.sleep(1);
        }
    }

    // ---- to be asked ----

    private CompletionStage<byte[]> recalled(Call call) throws MessageException {
        try {
            CompletableFuture<byte[]> answer = recalled(LockQuestion.parseFrom(call.body()));
            call.onCancel(() -> answer.completeExceptionally(LockDesk.notWanted()));
            return answer;
        } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
            throw new MessageException(MessageException.Code.FAILED, "not a message about locks");
        }
    }

    private CompletableFuture<byte[]> recalled(LockQuestion question) {
        CompletableFuture<byte[]> answer = new CompletableFuture<>();
        if (!question.hasRange()) {
            later(() -> {
                LockAnswer.Builder all = LockAnswer.newBuilder().setOutcome(LockAnswer.Outcome.GIVEN);
                if (question.getSession() == session) {
                    table.retreat().forEach(range -> all.addClaims(range.toProto()));
                }
                say(answer, question, all);
            });
            return answer;
        }
        LockRange range = LockRange.of(question.getRange());
        if (question.getSession() != session) {
            answer.complete(outcome(LockAnswer.Outcome.GIVEN)); // nothing is held under it any more
        } else if (question.getAim() == LockAim.TEST) {
            answer.complete(said(table.inTheWay(range), LockAnswer.Outcome.FREE));
        } else {
            CompletableFuture<@Nullable LockRange> lent = table.lend(range, question.getAim() == LockAim.WAIT);
            var unused = answer.whenComplete((bytes, failure) -> lent.cancel(false));
            var then = lent.thenAccept(inTheWay -> {
                if (inTheWay == null) {
                    say(answer, question, LockAnswer.newBuilder().setOutcome(LockAnswer.Outcome.GIVEN));
                } else {
                    answer.complete(said(inTheWay, LockAnswer.Outcome.IN_THE_WAY));
                }
            });
        }
        return answer;
    }

    /** That something was given up, unless the leader is being told just now what this node has: that may be of before. */
    private void say(CompletableFuture<byte[]> answer, LockQuestion question, LockAnswer.Builder given) {
        if (claimed || question.getSession() != session) {
            answer.complete(given.build().toByteArray());
        } else {
            answer.completeExceptionally(new MessageException(MessageException.Code.BUSY, "claims are under way"));
        }
    }

    private static byte[] said(@Nullable LockRange inTheWay, LockAnswer.Outcome otherwise) {
        return inTheWay == null
                ? outcome(otherwise)
                : LockAnswer.newBuilder()
                        .setOutcome(LockAnswer.Outcome.IN_THE_WAY)
                        .setRange(inTheWay.toProto())
                        .build()
                        .toByteArray();
    }

    private static byte[] outcome(LockAnswer.Outcome outcome) {
        return LockAnswer.newBuilder().setOutcome(outcome).build().toByteArray();
    }

    // ---- to look ----

    private static byte[] toProto(List<LockTable.HeldLock> held) {
        ClusterProto.HeldLocks.Builder message = ClusterProto.HeldLocks.newBuilder();
        held.forEach(lock -> message.addLocks(ClusterProto.HeldLock.newBuilder()
                .setRange(lock.range().toProto())
                .setPid(lock.pid())
                .setSinceMillis(lock.sinceMillis())));
        return message.build().toByteArray();
    }

    private static List<LockTable.HeldLock> fromProto(byte[] bytes) throws InvalidProtocolBufferException {
        List<LockTable.HeldLock> held = new ArrayList<>();
        for (ClusterProto.HeldLock lock :
                ClusterProto.HeldLocks.parseFrom(bytes).getLocksList()) {
            held.add(new LockTable.HeldLock(LockRange.of(lock.getRange()), lock.getPid(), lock.getSinceMillis()));
        }
        return held;
    }

    /** What the programs of all nodes hold. Waits for two seconds at most. */
    public List<NodeLocks> list() throws InterruptedException {
        Agreement current = agreement.get();
        Map<PrincipalId, CompletableFuture<byte[]>> answers = new LinkedHashMap<>();
        Set<PrincipalId> nodes = new LinkedHashSet<>(desk.ordered().keySet());
        if (current != null) {
            nodes.addAll(current.status().voters());
        }
        for (PrincipalId node : nodes) {
            if (!node.equals(self)) {
                answers.put(node, messenger.peer(node).request(LIST, new byte[0], LIST_PATIENCE));
            }
        }
        List<NodeLocks> locks = new ArrayList<>();
        locks.add(new NodeLocks(self, table.held()));
        for (Map.Entry<PrincipalId, CompletableFuture<byte[]>> answer : answers.entrySet()) {
            List<LockTable.HeldLock> held = null;
            try {
                held = fromProto(answer.getValue().get(LIST_PATIENCE.toMillis(), TimeUnit.MILLISECONDS));
            } catch (ExecutionException
                    | TimeoutException
                    | InvalidProtocolBufferException
                    | IllegalArgumentException e) {
                log.atDebug().addKeyValue("peer", answer.getKey()).setCause(e).log("locks_unknown");
            }
            locks.add(new NodeLocks(answer.getKey(), held));
        }
        return locks;
    }

    /** Ends the session, for which no program may hold a lock any more: other nodes need not wait for its end. */
    public void stop() {
        CompletableFuture<Void> done = new CompletableFuture<>();
        later(() -> {
            if (session != 0) {
                endSession();
            }
            done.complete(null);
        });
        try {
            done.get(RENEW_PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException | TimeoutException e) {
            log.atDebug().setCause(e).log("lock_session_not_ended");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        turn.shutdownNow();
        refreshing.shutdownNow();
        desk.close();
    }
}
