package blocktree.btmsg.session;

import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** A message that a service has to answer, or, when it is one-way, to take note of. Thread-safe. */
public final class Call {
    private final PeerIdentity caller;
    private final byte[] body;
    private final boolean oneWay;
    private final long deadlineNanos;

    // guarded by this
    private boolean cancelled;
    private @Nullable Runnable onCancel;

    Call(PeerIdentity caller, byte[] body, boolean oneWay, long deadlineNanos) {
        this.caller = caller;
        this.body = body;
        this.oneWay = oneWay;
        this.deadlineNanos = deadlineNanos;
    }

    public PeerIdentity caller() {
        return caller;
    }

    /** The message's bytes, not copied: they are the service's own. */
    public byte[] body() {
        return body;
    }

    /** Whether no reply will be sent. */
    public boolean isOneWay() {
        return oneWay;
    }

    /** Until nobody waits for the reply any more; 0 afterwards. */
    public long remainingMillis() {
        return Math.max(0, TimeUnit.NANOSECONDS.toMillis(deadlineNanos - System.nanoTime()));
    }

    /** Whether nobody waits for the reply: the caller has said so, its deadline has passed, or the session is over. */
    public synchronized boolean isCancelled() {
        return cancelled;
    }

    /** Has {@code action} run once nobody waits, at once when that is so already; it must not block. */
    public void onCancel(Runnable action) {
        synchronized (this) {
            if (!cancelled) {
                onCancel = action;
                return;
            }
        }
        action.run();
    }

    void cancel() {
        Runnable action;
        synchronized (this) {
            if (cancelled) {
                return;
            }
            cancelled = true;
            action = onCancel;
        }
        if (action != null) {
            action.run();
        }
    }

    long deadlineNanos() {
        return deadlineNanos;
    }
}
