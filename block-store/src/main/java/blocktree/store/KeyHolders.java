package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.PrincipalId;

/**
 * Whose keys a store asks for.
 *
 * @param authority the records of the log
 * @param node the node that keeps the store
 */
public record KeyHolders(Authority authority, PrincipalId node) {

    /** Whether {@code principal} is a root principal in force. */
    public boolean isRoot(PrincipalId principal) {
        return authority.isRoot(principal);
    }

    /** The root principal in force; of several, the first. */
    public PrincipalId root() {
        return authority.roots().get(0).id();
    }

    /** Whether {@code principal} held a capability, as a node that kept the store does, and does not keep it any more. */
    public boolean isReplacedNode(PrincipalId principal) {
        return !principal.equals(node) && !authority.chainsOf(principal).isEmpty();
    }

    /** Whether {@code principal} was a root principal and is none any more. */
    public boolean isRetiredRoot(PrincipalId principal) {
        return authority.wasRoot(principal) && !isRoot(principal);
    }
}
