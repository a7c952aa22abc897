package blocktree.crypto;

import static blocktree.crypto.Fixtures.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class IdTest {

    @Test
    void anIdIsItsBytesInEveryForm() {
        byte[] bytes = new byte[32];
        new Random(1).nextBytes(bytes);
        BlockId id = BlockId.of(bytes);
        byte[] target = new byte[40];
        id.writeTo(target, 5);
        assertArrayEquals(bytes, id.toBytes());
        assertArrayEquals(bytes, Arrays.copyOfRange(target, 5, 37));
        assertEquals(id, BlockId.of(target, 5));
        assertEquals(id, BlockId.parse(id.toHex()));
        assertEquals(id.toHex().substring(0, 16), id.toString());
        assertEquals(id.hashCode(), BlockId.of(bytes).hashCode());
        bytes[31]++;
        assertNotEquals(id, BlockId.of(bytes));
    }

    @Test
    void idsOfDifferentKindsAreNeverEqual() {
        assertNotEquals((Id) BlockId.of(bytes(1, 32)), (Id) DomainId.of(bytes(1, 32)));
        assertNotEquals((Id) TreeId.of(bytes(1, 32)), (Id) Hash.of(bytes(1, 32)));
    }

    @Test
    void idsAreOrderedAsUnsignedBytes() {
        Random random = new Random(2);
        for (int i = 0; i < 1000; i++) {
            byte[] a = new byte[32];
            random.nextBytes(a);
            byte[] b = a.clone();
            b[random.nextInt(32)] ^= (byte) (1 << random.nextInt(8));
            assertEquals(
                    Integer.signum(Arrays.compareUnsigned(a, b)),
                    Integer.signum(Hash.of(a).compareTo(Hash.of(b))));
        }
    }

    @Test
    void anIdHas32Bytes() {
        assertThrows(IllegalArgumentException.class, () -> TreeId.of(new byte[31]));
        assertThrows(IllegalArgumentException.class, () -> TreeId.of(new byte[33]));
        assertThrows(IllegalArgumentException.class, () -> TreeId.parse("00"));
    }

    @Test
    void aHashInsideAHashDoesNotDisturbIt() {
        Hash inner = TaggedHash.hash("inner", bytes(1, 3));
        Hash outer = TaggedHash.hash("outer", inner.toBytes());
        assertEquals(
                outer,
                TaggedHash.of("outer")
                        .add(TaggedHash.hash("inner", bytes(1, 3)))
                        .hash());
    }

    @Test
    void partsAreBoundToTheirPlaces() {
        assertNotEquals(TaggedHash.hash("x", bytes(1, 2), bytes(1, 1)), TaggedHash.hash("x", bytes(1, 1), bytes(1, 2)));
        assertNotEquals(TaggedHash.hash("x", bytes(1, 1)), TaggedHash.hash("y", bytes(1, 1)));
        assertNotEquals(TaggedHash.hash("x"), TaggedHash.hash("x", new byte[0]));
    }
}
