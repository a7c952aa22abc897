package blocktree.fuse;

import java.util.Collection;
import java.util.Collections;
import java.util.PriorityQueue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The requests of a mount that wait for the store or for another mount's kernel. They hold no thread, and count as pending: each is answered in time, when what it waits for has come or by the watch, or at the end. The kernel
 * bounds how many there are: each is a program that waits, or one of the few reads and writes that it has under way in the background. What they need of libfuse has to outlive them. Thread-safe.
 */
final class WaitingRequests {
    private final OperationMetrics metrics;

    /** Those that were claimed stay until they are answered, unless a thread has taken them. */
    private final Set<WaitingRequest> all = ConcurrentHashMap.newKeySet();

    /** Those that threads shall take, the oldest first; guarded by this. */
    private final PriorityQueue<ParkedRequest> ready =
            new PriorityQueue<>((one, other) -> Long.signum(one.cameNanos - other.cameNanos));

    private volatile boolean hasReady;

    WaitingRequests(OperationMetrics metrics) {
        this.metrics = metrics;
    }

    /**
     * Has a request answered when {@code event} is complete, on the thread that completes it.
     *
     * @param reply is given what the event failed with, or null, and sends the answer; it returns whether that is an error
     */
    void answerAfter(CompletableFuture<?> event, WaitingRequest request, Reply reply) {
        all.add(request);
        var unused = event.whenComplete((result, failure) -> {
            if (request.claim()) {
                boolean failed = true;
                try {
                    failed = reply.send(failure);
                } finally {
                    answered(request, failed);
                }
            }
        });
    }

    interface Reply {
        boolean send(@Nullable Throwable failure);
    }

    /**
     * Has a request handled by a thread when {@code event} is complete, however that ends.
     *
     * @param whenFirst called when there is one to {@link #next take}, and there was none before
     */
    void park(ParkedRequest request, CompletableFuture<?> event, Runnable whenFirst) {
        all.add(request);
        var unused = event.whenComplete((result, failure) -> {
            boolean first;
            synchronized (this) {
                first = ready.isEmpty();
                ready.add(request);
                hasReady = true;
            }
            if (first) {
                whenFirst.run();
            }
        });
    }

    /** Whether there is something to {@link #next take}. */
    boolean hasReady() {
        return hasReady;
    }

    /** What was parked and can be handled, which is the caller's to do; null when there is nothing. */
    @Nullable
    ParkedRequest next() {
        if (!hasReady) {
            return null;
        }
        synchronized (this) {
            ParkedRequest next = ready.poll();
            while (next != null && !next.claim()) {
                next = ready.poll();
            }
            hasReady = !ready.isEmpty();
            if (next != null) {
                all.remove(next);
            }
            return next;
        }
    }

    Collection<WaitingRequest> all() {
        return Collections.unmodifiableSet(all);
    }

    /** Answers a request with an error; false when somebody else answers it. */
    boolean refuse(WaitingRequest request, int errno) {
        if (!request.claim()) {
            return false;
        }
        try {
            request.refuse(errno);
        } finally {
            answered(request, true);
        }
        return true;
    }

    private void answered(WaitingRequest request, boolean failed) {
        metrics.finished(request.operation, failed, System.nanoTime() - request.cameNanos);
        synchronized (this) {
            all.remove(request);
            notifyAll();
        }
    }

    /** The mount is gone, and no thread is left to take any: answers all, and waits for those who are answering one. */
    void end() {
        for (WaitingRequest request : all) {
            refuse(request, Errno.ENOTCONN);
        }
        boolean interrupted = false;
        synchronized (this) {
            while (!all.isEmpty()) {
                try {
                    wait(TimeUnit.SECONDS.toMillis(1));
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
