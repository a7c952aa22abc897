package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A node of a directory's B+tree, decoded (docs/format.md, section 5.3). Leaves hold entries in key order; inner nodes hold children, child i the keys from {@code keys[i]} on
 * ({@code keys[0]} is not used: the first child has no lower bound). Changed under the directory's exclusive lock only.
 */
final class DirectoryNode extends CachedPiece {
    static final int SECTOR_SIZE = 1 << StoredInode.SECTOR_SIZE_LOG2;
    static final int LEAF = 1;
    static final int INNER = 2;
    static final int FREE = 3;
    static final int NO_SECTOR = -1;
    static final int HEADER_SIZE = 8;
    static final int LEAF_BYTES_MAX = SECTOR_SIZE - HEADER_SIZE;
    static final int INNER_COUNT_MAX = (SECTOR_SIZE - HEADER_SIZE - 4) / 12 + 1;
    static final int LEVEL_MAX = 8;
    /** Sectors of a directory are numbered with 31 bits. */
    static final int SECTOR_COUNT_MAX = Integer.MAX_VALUE;

    /** Decoded nodes take more than their sector: objects, names, ids. A round figure for the cache's account. */
    private static final int MEMORY_BYTES = 12_288;

    final int sector;
    int kind;
    int level;
    int count;
    /** Encoded size of a leaf's entries. */
    int bytes;

    long[] keys;

    @Nullable
    DirectoryEntry[] entries;

    int[] children;
    /** The next free sector, of a free one. */
    int next = NO_SECTOR;

    private final Map<Integer, DirectoryNode> owner;

    DirectoryNode(Map<Integer, DirectoryNode> owner, int sector, int kind, int level) {
        super(LOADING);
        this.owner = owner;
        this.sector = sector;
        this.kind = kind;
        this.level = level;
        keys = new long[0];
        entries = new DirectoryEntry[0];
        children = new int[0];
    }

    /** Makes this node an empty one of another kind. */
    void become(int newKind, int newLevel) {
        kind = newKind;
        level = newLevel;
        count = 0;
        bytes = 0;
        next = NO_SECTOR;
        keys = new long[0];
        entries = new DirectoryEntry[0];
        children = new int[0];
    }

    @Override
    int sizeBytes() {
        return MEMORY_BYTES;
    }

    @Override
    void evicted() {
        // It may have been made dirty, and put back, since it left the clean state.
        owner.computeIfPresent(sector, (key, node) -> node == this && state() == EVICTED ? null : node);
    }

    DirectoryEntry entry(int index) {
        DirectoryEntry entry = entries[index];
        if (entry == null) {
            throw new IllegalStateException("no entry " + index);
        }
        return entry;
    }

    /** Index of the first key that is at least {@code key}. */
    int lowerBound(long key) {
        int low = 0;
        int high = count;
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (keys[middle] < key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    /** Index of the child that holds {@code key}. */
    int childIndex(long key) {
        int low = 1;
        int high = count;
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (keys[middle] <= key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low - 1;
    }

    void insertEntry(int index, DirectoryEntry entry) {
        openGap(index);
        keys[index] = entry.key();
        entries[index] = entry;
        bytes += entry.encodedSize();
    }

    void removeEntry(int index) {
        bytes -= entry(index).encodedSize();
        closeGap(index);
        entries[count] = null;
    }

    void replaceEntry(int index, DirectoryEntry entry) {
        bytes += entry.encodedSize() - entry(index).encodedSize();
        entries[index] = entry;
    }

    void insertChild(int index, long key, int child) {
        openGap(index);
        keys[index] = key;
        children[index] = child;
    }

    void removeChild(int index) {
        closeGap(index);
    }

    /** Moves everything from {@code from} on to the end of {@code target}. */
    void moveTail(int from, DirectoryNode target) {
        int moved = count - from;
        target.ensure(target.count + moved);
        System.arraycopy(keys, from, target.keys, target.count, moved);
        if (kind == LEAF) {
            System.arraycopy(entries, from, target.entries, target.count, moved);
            int movedBytes = 0;
            for (int i = from; i < count; i++) {
                movedBytes += entry(i).encodedSize();
            }
            Arrays.fill(entries, from, count, null);
            bytes -= movedBytes;
            target.bytes += movedBytes;
        } else {
            System.arraycopy(children, from, target.children, target.count, moved);
        }
        target.count += moved;
        count = from;
    }

    private void openGap(int index) {
        ensure(count + 1);
        System.arraycopy(keys, index, keys, index + 1, count - index);
        if (kind == LEAF) {
            System.arraycopy(entries, index, entries, index + 1, count - index);
        } else {
            System.arraycopy(children, index, children, index + 1, count - index);
        }
        count++;
    }

    private void closeGap(int index) {
        System.arraycopy(keys, index + 1, keys, index, count - index - 1);
        if (kind == LEAF) {
            System.arraycopy(entries, index + 1, entries, index, count - index - 1);
        } else {
            System.arraycopy(children, index + 1, children, index, count - index - 1);
        }
        count--;
    }

    private void ensure(int capacity) {
        if (keys.length < capacity) {
            int room = Math.max(8, Math.max(capacity, keys.length * 3 / 2));
            keys = Arrays.copyOf(keys, room);
            if (kind == LEAF) {
                entries = Arrays.copyOf(entries, room);
            } else {
                children = Arrays.copyOf(children, room);
            }
        }
    }

    /** The sector's bytes, zero padded. */
    byte[] encode() {
        ByteBuffer out = ByteBuffer.allocate(SECTOR_SIZE);
        encode(out);
        return out.array();
    }

    /** Header and entries without padding, for a directory that lies inline. */
    byte[] encodeInline() {
        ByteBuffer out = ByteBuffer.allocate(HEADER_SIZE + bytes);
        encode(out);
        return out.array();
    }

    private void encode(ByteBuffer out) {
        out.put((byte) kind).put((byte) level).putShort((short) count);
        switch (kind) {
            case LEAF -> {
                out.putInt(bytes);
                for (int i = 0; i < count; i++) {
                    encode(entry(i), out);
                }
            }
            case INNER -> {
                out.putInt(0).putInt(children[0]);
                for (int i = 1; i < count; i++) {
                    out.putLong(keys[i]).putInt(children[i]);
                }
            }
            default -> out.putInt(next);
        }
    }

    private static void encode(DirectoryEntry entry, ByteBuffer out) {
        out.putLong(entry.key());
        entry.block().writeTo(out.array(), out.position());
        out.position(out.position() + 32);
        out.put((byte) entry.type());
        DomainId domain = entry.domain();
        out.put((byte) (domain == null ? 0 : DirectoryEntry.FLAG_DOMAIN));
        if (domain != null) {
            domain.writeTo(out.array(), out.position());
            out.position(out.position() + 32);
        }
        out.put((byte) entry.name().sizeBytes()).put(entry.name().bytes());
    }

    /** Decodes a node of {@code source}, which is a whole sector or, for an inline leaf, exactly its bytes. Checks everything that it can see: order, sizes, names, padding. */
    static DirectoryNode decode(Map<Integer, DirectoryNode> owner, int sector, byte[] source) throws FormatException {
        if (source.length < HEADER_SIZE || source.length > SECTOR_SIZE) {
            throw new FormatException("directory node of " + source.length + " bytes");
        }
        ByteBuffer in = ByteBuffer.wrap(source);
        int kind = in.get();
        int level = in.get();
        int count = in.getShort() & 0xffff;
        int argument = in.getInt();
        DirectoryNode node = new DirectoryNode(owner, sector, kind, level);
        switch (kind) {
            case LEAF -> {
                if (level != 0
                        || argument < 0
                        || argument > in.remaining()
                        || count > argument / DirectoryEntry.OVERHEAD_BYTES) {
                    throw new FormatException("directory leaf with a wrong size");
                }
                in.limit(HEADER_SIZE + argument);
                node.decodeEntries(in, count);
                in.limit(source.length);
            }
            case INNER -> {
                if (level < 1
                        || level > LEVEL_MAX
                        || argument != 0
                        || count < 1
                        || count > INNER_COUNT_MAX
                        || in.remaining() < 4 + 12 * (count - 1)) {
                    throw new FormatException("directory inner node with a wrong size");
                }
                node.decodeChildren(in, count);
            }
            case FREE -> {
                if (level != 0 || count != 0 || argument < NO_SECTOR) {
                    throw new FormatException("free directory sector with content");
                }
                node.next = argument;
            }
            default -> throw new FormatException("directory node of kind " + kind);
        }
        while (in.hasRemaining()) {
            if (in.get() != 0) {
                throw new FormatException("directory node with bytes behind its end");
            }
        }
        return node;
    }

    private void decodeEntries(ByteBuffer in, int entryCount) throws FormatException {
        ensure(entryCount);
        long last = 0;
        for (int i = 0; i < entryCount; i++) {
            if (in.remaining() < DirectoryEntry.OVERHEAD_BYTES) {
                throw new FormatException("directory entry cut off");
            }
            long key = in.getLong();
            if (key <= last) {
                throw new FormatException("directory entries out of order");
            }
            last = key;
            BlockId block = BlockId.of(in.array(), in.position());
            in.position(in.position() + 32);
            int type = in.get();
            int flags = in.get();
            if (!validType(type) || (flags & ~DirectoryEntry.FLAG_DOMAIN) != 0) {
                throw new FormatException("directory entry of unknown type");
            }
            DomainId domain = null;
            if (flags == DirectoryEntry.FLAG_DOMAIN) {
                if (in.remaining() < 33) {
                    throw new FormatException("directory entry cut off");
                }
                domain = DomainId.of(in.array(), in.position());
                in.position(in.position() + 32);
            }
            int size = in.get() & 0xff;
            if (size == 0 || size > in.remaining()) {
                throw new FormatException("directory entry cut off");
            }
            byte[] name = new byte[size];
            in.get(name);
            if (!validName(name)) {
                throw new FormatException("directory entry with a forbidden name");
            }
            keys[i] = key;
            entries[i] = new DirectoryEntry(key, Name.wrap(name), block, type, domain);
        }
        if (in.hasRemaining()) {
            throw new FormatException("directory leaf with a wrong size");
        }
        count = entryCount;
        bytes = in.position() - HEADER_SIZE;
    }

    private void decodeChildren(ByteBuffer in, int childCount) throws FormatException {
        ensure(childCount);
        long last = 0;
        for (int i = 0; i < childCount; i++) {
            if (i > 0) {
                keys[i] = in.getLong();
                if (keys[i] <= last) {
                    throw new FormatException("directory keys out of order");
                }
                last = keys[i];
            }
            children[i] = in.getInt();
            if (children[i] < 0) {
                throw new FormatException("directory child out of range");
            }
        }
        count = childCount;
    }

    private static boolean validType(int type) {
        return StoredInode.isKnown(type << 12);
    }

    /** 1 to 255 bytes, neither '/' nor NUL, neither "." nor "..". */
    static boolean validName(byte[] name) {
        for (byte b : name) {
            if (b == 0 || b == '/') {
                return false;
            }
        }
        return name.length >= 1
                && name.length <= FileSystem.NAME_SIZE_MAX
                && !(name[0] == '.' && (name.length == 1 || name.length == 2 && name[1] == '.'));
    }
}
