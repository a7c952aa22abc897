package blocktree.crypto;

/** Names a principal: the hash of its public keys (docs/format.md, section 2). */
public final class PrincipalId extends Id {

    private PrincipalId(byte[] source, int offset) {
        super(source, offset);
    }

    /** From exactly 32 bytes; throws IllegalArgumentException for any other length. */
    public static PrincipalId of(byte[] bytes) {
        return new PrincipalId(checkSize(bytes), 0);
    }

    /** From the 32 bytes at {@code offset}. */
    public static PrincipalId of(byte[] source, int offset) {
        return new PrincipalId(source, offset);
    }

    /** From 64 hexadecimal digits; throws IllegalArgumentException for anything else. */
    public static PrincipalId parse(String hex) {
        return new PrincipalId(fromHex(hex), 0);
    }
}
