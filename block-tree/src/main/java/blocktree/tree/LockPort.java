package blocktree.tree;

/**
 * How the locks of one node's programs and those of other nodes keep out of each other's way: {@link FileLocks} asks here for what it may not give by itself (docs/cluster.md, "Locks of files"). Thread-safe.
 */
public interface LockPort {

    /** Whether what this node was given still counts. Must not wait, nor call back. */
    boolean isValid();

    /** Has the other nodes asked, until the question is answered or {@link LockQuestion#isOver over}. Must not wait. */
    void ask(LockQuestion question);
}
