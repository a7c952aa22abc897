package blocktree.store;

import java.nio.ByteBuffer;

/** A sealed sector on its way to the store: its ciphertext in a direct buffer, from position to limit, and the leaf hash that this node has computed of it. */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
record Sector(ByteBuffer ciphertext, byte[] hash) {

    /** A copy of the first {@code size} bytes, valid as long as {@code memory}. */
    static Sector of(byte[] ciphertext, int size, Slabs.Lease memory) {
        return new Sector(memory.copy(ciphertext, size), IntegrityNode.leafHash(ciphertext, 0, size));
    }

    int size() {
        return ciphertext.remaining();
    }
}
