package blocktree.btmsg.session;

import java.net.InetAddress;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/** Connections that others have opened and that have no session yet, bounded in all and for each address. Thread-safe. */
final class HalfOpen {
    private final int max;
    private final int perAddressMax;

    // guarded by this
    private final Map<InetAddress, Integer> byAddress = new HashMap<>();
    private int all;

    HalfOpen(int max, int perAddressMax) {
        this.max = max;
        this.perAddressMax = perAddressMax;
    }

    /** A place, or null when there is none; who runs the result gives it back, once however often it is run. */
    synchronized @Nullable Runnable enter(InetAddress address) {
        int here = byAddress.getOrDefault(address, 0);
        if (all >= max || here >= perAddressMax) {
            return null;
        }
        all++;
        byAddress.put(address, here + 1);
        AtomicBoolean left = new AtomicBoolean();
        return () -> {
            if (left.compareAndSet(false, true)) {
                leave(address);
            }
        };
    }

    private synchronized void leave(InetAddress address) {
        all--;
        byAddress.computeIfPresent(address, (a, count) -> count == 1 ? null : count - 1);
    }

    synchronized int count() {
        return all;
    }
}
