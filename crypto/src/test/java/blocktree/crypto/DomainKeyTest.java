package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import blocktree.crypto.CryptoException.Code;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class DomainKeyTest {

    private static final TreeId TREE = TreeId.of(bytes(1, 32));
    private static final DomainId DOMAIN = DomainId.of(bytes(2, 32));
    private static final BlockId BLOCK = BlockId.of(bytes(3, 32));

    private final DomainKey key = key(TREE, DOMAIN, 2);

    private static DomainKey key(TreeId tree, DomainId domain, int epoch) {
        return DomainKey.of(tree, domain, epoch, SecretBytes.copyOf(bytes(4, 32)));
    }

    @Test
    void aBlockKeyOpensForItsBlockAndEpochsOnly() throws Exception {
        BlockKey block = BlockKey.random(BLOCK, 1);
        byte[] sealed = key.sealBlockKey(block);
        assertEquals(block.secret(), key.openBlockKey(BLOCK, 1, sealed).secret());
        assertCode(Code.CORRUPT, () -> key.openBlockKey(BlockId.of(bytes(9, 32)), 1, sealed));
        assertCode(Code.CORRUPT, () -> key.openBlockKey(BLOCK, 2, sealed));
        assertCode(Code.CORRUPT, () -> key(TREE, DOMAIN, 1).openBlockKey(BLOCK, 1, sealed));
        assertCode(Code.CORRUPT, () -> key(TreeId.of(bytes(9, 32)), DOMAIN, 2).openBlockKey(BLOCK, 1, sealed));
        assertCode(Code.CORRUPT, () -> DomainKey.random(TREE, DOMAIN, 2).openBlockKey(BLOCK, 1, sealed));
        byte[] altered = sealed.clone();
        altered[20] ^= 1;
        assertCode(Code.CORRUPT, () -> key.openBlockKey(BLOCK, 1, altered));
        assertCode(Code.MALFORMED, () -> key.openBlockKey(BLOCK, 1, Arrays.copyOf(sealed, 59)));
    }

    @Test
    void whatIsSealedAsOneKindOpensAsNoOther() throws Exception {
        DomainId scopeLikeBlock = DomainId.of(BLOCK.toBytes());
        byte[] asBlockKey = key.sealBlockKey(BlockKey.random(BLOCK, 1));
        assertCode(Code.CORRUPT, () -> key.openChild(scopeLikeBlock, 1, asBlockKey));
        DomainKey sameScope = key(TREE, scopeLikeBlock, 2);
        assertCode(Code.CORRUPT, () -> sameScope.openPrevious(asBlockKey));
        assertCode(Code.CORRUPT, () -> key.openName(key.sealPrevious(key(TREE, DOMAIN, 1))));
    }

    @Test
    void namesAreSealedAfreshEachTimeAndBounded() throws Exception {
        byte[] name = "before the move".getBytes(java.nio.charset.StandardCharsets.UTF_8);
        byte[] sealed = key.sealName(name);
        assertArrayEquals(name, key.openName(sealed));
        assertFalse(Arrays.equals(sealed, key.sealName(name)));
        assertArrayEquals(new byte[0], key.openName(key.sealName(new byte[0])));
        assertThrows(IllegalArgumentException.class, () -> key.sealName(new byte[256]));
        assertCode(Code.MALFORMED, () -> key.openName(new byte[284]));
        assertCode(Code.CORRUPT, () -> key.openName(new byte[0]));
    }

    @Test
    void theCommitmentBindsTreeDomainEpochAndKey() {
        assertEquals(key.commitment(), key(TREE, DOMAIN, 2).commitment());
        assertNotEquals(
                key.commitment(), key(TreeId.of(bytes(9, 32)), DOMAIN, 2).commitment());
        assertNotEquals(
                key.commitment(), key(TREE, DomainId.of(bytes(9, 32)), 2).commitment());
        assertNotEquals(key.commitment(), key(TREE, DOMAIN, 3).commitment());
        assertNotEquals(key.commitment(), DomainKey.random(TREE, DOMAIN, 2).commitment());
    }
}
