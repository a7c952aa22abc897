package blocktree.cluster;

import java.util.concurrent.CompletionStage;
import org.jspecify.annotations.Nullable;

/** What a {@link LockTable} has asked of other nodes. Thread-safe. */
public interface LockRequest {

    /** What an answer is to bring. */
    enum Aim {
        /** The range, when nothing is in its way any more. */
        WAIT,
        /** The range, if nothing is in its way now. */
        TRY,
        /** What is in its way. */
        TEST
    }

    /** Why there is no answer. */
    enum Failure {
        TOO_MANY,
        TIMED_OUT
    }

    LockRange range();

    Aim aim();

    /** Whether nobody waits for the answer. */
    boolean isOver();

    /** Runs {@code action} once that is so. It must not wait. */
    void onOver(Runnable action);

    /** It is about to be sent: what the table gives up from now on overtakes the answer. */
    void begin();

    /**
     * The answer: this node has {@code range}, which covers what was asked for; null: it has all there are.
     *
     * @param fresh programs are to be told when this is complete
     * @return false when it was overtaken, and has to be asked for again
     */
    boolean given(@Nullable LockRange range, CompletionStage<?> fresh);

    /** The answer: this is in its way; null: nothing is. */
    void denied(@Nullable LockRange range);

    void failed(Failure failure);
}
