package blocktree.cluster;

import static org.junit.jupiter.api.Assertions.fail;

import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;

/** Waits for what other threads bring about. */
public final class Eventually {

    private Eventually() {}

    /** The first value of {@code condition} that is not null; fails when none comes in time. */
    public static <T> T await(String what, long patienceMillis, Callable<@Nullable T> condition) throws Exception {
        long deadlineNanos = System.nanoTime() + patienceMillis * 1_000_000;
        while (System.nanoTime() < deadlineNanos) {
            T value = condition.call();
            if (value != null) {
                return value;
            }
            Thread.sleep(5);
        }
        return fail("not within " + patienceMillis + " ms: " + what);
    }
}
