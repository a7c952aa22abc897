package blocktree.cluster.raft;

import blocktree.btmsg.session.Call;
import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.Service;
import blocktree.cluster.AgreementException;
import blocktree.cluster.AgreementException.Code;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Predicate;
import org.apache.ratis.protocol.ClientId;
import org.apache.ratis.protocol.Message;
import org.apache.ratis.protocol.RaftClientReply;
import org.apache.ratis.protocol.RaftClientRequest;
import org.apache.ratis.protocol.RaftPeerId;
import org.apache.ratis.server.RaftServer;
import org.jspecify.annotations.Nullable;

/**
 * Entries on their way to the leader, wherever it is, and into its log. One thread brings them there, so those of one node come in the
 * order in which they were proposed as long as nothing fails. Thread-safe.
 */
final class Proposals implements AutoCloseable {
    private static final String SERVICE = "raft.propose";
    private static final int UNDER_WAY_MAX = 1000;
    private static final long RETRY_MILLIS = 20;

    /** First byte of a reply; a text may follow. */
    private static final byte DONE = 0;

    private static final byte REFUSED = 1;
    /** It is not in the order, this node does not lead. */
    private static final byte NOT_HERE = 2;

    private static final byte UNKNOWN = 3;

    private final Messenger messenger;
    private final RaftPeerId self;
    private final Duration timeout;
    private final ClientId client = ClientId.randomId();
    private final AtomicLong ids = new AtomicLong();
    private final Map<Long, Proposal> open = new ConcurrentHashMap<>();
    private final ScheduledThreadPoolExecutor thread;

    private volatile @Nullable RaftServer server;
    private volatile RaftServer.@Nullable Division division;
    private volatile @Nullable AgreementException stopped;

    Proposals(RaftOptions options) {
        this.messenger = options.messenger();
        this.self = PeerIds.of(options.self());
        this.timeout = options.proposeTimeout();
        this.thread = new ScheduledThreadPoolExecutor(1, task -> {
            Thread one = new Thread(task, "raft-propose");
            one.setDaemon(true);
            return one;
        });
        thread.setRemoveOnCancelPolicy(true);
    }

    /** Takes those of other voters too from now on. */
    void start(RaftServer ownServer, RaftServer.Division ownDivision, Predicate<PrincipalId> mayCall) {
        server = ownServer;
        division = ownDivision;
        messenger.register(Service.ofMessages(SERVICE, 1, UNDER_WAY_MAX, this::handle)
                .onlyFor(peer -> mayCall.test(peer.principal())));
    }

    static void checkSize(ByteString entry) throws AgreementException {
        if (entry.size() > RaftSettings.ENTRY_SIZE_BYTES_MAX) {
            throw new AgreementException(
                    Code.REFUSED,
                    "an entry has at most " + RaftSettings.ENTRY_SIZE_BYTES_MAX + " bytes, not " + entry.size());
        }
    }

    /** One that is on its way into this node's log; null when it is not any more. */
    @Nullable
    Proposal find(long id) {
        return open.get(id);
    }

    CompletableFuture<Void> propose(ByteString entry) {
        return propose(entry, false, timeout.toMillis());
    }

    private CompletableFuture<Void> propose(ByteString entry, boolean forPeer, long millis) {
        try {
            checkSize(entry);
        } catch (AgreementException e) {
            return CompletableFuture.failedFuture(e);
        }
        Proposal proposal = new Proposal(
                ids.incrementAndGet(), entry, forPeer, System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis));
        open.put(proposal.id(), proposal);
        Future<?> expiry;
        try {
            expiry = thread.schedule(() -> expire(proposal), millis, TimeUnit.MILLISECONDS);
            thread.execute(() -> attempt(proposal));
        } catch (RejectedExecutionException e) {
            open.remove(proposal.id());
            return CompletableFuture.failedFuture(whyStopped());
        }
        proposal.result().whenComplete((done, failure) -> {
            open.remove(proposal.id());
            expiry.cancel(false);
        });
        return proposal.result();
    }

    private AgreementException whyStopped() {
        AgreementException why = stopped;
        return why == null ? new AgreementException(Code.STOPPED, "this voter was closed") : why;
    }

    // The thread's

    private void attempt(Proposal proposal) {
        if (proposal.result().isDone()) {
            return;
        }
        RaftServer.Division own = division;
        RaftPeerId leader = own == null ? null : own.getInfo().getLeaderId();
        if (stopped != null) {
            proposal.fail(whyStopped());
        } else if (leader != null && leader.equals(self)) {
            attemptHere(proposal, Objects.requireNonNull(server), Objects.requireNonNull(own));
        } else if (leader != null && !proposal.isForPeer()) {
            attemptThere(proposal, messenger.peer(PeerIds.principal(leader)));
        } else {
            retry(proposal);
        }
    }

    private void attemptHere(Proposal proposal, RaftServer here, RaftServer.Division own) {
        RaftClientRequest request = RaftClientRequest.newBuilder()
                .setClientId(client)
                .setServerId(self)
                .setGroupId(own.getGroup().getGroupId())
                .setCallId(proposal.id())
                .setMessage(Message.valueOf(Bytes.engines(proposal.entry())))
                .setType(RaftClientRequest.writeRequestType())
                .build();
        CompletableFuture<RaftClientReply> reply;
        try {
            // Returns once the entry is in the log, or will not be.
            reply = here.submitClientRequestAsync(request);
        } catch (IOException | RuntimeException e) {
            reply = CompletableFuture.failedFuture(e);
        }
        reply.whenComplete((answer, failure) -> {
            if (answer != null && answer.isSuccess()) {
                proposal.result().complete(null);
                return;
            }
            AgreementException refusal = proposal.refusal();
            if (refusal != null) {
                proposal.fail(refusal);
            } else {
                notHere(proposal, String.valueOf(failure != null ? failure : answer.getException()));
            }
        });
    }

    private void attemptThere(Proposal proposal, Peer leader) {
        if (!leader.isConnected() || proposal.remainingMillis() == 0) {
            retry(proposal);
            return;
        }
        proposal.setGone();
        Duration remaining = Duration.ofMillis(proposal.remainingMillis());
        leader.request(SERVICE, proposal.entry().toByteArray(), remaining).whenComplete((reply, failure) -> {
            if (failure == null) {
                answered(proposal, reply);
                return;
            }
            if (failure instanceof MessageException e) {
                switch (e.code()) {
                    case BUSY, NO_SERVICE, DENIED, TOO_LARGE -> proposal.setNotGone();
                    default -> {}
                }
            }
            notHere(proposal, String.valueOf(failure));
        });
    }

    private void answered(Proposal proposal, byte[] reply) {
        byte code = reply.length == 0 ? UNKNOWN : reply[0];
        String text = reply.length == 0 ? "" : new String(reply, 1, reply.length - 1, StandardCharsets.UTF_8);
        switch (code) {
            case DONE -> proposal.result().complete(null);
            case REFUSED -> proposal.fail(new AgreementException(Code.REFUSED, text));
            case NOT_HERE -> {
                proposal.setNotGone();
                notHere(proposal, text);
            }
            default -> notHere(proposal, text);
        }
    }

    /** It did not get through; it may be in the order all the same when it is gone. */
    private void notHere(Proposal proposal, String why) {
        if (proposal.isGone()) {
            proposal.fail(new AgreementException(Code.UNKNOWN, "it may be in the order or not: " + why));
        } else {
            retry(proposal);
        }
    }

    private void retry(Proposal proposal) {
        if (proposal.isForPeer()) {
            proposal.fail(new AgreementException(Code.NO_LEADER, "this node does not lead"));
            return;
        }
        try {
            thread.schedule(() -> attempt(proposal), RETRY_MILLIS, TimeUnit.MILLISECONDS);
        } catch (RejectedExecutionException e) {
            proposal.fail(whyStopped());
        }
    }

    private static void expire(Proposal proposal) {
        proposal.fail(
                proposal.isGone()
                        ? new AgreementException(Code.UNKNOWN, "no majority has it in time")
                        : new AgreementException(Code.NO_LEADER, "no leader was found in time"));
    }

    // For other voters

    private CompletionStage<byte[]> handle(Call call) {
        return propose(UnsafeByteOperations.unsafeWrap(call.body()), true, call.remainingMillis())
                .handle((done, failure) -> reply(failure));
    }

    private static byte[] reply(@Nullable Throwable failure) {
        if (failure == null) {
            return new byte[] {DONE};
        }
        Throwable cause = failure instanceof CompletionException ? failure.getCause() : failure;
        byte code = UNKNOWN;
        if (cause instanceof AgreementException e) {
            code = switch (e.code()) {
                case REFUSED -> REFUSED;
                case NO_LEADER, STOPPED -> NOT_HERE;
                case UNKNOWN -> UNKNOWN;
            };
        }
        byte[] text = String.valueOf(cause == null ? null : cause.getMessage()).getBytes(StandardCharsets.UTF_8);
        byte[] reply = new byte[1 + text.length];
        reply[0] = code;
        System.arraycopy(text, 0, reply, 1, text.length);
        return reply;
    }

    /** All that is open fails, and what comes later fails with {@code why}. */
    void stop(AgreementException why) {
        stopped = why;
        for (Proposal proposal : open.values()) {
            proposal.fail(
                    proposal.isGone() ? new AgreementException(Code.UNKNOWN, String.valueOf(why.getMessage())) : why);
        }
    }

    @Override
    public void close() {
        messenger.unregister(SERVICE);
        thread.shutdownNow();
    }
}
