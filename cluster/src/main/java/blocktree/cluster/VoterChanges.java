package blocktree.cluster;

import blocktree.btmsg.session.Call;
import blocktree.btmsg.session.MessageException;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.PeerIdentity;
import blocktree.btmsg.session.Service;
import blocktree.cluster.ClusterProto.VoterChange;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Who votes, as any voter may change it: whoever leads carries it out, one change after the other. Thread-safe. */
final class VoterChanges {

    private static final String CHANGE = "cluster.voters";
    private static final String READY = "cluster.ready";

    /** A new voter takes over what it lacks within this time, or is not taken in. */
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    /** Longer than an election, and than a node that votes no more needs to find whom to follow. */
    private static final Duration TURNING_PATIENCE = Duration.ofSeconds(5);

    private static final long PAUSE_MILLIS = 20;
    private static final Duration READY_PATIENCE = Duration.ofSeconds(5);
    private static final int HOPS_MAX = 3;

    private final Messenger messenger;
    private final PrincipalId self;
    private final Supplier<@Nullable Agreement> agreement;

    /**
     * @param mayWrite who may ask for a change here, and whether this node is ready for one
     * @param becoming has this node take part in the agreement, if it only follows: then it can be made a voter
     */
    VoterChanges(
            Messenger messenger,
            PrincipalId self,
            Supplier<@Nullable Agreement> agreement,
            Predicate<PeerIdentity> mayWrite,
            Becoming becoming) {
        this.messenger = messenger;
        this.self = self;
        this.agreement = agreement;
        messenger.register(Service.ofMessages(CHANGE, 1, 16, this::answer).onlyFor(mayWrite));
        messenger.register(Service.ofMessages(READY, 1, 16, call -> {
                    try {
                        becoming.becomeVoter();
                        return CompletableFuture.completedFuture(new byte[0]);
                    } catch (IOException e) {
                        throw new MessageException(MessageException.Code.FAILED, String.valueOf(e.getMessage()));
                    }
                })
                .onlyFor(mayWrite));
    }

    @FunctionalInterface
    interface Becoming {
        void becomeVoter() throws IOException;
    }

    /** Whether a node is connected, and its engine runs: only then can it be made a voter. */
    boolean isReady(PrincipalId node) throws InterruptedException {
        try {
            messenger
                    .peer(node)
                    .request(READY, new byte[0], READY_PATIENCE)
                    .get(READY_PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
            return true;
        } catch (ExecutionException | TimeoutException e) {
            return false;
        }
    }

    /** Returns once it is so. NO_LEADER when nothing was changed, UNKNOWN when that is not known. */
    void change(PrincipalId node, boolean votes) throws AgreementException, InterruptedException {
        change(node, votes, 0);
    }

    private void change(PrincipalId node, boolean votes, int hops) throws AgreementException, InterruptedException {
        Agreement here = agreement.get();
        if (here == null) {
            throw new AgreementException(
                    AgreementException.Code.STOPPED, "this node does not take part in the agreement");
        }
        long deadlineNanos = System.nanoTime() + TURNING_PATIENCE.toNanos();
        PrincipalId leader = here.status().leader();
        while (leader == null && System.nanoTime() - deadlineNanos < 0) {
            TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
            leader = here.status().leader();
        }
        if (leader == null || hops == HOPS_MAX) {
            throw new AgreementException(
                    AgreementException.Code.NO_LEADER, "nobody leads: a majority of the voters has to be there");
        }
        if (!leader.equals(self)) {
            ask(leader, node, votes, hops);
        } else if (node.equals(self) && !votes) {
            await(here.handOver(null));
            PrincipalId next = here.status().leader();
            ask(Objects.requireNonNullElse(next, self), node, false, hops);
        } else {
            changeAsLeader(here, node, votes);
        }
    }

    private synchronized void changeAsLeader(Agreement here, PrincipalId node, boolean votes)
            throws AgreementException, InterruptedException {
        List<PrincipalId> voters = new ArrayList<>(here.status().voters());
        if (voters.contains(node) == votes) {
            return;
        }
        if (votes) {
            long deadlineNanos = System.nanoTime() + TURNING_PATIENCE.toNanos();
            while (!isReady(node)) {
                if (System.nanoTime() - deadlineNanos > 0) {
                    throw new AgreementException(
                            AgreementException.Code.NO_LEADER,
                            node + " is not connected to the leader, or not ready to vote");
                }
                TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
            }
            voters.add(node);
        } else {
            voters.remove(node);
        }
        await(here.setVoters(voters));
    }

    private void ask(PrincipalId leader, PrincipalId node, boolean votes, int hops)
            throws AgreementException, InterruptedException {
        if (leader.equals(self)) {
            throw new AgreementException(AgreementException.Code.NO_LEADER, "nobody else leads yet");
        }
        byte[] request = VoterChange.newBuilder()
                .setNode(ByteString.copyFrom(node.toBytes()))
                .setVotes(votes)
                .setHops(hops + 1)
                .build()
                .toByteArray();
        try {
            messenger.peer(leader).request(CHANGE, request, PATIENCE).get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException e) {
            throw new AgreementException(
                    AgreementException.Code.UNKNOWN,
                    "the leader " + leader + ": "
                            + Objects.requireNonNullElse(e.getCause(), e).getMessage(),
                    e);
        } catch (TimeoutException e) {
            throw new AgreementException(
                    AgreementException.Code.UNKNOWN, "the leader " + leader + " does not answer", e);
        }
    }

    private CompletionStage<byte[]> answer(Call call) throws MessageException {
        try {
            VoterChange change = VoterChange.parseFrom(call.body());
            if (change.getNode().size() != Id.SIZE) {
                throw new MessageException(MessageException.Code.FAILED, "not a change of voters");
            }
            change(PrincipalId.of(change.getNode().toByteArray()), change.getVotes(), change.getHops());
            return CompletableFuture.completedFuture(new byte[0]);
        } catch (InvalidProtocolBufferException e) {
            throw new MessageException(MessageException.Code.FAILED, "not a change of voters");
        } catch (AgreementException e) {
            throw new MessageException(MessageException.Code.FAILED, String.valueOf(e.getMessage()));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MessageException(MessageException.Code.CANCELLED, "the node stops");
        }
    }

    private static void await(CompletableFuture<Void> change) throws AgreementException, InterruptedException {
        try {
            change.get(PATIENCE.toMillis(), TimeUnit.MILLISECONDS);
        } catch (ExecutionException e) {
            throw AgreementException.of(e);
        } catch (TimeoutException e) {
            throw new AgreementException(AgreementException.Code.UNKNOWN, "not done within " + PATIENCE, e);
        }
    }
}
