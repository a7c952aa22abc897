package blocktree.crypto;

import java.util.Arrays;

/**
 * Seals what a node keeps for itself and never sends, so that its disk shows none of it and nobody else can write it (docs/format.md,
 * section 4.3). Every value has a key of its own, so that no count of them has to survive a crash. Thread-safe.
 */
public final class LocalCipher implements AutoCloseable {

    /** Bytes by which a sealed value is longer than its plaintext. */
    public static final int OVERHEAD = 32;

    private static final int SALT_SIZE = 16;
    private static final byte[] NONCE = new byte[Gcm.NONCE_SIZE];

    private final TreeId tree;
    private final SecretBytes secret;

    /** {@code node} is the node that this process runs; it may be closed afterwards. */
    public LocalCipher(TreeId tree, Identity node) {
        this.tree = tree;
        this.secret = node.deriveSecret("local");
    }

    /** {@code place} says what the value belongs to; it opens nowhere else. IllegalStateException when closed. */
    public byte[] seal(byte[] place, byte[] value) {
        byte[] salt = Suite.randomBytes(SALT_SIZE);
        ZeroableKey key = key(salt);
        try {
            byte[] ciphertext = Gcm.own().seal(key, NONCE, aad(place), value);
            byte[] sealed = Arrays.copyOf(salt, SALT_SIZE + ciphertext.length);
            System.arraycopy(ciphertext, 0, sealed, SALT_SIZE, ciphertext.length);
            return sealed;
        } finally {
            key.destroy();
        }
    }

    /** CORRUPT unless this node sealed it for this place of this tree. IllegalStateException when closed. */
    public byte[] open(byte[] place, byte[] sealed) throws CryptoException {
        if (sealed.length < OVERHEAD) {
            throw new CryptoException(CryptoException.Code.CORRUPT, "sealed value is cut short");
        }
        ZeroableKey key = key(Arrays.copyOf(sealed, SALT_SIZE));
        try {
            return Gcm.own().open(key, NONCE, aad(place), Arrays.copyOfRange(sealed, SALT_SIZE, sealed.length));
        } finally {
            key.destroy();
        }
    }

    private ZeroableKey key(byte[] salt) {
        byte[] revealed = secret.reveal();
        try {
            return ZeroableKey.aes(Hkdf.deriveKey(revealed, salt, "local"));
        } finally {
            Arrays.fill(revealed, (byte) 0);
        }
    }

    private byte[] aad(byte[] place) {
        return TaggedHash.of("aad/local").add(tree).add(place).digest();
    }

    @Override
    public void close() {
        secret.close();
    }
}
