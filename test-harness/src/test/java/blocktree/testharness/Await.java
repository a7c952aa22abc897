package blocktree.testharness;

import java.time.Duration;
import java.util.concurrent.Callable;

/** Waits for a condition, asking often. */
final class Await {
    private static final long INTERVAL_MILLIS = 10;

    private Await() {}

    /** Fails when {@code what} has not come true in time. */
    static void until(Duration timeout, String what, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + timeout.toNanos();
        while (!condition.call()) {
            if (System.nanoTime() > end) {
                throw new AssertionError("not within " + timeout.toMillis() + " ms: " + what);
            }
            Thread.sleep(INTERVAL_MILLIS);
        }
    }
}
