package blocktree.btmsg.session;

import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A message that a service has to answer, or, when it is one-way, to take note of. Thread-safe. */
public final class Call {
    private static final Logger log = LoggerFactory.getLogger(Call.class);

    private final PeerIdentity caller;
    private final String service;
    private final byte[] body;
    private final boolean oneWay;
    private final long deadlineNanos;

    // guarded by this
    private boolean cancelled;
    private @Nullable Runnable onCancel;

    Call(PeerIdentity caller, String service, byte[] body, boolean oneWay, long deadlineNanos) {
        this.caller = caller;
        this.service = service;
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

    /** Has {@code action} run once nobody waits, at once when that is so already; it must not block. What it throws is logged. */
    public void onCancel(Runnable action) {
        synchronized (this) {
            if (!cancelled) {
                onCancel = action;
                return;
            }
        }
        run(action);
    }

    /** A service's bug stops neither who has cancelled nor the other calls that end with a session. */
    private void run(Runnable action) {
        try {
            action.run();
        } catch (RuntimeException | Error e) {
            log.atError().addKeyValue("service", service).setCause(e).log("service_failed");
        }
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
            run(action);
        }
    }
}
