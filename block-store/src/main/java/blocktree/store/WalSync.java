package blocktree.store;

import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * One sync of the write-ahead log for all callers that wait at the same time. A caller takes a ticket after its write; the sync that
 * begins next covers all tickets taken by then. Thread-safe.
 */
final class WalSync {

    /** Syncs the log; not called by two threads at once. */
    @FunctionalInterface
    interface Syncer {
        void sync() throws StoreException;
    }

    private final Syncer syncer;
    private final AtomicLong written = new AtomicLong();
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition finished = lock.newCondition();
    private long synced; // guarded by lock
    private boolean syncing; // guarded by lock
    private long syncs; // guarded by lock

    WalSync(Syncer syncer) {
        this.syncer = syncer;
    }

    /** Call after a write has been handed to the database. */
    long ticket() {
        return written.incrementAndGet();
    }

    long newestTicket() {
        return written.get();
    }

    /** Number of syncs so far. */
    long count() {
        lock.lock();
        try {
            return syncs;
        } finally {
            lock.unlock();
        }
    }

    /** What had been written when {@code ticket} was taken is on the device when this returns. */
    void await(long ticket) throws StoreException {
        lock.lock();
        try {
            while (synced < ticket) {
                if (syncing) {
                    finished.awaitUninterruptibly();
                    continue;
                }
                syncing = true;
                long covered = written.get();
                lock.unlock();
                boolean done = false;
                try {
                    syncer.sync();
                    done = true;
                } finally {
                    lock.lock();
                    syncing = false;
                    if (done) {
                        synced = covered;
                        syncs++;
                    }
                    finished.signalAll();
                }
            }
        } finally {
            lock.unlock();
        }
    }
}
