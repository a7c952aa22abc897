package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.TaggedHash;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;

/**
 * The Merkle tree over the header hashes of a commit, in commit order (docs/format.md, section 4): leaf SHA-256(0x02 ‖ header hash),
 * inner SHA-256(0x03 ‖ left ‖ right), an odd node is carried up unchanged.
 */
final class HeadersTree {

    private static final byte LEAF = 2;
    private static final byte INNER = 3;

    /** Longest inclusion path: of {@link CommitBody#HEADERS_MAX} headers. */
    static final int PATH_MAX = 16;

    /** Leaves first, the root last. */
    private final List<List<Hash>> levels = new ArrayList<>();

    HeadersTree(List<Hash> headerHashes) {
        if (headerHashes.isEmpty()) {
            throw new IllegalArgumentException("a commit has at least one header");
        }
        List<Hash> level = new ArrayList<>(headerHashes.size());
        for (Hash hash : headerHashes) {
            level.add(leaf(hash));
        }
        levels.add(level);
        while (level.size() > 1) {
            List<Hash> above = new ArrayList<>((level.size() + 1) / 2);
            for (int i = 0; i + 1 < level.size(); i += 2) {
                above.add(inner(level.get(i), level.get(i + 1)));
            }
            if (level.size() % 2 == 1) {
                above.add(level.get(level.size() - 1));
            }
            levels.add(above);
            level = above;
        }
    }

    Hash root() {
        return levels.get(levels.size() - 1).get(0);
    }

    /** The siblings from leaf to root that prove header {@code index}; a level where it has none is left out. */
    List<Hash> path(int index) {
        List<Hash> path = new ArrayList<>();
        int i = index;
        for (List<Hash> level : levels.subList(0, levels.size() - 1)) {
            int sibling = i ^ 1;
            if (sibling < level.size()) {
                path.add(level.get(sibling));
            }
            i >>= 1;
        }
        return path;
    }

    /** Whether {@code path} proves that {@code headerHash} is header {@code index} of {@code count} under {@code root}. */
    static boolean proves(Hash root, int count, int index, Hash headerHash, List<Hash> path) {
        if (index < 0 || index >= count) {
            return false;
        }
        Hash hash = leaf(headerHash);
        int used = 0;
        int i = index;
        for (int width = count; width > 1; width = (width + 1) / 2, i >>= 1) {
            if ((i ^ 1) < width) {
                if (used == path.size()) {
                    return false;
                }
                Hash sibling = path.get(used++);
                hash = (i & 1) == 0 ? inner(hash, sibling) : inner(sibling, hash);
            }
        }
        return used == path.size() && hash.equals(root);
    }

    private static Hash leaf(Hash headerHash) {
        MessageDigest digest = TaggedHash.sha256();
        digest.update(LEAF);
        return Hash.of(digest.digest(headerHash.toBytes()));
    }

    private static Hash inner(Hash left, Hash right) {
        byte[] both = new byte[1 + 2 * Id.SIZE];
        both[0] = INNER;
        left.writeTo(both, 1);
        right.writeTo(both, 1 + Id.SIZE);
        return Hash.of(TaggedHash.sha256().digest(both));
    }
}
