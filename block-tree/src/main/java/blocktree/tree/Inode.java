package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.store.NewBlock;
import blocktree.store.OpenBlock;
import blocktree.store.StoreException;
import blocktree.tree.FileSystemException.Code;
import java.util.Collections;
import java.util.SortedMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * One inode in memory. All fields that are not final are guarded by {@link #lock}: readable with the shared, changed with the exclusive one, except where stated. A new inode is filled by
 * the thread that makes it, before anybody else can find it.
 */
final class Inode {
    static final long LOCK_TIMEOUT_MILLIS = 30_000;

    /** Of an inode with its header and the keys of its block, as a heap dump of small files shows. */
    private static final int OVERHEAD_BYTES = 2300;

    /** Makes inodes what the store has of them. */
    interface Reloader {
        /**
         * If the inode is {@link #outdated}, takes over the newest generation of its block; what is not committed of it is lost then.
         *
         * @throws FileSystemException what reading the block failed with; the next use tries again
         */
        void reload(Inode inode) throws FileSystemException;

        /** Takes over the newest generation in any case; what is not committed is lost. */
        void rollBack(Inode inode) throws FileSystemException;
    }

    final long number;
    final Origin origin;
    private final Reloader reloader;
    private final ReadWriteLock lock = new ReentrantReadWriteLock();

    int mode;
    int uid;
    int gid;
    /** Also read without the lock by who gives back a reference or a handle: 0 means to look whether that was the last use. */
    volatile long linkCount;

    /** As the last commit left it; 0 before the first. */
    long storedLinkCount;

    long device;
    long modifyTimeNanos;
    long changeTimeNanos;
    long birthTimeNanos;
    byte[] symlinkTarget = new byte[0];
    /** Replaced, never changed, so that a commit can hold it. */
    SortedMap<Name, byte[]> extendedAttributes = Collections.emptySortedMap();

    @Nullable
    FilePayload file;

    @Nullable
    DirectoryIndex directory;

    byte[] hashKey = new byte[0];
    /** Of a directory other than the root. */
    @Nullable
    BlockId parent;

    /** Null until the first commit, which {@link #fresh} creates the block in. */
    @Nullable
    OpenBlock base;

    @Nullable
    NewBlock fresh;

    /** No longer in any directory nor open: the next commit deletes the block. Also read without the lock, by those who would only come too late. */
    volatile boolean deleted;
    /** Made without a name, and may get one. One that has lost its last name may not. */
    boolean linkable;
    /** Without a name while in use, and written down so in this node's orphan list. */
    boolean orphaned;
    /** See {@link #keepNameless}. */
    boolean keptNameless;
    /** How often it was made anew from the store, so that a commit under way knows its own. */
    int reloadCount;

    /** Changed by readers too: relatime. */
    volatile long accessTimeNanos;

    /** Another node has changed the block: whoever takes the lock reloads it first. */
    volatile boolean outdated;
    /** Another node has deleted the block; for good. Whoever takes the lock gets STALE. */
    volatile boolean gone;

    /** Used since the table last looked. */
    volatile boolean touched = true;

    /** What the table has counted for it. */
    int weighedBytes;

    // Guarded by this inode's monitor, a leaf of the lock order:
    private int pins;
    private int handles;
    private boolean evicted;
    private long writeErrorsTaken;

    /** When the oldest change that is not committed was made; 0: none. Changed with the lock held. */
    volatile long dirtySinceNanos;
    /** Something else than a file's content has changed since the last commit. */
    boolean attributesDirty;
    /** The content goes with the next commit: another file was replaced by this one, or it was given its first name when it was there. */
    volatile boolean contentWanted;
    /** Its share of what the flusher counts as dirty. */
    int dirtyBytes;
    /** The stored content is damaged: not before then is writing over it tried again, unless asked for. */
    volatile long contentRetryNanos;
    /** Part of the commit under way. */
    volatile boolean flushing;
    /** The local table of access times holds one for this block. */
    volatile boolean accessTimeStored;

    /** Counts failures to write data back; handles compare it with what they have reported. */
    volatile long writeErrors;

    volatile Code writeErrorCode = Code.IO;

    Inode(long number, Origin origin, Reloader reloader) {
        this.number = number;
        this.origin = origin;
        this.reloader = reloader;
    }

    /** Fills the object from what is stored. */
    void fill(StoredInode stored, @Nullable OpenBlock block, Cache cache, BufferPool pool) throws FormatException {
        mode = stored.mode();
        uid = stored.uid();
        gid = stored.gid();
        linkCount = stored.linkCount();
        storedLinkCount = block == null ? 0 : stored.linkCount();
        device = stored.device();
        accessTimeNanos = stored.accessTimeNanos();
        modifyTimeNanos = stored.modifyTimeNanos();
        changeTimeNanos = stored.changeTimeNanos();
        birthTimeNanos = stored.birthTimeNanos();
        symlinkTarget = stored.symlinkTarget();
        extendedAttributes = stored.extendedAttributes();
        base = block;
        StoredInode.File content = stored.file();
        if (content != null) {
            file = new FilePayload(block, content, cache, pool);
        }
        StoredInode.Directory entries = stored.directory();
        if (entries != null) {
            parent = entries.parent();
            hashKey = entries.hashKey();
            directory = new DirectoryIndex(hashKey, entries.layout(), cache, this::readDirectorySector);
        }
    }

    /** Turns the copy of a live inode into a directory of a view of history. */
    void becomeVirtual() {
        int shown = protection().modeWithoutLists();
        mode = Attributes.TYPE_DIRECTORY | (isDirectory() ? shown & 0555 : 0500 | (shown & 0044) | (shown & 0044) >> 2);
        linkCount = 2;
        file = null;
        directory = null;
        symlinkTarget = new byte[0];
        extendedAttributes = Collections.emptySortedMap();
    }

    /** Gives back clean pages and nodes: the inode leaves memory. */
    void releaseMemory() {
        if (file != null) {
            file.discard();
        }
        if (directory != null) {
            directory.release();
        }
    }

    /** Gives back all pages and nodes: what is in them counts no more. */
    void discardMemory() {
        if (file != null) {
            file.discard();
        }
        if (directory != null) {
            directory.discard();
        }
    }

    private byte[] readDirectorySector(int sector) throws FileSystemException {
        OpenBlock block = base;
        byte[] buffer = new byte[DirectoryNode.SECTOR_SIZE];
        try {
            if (block == null || block.sectorSize() != buffer.length || !block.readSector(sector, buffer)) {
                throw new FileSystemException(
                        Code.CORRUPT, "directory sector " + sector + " of block " + origin.block() + " is missing");
            }
        } catch (StoreException e) {
            throw StoreErrors.toFileSystem(e);
        }
        return buffer;
    }

    /** What is to be stored now. Shared. */
    StoredInode toStored(StoredInode.@Nullable File content) {
        return new StoredInode(
                mode,
                uid,
                gid,
                linkCount,
                device,
                accessTimeNanos,
                modifyTimeNanos,
                changeTimeNanos,
                birthTimeNanos,
                symlinkTarget,
                extendedAttributes,
                content,
                directory == null ? null : new StoredInode.Directory(parent, hashKey, directory.layout()));
    }

    /** Shared. */
    Protection protection() {
        return new Protection(mode, extendedAttributes);
    }

    /** Exclusive. */
    void protect(Protection protection) {
        mode = protection.mode();
        extendedAttributes = protection.attributes();
    }

    /** Shared. */
    Attributes attributes() {
        Protection protection = protection();
        long size = 0;
        long stored = 0;
        int blockSize = DirectoryNode.SECTOR_SIZE;
        if (file != null) {
            size = file.sizeBytes();
            stored = file.storedBytes();
            blockSize = Math.max(blockSize, file.sectorSize());
        } else if (directory != null) {
            stored = (long) directory.sectorCount() * DirectoryNode.SECTOR_SIZE;
            size = Math.max(DirectoryNode.SECTOR_SIZE, stored);
        } else {
            size = symlinkTarget.length;
        }
        return new Attributes(
                number,
                protection.shownMode(),
                uid,
                gid,
                linkCount,
                device,
                size,
                stored,
                blockSize,
                accessTimeNanos,
                modifyTimeNanos,
                changeTimeNanos,
                birthTimeNanos,
                protection.modeWithoutLists());
    }

    boolean isDirectory() {
        return (mode & Attributes.TYPE_MASK) == Attributes.TYPE_DIRECTORY;
    }

    FilePayload file() throws FileSystemException {
        FilePayload held = file;
        if (held == null) {
            throw new FileSystemException(isDirectory() ? Code.IS_DIRECTORY : Code.INVALID, "not a regular file");
        }
        return held;
    }

    DirectoryIndex directory() throws FileSystemException {
        DirectoryIndex held = directory;
        if (held == null) {
            throw new FileSystemException(Code.NOT_DIRECTORY, "not a directory");
        }
        return held;
    }

    void modified(long nowNanos) {
        modifyTimeNanos = nowNanos;
        changeTimeNanos = nowNanos;
    }

    // ---- locks: all waits are bounded, so that nothing ever hangs on a store that does

    /** STALE when another node has deleted the block. */
    Lock shared() throws FileSystemException {
        return current(lock.readLock());
    }

    /** STALE when another node has deleted the block. */
    Lock exclusive() throws FileSystemException {
        return current(lock.writeLock());
    }

    private Lock current(Lock wanted) throws FileSystemException {
        while (true) {
            locked(wanted);
            if (!outdated && !gone) {
                return wanted;
            }
            wanted.unlock();
            refresh();
        }
    }

    /** Reloads it if that is due: also for what is read without the lock. The caller has pinned it. STALE when another node has deleted the block. */
    void refresh() throws FileSystemException {
        if (outdated) {
            reloader.reload(this);
        }
        if (gone) {
            throw stale();
        }
    }

    static FileSystemException stale() {
        return new FileSystemException(Code.STALE, "another node has deleted it");
    }

    /** To reload it. */
    Lock exclusiveToReload() throws FileSystemException {
        return locked(lock.writeLock());
    }

    /** For those to whom it is all the same what other nodes have done to the block. */
    Lock sharedWhatever() throws FileSystemException {
        return locked(lock.readLock());
    }

    /** For those that must get on: they hold the lock for memory work only, and others hold it no longer than one read of the store. */
    Lock exclusiveWhatever() {
        lock.writeLock().lock();
        return lock.writeLock();
    }

    static Lock locked(Lock wanted) throws FileSystemException {
        try {
            if (wanted.tryLock(LOCK_TIMEOUT_MILLIS, TimeUnit.MILLISECONDS)) {
                return wanted;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new FileSystemException(Code.TIMED_OUT, "interrupted while waiting for a lock", e);
        }
        throw new FileSystemException(Code.TIMED_OUT, "no lock within " + LOCK_TIMEOUT_MILLIS + " ms");
    }

    // ---- life in memory: a pinned inode is not evicted; every use pins, and so does a handle

    synchronized boolean tryPin() {
        if (!evicted) {
            pins++;
            touched = true;
        }
        return !evicted;
    }

    synchronized void unpin() {
        pins--;
    }

    /** Exclusive. While it has no name it holds a pin of its own, since nobody could find it again: this node deletes it after its last use. Without a name and not kept so, it is another node's to delete. */
    void keepNameless(boolean keep) {
        if (keep && !keptNameless) {
            tryPin();
        } else if (!keep && keptNameless) {
            unpin();
        }
        keptNameless = keep;
    }

    /** Nobody can pin it any more when this returns true. */
    synchronized boolean tryEvict() {
        if (pins == 0 && !isDirty() && !flushing) {
            evicted = true;
        }
        return evicted;
    }

    synchronized void opened() {
        handles++;
        pins++;
    }

    /** True when it was the last handle. The pin of the handle stays with the caller. */
    synchronized boolean released() {
        return --handles == 0;
    }

    synchronized boolean isOpen() {
        return handles > 0;
    }

    boolean isDirty() {
        return dirtySinceNanos != 0;
    }

    /** Whether what is not committed of it belongs together with what is not committed of others: names, and what they stand for. */
    boolean changesNames() {
        return isDirectory() || linkCount != storedLinkCount;
    }

    /** Memory that this inode pins, apart from pages and nodes that the cache counts. */
    int weightBytes() {
        int bytes = OVERHEAD_BYTES + symlinkTarget.length;
        for (byte[] value : extendedAttributes.values()) {
            bytes += value.length;
        }
        if (file != null) {
            bytes += file.inlineBytes();
        }
        return directory == null ? bytes : bytes + 4096;
    }

    /** True once after failures to write back. */
    synchronized boolean takeWriteError() {
        boolean taken = writeErrorsTaken != writeErrors;
        writeErrorsTaken = writeErrors;
        return taken;
    }

    void writeFailed(Code code) {
        writeErrorCode = code;
        writeErrors++;
    }
}
