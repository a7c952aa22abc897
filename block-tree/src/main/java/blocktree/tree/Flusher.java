package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.crypto.Id;
import blocktree.store.BlockEdit;
import blocktree.store.BlockStore;
import blocktree.store.Commit;
import blocktree.store.CommitReceipt;
import blocktree.store.OpenBlock;
import blocktree.store.StoreException;
import blocktree.tree.FileSystemException.Code;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes changes back: by age, under pressure, and on request (fsync, sync, close).
 *
 * <p>Each commit takes <em>all</em> changes of directories and attributes, and the content of those files that are asked for or due, up to a bound. So a new name and the inode that it names are always in
 * the same commit. The cut is made under the gate: operations on more than one inode hold it shared, the capture (which only moves references and encodes attributes) exclusively. Sealing and
 * committing happen without any lock of the tree but {@link #committing}; what changes meanwhile goes to the next commit.
 *
 * <p>A commit that fails leaves everything dirty. It is tried again every second; files whose content was in it report the failure at their next fsync or close, and while the store is full, writes
 * are refused at once.
 */
final class Flusher {
    private static final Logger log = LoggerFactory.getLogger(Flusher.class);

    /** Content in one commit, about. */
    private static final long COMMIT_BYTES_MAX = 16 << 20;
    /** Content that a commit takes along of files that nobody asked for: small new files should not need two commits. */
    private static final long COMPANION_BYTES_MAX = 4 << 20;

    private static final int DIRTY_INODES_FLUSHED = 4096;
    private static final int DIRTY_INODES_MAX = 16_384;
    /** Memory of changed inodes apart from pages: attributes and inline content. */
    private static final long DIRTY_INODE_BYTES_FLUSHED = 12 << 20;

    private static final long DIRTY_INODE_BYTES_MAX = 32 << 20;
    private static final long DAMAGED_RETRY_MILLIS = 30_000;
    /** From so many pages of one file on, a second thread helps to seal them. */
    private static final long SHARED_SEALING_BYTES = 1 << 20;

    /** Commits that are given up one after another because other nodes were first. */
    private static final int OVERTAKEN_MAX = 10;

    private static final long TICK_MILLIS = 250;
    private static final long RETRY_MILLIS = 1_000;
    private static final long TIMEOUT_MILLIS = 60_000;
    private static final long GATE_SLICE_MILLIS = 20;
    private static final CompletableFuture<Void> ROOM = CompletableFuture.completedFuture(null);
    /** The local table of blocks that this node has unlinked and still uses, by id. */
    static final String ORPHANS = "orphans";

    /** Somebody waits for this inode (null: for everything) to be committed, and, with {@code sync}, to be on the device. */
    private static final class Request {
        final @Nullable Inode inode;
        final boolean sync;

        /** Complete when the commit that it is part of begins. */
        final CompletableFuture<Void> begun = new CompletableFuture<>();

        final CompletableFuture<Void> done = new CompletableFuture<>();

        Request(@Nullable Inode inode, boolean sync) {
            this.inode = inode;
            this.sync = sync;
        }

        /** Puts a bound to the wait for the commit of others. */
        void limit() {
            var unused = begun.orTimeout(TIMEOUT_MILLIS, TimeUnit.MILLISECONDS).whenComplete((nothing, timeout) -> {
                if (timeout != null) {
                    done.completeExceptionally(commitTimedOut());
                }
            });
        }
    }

    /**
     * What a commit takes of one inode. {@code attributes} is null when the block is deleted. Holds what it rests on, too: the inode may be reloaded meanwhile, and this is nothing to it then.
     *
     * @param base null when the block is new
     * @param names see {@link Inode#changesNames}
     */
    private record Captured(
            Inode inode,
            @Nullable OpenBlock base,
            @Nullable FilePayload payload,
            @Nullable DirectoryIndex entries,
            int reloadCount,
            @Nullable StoredInode attributes,
            FilePayload.@Nullable Capture file,
            DirectoryIndex.@Nullable Capture directory,
            boolean orphan,
            boolean names,
            boolean complete,
            long dirtySinceNanos) {

        /** Of the inode as it is. Shared. */
        static Captured of(
                Inode inode,
                @Nullable StoredInode attributes,
                FilePayload.@Nullable Capture file,
                DirectoryIndex.@Nullable Capture directory,
                boolean orphan,
                boolean complete,
                long dirtySinceNanos) {
            return new Captured(
                    inode,
                    inode.base,
                    inode.file,
                    inode.directory,
                    inode.reloadCount,
                    attributes,
                    file,
                    directory,
                    orphan,
                    inode.changesNames(),
                    complete,
                    dirtySinceNanos);
        }

        Captured withoutContent(StoredInode attributesAlone) {
            return new Captured(
                    inode,
                    base,
                    payload,
                    entries,
                    reloadCount,
                    attributesAlone,
                    null,
                    null,
                    orphan,
                    names,
                    false,
                    dirtySinceNanos);
        }

        /** With the inode's lock: whether it was made anew meanwhile. */
        boolean isOfAnother() {
            return inode.reloadCount != reloadCount;
        }
    }

    private static final class Cut {
        final List<Captured> captured = new ArrayList<>();
        final Set<Inode> inodes = new HashSet<>();
        /** Of what was asked for, some has to wait for the next commit. */
        boolean contentLeft;
    }

    private final BlockStore store;
    private final Cache cache;
    private final InodeTable table;
    private final AccessTimes accessTimes;
    private final Changes changes;
    private final Inode.Reloader reloader;
    private final TreeOptions options;
    private final long startNanos = System.nanoTime() - 1;

    final ReentrantReadWriteLock gate = new ReentrantReadWriteLock();
    /** Held from capture to completion of a commit. Fair: who commits in the background takes it again at once. */
    private final ReentrantLock committing = new ReentrantLock(true);

    private final Object monitor = new Object();
    // Guarded by monitor:
    private final LinkedHashSet<Inode> dirty = new LinkedHashSet<>();
    private boolean stopped;
    /** The last commit is being made or was: nothing may become dirty any more. */
    private boolean ended;
    /** What those wait for who found no room; null when nobody does. */
    private @Nullable CompletableFuture<Void> awaitedRoom;

    /** Who waits for a commit. */
    private final Turn<Request> commitTurn = new Turn<>();
    /** Who waits for the device, with everything committed. */
    private final Turn<Request> syncTurn = new Turn<>();

    private volatile int dirtyCount;
    private final AtomicLong dirtyInodeBytes = new AtomicLong();
    /** Why the last commit failed; null when it did not. */
    private volatile @Nullable FileSystemException failing;
    /** Something of what was not committed was lost to other nodes, and the rest does not fit together without it. */
    private volatile boolean namesLost;
    /** Something that is not committed is lost, or will be when it is next looked at. */
    private volatile boolean conflict;
    /** Something was removed since, so that another attempt is worth its while. */
    private volatile boolean removedWhileFull;

    private final AtomicLong commits = new AtomicLong();
    private final LatencyHistogram commitLatency = new LatencyHistogram();
    private final LatencyHistogram syncLatency = new LatencyHistogram();
    private volatile long syncedCommits;
    private final Thread thread;
    private final ThreadPoolExecutor sealers;
    /** They serve those who came while others were served: one commits and one syncs. */
    private final ThreadPoolExecutor servers;

    Flusher(
            BlockStore store,
            Cache cache,
            InodeTable table,
            AccessTimes accessTimes,
            Changes changes,
            Inode.Reloader reloader,
            TreeOptions options) {
        this.store = store;
        this.cache = cache;
        this.table = table;
        this.accessTimes = accessTimes;
        this.changes = changes;
        this.reloader = reloader;
        this.options = options;
        thread = new Thread(this::run, "tree-flusher");
        thread.setDaemon(true);
        sealers = threads(1, "tree-sealer");
        servers = threads(2, "tree-server");
    }

    /** They end when they have nothing to do for a while. */
    private static ThreadPoolExecutor threads(int count, String name) {
        ThreadPoolExecutor threads =
                new ThreadPoolExecutor(count, count, 10, TimeUnit.SECONDS, new LinkedBlockingQueue<>(), task -> {
                    Thread thread = new Thread(task, name);
                    thread.setDaemon(true);
                    return thread;
                });
        threads.allowCoreThreadTimeOut(true);
        return threads;
    }

    void start() {
        thread.start();
    }

    long commits() {
        return commits.get();
    }

    /** Of commits of the tree's changes. */
    LatencyHistogram.Snapshot commitLatency() {
        return commitLatency.snapshot();
    }

    /** Of waiting for the device; those that wait together wait for one sync. */
    LatencyHistogram.Snapshot syncLatency() {
        return syncLatency.snapshot();
    }

    int dirtyInodes() {
        return dirtyCount;
    }

    // ---- changes

    private long nowNanos() {
        return System.nanoTime() - startNanos;
    }

    /** Takes note of a change, with the inode's exclusive lock held (or before anybody else knows the inode). CLOSED when the last commit has been made. */
    void contentChanged(Inode inode) throws FileSystemException {
        enlistChanged(inode);
        changes.contentChanged(inode.number);
    }

    private void enlistChanged(Inode inode) throws FileSystemException {
        if (inode.dirtySinceNanos == 0) {
            synchronized (monitor) {
                if (ended) {
                    throw new FileSystemException(Code.CLOSED, "the tree is closed");
                }
                inode.dirtySinceNanos = nowNanos();
                enlist(inode);
            }
        }
    }

    /** With the inode's exclusive lock held, before it is reloaded: what is not captured of it will not be committed. False when there is nothing. */
    boolean forget(Inode inode) {
        inode.attributesDirty = false;
        inode.contentWanted = false;
        inode.contentRetryNanos = 0;
        if (!inode.isDirty()) {
            return false;
        }
        if (inode.changesNames()
                || inode.flushing) { // with how many names a commit under way leaves it is not known yet
            namesLost = true;
            conflict = true;
        }
        clean(inode);
        return true;
    }

    /** Another node has changed what is not committed here, or in a commit under way. */
    void conflict() {
        conflict = true;
    }

    boolean hasConflict() {
        return conflict;
    }

    /** Gives up what is lost to other nodes, with all that does not fit together without it: before anything new is built on that. */
    void resolveConflict() throws FileSystemException {
        lock(committing);
        try {
            closeGate();
            try {
                List<Inode> candidates;
                synchronized (monitor) {
                    candidates = new ArrayList<>(dirty);
                }
                giveUpOutdated(candidates);
            } finally {
                gate.writeLock().unlock();
            }
        } finally {
            committing.unlock();
        }
    }

    /** With the inode's exclusive lock held: something of it was not committed and will not be. Whoever syncs it is told. */
    static void lost(Inode inode) {
        inode.writeFailed(inode.gone ? Code.STALE : Code.IO);
        if (inode.gone && inode.linkCount == 0) {
            return; // it had no name: nobody will look for it
        }
        log.atError()
                .addKeyValue("block", inode.origin.block())
                .addKeyValue("inode", inode.number)
                .log("changes_lost");
    }

    void attributesChanged(Inode inode) throws FileSystemException {
        inode.attributesDirty = true;
        enlistChanged(inode);
        account(inode, inode.weightBytes());
        changes.attributesChanged(inode.number);
    }

    /** With the inode's lock held: its share of {@link #dirtyInodeBytes}. Inline content may grow without being asked again, so it is counted in full. */
    private void account(Inode inode, int weightBytes) {
        FilePayload file = inode.file;
        int bytes = weightBytes == 0 || file == null
                ? weightBytes
                : weightBytes - file.inlineBytes() + StoredInode.INLINE_BYTES_MAX;
        dirtyInodeBytes.addAndGet(bytes - inode.dirtyBytes);
        inode.dirtyBytes = bytes;
    }

    private void enlist(Inode inode) {
        account(inode, inode.weightBytes());
        synchronized (monitor) {
            dirty.add(inode);
            dirtyCount = dirty.size();
            if (dirtyCount == DIRTY_INODES_FLUSHED) {
                monitor.notifyAll();
            }
        }
    }

    /**
     * Complete while a change would not have to wait; else it completes as soon as one may be tried. Whoever completes it is in the middle of a commit: what depends on it must neither wait nor call the
     * tree.
     */
    CompletableFuture<Void> room() {
        if (mayChange()) {
            return ROOM;
        }
        synchronized (monitor) {
            if (mayChange() || stopped) {
                return ROOM;
            }
            if (awaitedRoom == null) {
                awaitedRoom = new CompletableFuture<>();
                monitor.notifyAll();
            }
            return awaitedRoom;
        }
    }

    /** There is room, or a reason to refuse a change at once. */
    private boolean mayChange() {
        return !isFullOfChanges() || failing != null;
    }

    private boolean isFullOfChanges() {
        return cache.dirtyBytes() >= options.dirtyBytesMax()
                || dirtyCount >= DIRTY_INODES_MAX
                || dirtyInodeBytes.get() >= DIRTY_INODE_BYTES_MAX;
    }

    /** Tells those who wait for room when there is some. */
    private void announceRoom() {
        CompletableFuture<Void> room;
        synchronized (monitor) {
            room = awaitedRoom;
            if (room == null || !(mayChange() || stopped)) {
                return;
            }
            awaitedRoom = null;
        }
        room.complete(null);
    }

    /** Waits, before any lock is taken, until there is room for more changes; fails at once while the store does not take any. */
    void throttle() throws FileSystemException {
        if (!isUnderPressure()) {
            return;
        }
        synchronized (monitor) {
            monitor.notifyAll();
        }
        long deadline = nowNanos() + TimeUnit.MILLISECONDS.toNanos(TIMEOUT_MILLIS);
        for (CompletableFuture<Void> room = room(); !room.isDone(); room = room()) {
            await(room, deadline);
        }
        if (isFullOfChanges()) {
            FileSystemException failure = failing;
            if (failure != null) {
                throw copy(failure);
            }
            synchronized (monitor) {
                if (stopped) {
                    throw new FileSystemException(Code.CLOSED, "the tree is closed");
                }
            }
        }
    }

    private void await(CompletableFuture<Void> room, long deadline) throws FileSystemException {
        try {
            room.get(Math.max(0, deadline - nowNanos()), TimeUnit.NANOSECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new FileSystemException(Code.TIMED_OUT, "interrupted while waiting for the store", e);
        } catch (TimeoutException | ExecutionException e) {
            throw new FileSystemException(Code.TIMED_OUT, "the store took nothing for " + TIMEOUT_MILLIS + " ms", e);
        }
    }

    /** As {@link #throttle}, for what makes room and so goes on while the store is full. */
    void throttleRemoval() throws FileSystemException {
        if (isFull() && dirtyCount >= DIRTY_INODES_FLUSHED) {
            commitRemovals(); // few enough at a time that there is room for their commit
        }
        try {
            throttle();
        } catch (FileSystemException e) {
            if (e.code() != Code.NO_SPACE) {
                throw e;
            }
        }
        removedWhileFull |= isFull();
    }

    /** As {@link #throttle}, for a change that needs room: NO_SPACE while the store is full. */
    void throttleGrowth() throws FileSystemException {
        if (removedWhileFull && isFull()) {
            commitRemovals();
        }
        throttle();
        FileSystemException failure = failing;
        if (failure != null && failure.code() == Code.NO_SPACE) {
            throw copy(failure);
        }
    }

    private boolean isFull() {
        FileSystemException failure = failing;
        return failure != null && failure.code() == Code.NO_SPACE;
    }

    /** Commits what was removed since the store was found full, and what else it takes then. */
    private void commitRemovals() throws FileSystemException {
        removedWhileFull = false;
        lock(committing);
        try {
            commit(Set.of(), false, COMMIT_BYTES_MAX, new HashSet<>());
        } catch (FileSystemException e) {
            // it is kept in failing
        } finally {
            committing.unlock();
        }
    }

    private static FileSystemException copy(FileSystemException failure) {
        return new FileSystemException(failure.code(), String.valueOf(failure.getMessage()), failure);
    }

    private long pressureBytes() {
        return Math.min(options.dirtyBytesMax() / 4, COMMIT_BYTES_MAX);
    }

    // ---- requests

    /**
     * Commits this inode (null: everything) and, with {@code sync}, brings it to the device. Shares commits and syncs with others that ask at the same time: who finds nobody at it does it, on this
     * thread, for all who have asked by then; who finds others at it is served after them, by another thread, and does not wait here.
     *
     * @return complete when it is done; fails with a {@link FileSystemException}. Whoever completes it is about to serve others
     */
    CompletableFuture<Void> flush(@Nullable Inode inode, boolean sync) {
        Request request = new Request(inode, sync);
        if (inode != null && !inode.isDirty() && !inode.flushing) {
            request.begun.complete(null);
            committed(List.of(request));
        } else if (commitTurn.ask(List.of(request))) {
            serveCommits(false);
        }
        if (!request.begun.isDone()) {
            request.limit();
        }
        return request.done;
    }

    /**
     * Having the turn: commits for all who wait for that.
     *
     * @param mayWait until a commit in the background is made; else another thread waits
     */
    private void serveCommits(boolean mayWait) {
        if (mayWait) {
            committing.lock();
        } else if (!committing.tryLock()) {
            serveLater(() -> serveCommits(true));
            return;
        }
        List<Request> requests = commitTurn.take();
        try {
            requests.forEach(request -> request.begun.complete(null));
            commitFor(requests);
        } finally {
            committing.unlock();
            if (commitTurn.end()) {
                serveLater(() -> serveCommits(true));
            }
        }
        committed(requests);
    }

    /** What they asked for is committed, but for those who know already that it is not. */
    private void committed(List<Request> requests) {
        List<Request> unsynced = new ArrayList<>();
        for (Request request : requests) {
            if (request.done.isDone()) {
                continue;
            }
            if (request.sync && syncedCommits < commits.get()) {
                unsynced.add(request);
            } else {
                request.done.complete(null);
            }
        }
        if (syncTurn.ask(unsynced)) {
            serveSyncs();
        }
    }

    /** Having the turn: waits for the device for all who have to. */
    private void serveSyncs() {
        List<Request> requests = syncTurn.take();
        FileSystemException failure = new FileSystemException(Code.IO, "the sync ended with an error");
        try {
            sync();
            failure = null;
        } catch (FileSystemException e) {
            failure = e;
        } finally {
            if (syncTurn.end()) {
                serveLater(this::serveSyncs);
            }
            for (Request request : requests) {
                if (failure == null) {
                    request.done.complete(null);
                } else {
                    request.done.completeExceptionally(failure);
                }
            }
        }
    }

    /** Has another thread do what has come while this one was at it; where there can be none, this one does it. */
    private void serveLater(Runnable work) {
        try {
            servers.execute(() -> {
                try {
                    work.run();
                } catch (RuntimeException | Error e) {
                    log.atError().setCause(e).log("flush_failed");
                }
            });
        } catch (OutOfMemoryError e) {
            work.run();
        }
    }

    private void sync() throws FileSystemException {
        long reached = commits.get();
        long start = nowNanos();
        try {
            store.sync();
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
        syncLatency.add(nowNanos() - start);
        syncedCommits = reached;
    }

    private static void lock(ReentrantLock lock) throws FileSystemException {
        try {
            if (lock.tryLock(TIMEOUT_MILLIS, TimeUnit.MILLISECONDS)) {
                return;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new FileSystemException(Code.TIMED_OUT, "interrupted while waiting for a commit", e);
        }
        throw commitTimedOut();
    }

    private static FileSystemException commitTimedOut() {
        return new FileSystemException(
                Code.TIMED_OUT, "another commit has taken longer than " + TIMEOUT_MILLIS + " ms");
    }

    /** With {@link #committing} held: commits what they ask for, and tells those for whom that fails. */
    private void commitFor(List<Request> requests) {
        Set<Inode> wanted = new HashSet<>();
        boolean everything = false;
        for (Request request : requests) {
            Inode inode = request.inode;
            if (inode == null) {
                everything = true;
            } else {
                wanted.add(inode);
            }
        }
        Set<Inode> damaged = new HashSet<>();
        FileSystemException failure = new FileSystemException(Code.IO, "the commit ended with an error");
        try {
            // What was dirty at the start fits into so many commits; the last one takes all that is left, so that this
            // ends however busy the writers are.
            long rounds = 1 + cache.dirtyBytes() / COMMIT_BYTES_MAX;
            for (long round = 1; round <= rounds + 1; round++) {
                if (!commit(wanted, everything, round > rounds ? Long.MAX_VALUE : COMMIT_BYTES_MAX, damaged)) {
                    break;
                }
            }
            failure = null;
        } catch (FileSystemException e) {
            failure = e;
        } finally {
            for (Request request : requests) {
                boolean affected = request.inode == null ? !damaged.isEmpty() : damaged.contains(request.inode);
                FileSystemException reason = failure == null && affected
                        ? new FileSystemException(Code.CORRUPT, "content could not be written over a damaged block")
                        : failure;
                if (reason != null) {
                    request.done.completeExceptionally(reason);
                }
            }
        }
    }

    // ---- in the background

    private void run() {
        long retryAtNanos = 0;
        while (true) {
            synchronized (monitor) {
                if (stopped) {
                    return;
                }
                try {
                    if (!isDue() || nowNanos() < retryAtNanos) {
                        monitor.wait(TICK_MILLIS);
                    }
                } catch (InterruptedException e) {
                    return;
                }
                if (stopped) {
                    return;
                }
            }
            announceRoom(); // what was discarded makes room, too
            if (!isDue() || nowNanos() < retryAtNanos) {
                continue;
            }
            try {
                lock(committing);
                try {
                    long before = commits.get();
                    commit(Set.of(), false, COMMIT_BYTES_MAX, new HashSet<>());
                    if (commits.get() == before) {
                        // Nothing that could be written: do not turn in circles.
                        retryAtNanos = nowNanos() + TimeUnit.MILLISECONDS.toNanos(TICK_MILLIS);
                    }
                } finally {
                    committing.unlock();
                }
            } catch (FileSystemException e) {
                retryAtNanos = nowNanos() + TimeUnit.MILLISECONDS.toNanos(RETRY_MILLIS);
            } catch (RuntimeException | Error e) {
                log.atError().setCause(e).log("flush_failed");
                retryAtNanos = nowNanos() + TimeUnit.MILLISECONDS.toNanos(RETRY_MILLIS);
            }
        }
    }

    private boolean isUnderPressure() {
        return cache.dirtyBytes() >= pressureBytes()
                || dirtyCount >= DIRTY_INODES_FLUSHED
                || dirtyInodeBytes.get() >= DIRTY_INODE_BYTES_FLUSHED;
    }

    private boolean isDue() {
        if (isUnderPressure()) {
            return true;
        }
        synchronized (monitor) {
            if (dirty.isEmpty()) {
                return false;
            }
            return isOld(dirty.iterator().next());
        }
    }

    private boolean isOld(Inode inode) {
        long since = inode.dirtySinceNanos;
        return since != 0 && nowNanos() - since >= TimeUnit.MILLISECONDS.toNanos(options.dirtyAgeMillisMax()) / 2;
    }

    /** Nothing waits to be committed or to reach the device. */
    boolean isSettled() {
        if (!committing.tryLock()) {
            return false;
        }
        try {
            synchronized (monitor) {
                return dirty.isEmpty() && syncedCommits >= commits.get();
            }
        } finally {
            committing.unlock();
        }
    }

    /** Ends the background thread and commits everything; may be called again when it fails. Changes that come later are refused. */
    void stop() throws FileSystemException {
        abandon();
        synchronized (monitor) {
            ended = true;
        }
        FileSystem.await(flush(null, true));
    }

    /** Ends the background thread, and leaves what is dirty as a crash would. */
    void abandon() {
        synchronized (monitor) {
            stopped = true;
            monitor.notifyAll();
        }
        announceRoom();
        try {
            thread.join(TIMEOUT_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    // ---- one commit

    /**
     * With {@link #committing} held: captures and commits.
     *
     * @return whether content is left that was wanted
     */
    private boolean commit(Set<Inode> wanted, boolean everything, long bytesMax, Set<Inode> damaged)
            throws FileSystemException {
        if (isFull() && !isContentWanted()) {
            // Deletions make room, and must not fail together with content that needs it.
            commitCaptured(capture(Set.of(), false, 0).captured, damaged);
        }
        Cut cut = capture(wanted, everything, bytesMax);
        for (int attempt = 1; !commitCaptured(cut.captured, damaged); attempt++) {
            if (attempt == OVERTAKEN_MAX) {
                throw new FileSystemException(Code.IO, "other nodes keep changing what is to be written");
            }
            cut = capture(wanted, everything, bytesMax);
        }
        if (failing != null) {
            failing = null;
            log.atInfo().log("store_accepts_writes");
        }
        announceRoom();
        return cut.contentLeft;
    }

    /** Whether some name stands for content that must not be committed later than the name. */
    private boolean isContentWanted() {
        synchronized (monitor) {
            return dirty.stream().anyMatch(inode -> inode.contentWanted);
        }
    }

    private Cut capture(Set<Inode> wanted, boolean everything, long bytesMax) throws FileSystemException {
        closeGate();
        try {
            while (true) {
                Cut cut = cut(wanted, everything, bytesMax);
                if (!namesLost) {
                    return cut;
                }
                // Somebody who reads has just reloaded a directory that is missing in it now.
                cut.captured.forEach(one -> failed(one, null));
            }
        } finally {
            gate.writeLock().unlock();
        }
    }

    private Cut cut(Set<Inode> wanted, boolean everything, long bytesMax) throws FileSystemException {
        Cut cut = new Cut();
        try {
            List<Inode> candidates;
            synchronized (monitor) {
                candidates = new ArrayList<>(dirty);
            }
            giveUpOutdated(candidates);
            boolean pressure = isUnderPressure();
            long bytesLeft = bytesMax;
            for (Inode inode : candidates) {
                if (inode.contentWanted) {
                    bytesLeft -= capture(inode, Long.MAX_VALUE, true, cut);
                }
            }
            for (Inode inode : wanted) {
                bytesLeft -= capture(inode, bytesLeft, true, cut);
            }
            cut.contentLeft &= !wanted.isEmpty();
            long companionsLeft = Math.min(bytesLeft, COMPANION_BYTES_MAX);
            for (Inode inode : candidates) {
                boolean wantedLeft = cut.contentLeft;
                boolean due = everything || pressure || isOld(inode);
                long taken = capture(inode, due ? bytesLeft : Math.min(companionsLeft, bytesLeft), everything, cut);
                bytesLeft -= taken;
                companionsLeft -= due ? 0 : taken;
                cut.contentLeft = everything ? cut.contentLeft : wantedLeft;
            }
            return cut;
        } catch (FileSystemException | RuntimeException | Error e) {
            // A part of a cut is no cut: it could hold a name without its inode.
            FileSystemException failure = e instanceof FileSystemException f
                    ? f
                    : new FileSystemException(Code.IO, "capture failed: " + e, e);
            cut.captured.forEach(one -> failed(one, failure));
            throw e;
        }
    }

    /** With the gate closed and no commit under way: what other nodes have changed is as they left it; and if that takes away names, or what they stand for, all changes of names that are not committed go. */
    private void giveUpOutdated(List<Inode> candidates) {
        conflict = false;
        for (Inode inode : candidates) {
            if (inode.outdated) {
                giveUp(inode, false);
            }
        }
        if (namesLost) {
            for (Inode inode : candidates) {
                if (inode.isDirty() && inode.changesNames()) {
                    giveUp(inode, true);
                }
            }
            namesLost = false;
        }
    }

    private void giveUp(Inode inode, boolean wholly) {
        if (!inode.tryPin()) {
            return; // it has left memory, since nothing of it was dirty any more
        }
        try {
            if (wholly) {
                reloader.rollBack(inode);
            } else {
                reloader.reload(inode);
            }
        } catch (FileSystemException e) {
            // Its next user meets the same; what was not committed of it is gone.
            log.atDebug().addKeyValue("block", inode.origin.block()).setCause(e).log("reload_failed");
        } finally {
            inode.unpin();
        }
    }

    /** Operations hold the gate shared, some while they read a sector; waiting in slices lets others pass meanwhile. */
    private void closeGate() throws FileSystemException {
        long deadline = nowNanos() + TimeUnit.MILLISECONDS.toNanos(TIMEOUT_MILLIS);
        try {
            while (!gate.writeLock().tryLock(GATE_SLICE_MILLIS, TimeUnit.MILLISECONDS)) {
                if (nowNanos() > deadline) {
                    throw new FileSystemException(
                            Code.TIMED_OUT, "operations under way have taken longer than " + TIMEOUT_MILLIS + " ms");
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new FileSystemException(Code.TIMED_OUT, "interrupted while waiting for operations to end", e);
        }
    }

    /**
     * Captures one inode, unless it is in the cut already; returns the bytes of content taken.
     *
     * @param forced also content that could not be written a moment ago
     */
    private long capture(Inode inode, long bytesMax, boolean forced, Cut cut) throws FileSystemException {
        if (!cut.inodes.add(inode)) {
            return 0;
        }
        Lock shared = inode.sharedWhatever();
        try {
            long since = inode.dirtySinceNanos;
            if (since == 0) {
                return 0;
            }
            if (inode.deleted) {
                cut.captured.add(Captured.of(inode, null, null, null, inode.orphaned, true, since));
                inode.flushing = true;
                clean(inode);
                return 0;
            }
            FilePayload file = inode.file;
            FilePayload.Capture content = null;
            StoredInode.File stored = null;
            boolean complete = true;
            if (file != null) {
                boolean writable = bytesMax > 0 && (forced || nowNanos() >= inode.contentRetryNanos);
                if (writable || !file.hasDirtyData()) {
                    content = file.capture(bytesMax);
                    stored = content.content();
                    complete = content.complete();
                } else {
                    cut.contentLeft = true;
                    if (!inode.attributesDirty) {
                        return 0;
                    }
                    stored = file.stored();
                    complete = false;
                }
            }
            cut.contentLeft |= !complete;
            DirectoryIndex.Capture entries = inode.directory == null ? null : inode.directory.capture();
            boolean orphan = inode.keptNameless;
            inode.attributesDirty = false;
            inode.flushing = true;
            // From here on a failure finds it in the cut and puts it back.
            StoredInode attributes = inode.toStored(stored);
            cut.captured.add(Captured.of(inode, attributes, content, entries, orphan, complete, since));
            if (complete) {
                inode.contentWanted = false;
                clean(inode);
            }
            return content == null ? 0 : content.bytes();
        } finally {
            shared.unlock();
        }
    }

    private void clean(Inode inode) {
        inode.dirtySinceNanos = 0;
        account(inode, 0);
        synchronized (monitor) {
            dirty.remove(inode);
            dirtyCount = dirty.size();
        }
    }

    /**
     * Seals, commits, and tells the inodes. Content of damaged blocks is left out, and its inodes added to {@code damaged}.
     *
     * @return false: other nodes have changed some of the blocks before; those are marked, and everything is dirty again
     */
    private boolean commitCaptured(List<Captured> all, Set<Inode> damaged) throws FileSystemException {
        if (all.isEmpty() && accessTimes.isEmpty()) {
            return true;
        }
        List<Captured> captured = all;
        while (true) {
            try {
                CommitReceipt receipt = sealAndCommit(captured);
                for (Captured one : captured) {
                    committed(one, receipt);
                }
                return true;
            } catch (StoreException | RuntimeException | Error e) {
                if (e instanceof StoreException s && s.code() == StoreException.Code.CONFLICT && overtaken(captured)) {
                    for (Captured one : captured) {
                        failed(one, null);
                    }
                    return false;
                }
                FileSystemException failure = e instanceof StoreException s
                        ? StoreErrors.toFileSystem(s)
                        : new FileSystemException(Code.IO, "commit failed: " + e, e);
                List<Captured> without =
                        failure.code() == Code.CORRUPT ? withoutDamagedContent(captured, failure, damaged) : captured;
                if (without != captured) {
                    captured = without;
                    continue;
                }
                for (Captured one : captured) {
                    failed(one, failure);
                }
                FileSystemException before = failing;
                if (before == null || before.code() != failure.code()) {
                    log.atError()
                            .addKeyValue("code", failure.code())
                            .setCause(failure)
                            .log("commit_failed");
                }
                failing = failure;
                announceRoom();
                if (e instanceof Error error) {
                    throw error;
                }
                throw failure;
            }
        }
    }

    /** Null when there was nothing of the tree to commit: files that came and went since the last commit, and access times. */
    private @Nullable CommitReceipt sealAndCommit(List<Captured> captured) throws StoreException {
        if (captured.stream().allMatch(one -> one.attributes() == null && one.base() == null)) {
            captured.forEach(one -> accessTimes.forget(one.inode()));
            accessTimes.write();
            return null;
        }
        long start = nowNanos();
        try (Commit commit = store.newCommit()) {
            for (Captured one : captured) {
                put(one, commit);
            }
            Map<BlockId, Long> times = accessTimes.addTo(commit);
            CommitReceipt receipt = store.commit(commit, false);
            commits.incrementAndGet();
            commitLatency.add(nowNanos() - start);
            accessTimes.written(times);
            return receipt;
        }
    }

    /**
     * A file whose stored tree is damaged must not keep all others from being written: its content is left out, is dirty again, and reported; its attributes are committed, so that
     * names and inodes stay together. Returns the list itself when no such file is in it.
     */
    private List<Captured> withoutDamagedContent(
            List<Captured> captured, FileSystemException failure, Set<Inode> damaged) {
        List<Captured> result = captured;
        for (int i = 0; i < captured.size(); i++) {
            Captured one = captured.get(i);
            FilePayload.Capture content = one.file();
            FilePayload file = one.payload();
            StoredInode attributes = one.attributes();
            if (content == null || file == null || attributes == null || !isDamaged(one.base(), content)) {
                continue;
            }
            if (result == captured) {
                result = new ArrayList<>(captured);
            }
            log.atError()
                    .addKeyValue("block", one.inode().origin.block())
                    .setCause(failure)
                    .log("content_not_written");
            StoredInode.File stored = file.stored();
            failed(one, failure);
            one.inode().flushing = true;
            one.inode().contentRetryNanos = nowNanos() + TimeUnit.MILLISECONDS.toNanos(DAMAGED_RETRY_MILLIS);
            damaged.add(one.inode());
            result.set(i, one.withoutContent(attributes.withFile(stored)));
        }
        return result;
    }

    private static boolean isDamaged(@Nullable OpenBlock base, FilePayload.Capture content) {
        if (base == null) {
            return false;
        }
        try {
            base.nextData(0);
            for (Page page : content.pages()) {
                base.nextData(page.index);
            }
            return false;
        } catch (StoreException e) {
            return e.code() == StoreException.Code.CORRUPT;
        }
    }

    private void put(Captured one, Commit commit) throws StoreException {
        Inode inode = one.inode();
        byte[] id = inode.origin.block().toBytes();
        if (one.attributes() == null) {
            accessTimes.forget(inode);
            if (one.base() != null) {
                commit.delete(one.base());
                accessTimes.delete(inode, commit);
                if (one.orphan()) {
                    commit.putLocal(ORPHANS, id, null);
                }
            }
            return;
        }
        BlockEdit edit;
        FilePayload.Capture file = one.file();
        DirectoryIndex.Capture directory = one.directory();
        if (file != null) {
            edit = FilePayload.edit(commit, one.base(), inode.fresh, file);
            seal(edit, file);
        } else {
            edit = one.base() != null
                    ? commit.edit(one.base())
                    : commit.create(Objects.requireNonNull(inode.fresh), StoredInode.SECTOR_SIZE_LOG2);
            if (directory != null) {
                if (directory.dropped() && edit.sectorCount() > 0) {
                    edit.truncate(0);
                }
                for (int i = 0; i < directory.nodes().size(); i++) {
                    edit.putSector(
                            directory.nodes().get(i).sector, directory.images().get(i), 0);
                }
            }
        }
        edit.attributes(one.attributes().encode());
        if (one.orphan()) {
            commit.putLocal(ORPHANS, id, new byte[] {1});
        } else if (inode.orphaned) {
            commit.putLocal(ORPHANS, id, null); // made without a name, and named since
        }
    }

    /** Seals the pages of a file, with a second thread when they are many. */
    private void seal(BlockEdit edit, FilePayload.Capture file) throws StoreException {
        List<Page> pages = file.pages();
        AtomicInteger next = new AtomicInteger();
        if (file.bytes() < SHARED_SEALING_BYTES || pages.size() < 2) {
            seal(edit, pages, next);
            return;
        }
        Future<@Nullable StoreException> help = sealers.submit(() -> {
            try {
                seal(edit, pages, next);
                return null;
            } catch (StoreException e) {
                return e;
            }
        });
        StoreException failure = null;
        try {
            seal(edit, pages, next);
        } finally {
            // Pages are in use until the other thread is done, whatever happened here.
            next.set(pages.size());
            failure = joined(help);
        }
        if (failure != null) {
            throw failure;
        }
    }

    private static void seal(BlockEdit edit, List<Page> pages, AtomicInteger next) throws StoreException {
        for (int i = next.getAndIncrement(); i < pages.size(); i = next.getAndIncrement()) {
            Page page = pages.get(i);
            edit.putSector(page.index, page.data, 0);
        }
    }

    private static @Nullable StoreException joined(Future<@Nullable StoreException> help) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    return help.get();
                } catch (InterruptedException e) {
                    interrupted = true;
                } catch (ExecutionException e) {
                    return new StoreException(StoreException.Code.IO, "sealing failed: " + e.getCause(), e);
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private void committed(Captured one, @Nullable CommitReceipt receipt) {
        Inode inode = one.inode();
        Lock exclusive = inode.exclusiveWhatever();
        try {
            StoredInode attributes = one.attributes();
            if (receipt == null || attributes == null) {
                table.remove(inode);
                inode.discardMemory();
                inode.flushing = false;
            } else {
                OpenBlock base = receipt.block(inode.origin.block());
                FilePayload.Capture file = one.file();
                DirectoryIndex.Capture directory = one.directory();
                if (file != null && one.payload() != null) {
                    one.payload().committed(file, base);
                } else if (one.payload() != null) {
                    one.payload().committedAttributes(base);
                }
                if (directory != null && one.entries() != null) {
                    one.entries().committed(directory);
                }
                inode.flushing = false;
                if (!one.isOfAnother()) {
                    inode.base = base;
                    inode.fresh = null;
                    inode.orphaned = one.orphan();
                    inode.storedLinkCount = attributes.linkCount();
                    table.reweigh(inode);
                }
            }
        } finally {
            exclusive.unlock();
        }
    }

    /** A commit was refused since it rests on what was there before: marks what other nodes have changed. False when that is nothing. */
    private boolean overtaken(List<Captured> captured) {
        boolean overtaken = false;
        for (Captured one : captured) {
            OpenBlock base = one.base();
            if (base != null && !isNewest(base)) {
                one.inode().outdated = true;
                overtaken = true;
            }
        }
        return overtaken;
    }

    private boolean isNewest(OpenBlock base) {
        try {
            return store.read(base.id()).generation() == base.generation();
        } catch (StoreException e) {
            return e.code() != StoreException.Code.NOT_FOUND;
        }
    }

    /** @param failure null: it is tried again at once, and nobody has to know */
    private void failed(Captured one, @Nullable FileSystemException failure) {
        Inode inode = one.inode();
        Lock exclusive = inode.exclusiveWhatever();
        try {
            FilePayload.Capture file = one.file();
            DirectoryIndex.Capture directory = one.directory();
            if (file != null && one.payload() != null) {
                one.payload().failed(file);
            }
            if (directory != null && one.entries() != null) {
                one.entries().failed(directory);
            }
            if (one.isOfAnother()) {
                if (one.names()) {
                    namesLost = true;
                }
                if (one.attributes() != null || one.names()) {
                    lost(inode);
                }
                return;
            }
            if (file != null && failure != null) {
                inode.writeFailed(failure.code());
            }
            inode.attributesDirty = true;
            if (inode.dirtySinceNanos == 0) {
                inode.dirtySinceNanos = one.dirtySinceNanos();
                enlist(inode);
            }
        } finally {
            inode.flushing = false; // not before it is dirty again: what is neither leaves memory
            exclusive.unlock();
        }
    }

    // ---- orphans

    /**
     * Deletes what was unlinked but still open when the node went down. Before anything else runs. The list is this node's own and not
     * authenticated: it only says where to look, and what has a name is not deleted. What cannot be deleted now stays on the list for
     * the next start.
     */
    static void deleteOrphans(BlockStore store) throws StoreException {
        List<byte[]> listed;
        try {
            listed = listedOrphans(store);
        } catch (StoreException e) {
            if (!e.isUnreadable()) {
                throw e;
            }
            log.atWarn().setCause(e).log("orphans_unknown");
            return;
        }
        int deleted = 0;
        for (int from = 0; from < listed.size(); from += 1024) {
            List<byte[]> some = listed.subList(from, Math.min(from + 1024, listed.size()));
            try (Commit commit = store.newCommit()) {
                int count = 0;
                for (byte[] id : some) {
                    count += deleteOrphan(store, id, commit) ? 1 : 0;
                }
                store.commit(commit, false);
                deleted += count;
            } catch (StoreException e) {
                // A full disk, or a capability that has ended, must not keep the tree from being read.
                log.atWarn().addKeyValue("count", some.size()).setCause(e).log("orphans_kept");
            }
        }
        if (deleted > 0) {
            log.atInfo().addKeyValue("count", deleted).log("orphans_deleted");
        }
    }

    /** Their ids, as far as they are such. */
    static List<byte[]> listedOrphans(BlockStore store) throws StoreException {
        List<byte[]> listed = new ArrayList<>();
        store.local(ORPHANS).forEach((id, value) -> {
            if (id.length == Id.SIZE) {
                listed.add(id);
            }
        });
        return listed;
    }

    static boolean isListedOrphan(BlockStore store, BlockId block) throws StoreException {
        return store.local(ORPHANS).get(block.toBytes()) != null;
    }

    private static boolean deleteOrphan(BlockStore store, byte[] id, Commit commit) throws StoreException {
        boolean deleted = false;
        try {
            OpenBlock orphan = store.read(BlockId.of(id));
            if (StoredInode.decode(orphan.attributes(), orphan.sectorCount()).linkCount() > 0) {
                log.atError().addKeyValue("block", orphan.id()).log("orphan_has_name");
            } else {
                commit.delete(orphan);
                deleted = true;
            }
        } catch (StoreException | FormatException e) {
            if (!(e instanceof StoreException missing && missing.code() == StoreException.Code.NOT_FOUND)) {
                log.atWarn().addKeyValue("block", BlockId.of(id)).setCause(e).log("orphans_kept");
                return false;
            }
        }
        commit.putLocal(ORPHANS, id, null);
        return deleted;
    }
}
