package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.identity;
import static blocktree.crypto.Fixtures.secret;
import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException.Code;
import java.io.ByteArrayOutputStream;
import java.io.NotSerializableException;
import java.io.ObjectOutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Secrets show in no text that could reach a log, and are gone after close. */
class SecrecyTest {

    /** Recognisable in each form in which bytes are usually printed. */
    private static final byte[] SECRET = "0123456789abcdefSECRETseedSECRET".getBytes(ISO_8859_1);

    private static void assertSilent(Object object) {
        StringWriter text = new StringWriter();
        text.append(object.toString());
        if (object instanceof Throwable thrown) {
            thrown.printStackTrace(new PrintWriter(text, true));
        }
        for (String form : List.of(
                "SECRET",
                HexFormat.of().formatHex(SECRET, 16, 24),
                Base64.getEncoder().encodeToString(SECRET).substring(4, 20),
                Arrays.toString(SECRET).substring(1, 20))) {
            assertFalse(text.toString().contains(form), text::toString);
        }
    }

    @Test
    void noSecretShowsInText() throws Exception {
        byte[] seeds = Arrays.copyOf(SECRET, 64);
        System.arraycopy(SECRET, 0, seeds, 32, 32);
        Identity identity = Identity.fromSeeds(SecretBytes.copyOf(seeds));
        TestTree t = new TestTree();
        BlockKey blockKey = new BlockKey(BlockId.of(Fixtures.bytes(1, 32)), 1, SecretBytes.copyOf(SECRET));
        InvitationSecret invited = InvitationSecret.takeOver(Arrays.copyOfRange(SECRET, 16, 32));
        for (Object object : List.of(
                identity,
                invited,
                Invitation.create(invited, t.tree, List.of(InetSocketAddress.createUnresolved("nas", 7450)), 1_000_000),
                SecretBytes.copyOf(SECRET),
                blockKey,
                DomainKey.of(t.tree, t.top, 1, SecretBytes.copyOf(SECRET)),
                ZeroableKey.aes(SECRET.clone()),
                KeyFile.unprotected(identity, KeyFile.Role.NODE, null),
                KeyFile.protect(identity, KeyFile.Role.NODE, null, secret("SECRET")),
                new KeyRing(identity, t.authority))) {
            assertSilent(object);
        }
    }

    @Test
    void noSecretShowsInAnException() throws Exception {
        byte[] seeds = Arrays.copyOf(SECRET, 64);
        Identity identity = Identity.fromSeeds(SecretBytes.copyOf(seeds));
        KeyFile file = KeyFile.protect(identity, KeyFile.Role.NODE, null, secret("right SECRET"));
        assertSilent(assertCode(Code.BAD_PASSPHRASE, () -> file.unlock(secret("wrong SECRET"))));
        byte[] text = KeyFile.unprotected(identity, KeyFile.Role.NODE, null).toText();
        text[text.length / 2] ^= 1;
        assertSilent(assertCode(Code.DAMAGED_KEY_FILE, () -> KeyFile.parse(text)));
        text[text.length / 2] = '*';
        assertSilent(assertCode(Code.DAMAGED_KEY_FILE, () -> KeyFile.parse(text)));
        TestTree t = new TestTree();
        DomainKey domainKey = DomainKey.of(t.tree, t.top, 1, SecretBytes.copyOf(SECRET));
        assertSilent(assertCode(
                Code.CORRUPT,
                () -> domainKey.openBlockKey(BlockId.of(new byte[32]), 1, new byte[DomainKey.SEALED_KEY_SIZE])));
        identity.close();
        assertSilent(assertThrows(IllegalStateException.class, () -> identity.sign(SignatureKind.COMMIT, new byte[1])));
    }

    @Test
    void closingZeroesAndEnds() {
        byte[] bytes = SECRET.clone();
        SecretBytes taken = SecretBytes.takeOver(bytes);
        taken.close();
        assertEquals(0, Arrays.compare(new byte[32], bytes));
        assertThrows(IllegalStateException.class, taken::reveal);
        byte[] keyBytes = SECRET.clone();
        ZeroableKey key = ZeroableKey.aes(keyBytes);
        key.destroy();
        assertEquals(0, Arrays.compare(new byte[32], keyBytes));
        assertThrows(IllegalStateException.class, key::getEncoded);
        Identity identity = identity(1);
        identity.close();
        assertTrue(identity.isClosed());
        assertThrows(IllegalStateException.class, () -> identity.deriveSecret("anchor"));
        LocalCipher local = new LocalCipher(TreeId.of(SECRET), identity(1));
        local.close();
        assertThrows(IllegalStateException.class, () -> local.seal(new byte[1], new byte[1]));
    }

    @Test
    void keysAreNotSerialised() throws Exception {
        try (ObjectOutputStream out = new ObjectOutputStream(new ByteArrayOutputStream())) {
            assertThrows(NotSerializableException.class, () -> out.writeObject(ZeroableKey.aes(SECRET.clone())));
        }
    }

    @Test
    void secretsCompareByContent() {
        assertEquals(SecretBytes.copyOf(SECRET), SecretBytes.copyOf(SECRET));
        assertFalse(SecretBytes.copyOf(SECRET).equals(SecretBytes.copyOf(new byte[32])));
    }

    @Test
    void derivedSecretsDifferByLabelAndIdentity() {
        assertEquals(identity(1).deriveSecret("anchor"), identity(1).deriveSecret("anchor"));
        assertFalse(identity(1).deriveSecret("anchor").equals(identity(1).deriveSecret("other")));
        assertFalse(identity(1).deriveSecret("anchor").equals(identity(2).deriveSecret("anchor")));
    }
}
