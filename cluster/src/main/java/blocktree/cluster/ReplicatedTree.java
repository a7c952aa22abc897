package blocktree.cluster;

import blocktree.btmsg.session.MessageException;
import blocktree.cluster.ClusterProto.Entry;
import blocktree.cluster.ClusterProto.LockSessions;
import blocktree.cluster.ClusterProto.ParcelName;
import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import blocktree.store.LogPort;
import blocktree.store.Order;
import blocktree.store.Parcel;
import blocktree.store.ReplicatedLog;
import blocktree.store.SealedCommit;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ReadableByteChannel;
import java.security.MessageDigest;
import java.time.Clock;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A store whose log the voters order together, on a voter or a node that follows: what this node writes goes to the {@link Agreement}, and what comes from it, own or not,
 * is applied to the store. A commit returns once it is applied here, which is after a majority has it on its devices. Thread-safe.
 */
final class ReplicatedTree implements Machine, LogPort {

    private static final Logger log = LoggerFactory.getLogger(ReplicatedTree.class);

    /** A parcel or change up to this size travels in its entry: one round trip. */
    private static final int INLINE_SIZE_BYTES_MAX = 64 << 10;

    static final int VERSION = 1;

    /** A leader whose clock is ahead by more cannot get an entry acknowledged. */
    private static final long AHEAD_MILLIS_MAX = 60_000;

    private static final long PAUSE_MILLIS = 200;
    private static final long RETRY_MILLIS = 1_000;
    private static final long PUSH_SECONDS_MAX = 60;

    /** A node that follows asks all voters so often for what each says that it does not have. */
    private static final int GONE_ROUNDS = 2;

    /** Told which sessions of locks hold from here on; called again after a crash, perhaps. */
    @FunctionalInterface
    interface SessionsListener {
        void applied(LockSessions sessions) throws StoreException;
    }

    /** What was proposed; of a commit or change that comes by itself or by name. */
    private record Proposed(boolean isCommit, Hash hash) {}

    /** One who waits for the result of what was proposed. Whoever takes it off the list answers it. */
    private record Waiting(@Nullable SealedCommit commit, CompletableFuture<Placed> placed) {}

    private final BlockStore store;
    private final ReplicatedLog replica;
    private final Parcels parcels;
    private final ParcelExchange exchange;
    private final PrincipalId self;
    private final Clock clock;
    private final ExecutorService threads;

    private final Consumer<@Nullable PrincipalId> leased;
    private final SessionsListener lockSessions;
    private volatile Runnable appliedMore = () -> {};
    private final Map<Proposed, Waiting> waiting = new ConcurrentHashMap<>();

    /** Later than what the store says: all that keep something of it have been told by then. */
    private volatile Mark applied;

    /** What is asked for at this moment. */
    private final Set<Hash> fetching = ConcurrentHashMap.newKeySet();

    private final CompletableFuture<PrincipalId> behind = new CompletableFuture<>();
    private final long startMillis;
    private volatile @Nullable Agreement agreement;
    private volatile boolean closed;

    /** Whatever was in the order when this process started is applied. */
    private volatile boolean caughtUp;

    ReplicatedTree(
            BlockStore store,
            Parcels parcels,
            ParcelExchange exchange,
            PrincipalId self,
            Clock clock,
            ExecutorService threads,
            Consumer<@Nullable PrincipalId> leased,
            SessionsListener lockSessions) {
        this.store = store;
        this.replica = store.replicatedLog();
        this.parcels = parcels;
        this.exchange = exchange;
        this.self = self;
        this.clock = clock;
        this.threads = threads;
        this.leased = leased;
        this.lockSessions = lockSessions;
        this.startMillis = clock.millis();
        try {
            Order order = replica.applied();
            applied = order == null ? Mark.NONE : new Mark(order.term(), order.index());
        } catch (StoreException e) {
            throw new IllegalStateException(e);
        }
    }

    /** From now on what the store puts in its log goes to {@code agreed}. */
    void begin(Agreement agreed) {
        agreement = agreed;
        store.orderBy(this);
    }

    /** Has {@code listener} called, which must not block, whenever an entry is applied. */
    void onApplied(Runnable listener) {
        appliedMore = listener;
    }

    /** See {@link ClusterNode#onChanges}. */
    void onChanges(Consumer<Collection<BlockId>> listener) {
        replica.onChanges(listener);
    }

    // ---- what this node writes ----

    /**
     * Waits as long as it takes: whether a commit that was proposed will be applied cannot be told before it is, and no other may be
     * built on a guess. CLOSED when the node stops first.
     */
    @Override
    public Placed commit(SealedCommit commit, boolean sync) throws StoreException {
        long sizeBytes = Parcel.sizeBytes(commit);
        if (sizeBytes > Parcel.SIZE_MAX) {
            throw new StoreException(
                    StoreException.Code.INVALID, "a commit of " + sizeBytes + " bytes, more than " + Parcel.SIZE_MAX);
        }
        return propose(true, sizeBytes, commit, channel -> Parcel.write(commit, channel));
    }

    /** Waits as {@link #commit}. */
    @Override
    public Placed change(byte[] change) throws StoreException {
        if (change.length > CHANGE_SIZE_MAX) {
            throw new StoreException(
                    StoreException.Code.INVALID,
                    "a change of " + change.length + " bytes, more than " + CHANGE_SIZE_MAX);
        }
        return propose(false, change.length, null, channel -> {
            ByteBuffer bytes = ByteBuffer.wrap(change);
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
            return Hash.of(Parcel.digest().digest(change));
        });
    }

    private Placed propose(boolean isCommit, long sizeBytes, @Nullable SealedCommit commit, Parcels.Content content)
            throws StoreException {
        try {
            Entry.Builder entry = Entry.newBuilder().setVersion(VERSION);
            Hash hash;
            if (sizeBytes <= INLINE_SIZE_BYTES_MAX) {
                ByteString.Output bytes = ByteString.newOutput((int) sizeBytes);
                hash = content.write(Channels.newChannel(bytes));
                if (isCommit) {
                    entry.setParcel(bytes.toByteString());
                } else {
                    entry.setChange(bytes.toByteString());
                }
            } else {
                hash = parcels.keep(content);
                push(hash, sizeBytes);
                if (isCommit) {
                    entry.setParcelName(ParcelExchange.name(hash, sizeBytes));
                } else {
                    entry.setChangeName(ParcelExchange.name(hash, sizeBytes));
                }
            }
            return await(new Proposed(isCommit, hash), new Waiting(commit, new CompletableFuture<>()), entry.build());
        } catch (IOException e) {
            throw new StoreException(
                    StoreException.Code.IO, "cannot keep what is for the cluster: " + e.getMessage(), e);
        }
    }

    /** Until a majority has it, or those who are left fail: voters who miss it ask for it. One that takes proposals of a node that follows asks for it first. */
    private void push(Hash hash, long sizeBytes) {
        if (!agreed().isVoter()) {
            return;
        }
        List<PrincipalId> others = others();
        List<CompletableFuture<Void>> pushed = exchange.push(hash, sizeBytes, others);
        int needed = (others.size() + 1) / 2;
        CompletableFuture<Void> enough = new CompletableFuture<>();
        int[] counts = new int[2];
        for (CompletableFuture<Void> one : pushed) {
            one.whenComplete((done, failure) -> {
                synchronized (counts) {
                    counts[failure == null ? 0 : 1]++;
                    if (counts[0] >= needed || counts[0] + counts[1] == others.size()) {
                        enough.complete(null);
                    }
                }
            });
        }
        if (needed > 0) {
            try {
                enough.get(PUSH_SECONDS_MAX, TimeUnit.SECONDS);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            } catch (ExecutionException | TimeoutException e) {
                // Voters ask for it when its entry reaches them.
            }
        }
    }

    /** Who votes besides this node; nobody as long as it does not take part itself, when its log is looked through already. */
    private List<PrincipalId> others() {
        Agreement current = agreement;
        return current == null
                ? List.of()
                : current.status().voters().stream()
                        .filter(voter -> !voter.equals(self))
                        .toList();
    }

    private Agreement agreed() {
        Agreement current = agreement;
        if (current == null) {
            throw new IllegalStateException("no agreement yet");
        }
        return current;
    }

    /** Proposes until the entry is applied here: proposed twice it is refused the second time, when the first has been answered. */
    private Placed await(Proposed what, Waiting one, Entry entry) throws StoreException {
        if (waiting.putIfAbsent(what, one) != null) {
            throw new StoreException(StoreException.Code.CONFLICT, "the same is under way already");
        }
        boolean interrupted = false;
        boolean told = false;
        try {
            if (closed && waiting.remove(what, one)) {
                throw stopped(null);
            }
            while (true) {
                AgreementException failure = null;
                try {
                    Agreement asked = agreed();
                    failure = proposed(one, asked.propose(entry.toByteString()));
                    if (failure == null) {
                        return one.placed.get();
                    }
                    // One that has stopped since this node votes no more, or votes now, is no reason.
                    if (closed || asked == agreed() && isFinal(failure)) {
                        return withdrawn(what, one, failure);
                    }
                    if (!told) {
                        told = true;
                        log.atWarn().addKeyValue("reason", failure.getMessage()).log("commit_waits_for_voters");
                    }
                    TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
                } catch (InterruptedException e) {
                    interrupted = true;
                } catch (ExecutionException e) {
                    if (e.getCause() instanceof StoreException refusal) {
                        throw refusal;
                    }
                    throw new IllegalStateException("a commit came to no result", e.getCause());
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private static boolean isFinal(AgreementException failure) {
        return failure.code() == AgreementException.Code.REFUSED || failure.code() == AgreementException.Code.STOPPED;
    }

    /** Null once the entry is applied here, else why it cannot be told whether it will be. */
    private static @Nullable AgreementException proposed(Waiting one, CompletableFuture<Void> proposal)
            throws InterruptedException {
        CompletableFuture<Void> failed = new CompletableFuture<>();
        proposal.whenComplete((done, failure) -> {
            if (failure != null) {
                failed.completeExceptionally(failure);
            }
        });
        try {
            CompletableFuture.anyOf(one.placed, failed).get();
        } catch (ExecutionException e) {
            if (!one.placed.isDone()) {
                return AgreementException.of(e);
            }
        }
        return null;
    }

    /** Nobody waits any more, unless it is being applied just now. */
    private Placed withdrawn(Proposed what, Waiting one, AgreementException failure)
            throws StoreException, InterruptedException, ExecutionException {
        if (!waiting.remove(what, one)) {
            return one.placed.get();
        }
        throw failure.code() == AgreementException.Code.REFUSED
                ? new StoreException(StoreException.Code.INVALID, String.valueOf(failure.getMessage()), failure)
                : stopped(failure);
    }

    private static StoreException stopped(@Nullable Throwable cause) {
        return new StoreException(
                StoreException.Code.CLOSED,
                "the node stops taking part in the cluster; whether this was written shows after its next start",
                cause);
    }

    // ---- what all voters have put in order ----

    @Override
    public Mark applied() {
        return applied;
    }

    @Override
    public ByteString admit(ByteString proposed) throws AgreementException {
        Entry entry = parse(proposed);
        if (entry == null || entry.getVersion() != VERSION) {
            throw new AgreementException(
                    AgreementException.Code.REFUSED, "what was proposed is no entry of version " + VERSION);
        }
        return entry.toBuilder().setTimeMillis(clock.millis()).build().toByteString();
    }

    @Override
    public CompletableFuture<Void> prepare(ByteString bytes) {
        Entry entry = parse(bytes);
        if (entry == null) {
            return CompletableFuture.completedFuture(null);
        }
        ParcelName name = nameIn(entry);
        CompletableFuture<Void> there = name == null ? CompletableFuture.completedFuture(null) : there(name);
        long aheadMillis = entry.getTimeMillis() - clock.millis() - AHEAD_MILLIS_MAX;
        if (aheadMillis <= 0) {
            return there;
        }
        log.atWarn().addKeyValue("ahead_millis", aheadMillis + AHEAD_MILLIS_MAX).log("leader_clock_ahead");
        CompletableFuture<Void> then =
                new CompletableFuture<Void>().completeOnTimeout(null, aheadMillis, TimeUnit.MILLISECONDS);
        return CompletableFuture.allOf(there, then);
    }

    /** What an entry names that travels beside it; null where all of it is within. */
    private static @Nullable ParcelName nameIn(Entry entry) {
        return entry.hasParcelName() ? entry.getParcelName() : entry.hasChangeName() ? entry.getChangeName() : null;
    }

    /** Completes once the parcel is here; asks for it until it is. */
    private CompletableFuture<Void> there(ParcelName name) {
        Hash hash = ParcelExchange.hashOf(name);
        if (hash == null) {
            return CompletableFuture.completedFuture(null); // refused when it is applied
        }
        CompletableFuture<Void> there = parcels.named(hash);
        if (!there.isDone() && fetching.add(hash)) {
            threads.execute(() -> {
                try {
                    fetch(hash, name.getSizeBytes(), there);
                } finally {
                    fetching.remove(hash);
                }
            });
        }
        return there;
    }

    private void fetch(Hash hash, long sizeBytes, CompletableFuture<Void> there) {
        for (int round = 0; !closed && !there.isDone(); round++) {
            String reason = "no other voter";
            List<PrincipalId> others = others();
            int goneCount = 0;
            for (PrincipalId voter : others) {
                if (there.isDone()) {
                    return;
                }
                try {
                    exchange.fetch(hash, sizeBytes, voter);
                    return;
                } catch (IOException e) {
                    reason = String.valueOf(e.getMessage());
                    goneCount += e instanceof MessageException m && m.code() == MessageException.Code.FAILED ? 1 : 0;
                } catch (InterruptedException e) {
                    return;
                }
            }
            if (round >= GONE_ROUNDS && !others.isEmpty() && goneCount == others.size() && !agreed().isVoter()) {
                // Voters have applied it long ago, and keep it no more.
                behind.complete(others.get(0));
            }
            if (round == 10) {
                log.atWarn()
                        .addKeyValue("parcel", hash)
                        .addKeyValue("reason", reason)
                        .log("parcel_missing");
            }
            try {
                TimeUnit.MILLISECONDS.sleep(Math.min(RETRY_MILLIS << Math.min(round, 4), 10_000));
            } catch (InterruptedException e) {
                return;
            }
        }
    }

    @Override
    public void apply(Mark mark, ByteString bytes) throws StoreException, IOException, InterruptedException {
        if (mark.index() > applied().index()) {
            Runnable answer = applyNext(mark, bytes);
            applied = mark;
            answer.run();
            appliedMore.run();
        }
    }

    /** What is to be done once it counts as applied: whoever waits for it is told. */
    private Runnable applyNext(Mark mark, ByteString bytes) throws StoreException, IOException, InterruptedException {
        Runnable answer = () -> {};
        Entry entry = parse(bytes);
        Order order = new Order(mark.term(), mark.index(), entry == null ? 0 : entry.getTimeMillis());
        if (entry == null) {
            replica.pass(order);
            return answer;
        }
        if (entry.getVersion() != VERSION) {
            throw new IOException(
                    "an entry of version " + entry.getVersion() + ", this node knows " + VERSION + ": upgrade it");
        }
        if (entry.getTimeMillis() > startMillis + 2 * AHEAD_MILLIS_MAX) {
            caughtUp = true;
        }
        switch (entry.getWhatCase()) {
            case PARCEL -> answer = apply(order, new Proposed(true, hashOf(entry.getParcel())), entry);
            case CHANGE -> answer = apply(order, new Proposed(false, hashOf(entry.getChange())), entry);
            case PARCEL_NAME, CHANGE_NAME -> {
                ParcelName name = nameIn(entry);
                Hash hash = name == null ? null : ParcelExchange.hashOf(name);
                if (hash == null) {
                    replica.pass(order);
                } else {
                    answer = apply(order, new Proposed(entry.hasParcelName(), hash), entry);
                    parcels.applied(hash);
                }
            }
            case LEASE -> {
                replica.pass(order);
                ByteString holder = entry.getLease().getHolder();
                leased.accept(holder.size() == Id.SIZE ? PrincipalId.of(holder.toByteArray()) : null);
            }
            case LOCK_SESSIONS -> {
                lockSessions.applied(entry.getLockSessions());
                replica.pass(order);
            }
            case WHAT_NOT_SET -> replica.pass(order);
        }
        return answer;
    }

    /** As {@link #apply}; false, and nothing done, when what the entry names is not here. */
    boolean applyIfWhole(Mark mark, ByteString bytes) throws StoreException, IOException, InterruptedException {
        Entry entry = parse(bytes);
        ParcelName name = entry == null ? null : nameIn(entry);
        Hash hash = name == null ? null : ParcelExchange.hashOf(name);
        if (hash != null && !parcels.has(hash)) {
            return false;
        }
        apply(mark, bytes);
        return true;
    }

    private static Hash hashOf(ByteString bytes) {
        MessageDigest digest = Parcel.digest();
        digest.update(bytes.asReadOnlyByteBuffer());
        return Hash.of(digest.digest());
    }

    private Runnable apply(Order order, Proposed what, Entry entry)
            throws StoreException, IOException, InterruptedException {
        Waiting own = waiting.remove(what);
        boolean done = false;
        try {
            Runnable answer = apply(order, what, entry, own);
            done = true;
            return answer;
        } finally {
            if (!done && own != null && !own.placed.isDone()) {
                waiting.putIfAbsent(what, own); // it is applied by whoever goes on from here
            }
        }
    }

    private Runnable apply(Order order, Proposed what, Entry entry, @Nullable Waiting own)
            throws StoreException, IOException, InterruptedException {
        SealedCommit commit = own == null ? null : own.commit;
        CompletableFuture<Placed> result = own == null ? new CompletableFuture<>() : own.placed;
        boolean again = false;
        while (true) {
            try {
                Placed placed =
                        commit == null ? apply(order, what, open(what.hash, entry)) : replica.apply(order, commit);
                return () -> result.complete(placed);
            } catch (StoreException e) {
                if (e.isRefusal()) {
                    log.atDebug()
                            .addKeyValue("index", order.index())
                            .addKeyValue("reason", e.getMessage())
                            .log("commit_refused");
                    return () -> result.completeExceptionally(e);
                }
                if (e.code() == StoreException.Code.NO_SPACE) {
                    awaitSpace(e);
                } else if (e.code() == StoreException.Code.CORRUPT
                        && commit == null
                        && !again
                        && nameIn(entry) != null) {
                    again = true;
                    parcels.drop(what.hash);
                } else {
                    result.completeExceptionally(e);
                    throw e;
                }
            }
        }
    }

    private Placed apply(Order order, Proposed what, ReadableByteChannel from) throws StoreException, IOException {
        try (ReadableByteChannel bytes = from) {
            return what.isCommit
                    ? replica.apply(order, what.hash, bytes)
                    : replica.applyChange(order, what.hash, bytes);
        }
    }

    /** What was acknowledged is here, unless it was damaged since: then it is asked for once more. */
    private ReadableByteChannel open(Hash hash, Entry entry) throws IOException, InterruptedException {
        ParcelName name = nameIn(entry);
        if (name == null) {
            ByteString within = entry.hasParcel() ? entry.getParcel() : entry.getChange();
            return Channels.newChannel(within.newInput());
        }
        while (!closed) {
            ReadableByteChannel bytes = parcels.open(hash);
            if (bytes != null) {
                return bytes;
            }
            try {
                there(name).get(RETRY_MILLIS, TimeUnit.MILLISECONDS);
            } catch (ExecutionException | TimeoutException e) {
                // looked for again
            }
        }
        throw new IOException("the node stops");
    }

    /** What a majority holds must be applied: this voter waits until there is room. */
    private void awaitSpace(StoreException e) throws InterruptedException, StoreException {
        if (closed) {
            throw e;
        }
        log.atError().addKeyValue("reason", e.getMessage()).log("apply_waits_for_space");
        TimeUnit.MILLISECONDS.sleep(RETRY_MILLIS);
    }

    @Override
    public Mark sync() throws StoreException, IOException {
        Mark mark = applied();
        int count = parcels.appliedCount();
        boolean all = caughtUp;
        replica.sync();
        parcels.synced(count, all);
        return mark;
    }

    /** An open store cannot be brought up to date: who keeps this node is told, and starts it again once that is done. */
    @Override
    public CompletableFuture<Mark> catchUp(PrincipalId leader) {
        close(); // nothing is applied here any more: who waits for it would wait for ever
        behind.complete(leader);
        return new CompletableFuture<>();
    }

    /** Completes with whom to take the store over from when this node is too far behind to follow. */
    CompletableFuture<PrincipalId> behind() {
        return behind.copy();
    }

    /** Null for what the engine has put in order for itself, and for what is no entry at all: no voter does anything with it. */
    private static @Nullable Entry parse(ByteString bytes) {
        if (bytes.isEmpty()) {
            return null;
        }
        try {
            return Entry.parseFrom(bytes);
        } catch (InvalidProtocolBufferException e) {
            return null;
        }
    }

    /** Nothing is waited for any more. */
    void stop() {
        closed = true;
    }

    /** Who waits for a result gets none: call it once nothing is applied any more. */
    void close() {
        closed = true;
        for (Map.Entry<Proposed, Waiting> one : waiting.entrySet()) {
            if (waiting.remove(one.getKey(), one.getValue())) {
                one.getValue().placed.completeExceptionally(stopped(null));
            }
        }
    }
}
