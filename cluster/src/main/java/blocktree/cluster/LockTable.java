package blocktree.cluster;

import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.jspecify.annotations.Nullable;

/** The locks of one node's programs. Thread-safe; nothing waits. */
public interface LockTable {

    /** A lock of a program, {@code pid} on its node. */
    record HeldLock(LockRange range, int pid, long sinceMillis) {}

    /**
     * Has this node take no lock that is in the way of {@code range}, until it is given it back, once none of its own is.
     *
     * @param waits whether to wait for that; cancelling the future ends it
     * @return completes with null when it is so, else with what is in the way
     */
    CompletableFuture<@Nullable LockRange> lend(LockRange range, boolean waits);

    /** What is in the way of {@code range} here; null when nothing is. */
    @Nullable
    LockRange inTheWay(LockRange range);

    /** Gives up all but what programs hold, and tells what that is. */
    List<LockRange> retreat();

    /** Others may have got what programs hold, which are told so as they use it. Whether there was anything. */
    boolean lose();

    /** Whether nothing is held, and nobody waits. */
    boolean isIdle();

    /** Whether it should {@link #retreat} for want of room. */
    boolean isCrowded();

    List<HeldLock> held();
}
