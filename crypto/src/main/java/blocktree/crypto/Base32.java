package blocktree.crypto;

import java.util.Locale;

/**
 * Crockford's base32, for what people read out and type: no I, L, O, U. Reading allows lower case, any spacing, and the letters that
 * look like digits.
 */
final class Base32 {

    private static final String ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    private static final int GROUP_SIZE = 4;

    private Base32() {}

    /** As many characters as hold all bits, zero bits after the end. */
    static String encode(byte[] bytes) {
        return encode(bytes, (bytes.length * 8 + 4) / 5);
    }

    /** The first {@code count} fives of bits, zero bits after the end. */
    static String encode(byte[] bytes, int count) {
        StringBuilder text = new StringBuilder();
        int bits = 0;
        int bitCount = 0;
        int next = 0;
        while (text.length() < count) {
            if (bitCount < 5) {
                bits = bits << 8 | (next < bytes.length ? bytes[next] & 0xff : 0);
                next++;
                bitCount += 8;
            }
            bitCount -= 5;
            text.append(ALPHABET.charAt(bits >>> bitCount & 31));
            bits &= (1 << bitCount) - 1;
        }
        return text.toString();
    }

    /** The whole bytes that characters of the alphabet hold; whether they are all that these hold, {@link #encode} says. */
    static byte[] decode(String characters) {
        byte[] bytes = new byte[characters.length() * 5 / 8];
        int bits = 0;
        int bitCount = 0;
        int filled = 0;
        for (int i = 0; i < characters.length(); i++) {
            bits = bits << 5 | ALPHABET.indexOf(characters.charAt(i));
            bitCount += 5;
            if (bitCount >= 8) {
                bitCount -= 8;
                bytes[filled++] = (byte) (bits >>> bitCount);
                bits &= (1 << bitCount) - 1;
            }
        }
        return bytes;
    }

    /** Groups of four, joined by hyphens. */
    static String group(String characters) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < characters.length(); i += GROUP_SIZE) {
            text.append(i == 0 ? "" : "-").append(characters, i, Math.min(i + GROUP_SIZE, characters.length()));
        }
        return text.toString();
    }

    /** The characters of the alphabet that {@code text} stands for; MALFORMED, as no {@code what}, when it has another or is too long. */
    static String normalise(String text, int sizeMax, String what) throws CryptoException {
        if (text.length() > sizeMax) {
            throw CryptoException.malformed("not " + what + ": too long");
        }
        StringBuilder characters = new StringBuilder();
        for (char given : text.toUpperCase(Locale.ROOT).toCharArray()) {
            if (Character.isWhitespace(given) || given == '-' || given == '.' || given == ':') {
                continue;
            }
            char c = given == 'O' ? '0' : given == 'I' || given == 'L' ? '1' : given;
            if (ALPHABET.indexOf(c) < 0) {
                throw CryptoException.malformed("not " + what + ": it has a character that none has");
            }
            characters.append(c);
        }
        return characters.toString();
    }
}
