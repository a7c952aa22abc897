package blocktree.fuse;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.LongConsumer;

/** Answers that are sent later: when another mount's kernel has taken note, or a lock is granted, however long that takes. libfuse's session has to outlive them. Thread-safe. See {@link WaitingRequests} for requests that are to end in time. */
final class DeferredReplies {
    private int count;

    /**
     * Answers libfuse's request {@code handle} when {@code awaited} is complete, however that ends.
     *
     * @param reply is given the handle, and sends the answer
     */
    void answerAfter(CompletableFuture<?> awaited, long handle, LongConsumer reply) {
        synchronized (this) {
            count++;
        }
        var unused = awaited.whenComplete((result, failure) -> {
            try {
                reply.accept(handle);
            } finally {
                synchronized (this) {
                    count--;
                    notifyAll();
                }
            }
        });
    }

    synchronized int count() {
        return count;
    }

    /** Waits until all are answered, which whoever completes what they wait for has to see to. */
    synchronized void awaitNone() {
        boolean interrupted = false;
        while (count > 0) {
            try {
                wait(TimeUnit.SECONDS.toMillis(1));
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
