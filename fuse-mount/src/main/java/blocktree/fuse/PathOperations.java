package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.fuse.NativeFuse.Slot;
import blocktree.fuse.PathResolver.Found;
import blocktree.tree.AttributeChange;
import blocktree.tree.Attributes;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.Created;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystem.RenameMode;
import blocktree.tree.FileSystemException;
import blocktree.tree.FileSystemException.Code;
import blocktree.tree.Name;
import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Answers the callbacks of libfuse 2, which name files by their paths. Every callback returns a result of 0 or more, or a negated errno.
 *
 * <p>Locks (fcntl and flock) have no callback here: without one the kernel keeps them itself, which is right and fastest as long as one mount
 * shows the tree.
 */
final class PathOperations extends MountOperations {

    private static final int CACHE_COUNT_MAX = 16_384;

    /** How recently a file may have changed for its times to prove that it did not change again. */
    private static final long RACY_NANOS = 50_000_000;

    /** What tells one content of a file from another. */
    private record Version(long inode, long sizeBytes, long modifyTimeNanos, long changeTimeNanos) {
        static Version of(Attributes a) {
            return new Version(a.inode(), a.sizeBytes(), a.modifyTimeNanos(), a.changeTimeNanos());
        }
    }

    /** An inode that is open {@code count} times in a way that libfuse's paths do not serve. */
    private record OpenNode(long inode, int count) {}

    private final PathResolver paths;
    private final AttributeRequests attributeRequests;
    private final Map<Long, OpenFile> openFiles = new ConcurrentHashMap<>();

    /** Open directories, and files that had lost their name when they were opened, by libfuse's node. */
    private final Map<Long, OpenNode> openNodes = new ConcurrentHashMap<>();

    /** Handles that libfuse does not know of. */
    private final Set<Long> ownHandles = ConcurrentHashMap.newKeySet();

    private final RecentNodes recentNodes;

    /** The content that the kernel may hold pages of, by libfuse's node: each name of a file has pages of its own. */
    private final Map<Long, Version> cachedVersions = new ConcurrentHashMap<>();

    /** Nodes known to have no security.capability, and since when: the kernel asks before each write. */
    private final Map<Long, Long> nodesWithoutCapability = new ConcurrentHashMap<>();

    PathOperations(FileSystem fileSystem, MountOptions options) {
        super(fileSystem, options);
        this.paths = new PathResolver(fileSystem, options.entryTimeout().toNanos());
        this.attributeRequests = new AttributeRequests(fileSystem, this);
        this.recentNodes = new RecentNodes(fileSystem);
    }

    void bind(NativeFuse.Operations table) {
        table.put2(Slot.GETATTR, this::getattr);
        table.put3(Slot.READLINK, this::readlink);
        table.put3(Slot.MKNOD, this::mknod);
        table.put2(Slot.MKDIR, this::mkdir);
        table.put1(Slot.UNLINK, this::unlink);
        table.put1(Slot.RMDIR, this::rmdir);
        table.put2(Slot.SYMLINK, this::symlink);
        table.put2(Slot.RENAME, this::rename);
        table.put2(Slot.LINK, this::link);
        table.put2(Slot.CHMOD, this::chmod);
        table.put3(Slot.CHOWN, this::chown);
        table.put2(Slot.TRUNCATE, this::truncate);
        table.put2(Slot.OPEN, this::open);
        table.put5(Slot.READ, (path, buffer, size, offset, info) -> read(buffer, size, offset, info));
        table.put5(Slot.WRITE, (path, buffer, size, offset, info) -> write(buffer, size, offset, info));
        table.put2(Slot.STATFS, (path, result) -> statfs(result));
        table.put2(Slot.FLUSH, (path, info) -> flush(info));
        table.put2(Slot.RELEASE, (path, info) -> releaseKnown(info));
        table.put3(Slot.FSYNC, (path, dataOnly, info) -> fsync((int) dataOnly != 0, info));
        table.put5(Slot.SETXATTR, this::setxattr);
        table.put4(Slot.GETXATTR, this::getxattr);
        table.put3(Slot.LISTXATTR, this::listxattr);
        table.put2(Slot.REMOVEXATTR, this::removexattr);
        table.put2(Slot.OPENDIR, this::opendir);
        table.put5(Slot.READDIR, (path, buffer, filler, offset, info) -> readdir(buffer, filler, offset, info));
        table.put2(Slot.RELEASEDIR, (path, info) -> releasedir(info));
        table.put3(Slot.FSYNCDIR, (path, dataOnly, info) -> fsyncdir(info));
        table.put3(Slot.CREATE, this::create);
        table.put3(Slot.FTRUNCATE, (path, size, info) -> ftruncate(size, info));
        table.put3(Slot.FGETATTR, (path, stat, info) -> fgetattr(stat, info));
        table.put2(Slot.UTIMENS, this::utimens);
        table.put5(Slot.FALLOCATE, (path, mode, offset, length, info) -> fallocate((int) mode, offset, length, info));
    }

    // ------------------------------------------------------------------------------------------------ around every
    // request

    /**
     * Answers what libfuse 2 does not know or answers too slowly.
     *
     * @return false: libfuse shall answer
     */
    boolean intercept(PathRequestThread request) {
        switch (request.opcode()) {
            case RequestThread.OPCODE_SEEK -> {
                return seek(request);
            }
            case RequestThread.OPCODE_RELEASE -> {
                return releaseOwn(request);
            }
            case RequestThread.OPCODE_FORGET -> recentNodes.remove(request.node());
            case RequestThread.OPCODE_BATCH_FORGET -> {
                int count = request.bodyInt(0);
                for (int i = 0; i < count; i++) {
                    recentNodes.remove(request.bodyLong(8 + 16 * i));
                }
            }
            default -> {
                Long inode = openInode(request.node());
                if (inode != null && attributeRequests.answer(request, inode)) {
                    return true;
                }
                return request.opcode() == RequestThread.OPCODE_GETXATTR && capabilityKnownAbsent(request);
            }
        }
        return false;
    }

    /** libfuse found no path for the node of this request. False: nor is its inode known here. */
    boolean answerWithoutPath(PathRequestThread request) {
        Long inode = recentNodes.inode(request.node());
        return inode != null
                && (request.opcode() == RequestThread.OPCODE_OPEN
                        ? openWithoutPath(request, inode)
                        : attributeRequests.answer(request, inode));
    }

    /** The kernel learns the node of what a request has looked up; takes over the reference. */
    void lookedUp(long node, Found found) {
        recentNodes.add(node, found.takeReference(), found.attributes().isSpecial());
    }

    /** The inode of a node that is open and has or may have lost its name. */
    private @Nullable Long openInode(long node) {
        Long hidden = paths.hiddenInode(node);
        if (hidden != null) {
            return hidden;
        }
        OpenNode open = openNodes.isEmpty() ? null : openNodes.get(node);
        return open == null ? null : Long.valueOf(open.inode);
    }

    private void openedNode(long node, long inode) {
        openNodes.compute(node, (key, open) -> new OpenNode(inode, open == null ? 1 : open.count + 1));
    }

    private void releasedNode(long node) {
        openNodes.computeIfPresent(
                node, (key, open) -> open.count == 1 ? null : new OpenNode(open.inode, open.count - 1));
    }

    /** A file that was replaced or removed after it was found: as on other file systems, who found it opens it. */
    private boolean openWithoutPath(PathRequestThread request, long inode) {
        int result = answer(Operation.OPEN, () -> {
            OpenMode mode = openMode(request.bodyInt(0));
            long handle = fileSystem.open(caller(), inode, mode);
            openFiles.put(handle, new OpenFile(inode, mode, true));
            ownHandles.add(handle);
            openedNode(request.node(), inode);
            MEMORY.putLong(request.replyBody(), handle); // struct fuse_open_out
            MEMORY.putLong(request.replyBody() + 8, 0);
            return 0;
        });
        if (result == 0) {
            request.reply(0, 2 * Long.BYTES);
        }
        return result == 0;
    }

    private boolean releaseOwn(PathRequestThread request) {
        long handle = request.bodyLong(0);
        if (ownHandles.isEmpty() || !ownHandles.remove(handle)) {
            return false;
        }
        request.reply(-answer(Operation.RELEASE, () -> release(handle)), 0);
        releasedNode(request.node());
        return true;
    }

    private boolean seek(PathRequestThread request) {
        int whence = request.bodyInt(16);
        if (whence != SEEK_DATA && whence != SEEK_HOLE) {
            request.reply(Errno.EINVAL, 0);
            return true;
        }
        int result = answer(Operation.SEEK, () -> {
            long found = fileSystem.seek(request.bodyLong(0), request.bodyLong(8), whence == SEEK_HOLE);
            MEMORY.putLong(request.replyBody(), found);
            return 0;
        });
        request.reply(result == -Errno.ENODATA ? Errno.ENXIO : -result, Long.BYTES);
        return true;
    }

    private boolean capabilityKnownAbsent(PathRequestThread request) {
        Long since = nodesWithoutCapability.get(request.node());
        if (since == null
                || System.nanoTime() - since > options.attributeTimeout().toNanos()
                || !SECURITY_CAPABILITY.equals(Name.wrap(request.bodyString(8)))) {
            return false;
        }
        metrics().finished(Operation.GETXATTR, true, 0);
        request.reply(Errno.ENODATA, 0);
        return true;
    }

    /** libfuse 2 has no word for it. */
    @Override
    boolean enforcesAccessLists() {
        return false;
    }

    /** Not at all: they go out for inodes that may have lost their names, of which nothing can be said to the kernel later. */
    @Override
    long attributesValidNanos(long inode) {
        return 0;
    }

    /** The caller: the version of the protocol that libfuse 2 speaks leaves it to the file system. */
    @Override
    Caller changer(RequestThread request, boolean kills) {
        return request.caller();
    }

    @Override
    int knownInodeCount() {
        return 0;
    }

    @Override
    void ended() {
        openFiles.forEach((handle, file) -> {
            fileSystem.release(handle);
            file.release(fileSystem);
        });
        openFiles.clear();
        recentNodes.clear();
    }

    private static Caller caller() {
        PathRequestThread request = PathRequestThread.current();
        return request == null ? PRIVILEGED : request.caller();
    }

    private static byte[] bytes(long address) {
        return MEMORY.getZeroTerminatedByteArray(address);
    }

    private void forget(Attributes attributes) {
        fileSystem.forget(attributes.inode(), 1);
    }

    // ------------------------------------------------------------------------------------------------ attributes

    private int getattr(long path, long stat) {
        return answer(Operation.GETATTR, () -> {
            try (Found found = paths.find(bytes(path))) {
                put(stat, found.attributes());
                PathRequestThread request = PathRequestThread.current();
                if (request != null) {
                    request.noteLookedUp(found);
                }
                return 0;
            }
        });
    }

    private int fgetattr(long stat, long info) {
        return answer(Operation.GETATTR, () -> {
            put(stat, fileSystem.getAttributes(openFile(info).inode));
            return 0;
        });
    }

    private void put(long stat, Attributes attributes) {
        NativeStructs.putStat(stat, shown(attributes));
        PathRequestThread request = PathRequestThread.current();
        if (request != null && attributes.linkCount() > 1 && !attributes.isDirectory()) {
            request.noteSeveralNames();
        }
    }

    private int change(Operation operation, long path, AttributeChange change) {
        return answer(operation, () -> {
            try (Found found = paths.find(bytes(path))) {
                fileSystem.setAttributes(caller(), found.inode(), change);
                return 0;
            }
        });
    }

    private int chmod(long path, long mode) {
        return change(Operation.CHMOD, path, AttributeChange.permissions((int) mode & PERMISSIONS_MASK));
    }

    private int chown(long path, long uid, long gid) {
        Integer newUid = (int) uid == -1 ? null : Integer.valueOf((int) uid);
        Integer newGid = (int) gid == -1 ? null : Integer.valueOf((int) gid);
        return change(Operation.CHOWN, path, AttributeChange.owner(newUid, newGid));
    }

    private int truncate(long path, long size) {
        return change(Operation.TRUNCATE, path, AttributeChange.size(size));
    }

    private int ftruncate(long size, long info) {
        return answer(Operation.TRUNCATE, () -> {
            fileSystem.setAttributes(caller(), openFile(info).inode, AttributeChange.size(size));
            return 0;
        });
    }

    private int utimens(long path, long times) {
        return change(Operation.UTIMENS, path, AttributeChange.times(time(times), time(times + 16)));
    }

    private static @Nullable Long time(long timespec) {
        long nanosPart = NativeStructs.nanosPart(timespec);
        if (nanosPart == NativeStructs.TIME_OMIT) {
            return null;
        }
        if (nanosPart == NativeStructs.TIME_NOW) {
            return now();
        }
        return NativeStructs.nanos(NativeStructs.seconds(timespec), nanosPart);
    }

    private int statfs(long result) {
        return answer(Operation.STATFS, () -> {
            NativeStructs.putStatistics(result, fileSystem.statistics(), FileSystem.NAME_SIZE_MAX);
            return 0;
        });
    }

    // ------------------------------------------------------------------------------------------------ names

    private int readlink(long path, long buffer, long size) {
        return answer(Operation.READLINK, () -> {
            try (Found found = paths.find(bytes(path))) {
                byte[] target = fileSystem.readSymlink(found.inode());
                MEMORY.putZeroTerminatedByteArray(buffer, target, 0, (int) Math.min(target.length, size - 1));
                return 0;
            }
        });
    }

    private int mknod(long path, long mode, long device) {
        return answer(Operation.MKNOD, () -> {
            byte[] bytes = bytes(path);
            forget(fileSystem.makeNode(
                    caller(), paths.parent(bytes), PathResolver.name(bytes), (int) mode, device & 0xffffffffL));
            return 0;
        });
    }

    private int mkdir(long path, long mode) {
        return answer(Operation.MKDIR, () -> {
            byte[] bytes = bytes(path);
            forget(fileSystem.makeDirectory(
                    caller(), paths.parent(bytes), PathResolver.name(bytes), (int) mode & PERMISSIONS_MASK));
            return 0;
        });
    }

    private int symlink(long target, long path) {
        return answer(Operation.SYMLINK, () -> {
            byte[] bytes = bytes(path);
            forget(fileSystem.makeSymlink(caller(), paths.parent(bytes), PathResolver.name(bytes), bytes(target)));
            return 0;
        });
    }

    private int link(long path, long newPath) {
        return answer(Operation.LINK, () -> {
            byte[] newBytes = bytes(newPath);
            try (Found found = paths.find(bytes(path))) {
                forget(fileSystem.link(found.inode(), paths.parent(newBytes), PathResolver.name(newBytes)));
                PathRequestThread request = PathRequestThread.current();
                if (request != null) {
                    request.invalidateAttributes(
                            request.bodyLong(0)); // of the first name, kept as those of a single one
                }
                return 0;
            }
        });
    }

    private int unlink(long path) {
        return answer(Operation.UNLINK, () -> {
            byte[] bytes = bytes(path);
            Name name = PathResolver.name(bytes);
            PathRequestThread request = PathRequestThread.current();
            if (request == null || request.opcode() != RequestThread.OPCODE_UNLINK) {
                paths.unhide(name); // libfuse forgets a hidden name
                return 0;
            }
            fileSystem.unlink(paths.parent(bytes), name);
            return 0;
        });
    }

    private int rmdir(long path) {
        return answer(Operation.RMDIR, () -> {
            byte[] bytes = bytes(path);
            fileSystem.removeDirectory(paths.parent(bytes), PathResolver.name(bytes));
            paths.directoryMoved(bytes);
            return 0;
        });
    }

    private int rename(long path, long newPath) {
        return answer(Operation.RENAME, () -> {
            byte[] bytes = bytes(path);
            byte[] newBytes = bytes(newPath);
            Name name = PathResolver.name(bytes);
            Name newName = PathResolver.name(newBytes);
            if (hides(newName)) {
                hide(bytes, name, newName);
                return 0;
            }
            fileSystem.rename(paths.parent(bytes), name, paths.parent(newBytes), newName, RenameMode.REPLACE);
            paths.directoryMoved(bytes);
            paths.directoryMoved(newBytes);
            return 0;
        });
    }

    /**
     * Whether libfuse renames by itself, to keep an open file whose name is removed or replaced: no unlink asks for a rename, and a rename asks
     * for the name in its request.
     */
    private static boolean hides(Name newName) {
        PathRequestThread request = PathRequestThread.current();
        if (request == null || !PathResolver.looksHidden(newName)) {
            return false;
        }
        if (request.opcode() != RequestThread.OPCODE_RENAME) {
            return true;
        }
        int oldNameOffset = 8;
        int newNameOffset = oldNameOffset + request.bodyString(oldNameOffset).length + 1;
        return !newName.equals(Name.wrap(request.bodyString(newNameOffset)));
    }

    /** The name goes now when it is unlinked; when it is replaced, the rename that follows does it in one step. */
    private void hide(byte[] path, Name name, Name hiddenName) throws FileSystemException {
        long parent = paths.parent(path);
        Attributes attributes = fileSystem.lookup(parent, name);
        try {
            PathRequestThread request = PathRequestThread.current();
            if (request != null && request.opcode() == RequestThread.OPCODE_UNLINK) {
                fileSystem.unlink(parent, name);
            }
            paths.hide(hiddenName, attributes.inode());
        } finally {
            forget(attributes);
        }
    }

    // ------------------------------------------------------------------------------------------------ open files

    private OpenFile openFile(long info) throws FileSystemException {
        OpenFile file = openFiles.get(NativeStructs.handle(info));
        if (file == null) {
            throw new FileSystemException(Code.BAD_HANDLE, "not an open file of this mount");
        }
        return file;
    }

    private void opened(long info, long inode, long handle, OpenMode mode) {
        openFiles.put(handle, new OpenFile(inode, mode, true));
        NativeStructs.putHandle(info, handle);
    }

    private int open(long path, long info) {
        return answer(Operation.OPEN, () -> {
            open(bytes(path), info);
            return 0;
        });
    }

    private void open(byte[] path, long info) throws FileSystemException {
        OpenMode mode = openMode(NativeStructs.openFlags(info));
        try (Found found = paths.find(path)) {
            opened(info, found.inode(), fileSystem.open(caller(), found.inode(), mode), mode);
            if (mayKeepPages(found.attributes())) {
                NativeStructs.keepCache(info);
            }
        }
    }

    private boolean mayKeepPages(Attributes attributes) {
        PathRequestThread request = PathRequestThread.current();
        return switch (options.pageCache()) {
            case DROP -> false;
            case KEEP -> true;
            case VERIFY -> request != null && isUnchanged(request.node(), attributes);
        };
    }

    private boolean isUnchanged(long node, Attributes attributes) {
        if (cachedVersions.size() >= CACHE_COUNT_MAX) {
            cachedVersions.clear();
        }
        long changed = Math.max(attributes.modifyTimeNanos(), attributes.changeTimeNanos());
        if (now() - changed < RACY_NANOS) {
            cachedVersions.remove(node);
            return false;
        }
        Version version = Version.of(attributes);
        return version.equals(cachedVersions.put(node, version));
    }

    private int create(long path, long mode, long info) {
        return answer(Operation.CREATE, () -> {
            byte[] bytes = bytes(path);
            int flags = NativeStructs.openFlags(info);
            OpenMode openMode = openMode(flags);
            try {
                Created created = fileSystem.create(
                        caller(),
                        paths.parent(bytes),
                        PathResolver.name(bytes),
                        (int) mode & PERMISSIONS_MASK,
                        openMode);
                opened(info, created.attributes().inode(), created.handle(), openMode);
                forget(created.attributes());
            } catch (FileSystemException e) {
                // Made through another mount since the kernel looked: without O_EXCL that is the file to open.
                if (e.code() != Code.EXISTS || (flags & O_EXCL) != 0) {
                    throw e;
                }
                open(bytes, info);
            }
            return 0;
        });
    }

    private int read(long buffer, long size, long offset, long info) {
        return answer(Operation.READ, () -> {
            ByteBuffer target = MEMORY.newDirectByteBuffer(buffer, (int) size);
            return fileSystem.read(NativeStructs.handle(info), offset, target);
        });
    }

    private int write(long buffer, long size, long offset, long info) {
        return answer(Operation.WRITE, () -> {
            long handle = NativeStructs.handle(info);
            if (NativeStructs.isPageWriteBack(info)) {
                OpenFile file = openFile(info);
                handle = file.appends ? file.positionedHandle(fileSystem) : handle;
            }
            return fileSystem.write(caller(), handle, offset, MEMORY.newDirectByteBuffer(buffer, (int) size));
        });
    }

    private int flush(long info) {
        return answer(Operation.FLUSH, () -> {
            fileSystem.flush(NativeStructs.handle(info));
            return 0;
        });
    }

    private int releaseKnown(long info) {
        return answer(Operation.RELEASE, () -> release(NativeStructs.handle(info)));
    }

    private int release(long handle) {
        fileSystem.release(handle);
        OpenFile file = openFiles.remove(handle);
        if (file != null) {
            file.release(fileSystem);
            if (paths.hiddenCount() > 0 && openFiles.values().stream().noneMatch(open -> open.inode == file.inode)) {
                paths.unhideAll(file.inode);
            }
        }
        return 0;
    }

    private int fsync(boolean dataOnly, long info) {
        return answer(Operation.FSYNC, () -> {
            fileSystem.fsync(NativeStructs.handle(info), dataOnly);
            return 0;
        });
    }

    private int fallocate(int mode, long offset, long length, long info) {
        return answer(Operation.FALLOCATE, () -> {
            fileSystem.allocate(caller(), NativeStructs.handle(info), mode, offset, length);
            return 0;
        });
    }

    // ------------------------------------------------------------------------------------------------ directories

    /** The handle of a directory is its inode, on which a reference stays until it is closed. */
    private int opendir(long path, long info) {
        return answer(Operation.OPENDIR, () -> {
            byte[] bytes = bytes(path);
            long inode = FileSystem.ROOT_INODE;
            if (bytes.length > 1) {
                Attributes attributes = fileSystem.lookup(paths.parent(bytes), PathResolver.name(bytes));
                if (!attributes.isDirectory()) {
                    forget(attributes);
                    throw new FileSystemException(Code.NOT_DIRECTORY, "opendir of something else");
                }
                inode = attributes.inode();
            }
            NativeStructs.putHandle(info, inode);
            PathRequestThread request = PathRequestThread.current();
            if (request != null) {
                openedNode(request.node(), inode);
            }
            return 0;
        });
    }

    private int releasedir(long info) {
        return answer(Operation.RELEASEDIR, () -> {
            PathRequestThread request = PathRequestThread.current();
            if (request != null) {
                releasedNode(request.node());
            }
            long inode = NativeStructs.handle(info);
            if (inode != FileSystem.ROOT_INODE) {
                fileSystem.forget(inode, 1);
            }
            return 0;
        });
    }

    private int fsyncdir(long info) {
        return answer(Operation.FSYNCDIR, () -> {
            fileSystem.fsyncDirectory(NativeStructs.handle(info));
            return 0;
        });
    }

    private int readdir(long buffer, long filler, long offset, long info) {
        return answer(Operation.READDIR, () -> {
            PathRequestThread request = PathRequestThread.current();
            if (request == null) {
                return -Errno.EIO;
            }
            long inode = NativeStructs.handle(info);
            if (offset < 1 && !fill(request, filler, buffer, SELF.bytes(), inode, Attributes.TYPE_DIRECTORY, 1)) {
                return 0;
            }
            if (offset < COOKIE_FIRST
                    && !fill(
                            request,
                            filler,
                            buffer,
                            PARENT.bytes(),
                            fileSystem.parent(inode),
                            Attributes.TYPE_DIRECTORY,
                            2)) {
                return 0;
            }
            fileSystem.readDirectory(
                    inode,
                    Math.max(0, offset - COOKIE_FIRST),
                    (name, child, mode, cookie) ->
                            fill(request, filler, buffer, name.bytes(), child, mode, cookie + COOKIE_FIRST));
            return 0;
        });
    }

    private static boolean fill(
            PathRequestThread request, long filler, long buffer, byte[] name, long inode, int mode, long offset) {
        NativeStructs.putEntryStat(request.scratchStat(), inode, mode);
        MEMORY.putZeroTerminatedByteArray(request.scratchName(), name, 0, name.length);
        return NativeFuse.fillDirectory(filler, buffer, request.scratchName(), request.scratchStat(), offset) == 0;
    }

    // ------------------------------------------------------------------------------------------------ extended
    // attributes

    private int getxattr(long path, long name, long buffer, long size) {
        return answer(Operation.GETXATTR, () -> {
            Name attribute = attributeName(bytes(name));
            try (Found found = paths.find(bytes(path))) {
                byte[] value = attributeValue(found.inode(), attribute);
                return give(value, buffer, size);
            } catch (FileSystemException e) {
                if (e.code() == Code.NO_DATA && attribute.equals(SECURITY_CAPABILITY)) {
                    rememberWithoutCapability();
                }
                throw e;
            }
        });
    }

    private void rememberWithoutCapability() {
        PathRequestThread request = PathRequestThread.current();
        if (request != null) {
            if (nodesWithoutCapability.size() >= CACHE_COUNT_MAX) {
                nodesWithoutCapability.clear();
            }
            nodesWithoutCapability.put(request.node(), System.nanoTime());
        }
    }

    private static int give(byte[] value, long buffer, long size) {
        if (size == 0) {
            return value.length;
        }
        if (value.length > size) {
            return -Errno.ERANGE;
        }
        MEMORY.putByteArray(buffer, value, 0, value.length);
        return value.length;
    }

    private int setxattr(long path, long name, long value, long size, long flags) {
        return answer(Operation.SETXATTR, () -> {
            Name attribute = attributeName(bytes(name));
            if (size > XATTR_VALUE_SIZE_MAX) {
                return -Errno.E2BIG;
            }
            byte[] bytes = new byte[(int) size];
            MEMORY.getByteArray(value, bytes, 0, bytes.length);
            try (Found found = paths.find(bytes(path))) {
                fileSystem.setExtendedAttribute(caller(), found.inode(), attribute, bytes, attributeMode((int) flags));
            }
            attributeChanged(attribute);
            return 0;
        });
    }

    @Override
    void attributeChanged(Name attribute) {
        if (attribute.equals(SECURITY_CAPABILITY)) {
            nodesWithoutCapability.clear();
        }
    }

    private int listxattr(long path, long buffer, long size) {
        return answer(Operation.LISTXATTR, () -> {
            try (Found found = paths.find(bytes(path))) {
                return give(nameList(fileSystem.listExtendedAttributes(found.inode())), buffer, size);
            }
        });
    }

    private int removexattr(long path, long name) {
        return answer(Operation.REMOVEXATTR, () -> {
            Name attribute = attributeName(bytes(name));
            try (Found found = paths.find(bytes(path))) {
                fileSystem.removeExtendedAttribute(found.inode(), attribute);
                return 0;
            }
        });
    }
}
