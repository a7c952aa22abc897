package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.store.BlockStore;
import blocktree.store.Commit;
import blocktree.store.NewBlock;
import blocktree.store.SnapshotInfo;
import blocktree.store.StatePin;
import blocktree.store.StoreException;
import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.security.SecureRandom;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.Collection;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The tree of a {@link BlockStore} as a file system, with a write-back cache. Thread-safe. Several mounts share one, each through a {@link #view}.
 *
 * <p>Locks, in this order (docs/concurrency.md): the flusher's commit lock; the gate (shared by operations on more than one inode); {@link #renaming}; inodes, directories before what is in them and ancestors before
 * descendants, other inodes by number; then leaves: the table's loading stripes, monitors of the cache, the flusher and single inodes. All waits are bounded and end in TIMED_OUT.
 */
public final class TreeFileSystem implements FileSystem {
    private static final Logger log = LoggerFactory.getLogger(TreeFileSystem.class);
    private static final int LINK_COUNT_MAX = Integer.MAX_VALUE;
    private static final int KEEP_SIZE = 1;
    private static final int PUNCH_HOLE = 2;
    private static final int ZERO_RANGE = 16;
    /** Attempts of an operation whose names change under its hands. */
    private static final int ATTEMPTS = 1000;

    private final BlockStore store;
    private final TreeOptions options;
    private final Cache cache;
    private final BufferPool pool;
    private final AccessTimes accessTimes;
    private final InodeTable table;
    private final Flusher flusher;
    private final ReadAhead readAhead = new ReadAhead();
    private final History history;
    private final Changes changes;
    private final ChangesElsewhere elsewhere;
    private final ChangeGate changeGate;
    private final Passage passage = new Passage();
    private final FileLocks locks = new FileLocks();
    private final SecureRandom random = new SecureRandom();

    private final ConcurrentMap<Long, Handle> handles = new ConcurrentHashMap<>();
    private final AtomicLong nextHandle = new AtomicLong(1);
    /** Held by renames between directories, so that the shape of the tree stands still while ancestors are compared. */
    private final ReentrantLock renaming = new ReentrantLock();

    private final Inode.Reloader reloader = new Inode.Reloader() {
        @Override
        public void reload(Inode inode) throws FileSystemException {
            elsewhere.reload(inode);
        }

        @Override
        public void rollBack(Inode inode) throws FileSystemException {
            elsewhere.rollBack(inode);
        }
    };

    private volatile boolean closed;
    /** Everything was written back after {@link #closed}. */
    private volatile boolean ended;

    private TreeFileSystem(BlockStore store, TreeOptions options, ChangeGate changeGate) {
        this.store = store;
        this.options = options;
        this.changeGate = changeGate;
        changes = new Changes(changeGate != ChangeGate.OPEN);
        cache = new Cache(options.cleanBytesMax());
        accessTimes = new AccessTimes(store);
        pool = new BufferPool(
                options.dirtyBytesMax() + options.cleanBytesMax(), () -> cache.dirtyBytes() + cache.cleanBytes());
        table = new InodeTable(store, cache, pool, accessTimes, reloader, options.inodeBytesMax());
        flusher = new Flusher(store, cache, table, accessTimes, changes, reloader, options);
        elsewhere = new ChangesElsewhere(store, table, flusher, accessTimes, changes, this::standsFor);
        history = new History(store, table);
    }

    /** Leaves the gate for changes when it is closed. */
    private final class Passage implements AutoCloseable {
        @Override
        public void close() {
            changeGate.leave();
        }
    }

    /** To be held around the whole of an operation that changes the tree, once. */
    private Passage change() throws FileSystemException {
        requireOpen();
        changeGate.enter();
        if (flusher.hasConflict()) {
            try {
                flusher.resolveConflict();
            } catch (FileSystemException e) {
                changeGate.leave();
                throw e;
            }
        }
        return passage;
    }

    /** Makes the root directory of a fresh store, durably. EXISTS when there is one. */
    public static void format(BlockStore store, int uid, int gid, int permissions) throws FileSystemException {
        Instant now = Instant.now();
        long nanos = now.getEpochSecond() * 1_000_000_000L + now.getNano();
        byte[] hashKey = new byte[SipHash.KEY_SIZE];
        new SecureRandom().nextBytes(hashKey);
        StoredInode root = new StoredInode(
                Attributes.TYPE_DIRECTORY | permissions & 07777,
                uid,
                gid,
                2,
                0,
                nanos,
                nanos,
                nanos,
                nanos,
                new byte[0],
                Collections.emptySortedMap(),
                null,
                new StoredInode.Directory(null, hashKey, DirectoryIndex.Layout.EMPTY));
        try (Commit commit = store.newCommit()) {
            commit.create(store.newRootBlock(), StoredInode.SECTOR_SIZE_LOG2).attributes(root.encode());
            store.commit(commit, true);
        } catch (StoreException e) {
            if (e.code() == StoreException.Code.CONFLICT) {
                throw new FileSystemException(Code.EXISTS, "the tree has a root directory already", e);
            }
            throw StoreErrors.toFileSystem(e);
        }
    }

    /** As {@link #open(BlockStore, TreeOptions, ChangeGate)}, of a node that nobody shares the tree with. */
    public static TreeFileSystem open(BlockStore store, TreeOptions options) throws FileSystemException {
        return open(store, options, ChangeGate.OPEN);
    }

    /**
     * Opens the tree; deletes what was unlinked but open when the node last went down. The store stays the caller's to close, after {@link #close}.
     *
     * @param gate passed once by each operation that changes the tree
     */
    public static TreeFileSystem open(BlockStore store, TreeOptions options, ChangeGate gate)
            throws FileSystemException {
        try {
            if (!store.isReadOnly()) {
                Flusher.deleteOrphans(store);
            }
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
        deleteCheckSnapshots(store);
        TreeFileSystem tree = new TreeFileSystem(store, options, gate);
        tree.table.acquire(ROOT_INODE).unpin();
        tree.flusher.start();
        return tree;
    }

    /** Earlier versions checked a snapshot, and left it when they were killed: nobody can name it to delete it. */
    private static void deleteCheckSnapshots(BlockStore store) {
        if (store.isReadOnly() || store.isOrdered()) {
            return; // in a cluster it would wait for a majority
        }
        try {
            for (SnapshotInfo snapshot : store.snapshots()) {
                if (snapshot.name().length > 0 && snapshot.name()[0] == 0) {
                    store.deleteSnapshot(snapshot.name());
                }
            }
        } catch (StoreException e) {
            log.atWarn().setCause(e).log("check_snapshot_kept");
        }
    }

    /**
     * Other nodes' commits that made, changed or deleted these blocks have just been applied to the store. When this returns, no operation that begins shows what was there before, and kernels are about to be told. Files
     * and directories in use that are deleted give STALE from then on. What was not committed of these blocks here is lost: that can only be after this node's right to change the tree was lost, too. Waits for no commit, nor for anything that
     * does.
     *
     * @param blocks any number, known here or not; not of a commit of this node that has not returned yet
     * @throws IllegalStateException when the tree was opened as one that nobody shares
     */
    public void changedElsewhere(Collection<BlockId> blocks) {
        if (!changes.areShared()) {
            throw new IllegalStateException("the tree was opened without a gate");
        }
        elsewhere.changed(blocks);
    }

    /** Commits all that is not, and brings it to the device: for who has closed the gate for changes, and wants nothing of them left here when it returns. Cheap when nothing is. */
    public void settle() throws FileSystemException {
        if (!flusher.isSettled()) {
            FileSystem.await(flusher.flush(null, true));
        }
    }

    /** A file system that shows this tree, or a directory of it. Closing it writes back and leaves the tree open. NOT_FOUND or NOT_DIRECTORY when the subtree is not there. */
    public FileSystem view(ViewOptions view) throws FileSystemException {
        long root = ROOT_INODE;
        for (Name name : view.subtree()) {
            Attributes found = lookup(root, name);
            if (root != ROOT_INODE) {
                forget(root, 1);
            }
            root = found.inode();
            if (!found.isDirectory()) {
                forget(root, 1);
                throw new FileSystemException(Code.NOT_DIRECTORY, "the root of a view must be a directory");
            }
        }
        return new TreeView(this, root, view);
    }

    /** Makes a snapshot of the whole tree as it is now, changes in memory included. */
    public SnapshotInfo createSnapshot(Name name) throws FileSystemException {
        try (Passage inside = change()) {
            requireOpen();
            checkName(name);
            if (name.equals(History.VERSIONS)) {
                throw new FileSystemException(Code.INVALID, ".versions is taken");
            }
            FileSystem.await(flusher.flush(null, false));
            try {
                SnapshotInfo made = store.createSnapshot(name.bytes());
                changes.nameChanged(history.snapshotsNumber(), name);
                return made;
            } catch (StoreException e) {
                throw e.code() == StoreException.Code.CONFLICT
                        ? new FileSystemException(Code.EXISTS, "a snapshot of this name exists", e)
                        : StoreErrors.toFileSystem(e);
            }
        }
    }

    /** NOT_FOUND when there is none of this name. */
    public void deleteSnapshot(Name name) throws FileSystemException {
        try (Passage inside = change()) {
            requireOpen();
            try {
                store.deleteSnapshot(name.bytes());
            } catch (StoreException e) {
                throw StoreErrors.toFileSystem(e);
            }
            changes.nameChanged(history.snapshotsNumber(), name);
        }
    }

    /** Checks names, links, directories and orphans while the tree is in use, as of one moment: what is committed, so {@link #sync} first. */
    public TreeCheck.Summary check(Consumer<TreeFinding> findings) throws FileSystemException {
        requireOpen();
        try (StatePin pin = store.pin()) {
            return TreeCheck.run(store, pin, findings);
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
    }

    /**
     * What the tree holds in memory, and what it has done since it was opened.
     *
     * @param cacheHits pages of files and nodes of directories that were wanted and in memory
     * @param cacheMisses such that had to be read from the store, read ahead included
     * @param commitLatency of sealing and committing changes
     * @param syncLatency of waiting for the device after a commit
     */
    public record Counters(
            long commits,
            long dirtyBytes,
            long cleanBytes,
            int dirtyInodes,
            int cachedInodes,
            int openHandles,
            long cacheHits,
            long cacheMisses,
            long inodeHits,
            long inodeMisses,
            LatencyHistogram.Snapshot commitLatency,
            LatencyHistogram.Snapshot syncLatency) {}

    public Counters counters() {
        return new Counters(
                flusher.commits(),
                cache.dirtyBytes(),
                cache.cleanBytes(),
                flusher.dirtyInodes(),
                table.size(),
                handles.size(),
                cache.hits(),
                cache.misses(),
                table.hits(),
                table.misses(),
                flusher.commitLatency(),
                flusher.syncLatency());
    }

    // ---- names

    @Override
    public Attributes lookup(long parent, Name name) throws FileSystemException {
        Inode found = findNewest(parent, name);
        try {
            return referred(found);
        } finally {
            found.unpin();
        }
    }

    /** As {@link #find}, also when another node has made it a moment ago. */
    private Inode findNewest(long parent, Name name) throws FileSystemException {
        try {
            return find(parent, name);
        } catch (FileSystemException e) {
            if (e.code() != Code.NOT_FOUND || !changeGate.refresh()) {
                throw e;
            }
            return find(parent, name);
        }
    }

    /** The inode of a name, pinned. */
    private Inode find(long parent, Name name) throws FileSystemException {
        checkName(name);
        Inode directory = acquire(parent);
        try {
            if (directory.origin.isVirtual()) {
                return history.find(directory, name);
            }
            if (isSnapshots(directory, name)) {
                return table.acquire(directory.origin.as(Origin.Kind.SNAPSHOTS));
            }
            return acquireNamed(directory, name);
        } finally {
            directory.unpin();
        }
    }

    /** A block that does not exist although its name still does was withheld or lost: that is damage, not absence. */
    private Inode acquireNamed(Inode directory, Name name) throws FileSystemException {
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            Origin child = childOrigin(directory, name);
            if (child == null) {
                throw notFound();
            }
            try {
                return table.acquire(child);
            } catch (FileSystemException e) {
                if (e.code() != Code.NOT_FOUND && e.code() != Code.STALE) {
                    throw e;
                }
                if (child.equals(childOrigin(directory, name)) && !elsewhere.isOutdated(directory)) {
                    log.atError().addKeyValue("block", child.block()).log("block_missing");
                    throw new FileSystemException(Code.CORRUPT, "block " + child.block() + " is missing", e);
                }
            }
            awaitCommit(directory);
        }
        throw new FileSystemException(Code.TIMED_OUT, "the name keeps changing");
    }

    /** Until a commit that the inode is part of is over, for a moment at most. */
    private static void awaitCommit(Inode inode) throws FileSystemException {
        if (inode.flushing) {
            try {
                Thread.sleep(1);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new FileSystemException(Code.TIMED_OUT, "interrupted while waiting for a commit", e);
            }
        }
    }

    /** As of {@link Changes.Names}. */
    private long standsFor(long number, Name name) throws FileSystemException {
        Inode directory = acquire(number);
        try {
            if (directory.origin.isVirtual()) {
                Inode found = history.find(directory, name);
                found.unpin();
                return found.number;
            }
            Origin child = isSnapshots(directory, name)
                    ? directory.origin.as(Origin.Kind.SNAPSHOTS)
                    : childOrigin(directory, name);
            return child == null ? 0 : table.number(child);
        } catch (FileSystemException e) {
            if (e.code() == Code.NOT_FOUND) {
                return 0;
            }
            throw e;
        } finally {
            directory.unpin();
        }
    }

    private static boolean isSnapshots(Inode directory, Name name) {
        return directory.number == ROOT_INODE && name.equals(History.SNAPSHOTS);
    }

    private @Nullable Origin childOrigin(Inode directory, Name name) throws FileSystemException {
        Lock shared = directory.shared();
        try {
            DirectoryEntry entry = directory.directory().find(name);
            return entry == null ? null : directory.origin.child(entry);
        } finally {
            shared.unlock();
        }
    }

    @Override
    public void forget(long number, long count) {
        Inode inode = table.forget(number, count);
        if (inode != null && inode.linkCount == 0) {
            deleteIfUnused(inode);
        }
    }

    @Override
    public Attributes getAttributes(long inode) throws FileSystemException {
        Inode found = acquire(inode);
        try {
            return attributes(found);
        } finally {
            found.unpin();
        }
    }

    /** What the caller gets a reference with. */
    private Attributes referred(Inode inode) throws FileSystemException {
        table.refer(inode);
        try {
            return attributes(inode);
        } catch (FileSystemException e) {
            forget(inode.number, 1); // nobody else will
            throw e;
        }
    }

    private static Attributes attributes(Inode inode) throws FileSystemException {
        Lock shared = inode.shared();
        try {
            if (inode.deleted) {
                throw notFound();
            }
            return inode.attributes();
        } finally {
            shared.unlock();
        }
    }

    @Override
    public Attributes setAttributes(Caller caller, long number, AttributeChange change) throws FileSystemException {
        try (Passage inside = change()) {
            return changeAttributes(caller, number, change);
        }
    }

    private Attributes changeAttributes(Caller caller, long number, AttributeChange change) throws FileSystemException {
        Inode inode = acquireLive(number);
        try {
            Long size = change.sizeBytes();
            if (size != null) {
                if (size > inode.file().sizeBytes()) {
                    flusher.throttleGrowth();
                } else {
                    flusher.throttleRemoval();
                }
                prepareTruncate(inode, size);
            }
            Lock exclusive = inode.exclusive();
            try {
                requireKept(inode);
                Integer permissions = change.permissions();
                Protection protection =
                        permissions == null ? null : inode.protection().withPermissions(permissions);
                long now = now();
                if (size != null) {
                    FilePayload file = inode.file();
                    flusher.contentChanged(inode);
                    file.truncate(size);
                    inode.modifyTimeNanos = now;
                }
                if (change.dropsSetIds(inode.isDirectory())) {
                    dropSetIds(caller, inode);
                }
                if (protection != null) {
                    inode.protect(protection);
                }
                Integer uid = change.uid();
                if (uid != null) {
                    inode.uid = uid;
                }
                Integer gid = change.gid();
                if (gid != null) {
                    inode.gid = gid;
                }
                Long modifyTime = change.modifyTimeNanos();
                if (modifyTime != null) {
                    inode.modifyTimeNanos = modifyTime;
                }
                Long accessTime = change.accessTimeNanos();
                if (accessTime != null) {
                    accessTimes.set(inode, accessTime);
                }
                Long changeTime = change.changeTimeNanos();
                inode.changeTimeNanos = changeTime == null ? now : changeTime;
                flusher.attributesChanged(inode);
                return inode.attributes();
            } finally {
                exclusive.unlock();
            }
        } finally {
            inode.unpin();
        }
    }

    /** Loads the sector in which a truncation cuts, so that the store is not read under the exclusive lock. */
    private static void prepareTruncate(Inode inode, long size) throws FileSystemException {
        Lock shared = inode.shared();
        try {
            FilePayload file = inode.file();
            if (size > 0 && size < file.sizeBytes()) {
                file.prefetch(size - 1, size);
            }
        } finally {
            shared.unlock();
        }
    }

    // ---- making

    @Override
    public Attributes makeNode(Caller caller, long parent, Name name, int mode, long device)
            throws FileSystemException {
        try (Passage inside = change()) {
            int type = mode & Attributes.TYPE_MASK;
            if (type == Attributes.TYPE_DIRECTORY || type == Attributes.TYPE_SYMLINK || !StoredInode.isKnown(type)) {
                throw new FileSystemException(Code.INVALID, "not a kind that mknod makes");
            }
            Inode made = make(caller, parent, name, mode, device, new byte[0]);
            try {
                return referred(made);
            } finally {
                made.unpin();
            }
        }
    }

    @Override
    public Attributes makeDirectory(Caller caller, long parent, Name name, int mode) throws FileSystemException {
        try (Passage inside = change()) {
            Inode made = make(caller, parent, name, Attributes.TYPE_DIRECTORY | mode & 07777, 0, new byte[0]);
            try {
                return referred(made);
            } finally {
                made.unpin();
            }
        }
    }

    @Override
    public Attributes makeSymlink(Caller caller, long parent, Name name, byte[] target) throws FileSystemException {
        try (Passage inside = change()) {
            if (target.length == 0) {
                throw new FileSystemException(Code.NOT_FOUND, "empty symlink target");
            }
            if (target.length > StoredInode.SYMLINK_BYTES_MAX) {
                throw new FileSystemException(Code.NAME_TOO_LONG, "symlink target of " + target.length + " bytes");
            }
            Inode made = make(caller, parent, name, Attributes.TYPE_SYMLINK | 0777, 0, target.clone());
            try {
                return referred(made);
            } finally {
                made.unpin();
            }
        }
    }

    @Override
    public Created create(Caller caller, long parent, Name name, int mode, OpenMode open) throws FileSystemException {
        try (Passage inside = change()) {
            return opened(make(caller, parent, name, Attributes.TYPE_REGULAR | mode & 07777, 0, new byte[0]), open);
        }
    }

    /** Opens what was just made, and unpins it. */
    private Created opened(Inode made, OpenMode open) throws FileSystemException {
        try {
            long handle = openHandle(made, open);
            try {
                return new Created(referred(made), handle);
            } catch (FileSystemException e) {
                release(handle);
                throw e;
            }
        } finally {
            made.unpin();
        }
    }

    @Override
    public Created createNameless(Caller caller, long parent, int mode, OpenMode open, boolean linkable)
            throws FileSystemException {
        try (Passage inside = change()) {
            flusher.throttleGrowth();
            Inode directory = acquireLive(parent);
            try {
                return opened(makeNameless(caller, directory, mode, linkable), open);
            } finally {
                directory.unpin();
            }
        }
    }

    /** Makes a file that nobody else can find; pinned twice, by the caller and until it is deleted or gets a name. */
    private Inode makeNameless(Caller caller, Inode directory, int mode, boolean linkable) throws FileSystemException {
        Lock shared = directory.shared();
        try {
            var unused = directory.directory();
            requireLinked(directory);
            Inode made = newInode(caller, directory, Attributes.TYPE_REGULAR | mode & 07777, 0, new byte[0]);
            made.linkCount = 0;
            made.linkable = linkable;
            made.keepNameless(true);
            table.add(made);
            flusher.attributesChanged(made);
            return made;
        } finally {
            shared.unlock();
        }
    }

    /** Makes an inode with its first name; pinned. */
    private Inode make(Caller caller, long parent, Name name, int mode, long device, byte[] target)
            throws FileSystemException {
        checkName(name);
        flusher.throttleGrowth();
        Inode directory = acquireLive(parent);
        try {
            if (isSnapshots(directory, name) || childOrigin(directory, name) != null) {
                throw exists();
            }
            Lock gate = enter();
            try {
                Lock exclusive = directory.exclusive();
                try {
                    requireLinked(directory);
                    DirectoryIndex entries = directory.directory();
                    if (entries.find(name) != null) {
                        throw exists();
                    }
                    Inode made = newInode(caller, directory, mode, device, target);
                    entries.insert(entryFor(name, made, directory));
                    changes.nameChanged(directory.number, name);
                    if (made.isDirectory()) {
                        directory.linkCount++;
                    }
                    directory.modified(made.changeTimeNanos);
                    table.add(made);
                    flusher.attributesChanged(made);
                    flusher.attributesChanged(directory);
                    return made;
                } finally {
                    exclusive.unlock();
                }
            } finally {
                gate.unlock();
            }
        } finally {
            directory.unpin();
        }
    }

    private Inode newInode(Caller caller, Inode directory, int mode, long device, byte[] target)
            throws FileSystemException {
        DomainId domain = directory.origin.domain();
        NewBlock block;
        Origin origin;
        long number;
        do {
            block = store.newBlock(domain);
            origin = Origin.live(block.id(), domain);
            number = table.number(origin);
        } while (table.isTaken(number));
        boolean makesDirectory = (mode & Attributes.TYPE_MASK) == Attributes.TYPE_DIRECTORY;
        boolean inheritsGroup = (directory.mode & 02000) != 0;
        byte[] hashKey = new byte[SipHash.KEY_SIZE];
        if (makesDirectory) {
            random.nextBytes(hashKey);
        }
        Protection protection = Protection.ofNew(mode, caller, directory.protection());
        long now = now();
        StoredInode stored = new StoredInode(
                makesDirectory && inheritsGroup ? protection.mode() | 02000 : protection.mode(),
                caller.uid(),
                inheritsGroup ? directory.gid : caller.gid(),
                makesDirectory ? 2 : 1,
                device,
                now,
                now,
                now,
                now,
                target,
                protection.attributes(),
                (mode & Attributes.TYPE_MASK) == Attributes.TYPE_REGULAR ? StoredInode.File.EMPTY : null,
                makesDirectory
                        ? new StoredInode.Directory(directory.origin.block(), hashKey, DirectoryIndex.Layout.EMPTY)
                        : null);
        Inode inode = new Inode(number, origin, reloader);
        try {
            inode.fill(stored, null, cache, pool);
        } catch (FormatException e) {
            throw new IllegalStateException(e);
        }
        inode.fresh = block;
        inode.tryPin();
        return inode;
    }

    private static DirectoryEntry entryFor(Name name, Inode inode, Inode directory) {
        DomainId domain = inode.origin.domain();
        return new DirectoryEntry(
                0,
                name,
                inode.origin.block(),
                (inode.mode & Attributes.TYPE_MASK) >> 12,
                domain.equals(directory.origin.domain()) ? null : domain);
    }

    @Override
    public byte[] readSymlink(long number) throws FileSystemException {
        Inode inode = acquire(number);
        try {
            Lock shared = inode.shared();
            try {
                if ((inode.mode & Attributes.TYPE_MASK) != Attributes.TYPE_SYMLINK) {
                    throw new FileSystemException(Code.INVALID, "not a symlink");
                }
                touch(inode);
                return inode.symlinkTarget.clone();
            } finally {
                shared.unlock();
            }
        } finally {
            inode.unpin();
        }
    }

    @Override
    public Attributes link(long number, long newParent, Name newName) throws FileSystemException {
        try (Passage inside = change()) {
            checkName(newName);
            flusher.throttleGrowth();
            Deque<Runnable> undo = new ArrayDeque<>();
            try {
                Inode inode = acquireLive(number);
                undo.push(inode::unpin);
                Inode directory = acquireLive(newParent);
                undo.push(directory::unpin);
                if (inode.isDirectory()) {
                    throw new FileSystemException(Code.NOT_PERMITTED, "directories have one name");
                }
                if (!inode.origin.domain().equals(directory.origin.domain())) {
                    throw new FileSystemException(Code.CROSS_DOMAIN, "a name in another domain");
                }
                if (isSnapshots(directory, newName) || childOrigin(directory, newName) != null) {
                    throw exists();
                }
                take(undo, enter());
                take(undo, directory.exclusive());
                take(undo, inode.exclusive());
                requireLinked(directory);
                requireKept(inode);
                if (inode.linkCount == 0 && !inode.linkable) {
                    throw notFound();
                }
                DirectoryIndex entries = directory.directory();
                if (entries.find(newName) != null) {
                    throw exists();
                }
                if (inode.linkCount >= LINK_COUNT_MAX) {
                    throw new FileSystemException(Code.TOO_MANY_LINKS, "too many links");
                }
                entries.insert(entryFor(newName, inode, directory));
                changes.nameChanged(directory.number, newName);
                if (inode.linkCount == 0) {
                    inode.linkable = false;
                    inode.contentWanted = true;
                    inode.keepNameless(false);
                }
                long now = now();
                inode.linkCount++;
                inode.changeTimeNanos = now;
                directory.modified(now);
                flusher.attributesChanged(inode);
                flusher.attributesChanged(directory);
                table.refer(inode);
                return inode.attributes();
            } finally {
                undo.forEach(Runnable::run);
            }
        }
    }

    // ---- removing

    @Override
    public void unlink(long parent, Name name) throws FileSystemException {
        remove(parent, name, false);
    }

    @Override
    public void removeDirectory(long parent, Name name) throws FileSystemException {
        remove(parent, name, true);
    }

    private void remove(long parent, Name name, boolean wantsDirectory) throws FileSystemException {
        try (Passage inside = change()) {
            checkName(name);
            flusher.throttleRemoval();
            for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
                if (tryRemove(parent, name, wantsDirectory)) {
                    return;
                }
            }
            throw new FileSystemException(Code.TIMED_OUT, "the name keeps changing");
        }
    }

    /** False when the name came to stand for something else meanwhile. */
    private boolean tryRemove(long parent, Name name, boolean wantsDirectory) throws FileSystemException {
        Deque<Runnable> undo = new ArrayDeque<>();
        try {
            Inode directory = acquireLive(parent);
            undo.push(directory::unpin);
            if (isSnapshots(directory, name)) {
                throw readOnly();
            }
            Origin origin = childOrigin(directory, name);
            if (origin == null) {
                throw notFound();
            }
            Inode child = acquireForRemoval(origin);
            if (child != null) {
                undo.push(child::unpin);
            }
            take(undo, enter());
            take(undo, directory.exclusive());
            requireLinked(directory);
            DirectoryIndex entries = directory.directory();
            DirectoryEntry entry = entries.find(name);
            if (entry == null || !entry.block().equals(origin.block())) {
                return false;
            }
            boolean isDirectory = entry.mode() == Attributes.TYPE_DIRECTORY;
            if (wantsDirectory && !isDirectory) {
                throw new FileSystemException(Code.NOT_DIRECTORY, "not a directory");
            }
            if (!wantsDirectory && isDirectory) {
                throw new FileSystemException(Code.IS_DIRECTORY, "a directory");
            }
            long now = now();
            if (child != null) {
                take(undo, child.exclusive());
                if (isDirectory && child.directory().entryCount() > 0) {
                    throw new FileSystemException(Code.NOT_EMPTY, "the directory is not empty");
                }
            }
            entries.remove(name);
            changes.nameChanged(directory.number, name);
            directory.modified(now);
            if (isDirectory) {
                directory.linkCount--;
            }
            flusher.attributesChanged(directory);
            if (child != null) {
                unlinked(child, now);
            }
            return true;
        } finally {
            undo.forEach(Runnable::run);
        }
    }

    /** Null for a block that is damaged or missing: its name can be removed all the same. */
    private @Nullable Inode acquireForRemoval(Origin origin) throws FileSystemException {
        try {
            return table.acquire(origin);
        } catch (FileSystemException e) {
            if (e.code() == Code.CORRUPT || e.code() == Code.NOT_FOUND || e.code() == Code.STALE) {
                return null;
            }
            throw e;
        }
    }

    /** The inode lost a name; its exclusive lock is held. */
    private void unlinked(Inode inode, long now) throws FileSystemException {
        long left = inode.isDirectory() ? 0 : inode.linkCount - 1;
        if (left == 0) {
            inode.keepNameless(true);
        }
        inode.linkCount = left;
        inode.changeTimeNanos = now;
        flusher.attributesChanged(inode);
        if (left == 0) {
            deleteLocked(inode);
        }
    }

    /** The inode has no name, and may have lost its last handle or reference. Whoever takes the last of the three away gets here after that. */
    private void deleteIfUnused(Inode inode) {
        Lock exclusive = inode.exclusiveWhatever();
        try {
            deleteLocked(inode);
        } catch (FileSystemException e) {
            log.atDebug().addKeyValue("block", inode.origin.block()).setCause(e).log("orphan_left_for_the_next_start");
        } finally {
            exclusive.unlock();
        }
    }

    private void deleteLocked(Inode inode) throws FileSystemException {
        if (inode.linkCount > 0 || !inode.keptNameless || inode.isOpen() || table.isReferred(inode)) {
            return;
        }
        inode.deleted = true;
        FilePayload file = inode.file;
        if (file != null && !inode.flushing) {
            file.discard();
        }
        flusher.attributesChanged(inode);
        inode.keepNameless(false);
    }

    @Override
    public void rename(long parent, Name name, long newParent, Name newName, RenameMode mode)
            throws FileSystemException {
        try (Passage inside = change()) {
            checkName(name);
            checkName(newName);
            flusher.throttle();
            for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
                if (tryRename(parent, name, newParent, newName, mode)) {
                    return;
                }
            }
            throw new FileSystemException(Code.TIMED_OUT, "the names keep changing");
        }
    }

    private boolean tryRename(long parent, Name name, long newParent, Name newName, RenameMode mode)
            throws FileSystemException {
        Deque<Runnable> undo = new ArrayDeque<>();
        try {
            Inode from = acquireLive(parent);
            undo.push(from::unpin);
            Inode to = acquireLive(newParent);
            undo.push(to::unpin);
            if (isSnapshots(from, name) || isSnapshots(to, newName)) {
                throw readOnly();
            }
            Origin sourceOrigin = childOrigin(from, name);
            if (sourceOrigin == null) {
                throw notFound();
            }
            Inode source = table.acquire(sourceOrigin);
            undo.push(source::unpin);
            Origin targetOrigin = childOrigin(to, newName);
            Inode target = null;
            if (targetOrigin != null) {
                target = table.acquire(targetOrigin);
                undo.push(target::unpin);
            }
            if (target != null && mode == RenameMode.NO_REPLACE) {
                throw exists();
            }
            if (target == null && mode == RenameMode.EXCHANGE) {
                throw notFound();
            }
            if (!from.origin.domain().equals(to.origin.domain())) {
                throw new FileSystemException(Code.CROSS_DOMAIN, "a rename into another domain");
            }
            take(undo, enter());
            boolean movesDirectory = target != null && (source.isDirectory() || target.isDirectory());
            if (from != to || movesDirectory) {
                // Also within one directory: the two that are locked below could be parents to another rename.
                take(undo, Inode.locked(renaming));
            }
            if (from != to) {
                checkAncestors(source, from, to, target, mode);
            }
            boolean toFirst = from != to && (isAncestor(to, from) || !isAncestor(from, to) && to.number < from.number);
            take(undo, (toFirst ? to : from).exclusive());
            take(undo, (toFirst ? from : to).exclusive());
            requireLinked(from);
            requireLinked(to);
            DirectoryEntry sourceEntry = from.directory().find(name);
            DirectoryEntry targetEntry = to.directory().find(newName);
            boolean same = sourceEntry != null
                    && sourceEntry.block().equals(sourceOrigin.block())
                    && (targetEntry == null
                            ? targetOrigin == null
                            : targetOrigin != null && targetEntry.block().equals(targetOrigin.block()));
            if (!same) {
                return false;
            }
            if (source == target) {
                return true;
            }
            if (target != null && target.number < source.number) {
                take(undo, target.exclusive());
            }
            take(undo, source.exclusive());
            if (target != null && target.number > source.number) {
                take(undo, target.exclusive());
            }
            if (target == null || mode != RenameMode.EXCHANGE) {
                move(from, name, source, to, newName, target);
            } else {
                exchange(from, name, source, to, newName, target);
            }
            changes.nameChanged(from.number, name);
            changes.nameChanged(to.number, newName);
            return true;
        } finally {
            undo.forEach(Runnable::run);
        }
    }

    /** A directory cannot go below itself, and one that holds the source is not empty. With {@link #renaming} held. */
    private void checkAncestors(Inode source, Inode from, Inode to, @Nullable Inode target, RenameMode mode)
            throws FileSystemException {
        if (source.isDirectory() && (source == to || isAncestor(source, to))) {
            throw new FileSystemException(Code.INVALID, "a directory cannot be moved into itself");
        }
        if (target != null && target.isDirectory() && (target == from || isAncestor(target, from))) {
            throw mode == RenameMode.EXCHANGE
                    ? new FileSystemException(Code.INVALID, "a directory cannot be moved into itself")
                    : source.isDirectory()
                            ? new FileSystemException(Code.NOT_EMPTY, "the directory is not empty")
                            : new FileSystemException(Code.IS_DIRECTORY, "only a directory can replace one");
        }
    }

    private boolean isAncestor(Inode ancestor, Inode directory) throws FileSystemException {
        BlockId above = directory.parent;
        for (int depth = 0; above != null; depth++) {
            if (above.equals(ancestor.origin.block())) {
                return true;
            }
            if (depth > 100_000) {
                throw new FileSystemException(Code.CORRUPT, "directories in a circle");
            }
            Inode next = table.acquire(Origin.live(above, directory.origin.domain()));
            above = next.parent;
            next.unpin();
        }
        return false;
    }

    private void move(Inode from, Name name, Inode source, Inode to, Name newName, @Nullable Inode target)
            throws FileSystemException {
        long now = now();
        boolean directory = source.isDirectory();
        if (target != null) {
            if (directory && !target.isDirectory()) {
                throw new FileSystemException(Code.NOT_DIRECTORY, "a directory cannot replace what is none");
            }
            if (!directory && target.isDirectory()) {
                throw new FileSystemException(Code.IS_DIRECTORY, "only a directory can replace one");
            }
            if (directory && target.directory().entryCount() > 0) {
                throw new FileSystemException(Code.NOT_EMPTY, "the directory is not empty");
            }
            to.directory().replace(entryFor(newName, source, to));
        } else {
            to.directory().insert(entryFor(newName, source, to));
        }
        flusher.attributesChanged(to);
        try {
            from.directory().remove(name);
        } catch (FileSystemException e) {
            if (target != null) {
                to.directory().replace(entryFor(newName, target, to));
            } else {
                to.directory().remove(newName);
            }
            throw e;
        }
        if (directory) {
            from.linkCount--;
            if (target == null) {
                to.linkCount++;
            }
            source.parent = to.origin.block();
        }
        if (target != null) {
            unlinked(target, now);
            source.contentWanted = source.file != null;
        }
        from.modified(now);
        to.modified(now);
        source.changeTimeNanos = now;
        flusher.attributesChanged(from);
        flusher.attributesChanged(source);
    }

    private void exchange(Inode from, Name name, Inode source, Inode to, Name newName, Inode target)
            throws FileSystemException {
        long now = now();
        to.directory().replace(entryFor(newName, source, to));
        flusher.attributesChanged(to);
        try {
            from.directory().replace(entryFor(name, target, from));
        } catch (FileSystemException e) {
            to.directory().replace(entryFor(newName, target, to));
            throw e;
        }
        if (source.isDirectory()) {
            source.parent = to.origin.block();
            from.linkCount--;
            to.linkCount++;
        }
        if (target.isDirectory()) {
            target.parent = from.origin.block();
            to.linkCount--;
            from.linkCount++;
        }
        from.modified(now);
        to.modified(now);
        source.contentWanted = source.file != null;
        target.contentWanted = target.file != null;
        source.changeTimeNanos = now;
        target.changeTimeNanos = now;
        flusher.attributesChanged(from);
        flusher.attributesChanged(source);
        flusher.attributesChanged(target);
    }

    // ---- open files

    @Override
    public long open(Caller caller, long number, OpenMode mode) throws FileSystemException {
        if (mode.truncate()) {
            try (Passage inside = change()) {
                return openLive(caller, number, mode);
            }
        }
        changeGate.refresh();
        return openLive(caller, number, mode);
    }

    private long openLive(Caller caller, long number, OpenMode mode) throws FileSystemException {
        Inode inode = acquire(number);
        try {
            if ((mode.write() || mode.truncate()) && !inode.origin.isLive()) {
                throw readOnly();
            }
            if (mode.truncate()) {
                changeAttributes(caller, number, AttributeChange.size(0));
            }
            return openHandle(inode, mode);
        } finally {
            inode.unpin();
        }
    }

    private long openHandle(Inode inode, OpenMode mode) throws FileSystemException {
        Lock shared = inode.shared();
        try {
            var unused = inode.file();
            requireKept(inode);
            inode.opened();
            long handle = nextHandle.getAndIncrement();
            handles.put(handle, new Handle(inode, mode));
            return handle;
        } finally {
            shared.unlock();
        }
    }

    @Override
    public int read(long number, long offset, ByteBuffer target) throws FileSystemException {
        Handle handle = handle(number);
        if (!handle.mode.read()) {
            throw new FileSystemException(Code.BAD_HANDLE, "not opened to read");
        }
        if (offset < 0) {
            throw new FileSystemException(Code.INVALID, "negative offset");
        }
        Inode inode = handle.inode;
        Lock shared = inode.shared();
        try {
            FilePayload file = inode.file();
            if (file.inlineBytes() == 0) {
                readAhead.reading(handle, offset, target.remaining(), file.sizeBytes());
            }
            touch(inode);
            return file.read(offset, target);
        } finally {
            shared.unlock();
        }
    }

    @Override
    public int write(Caller caller, long number, long offset, ByteBuffer source) throws FileSystemException {
        int size;
        try (Passage inside = change()) {
            size = put(caller, number, offset, source);
        }
        syncIfWanted(number);
        return size;
    }

    @Override
    public long copy(Caller caller, long source, long sourceOffset, long target, long targetOffset, long sizeBytes)
            throws FileSystemException {
        long copied;
        try (Passage inside = change()) {
            copied = Copying.copy(
                    sizeBytes,
                    (at, buffer) -> read(source, sourceOffset + at, buffer),
                    (at, buffer) -> put(caller, target, targetOffset + at, buffer),
                    this::room);
        }
        syncIfWanted(target);
        return copied;
    }

    private void syncIfWanted(long number) throws FileSystemException {
        if (handle(number).mode.sync()) {
            fsync(number, true);
        }
    }

    private int put(Caller caller, long number, long offset, ByteBuffer source) throws FileSystemException {
        Handle handle = handle(number);
        if (!handle.mode.write()) {
            throw new FileSystemException(Code.BAD_HANDLE, "not opened to write");
        }
        if (offset < 0) {
            throw new FileSystemException(Code.INVALID, "negative offset");
        }
        Inode inode = handle.inode;
        int size = source.remaining();
        flusher.throttleGrowth();
        Lock shared = inode.shared();
        try {
            FilePayload file = inode.file();
            file.prepareWrite(handle.mode.append() ? file.sizeBytes() : offset, size);
        } finally {
            shared.unlock();
        }
        Lock exclusive = inode.exclusive();
        try {
            FilePayload file = inode.file();
            // Before the change, which may fail half way and leave dirty pages.
            flusher.contentChanged(inode);
            file.write(handle.mode.append() ? file.sizeBytes() : offset, source);
            inode.modified(now());
            dropSetIds(caller, inode);
        } finally {
            exclusive.unlock();
        }
        return size;
    }

    /** The content of the inode, whose exclusive lock is held, was changed. */
    private void dropSetIds(Caller caller, Inode inode) throws FileSystemException {
        int left = caller.modeAfterWrite(inode.mode);
        if (left != inode.mode) {
            inode.mode = left;
            flusher.attributesChanged(inode);
        }
    }

    @Override
    public void flush(long number) throws FileSystemException {
        handle(number).reportErrors();
    }

    @Override
    public CompletableFuture<Void> beginFsync(long number, boolean dataOnly) throws FileSystemException {
        Handle handle = handle(number);
        CompletableFuture<Void> reported = new CompletableFuture<>();
        flusher.flush(handle.inode, true).whenComplete((nothing, failure) -> {
            if (failure != null) {
                handle.errorsReported();
                reported.completeExceptionally(failure);
                return;
            }
            try {
                handle.reportErrors();
                reported.complete(null);
            } catch (FileSystemException e) {
                reported.completeExceptionally(e);
            }
        });
        return reported;
    }

    @Override
    public void release(long number) {
        Handle handle = handles.remove(number);
        if (handle == null) {
            return;
        }
        Inode inode = handle.inode;
        if (inode.released() && inode.linkCount == 0) {
            deleteIfUnused(inode);
        }
        inode.unpin();
    }

    @Override
    public CompletableFuture<Void> beginFsyncDirectory(long number) throws FileSystemException {
        Inode inode = acquire(number);
        return flusher.flush(inode, true)
                .thenCompose(nothing -> reported(inode))
                .whenComplete((nothing, failure) -> inode.unpin());
    }

    /** What was lost of a directory is said once, since it has no handles that could each say it. */
    private static CompletableFuture<Void> reported(Inode directory) {
        return directory.takeWriteError()
                ? CompletableFuture.failedFuture(
                        new FileSystemException(directory.writeErrorCode, "changes have not reached the store"))
                : CompletableFuture.completedFuture(null);
    }

    @Override
    public void allocate(Caller caller, long number, int mode, long offset, long sizeBytes) throws FileSystemException {
        try (Passage inside = change()) {
            boolean zeroes = (mode & (PUNCH_HOLE | ZERO_RANGE)) != 0;
            boolean known = mode == 0
                    || mode == KEEP_SIZE
                    || mode == (PUNCH_HOLE | KEEP_SIZE)
                    || mode == ZERO_RANGE
                    || mode == (ZERO_RANGE | KEEP_SIZE);
            if (!known) {
                throw new FileSystemException(Code.NOT_SUPPORTED, "fallocate mode " + mode);
            }
            if (offset < 0 || sizeBytes <= 0) {
                throw new FileSystemException(Code.INVALID, "range of " + sizeBytes + " bytes");
            }
            if (offset > StoredInode.FILE_SIZE_MAX - sizeBytes) {
                throw new FileSystemException(Code.FILE_TOO_BIG, "files end at 2^62 bytes");
            }
            Handle handle = handle(number);
            if (!handle.mode.write()) {
                throw new FileSystemException(Code.BAD_HANDLE, "not opened to write");
            }
            if (zeroes) {
                flusher.throttleRemoval();
            } else {
                flusher.throttleGrowth();
                requireRoom(sizeBytes);
            }
            Inode inode = handle.inode;
            Lock exclusive = inode.exclusive();
            try {
                FilePayload file = inode.file();
                flusher.contentChanged(inode);
                if (zeroes) {
                    file.punch(offset, sizeBytes);
                }
                if ((mode & KEEP_SIZE) == 0 && offset + sizeBytes > file.sizeBytes()) {
                    file.truncate(offset + sizeBytes);
                }
                inode.modified(now());
                dropSetIds(caller, inode);
                flusher.attributesChanged(inode);
            } finally {
                exclusive.unlock();
            }
        }
    }

    private void requireRoom(long bytes) throws FileSystemException {
        try {
            if (bytes > store.usableBytes()) {
                throw new FileSystemException(Code.NO_SPACE, "no room for " + bytes + " bytes");
            }
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
    }

    @Override
    public long seek(long number, long offset, boolean hole) throws FileSystemException {
        Inode inode = handle(number).inode;
        Lock shared = inode.shared();
        try {
            return inode.file().seek(offset, hole);
        } finally {
            shared.unlock();
        }
    }

    // ---- listing

    @Override
    public void readDirectory(long number, long cookie, DirectorySink sink) throws FileSystemException {
        if (cookie < 0) {
            throw new FileSystemException(Code.INVALID, "negative cookie");
        }
        if (cookie == 0) {
            changeGate.refresh();
        }
        Inode inode = acquire(number);
        try {
            if (inode.origin.isVirtual()) {
                history.list(inode, cookie, sink);
                return;
            }
            long at = cookie;
            while (true) {
                List<DirectoryEntry> entries = entriesAfter(inode, at);
                if (entries.isEmpty()) {
                    return;
                }
                for (DirectoryEntry entry : entries) {
                    if (!sink.entry(entry.name(), table.number(inode.origin.child(entry)), entry.mode(), entry.key())) {
                        return;
                    }
                    at = entry.key();
                }
            }
        } finally {
            inode.unpin();
        }
    }

    /** A leaf's worth of entries; the sink is called without locks. */
    private List<DirectoryEntry> entriesAfter(Inode inode, long cookie) throws FileSystemException {
        Lock shared = inode.shared();
        try {
            DirectoryIndex entries = inode.directory();
            if (inode.deleted) {
                return List.of();
            }
            if (cookie == 0) {
                touch(inode);
            }
            return entries.after(cookie);
        } finally {
            shared.unlock();
        }
    }

    @Override
    public long parent(long number) throws FileSystemException {
        Inode inode = acquire(number);
        try {
            if (!inode.isDirectory()) {
                throw new FileSystemException(Code.NOT_DIRECTORY, "not a directory");
            }
            Inode above;
            if (inode.origin.isVirtual() || inode.parent == null) {
                above = history.parent(inode);
            } else {
                Origin origin = inode.origin;
                above = table.acquire(new Origin(
                        origin.kind(), inode.parent, origin.domain(), origin.snapshot(), origin.generation()));
            }
            table.refer(above); // what the number stands for stays known for a while
            forget(above.number, 1);
            above.unpin();
            return above.number;
        } finally {
            inode.unpin();
        }
    }

    // ---- extended attributes

    @Override
    public byte[] getExtendedAttribute(long number, Name name) throws FileSystemException {
        Inode inode = acquire(number);
        try {
            Lock shared = inode.shared();
            try {
                byte[] value = inode.protection().attribute(name);
                if (value == null) {
                    throw noAttribute();
                }
                return value.clone();
            } finally {
                shared.unlock();
            }
        } finally {
            inode.unpin();
        }
    }

    @Override
    public void setExtendedAttribute(Caller caller, long number, Name name, byte[] value, ExtendedAttributeMode mode)
            throws FileSystemException {
        try (Passage inside = change()) {
            if (name.sizeBytes() == 0 || name.sizeBytes() > NAME_SIZE_MAX) {
                throw new FileSystemException(Code.RANGE, "attribute name of " + name.sizeBytes() + " bytes");
            }
            if (value.length > StoredInode.EXTENDED_ATTRIBUTE_BYTES_MAX) {
                throw new FileSystemException(Code.TOO_BIG, "attribute value of " + value.length + " bytes");
            }
            flusher.throttleGrowth();
            changeProtection(number, protection -> {
                boolean present = protection.attributes().containsKey(name);
                if (mode == ExtendedAttributeMode.CREATE && present) {
                    throw exists();
                }
                if (mode == ExtendedAttributeMode.REPLACE && !present) {
                    throw noAttribute();
                }
                Protection changed = protection.with(caller, name, value.clone());
                long total = 0;
                for (var attribute : changed.attributes().entrySet()) {
                    total += attribute.getKey().sizeBytes() + attribute.getValue().length;
                }
                if (total > StoredInode.EXTENDED_ATTRIBUTES_BYTES_MAX) {
                    throw new FileSystemException(Code.NO_SPACE, "extended attributes of " + total + " bytes");
                }
                return changed;
            });
        }
    }

    @Override
    public Name[] listExtendedAttributes(long number) throws FileSystemException {
        Inode inode = acquire(number);
        try {
            Lock shared = inode.shared();
            try {
                return inode.extendedAttributes.keySet().toArray(new Name[0]);
            } finally {
                shared.unlock();
            }
        } finally {
            inode.unpin();
        }
    }

    @Override
    public void removeExtendedAttribute(long number, Name name) throws FileSystemException {
        try (Passage inside = change()) {
            changeProtection(number, protection -> protection.without(name));
        }
    }

    private interface ProtectionChange {
        Protection apply(Protection protection) throws FileSystemException;
    }

    private void changeProtection(long number, ProtectionChange change) throws FileSystemException {
        Inode inode = acquireLive(number);
        try {
            Lock exclusive = inode.exclusive();
            try {
                requireKept(inode);
                inode.protect(change.apply(inode.protection()));
                inode.changeTimeNanos = now();
                flusher.attributesChanged(inode);
            } finally {
                exclusive.unlock();
            }
        } finally {
            inode.unpin();
        }
    }

    // ---- the whole

    @Override
    public CompletableFuture<Void> room() {
        return flusher.room();
    }

    @Override
    public Changes changes() {
        return changes;
    }

    @Override
    public FileLocks locks() {
        return locks;
    }

    @Override
    public Statistics statistics() throws FileSystemException {
        requireOpen();
        try {
            long total = store.totalBytes();
            long usable = Math.max(0, store.usableBytes() - cache.dirtyBytes());
            // Inodes are not limited; programs want to see a large number.
            return new Statistics(total, usable, usable, 1L << 40, 1L << 39, DirectoryNode.SECTOR_SIZE);
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
    }

    @Override
    public void sync() throws FileSystemException {
        requireOpen();
        FileSystem.await(flusher.flush(null, true));
    }

    @Override
    public void close() throws FileSystemException {
        closed = true;
        if (!ended) {
            readAhead.close();
            flusher.stop();
            ended = true;
            handles.clear();
        }
    }

    /** Ends without writing anything back, as a crash would: for tests. */
    void abandon() {
        closed = true;
        ended = true;
        readAhead.close();
        flusher.abandon();
    }

    // ---- helpers

    private Inode acquire(long number) throws FileSystemException {
        requireOpen();
        return table.acquire(number);
    }

    /** An inode that takes changes. One that waits to be deleted is as unknown as it will be after that. */
    private Inode acquireLive(long number) throws FileSystemException {
        Inode inode = acquire(number);
        if (inode.deleted) {
            inode.unpin();
            throw notFound();
        }
        if (!inode.origin.isLive() || store.isReadOnly()) {
            inode.unpin();
            throw readOnly();
        }
        return inode;
    }

    private Handle handle(long number) throws FileSystemException {
        requireOpen();
        Handle handle = handles.get(number);
        if (handle == null) {
            throw new FileSystemException(Code.BAD_HANDLE, "no handle " + number);
        }
        return handle;
    }

    private void requireOpen() throws FileSystemException {
        if (closed) {
            throw new FileSystemException(Code.CLOSED, "the tree is closed");
        }
    }

    /** The gate, for an operation on more than one inode. */
    private Lock enter() throws FileSystemException {
        return Inode.locked(flusher.gate.readLock());
    }

    private static void take(Deque<Runnable> undo, Lock lock) {
        undo.push(lock::unlock);
    }

    /** An inode that is deleted takes no more changes; one that is unlinked and in use does. */
    private static void requireKept(Inode inode) throws FileSystemException {
        if (inode.deleted) {
            throw notFound();
        }
    }

    /** A directory that was removed takes no more entries. */
    private static void requireLinked(Inode directory) throws FileSystemException {
        if (directory.linkCount == 0) {
            throw notFound();
        }
    }

    private void touch(Inode inode) {
        if (inode.origin.isLive() && !store.isReadOnly()) {
            accessTimes.accessed(inode, now());
        }
    }

    private long now() {
        Instant now = options.clock().instant();
        return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }

    static void checkName(Name name) throws FileSystemException {
        if (name.sizeBytes() > NAME_SIZE_MAX) {
            throw new FileSystemException(Code.NAME_TOO_LONG, "name of " + name.sizeBytes() + " bytes");
        }
        if (!DirectoryNode.validName(name.bytes())) {
            throw new FileSystemException(Code.INVALID, "not a file name");
        }
    }

    private static FileSystemException notFound() {
        return new FileSystemException(Code.NOT_FOUND, "no such file or directory");
    }

    private static FileSystemException exists() {
        return new FileSystemException(Code.EXISTS, "the name is taken");
    }

    private static FileSystemException readOnly() {
        return new FileSystemException(Code.READ_ONLY, "this cannot be changed");
    }

    private static FileSystemException noAttribute() {
        return new FileSystemException(Code.NO_DATA, "no such attribute");
    }
}
