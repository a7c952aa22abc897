package blocktree.cluster;

import blocktree.btmsg.session.Call;
import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.btmsg.session.Service;
import blocktree.cluster.ClusterProto.Entry;
import blocktree.cluster.ClusterProto.Follow;
import blocktree.cluster.ClusterProto.Followed;
import blocktree.cluster.ClusterProto.ParcelName;
import blocktree.crypto.Hash;
import blocktree.crypto.PrincipalId;
import blocktree.store.BlockStore;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a voter does for the nodes that follow it (docs/cluster.md, "Following"): gives them what comes in the order, and puts in the order what they propose. Keeps
 * a request that waits for something to come, and nothing else of a follower. Thread-safe.
 */
final class FollowDesk {

    private static final Logger log = LoggerFactory.getLogger(FollowDesk.class);

    private static final Duration PATIENCE = Duration.ofSeconds(5);

    static final String FOLLOW = "cluster.follow";
    static final String PROPOSE = "cluster.propose";
    static final String STANDING = "cluster.standing";

    /** Of entries in one answer, all but the first of it. */
    private static final int BATCH_SIZE_BYTES_MAX = 768 << 10;

    private static final int WAIT_MILLIS_MAX = 5_000;

    /** First byte of the reply to a proposal; a text may follow. */
    static final byte DONE = 0;

    static final byte REFUSED = 1;
    /** It is not in the order. */
    static final byte NOT_HERE = 2;

    static final byte UNKNOWN = 3;

    private record Waiting(Follow request, CompletableFuture<byte[]> answer) {}

    private final BlockStore store;
    private final Parcels parcels;
    private final ParcelExchange exchange;
    private final Supplier<@Nullable Agreement> agreement;
    private final Supplier<Machine.Mark> applied;
    private final ExecutorService threads;
    private final Map<Waiting, Boolean> waiting = new ConcurrentHashMap<>();

    /** Whether somebody is about to look at who waits. */
    private final AtomicBoolean answering = new AtomicBoolean();

    /** @param applied up to where this node has applied the order */
    FollowDesk(
            Messenger messenger,
            BlockStore store,
            Parcels parcels,
            ParcelExchange exchange,
            Supplier<@Nullable Agreement> agreement,
            Supplier<Machine.Mark> applied,
            Predicate<PeerIdentity> mayWrite,
            ExecutorService threads) {
        this.store = store;
        this.parcels = parcels;
        this.exchange = exchange;
        this.agreement = agreement;
        this.applied = applied;
        this.threads = threads;
        messenger.register(Service.ofMessages(FOLLOW, 2, 2, this::follow));
        messenger.register(Service.ofMessages(PROPOSE, 1, 64, this::propose).onlyFor(mayWrite));
        messenger.register(Service.ofMessages(
                STANDING,
                1,
                16,
                call -> CompletableFuture.completedFuture(
                        Standings.of(current().status(), store.headPosition()).toByteArray())));
    }

    private Agreement current() throws MessageException {
        Agreement current = agreement.get();
        if (current == null) {
            throw new MessageException(MessageException.Code.FAILED, "the node does not take part yet");
        }
        return current;
    }

    // ---- what comes ----

    /** Asks another node what comes after index {@code after}, with the hash of the log at a position; null when it does not answer. */
    static @Nullable Followed ask(Peer peer, long after, long position, @Nullable Hash hash, int waitMillis)
            throws InterruptedException {
        Follow request = Follow.newBuilder()
                .setAfter(after)
                .setPosition(position)
                .setLogHash(hash == null ? ByteString.EMPTY : ByteString.copyFrom(hash.toBytes()))
                .setWaitMillis(waitMillis)
                .build();
        try {
            return Followed.parseFrom(peer.request(FOLLOW, request.toByteArray(), PATIENCE)
                    .get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS));
        } catch (ExecutionException | TimeoutException | InvalidProtocolBufferException e) {
            log.atDebug().addKeyValue("peer", peer.principal()).setCause(e).log("not_followed");
            return null;
        }
    }

    private CompletionStage<byte[]> follow(Call call) throws MessageException {
        Follow request;
        try {
            request = Follow.parseFrom(call.body());
        } catch (InvalidProtocolBufferException e) {
            throw new MessageException(MessageException.Code.FAILED, "not a request to follow");
        }
        Followed answer = answer(request);
        int waitMillis = Math.min(request.getWaitMillis(), WAIT_MILLIS_MAX);
        if (answer.getResult() != Followed.Result.ENTRIES || answer.getEntriesCount() > 0 || waitMillis <= 0) {
            return CompletableFuture.completedFuture(answer.toByteArray());
        }
        Waiting one = new Waiting(request, new CompletableFuture<>());
        waiting.put(one, true);
        if (applied.get().index() > request.getAfter()) {
            appliedMore(); // it came meanwhile
        }
        CompletableFuture.delayedExecutor(waitMillis, TimeUnit.MILLISECONDS, threads)
                .execute(() -> answer(one));
        return one.answer;
    }

    private void answer(Waiting one) {
        if (waiting.remove(one) != null) {
            try {
                one.answer.complete(answer(one.request).toByteArray());
            } catch (MessageException | RuntimeException e) {
                one.answer.completeExceptionally(e);
            }
        }
    }

    /** More is applied here: who waits for it is told. Does not block. */
    void appliedMore() {
        if (!waiting.isEmpty() && answering.compareAndSet(false, true)) {
            try {
                threads.execute(() -> {
                    answering.set(false);
                    long index = applied.get().index();
                    waiting.keySet().stream()
                            .filter(one -> one.request.getAfter() < index)
                            .forEach(this::answer);
                });
            } catch (RejectedExecutionException e) {
                // the node stops
            }
        }
    }

    private Followed answer(Follow request) throws MessageException {
        Agreement current = current();
        AgreementStatus status = current.status();
        Followed.Builder answer = Followed.newBuilder().setStanding(Standings.of(status, store.headPosition()));
        try {
            Hash own = request.getPosition() < 1 ? null : store.replicatedLog().hashAt(request.getPosition());
            if (own != null && !ByteString.copyFrom(own.toBytes()).equals(request.getLogHash())) {
                return answer.setResult(Followed.Result.FORKED).build();
            }
        } catch (StoreException e) {
            throw new MessageException(MessageException.Code.FAILED, String.valueOf(e.getMessage()));
        }
        if (!current.isVoter()) {
            return answer.setResult(Followed.Result.NOT_A_VOTER).build();
        }
        List<OrderedEntry> entries =
                current.entries(request.getAfter(), applied.get().index(), BATCH_SIZE_BYTES_MAX);
        if (entries == null) {
            return answer.setResult(Followed.Result.GONE).build();
        }
        for (OrderedEntry entry : entries) {
            answer.addEntries(ClusterProto.OrderedEntry.newBuilder()
                    .setTerm(entry.mark().term())
                    .setIndex(entry.mark().index())
                    .setEntry(entry.bytes()));
        }
        return answer.build();
    }

    /** What came in an answer, in order. */
    static List<OrderedEntry> entries(Followed answer) {
        List<OrderedEntry> entries = new ArrayList<>(answer.getEntriesCount());
        for (ClusterProto.OrderedEntry entry : answer.getEntriesList()) {
            entries.add(new OrderedEntry(new Machine.Mark(entry.getTerm(), entry.getIndex()), entry.getEntry()));
        }
        return entries;
    }

    // ---- what followers propose ----

    private CompletionStage<byte[]> propose(Call call) throws MessageException {
        ByteString bytes = ByteString.copyFrom(call.body());
        Entry entry;
        try {
            entry = Entry.parseFrom(bytes);
        } catch (InvalidProtocolBufferException e) {
            throw new MessageException(MessageException.Code.FAILED, "no entry");
        }
        return switch (entry.getWhatCase()) {
            case PARCEL, CHANGE -> put(bytes);
            case PARCEL_NAME -> put(bytes, entry.getParcelName(), call.caller().principal());
            case CHANGE_NAME -> put(bytes, entry.getChangeName(), call.caller().principal());
            case LEASE, LOCK_SESSIONS, WHAT_NOT_SET ->
                CompletableFuture.completedFuture(reply(REFUSED, "only commits and changes of authority are proposed"));
        };
    }

    private CompletionStage<byte[]> put(ByteString entry) throws MessageException {
        Agreement current = current();
        if (!current.isVoter()) {
            return CompletableFuture.completedFuture(reply(NOT_HERE, "this node does not vote"));
        }
        return current.propose(entry).handle((done, failure) -> reply(failure));
    }

    /** Nobody could acknowledge an entry whose parcel only its writer has: it is fetched first. */
    private CompletionStage<byte[]> put(ByteString entry, ParcelName name, PrincipalId from) throws MessageException {
        Hash hash = ParcelExchange.hashOf(name);
        if (hash == null) {
            return CompletableFuture.completedFuture(reply(REFUSED, "no name of a parcel"));
        }
        if (parcels.has(hash)) {
            return put(entry);
        }
        if (!parcels.hasRoomFor(name.getSizeBytes())) {
            throw new MessageException(MessageException.Code.BUSY, "too many parcels wait for their entries here");
        }
        return CompletableFuture.supplyAsync(
                        () -> {
                            try {
                                exchange.fetch(hash, name.getSizeBytes(), from);
                                return put(entry);
                            } catch (IOException e) {
                                return CompletableFuture.completedFuture(
                                        reply(NOT_HERE, "its parcel does not come: " + e.getMessage()));
                            } catch (InterruptedException e) {
                                Thread.currentThread().interrupt();
                                return CompletableFuture.completedFuture(reply(NOT_HERE, "the node stops"));
                            }
                        },
                        threads)
                .thenCompose(put -> put);
    }

    private static byte[] reply(@Nullable Throwable failure) {
        if (failure == null) {
            return new byte[] {DONE};
        }
        Throwable cause =
                failure instanceof CompletionException && failure.getCause() != null ? failure.getCause() : failure;
        byte code = cause instanceof AgreementException e
                ? switch (e.code()) {
                    case REFUSED -> REFUSED;
                    case NO_LEADER, STOPPED -> NOT_HERE;
                    case UNKNOWN -> UNKNOWN;
                }
                : UNKNOWN;
        return reply(code, String.valueOf(cause.getMessage()));
    }

    private static byte[] reply(byte code, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        byte[] reply = new byte[1 + bytes.length];
        reply[0] = code;
        System.arraycopy(bytes, 0, reply, 1, bytes.length);
        return reply;
    }
}
