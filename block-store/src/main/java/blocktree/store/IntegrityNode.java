package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.TaggedHash;
import java.security.MessageDigest;
import java.util.Arrays;

/** Hashes and bytes of the integrity tree (docs/format.md, section 3.2). A node is up to 128 entries {@code u64 generation ‖ hash}. */
final class IntegrityNode {

    static final int FAN_OUT_LOG2 = 7;
    static final int FAN_OUT = 1 << FAN_OUT_LOG2;
    static final int ENTRY_SIZE = Long.BYTES + Id.SIZE;
    static final int SIZE_MAX = FAN_OUT * ENTRY_SIZE;

    /** One child: the generation that wrote it, and its hash. A hole has generation 0 and a hash of zeros. */
    record Entry(long generation, Hash hash) {

        static final Entry HOLE = new Entry(0, StateRoot.NONE);

        boolean isHole() {
            return generation == 0;
        }
    }

    private IntegrityNode() {}

    /** Levels of the tree over {@code sectorCount} sectors: the smallest d of at least 1 with 128^d at least the count. */
    static int depth(long sectorCount) {
        int depth = 1;
        while (sectorCount > sectorsBelow(depth - 1)) {
            depth++;
        }
        return depth;
    }

    /** Sectors under a node of {@code level}. */
    static long sectorsBelow(int level) {
        return 1L << FAN_OUT_LOG2 * (level + 1);
    }

    static Entry entry(byte[] node, int child) {
        int at = child * ENTRY_SIZE;
        if (at >= node.length) {
            return Entry.HOLE;
        }
        long generation = Keys.getU64(node, at);
        return generation == 0 ? Entry.HOLE : new Entry(generation, Hash.of(node, at + Long.BYTES));
    }

    static void setEntry(byte[] node, int child, long generation, byte[] hash) {
        int at = child * ENTRY_SIZE;
        Keys.putU64(node, at, generation);
        System.arraycopy(hash, 0, node, at + Long.BYTES, Id.SIZE);
    }

    static void setEntry(byte[] node, int child, Entry entry) {
        int at = child * ENTRY_SIZE;
        Keys.putU64(node, at, entry.generation);
        entry.hash.writeTo(node, at + Long.BYTES);
    }

    /** The node without its trailing holes; empty when it has holes only. */
    static byte[] trim(byte[] node) {
        int count = node.length / ENTRY_SIZE;
        while (count > 0 && Keys.getU64(node, (count - 1) * ENTRY_SIZE) == 0) {
            count--;
        }
        return Arrays.copyOf(node, count * ENTRY_SIZE);
    }

    /** Whether the bytes have the form of a stored node: whole entries, the last one no hole, holes all zeros. */
    static boolean isWellFormed(byte[] node) {
        if (node.length == 0 || node.length > SIZE_MAX || node.length % ENTRY_SIZE != 0) {
            return false;
        }
        for (int at = 0; at < node.length; at += ENTRY_SIZE) {
            long generation = Keys.getU64(node, at);
            boolean hole = generation == 0;
            if (generation < 0 || hole && at + ENTRY_SIZE == node.length) {
                return false;
            }
            for (int i = at + Long.BYTES; hole && i < at + ENTRY_SIZE; i++) {
                if (node[i] != 0) {
                    return false;
                }
            }
        }
        return true;
    }

    /** SHA-256(0x00 ‖ sector ciphertext). */
    static byte[] leafHash(byte[] ciphertext, int offset, int size) {
        MessageDigest digest = TaggedHash.sha256();
        digest.update((byte) 0);
        digest.update(ciphertext, offset, size);
        return digest.digest();
    }

    /** Whether {@code ciphertext} is that of the sector that {@code hash} names. */
    static boolean isSector(byte[] ciphertext, Hash hash) {
        return isSector(ciphertext, ciphertext.length, hash);
    }

    /** Whether the first {@code size} bytes are the sector's ciphertext that {@code hash} names. */
    static boolean isSector(byte[] ciphertext, int size, Hash hash) {
        return Hash.of(leafHash(ciphertext, 0, size)).equals(hash);
    }

    /** Whether {@code bytes} are the node that {@code hash} names. */
    static boolean isNode(int level, byte[] bytes, Hash hash) {
        return isWellFormed(bytes) && nodeHash(level, bytes).equals(hash);
    }

    /** SHA-256(0x01 ‖ u8 level ‖ node bytes). */
    static Hash nodeHash(int level, byte[] node) {
        MessageDigest digest = TaggedHash.sha256();
        digest.update((byte) 1);
        digest.update((byte) level);
        return Hash.of(digest.digest(node));
    }

    /** H("payload", sector count, sector size, generation of the top node, hash of the top node). */
    static Hash payloadRoot(long sectorCount, int sectorSize, Entry top) {
        return TaggedHash.of("payload")
                .addU64(sectorCount)
                .addU32(sectorSize)
                .addU64(top.generation)
                .add(top.hash)
                .hash();
    }
}
