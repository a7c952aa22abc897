package blocktree.tree;

import java.util.ArrayDeque;

/** Byte arrays for pages, used again: keeps a stream from producing hundreds of megabytes of garbage a second. Thread-safe. */
final class BufferPool {
    private final long heldBytesMax;
    /** Guarded by this, as is {@link #heldBytes}; by the binary logarithm of the size. */
    private final ArrayDeque<byte[]>[] free;

    private long heldBytes;

    @SuppressWarnings({"unchecked", "rawtypes"})
    BufferPool(long heldBytesMax) {
        this.heldBytesMax = heldBytesMax;
        free = new ArrayDeque[21];
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
        }
        return new byte[1 << sizeLog2];
    }

    /** Gives back an array that nobody else refers to. */
    synchronized void give(byte[] buffer) {
        if (heldBytes + buffer.length <= heldBytesMax) {
            heldBytes += buffer.length;
            free[Integer.numberOfTrailingZeros(buffer.length)].push(buffer);
        }
    }
}
