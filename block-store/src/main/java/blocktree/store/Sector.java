package blocktree.store;

import java.nio.ByteBuffer;

/** A sealed sector on its way to the store: its ciphertext in a direct buffer, from position to limit, and its leaf hash. */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
record Sector(ByteBuffer ciphertext, byte[] hash) {

    int size() {
        return ciphertext.remaining();
    }
}
