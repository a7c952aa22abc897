package blocktree.crypto;

import org.jspecify.annotations.Nullable;

/** Something that was read, received or asked for does not hold. The message never contains a secret. */
public final class CryptoException extends Exception {

    private static final long serialVersionUID = 1L;

    /** What went wrong, in a form to act on. */
    public enum Code {
        /** Not the bytes of such a structure, in canonical form and within its bounds. */
        MALFORMED,
        /** A version or suite that this program does not know. */
        UNSUPPORTED,
        /** A signature does not verify under the key that it names. */
        BAD_SIGNATURE,
        /** The passphrase does not open the key file. */
        BAD_PASSPHRASE,
        /** The key file was altered or is incomplete; no passphrase will open it. */
        DAMAGED_KEY_FILE,
        /** The key file can be read by others and has no passphrase. */
        UNSAFE_PERMISSIONS,
        /** A key file that needs a passphrase was opened without one. */
        PASSPHRASE_NEEDED,
        /** The signer or writer has not the authority for it. */
        DENIED,
        /** A record belongs to another tree, repeats another, or does not follow the one before. */
        OUT_OF_ORDER,
        /** A ciphertext does not open: it was altered, moved, or sealed with another key. */
        CORRUPT,
        /** The key is not the one that the commitment names, or not known. */
        WRONG_KEY,
        /** More of something than the format allows. */
        TOO_MANY,
        /** The key file could not be read or written. */
        IO
    }

    private final Code code;

    public CryptoException(Code code, String message) {
        this(code, message, null);
    }

    public CryptoException(Code code, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.code = code;
    }

    public Code code() {
        return code;
    }

    static CryptoException malformed(String what) {
        return new CryptoException(Code.MALFORMED, what);
    }

    static CryptoException denied(String why) {
        return new CryptoException(Code.DENIED, why);
    }
}
