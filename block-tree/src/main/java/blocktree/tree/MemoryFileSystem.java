package blocktree.tree;

import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.time.Instant;
import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentNavigableMap;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import org.jspecify.annotations.Nullable;

/**
 * A {@link FileSystem} that keeps everything in the heap and forgets it when closed: the ceiling for benchmarks, and what the tests of a
 * binding mount.
 *
 * <p>Concurrency: names change under {@link #namespace}, one lock for the whole tree, since a change takes less than a microsecond and
 * rename needs two directories; lookups and listings read concurrent maps without it. The content of a file is guarded by its own
 * read-write lock, which is never held while taking another. Attributes of an inode are guarded by its monitor, the innermost lock.
 */
public final class MemoryFileSystem implements FileSystem {
    private static final int CHUNK_SIZE_LOG2 = 16;
    private static final int CHUNK_SIZE_BYTES = 1 << CHUNK_SIZE_LOG2;
    private static final int BLOCK_SIZE_BYTES = 4096;
    private static final int LINK_COUNT_MAX = 65_000;
    private static final int SYMLINK_SIZE_MAX = 4095;
    private static final int VALUE_SIZE_MAX = 65_536;
    private static final int PERMISSIONS_MASK = 07777;
    private static final int SET_GROUP_ID = 02000;

    private static final long DAY_NANOS = 86_400_000_000_000L;

    private static final int KEEP_SIZE = 1;
    private static final int PUNCH_HOLE = 2;
    private static final int ZERO_RANGE = 16;

    private final Object namespace = new Object();
    private final Map<Long, Inode> inodes = new ConcurrentHashMap<>();
    private final Map<Long, Handle> handles = new ConcurrentHashMap<>();
    private final Changes changes = new Changes(false);
    private final FileLocks locks = new FileLocks();
    private final AtomicLong lastInode = new AtomicLong(ROOT_INODE);
    private final AtomicLong lastHandle = new AtomicLong();
    private final AtomicLong lastCookie = new AtomicLong();
    private final AtomicLong usedBytes = new AtomicLong();
    private final long capacityBytes;
    private volatile boolean closed;

    /** May fill half of the heap. */
    public MemoryFileSystem() {
        this(Runtime.getRuntime().maxMemory() / 2);
    }

    /** @param capacityBytes how much file content fits, in whole chunks of 64 KiB; more is NO_SPACE */
    public MemoryFileSystem(long capacityBytes) {
        this.capacityBytes = capacityBytes;
        Directory root = new Directory(ROOT_INODE, Attributes.TYPE_DIRECTORY | 0755, 0, 0);
        root.parent = root;
        inodes.put(ROOT_INODE, root);
    }

    private static long now() {
        Instant now = Instant.now();
        return now.getEpochSecond() * 1_000_000_000L + now.getNano();
    }

    private static FileSystemException failure(Code code) {
        return new FileSystemException(code, code.name());
    }

    // ------------------------------------------------------------------------------------------------ inodes

    private abstract class Inode {
        final long number;
        final int type;
        final long birthTimeNanos;

        // guarded by this
        int permissions;
        int uid;
        int gid;
        long linkCount = 1;
        /** Made without a name, and may get one. */
        boolean linkable;

        long accessTimeNanos;
        long modifyTimeNanos;
        long changeTimeNanos;
        long references;
        int openCount;
        SortedMap<Name, byte[]> extendedAttributes = Collections.emptySortedMap();

        Inode(long number, int mode, int uid, int gid) {
            this.number = number;
            this.type = mode & Attributes.TYPE_MASK;
            this.permissions = mode & PERMISSIONS_MASK;
            this.uid = uid;
            this.gid = gid;
            birthTimeNanos = accessTimeNanos = modifyTimeNanos = changeTimeNanos = now();
        }

        long sizeBytes() {
            return 0;
        }

        long storedBytes() {
            return 0;
        }

        long device() {
            return 0;
        }

        synchronized Protection protection() {
            return new Protection(type | permissions, extendedAttributes);
        }

        synchronized void protect(Protection protection) {
            permissions = protection.mode() & PERMISSIONS_MASK;
            extendedAttributes = protection.attributes();
        }

        synchronized Attributes attributes() {
            Protection protection = protection();
            return new Attributes(
                    number,
                    protection.shownMode(),
                    uid,
                    gid,
                    linkCount,
                    device(),
                    sizeBytes(),
                    storedBytes(),
                    BLOCK_SIZE_BYTES,
                    accessTimeNanos,
                    modifyTimeNanos,
                    changeTimeNanos,
                    birthTimeNanos,
                    protection.modeWithoutLists());
        }

        synchronized void touchChanged() {
            changeTimeNanos = now();
            changes.attributesChanged(number);
        }

        /** As relatime does: only when no read since the last change has done so, or a day ago. */
        synchronized void touchAccessed() {
            if (accessTimeNanos <= modifyTimeNanos
                    || accessTimeNanos <= changeTimeNanos
                    || now() - accessTimeNanos > DAY_NANOS) {
                accessTimeNanos = now();
            }
        }

        synchronized void touchModified() {
            modifyTimeNanos = changeTimeNanos = now();
            changes.contentChanged(number);
        }

        synchronized void written(Caller caller) {
            touchModified();
            permissions = caller.modeAfterWrite(permissions);
        }

        synchronized void addLinks(int count) {
            linkCount += count;
            touchChanged();
        }
    }

    /** What a name stands for; {@code node} changes when a rename replaces it, the cookie does not, so that a listing shows the name once. */
    private static final class Entry {
        final Name name;
        final long cookie;
        volatile Inode node;

        Entry(Name name, long cookie, Inode node) {
            this.name = name;
            this.cookie = cookie;
            this.node = node;
        }
    }

    private final class Directory extends Inode {
        // both written under the namespace lock
        final Map<Name, Entry> entries = new ConcurrentHashMap<>();
        final ConcurrentNavigableMap<Long, Entry> listing = new ConcurrentSkipListMap<>();
        volatile @Nullable Directory parent;
        volatile boolean removed;

        Directory(long number, int mode, int uid, int gid) {
            super(number, mode, uid, gid);
            linkCount = 2;
        }

        @Override
        long sizeBytes() {
            return BLOCK_SIZE_BYTES;
        }

        Inode get(Name name) throws FileSystemException {
            Entry entry = entries.get(name);
            if (entry == null) {
                throw failure(Code.NOT_FOUND);
            }
            return entry.node;
        }

        void remove(Name name) {
            Entry entry = entries.remove(name);
            if (entry != null) {
                listing.remove(entry.cookie);
            }
        }
    }

    private final class Symlink extends Inode {
        final byte[] target;

        Symlink(long number, int uid, int gid, byte[] target) {
            super(number, Attributes.TYPE_SYMLINK | 0777, uid, gid);
            this.target = target;
        }

        @Override
        long sizeBytes() {
            return target.length;
        }
    }

    /** A fifo, socket or device node. */
    private final class Special extends Inode {
        final long device;

        Special(long number, int mode, int uid, int gid, long device) {
            super(number, mode, uid, gid);
            this.device = device;
        }

        @Override
        long device() {
            return device;
        }
    }

    /** Content in chunks; an absent chunk is a hole, and bytes behind the end are zero in every chunk. */
    private final class RegularFile extends Inode {
        final ReadWriteLock content = new ReentrantReadWriteLock();
        // guarded by content; sizeBytes is also read without it
        final TreeMap<Long, byte[]> chunks = new TreeMap<>();
        volatile long sizeBytes;
        volatile long chunkCount;

        RegularFile(long number, int mode, int uid, int gid) {
            super(number, mode, uid, gid);
        }

        @Override
        long sizeBytes() {
            return sizeBytes;
        }

        @Override
        long storedBytes() {
            return chunkCount << CHUNK_SIZE_LOG2;
        }

        int read(long offset, ByteBuffer target) {
            content.readLock().lock();
            try {
                int sizeRead = (int) Math.max(0, Math.min(target.remaining(), sizeBytes - offset));
                int done = 0;
                while (done < sizeRead) {
                    long position = offset + done;
                    int within = (int) position & (CHUNK_SIZE_BYTES - 1);
                    int part = Math.min(sizeRead - done, CHUNK_SIZE_BYTES - within);
                    byte[] chunk = chunks.get(position >> CHUNK_SIZE_LOG2);
                    if (chunk == null) {
                        target.put(new byte[part]);
                    } else {
                        target.put(chunk, within, part);
                    }
                    done += part;
                }
                return sizeRead;
            } finally {
                content.readLock().unlock();
            }
        }

        int write(long requestedOffset, boolean append, ByteBuffer source) throws FileSystemException {
            content.writeLock().lock();
            try {
                long offset = append ? sizeBytes : requestedOffset;
                int sizeWritten = source.remaining();
                if (offset < 0) {
                    throw failure(Code.INVALID);
                }
                if (offset > Long.MAX_VALUE - sizeWritten) {
                    throw failure(Code.FILE_TOO_BIG);
                }
                int done = 0;
                while (done < sizeWritten) {
                    long position = offset + done;
                    int within = (int) position & (CHUNK_SIZE_BYTES - 1);
                    int part = Math.min(sizeWritten - done, CHUNK_SIZE_BYTES - within);
                    source.get(chunkForWrite(position >> CHUNK_SIZE_LOG2), within, part);
                    done += part;
                }
                if (sizeWritten > 0) {
                    sizeBytes = Math.max(sizeBytes, offset + sizeWritten);
                }
                return sizeWritten;
            } finally {
                content.writeLock().unlock();
            }
        }

        private byte[] chunkForWrite(long index) throws FileSystemException {
            byte[] chunk = chunks.get(index);
            if (chunk == null) {
                if (usedBytes.addAndGet(CHUNK_SIZE_BYTES) > capacityBytes) {
                    usedBytes.addAndGet(-CHUNK_SIZE_BYTES);
                    throw failure(Code.NO_SPACE);
                }
                chunk = new byte[CHUNK_SIZE_BYTES];
                chunks.put(index, chunk);
                chunkCount++;
            }
            return chunk;
        }

        void resize(long newSizeBytes) {
            content.writeLock().lock();
            try {
                if (newSizeBytes < sizeBytes) {
                    zero(newSizeBytes, Long.MAX_VALUE);
                }
                sizeBytes = newSizeBytes;
            } finally {
                content.writeLock().unlock();
            }
        }

        /** Drops whole chunks and clears parts of those at the ends; call with the write lock held. */
        private void zero(long from, long to) {
            long firstWhole = (from + CHUNK_SIZE_BYTES - 1) >>> CHUNK_SIZE_LOG2;
            long behindWhole = to >> CHUNK_SIZE_LOG2;
            if (to == Long.MAX_VALUE) {
                behindWhole = Long.MAX_VALUE;
            }
            if (firstWhole > behindWhole) { // both ends within one chunk
                clear(from >> CHUNK_SIZE_LOG2, from, to);
                return;
            }
            clear(from >> CHUNK_SIZE_LOG2, from, firstWhole << CHUNK_SIZE_LOG2);
            if (to != Long.MAX_VALUE) {
                clear(behindWhole, behindWhole << CHUNK_SIZE_LOG2, to);
            }
            var dropped = chunks.subMap(firstWhole, behindWhole);
            int droppedCount = dropped.size();
            dropped.clear();
            chunkCount -= droppedCount;
            usedBytes.addAndGet(-((long) droppedCount << CHUNK_SIZE_LOG2));
        }

        private void clear(long index, long from, long to) {
            byte[] chunk = from < to ? chunks.get(index) : null;
            if (chunk != null) {
                long start = index << CHUNK_SIZE_LOG2;
                Arrays.fill(chunk, (int) (from - start), (int) (to - start), (byte) 0);
            }
        }

        void allocate(int mode, long offset, long length) throws FileSystemException {
            content.writeLock().lock();
            try {
                long end = offset + length;
                if (mode == (PUNCH_HOLE | KEEP_SIZE)) {
                    zero(offset, end);
                    return;
                }
                if ((mode & ZERO_RANGE) != 0) {
                    zero(offset, end);
                }
                if (end - offset > capacityBytes) {
                    throw failure(Code.NO_SPACE);
                }
                for (long index = offset >> CHUNK_SIZE_LOG2; index <= (end - 1) >> CHUNK_SIZE_LOG2; index++) {
                    chunkForWrite(index);
                }
                if ((mode & KEEP_SIZE) == 0) {
                    sizeBytes = Math.max(sizeBytes, end);
                }
            } finally {
                content.writeLock().unlock();
            }
        }

        long seek(long offset, boolean hole) throws FileSystemException {
            content.readLock().lock();
            try {
                if (offset < 0 || offset >= sizeBytes) {
                    throw failure(Code.NO_DATA);
                }
                long index = offset >> CHUNK_SIZE_LOG2;
                if (hole) {
                    while (chunks.containsKey(index)) {
                        index++;
                    }
                    return Math.min(sizeBytes, Math.max(offset, index << CHUNK_SIZE_LOG2));
                }
                Long next = chunks.ceilingKey(index);
                long found = next == null ? Long.MAX_VALUE : Math.max(offset, next << CHUNK_SIZE_LOG2);
                if (found >= sizeBytes) {
                    throw failure(Code.NO_DATA);
                }
                return found;
            } finally {
                content.readLock().unlock();
            }
        }
    }

    private record Handle(RegularFile file, OpenMode mode) {}

    private Inode inode(long number) throws FileSystemException {
        if (closed) {
            throw failure(Code.CLOSED);
        }
        Inode inode = inodes.get(number);
        if (inode == null) {
            throw failure(Code.NOT_FOUND);
        }
        return inode;
    }

    private Directory directory(long number) throws FileSystemException {
        if (inode(number) instanceof Directory directory) {
            return directory;
        }
        throw failure(Code.NOT_DIRECTORY);
    }

    private RegularFile regularFile(long number) throws FileSystemException {
        Inode inode = inode(number);
        if (inode instanceof RegularFile file) {
            return file;
        }
        throw failure(inode instanceof Directory ? Code.IS_DIRECTORY : Code.INVALID);
    }

    private Handle handle(long number) throws FileSystemException {
        if (closed) {
            throw failure(Code.CLOSED);
        }
        Handle handle = handles.get(number);
        if (handle == null) {
            throw failure(Code.BAD_HANDLE);
        }
        return handle;
    }

    private static void check(Name name) throws FileSystemException {
        if (name.sizeBytes() > NAME_SIZE_MAX) {
            throw failure(Code.NAME_TOO_LONG);
        }
        if (name.sizeBytes() == 0) {
            throw failure(Code.INVALID);
        }
        for (byte b : name.bytes()) {
            if (b == 0 || b == '/') {
                throw failure(Code.INVALID);
            }
        }
    }

    /** Frees the inode once nothing can reach it. */
    private void dropIfUnused(Inode inode) {
        synchronized (inode) {
            if (inode.linkCount > 0 || inode.openCount > 0 || inode.references > 0) {
                return;
            }
        }
        if (inodes.remove(inode.number) != null && inode instanceof RegularFile file) {
            file.resize(0);
        }
    }

    private static Attributes referenced(Inode inode) {
        synchronized (inode) {
            inode.references++;
            return inode.attributes();
        }
    }

    // ------------------------------------------------------------------------------------------------ names

    @Override
    public Attributes lookup(long parent, Name name) throws FileSystemException {
        Directory directory = directory(parent);
        check(name);
        return referenced(directory.get(name));
    }

    @Override
    public void forget(long number, long count) {
        Inode inode = inodes.get(number);
        if (inode != null) {
            synchronized (inode) {
                inode.references = Math.max(0, inode.references - count);
            }
            dropIfUnused(inode);
        }
    }

    /** Adds a new inode's entry; the caller holds the namespace lock. */
    private void add(Directory parent, Name name, Inode inode) throws FileSystemException {
        if (parent.removed) {
            throw failure(Code.NOT_FOUND);
        }
        Entry entry = new Entry(name, lastCookie.incrementAndGet(), inode);
        if (parent.entries.putIfAbsent(name, entry) != null) {
            throw failure(Code.EXISTS);
        }
        inodes.putIfAbsent(inode.number, inode);
        parent.listing.put(entry.cookie, entry);
        if (inode instanceof Directory child) {
            child.parent = parent;
            parent.addLinks(1);
        }
        parent.touchModified();
        changes.nameChanged(parent.number, name);
    }

    private static int groupFor(Directory parent, Caller caller) {
        synchronized (parent) {
            return (parent.permissions & SET_GROUP_ID) != 0 ? parent.gid : caller.gid();
        }
    }

    @Override
    public Attributes makeNode(Caller caller, long parent, Name name, int mode, long device)
            throws FileSystemException {
        Directory directory = directory(parent);
        check(name);
        int gid = groupFor(directory, caller);
        long number = lastInode.incrementAndGet();
        Inode inode = switch (mode & Attributes.TYPE_MASK) {
            case 0, Attributes.TYPE_REGULAR ->
                new RegularFile(number, Attributes.TYPE_REGULAR | (mode & PERMISSIONS_MASK), caller.uid(), gid);
            case Attributes.TYPE_FIFO,
                    Attributes.TYPE_SOCKET,
                    Attributes.TYPE_CHARACTER_DEVICE,
                    Attributes.TYPE_BLOCK_DEVICE -> new Special(number, mode, caller.uid(), gid, device);
            default -> throw failure(Code.INVALID);
        };
        inode.protect(Protection.ofNew(mode, caller, directory.protection()));
        synchronized (namespace) {
            add(directory, name, inode);
            return referenced(inode);
        }
    }

    @Override
    public Attributes makeDirectory(Caller caller, long parent, Name name, int mode) throws FileSystemException {
        Directory directory = directory(parent);
        check(name);
        int inherited;
        synchronized (directory) {
            inherited = directory.permissions & SET_GROUP_ID;
        }
        Directory child = new Directory(
                lastInode.incrementAndGet(), Attributes.TYPE_DIRECTORY, caller.uid(), groupFor(directory, caller));
        int asked = Attributes.TYPE_DIRECTORY | (mode & PERMISSIONS_MASK) | inherited;
        child.protect(Protection.ofNew(asked, caller, directory.protection()));
        synchronized (namespace) {
            add(directory, name, child);
            return referenced(child);
        }
    }

    @Override
    public Attributes makeSymlink(Caller caller, long parent, Name name, byte[] target) throws FileSystemException {
        Directory directory = directory(parent);
        check(name);
        if (target.length == 0) {
            throw failure(Code.INVALID);
        }
        if (target.length > SYMLINK_SIZE_MAX) {
            throw failure(Code.NAME_TOO_LONG);
        }
        Symlink symlink =
                new Symlink(lastInode.incrementAndGet(), caller.uid(), groupFor(directory, caller), target.clone());
        synchronized (namespace) {
            add(directory, name, symlink);
            return referenced(symlink);
        }
    }

    @Override
    public byte[] readSymlink(long inode) throws FileSystemException {
        if (inode(inode) instanceof Symlink symlink) {
            symlink.touchAccessed();
            return symlink.target.clone();
        }
        throw failure(Code.INVALID);
    }

    @Override
    public Attributes link(long number, long newParent, Name newName) throws FileSystemException {
        Inode inode = inode(number);
        Directory directory = directory(newParent);
        check(newName);
        if (inode instanceof Directory) {
            throw failure(Code.NOT_PERMITTED);
        }
        synchronized (namespace) {
            // Linux tells of a name that is taken before it tells that the file has none left.
            if (directory.entries.containsKey(newName)) {
                throw failure(Code.EXISTS);
            }
            synchronized (inode) {
                if (inode.linkCount == 0 && !inode.linkable) {
                    throw failure(Code.NOT_FOUND);
                }
                if (inode.linkCount >= LINK_COUNT_MAX) {
                    throw failure(Code.TOO_MANY_LINKS);
                }
            }
            add(directory, newName, inode);
            synchronized (inode) {
                inode.linkable = false;
                inode.addLinks(1);
            }
            return referenced(inode);
        }
    }

    @Override
    public void unlink(long parent, Name name) throws FileSystemException {
        Directory directory = directory(parent);
        Inode inode;
        synchronized (namespace) {
            inode = directory.get(name);
            if (inode instanceof Directory) {
                throw failure(Code.IS_DIRECTORY);
            }
            directory.remove(name);
            changes.nameChanged(parent, name);
            directory.touchModified();
            inode.addLinks(-1);
        }
        dropIfUnused(inode);
    }

    @Override
    public void removeDirectory(long parent, Name name) throws FileSystemException {
        Directory directory = directory(parent);
        Directory child;
        synchronized (namespace) {
            if (!(directory.get(name) instanceof Directory found)) {
                throw failure(Code.NOT_DIRECTORY);
            }
            child = found;
            if (!child.entries.isEmpty()) {
                throw failure(Code.NOT_EMPTY);
            }
            directory.remove(name);
            changes.nameChanged(parent, name);
            directory.touchModified();
            directory.addLinks(-1);
            child.removed = true;
            child.addLinks(-2);
        }
        dropIfUnused(child);
    }

    @Override
    public void rename(long parent, Name name, long newParent, Name newName, RenameMode mode)
            throws FileSystemException {
        Directory source = directory(parent);
        Directory target = directory(newParent);
        check(name);
        check(newName);
        Inode replaced = null;
        synchronized (namespace) {
            Inode moved = source.get(name);
            if (target.removed) {
                throw failure(Code.NOT_FOUND);
            }
            Entry existing = target.entries.get(newName);
            if (mode == RenameMode.NO_REPLACE && existing != null) {
                throw failure(Code.EXISTS);
            }
            if (mode == RenameMode.EXCHANGE && existing == null) {
                throw failure(Code.NOT_FOUND);
            }
            checkNotInside(moved, target);
            if (mode == RenameMode.EXCHANGE && existing != null) {
                checkNotInside(existing.node, source);
                exchange(source, source.entries.get(name), target, existing);
                changes.nameChanged(parent, name);
                changes.nameChanged(newParent, newName);
                return;
            }
            if (existing != null) {
                replaced = existing.node;
                if (replaced == moved) { // two names of one file: POSIX says that nothing happens
                    return;
                }
                checkReplaceable(moved, replaced);
                existing.node = moved;
            } else {
                Entry entry = new Entry(newName, lastCookie.incrementAndGet(), moved);
                target.entries.put(newName, entry);
                target.listing.put(entry.cookie, entry);
            }
            source.remove(name);
            if (replaced instanceof Directory removed) {
                removed.removed = true;
                removed.addLinks(-2);
                target.addLinks(-1);
            } else if (replaced != null) {
                replaced.addLinks(-1);
            }
            if (moved instanceof Directory directory) {
                directory.parent = target;
                source.addLinks(-1);
                target.addLinks(1);
            }
            source.touchModified();
            target.touchModified();
            moved.touchChanged();
            changes.nameChanged(parent, name);
            changes.nameChanged(newParent, newName);
        }
        if (replaced != null) {
            dropIfUnused(replaced);
        }
    }

    private static void checkNotInside(Inode moved, Directory target) throws FileSystemException {
        for (Directory above = target; above != null; above = above.parent == above ? null : above.parent) {
            if (above == moved) {
                throw failure(Code.INVALID);
            }
        }
    }

    private static void checkReplaceable(Inode moved, Inode replaced) throws FileSystemException {
        if (replaced instanceof Directory directory) {
            if (!(moved instanceof Directory)) {
                throw failure(Code.IS_DIRECTORY);
            }
            if (!directory.entries.isEmpty()) {
                throw failure(Code.NOT_EMPTY);
            }
        } else if (moved instanceof Directory) {
            throw failure(Code.NOT_DIRECTORY);
        }
    }

    private static void exchange(Directory source, @Nullable Entry first, Directory target, Entry second) {
        if (first == null) {
            return;
        }
        Inode firstNode = first.node;
        Inode secondNode = second.node;
        first.node = secondNode;
        second.node = firstNode;
        move(firstNode, source, target);
        move(secondNode, target, source);
        source.touchModified();
        target.touchModified();
    }

    private static void move(Inode node, Directory from, Directory to) {
        if (node instanceof Directory directory) {
            directory.parent = to;
            from.addLinks(-1);
            to.addLinks(1);
        }
        node.touchChanged();
    }

    @Override
    public void readDirectory(long inode, long cookie, DirectorySink sink) throws FileSystemException {
        Directory directory = directory(inode);
        directory.touchAccessed();
        for (Entry entry : directory.listing.tailMap(cookie, false).values()) {
            Inode node = entry.node;
            if (!sink.entry(entry.name, node.number, node.type, entry.cookie)) {
                break;
            }
        }
    }

    @Override
    public long parent(long inode) throws FileSystemException {
        Directory parent = directory(inode).parent;
        return parent == null ? inode : parent.number;
    }

    // ------------------------------------------------------------------------------------------------ attributes

    @Override
    public Attributes getAttributes(long inode) throws FileSystemException {
        return inode(inode).attributes();
    }

    @Override
    public Attributes setAttributes(Caller caller, long number, AttributeChange change) throws FileSystemException {
        Inode inode = inode(number);
        if (change.sizeBytes() != null) {
            if (change.sizeBytes() < 0) {
                throw failure(Code.INVALID);
            }
            regularFile(number).resize(change.sizeBytes());
            inode.touchModified();
        }
        synchronized (inode) {
            if (change.dropsSetIds(inode.type == Attributes.TYPE_DIRECTORY)) {
                inode.permissions = caller.modeAfterWrite(inode.permissions);
            }
            if (change.permissions() != null) {
                inode.protect(inode.protection().withPermissions(change.permissions()));
            }
            if (change.uid() != null) {
                inode.uid = change.uid();
            }
            if (change.gid() != null) {
                inode.gid = change.gid();
            }
            if (change.accessTimeNanos() != null) {
                inode.accessTimeNanos = change.accessTimeNanos();
            }
            if (change.modifyTimeNanos() != null) {
                inode.modifyTimeNanos = change.modifyTimeNanos();
            }
            inode.touchChanged();
            if (change.changeTimeNanos() != null) {
                inode.changeTimeNanos = change.changeTimeNanos();
            }
            return inode.attributes();
        }
    }

    @Override
    public byte[] getExtendedAttribute(long number, Name name) throws FileSystemException {
        Inode inode = inode(number);
        synchronized (inode) {
            byte[] value = inode.protection().attribute(name);
            if (value == null) {
                throw failure(Code.NO_DATA);
            }
            return value.clone();
        }
    }

    @Override
    public void setExtendedAttribute(Caller caller, long number, Name name, byte[] value, ExtendedAttributeMode mode)
            throws FileSystemException {
        Inode inode = inode(number);
        if (name.sizeBytes() == 0 || name.sizeBytes() > NAME_SIZE_MAX) {
            throw failure(Code.RANGE);
        }
        if (value.length > VALUE_SIZE_MAX) {
            throw failure(Code.TOO_BIG);
        }
        synchronized (inode) {
            boolean present = inode.extendedAttributes.containsKey(name);
            if (present && mode == ExtendedAttributeMode.CREATE) {
                throw failure(Code.EXISTS);
            }
            if (!present && mode == ExtendedAttributeMode.REPLACE) {
                throw failure(Code.NO_DATA);
            }
            inode.protect(inode.protection().with(caller, name, value.clone()));
            inode.touchChanged();
        }
    }

    @Override
    public Name[] listExtendedAttributes(long number) throws FileSystemException {
        Inode inode = inode(number);
        synchronized (inode) {
            return inode.extendedAttributes.keySet().toArray(new Name[0]);
        }
    }

    @Override
    public void removeExtendedAttribute(long number, Name name) throws FileSystemException {
        Inode inode = inode(number);
        synchronized (inode) {
            inode.protect(inode.protection().without(name));
            inode.touchChanged();
        }
    }

    // ------------------------------------------------------------------------------------------------ open files

    @Override
    public long open(Caller caller, long inode, OpenMode mode) throws FileSystemException {
        RegularFile file = regularFile(inode);
        synchronized (file) {
            file.openCount++;
        }
        if (mode.truncate()) {
            file.resize(0);
            file.written(caller);
        }
        long handle = lastHandle.incrementAndGet();
        handles.put(handle, new Handle(file, mode));
        return handle;
    }

    @Override
    public Created create(Caller caller, long parent, Name name, int mode, OpenMode open) throws FileSystemException {
        Attributes attributes = makeNode(caller, parent, name, Attributes.TYPE_REGULAR | (mode & PERMISSIONS_MASK), 0);
        return new Created(attributes, open(caller, attributes.inode(), open));
    }

    @Override
    public Created createNameless(Caller caller, long parent, int mode, OpenMode open, boolean linkable)
            throws FileSystemException {
        Directory directory = directory(parent);
        if (directory.removed) {
            throw failure(Code.NOT_FOUND);
        }
        RegularFile file = new RegularFile(
                lastInode.incrementAndGet(), Attributes.TYPE_REGULAR, caller.uid(), groupFor(directory, caller));
        file.protect(
                Protection.ofNew(Attributes.TYPE_REGULAR | (mode & PERMISSIONS_MASK), caller, directory.protection()));
        file.linkCount = 0;
        file.linkable = linkable;
        inodes.put(file.number, file);
        Attributes attributes = referenced(file);
        return new Created(attributes, open(caller, attributes.inode(), open));
    }

    @Override
    public int read(long handle, long offset, ByteBuffer target) throws FileSystemException {
        Handle open = handle(handle);
        if (!open.mode.read()) {
            throw failure(Code.BAD_HANDLE);
        }
        int read = open.file.read(offset, target);
        open.file.touchAccessed();
        return read;
    }

    @Override
    public int write(Caller caller, long handle, long offset, ByteBuffer source) throws FileSystemException {
        Handle open = handle(handle);
        if (!open.mode.write()) {
            throw failure(Code.BAD_HANDLE);
        }
        int written = open.file.write(offset, open.mode.append(), source);
        if (written > 0) {
            open.file.written(caller);
        }
        return written;
    }

    @Override
    public void flush(long handle) throws FileSystemException {
        handle(handle);
    }

    @Override
    public CompletableFuture<Void> beginFsync(long handle, boolean dataOnly) throws FileSystemException {
        handle(handle);
        return CompletableFuture.completedFuture(null);
    }

    @Override
    public void release(long handle) {
        Handle open = handles.remove(handle);
        if (open != null) {
            synchronized (open.file) {
                open.file.openCount--;
            }
            dropIfUnused(open.file);
        }
    }

    @Override
    public CompletableFuture<Void> beginFsyncDirectory(long inode) throws FileSystemException {
        directory(inode);
        return CompletableFuture.completedFuture(null);
    }

    /** There always is: a file system that is full says so. */
    @Override
    public CompletableFuture<Void> room() {
        return CompletableFuture.completedFuture(null);
    }

    @Override
    public void allocate(Caller caller, long handle, int mode, long offset, long sizeBytes) throws FileSystemException {
        Handle open = handle(handle);
        if (!open.mode.write()) {
            throw failure(Code.BAD_HANDLE);
        }
        if (mode != 0
                && mode != KEEP_SIZE
                && mode != (PUNCH_HOLE | KEEP_SIZE)
                && mode != ZERO_RANGE
                && mode != (ZERO_RANGE | KEEP_SIZE)) {
            throw failure(Code.NOT_SUPPORTED);
        }
        if (offset < 0 || sizeBytes <= 0) {
            throw failure(Code.INVALID);
        }
        if (offset > Long.MAX_VALUE - sizeBytes) {
            throw failure(Code.FILE_TOO_BIG);
        }
        open.file.allocate(mode, offset, sizeBytes);
        open.file.written(caller);
    }

    @Override
    public long seek(long handle, long offset, boolean hole) throws FileSystemException {
        return handle(handle).file.seek(offset, hole);
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
    public Statistics statistics() {
        long free = Math.max(0, capacityBytes - usedBytes.get());
        return new Statistics(capacityBytes, free, free, inodes.size(), Integer.MAX_VALUE, BLOCK_SIZE_BYTES);
    }

    @Override
    public void sync() throws FileSystemException {
        if (closed) {
            throw failure(Code.CLOSED);
        }
    }

    @Override
    public void close() {
        closed = true;
        handles.clear();
        inodes.clear();
    }
}
