package blocktree.crypto;

import java.util.Arrays;

/**
 * The symmetric key of one block in one key epoch, with the few subkeys that were derived from it last. Closing zeroes all of them; a
 * cipher that is at work with one of them finishes or is refused, it never uses zeros. Thread-safe.
 */
public final class BlockKey implements AutoCloseable {

    /** Most blocks were written by one or two processes; more subkeys than these are derived again when needed. */
    static final int SUBKEYS_MAX = 8;

    private record Subkey(long idHigh, long idLow, ZeroableKey key) {}

    private final BlockId block;
    private final int epoch;
    private final SecretBytes secret;

    /** Newest first; replaced as a whole under the lock, read without it. */
    private volatile Subkey[] subkeys = {};

    BlockKey(BlockId block, int epoch, SecretBytes secret) {
        if (secret.size() != Suite.KEY_SIZE) {
            throw new IllegalArgumentException("a block key has 32 bytes");
        }
        this.block = block;
        this.epoch = epoch;
        this.secret = secret;
    }

    /** A fresh key for {@code block}. */
    public static BlockKey random(BlockId block, int epoch) {
        return new BlockKey(block, epoch, SecretBytes.random(Suite.KEY_SIZE));
    }

    public BlockId block() {
        return block;
    }

    public int epoch() {
        return epoch;
    }

    SecretBytes secret() {
        return secret;
    }

    /** HKDF(ikm = block key, salt = subkey id, info = "blocktree/v1/sector" ‖ u32 epoch); IllegalStateException once closed. */
    ZeroableKey subkey(long idHigh, long idLow) {
        for (Subkey subkey : subkeys) {
            if (subkey.idLow == idLow && subkey.idHigh == idHigh) {
                return subkey.key;
            }
        }
        return derive(idHigh, idLow);
    }

    private synchronized ZeroableKey derive(long idHigh, long idLow) {
        Subkey[] before = subkeys;
        for (Subkey subkey : before) {
            if (subkey.idLow == idLow && subkey.idHigh == idHigh) {
                return subkey.key;
            }
        }
        byte[] salt = new byte[SectorCipher.SUBKEY_ID_SIZE];
        Bytes.putU64(salt, 0, idHigh);
        Bytes.putU64(salt, 8, idLow);
        byte[] ikm = secret.reveal();
        ZeroableKey key;
        try {
            key = ZeroableKey.aes(Hkdf.deriveKey(ikm, salt, "sector", Bytes.u32(epoch)));
        } finally {
            Arrays.fill(ikm, (byte) 0);
        }
        Subkey[] after = new Subkey[Math.min(before.length + 1, SUBKEYS_MAX)];
        after[0] = new Subkey(idHigh, idLow, key);
        System.arraycopy(before, 0, after, 1, after.length - 1);
        subkeys = after;
        if (before.length == SUBKEYS_MAX) {
            before[SUBKEYS_MAX - 1].key.destroy();
        }
        return key;
    }

    int subkeyCount() {
        return subkeys.length;
    }

    public boolean isClosed() {
        return secret.isClosed();
    }

    @Override
    public synchronized void close() {
        secret.close();
        for (Subkey subkey : subkeys) {
            subkey.key.destroy();
        }
        subkeys = new Subkey[0];
    }

    @Override
    public String toString() {
        return "BlockKey[block=" + block + ", epoch=" + epoch + ", redacted]";
    }
}
