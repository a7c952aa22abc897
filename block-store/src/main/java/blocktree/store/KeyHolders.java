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
        return authority.roots().stream().anyMatch(root -> root.id().equals(principal));
    }

    /** Whether {@code principal} was a root principal and is none any more. */
    public boolean isRetiredRoot(PrincipalId principal) {
        return authority.wasRoot(principal) && !isRoot(principal);
    }
}
