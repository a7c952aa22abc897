package blocktree.store;

import blocktree.crypto.Hash;

/**
 * A named version of the whole tree.
 *
 * @param name the plaintext
 * @param madePosition where in the log it was made: no two have the same
 * @param position the log position whose state it pins, which several snapshots may share
 * @param stateRoot the root of that state
 */
public record SnapshotInfo(byte[] name, long madePosition, long position, Hash stateRoot, long timeMillis) {}
