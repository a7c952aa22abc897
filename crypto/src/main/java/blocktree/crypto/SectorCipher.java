package blocktree.crypto;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Seals and opens sectors and block attributes (docs/format.md, section 3.3). One object for each process and tree: it draws the
 * incarnation under which this process seals, so that no subkey is ever shared with another process, an earlier run, or a clone of the disk.
 *
 * <p>Thread-safe. No array may overlap another in a call. Nothing is allocated in proportion to the data.
 */
public final class SectorCipher {

    /** What a ciphertext holds; part of its associated data. */
    public enum Kind {
        SECTOR(1),
        ATTRIBUTES(2);

        private final byte number;

        Kind(int number) {
            this.number = (byte) number;
        }
    }

    /** Bytes by which a ciphertext is longer than its plaintext. */
    public static final int OVERHEAD = 49;

    static final int SUBKEY_ID_SIZE = 16;

    private static final int FORMAT = 1;
    private static final int EPOCH_OFFSET = 1;
    private static final int SUBKEY_ID_OFFSET = 5;
    private static final int NONCE_OFFSET = 21;
    private static final int AAD_SIZE = 81;

    /** Half of the 2^32 that random nonces allow under one key. */
    private static final long SEALS_PER_INCARNATION = 1L << 31;

    private static final int WARM_UP_SIZE = 1024;

    /** Counts all seals of the incarnation, whatever the block: an upper bound for each subkey that needs no memory for each. */
    private record Incarnation(long idHigh, long idLow, AtomicLong seals) {}

    private final TreeId tree;
    private final PrincipalId node;
    private final long sealsPerIncarnation;
    private volatile Incarnation incarnation;

    /** {@code node} is the principal of the node that this process runs. */
    public SectorCipher(TreeId tree, PrincipalId node) {
        this(tree, node, SEALS_PER_INCARNATION);
    }

    SectorCipher(TreeId tree, PrincipalId node, long sealsPerIncarnation) {
        this.tree = tree;
        this.node = node;
        this.sealsPerIncarnation = sealsPerIncarnation;
        this.incarnation = draw();
    }

    private Incarnation draw() {
        byte[] id = TaggedHash.of("incarnation")
                .add(node)
                .add(Suite.randomBytes(Id.SIZE))
                .digest();
        return new Incarnation(Bytes.getU64(id, 0), Bytes.getU64(id, 8), new AtomicLong());
    }

    private Incarnation countSeal() {
        Incarnation current = incarnation;
        while (current.seals.incrementAndGet() > sealsPerIncarnation) {
            synchronized (this) {
                if (incarnation == current) {
                    incarnation = draw();
                }
                current = incarnation;
            }
        }
        return current;
    }

    /**
     * Seals {@code size} bytes and returns the size of the ciphertext, {@code size + OVERHEAD}. {@code index} is that of the sector,
     * or the generation for attributes. IllegalStateException when the key is closed.
     */
    public int seal(BlockKey key, Kind kind, long index, byte[] in, int inOffset, int size, byte[] out, int outOffset) {
        Gcm gcm = Gcm.own();
        while (true) {
            Incarnation current = countSeal();
            out[outOffset] = FORMAT;
            Bytes.putU32(out, outOffset + EPOCH_OFFSET, key.epoch());
            Bytes.putU64(out, outOffset + SUBKEY_ID_OFFSET, current.idHigh);
            Bytes.putU64(out, outOffset + SUBKEY_ID_OFFSET + 8, current.idLow);
            ZeroableKey subkey = key.subkey(current.idHigh, current.idLow);
            try {
                gcm.seal(
                        subkey,
                        aad(gcm, key, kind, index),
                        AAD_SIZE,
                        in,
                        inOffset,
                        size,
                        out,
                        outOffset + NONCE_OFFSET);
                return size + OVERHEAD;
            } catch (IllegalStateException e) {
                retryOnlyIfEvicted(subkey, key, e);
            }
        }
    }

    /**
     * Opens {@code size} bytes of ciphertext and returns the size of the plaintext, {@code size - OVERHEAD}. CORRUPT when they are not
     * authentic for this key, block, kind and index: {@code out} then holds no plaintext. IllegalStateException when the key is closed.
     */
    public int open(BlockKey key, Kind kind, long index, byte[] in, int inOffset, int size, byte[] out, int outOffset)
            throws CryptoException {
        if (size < OVERHEAD || in[inOffset] != FORMAT || Bytes.getU32(in, inOffset + EPOCH_OFFSET) != key.epoch()) {
            throw new CryptoException(
                    CryptoException.Code.CORRUPT, "not a sector ciphertext of format 1 and epoch " + key.epoch());
        }
        Gcm gcm = Gcm.own();
        while (true) {
            ZeroableKey subkey = key.subkey(
                    Bytes.getU64(in, inOffset + SUBKEY_ID_OFFSET), Bytes.getU64(in, inOffset + SUBKEY_ID_OFFSET + 8));
            try {
                return gcm.open(
                        subkey,
                        aad(gcm, key, kind, index),
                        AAD_SIZE,
                        in,
                        inOffset + NONCE_OFFSET,
                        size - NONCE_OFFSET,
                        out,
                        outOffset);
            } catch (IllegalStateException e) {
                retryOnlyIfEvicted(subkey, key, e);
            }
        }
    }

    /** The key epoch that a ciphertext names: which block key to open it with. CORRUPT when it is too short to say. */
    public static int epochOf(byte[] in, int inOffset, int size) throws CryptoException {
        if (size < OVERHEAD || in[inOffset] != FORMAT) {
            throw new CryptoException(CryptoException.Code.CORRUPT, "not a sector ciphertext of format 1");
        }
        return Bytes.getU32(in, inOffset + EPOCH_OFFSET);
    }

    /**
     * Runs small encryptions for {@code millis} (300 are enough). Called at start: a Java that has met GCM only with 64 KiB buffers runs
     * it at a fiftieth of its speed for up to two seconds.
     */
    public static void warmUp(long millis) {
        BlockId block = BlockId.of(Suite.randomBytes(Id.SIZE));
        SectorCipher cipher =
                new SectorCipher(TreeId.of(Suite.randomBytes(Id.SIZE)), PrincipalId.of(Suite.randomBytes(Id.SIZE)));
        byte[] plain = new byte[WARM_UP_SIZE];
        byte[] sealed = new byte[WARM_UP_SIZE + OVERHEAD];
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
        try (BlockKey key = BlockKey.random(block, 1)) {
            for (long index = 0; System.nanoTime() < end; index++) {
                cipher.seal(key, Kind.SECTOR, index, plain, 0, WARM_UP_SIZE, sealed, 0);
                cipher.open(key, Kind.SECTOR, index, sealed, 0, sealed.length, plain, 0);
            }
        } catch (CryptoException e) {
            throw new IllegalStateException("AES-GCM does not open what it sealed", e);
        }
    }

    private byte[] aad(Gcm gcm, BlockKey key, Kind kind, long index) {
        byte[] aad = gcm.aad;
        tree.writeTo(aad, 0);
        key.block().writeTo(aad, 32);
        aad[64] = kind.number;
        Bytes.putU64(aad, 65, index);
        Bytes.putU32(aad, 73, key.epoch());
        Bytes.putU32(aad, 77, Suite.SUITE);
        return aad;
    }

    /** Another thread's derivation may have pushed the subkey out between lookup and use. */
    private static void retryOnlyIfEvicted(ZeroableKey subkey, BlockKey key, IllegalStateException e) {
        if (!subkey.isDestroyed() || key.isClosed()) {
            throw e;
        }
    }
}
