package blocktree.crypto;

import org.bouncycastle.crypto.AsymmetricCipherKeyPair;
import org.bouncycastle.crypto.InvalidCipherTextException;
import org.bouncycastle.crypto.hpke.HPKE;
import org.bouncycastle.crypto.hpke.HPKEContextWithEncapsulation;
import org.bouncycastle.pqc.crypto.xwing.XWingPublicKeyParameters;

/** HPKE base mode (RFC 9180) with X-Wing, HKDF-SHA256 and AES-256-GCM. */
final class Hpke {

    static final int ENC_SIZE = 1120;
    static final int TAG_SIZE = 16;
    static final int ENCAPSULATION_SEED_SIZE = 64;

    /** What is sent: the encapsulation and the ciphertext with its tag. */
    record Sealed(byte[] enc, byte[] ciphertext) {}

    private Hpke() {}

    private static HPKE suite() {
        return new HPKE(HPKE.mode_base, HPKE.kem_X_WING, HPKE.kdf_HKDF_SHA256, HPKE.aead_AES_GCM256);
    }

    /** The X-Wing key pair of a 32-byte seed. */
    static AsymmetricCipherKeyPair keyPair(byte[] seed) {
        return suite().deserializePrivateKey(seed, null);
    }

    /** {@code encapsulationSeed} is 64 random bytes. */
    static Sealed seal(XWingPublicKeyParameters recipient, byte[] info, byte[] plaintext, byte[] encapsulationSeed) {
        HPKEContextWithEncapsulation context = suite().setupBaseS(recipient, info, encapsulationSeed);
        try {
            return new Sealed(context.getEncapsulation(), context.seal(new byte[0], plaintext));
        } catch (InvalidCipherTextException e) {
            throw new IllegalStateException("HPKE does not seal", e);
        }
    }

    static byte[] open(AsymmetricCipherKeyPair recipient, byte[] enc, byte[] info, byte[] ciphertext)
            throws CryptoException {
        if (enc.length != ENC_SIZE) {
            throw CryptoException.malformed("encapsulation has " + enc.length + " bytes, not " + ENC_SIZE);
        }
        try {
            return suite().setupBaseR(enc, recipient, info).open(new byte[0], ciphertext);
        } catch (InvalidCipherTextException | RuntimeException e) {
            // ML-KEM rejects implicitly and X25519 refuses points of small order: either way it was not sealed to this
            // key.
            throw new CryptoException(
                    CryptoException.Code.CORRUPT, "encapsulated key does not open with this identity", e);
        }
    }
}
