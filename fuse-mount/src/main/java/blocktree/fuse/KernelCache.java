package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.Changes;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystemException;
import blocktree.tree.Name;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What the kernel keeps of one mount, and how it is kept in step with the other mounts of the same tree (docs/decisions/0008).
 *
 * <p>Changes by others are passed on to the kernel, and who makes them is answered when the kernel has taken note, or after {@link #SEEN_MILLIS_MAX}: two mounts may wait for
 * each other, since the kernel holds a directory or a page while it waits for an answer.
 *
 * <p>A kernel with a write-back cache believes nobody else about the size and times of a file, so such a mount has to be the only one that writes. What its kernel keeps back is asked for before another mount shows
 * the file, and of two mounts that have the file open, one of them to write, the later goes past its page cache.
 */
final class KernelCache implements Changes.Listener {
    private static final Logger log = LoggerFactory.getLogger(KernelCache.class);

    private static final int O_DIRECTORY_CLOEXEC = 02200000;
    private static final long SEEN_MILLIS_MAX = 50;
    private static final long REPEATED_MILLIS = 1_000;
    private static final long RECALL_MILLIS_MAX = 10_000;

    /** How a file is open here through the page cache. */
    private record Opens(int readerCount, int writerCount) {
        static final Opens NONE = new Opens(0, 0);

        Opens plus(int sign, boolean writes) {
            return new Opens(readerCount + sign, writerCount + (writes ? sign : 0));
        }
    }

    private final NativeFuse3 fuse;
    private final Changes changes;
    private final long root;
    private final KnownInodes known;
    private final KnownNames names;
    private final Map<Long, Opens> opens = new ConcurrentHashMap<>();

    /** Calls into the kernel, which may have to wait for requests to be answered: never on a thread that answers them. */
    private final ExecutorService notifier;

    /** Of those that this mount's kernel was, or is about to be, told. */
    private final AtomicLong nameChangeCount = new AtomicLong();

    /** What the kernel is about to be told of. */
    private final Set<Long> changedElsewhere = ConcurrentHashMap.newKeySet();

    private volatile long session;
    private volatile boolean keepsBack;

    KernelCache(NativeFuse3 fuse, FileSystem fileSystem, KnownInodes known, KnownNames names) {
        this.fuse = fuse;
        this.changes = fileSystem.changes();
        this.root = fileSystem.rootNumber();
        this.known = known;
        this.names = names;
        ThreadPoolExecutor executor =
                new ThreadPoolExecutor(1, 1, 10, TimeUnit.SECONDS, new LinkedBlockingQueue<>(), task -> {
                    Thread thread = new Thread(task, "fuse-notify");
                    thread.setDaemon(true);
                    return thread;
                });
        executor.allowCoreThreadTimeOut(true);
        notifier = executor;
    }

    /** @param keepsBack whether the kernel has a write-back cache */
    void start(long session, boolean keepsBack) {
        this.session = session;
        this.keepsBack = keepsBack;
        changes.add(this);
    }

    /** The session is about to go. */
    void stop() {
        changes.remove(this);
        notifier.shutdown();
        try {
            while (!notifier.awaitTermination(1, TimeUnit.SECONDS)) {
                log.atDebug().log("unmount_waits_for_the_kernel");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    // ------------------------------------------------------------------------------------------------ changes by
    // others

    @Override
    public void contentChanged(long inode) {
        if (concerns(inode)) {
            notify(() -> invalidate(inode, 0));
        }
    }

    @Override
    public void attributesChanged(long inode) {
        if (concerns(inode)) {
            notify(() -> invalidate(inode, -1));
        }
    }

    @Override
    public void nameChanged(long directory, Name name) {
        if (concerns(directory)) {
            nameChangeCount.incrementAndGet();
            long node = node(directory);
            Runnable call = () -> invalidateName(node, name);
            notify(call);
            repeat(call);
        }
    }

    /** What this mount has been asked to do its kernel knows. */
    private boolean concerns(long inode) {
        InodeRequestThread thread = InodeRequestThread.current();
        return (thread == null || thread.cache() != this) && isKnown(inode);
    }

    private boolean isKnown(long inode) {
        return inode == root || known.contains(inode);
    }

    /** Several changes of one inode that the kernel has not been told of yet are one to it. */
    @Override
    public void anythingChanged(long inode, Changes.Names now) {
        if (!isKnown(inode)) {
            return;
        }
        boolean isDirectory = inode == root || known.isDirectory(inode);
        if (isDirectory) {
            nameChangeCount.incrementAndGet();
        }
        if (changedElsewhere.add(inode)) {
            var unused = run(() -> {
                changedElsewhere.remove(inode);
                invalidate(inode, 0);
                if (isDirectory) {
                    dropChangedNames(inode, now);
                }
            });
        }
    }

    /** All that cannot be told are dropped. */
    private void dropChangedNames(long directory, Changes.Names now) {
        long node = node(directory);
        List<Name> changed = new ArrayList<>();
        for (KnownNames.Known told : names.of(node)) {
            if (!isSo(directory, told, now)) {
                changed.add(told.name());
                names.remove(node, told);
            }
        }
        Runnable call = () -> changed.forEach(name -> invalidateName(node, name));
        call.run();
        if (!changed.isEmpty()) {
            repeat(call);
        }
    }

    private static boolean isSo(long directory, KnownNames.Known told, Changes.Names now) {
        try {
            return now.standsFor(directory, told.name()) == told.inode();
        } catch (FileSystemException e) {
            log.atDebug().setCause(e).log("names_unknown");
            return false;
        }
    }

    /** Has the kernel drop a name, unless it is in use, and what is below it. {@code node} is the directory's number in this mount. */
    void expire(long node, Name name) {
        var unused = run(() -> invalidateName(node, name));
    }

    long nameChangeCount() {
        return nameChangeCount.get();
    }

    /**
     * The kernel has just been given an entry that was looked up when {@link #nameChangeCount} was {@code countBefore}. When others have changed names meanwhile it may have been told of that already, and
     * would keep what is no longer so.
     */
    void given(long node, Name name, long countBefore) {
        if (nameChangeCount.get() != countBefore) {
            expire(node, name);
        }
    }

    private void invalidateName(long node, Name name) {
        byte[] bytes = name.bytes();
        long address = MEMORY.allocateMemory(bytes.length + 1L, true);
        MEMORY.putByteArray(address, bytes, 0, bytes.length);
        fuse.functions.fuse_lowlevel_notify_inval_entry(session, node, address, bytes.length);
        MEMORY.freeMemory(address);
    }

    private long node(long inode) {
        return inode == root ? FileSystem.ROOT_INODE : inode;
    }

    /** Attributes go, and the pages from {@code offset} on unless that is negative. What is in them and not written yet is written first. */
    private void invalidate(long inode, long offset) {
        fuse.functions.fuse_lowlevel_notify_inval_inode(session, node(inode), offset, 0);
    }

    /** Has the kernel told; the request under way on this thread is answered when it was. */
    private void notify(Runnable call) {
        CompletableFuture<Void> told = run(call);
        InodeRequestThread thread = InodeRequestThread.current();
        if (thread != null && !thread.isPageWriteBack()) {
            thread.answerAfter(told.completeOnTimeout(null, SEEN_MILLIS_MAX, TimeUnit.MILLISECONDS));
        }
    }

    /**
     * A program that has just been answered may not have run yet when the notice comes, and would then have the kernel keep the answer for as long as that
     * said: nothing orders the two. A second later it has run.
     */
    private void repeat(Runnable call) {
        CompletableFuture.delayedExecutor(REPEATED_MILLIS, TimeUnit.MILLISECONDS)
                .execute(() -> {
                    var unused = run(call);
                });
    }

    /** Completes once the kernel was told of all that was changed before, or soon. */
    CompletableFuture<Void> told() {
        return run(() -> {}).completeOnTimeout(null, SEEN_MILLIS_MAX, TimeUnit.MILLISECONDS);
    }

    private CompletableFuture<Void> run(Runnable call) {
        try {
            return CompletableFuture.runAsync(call, notifier);
        } catch (RejectedExecutionException e) {
            return CompletableFuture.completedFuture(null); // the mount is going, and the kernel's copies with it
        }
    }

    // ------------------------------------------------------------------------------------------------ open files

    /**
     * A regular file is about to be opened; to be followed by {@link #released} when this is true.
     *
     * @return whether it may be cached; false when another mount has it open, and one of the two may write
     */
    boolean opening(long inode, boolean writes) {
        boolean cached = true;
        synchronized (changes) {
            for (KernelCache other : others()) {
                Opens there = keepsBack || other.keepsBack ? other.opens.getOrDefault(inode, Opens.NONE) : Opens.NONE;
                cached &= there.writerCount == 0 && (!writes || there.readerCount == 0);
            }
            if (cached) {
                opens.merge(inode, Opens.NONE.plus(1, writes), (open, one) -> open.plus(1, writes));
            }
        }
        if (writes && cached && keepsBack) {
            for (KernelCache other : others()) {
                other.attributesChanged(inode); // which from now on it asks for each time
            }
        }
        return cached;
    }

    void released(long inode, boolean writes) {
        opens.computeIfPresent(inode, (key, open) -> open.readerCount == 1 ? null : open.plus(-1, writes));
    }

    private boolean mayKeepBack(long inode) {
        return keepsBack && opens.getOrDefault(inode, Opens.NONE).writerCount > 0;
    }

    /** Completes when all that other mounts' kernels keep back of the file is in the tree, or has not come in time. Null: there is nothing to wait for. */
    @Nullable
    CompletableFuture<Void> recall(long inode) {
        List<KernelCache> others = others();
        return others.isEmpty() ? null : recall(inode, others.stream());
    }

    /** As {@link #recall}, of this mount's kernel, too. */
    @Nullable
    CompletableFuture<Void> recallEverywhere(long inode) {
        return recall(inode, Stream.concat(Stream.of(this), others().stream()));
    }

    private static @Nullable CompletableFuture<Void> recall(long inode, Stream<KernelCache> caches) {
        CompletableFuture<?>[] written = caches.filter(cache -> cache.mayKeepBack(inode))
                .map(keeper -> keeper.run(() -> keeper.invalidate(inode, 0)))
                .toArray(CompletableFuture<?>[]::new);
        return written.length == 0 ? null : inTime(CompletableFuture.allOf(written));
    }

    /** Waits until all that this mount's kernel keeps back is in the tree. */
    void writeBackAll(Path mountPoint) {
        if (keepsBack) {
            inTime(run(() -> {
                        int descriptor = fuse.system.open(mountPoint.toString(), O_DIRECTORY_CLOEXEC);
                        if (descriptor >= 0) {
                            fuse.system.syncfs(descriptor);
                            fuse.system.close(descriptor);
                        }
                    }))
                    .join();
        }
    }

    private static CompletableFuture<Void> inTime(CompletableFuture<Void> written) {
        return written.orTimeout(RECALL_MILLIS_MAX, TimeUnit.MILLISECONDS).exceptionally(failure -> {
            log.atWarn().setCause(failure).log("write_back_late");
            return null;
        });
    }

    /** Whether another mount's kernel may change the file, or its times and size, without this one's being told at once. */
    boolean isKeptBackElsewhere(long inode) {
        for (KernelCache other : others()) {
            if (other.mayKeepBack(inode)) {
                return true;
            }
        }
        return false;
    }

    /** Asked for with every read: most trees have one mount. */
    private List<KernelCache> others() {
        List<Changes.Listener> all = changes.listeners();
        if (all.size() < 2) {
            return List.of();
        }
        return all.stream()
                .filter(listener -> listener != this && listener instanceof KernelCache)
                .map(KernelCache.class::cast)
                .toList();
    }
}
