package blocktree.crypto;

import java.util.Arrays;
import org.bouncycastle.crypto.AsymmetricCipherKeyPair;
import org.bouncycastle.math.ec.rfc8032.Ed25519;
import org.bouncycastle.pqc.crypto.xwing.XWingPublicKeyParameters;

/**
 * A principal's private half: signs, opens what was encapsulated to it, derives secrets of its own. Held as two 32-byte seeds that
 * {@link #close} zeroes; what Bouncy Castle expands from them for the length of one call is left to the garbage collector. Thread-safe.
 */
public final class Identity implements AutoCloseable {

    static final int SEED_SIZE = 32;

    /** signing seed ‖ KEM seed: also the plaintext of a key file. */
    private final SecretBytes seeds;

    private final PrincipalKeys keys;
    private final byte[] signingKey;

    private Identity(SecretBytes seeds) {
        this.seeds = seeds;
        byte[] both = seeds.reveal();
        byte[] kemSeed = Arrays.copyOfRange(both, SEED_SIZE, 2 * SEED_SIZE);
        try {
            signingKey = new byte[Ed25519.PUBLIC_KEY_SIZE];
            Ed25519.generatePublicKey(both, 0, signingKey, 0);
            keys = PrincipalKeys.of(
                    signingKey, ((XWingPublicKeyParameters) kemPair(kemSeed).getPublic()).getEncoded());
        } finally {
            Arrays.fill(both, (byte) 0);
            Arrays.fill(kemSeed, (byte) 0);
        }
    }

    /** A fresh one, from the platform's random numbers. */
    public static Identity generate() {
        return new Identity(SecretBytes.random(2 * SEED_SIZE));
    }

    /** Takes over the 64 bytes of signing seed ‖ KEM seed. */
    static Identity fromSeeds(SecretBytes seeds) {
        if (seeds.size() != 2 * SEED_SIZE) {
            throw new IllegalArgumentException("an identity has 64 bytes of seed");
        }
        return new Identity(seeds);
    }

    private static AsymmetricCipherKeyPair kemPair(byte[] kemSeed) {
        return Hpke.keyPair(kemSeed);
    }

    public PrincipalKeys keys() {
        return keys;
    }

    public PrincipalId id() {
        return keys.id();
    }

    /** Signs {@code body} as {@code kind}; IllegalStateException once closed. */
    public SignedEnvelope sign(SignatureKind kind, byte[] body) {
        return SignedEnvelope.of(id(), body, signature(kind, body));
    }

    /** An envelope with an empty body field, for a record that holds the body once. */
    SignedEnvelope signDetached(SignatureKind kind, byte[] body) {
        return SignedEnvelope.of(id(), new byte[0], signature(kind, body));
    }

    private byte[] signature(SignatureKind kind, byte[] body) {
        byte[] message = kind.message(body);
        byte[] signature = new byte[Ed25519.SIGNATURE_SIZE];
        byte[] both = seeds.reveal();
        try {
            Ed25519.sign(both, 0, signingKey, 0, message, 0, message.length, signature, 0);
        } finally {
            Arrays.fill(both, (byte) 0);
        }
        return signature;
    }

    /** Opens what was sealed to this principal by {@link Hpke#seal}. */
    byte[] open(byte[] enc, byte[] info, byte[] ciphertext) throws CryptoException {
        byte[] both = seeds.reveal();
        byte[] kemSeed = Arrays.copyOfRange(both, SEED_SIZE, 2 * SEED_SIZE);
        try {
            return Hpke.open(kemPair(kemSeed), enc, info, ciphertext);
        } finally {
            Arrays.fill(both, (byte) 0);
            Arrays.fill(kemSeed, (byte) 0);
        }
    }

    /**
     * A 32-byte secret that only this identity can compute: HKDF(ikm = both seeds, info = "blocktree/v1/" + label), such as the key
     * of the anchor's MAC, label {@code anchor}.
     */
    public SecretBytes deriveSecret(String label) {
        byte[] both = seeds.reveal();
        try {
            return SecretBytes.takeOver(Hkdf.deriveKey(both, new byte[0], label));
        } finally {
            Arrays.fill(both, (byte) 0);
        }
    }

    SecretBytes copySeeds() {
        return seeds.copy();
    }

    public boolean isClosed() {
        return seeds.isClosed();
    }

    @Override
    public void close() {
        seeds.close();
    }

    @Override
    public String toString() {
        return "Identity[" + id() + ", redacted]";
    }
}
