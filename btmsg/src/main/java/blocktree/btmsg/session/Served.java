package blocktree.btmsg.session;

import java.util.HashMap;
import java.util.Map;

/**
 * What one peer has this node do, over all its sessions: handlers go on when the session ends that has asked for them, and a peer that
 * comes back again and again would otherwise have any number of them. Thread-safe.
 */
final class Served {

    /** Twice what may be open: a stream is over for its opener before the handler here has noticed. */
    static final int STREAM_HANDLERS_MAX = 2 * StreamLane.STREAMS_MAX;

    private final Budget messages;
    private final Runnable whenNothing;

    // guarded by this
    private final Map<String, Integer> shares = new HashMap<>();
    private int streams;

    /** Runs {@code whenNothing} each time when nothing is under way any more. */
    Served(Limits limits, Runnable whenNothing) {
        this.messages = new Budget(limits.requestsMax(), limits.requestBytesMax());
        this.whenNothing = whenNothing;
    }

    /** False when as much is under way as may be, in all or for the service. */
    synchronized boolean takeMessage(Service service, long sizeBytes) {
        int share = shares.getOrDefault(service.name(), 0);
        if (share >= service.underWayMax() || !messages.take(sizeBytes)) {
            return false;
        }
        shares.put(service.name(), share + 1);
        return true;
    }

    void giveMessageBack(Service service, long sizeBytes) {
        synchronized (this) {
            messages.giveBack(sizeBytes);
            shares.computeIfPresent(service.name(), (name, share) -> share == 1 ? null : share - 1);
        }
        checkWhetherNothing();
    }

    /** A handler of a stream; false when there are as many as there may be. */
    synchronized boolean takeStream() {
        if (streams >= STREAM_HANDLERS_MAX) {
            return false;
        }
        streams++;
        return true;
    }

    void giveStreamBack() {
        synchronized (this) {
            streams--;
        }
        checkWhetherNothing();
    }

    private void checkWhetherNothing() {
        if (isNothing()) {
            whenNothing.run();
        }
    }

    synchronized boolean isNothing() {
        return streams == 0 && messages.count() == 0;
    }
}
