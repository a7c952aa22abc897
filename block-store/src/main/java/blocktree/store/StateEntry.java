package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;

/** What the state map says of one block: its newest generation (from 1) and the hash of that generation's header. */
record StateEntry(BlockId id, long generation, Hash headerHash) {

    StateEntry {
        if (generation < 1) {
            throw new IllegalArgumentException("a generation is at least 1, not " + generation);
        }
    }
}
