package blocktree.cluster.raft;

import blocktree.crypto.PrincipalId;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.ratis.protocol.RaftPeer;
import org.apache.ratis.protocol.RaftPeerId;
import org.apache.ratis.server.RaftConfiguration;
import org.apache.ratis.server.RaftServer;
import org.apache.ratis.server.leader.FollowerInfo;
import org.apache.ratis.server.leader.LeaderState;

/**
 * What a majority holds, for one leader's term. The engine takes the leader's own copy for held once it is synced, prepared or not. So
 * it is told of followers at most what a majority holds when the leader counts with what it has prepared: then the engine's count, in
 * which its synced entries stand for the leader, is the true one. (With q the true majority and every follower at min(held, q), at most
 * one voter is above q, which decides nothing among two or more.) Thread-safe.
 */
final class Quorum {
    private final RaftServer.Division division;
    private final LeaderState leaderState;
    private final Prepared prepared;
    private final List<Appender> appenders = new CopyOnWriteArrayList<>();

    Quorum(RaftServer.Division division, LeaderState leaderState, Prepared prepared) {
        this.division = division;
        this.leaderState = leaderState;
        this.prepared = prepared;
    }

    /** Whether this voter is a majority by itself, now or in the configuration that is being left. */
    static boolean isAlone(RaftServer.Division division) {
        RaftConfiguration voters = division.getRaftConf();
        return isAlone(division.getId(), voters.getCurrentPeers())
                || isAlone(division.getId(), voters.getPreviousPeers());
    }

    private static boolean isAlone(RaftPeerId self, Collection<RaftPeer> voters) {
        return voters.size() == 1 && voters.iterator().next().getId().equals(self);
    }

    boolean isOf(LeaderState state) {
        return leaderState == state;
    }

    void add(Appender appender) {
        appenders.removeIf(earlier -> earlier.getFollowerId().equals(appender.getFollowerId()));
        appenders.add(appender);
    }

    List<Appender> appenders() {
        return appenders;
    }

    /** A follower, or this voter, holds more, or other voters count. */
    void update() {
        List<FollowerInfo> advanced = new ArrayList<>();
        synchronized (this) {
            RaftConfiguration voters = division.getRaftConf();
            long majority = majority(voters.getCurrentPeers());
            if (!voters.getPreviousPeers().isEmpty()) {
                majority = Math.min(majority, majority(voters.getPreviousPeers()));
            }
            for (Appender appender : appenders) {
                if (appender.getFollower().updateMatchIndex(Math.min(appender.held(), majority))) {
                    advanced.add(appender.getFollower());
                }
            }
        }
        // The engine may look at its log for this, whose lock another caller may have.
        advanced.forEach(leaderState::onFollowerSuccessAppendEntries);
    }

    private long majority(Collection<RaftPeer> voters) {
        long[] held =
                voters.stream().mapToLong(voter -> held(voter.getId())).sorted().toArray();
        return held[(held.length - 1) / 2];
    }

    private long held(RaftPeerId voter) {
        if (voter.equals(division.getId())) {
            return prepared.mark();
        }
        return appenders.stream()
                .filter(appender -> appender.getFollowerId().equals(voter))
                .mapToLong(Appender::held)
                .findAny()
                .orElse(-1);
    }

    /** By how many entries each follower is behind; empty once the log is closed. */
    Map<PrincipalId, Long> lag() {
        long last;
        try {
            last = division.getRaftLog().getNextIndex() - 1;
        } catch (IllegalStateException e) {
            return Map.of();
        }
        Map<PrincipalId, Long> lag = new HashMap<>();
        for (RaftPeer voter : division.getRaftConf().getCurrentPeers()) {
            if (!voter.getId().equals(division.getId())) {
                lag.put(PeerIds.principal(voter.getId()), Math.max(0, last - held(voter.getId())));
            }
        }
        return lag;
    }
}
