package blocktree.store;

/** Takes all that the log of a store can hold, as a cluster does that puts it in one order for all its nodes. Thread-safe. */
public interface LogPort extends CommitPort {

    /** Bound on the bytes of a change. */
    int CHANGE_SIZE_MAX = 16 << 20;

    /**
     * Takes what is no commit: records of authority that come into force together, the beginning or the end of a snapshot, in the bytes that {@link
     * ReplicatedLog#applyChange} takes. Returns once it is applied here, and on the devices of so many nodes that it stays.
     *
     * @throws StoreException the tree does not take it ({@link StoreException#isRefusal}), or CLOSED
     */
    Placed change(byte[] change) throws StoreException;
}
