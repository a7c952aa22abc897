package blocktree.store;

import blocktree.crypto.BlockId;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.lang.ref.WeakReference;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * Which generations are held open by somebody, so that the {@link Collector} leaves them alone. A generation stays open as long as an
 * object given to {@link #register} is reachable.
 *
 * <p>The argument for its correctness: a reader holds {@link #reading} from before it reads a header until it has registered what it
 * made of it. The collector {@linkplain #condemn condemns} a generation while no such window is open, then deletes it, and takes the
 * condemnation back only when no window is open again. So a reader that saw the header before the deletion either registered before
 * the condemnation, which then fails, or meets the condemnation when it registers.
 */
final class OpenGenerations {

    private static final int ATTEMPTS_MAX = 20;
    private static final long ATTEMPT_NANOS = 50_000;
    private static final long QUEUED_MILLIS_MAX = 20;

    /** A generation of a block. */
    record Generation(BlockId block, long generation) {}

    private final ReadWriteLock window = new ReentrantReadWriteLock();
    private final Map<Generation, Integer> open = new HashMap<>(); // guarded by itself
    private final Set<Generation> condemned = new HashSet<>(); // guarded by open
    private final ReferenceQueue<Object> unreachable = new ReferenceQueue<>();
    private final Set<Handle> handles = new HashSet<>(); // guarded by open

    private static final class Handle extends WeakReference<Object> {

        private final Generation generation;

        Handle(Object holder, ReferenceQueue<Object> queue, Generation generation) {
            super(holder, queue);
            this.generation = generation;
        }
    }

    /** Opens the window in which a header is read and registered: lock it before the first, unlock it after the second. */
    Lock reading() {
        return window.readLock();
    }

    /**
     * Keeps a generation for as long as {@code holder} is reachable. False when it is being deleted: what was read of it is no longer
     * whole, and a caller that wants the newest generation reads again.
     */
    boolean register(Object holder, BlockId block, long generation) {
        Generation key = new Generation(block, generation);
        synchronized (open) {
            dropUnreachable();
            if (condemned.contains(key)) {
                return false;
            }
            Handle handle = new Handle(holder, unreachable, key);
            handles.add(handle);
            open.merge(key, 1, Integer::sum);
            return true;
        }
    }

    /**
     * True, and the generation can no longer be opened, when nobody holds it. False also while readers are in their windows: waiting
     * for them would make every new reader wait for the slowest of them.
     */
    boolean condemn(Generation generation) {
        if (!tryCloseWindow()) {
            return false;
        }
        try {
            synchronized (open) {
                dropUnreachable();
                if (open.containsKey(generation)) {
                    return false;
                }
                condemned.add(generation);
                return true;
            }
        } finally {
            window.writeLock().unlock();
        }
    }

    /**
     * After the headers of the condemned generations have been deleted, or the deletion was given up. While readers are in their
     * windows it is left to the next call.
     */
    void releaseCondemned() {
        if (!tryCloseWindow()) {
            return;
        }
        try {
            synchronized (open) {
                condemned.clear();
            }
        } finally {
            window.writeLock().unlock();
        }
    }

    /**
     * Has the garbage collector look for holders that are not reachable any more: in a process with little to do they stay for hours
     * otherwise.
     */
    void letGo() {
        System.gc();
        try {
            for (Reference<?> next = awaited(); next != null; next = awaited()) {
                synchronized (open) {
                    drop(next);
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** References are queued a little after the collection that cleared them. */
    private @Nullable Reference<?> awaited() throws InterruptedException {
        return unreachable.remove(QUEUED_MILLIS_MAX);
    }

    /** Takes the write lock without queueing for it: a queued writer would hold up readers. */
    private boolean tryCloseWindow() {
        for (int attempt = 1; !window.writeLock().tryLock(); attempt++) {
            if (attempt == ATTEMPTS_MAX) {
                return false;
            }
            LockSupport.parkNanos(ATTEMPT_NANOS);
        }
        return true;
    }

    /** How many generations are open; for tests and metrics. */
    int size() {
        synchronized (open) {
            dropUnreachable();
            return open.size();
        }
    }

    private void dropUnreachable() {
        for (Reference<?> next = unreachable.poll(); next != null; next = unreachable.poll()) {
            drop(next);
        }
    }

    private void drop(Reference<?> cleared) {
        if (cleared instanceof Handle handle && handles.remove(handle)) {
            open.computeIfPresent(handle.generation, (k, count) -> count == 1 ? null : count - 1);
        }
    }
}
