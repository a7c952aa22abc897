package blocktree.store;

import blocktree.crypto.BlockId;
import java.util.Map;

/**
 * A commit is in the log. {@code blocks} holds the new generation of each block that it created or edited, ready to read; deleted ones
 * are not in it.
 */
public record CommitReceipt(long position, long timeMillis, Map<BlockId, OpenBlock> blocks) {

    public CommitReceipt {
        blocks = Map.copyOf(blocks);
    }

    /** The new generation of {@code id}; IllegalArgumentException when the commit did not create or edit it. */
    public OpenBlock block(BlockId id) {
        OpenBlock block = blocks.get(id);
        if (block == null) {
            throw new IllegalArgumentException("commit " + position + " did not write block " + id);
        }
        return block;
    }
}
