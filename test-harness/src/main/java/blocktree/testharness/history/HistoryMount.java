package blocktree.testharness.history;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * One node's mount, which clients use and which goes away with its node. While nothing is mounted, clients wait: what they would see is the directory
 * below.
 */
final class HistoryMount {
    private final int node;
    private final String directory;
    private final ReentrantReadWriteLock gate = new ReentrantReadWriteLock();
    private volatile boolean going;

    HistoryMount(int node, String directory) {
        this.node = node;
        this.directory = directory;
    }

    int node() {
        return node;
    }

    /** Where the names are. */
    String directory() {
        return directory;
    }

    /** Runs {@code step} while the mount is there. */
    void use(Runnable step) {
        gate.readLock().lock();
        try {
            step.run();
        } finally {
            gate.readLock().unlock();
        }
    }

    /** Whether the node is being killed, so that nothing is to be concluded from what is not there. */
    boolean isGoing() {
        return going;
    }

    /** Before the node is killed. */
    void goes() {
        going = true;
    }

    /** After it was killed: returns when no client is inside any more, by the thread that calls {@link #isBack} later. */
    void awaitUnused(long timeoutMillis) throws InterruptedException, TimeoutException {
        if (!gate.writeLock().tryLock(timeoutMillis, TimeUnit.MILLISECONDS)) {
            throw new TimeoutException("a client is still inside a call on the mount of node " + node);
        }
    }

    /** Clients go on. */
    void isBack() {
        going = false;
        gate.writeLock().unlock();
    }
}
