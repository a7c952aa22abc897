package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

/**
 * A tree or principal id as people read it out and compare it: 14 groups of four characters of Crockford's base32 (no I, L, O, U),
 * the last group a check of the rest, such as {@code 7GQ2-…-M4XB}. Reading it back allows lower case, any spacing, and the letters that
 * look like digits.
 */
public final class Fingerprint {

    /** 256 bits and four zero bits in fives. */
    private static final int ID_CHARACTERS = 52;

    private static final int CHECK_CHARACTERS = 4;
    private static final int TEXT_SIZE_MAX = 200;

    private Fingerprint() {}

    /** Fourteen groups, joined by hyphens. */
    public static String of(Id id) {
        return Base32.group(Base32.encode(id.toBytes(), ID_CHARACTERS) + check(id));
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
        String characters = normalise(text).substring(0, ID_CHARACTERS);
        byte[] bytes = Base32.decode(characters);
        if (!Base32.encode(bytes).equals(characters)) {
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
        String characters = Base32.normalise(text, TEXT_SIZE_MAX, "a fingerprint");
        if (characters.length() != ID_CHARACTERS + CHECK_CHARACTERS) {
            throw CryptoException.malformed("not a fingerprint: " + characters.length() + " characters, not "
                    + (ID_CHARACTERS + CHECK_CHARACTERS));
        }
        return characters;
    }

    /** Of the kind of id too, so that one is not taken for the other. */
    private static String check(Id id) {
        String kind = id instanceof TreeId ? "tree" : id instanceof PrincipalId ? "principal" : "other";
        byte[] hash = TaggedHash.of("fingerprint")
                .add(kind.getBytes(US_ASCII))
                .add(id)
                .digest();
        return Base32.encode(hash, CHECK_CHARACTERS);
    }
}
