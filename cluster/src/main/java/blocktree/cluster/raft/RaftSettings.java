package blocktree.cluster.raft;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.ratis.conf.RaftProperties;
import org.apache.ratis.server.RaftServerConfigKeys;
import org.apache.ratis.server.RaftServerConfigKeys.LeaderElection;
import org.apache.ratis.server.RaftServerConfigKeys.Log;
import org.apache.ratis.server.RaftServerConfigKeys.RetryCache;
import org.apache.ratis.server.RaftServerConfigKeys.Rpc;
import org.apache.ratis.server.RaftServerConfigKeys.Snapshot;
import org.apache.ratis.server.RaftServerConfigKeys.Write;
import org.apache.ratis.util.SizeInBytes;
import org.apache.ratis.util.TimeDuration;

/** The engine's settings; docs/cluster.md, "Ratis", says what the defaults would do. */
final class RaftSettings {

    /** Bound on an entry's bytes, as proposed and as admitted. */
    static final int ENTRY_SIZE_BYTES_MAX = 512 << 10;

    /** Bound on the entries of one message, all but the first of it; the engine refuses longer entries. */
    static final int BATCH_SIZE_BYTES_MAX = 768 << 10;

    private RaftSettings() {}

    static RaftProperties of(RaftOptions options) {
        RaftProperties p = new RaftProperties();
        p.set("raft.rpc.type", SessionRpc.Type.class.getName());
        RaftServerConfigKeys.setStorageDir(p, List.of(options.directory().toFile()));

        long electionMillis = options.electionTimeout().toMillis();
        TimeDuration shortest = millis(electionMillis);
        TimeDuration longest = millis(electionMillis * 3 / 2);
        Rpc.setTimeoutMin(p, shortest);
        Rpc.setTimeoutMax(p, longest);
        // A lone voter leads soon after its start; others are held back by the pre-vote.
        Rpc.setFirstElectionTimeoutMin(p, millis(electionMillis / 8));
        Rpc.setFirstElectionTimeoutMax(p, millis(electionMillis / 2));
        LeaderElection.setPreVote(p, true);
        LeaderElection.setLeaderStepDownWaitTime(p, longest);
        LeaderElection.setMemberMajorityAdd(p, true);
        RaftServerConfigKeys.setSleepDeviationThreshold(p, shortest);
        // A machine that slept is no reason to stop.
        RaftServerConfigKeys.setCloseThreshold(p, TimeDuration.valueOf(10_000, TimeUnit.DAYS));
        RaftServerConfigKeys.setStagingTimeout(p, millis(electionMillis * 10));

        Log.setAppendEntriesComposeEnabled(p, false);
        Log.setLogMetadataEnabled(p, false);
        Log.StateMachineData.setSync(p, false);
        Log.Appender.setInstallSnapshotEnabled(p, false);
        Log.Appender.setBufferByteLimit(p, SizeInBytes.valueOf(BATCH_SIZE_BYTES_MAX));
        // Whatever fits into a message fits into it.
        Log.setWriteBufferSize(p, SizeInBytes.valueOf("1MB"));
        Log.setSegmentSizeMax(p, SizeInBytes.valueOf("4MB"));
        Log.setPreallocatedSize(p, SizeInBytes.valueOf("256KB"));
        Log.setSegmentCacheNumMax(p, 2);
        Log.setSegmentCacheSizeMax(p, SizeInBytes.valueOf("8MB"));
        // Proposals are turned away before the queue is full: who adds to it then waits with the server's lock.
        Write.setElementLimit(p, 2048);
        Write.setByteLimit(p, SizeInBytes.valueOf("32MB"));
        Log.setQueueElementLimit(p, 8192);
        Log.setQueueByteLimit(p, SizeInBytes.valueOf("128MB"));

        Snapshot.setAutoTriggerEnabled(p, true);
        Snapshot.setAutoTriggerThreshold(p, options.syncEvery());
        Log.setPurgeUptoSnapshotIndex(p, true);
        Log.setPurgePreservationLogNum(p, options.kept());
        Log.setPurgeGap(p, 1);

        // No request is made twice.
        RetryCache.setExpiryTime(p, millis(2_000));
        return p;
    }

    static TimeDuration millis(long millis) {
        return TimeDuration.valueOf(millis, TimeUnit.MILLISECONDS);
    }

    static TimeDuration of(Duration duration) {
        return millis(duration.toMillis());
    }
}
