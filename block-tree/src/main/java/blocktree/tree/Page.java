package blocktree.tree;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * One sector of a file in memory. Reference counted, since its buffer is used again: the file's map holds one reference, a commit under way one, and whoever copies from it one. Content changes under the inode's
 * exclusive lock and only while DIRTY.
 */
final class Page extends CachedPiece {
    final FilePayload owner;
    final long index;
    final byte[] data;
    private final BufferPool pool;
    private final AtomicInteger references = new AtomicInteger(1);

    Page(FilePayload owner, long index, byte[] data, BufferPool pool) {
        super(LOADING);
        this.owner = owner;
        this.index = index;
        this.data = data;
        this.pool = pool;
    }

    /** Keeps the buffer from being used again; false when it is too late. */
    boolean tryRetain() {
        while (true) {
            int count = references.get();
            if (count == 0) {
                return false;
            }
            if (references.compareAndSet(count, count + 1)) {
                return true;
            }
        }
    }

    void release() {
        if (references.decrementAndGet() == 0) {
            pool.give(data);
        }
    }

    /** Waits until the thread that loads this page is done, whatever came of it. */
    void awaitLoaded(long timeoutMillis) throws FileSystemException {
        if (state() != LOADING) {
            return;
        }
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(timeoutMillis);
        synchronized (this) {
            while (state() == LOADING) {
                long left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
                if (left <= 0) {
                    throw new FileSystemException(
                            FileSystemException.Code.TIMED_OUT,
                            "sector " + index + " is still being read after " + timeoutMillis + " ms");
                }
                try {
                    wait(left);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new FileSystemException(FileSystemException.Code.TIMED_OUT, "interrupted", e);
                }
            }
        }
    }

    synchronized void loadEnded() {
        notifyAll();
    }

    @Override
    int sizeBytes() {
        return data.length;
    }

    @Override
    void evicted() {
        owner.remove(this);
        release();
    }
}
