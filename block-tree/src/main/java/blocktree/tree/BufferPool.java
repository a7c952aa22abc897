package blocktree.tree;

import java.util.ArrayDeque;
import java.util.function.LongSupplier;

/**
 * Byte arrays for pages, used again: keeps a stream from producing hundreds of megabytes of garbage a second. Holds what the caches leave of their bound at the moment, so that it takes no memory
 * of its own. Thread-safe.
 */
final class BufferPool {
    private static final int SIZE_LOG2_MAX = 20;

    private final long bytesMax;
    private final LongSupplier usedBytes;
    /** Guarded by this, as is {@link #heldBytes}; by the binary logarithm of the size. */
    private final ArrayDeque<byte[]>[] free;

    private long heldBytes;

    /** {@code usedBytes} is what pages take now; with what the pool holds it stays within {@code bytesMax}. */
    @SuppressWarnings({"unchecked", "rawtypes"})
    BufferPool(long bytesMax, LongSupplier usedBytes) {
        this.bytesMax = bytesMax;
        this.usedBytes = usedBytes;
        free = new ArrayDeque[SIZE_LOG2_MAX + 1];
        for (int i = 0; i < free.length; i++) {
            free[i] = new ArrayDeque<>();
        }
    }

    /** An array of {@code 1 << sizeLog2} bytes with any content. */
    byte[] take(int sizeLog2) {
        synchronized (this) {
            byte[] buffer = free[sizeLog2].poll();
            if (buffer != null) {
                heldBytes -= buffer.length;
                return buffer;
            }
            makeRoom(1 << sizeLog2);
        }
        return new byte[1 << sizeLog2];
    }

    /** Gives back an array that nobody else refers to. */
    synchronized void give(byte[] buffer) {
        if (heldBytes + usedBytes.getAsLong() + buffer.length <= bytesMax) {
            heldBytes += buffer.length;
            free[Integer.numberOfTrailingZeros(buffer.length)].push(buffer);
        }
    }

    /** Lets go of arrays of other sizes, for a new one. */
    private void makeRoom(int sizeBytes) {
        long excess = heldBytes + usedBytes.getAsLong() + sizeBytes - bytesMax;
        for (int log2 = SIZE_LOG2_MAX; log2 >= 0 && excess > 0 && heldBytes > 0; log2--) {
            while (excess > 0 && free[log2].poll() != null) {
                heldBytes -= 1L << log2;
                excess -= 1L << log2;
            }
        }
    }

    synchronized long heldBytes() {
        return heldBytes;
    }
}
