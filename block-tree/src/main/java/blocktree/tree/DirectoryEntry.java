package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import org.jspecify.annotations.Nullable;

/**
 * One name in a directory (docs/format.md, section 5.3).
 *
 * @param key the place in the directory: 60 bits of the name's hash and 3 bits that tell names of equal hash apart; also the listing cookie
 * @param type the type bits of the mode, shifted right by 12
 * @param domain the domain of the block where it is not the directory's own
 */
record DirectoryEntry(
        long key,
        Name name,
        BlockId block,
        int type,
        @Nullable DomainId domain) {
    static final int OVERHEAD_BYTES = 8 + 32 + 1 + 1 + 1;
    static final int FLAG_DOMAIN = 1;

    int encodedSize() {
        return OVERHEAD_BYTES + (domain == null ? 0 : 32) + name.sizeBytes();
    }

    DirectoryEntry withKey(long newKey) {
        return new DirectoryEntry(newKey, name, block, type, domain);
    }

    /** The type bits as in {@code st_mode}. */
    int mode() {
        return type << 12;
    }
}
