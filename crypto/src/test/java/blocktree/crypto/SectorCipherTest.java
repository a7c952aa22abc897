package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException.Code;
import blocktree.crypto.SectorCipher.Kind;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;

class SectorCipherTest {

    private static final TreeId TREE = TreeId.of(bytes(1, 32));
    private static final PrincipalId NODE = PrincipalId.of(bytes(2, 32));
    private static final BlockId BLOCK = BlockId.of(bytes(3, 32));

    private final SectorCipher cipher = new SectorCipher(TREE, NODE);
    private final BlockKey key = key(BLOCK, 1);

    private static BlockKey key(BlockId block, int epoch) {
        return new BlockKey(block, epoch, SecretBytes.copyOf(bytes(4, 32)));
    }

    private static byte[] seal(SectorCipher cipher, BlockKey key, Kind kind, long index, byte[] plaintext) {
        byte[] sealed = new byte[plaintext.length + SectorCipher.OVERHEAD];
        assertEquals(sealed.length, cipher.seal(key, kind, index, plaintext, 0, plaintext.length, sealed, 0));
        return sealed;
    }

    private static byte[] open(SectorCipher cipher, BlockKey key, Kind kind, long index, byte[] sealed)
            throws CryptoException {
        byte[] plaintext = new byte[Math.max(0, sealed.length - SectorCipher.OVERHEAD)];
        assertEquals(plaintext.length, cipher.open(key, kind, index, sealed, 0, sealed.length, plaintext, 0));
        return plaintext;
    }

    private static ByteBuffer subkeyId(byte[] sealed) {
        return ByteBuffer.wrap(Arrays.copyOfRange(sealed, 5, 21));
    }

    @Test
    void whatIsSealedOpensAtAnySizeAndOffset() throws Exception {
        Random random = new Random(1);
        for (int size : new int[] {0, 1, 63, 64, 4096, 65_536, 1 << 20}) {
            byte[] in = new byte[size + 7];
            random.nextBytes(in);
            byte[] sealed = new byte[size + SectorCipher.OVERHEAD + 5];
            assertEquals(size + 49, cipher.seal(key, Kind.SECTOR, size, in, 7, size, sealed, 5));
            byte[] out = new byte[size + 3];
            assertEquals(size, cipher.open(key, Kind.SECTOR, size, sealed, 5, size + 49, out, 3));
            assertArrayEquals(Arrays.copyOfRange(in, 7, 7 + size), Arrays.copyOfRange(out, 3, 3 + size));
            assertEquals(1, SectorCipher.epochOf(sealed, 5, size + 49));
        }
    }

    @Test
    void aCiphertextOpensOnlyInItsOwnPlace() {
        byte[] sealed = seal(cipher, key, Kind.SECTOR, 7, bytes(5, 100));
        SectorCipher otherTree = new SectorCipher(TreeId.of(bytes(9, 32)), NODE);
        BlockId otherBlock = BlockId.of(bytes(9, 32));
        assertCode(Code.CORRUPT, () -> open(cipher, key, Kind.SECTOR, 8, sealed));
        assertCode(Code.CORRUPT, () -> open(cipher, key, Kind.ATTRIBUTES, 7, sealed));
        assertCode(Code.CORRUPT, () -> open(otherTree, key, Kind.SECTOR, 7, sealed));
        assertCode(Code.CORRUPT, () -> open(cipher, key(otherBlock, 1), Kind.SECTOR, 7, sealed));
        assertCode(Code.CORRUPT, () -> open(cipher, key(BLOCK, 2), Kind.SECTOR, 7, sealed));
    }

    @Test
    void anyAlteredBitAndAnyCutIsCorruptAndGivesNoPlaintext() {
        byte[] plaintext = bytes(5, 100);
        byte[] sealed = seal(cipher, key, Kind.SECTOR, 7, plaintext);
        for (int bit = 0; bit < sealed.length * 8; bit++) {
            byte[] altered = sealed.clone();
            altered[bit / 8] ^= (byte) (1 << bit % 8);
            byte[] out = new byte[100];
            assertCode(Code.CORRUPT, () -> cipher.open(key, Kind.SECTOR, 7, altered, 0, altered.length, out, 0));
            assertFalse(Arrays.equals(plaintext, out));
        }
        for (int size = 0; size < sealed.length; size++) {
            byte[] cut = Arrays.copyOf(sealed, size);
            assertCode(Code.CORRUPT, () -> open(cipher, key, Kind.SECTOR, 7, cut));
        }
    }

    /** A process that starts again, or runs on a clone of the disk, is a new incarnation even with the same keys and node. */
    @Test
    void noTwoProcessesShareASubkey() throws Exception {
        Set<ByteBuffer> subkeys = new HashSet<>();
        for (int process = 0; process < 100; process++) {
            SectorCipher incarnation = new SectorCipher(TREE, NODE);
            byte[] sealed = seal(incarnation, key, Kind.SECTOR, 0, new byte[16]);
            assertTrue(subkeys.add(subkeyId(sealed)));
            assertEquals(subkeyId(sealed), subkeyId(seal(incarnation, key, Kind.SECTOR, 1, new byte[16])));
            assertArrayEquals(new byte[16], open(cipher, key, Kind.SECTOR, 0, sealed));
        }
    }

    @Test
    void noNonceComesTwiceUnderASubkey() {
        Set<ByteBuffer> nonces = new HashSet<>();
        for (int i = 0; i < 20_000; i++) {
            byte[] sealed = seal(cipher, key, Kind.SECTOR, 0, new byte[1]);
            assertTrue(nonces.add(ByteBuffer.wrap(Arrays.copyOfRange(sealed, 21, 33))));
        }
    }

    @Test
    void atTheLimitOfSealsANewIncarnationBegins() throws Exception {
        SectorCipher limited = new SectorCipher(TREE, NODE, 10);
        Set<ByteBuffer> subkeys = new HashSet<>();
        for (int i = 0; i < 35; i++) {
            byte[] sealed = seal(limited, key, Kind.SECTOR, i, new byte[16]);
            subkeys.add(subkeyId(sealed));
            assertEquals(1 + i / 10, subkeys.size());
            assertArrayEquals(new byte[16], open(cipher, key, Kind.SECTOR, i, sealed));
        }
    }

    @Test
    void theLimitHoldsForEachSubkeyWhenThreadsRace() throws Exception {
        SectorCipher limited = new SectorCipher(TREE, NODE, 50);
        ExecutorService threads = Executors.newFixedThreadPool(4);
        try {
            java.util.concurrent.ConcurrentHashMap<ByteBuffer, Integer> seals =
                    new java.util.concurrent.ConcurrentHashMap<>();
            java.util.List<Future<?>> all = new java.util.ArrayList<>();
            for (int thread = 0; thread < 4; thread++) {
                all.add(threads.submit(() -> {
                    for (int i = 0; i < 1000; i++) {
                        seals.merge(subkeyId(seal(limited, key, Kind.SECTOR, i, new byte[16])), 1, Integer::sum);
                    }
                }));
            }
            for (Future<?> one : all) {
                one.get();
            }
            assertTrue(seals.values().stream().allMatch(count -> count <= 50), seals::toString);
            assertEquals(
                    4000, seals.values().stream().mapToInt(Integer::intValue).sum());
        } finally {
            threads.shutdownNow();
        }
    }

    @Test
    void aThreadWhoseFirstKeyWasDestroyedGoesOnWithTheNext() throws Exception {
        ZeroableKey destroyed = ZeroableKey.aes(new byte[32]);
        destroyed.destroy();
        ExecutorService thread = Executors.newSingleThreadExecutor();
        try {
            Future<byte[]> content = thread.submit(() -> {
                byte[] out = new byte[100];
                assertThrows(
                        IllegalStateException.class,
                        () -> Gcm.own().seal(destroyed, new byte[0], 0, new byte[16], 0, 16, out, 0));
                return open(cipher, key, Kind.SECTOR, 1, seal(cipher, key, Kind.SECTOR, 1, new byte[16]));
            });
            assertArrayEquals(new byte[16], content.get());
        } finally {
            thread.shutdownNow();
        }
    }

    @Test
    void differentKeysAndEpochsNeverShareASubkey() {
        BlockKey first = BlockKey.random(BLOCK, 1);
        BlockKey second = BlockKey.random(BLOCK, 1);
        BlockKey sameSecretOtherEpoch = key(BLOCK, 2);
        assertFalse(Arrays.equals(
                first.subkey(1, 1).getEncoded(), second.subkey(1, 1).getEncoded()));
        assertFalse(Arrays.equals(
                key.subkey(1, 1).getEncoded(), sameSecretOtherEpoch.subkey(1, 1).getEncoded()));
        assertFalse(
                Arrays.equals(key.subkey(1, 1).getEncoded(), key.subkey(1, 2).getEncoded()));
        assertFalse(
                Arrays.equals(key.subkey(1, 1).getEncoded(), key.subkey(2, 1).getEncoded()));
    }

    @Test
    void subkeysAreKeptUpToABoundAndZeroedWhenTheyLeave() {
        ZeroableKey first = key.subkey(0, 0);
        for (int i = 1; i < BlockKey.SUBKEYS_MAX; i++) {
            key.subkey(0, i);
        }
        assertFalse(first.isDestroyed());
        key.subkey(0, BlockKey.SUBKEYS_MAX);
        assertTrue(first.isDestroyed());
        assertEquals(BlockKey.SUBKEYS_MAX, key.subkeyCount());
        assertNotEquals(first, key.subkey(0, 0));
    }

    @Test
    void aClosedKeyNeitherSealsNorOpens() {
        byte[] sealed = seal(cipher, key, Kind.SECTOR, 0, new byte[16]);
        ZeroableKey subkey = key.subkey(
                ByteBuffer.wrap(sealed, 5, 8).getLong(),
                ByteBuffer.wrap(sealed, 13, 8).getLong());
        key.close();
        assertTrue(subkey.isDestroyed());
        assertThrows(IllegalStateException.class, () -> seal(cipher, key, Kind.SECTOR, 0, new byte[16]));
        assertThrows(IllegalStateException.class, () -> open(cipher, key, Kind.SECTOR, 0, sealed));
    }

    /** Readers of a block that many processes wrote push each other's subkeys out; a seal under a zeroed key would be readable by all. */
    @Test
    void sealingNeverUsesAKeyThatIsZeroedMeanwhile() throws Exception {
        AtomicBoolean done = new AtomicBoolean();
        ExecutorService threads = Executors.newFixedThreadPool(1);
        try {
            Future<?> evicting = threads.submit(() -> {
                for (long id = 0; !done.get(); id++) {
                    key.subkey(-1, id);
                }
            });
            BlockKey same = key(BLOCK, 1);
            for (int i = 0; i < 20_000; i++) {
                byte[] sealed = seal(cipher, key, Kind.SECTOR, i, bytes(i, 64));
                assertArrayEquals(bytes(i, 64), open(cipher, same, Kind.SECTOR, i, sealed));
            }
            done.set(true);
            evicting.get();
        } finally {
            done.set(true);
            threads.shutdownNow();
        }
    }

    @Test
    void warmingUpEnds() {
        SectorCipher.warmUp(1);
    }
}
