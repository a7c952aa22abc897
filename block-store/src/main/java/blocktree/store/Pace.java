package blocktree.store;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Slows background work down to a rate, and ends it: every wait returns at once when {@link #stop} is called. Work may run ahead of the
 * rate by a quarter of a second, so that it can be done in batches.
 */
final class Pace {

    private static final long BURST_NANOS = TimeUnit.MILLISECONDS.toNanos(250);

    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final long unitsPerSecond;
    private long paidUntilNanos; // guarded by lock
    private boolean woken; // guarded by lock
    private volatile boolean stopped;

    /** {@code unitsPerSecond} of at least 1; Long.MAX_VALUE for no limit. */
    Pace(long unitsPerSecond) {
        if (unitsPerSecond < 1) {
            throw new IllegalArgumentException("a rate is at least 1 per second, not " + unitsPerSecond);
        }
        this.unitsPerSecond = unitsPerSecond;
        this.paidUntilNanos = System.nanoTime();
    }

    boolean isStopped() {
        return stopped;
    }

    /** Accounts for {@code units} that were done, and waits as long as the rate asks for. False when the work is to end. */
    boolean spend(long units) {
        if (unitsPerSecond == Long.MAX_VALUE || stopped) {
            return !stopped;
        }
        lock.lock();
        try {
            long now = System.nanoTime();
            long cost = (long) ((double) units / unitsPerSecond * TimeUnit.SECONDS.toNanos(1));
            paidUntilNanos = Math.max(paidUntilNanos, now) + cost;
            return await(paidUntilNanos - now - BURST_NANOS, false);
        } finally {
            lock.unlock();
        }
    }

    /** Waits for the time, {@link #wake} or {@link #stop}. False when the work is to end. */
    boolean idle(long millis) {
        lock.lock();
        try {
            return await(TimeUnit.MILLISECONDS.toNanos(millis), true);
        } finally {
            woken = false;
            lock.unlock();
        }
    }

    private boolean await(long nanos, boolean untilWoken) {
        long left = nanos;
        while (left > 0 && !stopped && !(untilWoken && woken)) {
            try {
                left = changed.awaitNanos(left);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                stopped = true;
            }
        }
        return !stopped;
    }

    /** Ends the current or next {@link #idle}. */
    void wake() {
        lock.lock();
        try {
            woken = true;
            changed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    void stop() {
        stopped = true;
        wake();
    }
}
