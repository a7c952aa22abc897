package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.Id;

/** One version of the state map: the root of its trie and the log position of the checkpoint that wrote it. */
record StateRoot(long position, Hash hash) {

    /** Hash of the map without entries, and of a child that is absent. */
    static final Hash NONE = Hash.of(new byte[Id.SIZE]);

    /** The map before anything was written. */
    static final StateRoot EMPTY = new StateRoot(0, NONE);

    StateRoot {
        if (position < 0) {
            throw new IllegalArgumentException("a position is not negative: " + position);
        }
    }
}
