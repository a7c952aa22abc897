package blocktree.tree;

import blocktree.tree.FileLocks.Kind;
import blocktree.tree.FileLocks.Lock;
import java.util.concurrent.CompletionStage;
import org.jspecify.annotations.Nullable;

/** What {@link FileLocks} asks other nodes for: that no lock of theirs is in the way of one here. Thread-safe. */
public interface LockQuestion {

    /** What an answer is to bring. */
    enum Aim {
        /** The lock, when nothing is in its way any more. */
        WAIT,
        /** The lock, if nothing is in its way now. */
        TRY,
        /** What is in its way; no lock. */
        TEST
    }

    long inode();

    Kind kind();

    long start();

    /** Included. */
    long end();

    boolean exclusive();

    Aim aim();

    /** Whether nobody waits for the answer. */
    boolean isOver();

    /** Runs {@code action} once nobody waits for the answer any more, maybe at once. It must not wait. */
    void onOver(Runnable action);

    /** The question is about to be sent, maybe once more: what this node gives up from now on overtakes the answer. */
    void begin();

    /**
     * Nothing of other nodes is in the way of locks of {@code from} to {@code to}, until it is lent or given up. Not for a {@link Aim#TEST}.
     *
     * @param exclusive whether exclusive locks may be taken there, too
     * @param fresh whoever waited for a lock is told when this is complete, however it ends: what others wrote under theirs is to be seen
     * @return false when this node has given something of the file up since {@link #begin}: the answer counts for nothing
     */
    boolean given(long from, long to, boolean exclusive, CompletionStage<?> fresh);

    /** As {@link #given}, of all files. */
    boolean givenEverything(CompletionStage<?> fresh);

    /** This lock of another node is in the way; null, as the answer to a {@link Aim#TEST} only: none is. */
    void denied(@Nullable Lock lock);

    void failed(FileSystemException failure);
}
