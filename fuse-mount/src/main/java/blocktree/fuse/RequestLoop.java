package blocktree.fuse;

import java.time.Duration;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The threads of a mount and the watch over them. Two threads answer everything as long as answers come at once: more only cost wake-ups. When
 * every thread has been held up for {@link #HELD_UP_MILLIS} the watch doubles them, so that a request that is read from slow storage never keeps
 * others waiting for long; threads in excess end when they find enough others idle. A request that has run for
 * {@link MountOptions#requestTimeout} is answered by the watch, since the call that it waits in may be native and never return. When no thread is left
 * that does not wait in such a call, one more refuses whatever comes.
 *
 * <p>Requests that wait without a thread ({@link WaitingRequests}) are watched likewise. Those that need a thread again are taken by each before it asks the kernel for more; since all may be asking the kernel, one is started for
 * the first of them.
 */
final class RequestLoop {
    private static final Logger log = LoggerFactory.getLogger(RequestLoop.class);
    private static final long HELD_UP_MILLIS = 20;
    private static final long IDLE_TICK_MILLIS = 200;

    private final Connection connection;
    private final WaitingRequests waiting;
    private final MountOptions options;
    private final Runnable onEnd;

    private final Set<RequestThread> threads = ConcurrentHashMap.newKeySet();

    /** Threads that run or are about to be started: libfuse's structures live until it is 0. */
    private final AtomicInteger threadCount = new AtomicInteger();

    private final AtomicInteger lastThread = new AtomicInteger();
    private final AtomicLong slowCount = new AtomicLong();
    private final CompletableFuture<Void> ready = new CompletableFuture<>();
    private volatile boolean active;
    private volatile boolean stopping;
    private volatile boolean ended;
    private volatile boolean stalled;

    /** Held while the watch sends an answer, and while libfuse's structures go. */
    private final Object answering = new Object();

    /**
     * @param onEnd runs once, on the last thread, when all others have ended
     */
    RequestLoop(Connection connection, MountOptions options, Runnable onEnd) {
        this.connection = connection;
        this.waiting = connection.operations().waiting();
        this.options = options;
        this.onEnd = onEnd;
    }

    void start() {
        threadCount.set(options.threadCount());
        for (int i = 0; i < options.threadCount(); i++) {
            startThread();
        }
        Thread watch = new Thread(this::watch, "fuse-watch");
        watch.setDaemon(true);
        watch.start();
    }

    /** The caller has counted it already. */
    private void startThread() {
        RequestThread thread = connection.newThread(this, "fuse-" + lastThread.incrementAndGet());
        threads.add(thread);
        thread.start();
    }

    /** Completed when the kernel and libfuse have agreed, so that the mount answers. */
    CompletableFuture<Void> ready() {
        return ready;
    }

    void taken() {
        if (!active) {
            active = true;
        }
    }

    /** Each thread ends after the next request that it answers. */
    void stop() {
        stopping = true;
    }

    boolean isStopping() {
        return stopping;
    }

    void initialised() {
        ready.complete(null);
    }

    /** Asked by a thread between two requests; on true it must end. */
    boolean isSurplus() {
        int count = threadCount.get();
        if (count <= options.threadCount() || waiting.hasReady()) {
            return false;
        }
        int idle = 0;
        for (RequestThread thread : threads) {
            if (thread.startedNanos == 0) {
                idle++;
            }
        }
        // The asking thread is among the idle ones.
        return idle > options.threadCount() && threadCount.compareAndSet(count, count - 1);
    }

    /** @param counted whether the thread is still part of {@link #threadCount}: not after {@link #isSurplus} said true */
    void ended(RequestThread thread, boolean counted) {
        threads.remove(thread);
        if (counted && threadCount.decrementAndGet() == 0) {
            synchronized (answering) {
                ended = true;
            }
            onEnd.run();
        }
    }

    /** A thread is needed that takes what has waited. */
    void resume() {
        if (busyCount() >= options.threadCountMax() + (stalled ? 1 : 0)) {
            return; // the first of them that is done takes it
        }
        int before = threadCount.getAndUpdate(count -> count == 0 ? 0 : count + 1);
        if (before > 0) {
            startThread();
        }
    }

    private int busyCount() {
        return (int) threads.stream().filter(thread -> thread.startedNanos != 0).count();
    }

    private void watch() {
        while (!ended) {
            // With nothing to do, look rarely: a laptop should sleep.
            LockSupport.parkNanos(Duration.ofMillis(active ? HELD_UP_MILLIS : IDLE_TICK_MILLIS)
                    .toNanos());
            active = false;
            long now = System.nanoTime();
            int heldUpCount = 0;
            int busyCount = 0;
            int abandonedCount = 0;
            for (RequestThread thread : threads) {
                long started = thread.startedNanos;
                if (started == 0) {
                    continue;
                }
                active = true;
                busyCount++;
                if (now - started >= Duration.ofMillis(HELD_UP_MILLIS).toNanos()) {
                    heldUpCount++;
                }
                long came = thread.cameNanos;
                if (came == 0) {
                    continue; // it has just been answered
                }
                long ranMillis = Duration.ofNanos(now - came).toMillis();
                if (ranMillis > options.slowAfter().toMillis() && thread.reportedNanos != came) {
                    thread.reportedNanos = came;
                    reportSlow(thread.operation, ranMillis);
                }
                if (ranMillis > options.requestTimeout().toMillis()) {
                    if (thread.abandonedNanos != came) {
                        thread.abandonedNanos = came;
                        abandon(thread, started, ranMillis);
                    }
                    abandonedCount++;
                }
            }
            for (WaitingRequest request : waiting.all()) {
                watch(request, now);
            }
            stalled = abandonedCount >= options.threadCountMax();
            grow(heldUpCount);
            if (waiting.hasReady() && heldUpCount == busyCount) {
                resume();
            }
        }
    }

    private void watch(WaitingRequest request, long now) {
        long waitedMillis = Duration.ofNanos(now - request.cameNanos).toMillis();
        if (waitedMillis > options.slowAfter().toMillis() && !request.reported) {
            request.reported = true;
            reportSlow(request.operation, waitedMillis);
        }
        if (waitedMillis > options.requestTimeout().toMillis()) {
            synchronized (answering) {
                if (ended || !waiting.refuse(request, Errno.ETIMEDOUT)) {
                    return;
                }
            }
            if (!request.abandoned) { // else it was reported while a thread was at it
                reportTimedOut(request.operation, waitedMillis);
            }
        }
    }

    /** Tells the caller that the request under way since {@code started} has taken too long; the thread goes on with it. */
    private void abandon(RequestThread thread, long started, long ranMillis) {
        long unique = thread.unique;
        Operation operation = thread.operation;
        if (unique == 0 || thread.startedNanos != started) {
            return; // there is no answer to it, or it has just been answered
        }
        synchronized (answering) {
            if (ended) {
                return;
            }
            connection.refuse(unique, Errno.ETIMEDOUT);
        }
        reportTimedOut(operation, ranMillis);
    }

    private void reportTimedOut(@Nullable Operation operation, long ranMillis) {
        log.atError()
                .addKeyValue("operation", operation)
                .addKeyValue("millis", ranMillis)
                .addKeyValue("pending", pendingCount())
                .log("operation_timed_out");
    }

    /** Whether every thread that may be waits in a request that was abandoned. */
    boolean isStalled() {
        return stalled;
    }

    private void reportSlow(@Nullable Operation operation, long ranMillis) {
        slowCount.incrementAndGet();
        log.atWarn()
                .addKeyValue("operation", operation)
                .addKeyValue("millis", ranMillis)
                .addKeyValue("pending", pendingCount())
                .log("operation_slow");
    }

    private void grow(int heldUpCount) {
        int count = threadCount.get();
        int wanted = Math.min(options.threadCountMax() + (stalled ? 1 : 0), count * 2);
        if (heldUpCount < count || wanted == count || stopping || ended || !threadCount.compareAndSet(count, wanted)) {
            return;
        }
        log.atDebug().addKeyValue("threads", wanted).log("mount_threads_grown");
        for (int i = count; i < wanted; i++) {
            startThread();
        }
    }

    int pendingCount() {
        return busyCount() + waiting.all().size();
    }

    long oldestPendingMillis() {
        long now = System.nanoTime();
        LongStream running = threads.stream()
                .filter(thread -> thread.startedNanos != 0)
                .mapToLong(thread -> thread.cameNanos)
                .filter(came -> came != 0); // it has just been answered
        return LongStream.concat(running, waiting.all().stream().mapToLong(request -> request.cameNanos))
                .map(came -> Duration.ofNanos(now - came).toMillis())
                .max()
                .orElse(0);
    }

    long slowCount() {
        return slowCount.get();
    }

    int threadCount() {
        return threadCount.get();
    }
}
