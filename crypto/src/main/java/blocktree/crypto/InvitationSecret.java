package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Locale;

/**
 * What the two ends of an invitation know and nobody else: 128 random bits. Neither end sends it; each proves over what only this
 * connection has that it knows it (docs/joining.md). Thread-safe.
 */
public final class InvitationSecret implements AutoCloseable {

    /** In bytes. */
    public static final int SIZE = 16;

    /** Of a proof, in bytes. */
    public static final int PROOF_SIZE = 32;

    private static final int ID_SIZE = 16;

    /** Which end proves: what one has sent is no proof of the other. */
    public enum Side {
        MEMBER,
        JOINER;

        private final byte[] prefix =
                (Suite.LABEL_PREFIX + "join/" + name().toLowerCase(Locale.ROOT) + '\0').getBytes(US_ASCII);
    }

    private final SecretBytes secret;
    private final String id;

    private InvitationSecret(SecretBytes secret) {
        this.secret = secret;
        byte[] bytes = secret.reveal();
        try {
            byte[] hash = TaggedHash.of("invitation-id").add(bytes).digest();
            this.id = HexFormat.of().formatHex(hash, 0, ID_SIZE);
        } finally {
            Arrays.fill(bytes, (byte) 0);
        }
    }

    public static InvitationSecret random() {
        return new InvitationSecret(SecretBytes.random(SIZE));
    }

    /** Takes over the 16 bytes; IllegalArgumentException for any other number. */
    public static InvitationSecret takeOver(byte[] bytes) {
        if (bytes.length != SIZE) {
            throw new IllegalArgumentException("an invitation's secret has 16 bytes, not " + bytes.length);
        }
        return new InvitationSecret(SecretBytes.takeOver(bytes));
    }

    /** Names the invitation, in 32 hexadecimal digits, and tells nothing of the secret. */
    public String id() {
        return id;
    }

    /**
     * What only one connection has: the key of the member that answers it, and a nonce of each side.
     *
     * @param keyInfo SHA-256 of the SubjectPublicKeyInfo in the member's certificate
     */
    public Hash bind(TreeId tree, Hash keyInfo, byte[] joinerNonce, byte[] memberNonce) {
        return TaggedHash.of("join")
                .add(tree)
                .add(keyInfo)
                .add(HexFormat.of().parseHex(id))
                .add(joinerNonce)
                .add(memberNonce)
                .hash();
    }

    /** 32 bytes that only who knows the secret can make, over {@code what}. */
    public byte[] prove(Side side, Hash what) {
        ZeroableKey key = ZeroableKey.hmac(secret.reveal());
        try {
            return Suite.hmac(key, side.prefix, what.toBytes());
        } finally {
            key.destroy();
        }
    }

    /** Whether {@code proof} is that of {@code side} over {@code what}; in constant time. */
    public boolean isProof(Side side, Hash what, byte[] proof) {
        return MessageDigest.isEqual(prove(side, what), proof);
    }

    /** A copy of the secret, for the caller to zero. */
    public byte[] reveal() {
        return secret.reveal();
    }

    @Override
    public void close() {
        secret.close();
    }

    @Override
    public String toString() {
        return "InvitationSecret[" + id + ", redacted]";
    }
}
