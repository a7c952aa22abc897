package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.crypto.Hash;

/**
 * The id of a block that is not written yet, with the random nonce that the id commits to (docs/format.md, section 2). Made by {@link
 * BlockStore#newBlock}; nothing is stored before a commit creates it.
 */
public record NewBlock(BlockId id, DomainId domain, Hash nonce) {}
