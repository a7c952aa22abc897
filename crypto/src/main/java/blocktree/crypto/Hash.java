package blocktree.crypto;

/** A SHA-256 hash: of a header, an envelope, a chain, a log entry. */
public final class Hash extends Id {

    private Hash(byte[] source, int offset) {
        super(source, offset);
    }

    /** From exactly 32 bytes; throws IllegalArgumentException for any other length. */
    public static Hash of(byte[] bytes) {
        return new Hash(checkSize(bytes), 0);
    }

    /** From the 32 bytes at {@code offset}. */
    public static Hash of(byte[] source, int offset) {
        return new Hash(source, offset);
    }

    /** From 64 hexadecimal digits; throws IllegalArgumentException for anything else. */
    public static Hash parse(String hex) {
        return new Hash(fromHex(hex), 0);
    }
}
