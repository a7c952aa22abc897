package blocktree.node;

import blocktree.crypto.SecretBytes;
import java.io.Console;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.util.Arrays;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where a passphrase comes from: a file, a descriptor or the terminal; never the command line or the environment. */
final class PassphraseOptions {
    private static final int SIZE_BYTES_MAX = 4096;
    private static final Set<PosixFilePermission> READABLE_BY_OTHERS =
            Set.of(PosixFilePermission.GROUP_READ, PosixFilePermission.OTHERS_READ);

    @Option(
            names = "--passphrase-file",
            paramLabel = "FILE",
            description = "Read the passphrase from FILE; a newline at its end does not count.")
    private @Nullable Path file;

    @Option(
            names = "--passphrase-fd",
            paramLabel = "N",
            description = "Read the passphrase from descriptor N, which the caller has opened.")
    private @Nullable Integer descriptor;

    /** Whether the command takes it from the configuration too. */
    private boolean configurable;

    /** As if {@code --passphrase-file} had named that file; null: as if nothing were given. */
    static PassphraseOptions of(@Nullable Path file) {
        PassphraseOptions options = new PassphraseOptions();
        options.file = file;
        return options;
    }

    boolean isGiven() {
        return file != null || descriptor != null;
    }

    /** Takes it from there when no option says otherwise. */
    void orFrom(@Nullable Path configured) {
        configurable = true;
        if (!isGiven()) {
            file = configured;
        }
    }

    /** The passphrase, for the caller to close. Warnings go to {@code err}. */
    SecretBytes read(String purpose, PrintStream err) throws NodeException {
        Path source = source();
        return source == null ? prompt("Passphrase " + purpose + ": ") : readFile(source, err);
    }

    /** A passphrase to be set: asked for twice when it is typed. */
    SecretBytes readNew(PrintStream err) throws NodeException {
        Path source = source();
        if (source != null) {
            return readFile(source, err);
        }
        SecretBytes first = prompt("New passphrase of the root key: ");
        try (SecretBytes second = prompt("The same again: ")) {
            if (first.equals(second)) {
                return first;
            }
        } catch (NodeException e) {
            first.close();
            throw e;
        }
        first.close();
        throw new NodeException(ExitCode.USAGE, "to set a passphrase", "the two that you typed differ", "try again");
    }

    private @Nullable Path source() throws NodeException {
        if (file != null && descriptor != null) {
            throw new NodeException(
                    ExitCode.USAGE,
                    "to read a passphrase",
                    "both --passphrase-file and --passphrase-fd",
                    "give one of them");
        }
        return descriptor != null ? inherited(descriptor) : file;
    }

    /** Java, too, opens files at its start: their descriptors are not the caller's, and their content is no secret. */
    private static Path inherited(int descriptor) throws NodeException {
        Path path = Path.of("/proc/self/fd/" + descriptor);
        Path java = Path.of(System.getProperty("java.home", "/"));
        Set<String> classPath = Set.of(System.getProperty("java.class.path", "").split(File.pathSeparator));
        try {
            Path file = Files.readSymbolicLink(path);
            if (!file.startsWith(java) && !classPath.contains(file.toString()) && !Files.isDirectory(path)) {
                return path;
            }
        } catch (IOException e) {
            // nobody has opened it
        }
        throw new NodeException(
                ExitCode.USAGE,
                "to read the passphrase from descriptor " + descriptor,
                "the caller has not opened it",
                "open it for btnode, such as with " + descriptor + "<FILE in a shell");
    }

    private SecretBytes readFile(Path source, PrintStream err) throws NodeException {
        String tried = "to read the passphrase from " + source;
        byte[] bytes = new byte[SIZE_BYTES_MAX + 2];
        try (InputStream in = Files.newInputStream(source)) {
            if (file != null
                    && Files.isRegularFile(source)
                    && Files.getPosixFilePermissions(source).stream().anyMatch(READABLE_BY_OTHERS::contains)) {
                err.println("btnode: warning: " + source + " can be read by other users; do: chmod 600 "
                        + Shell.word(source));
            }
            int size = in.readNBytes(bytes, 0, bytes.length);
            if (size > 0 && bytes[size - 1] == '\n') {
                size--;
                if (size > 0 && bytes[size - 1] == '\r') {
                    size--;
                }
            }
            if (size == 0 || size > SIZE_BYTES_MAX) {
                throw new NodeException(
                        size == 0 ? ExitCode.WRONG_PASSPHRASE : ExitCode.USAGE,
                        tried,
                        size == 0 ? "nothing in it" : "more than " + SIZE_BYTES_MAX + " bytes",
                        "put the passphrase into it, on one line");
            }
            return SecretBytes.takeOver(Arrays.copyOf(bytes, size));
        } catch (IOException e) {
            throw new NodeException(
                    ExitCode.WRONG_PASSPHRASE, tried, Failures.reason(e), "name a file that this user can read", e);
        } finally {
            Arrays.fill(bytes, (byte) 0);
        }
    }

    private SecretBytes prompt(String text) throws NodeException {
        Console console = System.console();
        char[] typed = console == null ? null : console.readPassword("%s", text);
        if (typed == null || typed.length == 0) {
            throw new NodeException(
                    ExitCode.WRONG_PASSPHRASE,
                    "to ask for a passphrase",
                    console == null ? "no terminal" : "nothing typed",
                    "type one on a terminal, or give it with --passphrase-file FILE or --passphrase-fd N"
                            + (configurable
                                    ? ", or name its file as passphrase_file in " + ConfigurationFile.NAME
                                    : ""));
        }
        ByteBuffer encoded = StandardCharsets.UTF_8.encode(CharBuffer.wrap(typed));
        byte[] bytes = new byte[encoded.remaining()];
        encoded.get(bytes);
        Arrays.fill(typed, '\0');
        Arrays.fill(encoded.array(), (byte) 0);
        return SecretBytes.takeOver(bytes);
    }
}
