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

    /** Why something is {@link Code#DENIED}. */
    public enum Denial {
        /** The chain is not in the log, or came after the position asked about. */
        UNKNOWN_CHAIN,
        /** The signer's keys appear in no genesis, rotation or chain. */
        UNKNOWN_PRINCIPAL,
        /** A domain that no record has made, or only after the position asked about. */
        UNKNOWN_DOMAIN,
        /** The chain ends in another principal. */
        OTHER_SUBJECT,
        /** A link is issued by another principal than the subject of the link before. */
        BROKEN_CHAIN,
        /** The first link is issued by none that was a root principal then. */
        NOT_ROOT,
        /** The link before an issuer's does not allow it to delegate. */
        DELEGATE_MISSING,
        /** A link grants what its issuer does not hold. */
        RIGHTS_EXCEEDED,
        /** The capability does not hold the right that is needed. */
        RIGHT_MISSING,
        /** The capability is for another domain, or the domain asked about does not inherit from it. */
        OTHER_DOMAIN,
        NOT_YET_VALID,
        EXPIRED,
        REVOKED,
        /** The domain has no such key epoch yet. */
        UNKNOWN_EPOCH,
        EPOCH_BELOW_MINIMUM,
        /** No capability in the log allows it to the signer. */
        NO_CAPABILITY,
        /** Not among those who may revoke this capability. */
        NOT_REVOKER,
        /** The capability is for another tree. */
        OTHER_TREE
    }

    private final Code code;
    private final @Nullable Denial denial;

    public CryptoException(Code code, String message) {
        this(code, message, null);
    }

    public CryptoException(Code code, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.code = code;
        this.denial = null;
    }

    private CryptoException(Denial denial, String message) {
        super(message);
        this.code = Code.DENIED;
        this.denial = denial;
    }

    public Code code() {
        return code;
    }

    /** The reason when the code is {@link Code#DENIED}, else null. */
    public @Nullable Denial denial() {
        return denial;
    }

    static CryptoException malformed(String what) {
        return new CryptoException(Code.MALFORMED, what);
    }

    static CryptoException denied(Denial denial, String why) {
        return new CryptoException(denial, why);
    }

    static CryptoException outOfOrder(String why) {
        return new CryptoException(Code.OUT_OF_ORDER, why);
    }
}
