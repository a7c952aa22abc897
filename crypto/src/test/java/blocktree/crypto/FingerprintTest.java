package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.bytes;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException.Code;
import java.util.Locale;
import java.util.Random;
import org.junit.jupiter.api.Test;

class FingerprintTest {

    private static TreeId tree(int seed) {
        byte[] bytes = new byte[32];
        new Random(seed).nextBytes(bytes);
        return TreeId.of(bytes);
    }

    @Test
    void itReadsBackAsWritten() throws Exception {
        for (int seed = 0; seed < 100; seed++) {
            String text = Fingerprint.of(tree(seed));
            assertTrue(text.matches("([0-9A-HJKMNP-TV-Z]{4}-){13}[0-9A-HJKMNP-TV-Z]{4}"), text);
            assertEquals(tree(seed), Fingerprint.parseTree(text));
        }
    }

    @Test
    void itReadsBackAsPeopleTypeIt() throws Exception {
        String text = Fingerprint.of(tree(1));
        assertEquals(tree(1), Fingerprint.parseTree(text.toLowerCase(Locale.ROOT)));
        assertEquals(tree(1), Fingerprint.parseTree("  " + text.replace('-', ' ') + "\n"));
        assertEquals(tree(1), Fingerprint.parseTree(text.replace("-", "")));
        TreeId zeros = TreeId.of(bytes(0, 32));
        assertEquals(zeros, Fingerprint.parseTree(Fingerprint.of(zeros).replace('0', 'o')));
    }

    /** The check has 20 bits, so one wrong character passes about once in a million: with these fixed ids, never. */
    @Test
    void oneWrongCharacterIsNoticed() {
        String text = Fingerprint.of(tree(1));
        for (int i = 0; i < text.length(); i++) {
            char right = text.charAt(i);
            if (right != '-') {
                String wrong = text.substring(0, i) + (right == '7' ? '8' : '7') + text.substring(i + 1);
                assertCode(Code.MALFORMED, () -> Fingerprint.parseTree(wrong));
            }
        }
    }

    @Test
    void aPrincipalsIsNotTakenForATrees() throws Exception {
        PrincipalId principal = PrincipalId.of(tree(1).toBytes());
        assertEquals(principal, Fingerprint.parsePrincipal(Fingerprint.of(principal)));
        assertCode(Code.MALFORMED, () -> Fingerprint.parseTree(Fingerprint.of(principal)));
        assertCode(Code.MALFORMED, () -> Fingerprint.parsePrincipal(Fingerprint.of(tree(1))));
    }

    @Test
    void whatIsNoFingerprintIsRefused() {
        for (String text :
                new String[] {"", "ABCD", "U".repeat(56), "0".repeat(55), "0".repeat(57), "x".repeat(1000)}) {
            assertCode(Code.MALFORMED, () -> Fingerprint.parseTree(text));
        }
    }
}
