package blocktree.store;

import blocktree.crypto.BlockId;

/**
 * What a payload is stored in (docs/format.md, section 4.1): the ciphertext of a sector, or a node of an integrity tree.
 *
 * @param level of the node; {@link #SECTOR}
 * @param generation that wrote it
 */
public record Piece(BlockId block, int level, long index, long generation) {
    public static final int SECTOR = -1;

    /** Bound on the bytes of one. */
    public static final int SIZE_MAX = (1 << 20) + 1024;

    private static final int LEVEL_MAX = 8;

    /** Throws IllegalArgumentException for what no payload has. */
    public Piece {
        if (level < SECTOR || level > LEVEL_MAX || index < 0 || generation < 1) {
            throw new IllegalArgumentException(
                    "no piece of a payload: level " + level + ", index " + index + ", generation " + generation);
        }
    }

    byte[] key() {
        return level == SECTOR ? Keys.sector(block, index, generation) : Keys.node(block, level, index, generation);
    }
}
