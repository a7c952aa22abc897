package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.Attributes;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.Created;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystem.RenameMode;
import blocktree.tree.FileSystemException;
import blocktree.tree.FileSystemException.Code;
import blocktree.tree.Name;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/** Answers the requests of libfuse 3, which name inodes. Layouts of requests are those of linux/fuse.h. */
final class InodeOperations extends MountOperations {
    /** How long the kernel may use names and attributes without asking: it is told when they change. */
    private static final long VALID_NANOS = Duration.ofMinutes(1).toNanos();

    /** Names that the kernel may know for each inode that it may know, and that stand for none. */
    private static final int NAMES_OF_AN_INODE = 4;

    private static final int RENAME_NOREPLACE = 1;
    private static final int RENAME_EXCHANGE = 2;
    private static final int OPEN_KILL_SUIDGID = 1;
    private static final int WRITE_KILL_SUIDGID = 1 << 2;
    private static final int FSYNC_DATA_ONLY = 1;

    private static final CompletableFuture<Void> DONE = CompletableFuture.completedFuture(null);

    /** Who changes a file so that its set-user-id bit goes, and so that it stays: the kernel knows which of them it is. */
    private static final Caller ORDINARY = new Caller(65534, 65534);

    private final AttributeRequests attributeRequests;

    private final KernelCache cache;
    private final DeferredReplies deferredReplies = new DeferredReplies();

    /** Open files by their handles. */
    private final Map<Long, OpenFile> openFiles = new ConcurrentHashMap<>();

    private final KnownInodes known;
    private final KnownNames names;

    private final LockRequests lockRequests;

    private volatile boolean writeBackCache;
    private volatile boolean accessLists;

    InodeOperations(NativeFuse3 fuse, FileSystem fileSystem, MountOptions options) {
        super(fileSystem, options);
        known = new KnownInodes(options.knownInodesMax());
        names = new KnownNames(fileSystem.changes().areShared(), NAMES_OF_AN_INODE * options.knownInodesMax());
        cache = new KernelCache(fuse, fileSystem, known, names);
        attributeRequests = new AttributeRequests(fileSystem, this);
        lockRequests = new LockRequests(fuse, fileSystem.locks(), openFiles, cache);
    }

    /**
     * @param useWriteBackCache whether the kernel keeps writes back; it then reads through handles that were opened to write, and places what is appended
     * @param useAccessLists as of {@link #enforcesAccessLists}
     */
    void start(long session, boolean useWriteBackCache, boolean useAccessLists) {
        writeBackCache = useWriteBackCache;
        accessLists = useAccessLists;
        cache.start(session, useWriteBackCache);
    }

    KernelCache cache() {
        return cache;
    }

    LockRequests lockRequests() {
        return lockRequests;
    }

    DeferredReplies deferredReplies() {
        return deferredReplies;
    }

    @Override
    void attributeChanged(Name attribute) {
        // The kernel keeps none but access lists, which it drops when it is told of changed attributes.
    }

    @Override
    boolean enforcesAccessLists() {
        return accessLists;
    }

    @Override
    long attributesValidNanos(long inode) {
        return cache.isKeptBackElsewhere(inode) ? 0 : VALID_NANOS;
    }

    @Override
    Caller changer(RequestThread request, boolean kills) {
        return kills ? ORDINARY : PRIVILEGED;
    }

    @Override
    int knownInodeCount() {
        return known.size();
    }

    /** How many references the kernel has to each inode. */
    Map<Long, Long> knownReferences() {
        return known.counts();
    }

    @Override
    void ended() {
        openFiles.keySet().forEach(this::release);
        known.clear(fileSystem::forget);
    }

    void answer(InodeRequestThread request) {
        switch (request.opcode()) {
            case RequestThread.OPCODE_LOOKUP -> act(request, Operation.LOOKUP, () -> lookup(request));
            case RequestThread.OPCODE_FORGET -> {
                forget(request.node(), request.bodyLong(0));
                request.replyNone();
            }
            case RequestThread.OPCODE_BATCH_FORGET -> {
                int count = request.bodyInt(0);
                for (int i = 0; i < count; i++) {
                    forget(request.bodyLong(8 + 16 * i), request.bodyLong(16 + 16 * i));
                }
                request.replyNone();
            }
            case RequestThread.OPCODE_READLINK ->
                act(request, Operation.READLINK, () -> request.reply(fileSystem.readSymlink(request.node())));
            case RequestThread.OPCODE_SYMLINK -> change(request, Operation.SYMLINK, () -> symlink(request));
            case RequestThread.OPCODE_MKNOD -> change(request, Operation.MKNOD, () -> makeNode(request));
            case RequestThread.OPCODE_MKDIR -> change(request, Operation.MKDIR, () -> makeDirectory(request));
            case RequestThread.OPCODE_UNLINK ->
                change(request, Operation.UNLINK, () -> {
                    fileSystem.unlink(request.node(), name(request, 0));
                    request.reply(0, 0);
                });
            case RequestThread.OPCODE_RMDIR ->
                change(request, Operation.RMDIR, () -> {
                    fileSystem.removeDirectory(request.node(), name(request, 0));
                    request.reply(0, 0);
                });
            case RequestThread.OPCODE_RENAME -> change(request, Operation.RENAME, () -> rename(request, 8, 0));
            case RequestThread.OPCODE_RENAME2 ->
                change(request, Operation.RENAME, () -> rename(request, 16, request.bodyInt(8)));
            case RequestThread.OPCODE_LINK -> change(request, Operation.LINK, () -> link(request));
            case RequestThread.OPCODE_OPEN ->
                look(request, Operation.OPEN, () -> {
                    if (openMode(request.bodyInt(0)).truncate()) {
                        change(request, Operation.OPEN, () -> open(request));
                    } else {
                        act(request, Operation.OPEN, () -> open(request));
                    }
                });
            case RequestThread.OPCODE_CREATE -> change(request, Operation.CREATE, () -> create(request));
            case RequestThread.OPCODE_TMPFILE -> change(request, Operation.CREATE, () -> createNameless(request));
            case RequestThread.OPCODE_READ ->
                look(request, Operation.READ, () -> act(request, Operation.READ, () -> read(request)));
            case RequestThread.OPCODE_WRITE -> change(request, Operation.WRITE, () -> write(request));
            case RequestThread.OPCODE_FLUSH ->
                act(request, Operation.FLUSH, () -> {
                    long handle = request.bodyLong(0);
                    try {
                        fileSystem.flush(handle);
                    } finally {
                        lockRequests.closed(request, handle, request.bodyLong(16));
                    }
                    request.reply(0, 0);
                });
            case RequestThread.OPCODE_RELEASE ->
                act(request, Operation.RELEASE, () -> {
                    release(request.bodyLong(0));
                    request.reply(0, 0);
                });
            case RequestThread.OPCODE_GETLK -> act(request, Operation.GETLK, () -> lockRequests.test(request));
            case RequestThread.OPCODE_SETLK -> act(request, Operation.SETLK, () -> lockRequests.set(request, false));
            case RequestThread.OPCODE_SETLKW -> act(request, Operation.SETLK, () -> lockRequests.set(request, true));
            case RequestThread.OPCODE_FSYNC ->
                act(request, Operation.FSYNC, () -> {
                    boolean dataOnly = (request.bodyInt(8) & FSYNC_DATA_ONLY) != 0;
                    request.replyAfter(fileSystem.beginFsync(request.bodyLong(0), dataOnly), 0);
                });
            case RequestThread.OPCODE_FALLOCATE ->
                change(request, Operation.FALLOCATE, () -> {
                    fileSystem.allocate(
                            request.caller(),
                            request.bodyLong(0),
                            request.bodyInt(24),
                            request.bodyLong(8),
                            request.bodyLong(16));
                    request.reply(0, 0);
                });
            case RequestThread.OPCODE_SEEK -> seek(request);
            case RequestThread.OPCODE_COPY_FILE_RANGE ->
                change(request, Operation.COPY_FILE_RANGE, () -> copy(request));
            case RequestThread.OPCODE_OPENDIR ->
                act(request, Operation.OPENDIR, () -> {
                    KernelStructs.putOpen(request.replyBody(), 0, 0);
                    request.reply(0, KernelStructs.OPEN_SIZE_BYTES);
                });
            case RequestThread.OPCODE_RELEASEDIR -> act(request, Operation.RELEASEDIR, () -> request.reply(0, 0));
            case RequestThread.OPCODE_READDIR -> act(request, Operation.READDIR, () -> readDirectory(request));
            case RequestThread.OPCODE_READDIRPLUS ->
                act(request, Operation.READDIRPLUS, () -> readDirectoryWithAttributes(request));
            case RequestThread.OPCODE_FSYNCDIR ->
                act(
                        request,
                        Operation.FSYNCDIR,
                        () -> request.replyAfter(fileSystem.beginFsyncDirectory(request.node()), 0));
            case RequestThread.OPCODE_STATFS ->
                act(request, Operation.STATFS, () -> {
                    KernelStructs.putStatistics(request.replyBody(), fileSystem.statistics(), FileSystem.NAME_SIZE_MAX);
                    request.reply(0, KernelStructs.STATISTICS_SIZE_BYTES);
                });
            case RequestThread.OPCODE_STATX ->
                look(request, Operation.GETATTR, () -> act(request, Operation.GETATTR, () -> statx(request)));
            case RequestThread.OPCODE_GETATTR -> look(request, Operation.GETATTR, () -> answerOnAttributes(request));
            case RequestThread.OPCODE_SETXATTR ->
                whenRoom(request, Operation.SETXATTR, () -> answerOnAttributes(request));
            case RequestThread.OPCODE_SETATTR -> {
                if (AttributeRequests.setsSize(request)) {
                    whenRoom(request, Operation.TRUNCATE, () -> answerOnAttributes(request));
                } else {
                    answerOnAttributes(request);
                }
            }
            default -> answerOnAttributes(request);
        }
    }

    private void answerOnAttributes(InodeRequestThread request) {
        if (!attributeRequests.answer(request, request.node())) {
            request.reply(Errno.ENOSYS, 0);
        }
    }

    // ------------------------------------------------------------------------------------------------ waiting
    // without a thread

    /** Handles a request that changes something, when there is room for changes. */
    private void whenRoom(InodeRequestThread request, Operation operation, Runnable handling) {
        CompletableFuture<Void> room = fileSystem.room();
        if (room.isDone()) {
            handling.run();
        } else {
            request.park(operation, room, List.of());
        }
    }

    private void change(InodeRequestThread request, Operation operation, Action action) {
        whenRoom(request, operation, () -> act(request, operation, action));
    }

    /** Handles a request that shows something of its file, when the tree has what other mounts' kernels had kept back of that. */
    private void look(InodeRequestThread request, Operation operation, Runnable handling) {
        CompletableFuture<Void> recall = recall(request, request.node());
        if (recall == null) {
            handling.run();
        } else {
            request.park(operation, recall, List.of(request.node()));
        }
    }

    private @Nullable CompletableFuture<Void> recall(InodeRequestThread request, long inode) {
        return request.hasRecalled(inode) ? null : cache.recall(inode);
    }

    /** Does something and answers. */
    private interface Action {
        void run() throws FileSystemException;
    }

    private void act(InodeRequestThread request, Operation operation, Action action) {
        int result = answer(operation, () -> {
            action.run();
            return 0;
        });
        if (result < 0 && request.isUnanswered()) {
            request.reply(-result, 0);
        }
    }

    private static Name name(RequestThread request, int offset) throws FileSystemException {
        byte[] bytes = request.bodyString(offset);
        if (bytes.length > FileSystem.NAME_SIZE_MAX) {
            throw new FileSystemException(Code.NAME_TOO_LONG, "a name of " + bytes.length + " bytes");
        }
        return Name.wrap(bytes);
    }

    // ------------------------------------------------------------------------------------------------ references

    /** The kernel is about to be given a reference, by this name, that the file system has counted. */
    private void give(long out, Attributes attributes, long directory, Name name) {
        long validNanos = names.give(directory, name, attributes.inode(), VALID_NANOS);
        KernelStructs.putEntry(out, shown(attributes), validNanos, attributesValidNanos(attributes.inode()));
        for (KnownInodes.Expired expired : known.give(attributes.inode(), attributes.isDirectory(), directory, name)) {
            cache.expire(expired.directory(), expired.name());
        }
    }

    private void forget(long inode, long count) {
        known.takeBack(inode, count);
        fileSystem.forget(inode, count);
    }

    private void replyEntry(InodeRequestThread request, Name name, Attributes attributes) {
        long out = request.replyBody();
        give(out, attributes, request.node(), name);
        request.replyFrom(
                out, KernelStructs.ENTRY_SIZE_BYTES, () -> forget(attributes.inode(), 1), request.given(name));
    }

    // ------------------------------------------------------------------------------------------------ names

    private void lookup(InodeRequestThread request) throws FileSystemException {
        Name name = name(request, 0);
        Attributes found;
        try {
            found = fileSystem.lookup(request.node(), name);
        } catch (FileSystemException e) {
            if (e.code() != Code.NOT_FOUND) {
                throw e;
            }
            long validNanos =
                    names.give(request.node(), name, 0, options.entryTimeout().toNanos());
            KernelStructs.putNoEntry(request.replyBody(), validNanos);
            request.replyFrom(request.replyBody(), KernelStructs.ENTRY_SIZE_BYTES, () -> {}, request.given(name));
            return;
        }
        if (!parkedForRecall(request, Operation.LOOKUP, found)) {
            replyEntry(request, name, found);
        }
    }

    /** True: other mounts' kernels may have kept something back of what was found, which is given up and the request left until then. */
    private boolean parkedForRecall(InodeRequestThread request, Operation operation, Attributes found) {
        CompletableFuture<Void> recall = recall(request, found.inode());
        if (recall == null) {
            return false;
        }
        fileSystem.forget(found.inode(), 1);
        request.park(operation, recall, List.of(found.inode()));
        return true;
    }

    /** Asked only for a time of birth that the kernel does not know yet: it keeps that as long as the inode. */
    private void statx(InodeRequestThread request) throws FileSystemException {
        Attributes found = fileSystem.getAttributes(request.node());
        KernelStructs.putStatx(request.replyBody(), shown(found), attributesValidNanos(found.inode()));
        request.reply(0, KernelStructs.STATX_SIZE_BYTES);
    }

    private void symlink(InodeRequestThread request) throws FileSystemException {
        Name name = name(request, 0);
        byte[] target = request.bodyString(name.sizeBytes() + 1);
        replyEntry(request, name, fileSystem.makeSymlink(request.caller(), request.node(), name, target));
    }

    private void makeNode(InodeRequestThread request) throws FileSystemException {
        long device = Integer.toUnsignedLong(request.bodyInt(4));
        Name name = name(request, 16);
        Caller caller = request.caller(request.bodyInt(8));
        replyEntry(request, name, fileSystem.makeNode(caller, request.node(), name, request.bodyInt(0), device));
    }

    private void makeDirectory(InodeRequestThread request) throws FileSystemException {
        int mode = request.bodyInt(0) & PERMISSIONS_MASK;
        Name name = name(request, 8);
        Caller caller = request.caller(request.bodyInt(4));
        replyEntry(request, name, fileSystem.makeDirectory(caller, request.node(), name, mode));
    }

    private void rename(InodeRequestThread request, int namesOffset, int flags) throws FileSystemException {
        RenameMode mode = switch (flags) {
            case 0 -> RenameMode.REPLACE;
            case RENAME_NOREPLACE -> RenameMode.NO_REPLACE;
            case RENAME_EXCHANGE -> RenameMode.EXCHANGE;
            default -> throw new FileSystemException(Code.INVALID, "flags of rename");
        };
        Name name = name(request, namesOffset);
        Name newName = name(request, namesOffset + name.sizeBytes() + 1);
        long newDirectory = request.bodyLong(0);
        long directory = request.node();
        List<Runnable> afterwards = mode == RenameMode.EXCHANGE
                ? List.of(request.given(newDirectory, newName), request.given(directory, name))
                : List.of(request.given(newDirectory, newName));
        fileSystem.rename(directory, name, newDirectory, newName, mode);
        names.move(directory, name, newDirectory, newName, mode);
        request.reply(0, 0);
        afterwards.forEach(Runnable::run);
    }

    private void link(InodeRequestThread request) throws FileSystemException {
        Name name = name(request, 8);
        replyEntry(request, name, fileSystem.link(request.bodyLong(0), request.node(), name));
    }

    // ------------------------------------------------------------------------------------------------ open files

    /** What the kernel needs of a handle, which with a write-back cache is more than the program asked for. */
    private OpenMode neededMode(int flags, boolean cached) {
        OpenMode mode = openMode(flags);
        return writeBackCache && cached && mode.write()
                ? new OpenMode(true, true, false, mode.truncate(), mode.sync())
                : mode;
    }

    /** For the tree, which would wait in each write: {@link OpenFile#syncs} is seen to here. */
    private static OpenMode unsynced(OpenMode mode) {
        return new OpenMode(mode.read(), mode.write(), mode.append(), mode.truncate(), false);
    }

    private void open(InodeRequestThread request) throws FileSystemException {
        Caller caller = changer(request, (request.bodyInt(4) & OPEN_KILL_SUIDGID) != 0);
        long inode = request.node();
        long handle = open(caller, inode, request.bodyInt(0));
        putOpen(request.replyBody(), handle);
        request.replyFrom(request.replyBody(), KernelStructs.OPEN_SIZE_BYTES, () -> release(handle), () -> {});
    }

    private long open(Caller caller, long inode, int flags) throws FileSystemException {
        boolean writes = openMode(flags).write();
        boolean cached = cache.opening(inode, writes);
        try {
            OpenMode mode = neededMode(flags, cached);
            long handle = fileSystem.open(caller, inode, unsynced(mode));
            openFiles.put(handle, new OpenFile(inode, mode, cached));
            return handle;
        } catch (FileSystemException e) {
            if (cached) {
                cache.released(inode, writes);
            }
            throw e;
        }
    }

    private void putOpen(long out, long handle) {
        OpenFile file = openFiles.get(handle);
        boolean cached = file != null && file.cached && !file.appends;
        KernelStructs.putOpen(out, handle, cached ? KernelStructs.FOPEN_KEEP_CACHE : KernelStructs.FOPEN_DIRECT_IO);
    }

    private void release(long handle) {
        fileSystem.release(handle);
        OpenFile file = openFiles.remove(handle);
        if (file == null) {
            return;
        }
        file.release(fileSystem);
        lockRequests.released(file);
        if (file.cached) {
            cache.released(file.inode, file.writes);
        }
    }

    private void create(InodeRequestThread request) throws FileSystemException {
        Name name = name(request, 16);
        Created created = create(request, name, request.bodyInt(0));
        if (created != null) {
            replyCreated(request, name, created);
        }
    }

    /** Behind the body stands the name that the kernel shows for a file without one. */
    private void createNameless(InodeRequestThread request) throws FileSystemException {
        Name name = name(request, 16);
        int flags = request.bodyInt(0);
        OpenMode mode = neededMode(flags, true);
        int permissions = request.bodyInt(4) & PERMISSIONS_MASK;
        boolean linkable = (flags & O_EXCL) == 0;
        Created created = fileSystem.createNameless(
                request.caller(request.bodyInt(8)), request.node(), permissions, unsynced(mode), linkable);
        opened(created, mode);
        replyCreated(request, name, created);
    }

    private void replyCreated(InodeRequestThread request, Name name, Created created) {
        long inode = created.attributes().inode();
        give(request.replyBody(), created.attributes(), request.node(), name);
        putOpen(request.replyBody() + KernelStructs.ENTRY_SIZE_BYTES, created.handle());
        Runnable ifUnwanted = () -> {
            release(created.handle());
            forget(inode, 1);
        };
        request.replyFrom(
                request.replyBody(),
                KernelStructs.ENTRY_SIZE_BYTES + KernelStructs.OPEN_SIZE_BYTES,
                ifUnwanted,
                request.given(name));
    }

    /** Null: the request is left until it can be handled. */
    private @Nullable Created create(InodeRequestThread request, Name name, int flags) throws FileSystemException {
        try {
            int permissions = request.bodyInt(4) & PERMISSIONS_MASK;
            OpenMode mode = neededMode(flags, true);
            Caller caller = request.caller(request.bodyInt(8));
            Created created = fileSystem.create(caller, request.node(), name, permissions, unsynced(mode));
            opened(created, mode);
            return created;
        } catch (FileSystemException e) {
            // Made through another mount since the kernel looked: without O_EXCL that is the file to open.
            if (e.code() != Code.EXISTS || (flags & O_EXCL) != 0) {
                throw e;
            }
        }
        Attributes found = fileSystem.lookup(request.node(), name);
        if (parkedForRecall(request, Operation.CREATE, found)) {
            return null;
        }
        try {
            return new Created(found, open(request.caller(), found.inode(), flags));
        } catch (FileSystemException e) {
            fileSystem.forget(found.inode(), 1);
            throw e;
        }
    }

    private void opened(Created created, OpenMode mode) {
        long inode = created.attributes().inode();
        boolean cached = cache.opening(inode, mode.write());
        openFiles.put(created.handle(), new OpenFile(inode, mode, cached));
    }

    private void read(InodeRequestThread request) throws FileSystemException {
        int size = request.bodyInt(16);
        long data = request.data(size);
        int read = fileSystem.read(request.bodyLong(0), request.bodyLong(8), MEMORY.newDirectByteBuffer(data, size));
        request.replyFrom(data, read);
    }

    private void write(InodeRequestThread request) throws FileSystemException {
        int size = request.bodyInt(16);
        Caller caller = changer(request, (request.bodyInt(20) & WRITE_KILL_SUIDGID) != 0);
        long handle = request.bodyLong(0);
        OpenFile file = openFiles.get(handle);
        boolean ofPages = request.isPageWriteBack(); // which no program waits for: it has to sync them
        if (file != null) {
            lockRequests.requireNothingLost(file);
        }
        int written = fileSystem.write(
                caller,
                file != null && file.appends && ofPages ? file.positionedHandle(fileSystem) : handle,
                request.bodyLong(8),
                MEMORY.newDirectByteBuffer(request.body(40, size), size));
        replyWritten(request, handle, written, file != null && file.syncs && !ofPages);
    }

    private void replyWritten(InodeRequestThread request, long handle, long sizeBytes, boolean syncs)
            throws FileSystemException {
        CompletableFuture<Void> synced = syncs ? fileSystem.beginFsync(handle, true) : DONE;
        MEMORY.putLong(request.replyBody(), sizeBytes); // struct fuse_write_out: four bytes, and padding
        request.replyAfter(synced, Long.BYTES);
    }

    private void seek(InodeRequestThread request) {
        int whence = request.bodyInt(16);
        if (whence != SEEK_DATA && whence != SEEK_HOLE) {
            request.reply(Errno.EINVAL, 0);
            return;
        }
        long inode = request.node();
        // The kernel does not write back what it keeps of the file before it asks.
        CompletableFuture<Void> recall = request.hasRecalled(inode) ? null : cache.recallEverywhere(inode);
        if (recall != null) {
            request.park(Operation.SEEK, recall, List.of(inode));
            return;
        }
        int result = answer(Operation.SEEK, () -> {
            long found = fileSystem.seek(request.bodyLong(0), request.bodyLong(8), whence == SEEK_HOLE);
            MEMORY.putLong(request.replyBody(), found);
            return 0;
        });
        request.reply(result == -Errno.ENODATA ? Errno.ENXIO : -result, Long.BYTES);
    }

    private void copy(InodeRequestThread request) throws FileSystemException {
        long target = request.bodyLong(24);
        long copied = fileSystem.copy(
                PRIVILEGED,
                request.bodyLong(0),
                request.bodyLong(8),
                target,
                request.bodyLong(32),
                Math.min(request.bodyLong(40), COPY_SIZE_BYTES_MAX));
        OpenFile file = openFiles.get(target);
        replyWritten(request, target, copied, file != null && file.syncs);
    }

    /** A caller that asks for more gets this, and asks again: a request is not to take for ever. */
    private static final long COPY_SIZE_BYTES_MAX = 16 << 20;

    // ------------------------------------------------------------------------------------------------ directories

    private record Entry(Name name, long inode, int mode, long nextCookie) {}

    private void readDirectory(InodeRequestThread request) throws FileSystemException {
        int room = request.bodyInt(16);
        long out = request.data(room);
        int used = 0;
        for (Entry entry : entries(request, room, 0)) {
            KernelStructs.putDirectoryEntry(out + used, entry.name.bytes(), entry.inode, entry.mode, entry.nextCookie);
            used += KernelStructs.directoryEntrySizeBytes(entry.name.sizeBytes());
        }
        request.replyFrom(out, used);
    }

    /** As many entries as have room when each takes {@code extraSizeBytes} more than its own. */
    private List<Entry> entries(InodeRequestThread request, int room, int extraSizeBytes) throws FileSystemException {
        long directory = request.node();
        long offset = request.bodyLong(8);
        List<Entry> entries = new ArrayList<>();
        int[] left = {room};
        if (offset < 1) {
            take(entries, left, extraSizeBytes, new Entry(SELF, directory, Attributes.TYPE_DIRECTORY, 1));
        }
        if (offset < COOKIE_FIRST) {
            long parent = fileSystem.parent(directory);
            take(entries, left, extraSizeBytes, new Entry(PARENT, parent, Attributes.TYPE_DIRECTORY, COOKIE_FIRST));
        }
        fileSystem.readDirectory(
                directory,
                Math.max(0, offset - COOKIE_FIRST),
                (name, child, mode, cookie) ->
                        take(entries, left, extraSizeBytes, new Entry(name, child, mode, cookie + COOKIE_FIRST)));
        return entries;
    }

    private static boolean take(List<Entry> entries, int[] left, int extraSizeBytes, Entry entry) {
        int size = extraSizeBytes + KernelStructs.directoryEntrySizeBytes(entry.name.sizeBytes());
        if (size > left[0]) {
            left[0] = 0; // the listing ends with what is left out
            return false;
        }
        left[0] -= size;
        entries.add(entry);
        return true;
    }

    private void readDirectoryWithAttributes(InodeRequestThread request) throws FileSystemException {
        int room = request.bodyInt(16);
        List<Entry> entries = entries(request, room, KernelStructs.ENTRY_SIZE_BYTES);
        if (parkedForRecall(request, entries)) {
            return;
        }
        long out = request.data(room);
        int used = 0;
        List<Long> given = new ArrayList<>();
        List<Runnable> afterwards = new ArrayList<>();
        for (Entry entry : entries) {
            Attributes attributes = isDots(entry) ? null : lookup(request.node(), entry);
            if (attributes == null) {
                KernelStructs.putNoEntry(out + used, 0);
            } else {
                give(out + used, attributes, request.node(), entry.name);
                given.add(attributes.inode());
                afterwards.add(request.given(entry.name));
            }
            used += KernelStructs.ENTRY_SIZE_BYTES;
            KernelStructs.putDirectoryEntry(out + used, entry.name.bytes(), entry.inode, entry.mode, entry.nextCookie);
            used += KernelStructs.directoryEntrySizeBytes(entry.name.sizeBytes());
        }
        request.replyFrom(
                out, used, () -> given.forEach(inode -> forget(inode, 1)), () -> afterwards.forEach(Runnable::run));
    }

    /** True: other mounts' kernels may have kept something back of what is listed, and the request is left until then. */
    private boolean parkedForRecall(InodeRequestThread request, List<Entry> entries) {
        Map<Long, CompletableFuture<Void>> recalls = new HashMap<>();
        for (Entry entry : entries) {
            CompletableFuture<Void> recall = isDots(entry) ? null : recall(request, entry.inode);
            if (recall != null) {
                recalls.put(entry.inode, recall);
            }
        }
        if (!recalls.isEmpty()) {
            CompletableFuture<Void> all =
                    CompletableFuture.allOf(recalls.values().toArray(new CompletableFuture<?>[0]));
            request.park(Operation.READDIRPLUS, all, recalls.keySet());
        }
        return !recalls.isEmpty();
    }

    private static boolean isDots(Entry entry) {
        return entry.nextCookie <= COOKIE_FIRST;
    }

    /** Null: the listing shows the name without attributes, since it is gone or cannot be read. */
    private @Nullable Attributes lookup(long directory, Entry entry) {
        try {
            return fileSystem.lookup(directory, entry.name);
        } catch (FileSystemException e) {
            return null;
        }
    }
}
