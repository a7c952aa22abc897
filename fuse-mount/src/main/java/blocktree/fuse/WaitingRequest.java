package blocktree.fuse;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.IntConsumer;

/** A request that has left its thread unfinished. It belongs to whoever claims it, who has to see that it is answered. Thread-safe. */
class WaitingRequest {
    /** When the kernel sent it, by {@link System#nanoTime}. */
    final long cameNanos;

    final Operation operation;

    private final IntConsumer refusal;
    private final AtomicBoolean claimed = new AtomicBoolean();

    /** It was reported as slow; written by the watch, or before anybody else knows the request. */
    volatile boolean reported;

    /** Its time had passed before it left its thread: the watch has answered it. Written before anybody else knows the request. */
    volatile boolean abandoned;

    /** @param refusal answers it with an error number, and frees what it holds */
    WaitingRequest(long cameNanos, Operation operation, IntConsumer refusal) {
        this.cameNanos = cameNanos;
        this.operation = operation;
        this.refusal = refusal;
    }

    /** True for one caller. */
    boolean claim() {
        return claimed.compareAndSet(false, true);
    }

    /** To be called by who has claimed it. */
    void refuse(int errno) {
        refusal.accept(errno);
    }
}
