package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.Base64;
import java.util.EnumSet;
import java.util.Set;
import org.bouncycastle.crypto.generators.Argon2BytesGenerator;
import org.bouncycastle.crypto.params.Argon2Parameters;
import org.jspecify.annotations.Nullable;

/**
 * A private key at rest, as text that survives a printer (docs/format.md, section 2.2): sealed under a passphrase with Argon2id, or
 * unprotected in a file that only its owner can read. Immutable; the private half of an unprotected one is in it.
 */
public final class KeyFile {

    /** Whose key it holds. */
    public enum Role {
        ROOT("root"),
        NODE("node");

        private final String label;

        Role(String label) {
            this.label = label;
        }
    }

    /** What a guess of the passphrase costs. */
    record Cost(int memoryKib, int passes, int lanes) {
        static final Cost STANDARD = new Cost(64 * 1024, 3, 1);
        private static final int MEMORY_KIB_MAX = 1024 * 1024;
        private static final int PASSES_MAX = 64;
        private static final int LANES_MAX = 16;

        /** A hostile file must not make its reader allocate or compute without end. */
        boolean isReasonable() {
            return lanes >= 1
                    && lanes <= LANES_MAX
                    && passes >= 1
                    && passes <= PASSES_MAX
                    && memoryKib >= 8 * lanes
                    && memoryKib <= MEMORY_KIB_MAX;
        }
    }

    private static final int PROTECTION_ARGON2ID = 1;
    private static final int PROTECTION_NONE = 2;
    private static final int SALT_SIZE = 16;
    private static final int CHECK_SIZE = 4;
    private static final int SEEDS_SIZE = 2 * Identity.SEED_SIZE;
    private static final int TEXT_SIZE_MAX = 16 * 1024;
    private static final int LINE_SIZE = 64;
    private static final int MAX_ASCII = 127;
    /** The line before a key in a text. */
    public static final String BEGIN = "-----BEGIN BLOCKTREE KEY-----";
    /** The line after it. */
    public static final String END = "-----END BLOCKTREE KEY-----";

    private static final Set<PosixFilePermission> OWNER_ONLY =
            EnumSet.of(PosixFilePermission.OWNER_READ, PosixFilePermission.OWNER_WRITE);

    private final CryptoProto.KeyFile content;
    private final PrincipalKeys principal;
    private final Role role;
    private final @Nullable TreeId tree;

    private KeyFile(CryptoProto.KeyFile content, PrincipalKeys principal, Role role, @Nullable TreeId tree) {
        this.content = content;
        this.principal = principal;
        this.role = role;
        this.tree = tree;
    }

    /** Seals {@code identity} under a passphrase; takes a third of a second and 64 MiB. */
    public static KeyFile protect(Identity identity, Role role, @Nullable TreeId tree, SecretBytes passphrase) {
        return protect(
                identity,
                role,
                tree,
                passphrase,
                Cost.STANDARD,
                Suite.randomBytes(SALT_SIZE),
                Suite.randomBytes(Gcm.NONCE_SIZE));
    }

    static KeyFile protect(
            Identity identity,
            Role role,
            @Nullable TreeId tree,
            SecretBytes passphrase,
            Cost cost,
            byte[] salt,
            byte[] nonce) {
        CryptoProto.KeyFile.Builder file = header(identity, role, tree)
                .setProtection(PROTECTION_ARGON2ID)
                .setSalt(Wire.bytes(salt))
                .setMemoryKib(cost.memoryKib)
                .setPasses(cost.passes)
                .setLanes(cost.lanes)
                .setNonce(Wire.bytes(nonce));
        ZeroableKey key = stretch(passphrase, salt, cost);
        try (SecretBytes seeds = identity.copySeeds()) {
            byte[] plaintext = seeds.reveal();
            byte[] sealed = Gcm.own().seal(key, nonce, aad(file), plaintext);
            Arrays.fill(plaintext, (byte) 0);
            file.setSealed(Wire.bytes(sealed));
        } finally {
            key.destroy();
        }
        return new KeyFile(withCheck(file), identity.keys(), role, tree);
    }

    /** Holds {@code identity} in the clear: only for a file of mode 0600, which {@link #write} makes, or a keystore of the system. */
    public static KeyFile unprotected(Identity identity, Role role, @Nullable TreeId tree) {
        CryptoProto.KeyFile.Builder file = header(identity, role, tree).setProtection(PROTECTION_NONE);
        try (SecretBytes seeds = identity.copySeeds()) {
            byte[] plaintext = seeds.reveal();
            file.setSealed(Wire.bytes(plaintext));
            Arrays.fill(plaintext, (byte) 0);
        }
        return new KeyFile(withCheck(file), identity.keys(), role, tree);
    }

    private static CryptoProto.KeyFile.Builder header(Identity identity, Role role, @Nullable TreeId tree) {
        CryptoProto.KeyFile.Builder file = CryptoProto.KeyFile.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setPrincipal(Wire.bytes(identity.keys().toBytes()))
                .setRole(role.label);
        if (tree != null) {
            file.setTree(Wire.bytes(tree));
        }
        return file;
    }

    /** What the seal binds besides the seeds. */
    private static byte[] aad(CryptoProto.KeyFileOrBuilder file) {
        return TaggedHash.of("aad/key-file")
                .add(file.getPrincipal().toByteArray())
                .add(file.getRole())
                .add(file.getTree().toByteArray())
                .digest();
    }

    private static ZeroableKey stretch(SecretBytes passphrase, byte[] salt, Cost cost) {
        Argon2BytesGenerator argon2 = new Argon2BytesGenerator();
        argon2.init(new Argon2Parameters.Builder(Argon2Parameters.ARGON2_id)
                .withVersion(Argon2Parameters.ARGON2_VERSION_13)
                .withSalt(salt)
                .withMemoryAsKB(cost.memoryKib)
                .withIterations(cost.passes)
                .withParallelism(cost.lanes)
                .build());
        byte[] key = new byte[Suite.KEY_SIZE];
        byte[] phrase = passphrase.reveal();
        argon2.generateBytes(phrase, key);
        Arrays.fill(phrase, (byte) 0);
        return ZeroableKey.aes(key);
    }

    private static CryptoProto.KeyFile withCheck(CryptoProto.KeyFile.Builder file) {
        return file.setCheck(Wire.bytes(checkValue(file.build()))).build();
    }

    /** Over all else in the file, which is public or sealed: tells damage from a wrong passphrase, protects nothing. */
    private static byte[] checkValue(CryptoProto.KeyFile file) {
        byte[] hash = TaggedHash.of("key-file-check")
                .add(file.toBuilder().clearCheck().build().toByteArray())
                .digest();
        return Arrays.copyOf(hash, CHECK_SIZE);
    }

    /**
     * Reads a key file. IO when there is none or it cannot be read, DAMAGED_KEY_FILE when it was altered or cut, UNSAFE_PERMISSIONS when
     * others than its owner can read or change one that has no passphrase.
     */
    public static KeyFile read(Path path) throws CryptoException {
        KeyFile file;
        Set<PosixFilePermission> permissions;
        try {
            permissions = EnumSet.noneOf(PosixFilePermission.class);
            permissions.addAll(Files.getPosixFilePermissions(path));
            byte[] buffer = new byte[TEXT_SIZE_MAX + 1]; // no more: it may be a device without an end
            byte[] text = {};
            try (InputStream in = Files.newInputStream(path)) {
                text = Arrays.copyOf(buffer, in.readNBytes(buffer, 0, buffer.length));
                if (text.length > TEXT_SIZE_MAX) {
                    throw damaged(path + " is too large for a key file", null);
                }
                file = parse(text);
            } finally {
                Arrays.fill(text, (byte) 0);
                Arrays.fill(buffer, (byte) 0);
            }
        } catch (NoSuchFileException e) {
            throw new CryptoException(CryptoException.Code.IO, "there is no key file " + path, e);
        } catch (IOException e) {
            throw new CryptoException(CryptoException.Code.IO, "key file " + path + " cannot be read: " + e, e);
        }
        permissions.remove(PosixFilePermission.OWNER_READ);
        permissions.remove(PosixFilePermission.OWNER_WRITE);
        permissions.remove(PosixFilePermission.OWNER_EXECUTE);
        if (!file.isProtected() && !permissions.isEmpty()) {
            throw new CryptoException(
                    CryptoException.Code.UNSAFE_PERMISSIONS,
                    "key file " + path + " has no passphrase and is open to others ("
                            + PosixFilePermissions.toString(permissions) + "): run chmod 600 " + path
                            + ", and consider who may have read it");
        }
        return file;
    }

    /** Reads the text of a key file; DAMAGED_KEY_FILE or UNSUPPORTED when it is none. What stands around the two marks is ignored. */
    public static KeyFile parse(byte[] text) throws CryptoException {
        if (text.length > TEXT_SIZE_MAX) {
            throw damaged("text is too large for a key file", null);
        }
        byte[] encoded = dearmour(new String(text, US_ASCII));
        CryptoProto.KeyFile content;
        PrincipalKeys principal;
        try {
            content = Wire.parse(CryptoProto.KeyFile.parser(), encoded, TEXT_SIZE_MAX, "key file");
            Wire.checkVersion(content.getVersion(), content.getSuite(), "key file");
            if (!Arrays.equals(content.getCheck().toByteArray(), checkValue(content))) {
                throw damaged("key file is damaged: its check value does not fit", null);
            }
            principal = PrincipalKeys.parse(content.getPrincipal().toByteArray());
        } catch (CryptoException e) {
            throw e.code() == CryptoException.Code.UNSUPPORTED
                    ? e
                    : damaged("key file is damaged or none: " + e.getMessage(), e);
        } finally {
            Arrays.fill(encoded, (byte) 0);
        }
        checkShape(content);
        return new KeyFile(
                content,
                principal,
                content.getRole().equals(Role.ROOT.label) ? Role.ROOT : Role.NODE,
                content.getTree().isEmpty() ? null : TreeId.of(content.getTree().toByteArray()));
    }

    private static void checkShape(CryptoProto.KeyFile content) throws CryptoException {
        boolean roleKnown =
                content.getRole().equals(Role.ROOT.label) || content.getRole().equals(Role.NODE.label);
        boolean treeFits = content.getTree().isEmpty() || content.getTree().size() == Id.SIZE;
        Cost cost = cost(content);
        boolean protectionFits = switch (content.getProtection()) {
            case PROTECTION_ARGON2ID ->
                content.getSalt().size() == SALT_SIZE
                        && content.getNonce().size() == Gcm.NONCE_SIZE
                        && content.getSealed().size() == SEEDS_SIZE + Gcm.TAG_SIZE
                        && cost.isReasonable();
            case PROTECTION_NONE ->
                content.getSalt().isEmpty()
                        && content.getNonce().isEmpty()
                        && content.getSealed().size() == SEEDS_SIZE
                        && cost.equals(new Cost(0, 0, 0));
            default -> false;
        };
        if (!roleKnown || !treeFits || !protectionFits) {
            throw damaged("key file holds values that none has", null);
        }
    }

    private static Cost cost(CryptoProto.KeyFile content) {
        return new Cost(content.getMemoryKib(), content.getPasses(), content.getLanes());
    }

    private static CryptoException damaged(String what, @Nullable Throwable cause) {
        return new CryptoException(CryptoException.Code.DAMAGED_KEY_FILE, what, cause);
    }

    /** Whether opening it takes a passphrase. */
    public boolean isProtected() {
        return content.getProtection() == PROTECTION_ARGON2ID;
    }

    public PrincipalKeys principal() {
        return principal;
    }

    public Role role() {
        return role;
    }

    /** The tree that the key is for, or null when the file names none. */
    public @Nullable TreeId tree() {
        return tree;
    }

    /**
     * The private half, for the caller to close; {@code passphrase} may be null for an unprotected file. PASSPHRASE_NEEDED when it is
     * null for a protected one, BAD_PASSPHRASE when it is another, DAMAGED_KEY_FILE when the key is not that of the principal named.
     */
    public Identity unlock(@Nullable SecretBytes passphrase) throws CryptoException {
        byte[] seeds;
        if (!isProtected()) {
            seeds = content.getSealed().toByteArray();
        } else if (passphrase == null) {
            throw new CryptoException(CryptoException.Code.PASSPHRASE_NEEDED, "this key file needs its passphrase");
        } else {
            seeds = open(passphrase);
        }
        Identity identity = Identity.fromSeeds(SecretBytes.takeOver(seeds));
        if (!identity.keys().equals(principal)) {
            identity.close();
            throw damaged("key file is damaged: its key is not that of the principal that it names", null);
        }
        return identity;
    }

    private byte[] open(SecretBytes passphrase) throws CryptoException {
        ZeroableKey key = stretch(passphrase, content.getSalt().toByteArray(), cost(content));
        try {
            return Gcm.own()
                    .open(
                            key,
                            content.getNonce().toByteArray(),
                            aad(content),
                            content.getSealed().toByteArray());
        } catch (CryptoException e) {
            throw new CryptoException(CryptoException.Code.BAD_PASSPHRASE, "wrong passphrase for this key file", e);
        } finally {
            key.destroy();
        }
    }

    /** The file's text, secret when {@link #isProtected} is false: for the caller to zero. */
    public byte[] toText() {
        StringBuilder head = new StringBuilder(BEGIN).append('\n');
        head.append("Role: ").append(role.label).append('\n');
        head.append("Protection: ")
                .append(isProtected() ? "passphrase" : "none, keep this file secret")
                .append('\n');
        head.append("Principal: ").append(Fingerprint.of(principal.id())).append('\n');
        if (tree != null) {
            head.append("Tree: ").append(Fingerprint.of(tree)).append('\n');
        }
        byte[] encoded = content.toByteArray();
        byte[] base64 = Base64.getMimeEncoder(LINE_SIZE, new byte[] {'\n'}).encode(encoded);
        Arrays.fill(encoded, (byte) 0);
        byte[] before = head.append('\n').toString().getBytes(US_ASCII);
        byte[] after = ("\n" + END + "\n").getBytes(US_ASCII);
        byte[] text = ByteBuffer.allocate(before.length + base64.length + after.length)
                .put(before)
                .put(base64)
                .put(after)
                .array();
        Arrays.fill(base64, (byte) 0);
        return text;
    }

    /**
     * The base64 between the marks, after the headers, which are for people and may be missing. Blanks count for nothing, nor do the marks of quotation
     * that mail clients put before lines.
     */
    private static byte[] dearmour(String text) throws CryptoException {
        int begin = text.indexOf(BEGIN);
        int end = begin < 0 ? -1 : text.indexOf(END, begin + BEGIN.length());
        if (end < 0) {
            throw damaged(
                    "not a key file, or cut short: the lines " + BEGIN + " and " + END + " are not both there", null);
        }
        StringBuilder base64 = new StringBuilder();
        for (String line : text.substring(begin + BEGIN.length(), end).split("\n", -1)) {
            if (line.indexOf(':') < 0) {
                line.chars().filter(c -> c > ' ' && c != '>' && c < MAX_ASCII).forEach(c -> base64.append((char) c));
            }
        }
        try {
            return Base64.getDecoder().decode(base64.toString());
        } catch (IllegalArgumentException e) {
            throw damaged("key file is damaged: its base64 does not decode", null);
        }
    }

    /**
     * Writes the file with mode 0600, whole or not at all, and on the disk when this returns. IO when it cannot, or when there is a file
     * already and {@code replace} is false.
     */
    public void write(Path path, boolean replace) throws CryptoException {
        byte[] text = toText();
        try {
            writeText(path, text, replace);
        } catch (IOException e) {
            throw new CryptoException(CryptoException.Code.IO, "key file " + path + " cannot be written: " + e, e);
        } finally {
            Arrays.fill(text, (byte) 0);
        }
    }

    /** Writes any text as {@link #write} does a key file; FileAlreadyExistsException when there is a file and {@code replace} is false. */
    public static void writeText(Path path, byte[] text, boolean replace) throws IOException {
        Path directory = path.toAbsolutePath().getParent();
        if (directory == null) {
            throw new IOException(path + ": not a file");
        }
        if (!replace && Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            throw new FileAlreadyExistsException(path.toString());
        }
        Path temporary =
                Files.createTempFile(directory, ".key", ".new", PosixFilePermissions.asFileAttribute(OWNER_ONLY));
        try {
            try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.WRITE)) {
                ByteBuffer buffer = ByteBuffer.wrap(text);
                while (buffer.hasRemaining()) {
                    channel.write(buffer);
                }
                channel.force(true);
            }
            rename(temporary, path);
        } finally {
            Files.deleteIfExists(temporary);
        }
    }

    /** Gives a file the name of another in its directory, in whose place it comes; on the disk when this returns. */
    public static void rename(Path from, Path to) throws IOException {
        Files.move(from, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        try (FileChannel directory = FileChannel.open(to.toAbsolutePath().getParent(), StandardOpenOption.READ)) {
            directory.force(true);
        }
    }

    @Override
    public String toString() {
        return "KeyFile[" + role.label + ", principal=" + principal.id() + ", " + (isProtected() ? "" : "un")
                + "protected, redacted]";
    }
}
