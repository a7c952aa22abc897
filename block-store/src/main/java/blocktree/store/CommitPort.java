package blocktree.store;

/**
 * Takes sealed commits: orders them in the tree's log, or refuses them. A lone node's own ledger is one; a cluster is another. Knows no
 * plaintext. Thread-safe.
 */
public interface CommitPort {

    /** Where in the log, and at what log time, a commit came to lie. */
    record Placed(long position, long timeMillis) {}

    /**
     * Verifies and takes a commit. With {@code sync} it is on the device when this returns.
     *
     * @throws StoreException CONFLICT when a header does not follow the newest one, DENIED when its writer may not do this, INVALID
     *     when it is not well-formed or its parts do not fit together; nothing has changed then
     */
    Placed commit(SealedCommit commit, boolean sync) throws StoreException;
}
