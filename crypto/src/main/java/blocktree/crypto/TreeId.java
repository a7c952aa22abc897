package blocktree.crypto;

/** Names a tree: the hash of its genesis body (docs/format.md, section 2). */
public final class TreeId extends Id {

    private TreeId(byte[] source, int offset) {
        super(source, offset);
    }

    /** From exactly 32 bytes; throws IllegalArgumentException for any other length. */
    public static TreeId of(byte[] bytes) {
        return new TreeId(checkSize(bytes), 0);
    }

    /** From the 32 bytes at {@code offset}. */
    public static TreeId of(byte[] source, int offset) {
        return new TreeId(source, offset);
    }

    /** From 64 hexadecimal digits; throws IllegalArgumentException for anything else. */
    public static TreeId parse(String hex) {
        return new TreeId(fromHex(hex), 0);
    }
}
