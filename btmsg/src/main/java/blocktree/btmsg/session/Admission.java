package blocktree.btmsg.session;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.CryptoException.Denial;
import blocktree.crypto.NodeProof;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.WriteCapabilityChain;
import java.time.Clock;
import java.time.Instant;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/** Whether a principal that is proven may have a session with this node. Thread-safe. */
final class Admission {
    private final PrincipalId self;
    private final Authority authority;
    private final LongSupplier logTimeMillis;
    private final Clock clock;

    Admission(PrincipalId self, Authority authority, LongSupplier logTimeMillis, Clock clock) {
        this.self = self;
        this.authority = authority;
        this.logTimeMillis = logTimeMillis;
        this.clock = clock;
    }

    /** Null when it may. */
    @Nullable
    Refusal refusalOf(NodeProof proof) {
        PrincipalId peer = proof.subject().id();
        if (peer.equals(self)) {
            return new Refusal(Refusal.Code.SELF, "node " + peer + " has reached itself: take its own address away");
        }
        try {
            proof.checkTimes(clock.millis());
        } catch (CryptoException e) {
            return new Refusal(
                    Refusal.Code.CLOCK,
                    "the proof of node " + peer + " holds from " + time(proof.notBeforeMillis()) + " until "
                            + time(proof.notAfterMillis()) + ", here it is " + time(clock.millis())
                            + ": set the clocks of both nodes");
        }
        if (!proof.tree().equals(authority.tree())) {
            return otherTree(peer, proof.tree().toString());
        }
        return refusalOf(proof.chain());
    }

    /**
     * For a chain whose subject is proven already, after a change of the authority's records. The subject may have another chain here by now, and not know
     * of it: that counts as well, else who is one record behind could never hear of it.
     */
    @Nullable
    Refusal refusalOf(WriteCapabilityChain chain) {
        long timeMillis = logTimeMillis.getAsLong();
        PrincipalId peer = chain.subject().id();
        CryptoException refusal = denial(chain, timeMillis);
        return refusal == null || authority.chainsOf(peer).stream().anyMatch(other -> denial(other, timeMillis) == null)
                ? null
                : refusal(peer, refusal, timeMillis);
    }

    private @Nullable CryptoException denial(WriteCapabilityChain chain, long timeMillis) {
        try {
            authority.checkNode(chain, timeMillis);
            return null;
        } catch (CryptoException e) {
            return e;
        }
    }

    private Refusal refusal(PrincipalId peer, CryptoException e, long timeMillis) {
        Denial denial = e.denial();
        if (denial == Denial.OTHER_TREE || e.code() == CryptoException.Code.OUT_OF_ORDER) {
            return otherTree(peer, "another");
        }
        String reason = " (" + e.getMessage() + ")";
        if (denial == Denial.RIGHT_MISSING || denial == Denial.OTHER_DOMAIN) {
            return new Refusal(
                    Refusal.Code.NOT_A_NODE,
                    "the capability of " + peer + " does not give the right to run a node" + reason);
        }
        String logTime = ", log time here is " + time(timeMillis) + reason;
        if (denial == Denial.EXPIRED) {
            return new Refusal(Refusal.Code.EXPIRED, "the capability of node " + peer + " has ended" + logTime);
        }
        if (denial == Denial.NOT_YET_VALID) {
            return new Refusal(Refusal.Code.NOT_YET, "the capability of node " + peer + " has not begun" + logTime);
        }
        if (denial == Denial.REVOKED) {
            return new Refusal(Refusal.Code.REVOKED, "node " + peer + " was removed from the tree" + reason);
        }
        return new Refusal(
                Refusal.Code.UNKNOWN_ISSUER,
                "the chain of " + peer
                        + " does not reach a root key of this tree, or a change of keys has not come here" + " yet"
                        + reason);
    }

    private Refusal otherTree(PrincipalId peer, String tree) {
        return new Refusal(
                Refusal.Code.OTHER_TREE,
                peer + " is a node of tree " + tree + ", this is tree " + authority.tree()
                        + ": an address of another owner's node, or of an old tree");
    }

    private static String time(long millis) {
        return millis == Long.MAX_VALUE ? "ever" : Instant.ofEpochMilli(millis).toString();
    }
}
