package blocktree.cluster.raft;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.NavigableMap;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Up to which entry of its log this voter may say that it holds all: those whose {@link blocktree.cluster.Machine#prepare} is not
 * complete keep the later ones back, until they are applied (then a majority has them) or cut off. Thread-safe.
 */
final class Prepared {
    private static final Logger log = LoggerFactory.getLogger(Prepared.class);

    private final Runnable onAdvance;

    // guarded by this
    private final NavigableMap<Long, CompletableFuture<Void>> pending = new TreeMap<>();
    private final NavigableMap<Long, CompletableFuture<Void>> waiting = new TreeMap<>();
    /** Entries from here on are in a log that was not looked through yet. */
    private long unknownFrom;

    private boolean closed;

    /** Runs {@code onAdvance}, which must not block, whenever the mark has moved. */
    Prepared(long unknownFrom, Runnable onAdvance) {
        this.unknownFrom = unknownFrom;
        this.onAdvance = onAdvance;
    }

    /** The last index that may be acknowledged, as far as this is concerned. */
    synchronized long mark() {
        long first = pending.isEmpty() ? Long.MAX_VALUE : pending.firstKey();
        return Math.min(first, unknownFrom) - 1;
    }

    /** The entry is in the log, or will be at once. */
    void add(long index, CompletableFuture<Void> future) {
        if (future.isDone() && !future.isCompletedExceptionally()) {
            return;
        }
        synchronized (this) {
            pending.put(index, future);
        }
        future.whenComplete((done, failure) -> {
            if (failure == null) {
                change(() -> pending.remove(index, future));
            } else if (!(failure instanceof CancellationException)) {
                log.atWarn().addKeyValue("index", index).setCause(failure).log("entry_not_prepared");
            }
        });
    }

    /** The log as it was found has been looked through. */
    void known() {
        change(() -> unknownFrom = Long.MAX_VALUE);
    }

    /** A majority has all up to {@code index}. */
    void release(long index) {
        change(() -> pending.headMap(index, true).clear());
    }

    /** Entries from {@code index} on are in no log any more: nobody waits for what they name. */
    void truncate(long index) {
        List<CompletableFuture<Void>> cut = new ArrayList<>();
        change(() -> {
            cut.addAll(pending.tailMap(index, true).values());
            pending.tailMap(index, true).clear();
        });
        cut.forEach(future -> future.cancel(false));
    }

    /** Completes once the mark reaches {@code index}; fails when this is closed. */
    synchronized CompletableFuture<Void> whenAt(long index) {
        if (closed) {
            return CompletableFuture.failedFuture(new IOException("the voter stops"));
        }
        return mark() >= index
                ? CompletableFuture.completedFuture(null)
                : waiting.computeIfAbsent(index, i -> new CompletableFuture<>());
    }

    void close() {
        List<CompletableFuture<Void>> left;
        List<CompletableFuture<Void>> asked;
        synchronized (this) {
            closed = true;
            left = List.copyOf(pending.values());
            asked = List.copyOf(waiting.values());
            waiting.clear();
        }
        asked.forEach(future -> future.completeExceptionally(new IOException("the voter stops")));
        left.forEach(future -> future.cancel(false));
    }

    private void change(Runnable change) {
        List<CompletableFuture<Void>> reached;
        synchronized (this) {
            long before = mark();
            change.run();
            long mark = mark();
            if (mark == before) {
                return;
            }
            reached = new ArrayList<>(waiting.headMap(mark, true).values());
            waiting.headMap(mark, true).clear();
        }
        reached.forEach(future -> future.complete(null));
        onAdvance.run();
    }
}
