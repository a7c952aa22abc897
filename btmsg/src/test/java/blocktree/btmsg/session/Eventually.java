package blocktree.btmsg.session;

import static org.junit.jupiter.api.Assertions.fail;

import java.util.function.BooleanSupplier;

/** Waits for what other threads do. */
final class Eventually {
    private static final long PATIENCE_MILLIS = 20_000;

    private Eventually() {}

    static void assertEventually(BooleanSupplier condition, String what) throws InterruptedException {
        long deadlineNanos = System.nanoTime() + PATIENCE_MILLIS * 1_000_000;
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadlineNanos) {
                fail("not within " + PATIENCE_MILLIS + " ms: " + what);
            }
            Thread.sleep(5);
        }
    }
}
