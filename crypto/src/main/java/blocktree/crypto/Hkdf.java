package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.util.Arrays;

/** HKDF-SHA256 (RFC 5869) over the JCA's HMAC. */
final class Hkdf {

    private static final int HASH_SIZE = 32;

    private Hkdf() {}

    /** 32 bytes for {@code info} = "blocktree/v1/" + label ‖ context. */
    static byte[] deriveKey(byte[] ikm, byte[] salt, String label, byte[]... context) {
        byte[] info = (Suite.LABEL_PREFIX + label).getBytes(US_ASCII);
        for (byte[] part : context) {
            int end = info.length;
            info = Arrays.copyOf(info, end + part.length);
            System.arraycopy(part, 0, info, end, part.length);
        }
        return derive(ikm, salt, info, HASH_SIZE);
    }

    /** At most 8,160 bytes; an empty salt stands for 32 zero bytes. */
    static byte[] derive(byte[] ikm, byte[] salt, byte[] info, int size) {
        if (size < 0 || size > 255 * HASH_SIZE) {
            throw new IllegalArgumentException("HKDF gives at most 8160 bytes");
        }
        ZeroableKey extractKey = ZeroableKey.hmac(salt.length == 0 ? new byte[HASH_SIZE] : salt.clone());
        ZeroableKey pseudoRandomKey = ZeroableKey.hmac(Suite.hmac(extractKey, ikm));
        byte[] output = new byte[size];
        byte[] block = {};
        try {
            int filled = 0;
            for (int counter = 1; filled < size; counter++) {
                byte[] next = Suite.hmac(pseudoRandomKey, block, info, new byte[] {(byte) counter});
                Arrays.fill(block, (byte) 0);
                block = next;
                int count = Math.min(HASH_SIZE, size - filled);
                System.arraycopy(block, 0, output, filled, count);
                filled += count;
            }
            return output;
        } finally {
            Arrays.fill(block, (byte) 0);
            pseudoRandomKey.destroy();
        }
    }
}
