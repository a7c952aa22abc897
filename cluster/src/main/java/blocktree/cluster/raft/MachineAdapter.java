package blocktree.cluster.raft;

import blocktree.cluster.AgreementException;
import blocktree.cluster.Machine;
import blocktree.cluster.Machine.Mark;
import blocktree.cluster.OrderedEntry;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;
import java.util.function.LongFunction;
import org.apache.ratis.proto.RaftProtos.InstallSnapshotResult;
import org.apache.ratis.proto.RaftProtos.LogEntryProto;
import org.apache.ratis.proto.RaftProtos.RoleInfoProto;
import org.apache.ratis.protocol.Message;
import org.apache.ratis.protocol.RaftClientRequest;
import org.apache.ratis.protocol.RaftGroupMemberId;
import org.apache.ratis.protocol.RaftPeer;
import org.apache.ratis.protocol.RaftPeerId;
import org.apache.ratis.server.RaftServer;
import org.apache.ratis.server.protocol.TermIndex;
import org.apache.ratis.server.storage.FileInfo;
import org.apache.ratis.statemachine.SnapshotInfo;
import org.apache.ratis.statemachine.TransactionContext;
import org.apache.ratis.statemachine.impl.BaseStateMachine;
import org.apache.ratis.statemachine.impl.FileListSnapshotInfo;
import org.apache.ratis.util.LifeCycle;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A {@link Machine} as the engine wants it. Its "snapshot" is the mark up to which the machine needs no entries; what the engine
 * calls the state machine's data is one byte that is in each of our entries, so that {@link #write} tells of every entry that comes
 * into this voter's log, with its index, in order.
 */
final class MachineAdapter extends BaseStateMachine {
    private static final Logger log = LoggerFactory.getLogger(MachineAdapter.class);

    private static final org.apache.ratis.thirdparty.com.google.protobuf.ByteString MARKER =
            org.apache.ratis.thirdparty.com.google.protobuf.ByteString.copyFrom(new byte[] {1});

    private static final long CATCH_UP_RETRY_MILLIS = 500;

    /** The machine takes another's state over. */
    private record CatchUp(long firstIndex, CompletableFuture<Mark> result) {}

    private final Machine machine;
    private final Prepared prepared;
    private final LongFunction<@Nullable Proposal> proposals;
    private final BiConsumer<String, @Nullable Throwable> stop;

    private volatile RaftServer.@Nullable Division division;
    private volatile LifeCycle.State state = LifeCycle.State.RUNNING;
    private volatile Mark synced;
    private volatile boolean failed;
    private volatile @Nullable CatchUp catchUp;
    /** Held while the machine applies, and while it is decided that it catches up. */
    private final Object applying = new Object();

    MachineAdapter(
            Machine machine,
            Prepared prepared,
            LongFunction<@Nullable Proposal> proposals,
            BiConsumer<String, @Nullable Throwable> stop) {
        this.machine = machine;
        this.prepared = prepared;
        this.proposals = proposals;
        this.stop = stop;
        this.synced = machine.applied();
        setLastAppliedTermIndex(termIndex(synced));
    }

    /** Before the engine starts. */
    void setDivision(RaftServer.Division own) {
        division = own;
    }

    RaftServer.Division division() {
        return Objects.requireNonNull(division, "the engine was not started");
    }

    Mark applied() {
        return machine.applied();
    }

    private static TermIndex termIndex(Mark mark) {
        return TermIndex.valueOf(mark.term(), mark.index());
    }

    static boolean isOurs(LogEntryProto entry) {
        return entry.hasStateMachineLogEntry();
    }

    /** Whether an entry from another voter has what makes {@link #write} see it. */
    static boolean isWhole(LogEntryProto entry) {
        return !isOurs(entry)
                || entry.getStateMachineLogEntry()
                        .getStateMachineEntry()
                        .getStateMachineData()
                        .equals(MARKER);
    }

    /** What the machine is, or was, to apply of an entry. */
    static OrderedEntry ordered(LogEntryProto entry) {
        return new OrderedEntry(
                new Mark(entry.getTerm(), entry.getIndex()), isOurs(entry) ? bytes(entry) : ByteString.EMPTY);
    }

    /** Empty for an entry of the engine's own. */
    static ByteString bytes(LogEntryProto entry) {
        return Bytes.ours(entry.getStateMachineLogEntry().getLogData());
    }

    // Into the log

    @Override
    public TransactionContext startTransaction(RaftClientRequest request) {
        Proposal proposal = Objects.requireNonNull(proposals.apply(request.getCallId()));
        ByteString admitted = proposal.entry();
        try {
            admitted = machine.admit(admitted);
            Proposals.checkSize(admitted);
        } catch (AgreementException e) {
            proposal.refuse(e);
        } catch (RuntimeException e) {
            log.atError().setCause(e).log("proposal_failed");
            proposal.refuse(new AgreementException(AgreementException.Code.REFUSED, e.toString(), e));
        }
        TransactionContext context = TransactionContext.newBuilder()
                .setStateMachine(this)
                .setClientRequest(request)
                .setLogData(Bytes.engines(admitted))
                .setStateMachineData(MARKER)
                .setStateMachineContext(proposal)
                .build();
        return proposal.refusal() == null ? context : context.setException(proposal.refusal());
    }

    @Override
    public CompletableFuture<?> write(LogEntryProto entry, TransactionContext context) {
        if (context.getStateMachineContext() instanceof Proposal proposal) {
            proposal.setGone();
        }
        prepare(entry);
        // The engine may sync the entry meanwhile; Prepared keeps it from being acknowledged.
        return CompletableFuture.completedFuture(null);
    }

    /** An entry of ours is in this voter's log. */
    void prepare(LogEntryProto entry) {
        CompletableFuture<Void> future;
        try {
            future = machine.prepare(bytes(entry));
        } catch (RuntimeException e) {
            future = CompletableFuture.failedFuture(e);
        }
        prepared.add(entry.getIndex(), future);
    }

    @Override
    public CompletableFuture<org.apache.ratis.thirdparty.com.google.protobuf.ByteString> read(
            LogEntryProto entry, @Nullable TransactionContext context) {
        return CompletableFuture.completedFuture(MARKER);
    }

    @Override
    public CompletableFuture<Void> truncate(long index) {
        prepared.truncate(index);
        return CompletableFuture.completedFuture(null);
    }

    /**
     * The engine takes what it has synced for acknowledged. Among several voters {@link Quorum} corrects that; a voter that decides
     * alone does not sync what is not prepared, which holds nothing up that could go on.
     */
    @Override
    public CompletableFuture<Void> flush(long index) {
        return Quorum.isAlone(division()) ? prepared.whenAt(index) : CompletableFuture.completedFuture(null);
    }

    // Out of the log

    @Override
    public CompletableFuture<Message> applyTransaction(TransactionContext context) {
        LogEntryProto entry = Objects.requireNonNull(context.getLogEntry());
        apply(new Mark(entry.getTerm(), entry.getIndex()), bytes(entry));
        return CompletableFuture.completedFuture(Message.EMPTY);
    }

    /** An entry of the engine's own. */
    @Override
    public void notifyTermIndexUpdated(long term, long index) {
        apply(new Mark(term, index), ByteString.EMPTY);
    }

    private void apply(Mark mark, ByteString entry) {
        while (true) {
            CatchUp current;
            synchronized (applying) {
                current = catchUp;
                if (current == null || current.result().isDone()) {
                    applyNow(mark, entry);
                    return;
                }
            }
            current.result().exceptionally(failure -> Mark.NONE).join();
        }
    }

    private void applyNow(Mark mark, ByteString entry) {
        if (failed) {
            throw new IllegalStateException("the machine has failed before");
        }
        if (mark.index() <= machine.applied().index()) {
            return;
        }
        try {
            machine.apply(mark, entry);
        } catch (Exception | Error e) {
            failed = true;
            stop.accept("the machine cannot apply entry " + mark.index(), e);
            throw new IllegalStateException("the machine has failed", e);
        }
        setApplied(mark);
    }

    private void setApplied(Mark mark) {
        setLastAppliedTermIndex(termIndex(mark));
        prepared.release(mark.index());
    }

    @Override
    public long takeSnapshot() throws IOException {
        if (failed) {
            return Mark.NONE.index();
        }
        try {
            synced = machine.sync();
            return synced.index();
        } catch (Exception | Error e) {
            failed = true;
            stop.accept("the machine cannot sync", e);
            throw new IOException("the machine cannot sync", e);
        }
    }

    @Override
    public @Nullable SnapshotInfo getLatestSnapshot() {
        Mark mark = synced;
        return mark.index() < 0 ? null : new FileListSnapshotInfo(List.<FileInfo>of(), termIndex(mark));
    }

    // Another's state

    @Override
    public CompletableFuture<TermIndex> notifyInstallSnapshotFromLeader(RoleInfoProto role, TermIndex first) {
        PrincipalId leader =
                PeerIds.principal(Objects.requireNonNull(division().getInfo().getLeaderId()));
        CatchUp begun = new CatchUp(first.getIndex(), new CompletableFuture<>());
        log.atInfo()
                .addKeyValue("leader", leader)
                .addKeyValue("applied", machine.applied().index())
                .log("catch_up_began");
        CompletableFuture.supplyAsync(() -> {
                    synchronized (applying) {
                        catchUp = begun;
                    }
                    return machine.catchUp(leader);
                })
                .thenCompose(result -> result)
                .whenComplete((mark, failure) -> {
                    if (failure == null) {
                        log.atInfo().addKeyValue("applied", mark.index()).log("catch_up_done");
                        synced = mark;
                        if (mark.index() > getLastAppliedTermIndex().getIndex()) {
                            setApplied(mark);
                        }
                        begun.result().complete(mark);
                    } else {
                        log.atWarn()
                                .addKeyValue("leader", leader)
                                .setCause(failure)
                                .log("catch_up_failed");
                        // The engine begins anew as soon as it hears of it.
                        CompletableFuture.delayedExecutor(CATCH_UP_RETRY_MILLIS, TimeUnit.MILLISECONDS)
                                .execute(() -> {
                                    catchUp = null;
                                    begun.result().completeExceptionally(failure);
                                });
                    }
                });
        // An index below all would be waited for for ever.
        return begun.result().thenApply(mark -> mark.index() < 0 ? null : termIndex(mark));
    }

    /** The index that the engine waits for while the machine catches up; negative when it does not. */
    long catchingUpFrom() {
        CatchUp current = catchUp;
        return current == null ? Mark.NONE.index() : current.firstIndex();
    }

    /** Whether the machine is done and the engine does not know it yet: it asks only when the leader sends it to. */
    boolean isCaughtUp() {
        CatchUp current = catchUp;
        return current != null && current.result().isDone();
    }

    /** What a machine that has taken over half of a state would do with an entry is not to be known. */
    void abandonCatchUp() {
        CatchUp current = catchUp;
        if (current != null && !current.result().isDone()) {
            failed = true;
            current.result().completeExceptionally(new IOException("the voter stops"));
        }
    }

    @Override
    public LifeCycle.State getLifeCycleState() {
        return state;
    }

    @Override
    public void pause() {
        state = LifeCycle.State.PAUSED;
    }

    @Override
    public void notifySnapshotInstalled(InstallSnapshotResult result, long index, RaftPeer peer) {
        catchUp = null;
    }

    @Override
    public void reinitialize() {
        state = LifeCycle.State.RUNNING;
    }

    // What ends it

    @Override
    public void notifyLogFailed(Throwable cause, @Nullable LogEntryProto entry) {
        stop.accept("its log cannot be written", cause);
    }

    @Override
    public void notifyServerShutdown(RoleInfoProto role, boolean all) {
        stop.accept("the engine has shut down", null);
    }

    @Override
    public void close() {
        stop.accept("the engine has stopped", null);
    }

    @Override
    public void notifyLeaderChanged(RaftGroupMemberId member, RaftPeerId leader) {
        log.atInfo().addKeyValue("leader", leader).log("leader_changed");
    }
}
