package blocktree.cluster.raft;

import blocktree.cluster.Agreement;
import blocktree.cluster.AgreementException;
import blocktree.cluster.AgreementException.Code;
import blocktree.cluster.AgreementStatus;
import blocktree.cluster.OrderedEntry;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.ratis.proto.RaftProtos.LogEntryProto;
import org.apache.ratis.protocol.ClientId;
import org.apache.ratis.protocol.RaftClientReply;
import org.apache.ratis.protocol.RaftGroup;
import org.apache.ratis.protocol.RaftGroupId;
import org.apache.ratis.protocol.RaftGroupMemberId;
import org.apache.ratis.protocol.RaftPeer;
import org.apache.ratis.protocol.RaftPeerId;
import org.apache.ratis.protocol.SetConfigurationRequest;
import org.apache.ratis.protocol.TransferLeadershipRequest;
import org.apache.ratis.protocol.exceptions.LeaderNotReadyException;
import org.apache.ratis.protocol.exceptions.ReconfigurationInProgressException;
import org.apache.ratis.protocol.exceptions.ReconfigurationTimeoutException;
import org.apache.ratis.protocol.exceptions.SetConfigurationException;
import org.apache.ratis.protocol.exceptions.TransferLeadershipException;
import org.apache.ratis.server.DivisionInfo;
import org.apache.ratis.server.RaftServer;
import org.apache.ratis.server.raftlog.RaftLog;
import org.apache.ratis.server.raftlog.RaftLogIOException;
import org.apache.ratis.server.storage.RaftStorage;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** {@link Agreement} by Apache Ratis; docs/cluster.md, "Ratis". Thread-safe. */
public final class RaftAgreement implements Agreement {
    private static final Logger log = LoggerFactory.getLogger(RaftAgreement.class);

    private static final long HAND_OVER_AT_CLOSE_MILLIS = 1_000;
    private static final long RETRY_MILLIS = 20;

    private final RaftOptions options;
    private final RaftPeerId self;
    private final RaftGroupId group;
    private final ClientId client = ClientId.randomId();
    private final AtomicLong calls = new AtomicLong();
    private final Prepared prepared;
    private final Proposals proposals;
    private final MachineAdapter machine;
    private final RaftServer server;
    private final RaftServer.Division division;
    private final SessionRpc rpc;

    private final AtomicBoolean stopping = new AtomicBoolean();
    private volatile @Nullable String stopped;
    private volatile boolean closing;

    private RaftAgreement(RaftOptions options) throws IOException {
        this.options = options;
        this.self = PeerIds.of(options.self());
        this.group = PeerIds.group(options.tree());
        this.proposals = new Proposals(options);
        this.prepared = new Prepared(options.machine().applied().index() + 1, this::preparedMore);
        this.machine = new MachineAdapter(options.machine(), prepared, proposals::find, this::stop);
        List<RaftPeer> voters = options.voters().contains(options.self())
                ? options.voters().stream().map(PeerIds::peer).toList()
                : List.of();
        this.server = RaftServer.newBuilder()
                .setServerId(self)
                .setGroup(RaftGroup.valueOf(group, voters))
                .setOption(RaftStorage.StartupOption.RECOVER)
                .setProperties(RaftSettings.of(options))
                .setParameters(new SessionRpc.Parts(options, prepared, machine).toParameters())
                .setStateMachine(machine)
                .build();
        this.division = server.getDivision(group);
        this.rpc = (SessionRpc) server.getServerRpc();
        machine.setDivision(division);
    }

    /** Opens or makes the log, and takes part from now on. The machine is used from now on, from several threads. */
    public static RaftAgreement start(RaftOptions options) throws IOException {
        Files.createDirectories(options.directory());
        OldLog.deleteIfBefore(
                options.machine().applied().index(),
                options.directory(),
                RaftGroupMemberId.valueOf(PeerIds.of(options.self()), PeerIds.group(options.tree())));
        RaftAgreement agreement = new RaftAgreement(options);
        try {
            agreement.start();
            return agreement;
        } catch (IOException | RuntimeException e) {
            agreement.close();
            throw new IOException("the log in " + options.directory() + " cannot be opened", e);
        }
    }

    private void start() throws IOException {
        server.start();
        RaftLog raftLog = division.getRaftLog();
        long first = Math.max(raftLog.getStartIndex(), machine.applied().index() + 1);
        for (long index = first; index < raftLog.getNextIndex(); index++) {
            LogEntryProto entry = raftLog.get(index);
            if (entry != null && MachineAdapter.isOurs(entry)) {
                machine.prepare(entry);
            }
        }
        prepared.known();
        rpc.open(this::isVoter);
        proposals.start(server, division, this::isVoter);
    }

    private void preparedMore() {
        rpc.preparedMore();
    }

    /** Whom this voter hears: who votes, as far as it knows; before it is one itself, those that may take it in. */
    private boolean isVoter(PrincipalId principal) {
        RaftPeerId peer = PeerIds.of(principal);
        return division.getRaftConf().getAllPeers().stream()
                        .anyMatch(one -> one.getId().equals(peer))
                || division.getRaftConf().getPeer(self) == null
                        && options.voters().contains(principal);
    }

    @Override
    public CompletableFuture<Void> propose(ByteString entry) {
        return proposals.propose(entry);
    }

    @Override
    public @Nullable List<OrderedEntry> entries(long after, long upTo, int sizeBytesMax) {
        List<OrderedEntry> entries = new ArrayList<>();
        long sizeBytes = 0;
        try {
            for (long index = after + 1; index <= upTo; index++) {
                LogEntryProto entry = division.getRaftLog().get(index);
                if (entry == null) {
                    return null;
                }
                OrderedEntry ordered = MachineAdapter.ordered(entry);
                sizeBytes += ordered.bytes().size();
                if (!entries.isEmpty() && sizeBytes > sizeBytesMax) {
                    break;
                }
                entries.add(ordered);
            }
        } catch (RaftLogIOException | RuntimeException e) {
            // Purged meanwhile, for one.
            log.atDebug().setCause(e).log("entries_not_read");
            return null;
        }
        return entries;
    }

    @Override
    public boolean isVoter() {
        return stopped == null
                && PeerIds.principals(division.getRaftConf().getCurrentPeers()).contains(options.self());
    }

    @Override
    public AgreementStatus status() {
        DivisionInfo info = division.getInfo();
        RaftPeerId leader = info.getLeaderId();
        Quorum quorum = rpc.quorum();
        String why = stopped;
        Map<PrincipalId, Long> lag = info.isLeader() && why == null && quorum != null ? quorum.lag() : Map.of();
        Set<PrincipalId> voters = PeerIds.principals(division.getRaftConf().getCurrentPeers());
        return new AgreementStatus(
                leader == null || why != null ? null : PeerIds.principal(leader),
                info.getCurrentTerm(),
                division.getRaftLog().getLastCommittedIndex(),
                machine.applied().index(),
                voters,
                lag,
                why);
    }

    @Override
    public CompletableFuture<Void> setVoters(List<PrincipalId> voters) {
        List<RaftPeer> peers = voters.stream().distinct().map(PeerIds::peer).toList();
        if (peers.isEmpty()) {
            throw new IllegalArgumentException("somebody has to vote");
        }
        return asLeader(() -> server.setConfigurationAsync(
                new SetConfigurationRequest(client, self, group, calls.incrementAndGet(), peers)));
    }

    @Override
    public CompletableFuture<Void> handOver(@Nullable PrincipalId to) {
        return handOver(to, options.electionTimeout().toMillis() * 2);
    }

    private CompletableFuture<Void> handOver(@Nullable PrincipalId to, long millis) {
        PrincipalId next = to == null ? nextLeader() : to;
        if (next == null) {
            return CompletableFuture.failedFuture(
                    new AgreementException(Code.NO_LEADER, "there is nobody to hand over to"));
        }
        return asLeader(() -> server.transferLeadershipAsync(
                new TransferLeadershipRequest(client, self, group, calls.incrementAndGet(), PeerIds.of(next), millis)));
    }

    /** The connected voter that is behind least. */
    private @Nullable PrincipalId nextLeader() {
        AgreementStatus status = status();
        return status.lag().entrySet().stream()
                .filter(entry -> status.voters().contains(entry.getKey())
                        && options.messenger().peer(entry.getKey()).isConnected())
                .min(Comparator.comparingLong(Map.Entry::getValue))
                .map(Map.Entry::getKey)
                .orElse(null);
    }

    private interface Request {
        CompletableFuture<RaftClientReply> make() throws IOException;
    }

    private CompletableFuture<Void> asLeader(Request request) {
        CompletableFuture<Void> result = new CompletableFuture<>();
        attempt(request, System.nanoTime() + options.proposeTimeout().toNanos(), result);
        return result;
    }

    private void attempt(Request request, long deadlineNanos, CompletableFuture<Void> result) {
        String why = stopped;
        if (why != null) {
            result.completeExceptionally(new AgreementException(Code.STOPPED, why));
            return;
        }
        if (!division.getInfo().isLeader()) {
            result.completeExceptionally(new AgreementException(Code.NO_LEADER, "this node does not lead"));
            return;
        }
        CompletableFuture<RaftClientReply> reply;
        try {
            reply = request.make();
        } catch (IOException | RuntimeException e) {
            reply = CompletableFuture.failedFuture(e);
        }
        reply.whenComplete((answer, failure) -> {
            Throwable cause = failure != null ? failure : answer.getException();
            while (cause instanceof CompletionException && cause.getCause() != null) {
                cause = cause.getCause();
            }
            if (cause == null) {
                result.complete(null);
            } else if (cause instanceof LeaderNotReadyException && System.nanoTime() < deadlineNanos) {
                CompletableFuture.delayedExecutor(RETRY_MILLIS, TimeUnit.MILLISECONDS)
                        .execute(() -> attempt(request, deadlineNanos, result));
            } else {
                boolean surelyNot = cause instanceof LeaderNotReadyException
                        || cause instanceof ReconfigurationInProgressException
                        || cause instanceof ReconfigurationTimeoutException
                        || cause instanceof SetConfigurationException
                        || cause instanceof TransferLeadershipException;
                result.completeExceptionally(new AgreementException(
                        surelyNot ? Code.NO_LEADER : Code.UNKNOWN, String.valueOf(cause.getMessage()), cause));
            }
        });
    }

    /** This voter cannot go on. From any thread of the engine: does not wait for it. */
    private void stop(String why, @Nullable Throwable cause) {
        if (closing || !stopping.compareAndSet(false, true)) {
            return;
        }
        log.atError().addKeyValue("reason", why).setCause(cause).log("agreement_stopped");
        proposals.stop(new AgreementException(Code.STOPPED, why, cause));
        stopped = why;
        Thread closer = new Thread(this::shutDown, "raft-stop");
        closer.setDaemon(true);
        closer.start();
    }

    /** Waits for up to a second, in which the engine's log looks whether there is anything to write. */
    private synchronized void shutDown() {
        rpc.close();
        machine.abandonCatchUp();
        prepared.close();
        try {
            server.close();
        } catch (IOException e) {
            log.atWarn().setCause(e).log("agreement_not_closed");
        }
    }

    @Override
    public void close() {
        if (division.getInfo().isLeader() && stopped == null) {
            try {
                handOver(null, HAND_OVER_AT_CLOSE_MILLIS).get(HAND_OVER_AT_CLOSE_MILLIS, TimeUnit.MILLISECONDS);
            } catch (ExecutionException | TimeoutException e) {
                log.atDebug().setCause(e).log("leadership_not_handed_over");
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        closing = true;
        if (stopped == null) {
            proposals.stop(new AgreementException(Code.STOPPED, "this voter was closed"));
            stopped = "it was closed";
        }
        proposals.close();
        shutDown();
    }
}
