package blocktree.crypto;

import java.security.GeneralSecurityException;
import javax.crypto.AEADBadTagException;
import javax.crypto.Cipher;
import javax.crypto.spec.GCMParameterSpec;

/**
 * AES-256-GCM of the JCA default provider. Each thread has one Cipher to seal and one to open: a Cipher that is given the key that it
 * had before need not expand it again, and a new Cipher for each call costs two thirds of the speed at 4 KiB.
 */
final class Gcm {

    static final int NONCE_SIZE = 12;
    static final int TAG_SIZE = 16;

    private static final int TAG_BITS = 128;
    private static final int AAD_SIZE_MAX = 96;
    private static final int KEY_SIZE = 32;

    private static final ThreadLocal<Gcm> OWN = ThreadLocal.withInitial(Gcm::new);

    /** For callers to build their associated data in, without allocating. */
    final byte[] aad = new byte[AAD_SIZE_MAX];

    private final Cipher sealer = newCipher(Cipher.ENCRYPT_MODE);
    private final Cipher opener = newCipher(Cipher.DECRYPT_MODE);
    private final byte[] nonce = new byte[NONCE_SIZE];

    private Gcm() {}

    /** The calling thread's own. */
    static Gcm own() {
        return OWN.get();
    }

    /**
     * Initialised once: a Cipher chooses its provider by its first key, and one whose first key was refused, such as one that another thread has just destroyed, has no provider left for any later one.
     */
    private static Cipher newCipher(int mode) {
        try {
            Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
            cipher.init(
                    mode, ZeroableKey.aes(new byte[KEY_SIZE]), new GCMParameterSpec(TAG_BITS, new byte[NONCE_SIZE]));
            return cipher;
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java has no AES/GCM", e);
        }
    }

    /** Writes nonce(12) ‖ ciphertext ‖ tag(16) at {@code out}, the nonce drawn at random; the arrays must not overlap. */
    void seal(
            ZeroableKey key,
            byte[] aadSource,
            int aadSize,
            byte[] in,
            int inOffset,
            int size,
            byte[] out,
            int outOffset) {
        Suite.RANDOM.nextBytes(nonce);
        System.arraycopy(nonce, 0, out, outOffset, NONCE_SIZE);
        try {
            sealer.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(TAG_BITS, nonce));
            sealer.updateAAD(aadSource, 0, aadSize);
            sealer.doFinal(in, inOffset, size, out, outOffset + NONCE_SIZE);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM does not seal", e);
        }
    }

    /**
     * Opens {@code size} bytes of nonce ‖ ciphertext ‖ tag and returns the size of the plaintext; throws CORRUPT unless all of it is
     * authentic, and then what stands in {@code out} is undefined but not plaintext.
     */
    int open(
            ZeroableKey key,
            byte[] aadSource,
            int aadSize,
            byte[] in,
            int inOffset,
            int size,
            byte[] out,
            int outOffset)
            throws CryptoException {
        if (size < NONCE_SIZE + TAG_SIZE) {
            throw new CryptoException(CryptoException.Code.CORRUPT, "ciphertext is cut short");
        }
        try {
            opener.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(TAG_BITS, in, inOffset, NONCE_SIZE));
            opener.updateAAD(aadSource, 0, aadSize);
            return opener.doFinal(in, inOffset + NONCE_SIZE, size - NONCE_SIZE, out, outOffset);
        } catch (AEADBadTagException e) {
            throw new CryptoException(CryptoException.Code.CORRUPT, "ciphertext is not authentic", e);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM does not open", e);
        }
    }

    /** Ciphertext ‖ tag under a nonce that the caller drew, for a key that is used this once. */
    byte[] seal(ZeroableKey key, byte[] onceNonce, byte[] aadSource, byte[] plaintext) {
        try {
            sealer.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(TAG_BITS, onceNonce));
            sealer.updateAAD(aadSource);
            return sealer.doFinal(plaintext);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM does not seal", e);
        }
    }

    /** Opens ciphertext ‖ tag; throws CORRUPT unless it is authentic. */
    byte[] open(ZeroableKey key, byte[] givenNonce, byte[] aadSource, byte[] ciphertext) throws CryptoException {
        try {
            opener.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(TAG_BITS, givenNonce));
            opener.updateAAD(aadSource);
            return opener.doFinal(ciphertext);
        } catch (AEADBadTagException e) {
            throw new CryptoException(CryptoException.Code.CORRUPT, "ciphertext is not authentic", e);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("AES-GCM does not open", e);
        }
    }
}
