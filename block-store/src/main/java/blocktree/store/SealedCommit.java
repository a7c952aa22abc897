package blocktree.store;

import blocktree.crypto.BlockId;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A commit as it goes through a {@link CommitPort}: the signed body as the exact bytes that were signed, and the blocks whose header
 * hashes it covers, in commit order. Holds no plaintext and no key. A claim until a port took it.
 */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
public record SealedCommit(byte[] envelope, List<SealedBlock> blocks, List<LocalChange> localChanges) {

    /** A change of a {@link LocalTable} of the node that seals the commit, applied with it; never sent. */
    @SuppressWarnings("ArrayRecordComponent")
    public record LocalChange(byte[] key, byte @Nullable [] value) {}

    public SealedCommit {
        blocks = List.copyOf(blocks);
        localChanges = List.copyOf(localChanges);
    }

    /** The blocks that it writes or deletes, in commit order. */
    public List<BlockId> blockIds() {
        return blocks.stream().map(block -> block.header().block()).toList();
    }

    /** Bytes of ciphertext in it. */
    public long sizeBytes() {
        return blocks.stream().mapToLong(SealedBlock::sizeBytes).sum();
    }
}
