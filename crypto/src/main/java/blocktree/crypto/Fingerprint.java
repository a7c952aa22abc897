package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.util.Locale;

/**
 * A tree or principal id as people read it out and compare it: 14 groups of four characters of Crockford's base32 (no I, L, O, U),
 * the last group a check of the rest, such as {@code 7GQ2-…-M4XB}. Reading it back allows lower case, any spacing, and the letters that
 * look like digits.
 */
public final class Fingerprint {

    private static final String ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    private static final int GROUP_SIZE = 4;

    /** 256 bits and four zero bits in fives. */
    private static final int ID_CHARACTERS = 52;

    private static final int CHECK_CHARACTERS = 4;
    private static final int TEXT_SIZE_MAX = 200;

    private Fingerprint() {}

    /** Fourteen groups, joined by hyphens. */
    public static String of(Id id) {
        byte[] bytes = id.toBytes();
        String characters = encode(bytes, ID_CHARACTERS) + check(id);
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < characters.length(); i += GROUP_SIZE) {
            text.append(i == 0 ? "" : "-").append(characters, i, i + GROUP_SIZE);
        }
        return text.toString();
    }

    /** MALFORMED when it is not a tree's fingerprint, its check does not fit, or it is a principal's. */
    public static TreeId parseTree(String text) throws CryptoException {
        TreeId id = TreeId.of(parse(text));
        checkGroup(text, id);
        return id;
    }

    /** MALFORMED when it is not a principal's fingerprint, its check does not fit, or it is a tree's. */
    public static PrincipalId parsePrincipal(String text) throws CryptoException {
        PrincipalId id = PrincipalId.of(parse(text));
        checkGroup(text, id);
        return id;
    }

    private static byte[] parse(String text) throws CryptoException {
        String characters = normalise(text);
        byte[] bytes = new byte[Id.SIZE];
        int bits = 0;
        int bitCount = 0;
        int filled = 0;
        for (int i = 0; i < ID_CHARACTERS; i++) {
            bits = bits << 5 | ALPHABET.indexOf(characters.charAt(i));
            bitCount += 5;
            if (bitCount >= 8 && filled < Id.SIZE) {
                bitCount -= 8;
                bytes[filled++] = (byte) (bits >>> bitCount);
                bits &= (1 << bitCount) - 1;
            }
        }
        if (bits != 0) {
            throw CryptoException.malformed("not a fingerprint: characters after its end");
        }
        return bytes;
    }

    private static void checkGroup(String text, Id id) throws CryptoException {
        if (!normalise(text).substring(ID_CHARACTERS).equals(check(id))) {
            throw CryptoException.malformed("the fingerprint's last group does not fit the rest: compare it again");
        }
    }

    private static String normalise(String text) throws CryptoException {
        if (text.length() > TEXT_SIZE_MAX) {
            throw CryptoException.malformed("not a fingerprint: too long");
        }
        StringBuilder characters = new StringBuilder();
        for (char given : text.toUpperCase(Locale.ROOT).toCharArray()) {
            if (Character.isWhitespace(given) || given == '-' || given == '.' || given == ':') {
                continue;
            }
            char c = given == 'O' ? '0' : given == 'I' || given == 'L' ? '1' : given;
            if (ALPHABET.indexOf(c) < 0) {
                throw CryptoException.malformed("not a fingerprint: it has a character that none has");
            }
            characters.append(c);
        }
        if (characters.length() != ID_CHARACTERS + CHECK_CHARACTERS) {
            throw CryptoException.malformed("not a fingerprint: " + characters.length() + " characters, not "
                    + (ID_CHARACTERS + CHECK_CHARACTERS));
        }
        return characters.toString();
    }

    /** Of the kind of id too, so that one is not taken for the other. */
    private static String check(Id id) {
        String kind = id instanceof TreeId ? "tree" : id instanceof PrincipalId ? "principal" : "other";
        byte[] hash = TaggedHash.of("fingerprint")
                .add(kind.getBytes(US_ASCII))
                .add(id)
                .digest();
        return encode(hash, CHECK_CHARACTERS);
    }

    /** The first {@code count} fives of bits, zero bits after the end. */
    private static String encode(byte[] bytes, int count) {
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
}
