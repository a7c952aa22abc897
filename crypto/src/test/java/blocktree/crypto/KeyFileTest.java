package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.identity;
import static blocktree.crypto.Fixtures.secret;
import static java.nio.charset.StandardCharsets.US_ASCII;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException.Code;
import blocktree.crypto.KeyFile.Role;
import com.google.protobuf.ByteString;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Base64;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KeyFileTest {

    private static final KeyFile.Cost CHEAP = new KeyFile.Cost(64, 1, 1);
    private static final TreeId TREE = TreeId.of(Fixtures.bytes(8, 32));

    @TempDir
    Path directory;

    private final Identity identity = identity(1);

    private KeyFile cheaply(String passphrase) {
        return KeyFile.protect(
                identity, Role.ROOT, TREE, secret(passphrase), CHEAP, Suite.randomBytes(16), Suite.randomBytes(12));
    }

    @Test
    void aProtectedFileOpensWithItsPassphraseAndHasTheStandardCost() throws Exception {
        Path path = directory.resolve("root.key");
        KeyFile.protect(identity, Role.ROOT, TREE, secret("correct horse")).write(path, false);
        KeyFile file = KeyFile.read(path);
        assertEquals(Role.ROOT, file.role());
        assertEquals(TREE, file.tree());
        assertEquals(identity.keys(), file.principal());
        assertTrue(file.isProtected());
        try (Identity opened = file.unlock(secret("correct horse"))) {
            assertEquals(identity.copySeeds(), opened.copySeeds());
        }
        CryptoProto.KeyFile content = content(file);
        assertEquals(List.of(65536, 3, 1), List.of(content.getMemoryKib(), content.getPasses(), content.getLanes()));
    }

    @Test
    void anUnprotectedFileOpensWithoutPassphrase() throws Exception {
        Path path = directory.resolve("node.key");
        KeyFile.unprotected(identity, Role.NODE, null).write(path, false);
        KeyFile file = KeyFile.read(path);
        assertFalse(file.isProtected());
        assertNull(file.tree());
        assertEquals(identity.id(), file.unlock(null).id());
        assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(path)));
    }

    @Test
    void aWrongPassphraseADamagedFileAndAMissingPassphraseAreToldApart() throws Exception {
        KeyFile file = cheaply("right");
        assertCode(Code.BAD_PASSPHRASE, () -> file.unlock(secret("wrong")));
        assertCode(Code.PASSPHRASE_NEEDED, () -> file.unlock(null));
        byte[] encoded = content(file).toByteArray();
        for (int i = 0; i < encoded.length; i++) {
            byte[] altered = encoded.clone();
            altered[i] ^= 4;
            CryptoException e = org.junit.jupiter.api.Assertions.assertThrows(
                    CryptoException.class, () -> KeyFile.parse(armour(altered)));
            assertTrue(
                    e.code() == Code.DAMAGED_KEY_FILE || e.code() == Code.UNSUPPORTED && i < 4, "byte " + i + ": " + e);
        }
    }

    @Test
    void aFileCutAnywhereIsDamaged() throws Exception {
        String text = new String(cheaply("p").toText(), US_ASCII).strip();
        for (int size = 0; size < text.length(); size++) {
            String cut = text.substring(0, size);
            assertCode(Code.DAMAGED_KEY_FILE, () -> KeyFile.parse(cut.getBytes(US_ASCII)));
        }
        KeyFile.parse(text.getBytes(US_ASCII));
    }

    @Test
    void itSurvivesAPrinterAndAMailProgram() throws Exception {
        String text = new String(cheaply("p").toText(), US_ASCII);
        String mailed =
                "Keep this safe!\r\n\r\n" + text.replace("\n", "\r\n").replace("\r\n", "  \r\n   ") + "\r\n-- \r\n";
        String bare = text.replaceAll("(?m)^[A-Z][a-z]+: .*\n", "");
        assertNotEquals(text, bare);
        for (String variant : List.of(mailed, bare)) {
            assertEquals(
                    identity.id(),
                    KeyFile.parse(variant.getBytes(US_ASCII))
                            .unlock(secret("p"))
                            .id());
        }
        assertTrue(text.lines()
                .allMatch(line -> line.length() <= 85 && line.chars().allMatch(c -> c < 127)));
    }

    @Test
    void theSealBindsRoleTreeAndPrincipal() throws Exception {
        CryptoProto.KeyFile content = content(cheaply("p"));
        CryptoProto.KeyFile otherRole = content.toBuilder().setRole("node").build();
        CryptoProto.KeyFile otherTree =
                content.toBuilder().setTree(ByteString.EMPTY).build();
        CryptoProto.KeyFile otherPrincipal = content.toBuilder()
                .setPrincipal(Wire.bytes(identity(2).keys().toBytes()))
                .build();
        for (CryptoProto.KeyFile altered : List.of(otherRole, otherTree, otherPrincipal)) {
            KeyFile file = KeyFile.parse(armour(rechecked(altered)));
            assertCode(Code.BAD_PASSPHRASE, () -> file.unlock(secret("p")));
        }
        CryptoProto.KeyFile unprotected = content(KeyFile.unprotected(identity, Role.NODE, null));
        KeyFile notItsKey = KeyFile.parse(armour(rechecked(unprotected.toBuilder()
                .setPrincipal(Wire.bytes(identity(2).keys().toBytes()))
                .build())));
        assertCode(Code.DAMAGED_KEY_FILE, () -> notItsKey.unlock(null));
    }

    @Test
    void aCostThatWouldExhaustTheReaderIsRefused() throws Exception {
        CryptoProto.KeyFile content = content(cheaply("p"));
        for (CryptoProto.KeyFile hostile : List.of(
                content.toBuilder().setMemoryKib(Integer.MAX_VALUE).build(),
                content.toBuilder().setMemoryKib(-1).build(),
                content.toBuilder().setPasses(Integer.MAX_VALUE).build(),
                content.toBuilder().setPasses(0).build(),
                content.toBuilder().setLanes(1 << 20).build(),
                content.toBuilder().setLanes(0).build())) {
            assertCode(Code.DAMAGED_KEY_FILE, () -> KeyFile.parse(armour(rechecked(hostile))));
        }
    }

    @Test
    void anUnprotectedFileThatOthersCanReadIsRefusedWithWhatToDo() throws Exception {
        Path path = directory.resolve("node.key");
        KeyFile.unprotected(identity, Role.NODE, null).write(path, false);
        for (String mode : List.of("rw-r-----", "rw----r--", "rw--w----", "rw-rw-rw-")) {
            Files.setPosixFilePermissions(path, PosixFilePermissions.fromString(mode));
            CryptoException e = assertCode(Code.UNSAFE_PERMISSIONS, () -> KeyFile.read(path));
            assertTrue(String.valueOf(e.getMessage()).contains("chmod 600 " + path), e::toString);
        }
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("r--------"));
        KeyFile.read(path);
    }

    @Test
    void aProtectedFileMayBeReadable() throws Exception {
        Path path = directory.resolve("root.key");
        cheaply("p").write(path, false);
        Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rw-r--r--"));
        assertTrue(KeyFile.read(path).isProtected());
    }

    @Test
    void anExistingFileIsKeptUnlessAskedAndNothingElseIsLeftBehind() throws Exception {
        Path path = directory.resolve("root.key");
        cheaply("one").write(path, false);
        byte[] before = Files.readAllBytes(path);
        assertCode(Code.IO, () -> cheaply("two").write(path, false));
        assertArrayEquals(before, Files.readAllBytes(path));
        cheaply("two").write(path, true);
        KeyFile.read(path).unlock(secret("two")).close();
        try (java.util.stream.Stream<Path> files = Files.list(directory)) {
            assertEquals(List.of(path), files.toList());
        }
    }

    @Test
    void aMissingFileIsSaidToBeMissing() {
        CryptoException e = assertCode(Code.IO, () -> KeyFile.read(directory.resolve("none.key")));
        assertTrue(String.valueOf(e.getMessage()).contains("there is no key file"), e::toString);
    }

    private static CryptoProto.KeyFile content(KeyFile file) throws Exception {
        String base64 = new String(file.toText(), US_ASCII)
                .replaceAll("(?m)^(-----.*|[A-Z][a-z]+: .*)$", "")
                .replaceAll("\\s", "");
        return CryptoProto.KeyFile.parseFrom(Base64.getDecoder().decode(base64));
    }

    private static byte[] rechecked(CryptoProto.KeyFile content) {
        CryptoProto.KeyFile without = content.toBuilder().clearCheck().build();
        byte[] hash = TaggedHash.hash("key-file-check", without.toByteArray()).toBytes();
        return without.toBuilder()
                .setCheck(ByteString.copyFrom(hash, 0, 4))
                .build()
                .toByteArray();
    }

    private static byte[] armour(byte[] encoded) {
        return ("-----BEGIN BLOCKTREE KEY-----\n\n" + Base64.getEncoder().encodeToString(encoded)
                        + "\n-----END BLOCKTREE KEY-----\n")
                .getBytes(US_ASCII);
    }
}
