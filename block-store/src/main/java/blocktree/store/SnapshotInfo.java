package blocktree.store;

import blocktree.crypto.Hash;

/** A named version of the whole tree: the log position and state root that it pins. {@code name} is the plaintext. */
public record SnapshotInfo(byte[] name, long position, Hash stateRoot, long timeMillis) {}
