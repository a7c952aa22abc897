package blocktree.cluster;

import blocktree.btmsg.session.Call;
import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.btmsg.session.Service;
import blocktree.cluster.ClusterProto.Entry;
import blocktree.cluster.ClusterProto.LockAim;
import blocktree.cluster.ClusterProto.LockAnswer;
import blocktree.cluster.ClusterProto.LockClaims;
import blocktree.cluster.ClusterProto.LockQuestion;
import blocktree.cluster.ClusterProto.LockSession;
import blocktree.cluster.ClusterProto.LockSessions;
import blocktree.cluster.LockRange.Space;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import blocktree.store.LocalTable;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Hands {@link LockLeases} out, on whichever node leads (docs/cluster.md, "Locks of files"). What it knows of a node is never less than what that node believes to have. Thread-safe: all but what the order
 * says is its one thread's.
 */
final class LockDesk {

    private static final Logger log = LoggerFactory.getLogger(LockDesk.class);

    static final String CLAIM = "cluster.locks.claim";
    static final String RENEW = "cluster.locks.renew";
    static final String END = "cluster.locks.end";
    static final String ASK = "cluster.locks.ask";
    static final String SESSIONS = "cluster.locks.sessions";

    /** Of one node; what waits counts until it is answered. */
    static final int ASKED_MAX = 256;

    private static final String TABLE = "cluster.locks";
    private static final byte[] SESSIONS_KEY = {1};

    private static final int RANGES_MAX = 30_000;
    private static final long RETRY_MILLIS = 20;
    private static final long APPLY_SECONDS_MAX = 5;

    /** Gives up ranges on this very node. */
    @FunctionalInterface
    interface Own {
        CompletableFuture<byte[]> recall(LockQuestion question);
    }

    /** A node with a session. */
    private static final class Member {
        final long session;
        final Map<Space, List<LockRange>> ranges = new HashMap<>();
        int rangeCount;
        long expiresNanos;

        Member(long session) {
            this.session = session;
        }

        void add(LockRange range) {
            List<LockRange> there = ranges.computeIfAbsent(range.space(), space -> new ArrayList<>());
            int before = there.size();
            range.addTo(there);
            rangeCount += there.size() - before;
        }

        void take(LockRange range) {
            List<LockRange> there = ranges.getOrDefault(range.space(), new ArrayList<>());
            int before = there.size();
            range.takeFrom(there);
            rangeCount += there.size() - before;
            if (there.isEmpty()) {
                ranges.remove(range.space());
            }
        }

        void replace(List<LockRange> claims) {
            ranges.clear();
            rangeCount = 0;
            claims.forEach(this::add);
        }

        boolean conflicts(LockRange range) {
            return ranges.getOrDefault(range.space(), List.of()).stream().anyMatch(range::conflictsWith);
        }

        void renewed() {
            expiresNanos = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(LockLeases.TERM_MILLIS);
        }
    }

    /** A question to a node that has what another asks for. */
    private static final class Recall {
        /** What the node has was changed since: the answer says nothing of that. */
        boolean stale;

        final CompletableFuture<byte[]> answer;

        Recall(CompletableFuture<byte[]> answer) {
            this.answer = answer;
        }
    }

    private record Ask(
            PrincipalId node,
            long session,
            LockRange range,
            LockAim aim,
            CompletableFuture<byte[]> answer,
            Map<PrincipalId, Recall> recalls,
            Set<PrincipalId> tested) {

        @Override
        public boolean equals(Object other) {
            return this == other;
        }

        @Override
        public int hashCode() {
            return System.identityHashCode(this);
        }
    }

    private final Messenger messenger;
    private final PrincipalId self;
    private final Supplier<@Nullable Agreement> agreement;
    private final LeaseDesk leases;
    private final Own own;
    private final LocalTable kept;
    private final ScheduledExecutorService turn = Executors.newSingleThreadScheduledExecutor(task -> {
        Thread thread = new Thread(task, "lock-desk");
        thread.setDaemon(true);
        return thread;
    });

    // The three are guarded by this.
    private Map<PrincipalId, Long> ordered = Map.of();

    /** Whether {@link #ordered} is what the order says, so far as this node has it. */
    private boolean known;

    /** Whether that was heard of since the process began. */
    private boolean current;

    // All below is the thread's.
    private final Map<PrincipalId, Member> members = new HashMap<>();
    private final Set<Ask> asks = new LinkedHashSet<>();

    /** Who has what nobody else has of all files. */
    private @Nullable PrincipalId everything;

    private @Nullable Recall everythingRecall;

    /** The term in which this node leads; -1: it does not. */
    private long term = -1;

    /** Those with a session that have not claimed since, and until when they may believe in it. */
    private final Map<PrincipalId, Long> awaited = new HashMap<>();

    private long graceUntilNanos;

    /** Who was seen to lead in which term before. */
    private @Nullable PrincipalId leaderBefore;

    private long termBefore = -1;

    LockDesk(
            Messenger messenger,
            PrincipalId self,
            Supplier<@Nullable Agreement> agreement,
            LeaseDesk leases,
            Predicate<PeerIdentity> isVoter,
            Own own,
            BlockStore store) {
        this.messenger = messenger;
        this.self = self;
        this.agreement = agreement;
        this.leases = leases;
        this.own = own;
        this.kept = store.local(TABLE);
        read();
        register(CLAIM, 4, isVoter, (node, body) -> claim(node, LockClaims.parseFrom(body)));
        register(RENEW, 16, isVoter, (node, body) -> renew(node, LockClaims.parseFrom(body)));
        register(END, 4, isVoter, (node, body) -> end(node, LockClaims.parseFrom(body)));
        register(ASK, ASKED_MAX, isVoter, (node, body) -> ask(node, LockQuestion.parseFrom(body)));
        register(SESSIONS, 4, isVoter, (node, body) -> sessions());
    }

    private interface Handler {
        CompletableFuture<byte[]> handle(PrincipalId node, byte[] body) throws InvalidProtocolBufferException;
    }

    private void register(String name, int underWayMax, Predicate<PeerIdentity> isVoter, Handler handler) {
        messenger.register(Service.ofMessages(name, 1, underWayMax, call -> handle(call, handler))
                .onlyFor(isVoter));
    }

    private static CompletionStage<byte[]> handle(Call call, Handler handler) throws MessageException {
        try {
            CompletableFuture<byte[]> answer = handler.handle(call.caller().principal(), call.body());
            call.onCancel(() -> answer.completeExceptionally(notWanted()));
            return answer;
        } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
            throw new MessageException(MessageException.Code.FAILED, "not a message about locks");
        }
    }

    private static MessageException notHere() {
        return new MessageException(MessageException.Code.BUSY, "this node does not lead");
    }

    static MessageException notWanted() {
        return new MessageException(MessageException.Code.CANCELLED, "nobody waits for the answer");
    }

    private static byte[] answer(LockAnswer.Outcome outcome) {
        return LockAnswer.newBuilder().setOutcome(outcome).build().toByteArray();
    }

    @FunctionalInterface
    private interface Step {
        void take(CompletableFuture<byte[]> answer) throws AgreementException, InterruptedException;
    }

    /** On the one thread, and only where this node leads. */
    private CompletableFuture<byte[]> inTurn(Step step) {
        CompletableFuture<byte[]> answer = new CompletableFuture<>();
        try {
            turn.execute(() -> {
                try {
                    lead();
                    step.take(answer);
                } catch (AgreementException e) {
                    answer.completeExceptionally(notHere());
                } catch (InterruptedException e) {
                    answer.completeExceptionally(notHere()); // the node stops
                } catch (RuntimeException e) {
                    log.atError().setCause(e).log("lock_desk_failed");
                    answer.completeExceptionally(notHere());
                }
            });
        } catch (RejectedExecutionException e) {
            answer.completeExceptionally(notHere());
        }
        return answer;
    }

    // ---- who leads, and who has a session ----

    /** What the order said when the process ended before this one. */
    private void read() {
        try {
            byte[] sessions = kept.get(SESSIONS_KEY);
            if (sessions != null) {
                note(LockSessions.parseFrom(sessions));
            }
        } catch (StoreException | InvalidProtocolBufferException e) {
            log.atWarn().setCause(e).log("lock_sessions_unreadable");
        }
    }

    private synchronized void note(LockSessions sessions) {
        Map<PrincipalId, Long> now = new HashMap<>();
        for (LockSession session : sessions.getSessionsList()) {
            if (session.getNode().size() == Id.SIZE) {
                now.put(PrincipalId.of(session.getNode().toByteArray()), session.getId());
            }
        }
        ordered = Map.copyOf(now);
        known = true;
        notifyAll();
    }

    /** What the order says, on every node. */
    synchronized void applied(LockSessions sessions) throws StoreException {
        kept.put(SESSIONS_KEY, sessions.toByteArray());
        current = true;
        note(sessions);
    }

    /** What a leader says that the order says, for a node that has applied no entry of it since it started. */
    synchronized void learned(LockSessions sessions) {
        if (!current) {
            current = true;
            note(sessions);
        }
    }

    synchronized boolean isCurrent() {
        return current;
    }

    synchronized boolean isKnown() {
        return known;
    }

    synchronized Map<PrincipalId, Long> ordered() {
        return ordered;
    }

    private static LockSessions toProto(Map<PrincipalId, Long> sessions) {
        LockSessions.Builder message = LockSessions.newBuilder();
        sessions.forEach((node, id) -> message.addSessions(LockSession.newBuilder()
                .setNode(ByteString.copyFrom(node.toBytes()))
                .setId(id)));
        return message.build();
    }

    private CompletableFuture<byte[]> sessions() {
        return inTurn(answer -> {
            if (isKnown()) {
                answer.complete(toProto(ordered()).toByteArray());
            } else {
                answer.completeExceptionally(notHere());
            }
        });
    }

    /** Has all nodes know that these sessions hold and no other; returns when this one does. */
    private void order(Map<PrincipalId, Long> sessions) throws AgreementException, InterruptedException {
        LeaseDesk.propose(
                leases.confirmed(),
                Entry.newBuilder()
                        .setVersion(ReplicatedTree.VERSION)
                        .setLockSessions(toProto(sessions))
                        .build());
        long deadlineNanos = System.nanoTime() + TimeUnit.SECONDS.toNanos(APPLY_SECONDS_MAX);
        synchronized (this) {
            while (!known || !ordered.equals(sessions)) {
                long leftNanos = deadlineNanos - System.nanoTime();
                if (leftNanos <= 0) {
                    throw new AgreementException(AgreementException.Code.UNKNOWN, "not applied in time");
                }
                TimeUnit.NANOSECONDS.timedWait(this, leftNanos);
            }
        }
    }

    private static Map<PrincipalId, Long> with(Map<PrincipalId, Long> sessions, PrincipalId node, @Nullable Long id) {
        Map<PrincipalId, Long> changed = new HashMap<>(sessions);
        if (id == null) {
            changed.remove(node);
        } else {
            changed.put(node, id);
        }
        return changed;
    }

    /** Begins with nothing when this node has come to lead: what was put in order under earlier ones is applied here then. */
    private void lead() throws AgreementException, InterruptedException {
        Agreement here;
        try {
            here = leases.confirmed();
        } catch (AgreementException e) {
            leadNoMore();
            throw e;
        }
        AgreementStatus status = here.status();
        if (status.term() == term) {
            return;
        }
        leadNoMore();
        term = status.term();
        long nowNanos = System.nanoTime();
        for (PrincipalId node : ordered().keySet()) {
            // Who led before renewed with itself, for less.
            boolean led = Objects.equals(node, leaderBefore) && termBefore + 1 == term;
            awaited.put(
                    node,
                    nowNanos
                            + TimeUnit.MILLISECONDS.toNanos(LeaseDesk.DEPOSED_MILLIS_MAX
                                    + (led ? LockLeases.SELF_TERM_MILLIS : LockLeases.TERM_MILLIS)));
        }
        graceUntilNanos = isKnown()
                ? nowNanos
                : nowNanos + TimeUnit.MILLISECONDS.toNanos(LeaseDesk.DEPOSED_MILLIS_MAX + LockLeases.TERM_MILLIS);
    }

    private void leadNoMore() {
        term = -1;
        members.clear();
        awaited.clear();
        everything = null;
        everythingRecall = null;
        for (Ask ask : List.copyOf(asks)) {
            leave(ask);
            ask.answer.completeExceptionally(notHere());
        }
    }

    private boolean isGrace() {
        return !awaited.isEmpty() || System.nanoTime() - graceUntilNanos < 0;
    }

    /** To be called all the time, on every node. */
    void tick() {
        Agreement current = agreement.get();
        if (current == null) {
            return;
        }
        AgreementStatus status = current.status();
        PrincipalId leader = status.leader();
        if (Objects.equals(self, leader)) {
            var unused = inTurn(answer -> endSessions());
        } else if (leader != null) {
            later(() -> {
                leaderBefore = leader;
                termBefore = status.term();
                if (term >= 0) {
                    leadNoMore();
                }
            });
        }
    }

    /** Those that were not renewed, once somebody asks: the order says so before anybody gets anything. */
    private void endSessions() throws AgreementException, InterruptedException {
        if (asks.isEmpty() && (isKnown() || isGrace())) {
            return;
        }
        long nowNanos = System.nanoTime();
        Map<PrincipalId, Long> before = ordered();
        Map<PrincipalId, Long> left = new HashMap<>(before);
        left.keySet().removeIf(node -> {
            Member member = members.get(node);
            Long until = member == null ? awaited.get(node) : Long.valueOf(member.expiresNanos);
            return until == null || nowNanos - until > 0;
        });
        Set<PrincipalId> gone = new HashSet<>(before.keySet());
        gone.removeAll(left.keySet());
        if (!gone.isEmpty() || !isKnown() && !isGrace()) {
            gone.forEach(node -> log.atWarn().addKeyValue("peer", node).log("lock_session_expired"));
            order(left);
            remove(gone);
        }
        stepAll();
    }

    /** These have no session any more. */
    private void remove(Set<PrincipalId> gone) {
        members.keySet().removeAll(gone);
        awaited.keySet().removeAll(gone);
        if (everything != null && gone.contains(everything)) {
            everything = null;
            everythingRecall = null;
        }
        for (Ask ask : asks) {
            gone.forEach(node -> {
                Recall recall = ask.recalls.remove(node);
                if (recall != null) {
                    recall.answer.cancel(false);
                }
            });
        }
    }

    /** A session begins, or goes on under this leader. */
    CompletableFuture<byte[]> claim(PrincipalId node, LockClaims claims) {
        List<LockRange> ranges =
                claims.getRangesList().stream().map(LockRange::of).toList();
        return inTurn(answer -> {
            long session = claims.getSession();
            boolean holds = Objects.equals(ordered().get(node), session);
            boolean conflicts = members.entrySet().stream()
                    .anyMatch(member -> !member.getKey().equals(node)
                            && ranges.stream()
                                    .anyMatch(range -> member.getValue().conflicts(range)));
            if (!ranges.isEmpty() && (!holds || conflicts) || ranges.size() > RANGES_MAX) {
                answer.complete(answer(LockAnswer.Outcome.LOST));
                return;
            }
            changed(node, null);
            if (Objects.equals(node, everything)) {
                everything = null;
                everythingRecall = null;
            }
            if (!holds) {
                order(with(ordered(), node, session)); // what an earlier session had is over
            }
            Member member = new Member(session);
            member.replace(ranges);
            member.renewed();
            members.put(node, member);
            awaited.remove(node);
            answer.complete(answer(LockAnswer.Outcome.GIVEN));
            stepAll();
        });
    }

    CompletableFuture<byte[]> renew(PrincipalId node, LockClaims claims) {
        return inTurn(answer -> {
            Member member = members.get(node);
            if (member == null || member.session != claims.getSession()) {
                answer.complete(answer(LockAnswer.Outcome.UNKNOWN));
            } else {
                member.renewed();
                answer.complete(answer(LockAnswer.Outcome.GIVEN));
            }
        });
    }

    CompletableFuture<byte[]> end(PrincipalId node, LockClaims claims) {
        return inTurn(answer -> {
            if (Objects.equals(ordered().get(node), claims.getSession())) {
                order(with(ordered(), node, null));
                remove(Set.of(node));
                stepAll();
            }
            answer.complete(answer(LockAnswer.Outcome.GIVEN));
        });
    }

    // ---- who gets what ----

    /** Whoever lets the answer fail takes the question back. */
    CompletableFuture<byte[]> ask(PrincipalId node, LockQuestion question) {
        LockRange range = LockRange.of(question.getRange());
        CompletableFuture<byte[]> result = inTurn(answer -> {
            Ask ask = new Ask(
                    node, question.getSession(), range, question.getAim(), answer, new HashMap<>(), new HashSet<>());
            asks.add(ask);
            step(ask);
        });
        var unused = result.whenComplete((answer, failure) -> {
            if (failure != null) {
                later(() -> asks.stream()
                        .filter(ask -> ask.answer == result)
                        .findAny()
                        .ifPresent(this::leave));
            }
        });
        return result;
    }

    private void later(Runnable task) {
        try {
            turn.execute(task);
        } catch (RejectedExecutionException e) {
            // the node stops
        }
    }

    private void stepAll() {
        List.copyOf(asks).forEach(this::step);
    }

    private void leave(Ask ask) {
        asks.remove(ask);
        ask.recalls.values().forEach(recall -> recall.answer.cancel(false));
        ask.recalls.clear();
    }

    private void done(Ask ask, LockAnswer.Builder answer) {
        leave(ask);
        Agreement current = agreement.get();
        long committed = current == null ? 0 : Math.max(0, current.status().committed());
        ask.answer.complete(answer.setIndex(committed).build().toByteArray());
    }

    private void step(Ask ask) {
        if (isGrace() || !asks.contains(ask)) {
            return;
        }
        Member member = members.get(ask.node);
        if (member == null || member.session != ask.session) {
            done(ask, LockAnswer.newBuilder().setOutcome(LockAnswer.Outcome.UNKNOWN));
            return;
        }
        if (everything != null && !everything.equals(ask.node)) {
            recallEverything(everything);
            return;
        }
        if (everythingRecall != null) {
            return;
        }
        if (ask.aim != LockAim.TEST && members.size() == 1) {
            everything = ask.node;
            member.replace(List.of());
        }
        if (everything != null && ask.aim != LockAim.TEST) {
            done(ask, LockAnswer.newBuilder().setOutcome(LockAnswer.Outcome.GIVEN));
            return;
        }
        Set<PrincipalId> inTheWay = new HashSet<>();
        members.forEach((node, other) -> {
            if (!node.equals(ask.node) && other.conflicts(ask.range)) {
                inTheWay.add(node);
            }
        });
        inTheWay.removeAll(ask.tested);
        if (inTheWay.isEmpty()) {
            give(ask, member);
        } else {
            inTheWay.forEach(node -> recall(ask, node));
        }
    }

    private void give(Ask ask, Member member) {
        if (ask.aim == LockAim.TEST) {
            done(ask, LockAnswer.newBuilder().setOutcome(LockAnswer.Outcome.FREE));
            return;
        }
        if (member.rangeCount >= RANGES_MAX) {
            done(ask, LockAnswer.newBuilder().setOutcome(LockAnswer.Outcome.TOO_MANY));
            return;
        }
        Space space = ask.range.space();
        boolean isAlone = members.entrySet().stream()
                .allMatch(other -> other.getKey().equals(ask.node)
                        || !other.getValue().ranges.containsKey(space));
        LockRange given = isAlone ? ask.range.whole() : ask.range;
        member.add(given);
        changed(ask.node, space);
        done(ask, LockAnswer.newBuilder().setOutcome(LockAnswer.Outcome.GIVEN).setRange(given.toProto()));
    }

    /** What {@code node} has of a space, null: of all, is not what it was when it was last asked. */
    private void changed(PrincipalId node, @Nullable Space space) {
        for (Ask ask : asks) {
            Recall recall = ask.recalls.get(node);
            if (recall != null && (space == null || space.equals(ask.range.space()))) {
                recall.stale = true;
            }
        }
        if (space == null && Objects.equals(node, everything) && everythingRecall != null) {
            everythingRecall.stale = true;
        }
    }

    private CompletableFuture<byte[]> send(PrincipalId node, LockQuestion.Builder question) {
        Member member = members.get(node);
        LockQuestion asked =
                question.setSession(member == null ? 0 : member.session).build();
        return node.equals(self)
                ? own.recall(asked)
                : messenger
                        .peer(node)
                        .request(
                                LockLeases.RECALL,
                                asked.toByteArray(),
                                Duration.ofMillis(LockLeases.ANSWER_MILLIS_MAX));
    }

    private void recall(Ask ask, PrincipalId node) {
        if (ask.recalls.containsKey(node)) {
            return;
        }
        Recall recall = new Recall(send(
                node, LockQuestion.newBuilder().setRange(ask.range.toProto()).setAim(ask.aim)));
        ask.recalls.put(node, recall);
        var unused = recall.answer.whenComplete((answer, failure) -> later(() -> {
            if (ask.recalls.remove(node, recall)) {
                recalled(ask, node, recall, failure == null ? parse(answer) : null);
            }
        }));
    }

    private void recalled(Ask ask, PrincipalId node, Recall recall, @Nullable LockAnswer answer) {
        Member member = members.get(node);
        if (answer == null || recall.stale || member == null) {
            turn.schedule(() -> step(ask), RETRY_MILLIS, TimeUnit.MILLISECONDS);
            return;
        }
        switch (answer.getOutcome()) {
            case GIVEN -> {
                member.take(ask.range);
                stepAll();
            }
            case FREE -> {
                ask.tested.add(node);
                step(ask);
            }
            case IN_THE_WAY ->
                done(
                        ask,
                        LockAnswer.newBuilder()
                                .setOutcome(LockAnswer.Outcome.IN_THE_WAY)
                                .setRange(answer.getRange()));
            default -> turn.schedule(() -> step(ask), RETRY_MILLIS, TimeUnit.MILLISECONDS);
        }
    }

    private void recallEverything(PrincipalId node) {
        if (everythingRecall != null) {
            return;
        }
        Recall recall = new Recall(send(node, LockQuestion.newBuilder()));
        everythingRecall = recall;
        var unused = recall.answer.whenComplete((answer, failure) -> later(() -> {
            if (everythingRecall == recall) {
                everythingRecall = null;
                Member member = members.get(node);
                LockAnswer given = failure == null ? parse(answer) : null;
                if (given != null
                        && given.getOutcome() == LockAnswer.Outcome.GIVEN
                        && !recall.stale
                        && member != null
                        && given.getClaimsCount() <= RANGES_MAX) {
                    everything = null;
                    member.replace(
                            given.getClaimsList().stream().map(LockRange::of).toList());
                    stepAll();
                } else {
                    turn.schedule(this::stepAll, RETRY_MILLIS, TimeUnit.MILLISECONDS);
                }
            }
        }));
    }

    private static @Nullable LockAnswer parse(byte[] bytes) {
        try {
            LockAnswer answer = LockAnswer.parseFrom(bytes);
            answer.getClaimsList().forEach(LockRange::of);
            LockRange.of(answer.getRange());
            return answer;
        } catch (InvalidProtocolBufferException | IllegalArgumentException e) {
            return null;
        }
    }

    void close() {
        turn.shutdownNow();
    }
}
