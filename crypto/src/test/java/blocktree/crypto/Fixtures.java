package blocktree.crypto;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import blocktree.crypto.CryptoException.Code;
import blocktree.crypto.CryptoException.Denial;
import java.util.Arrays;
import org.junit.jupiter.api.function.Executable;

/** Identities and bytes that are the same in every run, and short assertions. */
final class Fixtures {

    private Fixtures() {}

    /** {@code size} bytes of {@code value}. */
    static byte[] bytes(int value, int size) {
        byte[] bytes = new byte[size];
        Arrays.fill(bytes, (byte) value);
        return bytes;
    }

    /** The identity whose 64 bytes of seed are all {@code value}. */
    static Identity identity(int value) {
        return Identity.fromSeeds(SecretBytes.takeOver(bytes(value, 64)));
    }

    static SecretBytes secret(String text) {
        return SecretBytes.takeOver(text.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }

    static CryptoException assertCode(Code expected, Executable action) {
        CryptoException e = assertThrows(CryptoException.class, action);
        assertEquals(expected, e.code(), e.getMessage());
        return e;
    }

    static void assertDenied(Denial expected, Executable action) {
        CryptoException e = assertCode(Code.DENIED, action);
        assertEquals(expected, e.denial(), e.getMessage());
    }
}
