package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.store.BlockStore;
import blocktree.store.OpenBlock;
import blocktree.store.StoreException;
import blocktree.tree.FileSystemException.Code;
import java.util.Collection;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The inodes in memory by number, at most so many bytes of them, and what each number stands for. An inode that is pinned or dirty stays; others go, least recently used first (CLOCK). The meaning of
 * a number is kept as long as the kernel refers to it, and some time longer. Thread-safe.
 */
final class InodeTable {
    private static final Logger log = LoggerFactory.getLogger(InodeTable.class);
    private static final int STRIPES = 64;
    /** Numbers without references whose meaning is kept. */
    private static final int RETIRED_MAX = 65_536;

    /** What a number stands for and how often it was handed out; guarded by the map's compute. */
    private static final class Reference {
        final Origin origin;
        volatile long count;
        boolean queued;

        Reference(Origin origin) {
            this.origin = origin;
        }
    }

    private final BlockStore store;
    private final BlockId root;
    private final Cache cache;
    private final BufferPool pool;
    private final AccessTimes accessTimes;
    private final Inode.Reloader reloader;
    private final long weightBytesMax;

    private final ConcurrentMap<Long, Inode> inodes = new ConcurrentHashMap<>();
    private final ConcurrentMap<Long, Reference> references = new ConcurrentHashMap<>();
    private final ConcurrentLinkedQueue<Long> retired = new ConcurrentLinkedQueue<>();
    private final AtomicInteger retiredCount = new AtomicInteger();
    private final AtomicLong weightBytes = new AtomicLong();
    private final LongAdder hits = new LongAdder();
    private final LongAdder misses = new LongAdder();
    /** Held while an inode is read from the store, so that two threads never make two objects of one inode. */
    private final Lock[] loading = new Lock[STRIPES];
    /** Guarded by itself. */
    private final LinkedHashSet<Inode> clock = new LinkedHashSet<>();

    InodeTable(
            BlockStore store,
            Cache cache,
            BufferPool pool,
            AccessTimes accessTimes,
            Inode.Reloader reloader,
            long weightBytesMax) {
        this.store = store;
        this.root = store.rootBlock();
        this.cache = cache;
        this.pool = pool;
        this.accessTimes = accessTimes;
        this.reloader = reloader;
        this.weightBytesMax = weightBytesMax;
        for (int i = 0; i < STRIPES; i++) {
            loading[i] = new ReentrantLock();
        }
    }

    int size() {
        return inodes.size();
    }

    /** Inodes that were wanted and in memory. */
    long hits() {
        return hits.sum();
    }

    /** Inodes that were wanted and had to be read from the store. */
    long misses() {
        return misses.sum();
    }

    long number(Origin origin) {
        return origin.number(root);
    }

    /** The inode of a number, pinned. NOT_FOUND when nobody ever learned this number here, STALE when its block is gone. */
    Inode acquire(long number) throws FileSystemException {
        while (true) {
            Inode inode = inodes.get(number);
            if (inode == null) {
                Reference reference = references.get(number);
                if (reference != null) {
                    return acquireReferred(reference.origin);
                }
                if (number != FileSystem.ROOT_INODE) {
                    throw new FileSystemException(Code.NOT_FOUND, "unknown inode " + number);
                }
                return acquire(Origin.live(root, store.rootDomain()));
            }
            if (pin(inode)) {
                return inode;
            }
        }
    }

    private Inode acquireReferred(Origin origin) throws FileSystemException {
        try {
            return acquire(origin);
        } catch (FileSystemException e) {
            throw e.code() == Code.NOT_FOUND ? Inode.stale() : e;
        }
    }

    /** False when the inode had left memory. STALE when its block is gone. */
    private boolean pin(Inode inode) throws FileSystemException {
        if (!inode.tryPin()) {
            inodes.remove(inode.number, inode);
            return false;
        }
        hits.increment();
        try {
            inode.refresh();
            return true;
        } catch (FileSystemException e) {
            inode.unpin();
            throw e;
        }
    }

    /** The inode of an origin, pinned, from memory or the store. */
    Inode acquire(Origin origin) throws FileSystemException {
        long number = number(origin);
        while (true) {
            Inode inode = inodes.get(number);
            if (inode == null) {
                inode = load(number, origin);
                if (inode != null) {
                    return inode;
                }
                continue;
            }
            if (!inode.origin.equals(origin)) {
                log.atError()
                        .addKeyValue("inode", number)
                        .addKeyValue("block", origin.block())
                        .addKeyValue("other", inode.origin.block())
                        .log("inode_number_collision");
                throw new FileSystemException(Code.IO, "two blocks share inode number " + number);
            }
            if (pin(inode)) {
                return inode;
            }
        }
    }

    /** A new object, pinned; null when another thread was faster. */
    private @Nullable Inode load(long number, Origin origin) throws FileSystemException {
        Lock lock = Inode.locked(loading[(int) (number & (STRIPES - 1))]);
        try {
            if (inodes.containsKey(number)) {
                return null;
            }
            Inode inode = new Inode(number, origin, reloader);
            fill(inode, origin.read(store));
            if (inode.linkCount == 0 && origin.isLive()) {
                throw new FileSystemException(Code.NOT_FOUND, "block " + origin.block() + " has no name");
            }
            inode.tryPin();
            add(inode);
            misses.increment();
            return inode;
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        } finally {
            lock.unlock();
        }
    }

    /** Makes the inode what its block says. */
    void fill(Inode inode, OpenBlock block) throws FileSystemException {
        Origin origin = inode.origin;
        if (!block.domain().equals(origin.domain())) {
            throw new FileSystemException(
                    Code.CORRUPT, "block " + block.id() + " is of another domain than its directory entry says");
        }
        try {
            inode.fill(StoredInode.decode(block.attributes(), block.sectorCount()), block, cache, pool);
            if (origin.isVirtual()) {
                inode.becomeVirtual();
            }
            if (origin.isLive()) {
                accessTimes.apply(inode);
            }
        } catch (FormatException e) {
            log.atError()
                    .addKeyValue("block", origin.block())
                    .addKeyValue("reason", e.getMessage())
                    .log("block_corrupt");
            throw new FileSystemException(Code.CORRUPT, "block " + origin.block() + ": " + e.getMessage(), e);
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
        if (inode.protection().hasDamagedList()) {
            log.atError().addKeyValue("block", origin.block()).log("access_list_damaged");
        }
    }

    /** Makes an inode, which is pinned, findable. */
    void add(Inode inode) {
        inodes.put(inode.number, inode);
        inode.weighedBytes = inode.weightBytes();
        weightBytes.addAndGet(inode.weighedBytes);
        synchronized (clock) {
            clock.add(inode);
        }
        evictBeyondBound();
    }

    /** The block is deleted for good: nothing keeps its generation open from here on. */
    void remove(Inode inode) {
        drop(inode);
        references.computeIfPresent(
                inode.number, (number, reference) -> reference.origin.equals(inode.origin) ? null : reference);
    }

    /** Takes the inode out of memory; what its number stands for stays known. */
    void drop(Inode inode) {
        inodes.remove(inode.number, inode);
        boolean weighed;
        synchronized (clock) {
            weighed = clock.remove(inode);
        }
        if (weighed) {
            weightBytes.addAndGet(-inode.weighedBytes);
        }
    }

    /**
     * Another node's change of a block is in the store: the inode of this number, if it is of that block, is reloaded by its next user, and leaves memory at once when it has none. Waits
     * while an inode is being loaded, which may be with what was there before.
     *
     * @return whether something of it is not committed
     */
    boolean outdate(long number, BlockId block) {
        Lock lock = loading[(int) (number & (STRIPES - 1))];
        lock.lock();
        try {
            Inode inode = inodes.get(number);
            if (inode == null || !inode.origin.block().equals(block)) {
                return false;
            }
            inode.outdated = true;
            if (inode.tryEvict()) {
                drop(inode);
                inode.releaseMemory();
                return false;
            }
            return inode.isDirty() || inode.flushing;
        } finally {
            lock.unlock();
        }
    }

    boolean isTaken(long number) {
        return inodes.containsKey(number) || references.containsKey(number);
    }

    // ---- references

    void refer(Inode inode) {
        references.compute(inode.number, (number, known) -> {
            Reference reference = known == null ? new Reference(inode.origin) : known;
            reference.count++;
            return reference;
        });
    }

    boolean isReferred(Inode inode) {
        Reference reference = references.get(inode.number);
        return reference != null && reference.count > 0;
    }

    /** The inode, when it is in memory and this was its last reference. */
    @Nullable
    Inode forget(long number, long count) {
        boolean[] last = new boolean[1];
        references.computeIfPresent(number, (key, reference) -> {
            reference.count -= Math.min(count, reference.count);
            last[0] = reference.count == 0;
            if (reference.count == 0 && !reference.queued) {
                reference.queued = true;
                retired.add(key);
                retiredCount.incrementAndGet();
            }
            return reference;
        });
        while (retiredCount.get() > RETIRED_MAX) {
            Long oldest = retired.poll();
            if (oldest == null) {
                break;
            }
            retiredCount.decrementAndGet();
            references.computeIfPresent(oldest, (key, reference) -> {
                reference.queued = false;
                return reference.count == 0 ? null : reference;
            });
        }
        return last[0] ? inodes.get(number) : null;
    }

    // ---- eviction

    private void evictBeyondBound() {
        for (int looked = 0; weightBytes.get() > weightBytesMax && looked < 64; looked++) {
            Inode inode;
            synchronized (clock) {
                Iterator<Inode> oldest = clock.iterator();
                if (!oldest.hasNext()) {
                    return;
                }
                inode = oldest.next();
                oldest.remove();
            }
            boolean present = inodes.get(inode.number) == inode;
            if (present && (inode.touched || !inode.tryEvict())) {
                inode.touched = false;
                synchronized (clock) {
                    clock.add(inode);
                }
                continue;
            }
            inodes.remove(inode.number, inode);
            weightBytes.addAndGet(-inode.weighedBytes);
            inode.releaseMemory();
        }
    }

    /** After a commit, which is when inodes stop being pinned by their changes, and when one was reloaded. With its exclusive lock. */
    void reweigh(Inode inode) {
        int now = inode.weightBytes();
        weightBytes.addAndGet(now - inode.weighedBytes);
        inode.weighedBytes = now;
        evictBeyondBound();
    }

    Collection<Inode> all() {
        return inodes.values();
    }

    @Nullable
    Inode peek(long number) {
        return inodes.get(number);
    }
}
