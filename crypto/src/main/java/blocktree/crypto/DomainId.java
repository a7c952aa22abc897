package blocktree.crypto;

/** Names a domain (docs/format.md, section 2). */
public final class DomainId extends Id {

    private DomainId(byte[] source, int offset) {
        super(source, offset);
    }

    /** From exactly 32 bytes; throws IllegalArgumentException for any other length. */
    public static DomainId of(byte[] bytes) {
        return new DomainId(checkSize(bytes), 0);
    }

    /** From the 32 bytes at {@code offset}. */
    public static DomainId of(byte[] source, int offset) {
        return new DomainId(source, offset);
    }

    /** From 64 hexadecimal digits; throws IllegalArgumentException for anything else. */
    public static DomainId parse(String hex) {
        return new DomainId(fromHex(hex), 0);
    }
}
