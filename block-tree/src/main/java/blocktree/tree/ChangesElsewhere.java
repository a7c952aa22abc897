package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.store.BlockStore;
import blocktree.store.OpenBlock;
import blocktree.store.StoreException;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.locks.Lock;
import org.jspecify.annotations.Nullable;

/**
 * What other nodes have done to blocks, and what becomes of the inodes in memory: marked at once, and made anew by whoever uses them next. Marking waits for no commit: it is done on the thread that applies commits, those of
 * this node among them. Thread-safe.
 *
 * <p>What is not committed of an inode that another node has changed is lost. The content of a file is nobody else's concern; but a name that is lost may leave its inode without one, or with two. So with it all goes that has
 * to do with names and is not committed: {@link Flusher} sees to that before it captures anything again.
 */
final class ChangesElsewhere implements Inode.Reloader {
    /** What shows a block as it is now. */
    private static final List<Origin.Kind> SHOWN_AS = List.of(
            Origin.Kind.LIVE, Origin.Kind.SNAPSHOTS, Origin.Kind.VERSIONS_OF_DIRECTORY, Origin.Kind.VERSIONS_OF_FILE);

    private final BlockStore store;
    /** Of any block: numbers do not depend on it. */
    private final DomainId domain;

    private final InodeTable table;
    private final Flusher flusher;
    private final AccessTimes accessTimes;
    private final Changes changes;
    private final Changes.Names names;

    ChangesElsewhere(
            BlockStore store,
            InodeTable table,
            Flusher flusher,
            AccessTimes accessTimes,
            Changes changes,
            Changes.Names names) {
        this.store = store;
        this.domain = store.rootDomain();
        this.table = table;
        this.flusher = flusher;
        this.accessTimes = accessTimes;
        this.changes = changes;
        this.names = names;
    }

    /** See {@link TreeFileSystem#changedElsewhere}. */
    void changed(Collection<BlockId> blocks) {
        for (BlockId block : blocks) {
            for (Origin.Kind kind : SHOWN_AS) {
                if (table.outdate(number(block, kind), block)) {
                    flusher.conflict();
                }
            }
        }
        for (BlockId block : blocks) {
            for (Origin.Kind kind : SHOWN_AS) {
                changes.anythingChanged(number(block, kind), names);
            }
        }
    }

    private long number(BlockId block, Origin.Kind kind) {
        return table.number(Origin.live(block, domain).as(kind));
    }

    /** Whether the store has a newer generation of a directory than its entries in memory are of; it is marked then. */
    boolean isOutdated(Inode directory) throws FileSystemException {
        Lock shared = directory.shared();
        try {
            OpenBlock base = directory.base;
            if (base == null || !directory.origin.isLive()) {
                return false;
            }
            OpenBlock newest = read(directory);
            if (directory.flushing) {
                return true; // it may be this node's own: nobody completes that while this lock is held
            }
            if (newest == null || newest.generation() != base.generation()) {
                directory.outdated = true;
            }
            return directory.outdated;
        } finally {
            shared.unlock();
        }
    }

    @Override
    public void reload(Inode inode) throws FileSystemException {
        Lock exclusive = inode.exclusiveToReload();
        try {
            if (!inode.outdated || inode.gone) {
                return;
            }
            inode.outdated = false;
            try {
                OpenBlock newest = read(inode);
                if (!isOwn(inode.base, newest)) {
                    takeOver(inode, newest);
                }
            } catch (FileSystemException | RuntimeException | Error e) {
                giveUp(inode);
                throw e;
            }
        } finally {
            exclusive.unlock();
        }
    }

    /** Whether the newest generation is what the inode rests on; while it has none, its first is this node's, too. */
    private static boolean isOwn(@Nullable OpenBlock base, @Nullable OpenBlock newest) {
        if (base == null) {
            return newest == null || newest.generation() == 1;
        }
        return newest != null && newest.generation() == base.generation();
    }

    @Override
    public void rollBack(Inode inode) throws FileSystemException {
        Lock exclusive = inode.exclusiveToReload();
        try {
            inode.outdated = false;
            try {
                takeOver(inode, inode.base == null ? null : read(inode));
            } catch (FileSystemException | RuntimeException | Error e) {
                giveUp(inode);
                throw e;
            } finally {
                changes.anythingChanged(inode.number, names);
            }
        } finally {
            exclusive.unlock();
        }
    }

    /** The newest generation; null when the block is deleted. */
    private @Nullable OpenBlock read(Inode inode) throws FileSystemException {
        try {
            return inode.origin.read(store);
        } catch (StoreException e) {
            if (e.code() == StoreException.Code.NOT_FOUND) {
                return null;
            }
            throw StoreErrors.toFileSystem(e);
        }
    }

    /** Makes the inode, whose exclusive lock is held, what {@code newest} says; null: the block is deleted. */
    private void takeOver(Inode inode, @Nullable OpenBlock newest) throws FileSystemException {
        boolean listed = newest != null && (inode.linkCount == 0 || inode.orphaned) && isListedOrphan(inode);
        boolean lost = drop(inode) && !(inode.deleted && listed);
        inode.gone = newest == null;
        if (lost) {
            Flusher.lost(inode);
        }
        if (newest == null) {
            accessTimes.forget(inode);
            table.drop(inode);
        } else {
            inode.fresh = null;
            table.fill(inode, newest);
            table.reweigh(inode);
        }
        inode.linkable &= inode.linkCount == 0;
        inode.orphaned = listed && inode.linkCount == 0;
        inode.deleted = inode.orphaned && !inode.isOpen() && !table.isReferred(inode);
        if (inode.deleted) {
            flusher.attributesChanged(inode);
        }
        inode.keepNameless(inode.orphaned && !inode.deleted);
    }

    /** Whether this node is to delete the block. The list is written with the commit that takes the last name away, so it knows of that one while it is under way, too. */
    private boolean isListedOrphan(Inode inode) throws FileSystemException {
        try {
            return Flusher.isListedOrphan(store, inode.origin.block());
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
    }

    /** The inode cannot be made anew now: what is in memory of it is void all the same. */
    private void giveUp(Inode inode) {
        if (drop(inode)) {
            Flusher.lost(inode);
        }
        inode.outdated = true;
    }

    /** True when something is lost by that. */
    private boolean drop(Inode inode) {
        boolean lost = flusher.forget(inode);
        inode.reloadCount++;
        inode.discardMemory();
        return lost;
    }
}
