package blocktree.store;

import java.nio.ByteBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Direct memory for the sealed sectors of commits, in slabs that are used again: a fresh direct buffer costs more than the cipher.
 * Thread-safe.
 */
final class Slabs {

    private static final int SLAB_SIZE = 4 << 20;

    /** Most slabs that are kept for the next commit. */
    private static final int KEPT_MAX = 8;

    private final Deque<ByteBuffer> kept = new ArrayDeque<>(); // guarded by this

    private synchronized ByteBuffer take() {
        ByteBuffer slab = kept.pollFirst();
        return slab == null ? ByteBuffer.allocateDirect(SLAB_SIZE) : slab;
    }

    private synchronized void giveBack(ByteBuffer slab) {
        if (kept.size() < KEPT_MAX) {
            kept.addFirst(slab);
        }
    }

    /** Memory of one commit, given back as a whole. Thread-safe. */
    final class Lease {

        private final List<ByteBuffer> slabs = new ArrayList<>(); // guarded by this
        private @Nullable ByteBuffer current; // guarded by this
        private int used; // guarded by this
        private long total; // guarded by this

        /** A copy of {@code size} bytes, valid until the lease is closed. */
        ByteBuffer copy(byte[] source, int size) {
            ByteBuffer slab;
            int offset;
            synchronized (this) {
                slab = current;
                if (slab == null || SLAB_SIZE - used < size) {
                    slab = take();
                    slabs.add(slab);
                    current = slab;
                    used = 0;
                }
                offset = used;
                used += size;
                total += size;
            }
            slab.put(offset, source, 0, size);
            return slab.slice(offset, size);
        }

        synchronized long sizeBytes() {
            return total;
        }

        synchronized void close() {
            slabs.forEach(Slabs.this::giveBack);
            slabs.clear();
            current = null;
        }
    }

    Lease lease() {
        return new Lease();
    }
}
