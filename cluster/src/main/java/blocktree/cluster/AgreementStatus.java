package blocktree.cluster;

import blocktree.crypto.PrincipalId;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Where one voter stands.
 *
 * @param leader null while this node knows of none
 * @param term of the newest election that it knows
 * @param committed index up to which it knows that a majority holds the entries
 * @param applied index up to which its machine has them
 * @param voters who votes, this node included if it does
 * @param lag on the leader, for each other voter, by how many entries it is behind; empty on others
 * @param stopped why this voter takes no part any more; null while it does
 */
public record AgreementStatus(
        @Nullable PrincipalId leader,
        long term,
        long committed,
        long applied,
        Set<PrincipalId> voters,
        Map<PrincipalId, Long> lag,
        @Nullable String stopped) {

    public AgreementStatus {
        voters = Set.copyOf(voters);
        lag = Map.copyOf(lag);
    }
}
