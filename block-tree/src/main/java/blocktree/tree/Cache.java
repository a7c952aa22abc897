package blocktree.tree;

import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;

/**
 * Counts the memory of clean and dirty pieces and evicts clean ones beyond the bound, oldest first with a second chance for those in use (CLOCK). Thread-safe; its monitor is a leaf
 * of the lock order and is held for queue operations only.
 */
final class Cache {
    private final long cleanBytesMax;
    private final AtomicLong cleanBytes = new AtomicLong();
    private final AtomicLong dirtyBytes = new AtomicLong();
    private final LongAdder hits = new LongAdder();
    private final LongAdder misses = new LongAdder();
    /** Guarded by this. May hold pieces that became dirty, which are skipped when met, but none that are evicted: these would keep their memory. */
    private final Set<CachedPiece> queue = new LinkedHashSet<>();

    Cache(long cleanBytesMax) {
        this.cleanBytesMax = cleanBytesMax;
    }

    long cleanBytes() {
        return cleanBytes.get();
    }

    /** Bytes of pieces that are DIRTY or FLUSHING. */
    long dirtyBytes() {
        return dirtyBytes.get();
    }

    /** A piece that was wanted is in memory. */
    void found(CachedPiece piece) {
        piece.touched = true;
        hits.increment();
    }

    /** Pieces that were wanted and in memory. */
    long hits() {
        return hits.sum();
    }

    /** Pieces that were wanted and had to be loaded. */
    long misses() {
        return misses.sum();
    }

    /** A piece is loaded, from LOADING. */
    void loaded(CachedPiece piece) {
        misses.increment();
        becomeClean(piece);
    }

    /** A new piece that exists in memory only. */
    void created(CachedPiece piece) {
        dirtyBytes.addAndGet(piece.sizeBytes());
        piece.state(CachedPiece.DIRTY);
    }

    /** Claims a clean piece for writing; false when it was evicted. The caller excludes other writers of the piece. */
    boolean makeDirty(CachedPiece piece) {
        if (piece.leaveClean(CachedPiece.DIRTY)) {
            cleanBytes.addAndGet(-piece.sizeBytes());
            dirtyBytes.addAndGet(piece.sizeBytes());
            return true;
        }
        return piece.state() == CachedPiece.DIRTY;
    }

    /** A piece that was FLUSHING is committed and unchanged since. */
    void flushed(CachedPiece piece) {
        dirtyBytes.addAndGet(-piece.sizeBytes());
        becomeClean(piece);
    }

    /** Drops a DIRTY or FLUSHING piece that nobody needs any more; the caller took it out of its owner. */
    void discardDirty(CachedPiece piece) {
        dirtyBytes.addAndGet(-piece.sizeBytes());
        piece.state(CachedPiece.EVICTED);
        unqueue(piece);
    }

    /** Drops a piece if it is clean. */
    boolean evict(CachedPiece piece) {
        if (!piece.leaveClean(CachedPiece.EVICTED)) {
            return false;
        }
        cleanBytes.addAndGet(-piece.sizeBytes());
        unqueue(piece);
        piece.evicted();
        return true;
    }

    private void becomeClean(CachedPiece piece) {
        cleanBytes.addAndGet(piece.sizeBytes());
        piece.touched = false;
        piece.state(CachedPiece.CLEAN);
        synchronized (this) {
            // Somebody may have evicted it already.
            if (piece.state() == CachedPiece.CLEAN) {
                queue.add(piece);
            }
        }
        while (cleanBytes.get() > cleanBytesMax) {
            CachedPiece victim = next();
            if (victim == null) {
                return;
            }
            evict(victim);
        }
    }

    /** The next piece to evict; null when the queue holds none. */
    private synchronized @Nullable CachedPiece next() {
        for (int left = 2 * queue.size(); left > 0; left--) {
            Iterator<CachedPiece> oldest = queue.iterator();
            if (!oldest.hasNext()) {
                return null;
            }
            CachedPiece piece = oldest.next();
            oldest.remove();
            if (piece.state() == CachedPiece.CLEAN) {
                if (!piece.touched) {
                    return piece;
                }
                piece.touched = false;
                queue.add(piece);
            }
        }
        return null;
    }

    private synchronized void unqueue(CachedPiece piece) {
        queue.remove(piece);
    }

    synchronized int queuedCount() {
        return queue.size();
    }
}
