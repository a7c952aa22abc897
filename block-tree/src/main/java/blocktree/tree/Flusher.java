package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.store.BlockEdit;
import blocktree.store.BlockStore;
import blocktree.store.Commit;
import blocktree.store.CommitReceipt;
import blocktree.store.StoreException;
import blocktree.tree.FileSystemException.Code;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.TimeUnit;
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
    private static final int DIRTY_INODES_MAX = 32_768;
    private static final long TICK_MILLIS = 250;
    private static final long RETRY_MILLIS = 1_000;
    private static final long TIMEOUT_MILLIS = 60_000;
    private static final long GATE_SLICE_MILLIS = 20;
    /** The local table of blocks that are unlinked and still open, by id. */
    static final String ORPHANS = "orphans";

    /** Somebody waits for this inode (null: for everything) to be committed. */
    private static final class Request {
        final @Nullable Inode inode;
        boolean served;

        @Nullable
        FileSystemException failure;

        Request(@Nullable Inode inode) {
            this.inode = inode;
        }
    }

    /** What a commit takes of one inode. {@code attributes} is null when the block is deleted. */
    private record Captured(
            Inode inode,
            byte @Nullable [] attributes,
            FilePayload.@Nullable Capture file,
            DirectoryIndex.@Nullable Capture directory,
            boolean orphan,
            boolean complete,
            long dirtySinceNanos) {}

    /** @param contentLeft of what was asked for, some has to wait for the next commit */
    private record Cut(List<Captured> captured, boolean contentLeft) {}

    private final BlockStore store;
    private final Cache cache;
    private final InodeTable table;
    private final AccessTimes accessTimes;
    private final TreeOptions options;
    private final long startNanos = System.nanoTime() - 1;

    final ReentrantReadWriteLock gate = new ReentrantReadWriteLock();
    /** Held from capture to completion of a commit. */
    private final ReentrantLock committing = new ReentrantLock();

    private final Object monitor = new Object();
    // Guarded by monitor:
    private final LinkedHashSet<Inode> dirty = new LinkedHashSet<>();
    private List<Request> requests = new ArrayList<>();
    private boolean stopped;

    private volatile int dirtyCount;
    /** Why the last commit failed; null when it did not. */
    private volatile @Nullable FileSystemException failing;

    private final AtomicLong commits = new AtomicLong();
    private volatile long syncedCommits;
    private final Thread thread;

    Flusher(BlockStore store, Cache cache, InodeTable table, AccessTimes accessTimes, TreeOptions options) {
        this.store = store;
        this.cache = cache;
        this.table = table;
        this.accessTimes = accessTimes;
        this.options = options;
        thread = new Thread(this::run, "tree-flusher");
        thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    long commits() {
        return commits.get();
    }

    int dirtyInodes() {
        return dirtyCount;
    }

    // ---- changes

    private long nowNanos() {
        return System.nanoTime() - startNanos;
    }

    /** Takes note of a change, with the inode's exclusive lock held (or before anybody else knows the inode). */
    void contentChanged(Inode inode) {
        if (inode.dirtySinceNanos == 0) {
            inode.dirtySinceNanos = nowNanos();
            enlist(inode);
        }
    }

    void attributesChanged(Inode inode) {
        inode.attributesDirty = true;
        contentChanged(inode);
    }

    private void enlist(Inode inode) {
        synchronized (monitor) {
            dirty.add(inode);
            dirtyCount = dirty.size();
            if (dirtyCount == DIRTY_INODES_FLUSHED) {
                monitor.notifyAll();
            }
        }
    }

    /** Waits, before any lock is taken, until there is room for more changes; fails at once while the store does not take any. */
    void throttle() throws FileSystemException {
        if (cache.dirtyBytes() < pressureBytes() && dirtyCount < DIRTY_INODES_FLUSHED) {
            return;
        }
        long deadline = nowNanos() + TimeUnit.MILLISECONDS.toNanos(TIMEOUT_MILLIS);
        synchronized (monitor) {
            monitor.notifyAll();
            while (cache.dirtyBytes() >= options.dirtyBytesMax() || dirtyCount >= DIRTY_INODES_MAX) {
                FileSystemException failure = failing;
                if (failure != null) {
                    throw copy(failure);
                }
                if (stopped) {
                    throw new FileSystemException(Code.CLOSED, "the tree is closed");
                }
                if (nowNanos() > deadline) {
                    throw new FileSystemException(
                            Code.TIMED_OUT, "the store took nothing for " + TIMEOUT_MILLIS + " ms");
                }
                await(100);
            }
        }
    }

    /** NO_SPACE while the store is full: before a change that needs room. */
    void requireSpace() throws FileSystemException {
        FileSystemException failure = failing;
        if (failure != null && failure.code() == Code.NO_SPACE) {
            throw copy(failure);
        }
    }

    private static FileSystemException copy(FileSystemException failure) {
        return new FileSystemException(failure.code(), String.valueOf(failure.getMessage()), failure);
    }

    private long pressureBytes() {
        return Math.min(options.dirtyBytesMax() / 4, COMMIT_BYTES_MAX);
    }

    private void await(long millis) throws FileSystemException {
        try {
            monitor.wait(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new FileSystemException(Code.TIMED_OUT, "interrupted while waiting for the store", e);
        }
    }

    // ---- requests

    /** Commits this inode (null: everything) and, with {@code sync}, brings it to the device. Shares commits and syncs with others that ask at the same time. */
    void flush(@Nullable Inode inode, boolean sync) throws FileSystemException {
        boolean needed = inode == null || inode.isDirty() || inode.flushing;
        if (needed) {
            Request request = new Request(inode);
            synchronized (monitor) {
                requests.add(request);
            }
            lock(committing);
            try {
                if (!request.served) {
                    serve();
                }
            } finally {
                committing.unlock();
            }
            FileSystemException failure = request.failure;
            if (failure != null) {
                throw copy(failure);
            }
        }
        if (sync) {
            long reached = commits.get();
            if (syncedCommits < reached) {
                try {
                    store.sync();
                } catch (StoreException e) {
                    throw StoreErrors.toFileSystem(e);
                }
                syncedCommits = Math.max(syncedCommits, reached);
            }
        }
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
        throw new FileSystemException(Code.TIMED_OUT, "another commit has taken longer than " + TIMEOUT_MILLIS + " ms");
    }

    /** With {@link #committing} held: serves all requests made so far. */
    private void serve() {
        List<Request> taken;
        synchronized (monitor) {
            taken = requests;
            requests = new ArrayList<>();
        }
        Set<Inode> wanted = new HashSet<>();
        boolean everything = false;
        for (Request request : taken) {
            Inode inode = request.inode;
            if (inode == null) {
                everything = true;
            } else {
                wanted.add(inode);
            }
        }
        FileSystemException failure = null;
        try {
            // What was dirty at the start fits into so many commits; the last one takes all that is left, so that this
            // ends however busy the writers are.
            long rounds = 1 + cache.dirtyBytes() / COMMIT_BYTES_MAX;
            for (long round = 1;
                    commit(wanted, everything, round > rounds ? Long.MAX_VALUE : COMMIT_BYTES_MAX) && round <= rounds;
                    round++) {}
        } catch (FileSystemException e) {
            failure = e;
        }
        for (Request request : taken) {
            request.failure = failure;
            request.served = true;
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
            if (!isDue() || nowNanos() < retryAtNanos) {
                continue;
            }
            try {
                lock(committing);
                try {
                    commit(Set.of(), false, COMMIT_BYTES_MAX);
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

    private boolean isDue() {
        if (cache.dirtyBytes() >= pressureBytes() || dirtyCount >= DIRTY_INODES_FLUSHED) {
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

    /** Ends the background thread and commits everything. */
    void stop() throws FileSystemException {
        synchronized (monitor) {
            stopped = true;
            monitor.notifyAll();
        }
        try {
            thread.join(TIMEOUT_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        flush(null, true);
    }

    /** Ends the background thread, and leaves what is dirty as a crash would. */
    void abandon() {
        synchronized (monitor) {
            stopped = true;
            monitor.notifyAll();
        }
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
    private boolean commit(Set<Inode> wanted, boolean everything, long bytesMax) throws FileSystemException {
        FileSystemException before = failing;
        boolean full = before != null && before.code() == Code.NO_SPACE;
        if (full) {
            // Deletions make room, and must not fail together with content that needs it.
            commitCaptured(capture(Set.of(), false, 0).captured());
        }
        Cut cut = capture(wanted, everything, bytesMax);
        commitCaptured(cut.captured());
        if (failing != null) {
            failing = null;
            log.atInfo().log("store_accepts_writes");
        }
        synchronized (monitor) {
            monitor.notifyAll();
        }
        return cut.contentLeft();
    }

    private Cut capture(Set<Inode> wanted, boolean everything, long bytesMax) throws FileSystemException {
        closeGate();
        try {
            List<Inode> candidates;
            synchronized (monitor) {
                candidates = new ArrayList<>(dirty);
            }
            boolean pressure = cache.dirtyBytes() >= pressureBytes();
            List<Captured> captured = new ArrayList<>(candidates.size());
            long bytesLeft = bytesMax;
            boolean contentLeft = false;
            for (Inode inode : wanted) {
                bytesLeft -= capture(inode, bytesLeft, captured);
                contentLeft |= inode.isDirty();
            }
            long companionsLeft = Math.min(bytesLeft, COMPANION_BYTES_MAX);
            for (Inode inode : candidates) {
                if (wanted.contains(inode)) {
                    continue;
                }
                boolean due = everything || pressure || inode.contentWanted || isOld(inode);
                long taken = capture(inode, due ? bytesLeft : Math.min(companionsLeft, bytesLeft), captured);
                bytesLeft -= taken;
                companionsLeft -= due ? 0 : taken;
                contentLeft |= everything && inode.isDirty();
            }
            return new Cut(captured, contentLeft);
        } finally {
            gate.writeLock().unlock();
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

    /** Captures one inode; returns the bytes of content taken. One that cannot be locked stays dirty. */
    private long capture(Inode inode, long bytesMax, List<Captured> captured) {
        Lock shared;
        try {
            shared = inode.shared();
        } catch (FileSystemException e) {
            log.atWarn().addKeyValue("block", inode.origin.block()).log("inode_locked_too_long");
            return 0;
        }
        try {
            long since = inode.dirtySinceNanos;
            if (since == 0) {
                return 0;
            }
            if (inode.deleted) {
                inode.flushing = true;
                clean(inode);
                captured.add(new Captured(inode, null, null, null, inode.orphaned, true, since));
                return 0;
            }
            FilePayload file = inode.file;
            FilePayload.Capture content = null;
            StoredInode.File stored = null;
            boolean complete = true;
            if (file != null) {
                boolean take = bytesMax > 0 || !file.hasDirtyData();
                if (take) {
                    content = file.capture(bytesMax);
                    stored = content.content();
                    complete = content.complete();
                } else if (inode.attributesDirty) {
                    stored = file.stored();
                    complete = false;
                } else {
                    return 0;
                }
            }
            DirectoryIndex.Capture entries = inode.directory == null ? null : inode.directory.capture();
            byte[] attributes = inode.toStored(stored).encode();
            boolean orphan = inode.linkCount == 0;
            inode.attributesDirty = false;
            inode.flushing = true;
            if (complete) {
                inode.contentWanted = false;
                clean(inode);
            }
            captured.add(new Captured(inode, attributes, content, entries, orphan, complete, since));
            return content == null ? 0 : content.bytes();
        } finally {
            shared.unlock();
        }
    }

    private void clean(Inode inode) {
        inode.dirtySinceNanos = 0;
        synchronized (monitor) {
            dirty.remove(inode);
            dirtyCount = dirty.size();
        }
    }

    /** Seals, commits, and tells the inodes. */
    private void commitCaptured(List<Captured> all) throws FileSystemException {
        List<Captured> captured = all;
        if (captured.isEmpty() && accessTimes.isEmpty()) {
            return;
        }
        while (true) {
            Captured[] culprit = new Captured[1];
            try (Commit commit = store.newCommit()) {
                for (Captured one : captured) {
                    culprit[0] = one;
                    put(one, commit);
                }
                culprit[0] = null;
                if (captured.stream().allMatch(one -> one.attributes() == null && one.inode().base == null)) {
                    // Nothing of the tree: files that came and went between two commits, and access times.
                    accessTimes.write();
                    for (Captured one : captured) {
                        committed(one, null);
                    }
                    return;
                }
                Map<BlockId, Long> times = accessTimes.addTo(commit);
                CommitReceipt receipt = store.commit(commit, false);
                commits.incrementAndGet();
                accessTimes.written(times);
                for (Captured one : captured) {
                    committed(one, receipt);
                }
                return;
            } catch (StoreException | RuntimeException e) {
                FileSystemException failure = e instanceof StoreException s
                        ? StoreErrors.toFileSystem(s)
                        : new FileSystemException(Code.IO, "commit failed: " + e, e);
                Captured bad = culprit[0];
                boolean onlyThis = bad != null && captured.size() > 1 && failure.code() == Code.CORRUPT;
                if (onlyThis) {
                    // A damaged block must not keep the others from being written.
                    log.atError()
                            .addKeyValue("block", bad.inode().origin.block())
                            .setCause(failure)
                            .log("inode_not_written");
                    failed(bad, failure);
                    captured = new ArrayList<>(captured);
                    captured.remove(bad);
                    continue;
                }
                for (Captured one : captured) {
                    failed(one, failure);
                }
                if (failing == null || failing.code() != failure.code()) {
                    log.atError()
                            .addKeyValue("code", failure.code())
                            .setCause(failure)
                            .log("commit_failed");
                }
                failing = failure;
                synchronized (monitor) {
                    monitor.notifyAll();
                }
                throw failure;
            }
        }
    }

    private void put(Captured one, Commit commit) throws StoreException {
        Inode inode = one.inode();
        byte[] id = inode.origin.block().toBytes();
        if (one.attributes() == null) {
            if (inode.base != null) {
                commit.delete(inode.base);
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
            edit = FilePayload.edit(commit, inode.base, inode.fresh, file);
            for (Page page : file.pages()) {
                edit.putSector(page.index, page.data, 0);
            }
        } else {
            edit = inode.base != null
                    ? commit.edit(inode.base)
                    : commit.create(Objects.requireNonNull(inode.fresh), SectorSizePolicy.SMALL_LOG2);
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
        edit.attributes(one.attributes());
        if (one.orphan()) {
            commit.putLocal(ORPHANS, id, new byte[] {1});
        }
    }

    private void committed(Captured one, @Nullable CommitReceipt receipt) {
        Inode inode = one.inode();
        Lock exclusive = inode.exclusiveWhatever();
        try {
            if (receipt == null || one.attributes() == null) {
                table.remove(inode);
                if (inode.file != null) {
                    inode.file.discard();
                }
                if (inode.directory != null) {
                    inode.directory.discard();
                }
            } else {
                inode.base = receipt.block(inode.origin.block());
                inode.fresh = null;
                inode.orphaned |= one.orphan();
                FilePayload.Capture file = one.file();
                DirectoryIndex.Capture directory = one.directory();
                if (file != null && inode.file != null) {
                    inode.file.committed(file, inode.base);
                } else if (inode.file != null) {
                    inode.file.committedAttributes(inode.base);
                }
                if (directory != null && inode.directory != null) {
                    inode.directory.committed(directory);
                }
            }
            inode.flushing = false;
        } finally {
            exclusive.unlock();
        }
        table.reweigh(inode);
    }

    private void failed(Captured one, FileSystemException failure) {
        Inode inode = one.inode();
        Lock exclusive = inode.exclusiveWhatever();
        try {
            FilePayload.Capture file = one.file();
            DirectoryIndex.Capture directory = one.directory();
            if (file != null && inode.file != null) {
                inode.file.failed(file);
                inode.writeFailed(failure.code());
            }
            if (directory != null && inode.directory != null) {
                inode.directory.failed(directory);
            }
            inode.attributesDirty = true;
            if (inode.dirtySinceNanos == 0) {
                inode.dirtySinceNanos = one.dirtySinceNanos();
                enlist(inode);
            }
            inode.flushing = false;
        } finally {
            exclusive.unlock();
        }
    }

    // ---- orphans

    /** Deletes what was unlinked but still open when the node went down. Before anything else runs. */
    static void deleteOrphans(BlockStore store) throws StoreException {
        List<byte[]> orphans = new ArrayList<>();
        store.local(ORPHANS).forEach((id, value) -> orphans.add(id));
        for (int from = 0; from < orphans.size(); from += 1024) {
            try (Commit commit = store.newCommit()) {
                for (byte[] id : orphans.subList(from, Math.min(from + 1024, orphans.size()))) {
                    try {
                        commit.delete(store.read(BlockId.of(id)));
                    } catch (StoreException e) {
                        if (e.code() != StoreException.Code.NOT_FOUND) {
                            log.atWarn()
                                    .addKeyValue("block", BlockId.of(id))
                                    .setCause(e)
                                    .log("orphan_kept");
                            continue;
                        }
                    }
                    commit.putLocal(ORPHANS, id, null);
                }
                store.commit(commit, false);
            }
        }
        if (!orphans.isEmpty()) {
            log.atInfo().addKeyValue("count", orphans.size()).log("orphans_deleted");
        }
    }
}
