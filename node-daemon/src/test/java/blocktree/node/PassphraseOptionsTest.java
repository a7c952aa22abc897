package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.SecretBytes;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

class PassphraseOptionsTest {
    @TempDir
    Path directory;

    private final ByteArrayOutputStream warnings = new ByteArrayOutputStream();

    @Command
    private static final class Holder {
        @Mixin
        private PassphraseOptions options;
    }

    @ParameterizedTest
    @CsvSource({
        "'secret','secret'",
        "'secret\n','secret'",
        "'secret\r\n','secret'",
        "'two\nlines\n','two\nlines'",
        "' b ä \n',' b ä '"
    })
    void newlineAtTheEndOfTheFileDoesNotCount(String content, String passphrase) throws Exception {
        assertArrayEquals(passphrase.getBytes(StandardCharsets.UTF_8), read(file(content, "rw-------")));
        assertEquals("", warnings.toString());
    }

    @Test
    void aFileThatOthersCanReadIsTakenWithAWarning() throws Exception {
        assertArrayEquals("s".getBytes(StandardCharsets.UTF_8), read(file("s", "rw-r-----")));
        assertTrue(warnings.toString().contains("can be read by other users"), warnings.toString());
        assertFalse(warnings.toString().contains("\"s\""));
    }

    @Test
    void readsADescriptorOfTheCaller() throws Exception {
        Path file = file("from a pipe\n", "rw-------");
        // Opened by a shell, since Java hands out no descriptors.
        Process shell = new ProcessBuilder(
                        "sh",
                        "-c",
                        "exec 7<\"$0\"; exec \"$@\"",
                        file.toString(),
                        Path.of(System.getProperty("java.home"), "bin/java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Reader.class.getName(),
                        "--passphrase-fd",
                        "7")
                .redirectErrorStream(true)
                .start();
        String output = new String(shell.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals("from a pipe", output.strip());
        assertEquals(0, shell.waitFor());
    }

    /** Prints the passphrase: a program of this test only. */
    static final class Reader {
        public static void main(String[] args) throws Exception {
            Holder holder = new Holder();
            new CommandLine(holder).parseArgs(args);
            try (SecretBytes secret = holder.options.read("", System.err)) {
                System.out.println(new String(secret.reveal(), StandardCharsets.UTF_8));
            }
        }
    }

    @Test
    void refusesWhatIsEmptyTooLongMissingOrGivenTwice() throws IOException {
        assertEquals(
                ExitCode.WRONG_PASSPHRASE,
                failure("--passphrase-file", file("\n", "rw-------").toString()).exitCode());
        assertEquals(
                ExitCode.USAGE,
                failure("--passphrase-file", file("x".repeat(5000), "rw-------").toString())
                        .exitCode());
        assertEquals(
                ExitCode.WRONG_PASSPHRASE,
                failure("--passphrase-file", directory.resolve("none").toString())
                        .exitCode());
        assertEquals(
                ExitCode.USAGE,
                failure("--passphrase-file", "a", "--passphrase-fd", "0").exitCode());
        assertEquals(ExitCode.USAGE, failure("--passphrase-fd", "999").exitCode());
        assertEquals(ExitCode.USAGE, failure("--passphrase-fd", "-1").exitCode());
    }

    @Test
    void takesNoDescriptorOfJavaItself() throws IOException {
        List<Path> opened;
        try (Stream<Path> descriptors = Files.list(Path.of("/proc/self/fd"))) {
            opened = descriptors.toList();
        }
        int tried = 0;
        for (Path each : opened) {
            if (Files.exists(each)
                    && Files.readSymbolicLink(each).startsWith(Path.of(System.getProperty("java.home")))) {
                NodeException e = failure("--passphrase-fd", each.getFileName().toString());
                assertTrue(e.found().contains("has not opened it"), e.found());
                tried++;
            }
        }
        assertTrue(tried > 0, "Java holds none of its own files open");
    }

    private NodeException failure(String... args) {
        Holder holder = new Holder();
        new CommandLine(holder).parseArgs(args);
        return assertThrows(NodeException.class, () -> holder.options.read("", new PrintStream(warnings)));
    }

    private byte[] read(Path file) throws NodeException {
        Holder holder = new Holder();
        new CommandLine(holder).parseArgs("--passphrase-file", file.toString());
        try (SecretBytes secret = holder.options.read("", new PrintStream(warnings))) {
            return secret.reveal();
        }
    }

    private Path file(String content, String permissions) throws IOException {
        Path file = Files.createTempFile(directory, "pass", "");
        Files.writeString(file, content);
        return Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
    }
}
