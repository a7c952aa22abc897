package blocktree.store;

import java.util.Arrays;

/** Padding of attributes (docs/format.md, section 3.4): {@code u32 length ‖ bytes ‖ zeros} up to the next Padmé length, at least 64. */
final class Padding {

    private static final int SIZE_MIN = 64;

    private Padding() {}

    static byte[] pad(byte[] plaintext) {
        byte[] padded = new byte[paddedSize(Integer.BYTES + plaintext.length)];
        int length = plaintext.length;
        padded[0] = (byte) (length >>> 24);
        padded[1] = (byte) (length >>> 16);
        padded[2] = (byte) (length >>> 8);
        padded[3] = (byte) length;
        System.arraycopy(plaintext, 0, padded, Integer.BYTES, length);
        return padded;
    }

    /** CORRUPT when the length does not fit. The zeros are not looked at: who sealed them could have put anything. */
    static byte[] unpad(byte[] padded, int size) throws StoreException {
        if (size < Integer.BYTES) {
            throw StoreException.corrupt("padded attributes of " + size + " bytes");
        }
        int length = (padded[0] & 0xff) << 24 | (padded[1] & 0xff) << 16 | (padded[2] & 0xff) << 8 | padded[3] & 0xff;
        if (length < 0 || length > size - Integer.BYTES) {
            throw StoreException.corrupt("attributes say that they have " + length + " of " + size + " bytes");
        }
        return Arrays.copyOfRange(padded, Integer.BYTES, Integer.BYTES + length);
    }

    /** Padmé: keeps as many leading bits of the size as its exponent has bits, and rounds the rest up. */
    static int paddedSize(int size) {
        if (size <= SIZE_MIN) {
            return SIZE_MIN;
        }
        int exponent = 31 - Integer.numberOfLeadingZeros(size);
        int exponentBits = 32 - Integer.numberOfLeadingZeros(exponent);
        int mask = (1 << exponent - exponentBits) - 1;
        return size + mask & ~mask;
    }
}
