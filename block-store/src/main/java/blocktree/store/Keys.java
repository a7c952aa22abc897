package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Id;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** The keys of the column families (docs/format.md, section 4.1). Integers are big-endian, so keys sort by them. */
final class Keys {

    static final int HEADER_SIZE = Id.SIZE + Long.BYTES;
    static final int SECTOR_SIZE = Id.SIZE + 2 * Long.BYTES;
    static final int NODE_SIZE = Id.SIZE + 1 + 2 * Long.BYTES;
    static final int GARBAGE_SIZE = Long.BYTES + Id.SIZE;

    private static final VarHandle U64 = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.BIG_ENDIAN);

    private Keys() {}

    static long getU64(byte[] source, int offset) {
        return (long) U64.get(source, offset);
    }

    static void putU64(byte[] target, int offset, long value) {
        U64.set(target, offset, value);
    }

    static byte[] u64(long value) {
        byte[] bytes = new byte[Long.BYTES];
        putU64(bytes, 0, value);
        return bytes;
    }

    /** {@code u64 position}. */
    static byte[] log(long position) {
        return u64(position);
    }

    /** {@code block ‖ u64 (2^64-1 - generation)}: the newest generation of a block comes first. */
    static byte[] header(BlockId block, long generation) {
        byte[] key = new byte[HEADER_SIZE];
        block.writeTo(key, 0);
        putU64(key, Id.SIZE, ~generation);
        return key;
    }

    static long headerGeneration(byte[] key) {
        return ~getU64(key, Id.SIZE);
    }

    /** {@code block ‖ u64 index ‖ u64 generation}. */
    static byte[] sector(BlockId block, long index, long generation) {
        byte[] key = new byte[SECTOR_SIZE];
        block.writeTo(key, 0);
        putU64(key, Id.SIZE, index);
        putU64(key, Id.SIZE + Long.BYTES, generation);
        return key;
    }

    static long sectorIndex(byte[] key) {
        return getU64(key, Id.SIZE);
    }

    static long sectorGeneration(byte[] key) {
        return getU64(key, Id.SIZE + Long.BYTES);
    }

    /** {@code block ‖ u8 level ‖ u64 index ‖ u64 generation}. */
    static byte[] node(BlockId block, int level, long index, long generation) {
        byte[] key = new byte[NODE_SIZE];
        block.writeTo(key, 0);
        key[Id.SIZE] = (byte) level;
        putU64(key, Id.SIZE + 1, index);
        putU64(key, Id.SIZE + 1 + Long.BYTES, generation);
        return key;
    }

    static int nodeLevel(byte[] key) {
        return key[Id.SIZE] & 0xff;
    }

    static long nodeIndex(byte[] key) {
        return getU64(key, Id.SIZE + 1);
    }

    static long nodeGeneration(byte[] key) {
        return getU64(key, Id.SIZE + 1 + Long.BYTES);
    }

    /** {@code u64 position that superseded ‖ block}. */
    static byte[] garbage(long supersedingPosition, BlockId block) {
        byte[] key = new byte[GARBAGE_SIZE];
        putU64(key, 0, supersedingPosition);
        block.writeTo(key, Long.BYTES);
        return key;
    }

    /** The block that a key of the families headers, sectors and nodes begins with. */
    static BlockId block(byte[] key) {
        return BlockId.of(key, 0);
    }

    /** The smallest key above all that begin with {@code prefix}; null when there is none. */
    static byte @Nullable [] after(byte[] prefix) {
        for (int i = prefix.length - 1; i >= 0; i--) {
            if (prefix[i] != (byte) 0xff) {
                byte[] next = Arrays.copyOf(prefix, i + 1);
                next[i]++;
                return next;
            }
        }
        return null;
    }

    static boolean startsWith(byte[] key, byte[] prefix) {
        return key.length >= prefix.length && Arrays.equals(key, 0, prefix.length, prefix, 0, prefix.length);
    }
}
