package blocktree.tree;

/**
 * Asked before each operation that changes the tree, and told after it: a node among several changes it only while it may. No lock is held then. Thread-safe.
 *
 * <p>What is committed later of a change is not asked about: whoever closes the gate has {@link TreeFileSystem#settle} see to that. Nor is the deletion of a file that this node has taken the last name from, when the last program here
 * closes it: its block is nobody else's.
 */
public interface ChangeGate {
    /** A lone node's. */
    ChangeGate OPEN = new ChangeGate() {
        @Override
        public void enter() {}

        @Override
        public void leave() {}
    };

    /** Returns once the tree may be changed, until {@link #leave}, which follows in any case. READ_ONLY or TIMED_OUT when it may not; then nothing follows. */
    void enter() throws FileSystemException;

    /** The change is made, or was given up. */
    void leave();

    /**
     * Has another node that may change the tree commit what it has changed so far, and returns when that is here: before a file is opened, a directory is listed, or a name is said not to be there. Where
     * that node is not reached, what is here has to do. Whether anything can have come; false at once where nobody else may change the tree.
     */
    default boolean refresh() {
        return false;
    }
}
