package blocktree.fuse;

import blocktree.tree.Attributes;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystemException;
import blocktree.tree.FileSystemException.Code;
import blocktree.tree.Name;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * Finds the inode that a path of libfuse means. Paths are absolute from the root of the mount, without trailing slash.
 *
 * <p>Directories are cached by path, at most {@link #DIRECTORY_COUNT_MAX} of them, for as long as the kernel may cache an entry; the last
 * component is always looked up. libfuse keeps a directory on the way from being renamed through this mount while a request is under way, and
 * {@link #directoryMoved} forgets all of the cache then. A request puts what it found into the map that it started with, so that nothing from
 * before a rename enters the map that came after.
 *
 * <p>A file that is unlinked while open lives on under a hidden name that libfuse makes up and that the file system never sees: libfuse's tree
 * of paths needs some name to reach an inode by, since its operations on attributes have no handle.
 */
final class PathResolver {
    static final int DIRECTORY_COUNT_MAX = 16_384;

    private static final byte[] HIDDEN_PREFIX = {'.', 'f', 'u', 's', 'e', '_', 'h', 'i', 'd', 'd', 'e', 'n'};
    private static final int HIDDEN_SIZE_BYTES = HIDDEN_PREFIX.length + 16;

    private record CachedDirectory(long inode, long validUntilNanos) {}

    private final FileSystem fileSystem;
    private final long entryTimeoutNanos;
    private final Map<Name, Long> hiddenInodes = new ConcurrentHashMap<>();
    private final Map<Long, Long> hiddenNodes = new ConcurrentHashMap<>();
    private volatile Map<Name, CachedDirectory> directories = new ConcurrentHashMap<>();

    PathResolver(FileSystem fileSystem, long entryTimeoutNanos) {
        this.fileSystem = fileSystem;
        this.entryTimeoutNanos = entryTimeoutNanos;
    }

    /** An inode with a reference on it, given back by {@link #close}. */
    static final class Found implements AutoCloseable {
        private @Nullable FileSystem owner;
        private final Attributes attributes;

        private Found(@Nullable FileSystem owner, Attributes attributes) {
            this.owner = owner;
            this.attributes = attributes;
        }

        Attributes attributes() {
            return attributes;
        }

        long inode() {
            return attributes.inode();
        }

        /** Whether there is a reference to give back; there is none on what the mount holds itself. */
        boolean hasReference() {
            return owner != null;
        }

        /** This one, which will not give the reference back, has given it to the one that is returned. */
        Found moved() {
            Found moved = new Found(owner, attributes);
            owner = null;
            return moved;
        }

        /** The inode, with a reference that the caller gives back. */
        long takeReference() {
            owner = null;
            return attributes.inode();
        }

        @Override
        public void close() {
            if (owner != null) {
                owner.forget(attributes.inode(), 1);
            }
        }
    }

    Found find(byte[] path) throws FileSystemException {
        if (path.length <= 1) {
            return new Found(null, fileSystem.getAttributes(FileSystem.ROOT_INODE));
        }
        Name name = name(path);
        Long hidden = hiddenInode(name);
        if (hidden != null) {
            return new Found(null, fileSystem.getAttributes(hidden));
        }
        try {
            return new Found(fileSystem, fileSystem.lookup(parent(path), name));
        } catch (FileSystemException e) {
            if (e.code() != Code.STALE) {
                throw e;
            }
            directories = new ConcurrentHashMap<>(); // another node has deleted one of them
            return new Found(fileSystem, fileSystem.lookup(parent(path), name));
        }
    }

    /** The last component. */
    static Name name(byte[] path) throws FileSystemException {
        int start = lastSlash(path) + 1;
        if (path.length - start > FileSystem.NAME_SIZE_MAX) {
            throw new FileSystemException(Code.NAME_TOO_LONG, "a name of " + (path.length - start) + " bytes");
        }
        return Name.wrap(Arrays.copyOfRange(path, start, path.length));
    }

    /** The inode of the directory that holds the last component. */
    long parent(byte[] path) throws FileSystemException {
        return directory(directories, path, lastSlash(path));
    }

    private long directory(Map<Name, CachedDirectory> cache, byte[] path, int size) throws FileSystemException {
        if (size <= 0) {
            return FileSystem.ROOT_INODE;
        }
        byte[] prefix = Arrays.copyOf(path, size);
        Name key = Name.wrap(prefix);
        CachedDirectory cached = cache.get(key);
        long now = System.nanoTime();
        if (cached != null && cached.validUntilNanos - now > 0) {
            return cached.inode;
        }
        long parent = directory(cache, prefix, lastSlash(prefix));
        Attributes attributes = fileSystem.lookup(parent, name(prefix));
        fileSystem.forget(attributes.inode(), 1);
        if (!attributes.isDirectory()) {
            throw new FileSystemException(Code.NOT_DIRECTORY, "a component of the path is not a directory");
        }
        if (cache.size() >= DIRECTORY_COUNT_MAX) {
            // Emptied as a whole: a path in the map implies all paths above it, which directoryMoved relies on.
            directories = new ConcurrentHashMap<>();
        } else {
            cache.put(key, new CachedDirectory(attributes.inode(), now + entryTimeoutNanos));
        }
        return attributes.inode();
    }

    private static int lastSlash(byte[] path) {
        int index = path.length - 1;
        while (index >= 0 && path[index] != '/') {
            index--;
        }
        return index;
    }

    /** To be called when {@code path} was renamed, replaced or removed; libfuse holds back other requests for it meanwhile. */
    void directoryMoved(byte[] path) {
        if (directories.containsKey(Name.wrap(path))) {
            directories = new ConcurrentHashMap<>();
        }
    }

    // ------------------------------------------------------------------------------------------------ hidden names

    /** Whether libfuse could have made this name up. */
    static boolean looksHidden(Name name) {
        byte[] bytes = name.bytes();
        if (bytes.length != HIDDEN_SIZE_BYTES
                || !Arrays.equals(bytes, 0, HIDDEN_PREFIX.length, HIDDEN_PREFIX, 0, HIDDEN_PREFIX.length)) {
            return false;
        }
        for (int i = HIDDEN_PREFIX.length; i < bytes.length; i++) {
            if (Character.digit(bytes[i], 16) < 0) {
                return false;
            }
        }
        return true;
    }

    @Nullable
    Long hiddenInode(Name name) {
        return hiddenInodes.isEmpty() ? null : hiddenInodes.get(name);
    }

    /** The inode behind a node of libfuse whose file is hidden. */
    @Nullable
    Long hiddenInode(long node) {
        return hiddenNodes.isEmpty() ? null : hiddenNodes.get(node);
    }

    void hide(Name name, long inode) {
        hiddenInodes.put(name, inode);
        hiddenNodes.put(node(name), inode);
    }

    /** libfuse writes its node number into the name: eight digits, and eight of a counter. */
    private static long node(Name hidden) {
        String text = new String(hidden.bytes(), StandardCharsets.ISO_8859_1);
        return Long.parseLong(text.substring(HIDDEN_PREFIX.length, HIDDEN_PREFIX.length + 8), 16);
    }

    void unhide(Name name) {
        if (hiddenInodes.remove(name) != null) {
            hiddenNodes.remove(node(name));
        }
    }

    /** The last handle of the inode is gone. */
    void unhideAll(long inode) {
        if (!hiddenInodes.isEmpty()) {
            hiddenInodes.values().removeIf(hidden -> hidden == inode);
            hiddenNodes.values().removeIf(hidden -> hidden == inode);
        }
    }

    int hiddenCount() {
        return hiddenInodes.size();
    }
}
