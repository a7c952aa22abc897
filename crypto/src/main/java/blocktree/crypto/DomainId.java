package blocktree.crypto;

import org.jspecify.annotations.Nullable;

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

    /** H("domain", tree, parent, creator, nonce); the root domain has no parent. */
    static DomainId derive(TreeId tree, @Nullable DomainId parent, PrincipalId creator, byte[] nonce) {
        return of(TaggedHash.of("domain")
                .add(tree)
                .add(parent == null ? new byte[0] : parent.toBytes())
                .add(creator)
                .add(nonce)
                .digest());
    }
}
