package blocktree.crypto;

/** Names a block (docs/format.md, section 2). */
public final class BlockId extends Id {

    private BlockId(byte[] source, int offset) {
        super(source, offset);
    }

    /** From exactly 32 bytes; throws IllegalArgumentException for any other length. */
    public static BlockId of(byte[] bytes) {
        return new BlockId(checkSize(bytes), 0);
    }

    /** From the 32 bytes at {@code offset}. */
    public static BlockId of(byte[] source, int offset) {
        return new BlockId(source, offset);
    }

    /** From 64 hexadecimal digits; throws IllegalArgumentException for anything else. */
    public static BlockId parse(String hex) {
        return new BlockId(fromHex(hex), 0);
    }

    /** H("block", tree, domain id, creator, nonce): the id commits to all four, so nobody can take another's. */
    public static BlockId derive(TreeId tree, DomainId domain, PrincipalId creator, byte[] nonce) {
        return of(TaggedHash.of("block")
                .add(tree)
                .add(domain)
                .add(creator)
                .add(nonce)
                .digest());
    }
}
