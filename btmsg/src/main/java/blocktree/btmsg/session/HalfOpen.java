package blocktree.btmsg.session;

import java.net.InetAddress;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.jspecify.annotations.Nullable;

/**
 * Connections that others have opened and that nobody has been welcomed on yet, bounded in all and for each address. Of IPv6 addresses
 * a network of 64 bits counts as one: whoever has one has them all. Thread-safe.
 */
final class HalfOpen {
    private static final int NETWORK_SIZE_BYTES = 8;

    private final int max;
    private final int perAddressMax;

    // guarded by this
    private final Map<ByteBuffer, Integer> byNetwork = new HashMap<>();
    private int all;

    HalfOpen(int max, int perAddressMax) {
        this.max = max;
        this.perAddressMax = perAddressMax;
    }

    /** A place, or null when there is none; who runs the result gives it back, once however often it is run. */
    synchronized @Nullable Runnable enter(InetAddress address) {
        byte[] bytes = address.getAddress();
        ByteBuffer network = ByteBuffer.wrap(bytes, 0, Math.min(bytes.length, NETWORK_SIZE_BYTES));
        int here = byNetwork.getOrDefault(network, 0);
        if (all >= max || here >= perAddressMax) {
            return null;
        }
        all++;
        byNetwork.put(network, here + 1);
        AtomicBoolean left = new AtomicBoolean();
        return () -> {
            if (left.compareAndSet(false, true)) {
                leave(network);
            }
        };
    }

    private synchronized void leave(ByteBuffer network) {
        all--;
        byNetwork.computeIfPresent(network, (n, count) -> count == 1 ? null : count - 1);
    }

    synchronized int count() {
        return all;
    }
}
