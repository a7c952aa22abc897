package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.util.Arrays;

/**
 * The symmetric key of one key epoch of a domain, and what it seals (docs/format.md, section 2.1): block keys, the key of the epoch
 * before, the keys of inheriting child domains, snapshot names. Closing zeroes it. Thread-safe.
 */
public final class DomainKey implements AutoCloseable {

    /** Most bytes of a snapshot name. */
    public static final int NAME_SIZE_MAX = 255;

    static final int SEALED_KEY_SIZE = Gcm.NONCE_SIZE + Suite.KEY_SIZE + Gcm.TAG_SIZE;

    private enum Kind {
        BLOCK_KEY("block-key"),
        PREVIOUS_EPOCH("previous-epoch"),
        CHILD_DOMAIN("child-domain"),
        NAME("name");

        private final byte[] label;

        Kind(String label) {
            this.label = label.getBytes(US_ASCII);
        }
    }

    private final TreeId tree;
    private final DomainId domain;
    private final int epoch;
    private final SecretBytes secret;
    private final ZeroableKey sealingKey;

    private DomainKey(TreeId tree, DomainId domain, int epoch, SecretBytes secret) {
        if (secret.size() != Suite.KEY_SIZE || epoch < 1) {
            throw new IllegalArgumentException("a domain key has 32 bytes and an epoch from 1");
        }
        this.tree = tree;
        this.domain = domain;
        this.epoch = epoch;
        this.secret = secret;
        byte[] raw = secret.reveal();
        this.sealingKey = ZeroableKey.aes(Hkdf.deriveKey(raw, tree.toBytes(), "wrap"));
        Arrays.fill(raw, (byte) 0);
    }

    /** A fresh key for {@code epoch} of {@code domain}. */
    public static DomainKey random(TreeId tree, DomainId domain, int epoch) {
        return of(tree, domain, epoch, SecretBytes.random(Suite.KEY_SIZE));
    }

    /** Takes over {@code secret}. */
    static DomainKey of(TreeId tree, DomainId domain, int epoch, SecretBytes secret) {
        return new DomainKey(tree, domain, epoch, secret);
    }

    public TreeId tree() {
        return tree;
    }

    public DomainId domain() {
        return domain;
    }

    public int epoch() {
        return epoch;
    }

    SecretBytes secret() {
        return secret;
    }

    /** A second object for the same key, closed on its own. */
    DomainKey copy() {
        return of(tree, domain, epoch, secret.copy());
    }

    /** H("epoch-commitment", tree, domain, u32(epoch), domain key): what headers carry as their epoch commitment. */
    public Hash commitment() {
        byte[] raw = secret.reveal();
        try {
            return TaggedHash.of("epoch-commitment")
                    .add(tree)
                    .add(domain)
                    .addU32(epoch)
                    .add(raw)
                    .hash();
        } finally {
            Arrays.fill(raw, (byte) 0);
        }
    }

    /** Wraps a block key for the header that is written under this epoch. */
    public byte[] sealBlockKey(BlockKey key) {
        return sealKey(Kind.BLOCK_KEY, key.block(), key.epoch(), key.secret());
    }

    /** Unwraps the key of {@code block} for its {@code blockKeyEpoch}; CORRUPT when it was not wrapped so. The caller closes it. */
    public BlockKey openBlockKey(BlockId block, int blockKeyEpoch, byte[] sealed) throws CryptoException {
        return new BlockKey(block, blockKeyEpoch, openKey(Kind.BLOCK_KEY, block, blockKeyEpoch, sealed));
    }

    byte[] sealPrevious(DomainKey previous) {
        return sealKey(Kind.PREVIOUS_EPOCH, domain, previous.epoch, previous.secret);
    }

    DomainKey openPrevious(byte[] sealed) throws CryptoException {
        return of(tree, domain, epoch - 1, openKey(Kind.PREVIOUS_EPOCH, domain, epoch - 1, sealed));
    }

    byte[] sealChild(DomainKey child) {
        return sealKey(Kind.CHILD_DOMAIN, child.domain, child.epoch, child.secret);
    }

    DomainKey openChild(DomainId child, int childEpoch, byte[] sealed) throws CryptoException {
        return of(tree, child, childEpoch, openKey(Kind.CHILD_DOMAIN, child, childEpoch, sealed));
    }

    /** Seals a snapshot's name of at most 255 bytes. */
    public byte[] sealName(byte[] name) {
        if (name.length > NAME_SIZE_MAX) {
            throw new IllegalArgumentException("a name has at most 255 bytes");
        }
        return seal(Kind.NAME, domain, 0, name);
    }

    public byte[] openName(byte[] sealed) throws CryptoException {
        if (sealed.length > Gcm.NONCE_SIZE + NAME_SIZE_MAX + Gcm.TAG_SIZE) {
            throw CryptoException.malformed("sealed name has " + sealed.length + " bytes");
        }
        return open(Kind.NAME, domain, 0, sealed);
    }

    private byte[] sealKey(Kind kind, Id scope, int otherEpoch, SecretBytes key) {
        byte[] raw = key.reveal();
        try {
            return seal(kind, scope, otherEpoch, raw);
        } finally {
            Arrays.fill(raw, (byte) 0);
        }
    }

    private SecretBytes openKey(Kind kind, Id scope, int otherEpoch, byte[] sealed) throws CryptoException {
        if (sealed.length != SEALED_KEY_SIZE) {
            throw CryptoException.malformed("sealed key has " + sealed.length + " bytes, not " + SEALED_KEY_SIZE);
        }
        return SecretBytes.takeOver(open(kind, scope, otherEpoch, sealed));
    }

    private byte[] seal(Kind kind, Id scope, int otherEpoch, byte[] plaintext) {
        byte[] aad = aad(kind, scope, otherEpoch);
        byte[] sealed = new byte[Gcm.NONCE_SIZE + plaintext.length + Gcm.TAG_SIZE];
        Gcm.own().seal(sealingKey, aad, aad.length, plaintext, 0, plaintext.length, sealed, 0);
        return sealed;
    }

    private byte[] open(Kind kind, Id scope, int otherEpoch, byte[] sealed) throws CryptoException {
        byte[] aad = aad(kind, scope, otherEpoch);
        byte[] plaintext = new byte[Math.max(0, sealed.length - Gcm.NONCE_SIZE - Gcm.TAG_SIZE)];
        Gcm.own().open(sealingKey, aad, aad.length, sealed, 0, sealed.length, plaintext, 0);
        return plaintext;
    }

    private byte[] aad(Kind kind, Id scope, int otherEpoch) {
        return TaggedHash.of("aad/wrap")
                .add(tree)
                .add(scope)
                .add(kind.label)
                .addU32(epoch)
                .addU32(otherEpoch)
                .digest();
    }

    public boolean isClosed() {
        return secret.isClosed();
    }

    @Override
    public void close() {
        secret.close();
        sealingKey.destroy();
    }

    @Override
    public String toString() {
        return "DomainKey[domain=" + domain + ", epoch=" + epoch + ", redacted]";
    }
}
