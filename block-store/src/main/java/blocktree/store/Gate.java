package blocktree.store;

import java.util.concurrent.locks.ReentrantReadWriteLock;

/** Lets operations in until it is closed, and closes only when none is inside: RocksDB crashes the process when it is used after. */
final class Gate {

    private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
    private boolean closed; // guarded by lock

    /** Ends an operation. */
    interface Pass extends AutoCloseable {
        @Override
        void close();
    }

    private final Pass pass = () -> lock.readLock().unlock();

    /** CLOSED once the gate is closed. */
    Pass enter() throws StoreException {
        lock.readLock().lock();
        if (closed) {
            lock.readLock().unlock();
            throw new StoreException(StoreException.Code.CLOSED, "the store is closed");
        }
        return pass;
    }

    /** Waits for those inside; true for the first caller. */
    boolean close() {
        lock.writeLock().lock();
        try {
            boolean first = !closed;
            closed = true;
            return first;
        } finally {
            lock.writeLock().unlock();
        }
    }
}
