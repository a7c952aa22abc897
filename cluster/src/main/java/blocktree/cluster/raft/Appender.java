package blocktree.cluster.raft;

import blocktree.btmsg.session.Peer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import org.apache.ratis.proto.RaftProtos.AppendEntriesReplyProto;
import org.apache.ratis.proto.RaftProtos.AppendEntriesRequestProto;
import org.apache.ratis.proto.RaftProtos.InstallSnapshotReplyProto;
import org.apache.ratis.proto.RaftProtos.InstallSnapshotRequestProto;
import org.apache.ratis.proto.RaftProtos.LogEntryProto;
import org.apache.ratis.rpc.CallId;
import org.apache.ratis.server.RaftServer;
import org.apache.ratis.server.leader.FollowerInfo;
import org.apache.ratis.server.leader.LeaderState;
import org.apache.ratis.server.leader.LogAppenderBase;
import org.apache.ratis.server.protocol.TermIndex;
import org.apache.ratis.server.raftlog.RaftLog;
import org.apache.ratis.server.raftlog.RaftLogIOException;
import org.apache.ratis.util.Timestamp;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The leader's side towards one follower: a thread that sends entries, one message at a time and in it all that has come meanwhile; a
 * word in between when nothing was answered for half an election timeout; and news of what is committed at once. What happens comes to
 * the thread as events, so all state is its own.
 */
final class Appender extends LogAppenderBase {
    private static final Logger log = LoggerFactory.getLogger(Appender.class);

    private static final Runnable NOTHING = () -> {};
    private static final long RETRY_NANOS = TimeUnit.MILLISECONDS.toNanos(100);
    private static final long RETRY_SOON_NANOS = TimeUnit.MILLISECONDS.toNanos(20);
    /** A follower's disk may be slow; when it answers later, the entries are sent again and found to be there. */
    private static final Duration APPEND_TIMEOUT = Duration.ofSeconds(10);

    private final SessionRpc rpc;
    private final Quorum quorum;
    private final Peer peer;
    private final long term;
    private final long beatNanos;
    private final Duration beatTimeout;
    private final BlockingQueue<Runnable> events = new LinkedBlockingQueue<>();
    private final AtomicBoolean woken = new AtomicBoolean();

    private volatile long held = RaftLog.INVALID_LOG_INDEX;

    // the thread's own
    private boolean sending;
    private boolean beating;
    private boolean awaitingSession;
    private long retryNanos = System.nanoTime();
    private long heardNanos;
    private long beatenNanos;
    private long toldCommit = RaftLog.INVALID_LOG_INDEX;

    Appender(RaftServer.Division server, LeaderState state, FollowerInfo follower, SessionRpc rpc, Quorum quorum) {
        super(server, state, follower);
        this.rpc = rpc;
        this.quorum = quorum;
        this.peer = rpc.peer(follower.getId());
        this.term = server.getInfo().getCurrentTerm();
        this.beatNanos = TimeUnit.MILLISECONDS.toNanos(server.properties().minRpcTimeoutMs()) / 2;
        this.beatTimeout = Duration.ofMillis(server.properties().maxRpcTimeoutMs());
        this.heardNanos = System.nanoTime() - beatNanos;
        this.beatenNanos = heardNanos;
    }

    /** Up to where the follower has said that it holds this leader's entries. */
    long held() {
        return held;
    }

    /** The follower says more of itself. Any thread. */
    void hold(long inTerm, long index) {
        events.add(() -> {
            if (inTerm == term) {
                hold(index);
            }
        });
    }

    private void hold(long index) {
        if (index > held && index < getRaftLog().getNextIndex()) {
            held = index;
            quorum.update();
        }
    }

    @Override
    public void notifyLogAppender() {
        if (woken.compareAndSet(false, true)) {
            events.add(NOTHING);
        }
    }

    @Override
    public void run() throws InterruptedException {
        while (isRunning()) {
            woken.set(false);
            attempt(this::step);
            Runnable event = events.poll(waitNanos(), TimeUnit.NANOSECONDS);
            while (event != null && isRunning()) {
                attempt(event);
                event = events.poll();
            }
        }
    }

    /** An appender that fails is made anew by the engine, as one of a follower that has yet to be taken in. */
    private void attempt(Runnable part) {
        try {
            part.run();
        } catch (RuntimeException e) {
            if (isRunning()) {
                log.atWarn().addKeyValue("peer", getFollowerId()).setCause(e).log("append_failed");
                retryNanos = System.nanoTime() + RETRY_NANOS;
            }
        }
    }

    private long waitNanos() {
        long now = System.nanoTime();
        long beat = Math.max(heardNanos, beatenNanos) + beatNanos - now;
        long next = beating || awaitingSession ? beatNanos : beat;
        return sending || retryNanos < now ? Math.max(next, 0) : Math.max(0, Math.min(next, retryNanos - now));
    }

    private void step() {
        if (!peer.isConnected()) {
            if (!awaitingSession) {
                awaitingSession = true;
                peer.whenConnected().thenRun(() -> events.add(() -> awaitingSession = false));
            }
            return;
        }
        if (!sending && System.nanoTime() >= retryNanos) {
            TermIndex first = shouldNotifyToInstallSnapshot();
            if (first != null) {
                sendNotification(first);
            } else if (hasAppendEntries()) {
                sendEntries();
            }
        }
        if (!beating && (isBeatDue() || hasNews())) {
            sendEmpty();
        }
    }

    private boolean isBeatDue() {
        return System.nanoTime() - Math.max(heardNanos, beatenNanos) >= beatNanos;
    }

    /** The follower can apply entries that it has, and does not know it. */
    private boolean hasNews() {
        return Math.min(getRaftLog().getLastCommittedIndex(), getFollower().getNextIndex() - 1) > toldCommit;
    }

    private void sendEntries() {
        long next = getFollower().getNextIndex();
        TermIndex previous = getPrevious(next);
        List<LogEntryProto> entries = new ArrayList<>();
        try {
            long sizeBytes = 0;
            for (long index = next; index < getRaftLog().getNextIndex(); index++) {
                RaftLog.EntryWithData entry = getRaftLog().getEntryWithData(index);
                sizeBytes += entry.getSerializedSize();
                if (!entries.isEmpty() && sizeBytes > RaftSettings.BATCH_SIZE_BYTES_MAX) {
                    break;
                }
                entries.add(entry.getEntry(getServer().properties().minRpcTimeout()));
            }
        } catch (RaftLogIOException | TimeoutException e) {
            // Purged meanwhile, for one.
            log.atDebug().addKeyValue("peer", getFollowerId()).setCause(e).log("entries_not_read");
            retryNanos = System.nanoTime() + RETRY_SOON_NANOS;
            return;
        }
        AppendEntriesRequestProto request = request(entries, previous);
        sending = true;
        getFollower().updateLastRpcSendTime(false);
        send(request, APPEND_TIMEOUT, () -> sending = false);
    }

    private void sendEmpty() {
        AppendEntriesRequestProto request =
                request(List.of(), getPrevious(getFollower().getNextIndex()));
        beating = true;
        beatenNanos = System.nanoTime();
        getFollower().updateLastRpcSendTime(true);
        send(request, beatTimeout, () -> beating = false);
    }

    private AppendEntriesRequestProto request(List<LogEntryProto> entries, @Nullable TermIndex previous) {
        return getLeaderState().newAppendEntriesRequestProto(getFollower(), entries, previous, getCallId());
    }

    private void send(AppendEntriesRequestProto request, Duration timeout, Runnable done) {
        Timestamp sent = Timestamp.currentTime();
        toldCommit = Math.max(toldCommit, request.getLeaderCommit());
        when(rpc.append(getFollowerId(), request, timeout), done, reply -> {
            getFollower().updateLastRespondedAppendEntriesSendTime(sent);
            handle(request, reply);
        });
    }

    private void sendNotification(TermIndex first) {
        InstallSnapshotRequestProto request = newInstallSnapshotNotificationRequest(first);
        sending = true;
        getFollower().updateLastRpcSendTime(false);
        when(rpc.install(getFollowerId(), request, APPEND_TIMEOUT), () -> sending = false, this::handle);
    }

    private <T> void when(CompletableFuture<T> reply, Runnable done, Consumer<T> handler) {
        reply.whenComplete((answer, failure) -> events.add(() -> {
            done.run();
            if (failure == null) {
                heardNanos = System.nanoTime();
                getFollower().updateLastRpcResponseTime();
                handler.accept(answer);
            } else {
                toldCommit = RaftLog.INVALID_LOG_INDEX;
                retryNanos = System.nanoTime() + RETRY_NANOS;
                log.atDebug()
                        .addKeyValue("peer", getFollowerId())
                        .setCause(failure)
                        .log("append_not_answered");
            }
        }));
    }

    private void handle(AppendEntriesRequestProto request, AppendEntriesReplyProto reply) {
        int count = request.getEntriesCount();
        switch (reply.getResult()) {
            case SUCCESS -> {
                long last = count > 0
                        ? request.getEntries(count - 1).getIndex()
                        : request.getPreviousLog().getIndex();
                if (count > 0 || request.hasPreviousLog()) {
                    getFollower().updateNextIndex(last + 1);
                }
                hold(reply.getMatchIndex());
                if (getLeaderState().isFollowerBootstrapping(getFollower())) {
                    getLeaderState().onFollowerSuccessAppendEntries(getFollower());
                }
            }
            case NOT_LEADER -> onFollowerTerm(reply.getTerm());
            case INCONSISTENCY -> {
                long first = count > 0 ? request.getEntries(0).getIndex() : RaftLog.INVALID_LOG_INDEX;
                long before = getFollower().getNextIndex();
                getFollower().setNextIndex(getNextIndexForInconsistency(first, reply.getNextIndex()));
                toldCommit = RaftLog.INVALID_LOG_INDEX;
                if (getFollower().getNextIndex() >= before) {
                    // Not on the way to where the logs part; the follower catches up, for one.
                    retryNanos = System.nanoTime() + RETRY_SOON_NANOS;
                }
            }
            default -> retryNanos = System.nanoTime() + RETRY_NANOS;
        }
    }

    private void handle(InstallSnapshotReplyProto reply) {
        switch (reply.getResult()) {
            case SNAPSHOT_INSTALLED, ALREADY_INSTALLED -> {
                long index = reply.getSnapshotIndex();
                getFollower().setSnapshotIndex(index);
                getFollower().setAttemptedToInstallSnapshot();
                hold(index);
            }
            case NOT_LEADER -> onFollowerTerm(reply.getTerm());
            // There is nothing to take over: it begins with the first entry.
            case SNAPSHOT_UNAVAILABLE -> getFollower().setAttemptedToInstallSnapshot();
            default -> retryNanos = System.nanoTime() + RETRY_NANOS;
        }
    }

    @Override
    public long getCallId() {
        return CallId.getAndIncrement();
    }

    @Override
    public Comparator<Long> getCallIdComparator() {
        return CallId.getComparator();
    }
}
