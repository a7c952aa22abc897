package blocktree.tree;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * A piece of memory that stands for a sector and can be dropped while it is clean.
 *
 * <p>States: LOADING (its content is being fetched), CLEAN (equal to the store, may be evicted at any moment by anyone), DIRTY (newer than the store), FLUSHING (part of the commit
 * under way; the content must not change) and EVICTED (final). The only transition that races is the one out of CLEAN, so it is a compare-and-set: who wins it owns the piece.
 * All others happen under the owning inode's lock, or by the thread that loads.
 */
abstract class CachedPiece {
    static final int LOADING = 0;
    static final int CLEAN = 1;
    static final int DIRTY = 2;
    static final int FLUSHING = 3;
    static final int EVICTED = 4;

    private static final VarHandle STATE;

    static {
        try {
            STATE = MethodHandles.lookup().findVarHandle(CachedPiece.class, "state", int.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private volatile int state;
    /** Used since the cache last looked: gets a second chance. A lost update costs nothing but that chance. */
    volatile boolean touched;

    CachedPiece(int state) {
        this.state = state;
    }

    final int state() {
        return state;
    }

    final void state(int next) {
        state = next;
    }

    final boolean leaveClean(int next) {
        return STATE.compareAndSet(this, CLEAN, next);
    }

    /** Memory taken, in bytes; constant. */
    abstract int sizeBytes();

    /** Called once after the piece became EVICTED: takes it out of its owner. Must not take locks. */
    abstract void evicted();
}
