package blocktree.cluster;

import blocktree.cluster.ClusterProto.Standing;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import com.google.protobuf.ByteString;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Where a node stands, as nodes tell it to one another. */
final class Standings {

    /** No tree has more voters. */
    private static final int VOTERS_MAX = 1000;

    private Standings() {}

    static Standing of(AgreementStatus status, long position) {
        Standing.Builder standing = Standing.newBuilder()
                .setTerm(status.term())
                .setCommitted(status.committed())
                .setApplied(status.applied())
                .setPosition(position);
        PrincipalId leader = status.leader();
        if (leader != null) {
            standing.setLeader(ByteString.copyFrom(leader.toBytes()));
        }
        status.voters().forEach(voter -> standing.addVoters(ByteString.copyFrom(voter.toBytes())));
        return standing.build();
    }

    /** Null where it names none. */
    static @Nullable PrincipalId leader(Standing standing) {
        return standing.getLeader().size() == Id.SIZE
                ? PrincipalId.of(standing.getLeader().toByteArray())
                : null;
    }

    static Set<PrincipalId> voters(Standing standing) {
        return standing.getVotersList().stream()
                .limit(VOTERS_MAX)
                .filter(voter -> voter.size() == Id.SIZE)
                .map(voter -> PrincipalId.of(voter.toByteArray()))
                .collect(Collectors.toSet());
    }

    /** Of a node that follows: {@code heard} what a voter has told it last, null for nothing that counts any more. */
    static AgreementStatus status(
            @Nullable Standing heard, @Nullable PrincipalId leader, long applied, @Nullable String stopped) {
        return heard == null
                ? new AgreementStatus(null, 0, applied, applied, Set.of(), Map.of(), stopped)
                : new AgreementStatus(
                        leader,
                        heard.getTerm(),
                        Math.max(applied, heard.getCommitted()),
                        applied,
                        voters(heard),
                        Map.of(),
                        stopped);
    }
}
