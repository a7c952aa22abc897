package blocktree.tree;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The entries of one directory: a leaf inside the attributes while they are few, else a B+tree in the sectors of the directory's payload, ordered by a keyed hash of the name
 * (docs/format.md, section 5.3). Finding, adding and removing an entry touch a number of sectors that depends on the height only.
 *
 * <p>Methods that only read may run concurrently with one another; those that change need exclusion by the caller. A change loads every node that it needs before it alters the first one, so that a
 * failed read leaves the directory as it was.
 */
final class DirectoryIndex {
    private static final Logger log = LoggerFactory.getLogger(DirectoryIndex.class);

    /** Entries up to this size lie in the attributes. */
    static final int INLINE_BYTES_MAX = 2048;
    /** A directory returns into its attributes below this size, half the other bound, so that it does not swing. */
    private static final int INLINE_AGAIN_BYTES = INLINE_BYTES_MAX / 2;

    private static final int UNDERFULL_BYTES = DirectoryNode.LEAF_BYTES_MAX / 4;
    private static final int MERGED_BYTES_MAX = DirectoryNode.LEAF_BYTES_MAX * 3 / 4;
    private static final long SLOT_MASK = 7;
    /** The smallest key: those below are left to the listing cookies of "." and "..". */
    private static final long KEY_MIN = 16;

    /** The largest group of keys: the binding adds 2 to a cookie. */
    private static final long KEY_MAX = (Long.MAX_VALUE - 16) & ~SLOT_MASK;

    /** Where sectors that are not in memory come from. */
    interface Sectors {
        /** The 4,096 bytes of a sector. */
        byte[] read(int sector) throws FileSystemException;
    }

    /** What the attributes say about the entries. {@code height} 0: they are {@code inline}; else {@code root} is a sector of level height-1. */
    record Layout(long entryCount, int height, int root, int freeHead, int sectorCount, byte[] inline) {
        static final Layout EMPTY = new Layout(0, 0, DirectoryNode.NO_SECTOR, DirectoryNode.NO_SECTOR, 0, new byte[0]);
    }

    private final byte[] hashKey;
    private final Cache cache;
    private final Sectors sectors;
    private final ConcurrentMap<Integer, DirectoryNode> nodes = new ConcurrentHashMap<>();
    private List<DirectoryNode> dirtyNodes = new ArrayList<>();

    private long entryCount;
    private int height;
    private int root;
    private int freeHead;
    private int sectorCount;
    private @Nullable DirectoryNode inline;
    /** The sectors in the store are void: the tree has shrunk into the attributes since the last commit. */
    private boolean dropped;

    DirectoryIndex(byte[] hashKey, Layout layout, Cache cache, Sectors sectors) throws FormatException {
        this.hashKey = hashKey;
        this.cache = cache;
        this.sectors = sectors;
        entryCount = layout.entryCount();
        height = layout.height();
        root = layout.root();
        freeHead = layout.freeHead();
        sectorCount = layout.sectorCount();
        if (height < 0
                || height > DirectoryNode.LEVEL_MAX
                || sectorCount < 0
                || height > 0 && (root < 0 || root >= sectorCount)
                || freeHead >= sectorCount) {
            throw new FormatException("directory with a wrong layout");
        }
        if (height == 0) {
            inline = layout.inline().length == 0
                    ? new DirectoryNode(nodes, DirectoryNode.NO_SECTOR, DirectoryNode.LEAF, 0)
                    : DirectoryNode.decode(nodes, DirectoryNode.NO_SECTOR, layout.inline());
            if (inline.kind != DirectoryNode.LEAF || inline.count != entryCount || sectorCount != 0) {
                throw new FormatException("inline directory with a wrong layout");
            }
        }
    }

    long entryCount() {
        return entryCount;
    }

    int height() {
        return height;
    }

    int sectorCount() {
        return sectorCount;
    }

    Layout layout() {
        DirectoryNode leaf = inline;
        return new Layout(
                entryCount,
                height,
                root,
                freeHead,
                sectorCount,
                leaf == null || leaf.count == 0 ? new byte[0] : leaf.encodeInline());
    }

    // ---- reading

    @Nullable
    DirectoryEntry find(Name name) throws FileSystemException {
        long group = group(name);
        DirectoryNode leaf = leaf(group);
        int index = indexOf(leaf, group, name);
        return index < 0 ? null : leaf.entry(index);
    }

    /** The entries of one leaf that follow {@code cookie} in key order; empty at the end. */
    List<DirectoryEntry> after(long cookie) throws FileSystemException {
        long from = cookie + 1;
        while (true) {
            DirectoryNode leaf;
            long bound = Long.MAX_VALUE;
            DirectoryNode held = inline;
            if (held != null) {
                leaf = held;
            } else {
                leaf = load(root, height - 1);
                while (leaf.kind == DirectoryNode.INNER) {
                    int child = leaf.childIndex(from);
                    if (child + 1 < leaf.count) {
                        bound = leaf.keys[child + 1];
                    }
                    leaf = load(leaf.children[child], leaf.level - 1);
                }
            }
            List<DirectoryEntry> found = new ArrayList<>();
            for (int i = leaf.lowerBound(from); i < leaf.count; i++) {
                found.add(leaf.entry(i));
            }
            if (!found.isEmpty() || bound == Long.MAX_VALUE) {
                return found;
            }
            from = bound;
        }
    }

    // ---- changing

    /** Adds an entry whose name is not there; its key is chosen here. */
    void insert(DirectoryEntry entry) throws FileSystemException {
        long group = group(entry.name());
        List<DirectoryNode> path = path(group);
        DirectoryNode leaf = path.get(path.size() - 1);
        int index = leaf.lowerBound(group);
        long key = group;
        while (index < leaf.count && leaf.keys[index] == key) {
            index++;
            key++;
        }
        if ((key & ~SLOT_MASK) != group) {
            // Nine names of equal 60-bit keyed hash in one directory: not by chance, and not by choice without the key.
            throw new FileSystemException(
                    FileSystemException.Code.NO_SPACE, "too many names of equal hash in one directory");
        }
        DirectoryEntry keyed = entry.withKey(key);
        int capacity = height == 0 ? INLINE_BYTES_MAX : DirectoryNode.LEAF_BYTES_MAX;
        boolean overflow = leaf.bytes + keyed.encodedSize() > capacity;
        if (overflow) {
            loadFreeSectors(height + 2);
        }
        if (overflow && height == 0) {
            leaf = moveIntoSector(leaf);
            path.set(0, leaf);
            overflow = leaf.bytes + keyed.encodedSize() > DirectoryNode.LEAF_BYTES_MAX;
        }
        dirty(leaf);
        leaf.insertEntry(index, keyed);
        entryCount++;
        if (overflow) {
            split(path);
        }
    }

    /** Removes an entry; false when it is not there. */
    boolean remove(Name name) throws FileSystemException {
        long group = group(name);
        List<DirectoryNode> path = path(group);
        DirectoryNode leaf = path.get(path.size() - 1);
        int index = indexOf(leaf, group, name);
        if (index < 0) {
            return false;
        }
        DirectoryNode sibling = null;
        boolean siblingLeft = false;
        int bytesAfter = leaf.bytes - leaf.entry(index).encodedSize();
        if (path.size() > 1 && bytesAfter < UNDERFULL_BYTES) {
            DirectoryNode parent = path.get(path.size() - 2);
            int at = parent.childIndex(group);
            siblingLeft = at > 0;
            int other = siblingLeft ? at - 1 : at + 1;
            if (bytesAfter > 0 && other < parent.count) {
                sibling = load(parent.children[other], 0);
                if (sibling.bytes + bytesAfter > MERGED_BYTES_MAX) {
                    sibling = null;
                }
            }
        }
        dirty(leaf);
        leaf.removeEntry(index);
        entryCount--;
        if (sibling != null) {
            dirty(sibling);
            if (siblingLeft) {
                leaf.moveTail(0, sibling);
                removeChild(path, path.size() - 2, leaf);
            } else {
                sibling.moveTail(0, leaf);
                removeChild(path, path.size() - 2, sibling);
            }
        } else if (leaf.count == 0 && path.size() > 1) {
            removeChild(path, path.size() - 2, leaf);
        } else if (path.size() == 1 && height == 1) {
            lowerRoot(leaf);
        }
        return true;
    }

    /** Replaces what an existing name stands for, keeping its key. */
    void replace(DirectoryEntry entry) throws FileSystemException {
        long group = group(entry.name());
        DirectoryNode leaf = leaf(group);
        int index = indexOf(leaf, group, entry.name());
        DirectoryEntry keyed = entry.withKey(leaf.keys[index]);
        if (keyed.encodedSize() == leaf.entry(index).encodedSize()) {
            dirty(leaf);
            leaf.replaceEntry(index, keyed);
        } else {
            remove(entry.name());
            insert(entry);
        }
    }

    // ---- write-back; the caller excludes changes

    /** What a commit must write: sectors by number, each of 4,096 bytes. */
    record Capture(List<DirectoryNode> nodes, List<byte[]> images, boolean dropped) {}

    /** Takes what changed since the last capture; those nodes stay in memory until {@link #committed} or {@link #failed}. */
    Capture capture() {
        List<DirectoryNode> taken = dirtyNodes;
        dirtyNodes = new ArrayList<>();
        List<DirectoryNode> live = new ArrayList<>(taken.size());
        List<byte[]> images = new ArrayList<>(taken.size());
        for (DirectoryNode node : taken) {
            if (node.state() == CachedPiece.DIRTY) {
                node.state(CachedPiece.FLUSHING);
                live.add(node);
                images.add(node.encode());
            }
        }
        boolean drop = dropped;
        dropped = false;
        return new Capture(live, images, drop);
    }

    void committed(Capture capture) {
        for (DirectoryNode node : capture.nodes()) {
            if (node.state() == CachedPiece.FLUSHING) {
                cache.flushed(node);
            }
        }
    }

    void failed(Capture capture) {
        dropped |= capture.dropped();
        for (DirectoryNode node : capture.nodes()) {
            if (node.state() == CachedPiece.FLUSHING) {
                node.state(CachedPiece.DIRTY);
                dirtyNodes.add(node);
            }
        }
    }

    /** Frees the memory of clean nodes. */
    void release() {
        for (DirectoryNode node : nodes.values()) {
            cache.evict(node);
        }
    }

    /** Frees the memory of all nodes: the directory is deleted. */
    void discard() {
        for (DirectoryNode node : nodes.values()) {
            discard(node);
        }
        nodes.clear();
        dirtyNodes = new ArrayList<>();
    }

    private void discard(DirectoryNode node) {
        if (!cache.evict(node) && (node.state() == CachedPiece.DIRTY || node.state() == CachedPiece.FLUSHING)) {
            cache.discardDirty(node);
        }
    }

    // ---- inside

    private long group(Name name) {
        long group = (SipHash.hash(hashKey, name.bytes()) >>> 1) & ~SLOT_MASK;
        return Math.min(Math.max(group, KEY_MIN), KEY_MAX);
    }

    private static int indexOf(DirectoryNode leaf, long group, Name name) {
        for (int i = leaf.lowerBound(group); i < leaf.count && (leaf.keys[i] & ~SLOT_MASK) == group; i++) {
            if (leaf.entry(i).name().equals(name)) {
                return i;
            }
        }
        return -1;
    }

    private DirectoryNode leaf(long key) throws FileSystemException {
        DirectoryNode node = inline;
        if (node != null) {
            return node;
        }
        node = load(root, height - 1);
        while (node.kind == DirectoryNode.INNER) {
            node = load(node.children[node.childIndex(key)], node.level - 1);
        }
        return node;
    }

    /** Root first, leaf last. */
    private List<DirectoryNode> path(long key) throws FileSystemException {
        List<DirectoryNode> path = new ArrayList<>(4);
        DirectoryNode node = inline;
        if (node != null) {
            path.add(node);
            return path;
        }
        node = load(root, height - 1);
        path.add(node);
        while (node.kind == DirectoryNode.INNER) {
            node = load(node.children[node.childIndex(key)], node.level - 1);
            path.add(node);
        }
        return path;
    }

    /** The node of a sector, which must be of this level; levels fall on the way down, so that a damaged tree cannot lead in circles. */
    private DirectoryNode load(int sector, int level) throws FileSystemException {
        DirectoryNode node = loadAny(sector);
        if (node.kind == DirectoryNode.FREE || node.level != level) {
            throw new FileSystemException(
                    FileSystemException.Code.CORRUPT, "directory sector " + sector + " is not of level " + level);
        }
        return node;
    }

    private DirectoryNode loadAny(int sector) throws FileSystemException {
        while (true) {
            DirectoryNode node = nodes.get(sector);
            if (node != null && node.state() != CachedPiece.EVICTED) {
                cache.found(node);
                return node;
            }
            if (sector < 0 || sector >= sectorCount) {
                throw new FileSystemException(
                        FileSystemException.Code.CORRUPT, "directory names sector " + sector + " of " + sectorCount);
            }
            DirectoryNode loaded;
            try {
                loaded = DirectoryNode.decode(nodes, sector, sectors.read(sector));
            } catch (FormatException e) {
                throw new FileSystemException(
                        FileSystemException.Code.CORRUPT, "directory sector " + sector + ": " + e.getMessage(), e);
            }
            if (node == null ? nodes.putIfAbsent(sector, loaded) == null : nodes.replace(sector, node, loaded)) {
                loaded.touched = true;
                cache.loaded(loaded);
                return loaded;
            }
        }
    }

    /** Claims a node for a change. An evicted one is put back as it is: nobody can have loaded another meanwhile without being excluded, except concurrent readers' clean copies, which it replaces. */
    private void dirty(DirectoryNode node) {
        if (node.sector == DirectoryNode.NO_SECTOR || node.state() == CachedPiece.DIRTY) {
            return;
        }
        if (node.state() == CachedPiece.FLUSHING) {
            node.state(CachedPiece.DIRTY);
        } else if (!cache.makeDirty(node)) {
            // Evicted. Whoever did that may be about to take it out of the map: the map's own lock settles it.
            nodes.compute(node.sector, (sector, other) -> {
                cache.created(node);
                return node;
            });
        }
        dirtyNodes.add(node);
    }

    /** Loads the first free sectors, which the coming splits will take. */
    private void loadFreeSectors(int count) throws FileSystemException {
        int sector = freeHead;
        for (int i = 0; i < count && sector != DirectoryNode.NO_SECTOR; i++) {
            DirectoryNode free = loadAny(sector);
            if (free.kind != DirectoryNode.FREE) {
                throw new FileSystemException(
                        FileSystemException.Code.CORRUPT, "directory sector " + sector + " is not free");
            }
            sector = free.next;
        }
        if (sectorCount > DirectoryNode.SECTOR_COUNT_MAX - count) {
            throw new FileSystemException(FileSystemException.Code.NO_SPACE, "directory with too many sectors");
        }
    }

    private DirectoryNode allocate(int kind, int level) throws FileSystemException {
        DirectoryNode node;
        if (freeHead != DirectoryNode.NO_SECTOR) {
            node = loadAny(freeHead);
            freeHead = node.next;
            dirty(node);
            node.become(kind, level);
        } else {
            node = new DirectoryNode(nodes, sectorCount++, kind, level);
            cache.created(node);
            nodes.put(node.sector, node);
            dirtyNodes.add(node);
        }
        return node;
    }

    private void free(DirectoryNode node) {
        dirty(node);
        node.become(DirectoryNode.FREE, 0);
        node.next = freeHead;
        freeHead = node.sector;
    }

    private DirectoryNode moveIntoSector(DirectoryNode leaf) throws FileSystemException {
        DirectoryNode node = allocate(DirectoryNode.LEAF, 0);
        leaf.moveTail(0, node);
        root = node.sector;
        height = 1;
        inline = null;
        return node;
    }

    private void moveIntoAttributes(DirectoryNode leaf) {
        DirectoryNode node = new DirectoryNode(nodes, DirectoryNode.NO_SECTOR, DirectoryNode.LEAF, 0);
        leaf.moveTail(0, node);
        discard();
        inline = node;
        height = 0;
        root = DirectoryNode.NO_SECTOR;
        freeHead = DirectoryNode.NO_SECTOR;
        sectorCount = 0;
        dropped = true;
    }

    private void split(List<DirectoryNode> path) throws FileSystemException {
        for (int depth = path.size() - 1; depth >= 0; depth--) {
            DirectoryNode node = path.get(depth);
            boolean full = node.kind == DirectoryNode.LEAF
                    ? node.bytes > DirectoryNode.LEAF_BYTES_MAX
                    : node.count > DirectoryNode.INNER_COUNT_MAX;
            if (!full) {
                return;
            }
            int at = node.kind == DirectoryNode.LEAF ? splitIndex(node) : node.count / 2;
            DirectoryNode right = allocate(node.kind, node.level);
            long bound = node.kind == DirectoryNode.LEAF ? node.keys[at] & ~SLOT_MASK : node.keys[at];
            node.moveTail(at, right);
            if (depth == 0) {
                DirectoryNode top = allocate(DirectoryNode.INNER, height);
                top.insertChild(0, 0, node.sector);
                top.insertChild(1, bound, right.sector);
                root = top.sector;
                height++;
            } else {
                DirectoryNode parent = path.get(depth - 1);
                dirty(parent);
                parent.insertChild(parent.childIndex(bound) + 1, bound, right.sector);
            }
        }
    }

    /** Where both halves come out about equal, never between names of equal hash: so a name is always in the leaf of its hash. */
    private static int splitIndex(DirectoryNode leaf) {
        int best = -1;
        int bestDistance = Integer.MAX_VALUE;
        int before = 0;
        for (int i = 1; i < leaf.count; i++) {
            before += leaf.entry(i - 1).encodedSize();
            boolean boundary = (leaf.keys[i] & ~SLOT_MASK) != (leaf.keys[i - 1] & ~SLOT_MASK);
            int distance = Math.abs(leaf.bytes - 2 * before);
            if (boundary && distance < bestDistance) {
                best = i;
                bestDistance = distance;
            }
        }
        return best;
    }

    /** Removes {@code child} of the node at {@code depth} of the path, frees it, and what becomes empty or needless above. */
    private void removeChild(List<DirectoryNode> path, int depth, DirectoryNode child) {
        DirectoryNode parent = path.get(depth);
        free(child);
        dirty(parent);
        parent.removeChild(indexOfChild(parent, child.sector));
        if (parent.count > 0) {
            lowerRoot(path.get(0));
        } else if (depth > 0) {
            removeChild(path, depth - 1, parent);
        } else {
            moveIntoAttributes(new DirectoryNode(nodes, DirectoryNode.NO_SECTOR, DirectoryNode.LEAF, 0));
        }
    }

    /** A root with a single child gives way to it. Where that child cannot be read, the root stays: it is not wrong, only needless. */
    private void lowerRoot(DirectoryNode top) {
        try {
            while (top.kind == DirectoryNode.INNER && top.count == 1) {
                DirectoryNode child = load(top.children[0], top.level - 1);
                dirty(top);
                free(top);
                root = child.sector;
                height--;
                top = child;
            }
            if (height == 1 && top.bytes <= INLINE_AGAIN_BYTES) {
                dirty(top);
                moveIntoAttributes(top);
            }
        } catch (FileSystemException e) {
            log.atDebug().setCause(e).log("directory_root_not_lowered");
        }
    }

    private static int indexOfChild(DirectoryNode node, int sector) {
        for (int i = 0; i < node.count; i++) {
            if (node.children[i] == sector) {
                return i;
            }
        }
        throw new IllegalStateException("directory node without its child");
    }
}
