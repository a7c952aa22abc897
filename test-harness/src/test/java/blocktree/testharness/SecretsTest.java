package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.harness.NodeProgram;
import blocktree.testharness.program.Program;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Keys and passphrases are in the key files, and nowhere else where somebody may look. */
class SecretsTest {
    private static final Duration COMMAND_TIMEOUT = Duration.ofMinutes(2);
    private static final Path JCMD = Path.of(System.getProperty("java.home"), "bin/jcmd");

    @TempDir
    Path scratch;

    @Test
    void noSecretLeavesTheKeyFiles() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            List<byte[]> secrets = secretsOf(node);
            String passphrase = node.directory().passphraseFile().toString();
            String backup = node.work().resolve("backup.txt").toString();
            Map<String, byte[]> places = new LinkedHashMap<>();

            String other = node.work().resolve("other").toString();
            places.put("init", watch(node, "init", "--data-dir", other, "--passphrase-file", passphrase));
            node.withArguments("--log-level", "debug", "--passphrase-file", passphrase)
                    .start();
            Files.writeString(node.mount().resolve("file"), "content");
            places.put("run", seen(node.process().pid()));
            String data = node.data().toString();
            places.put("status", watch(node, "status", "--data-dir", data));
            for (String command : List.of("backup", "verify-backup")) {
                places.put(
                        command,
                        watch(node, "key", command, backup, "--data-dir", data, "--passphrase-file", passphrase));
            }
            places.put("fsck", watch(node, "fsck", "--data-dir", data, "--passphrase-file", passphrase));
            node.stop();
            places.put("fsck offline", watch(node, "fsck", "--data-dir", data, "--passphrase-file", passphrase));

            places.put("the log", Files.readAllBytes(node.directory().log()));
            places.put("the backup", Files.readAllBytes(Path.of(backup)));
            Files.delete(node.data().resolve("node.key"));
            places.put("the data directory", ConfidentialityTest.allBytes(node.data()));
            places.forEach((name, place) -> requireAbsent(secrets, place, name));
        }
    }

    @Test
    void theControlClientHoldsNoSecret() throws Exception {
        if (!Files.isExecutable(JCMD)) {
            return; // a Java without tools makes no dumps
        }
        try (TestNode node = TestNode.started()) {
            List<byte[]> secrets = secretsOf(node);
            Process top = start(
                    node,
                    node.work().resolve("top"),
                    "top",
                    "--data-dir",
                    node.data().toString());
            try {
                // After its first round it has talked to the node.
                requireAbsent(secrets, heap(node, top, "grep -q waiting top"), "the heap of top");
            } finally {
                top.destroy();
                top.waitFor();
            }
            Process stop;
            try (InputStream busy =
                    Files.newInputStream(Files.createFile(node.mount().resolve("busy")))) {
                stop = start(
                        node,
                        node.work().resolve("stop"),
                        "stop",
                        "--data-dir",
                        node.data().toString());
                String waits = JCMD + " " + stop.pid() + " Thread.print | grep -q NodeClient.stop";
                requireAbsent(secrets, heap(node, stop, waits), "the heap of stop");
            }
            assertEquals(0, stop.waitFor());
        }
    }

    /** Of a command of that node, once a condition of the shell holds. */
    private static byte[] heap(TestNode node, Process command, String condition) throws IOException {
        Path dump = Files.createTempDirectory(node.work(), "dump").resolve("heap.hprof");
        Program.shell(node.work(), "timeout 60 sh -c 'until " + condition + "; do sleep 0.2; done'")
                .run();
        Program.in(node.work(), JCMD.toString(), Long.toString(command.pid()), "GC.heap_dump", dump.toString())
                .run();
        byte[] heap = Files.readAllBytes(dump);
        assertTrue(
                ConfidentialityTest.contains(heap, node.data().toString().getBytes(StandardCharsets.US_ASCII)),
                "the search works: the client knows where the node is");
        return heap;
    }

    @ParameterizedTest
    @ValueSource(strings = {"SEGV", "ABRT"})
    void aCrashLeavesNothingBehind(String signal) throws Exception {
        try (TestNode node = TestNode.initialised(inScratch(NodeProgram.find()))) {
            List<byte[]> secrets = secretsOf(node);
            crash(node, signal);
            assertEquals(List.of(), files(scratch), "in the working directory");
            assertFalse(Files.exists(Path.of("/tmp/hs_err_pid" + node.process().pid() + ".log")));
            String log = node.process().log();
            assertFalse(log.contains("Register to memory mapping"), log);
            requireAbsent(secrets, log.getBytes(StandardCharsets.UTF_8), "the log");
        }
    }

    @Test
    void aReportOfACrashCanBeAskedFor() throws Exception {
        NodeProgram program = NodeProgram.find().withJavaOptions(List.of("-XX:ErrorFile=report"));
        try (TestNode node = TestNode.initialised(inScratch(program))) {
            crash(node, "SEGV");
            assertEquals(List.of("report"), files(scratch));
        }
    }

    /** With the scratch folder as its working directory, where core dumps would be made. */
    private NodeProgram inScratch(NodeProgram program) {
        return program.withPrefix(List.of("env", "-C", scratch.toString(), "prlimit", "--core=unlimited"));
    }

    private static void crash(TestNode node, String signal) throws Exception {
        node.start();
        Files.writeString(node.mount().resolve("file"), "content");
        node.process().sync();
        String limits = Files.readString(Path.of("/proc/" + node.process().pid() + "/limits"));
        assertTrue(limits.matches("(?s).*Max core file size +0 .*"), limits);
        node.process().signal(signal);
        assertNotEquals(0, node.process().awaitExit(COMMAND_TIMEOUT));
    }

    private static List<String> files(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).toList();
        }
    }

    private static Process start(TestNode node, Path output, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(node.directory().program().command());
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command)
                .redirectInput(Path.of("/dev/null").toFile())
                .redirectErrorStream(true)
                .redirectOutput(output.toFile())
                .start();
    }

    /** Runs a command; returns what it printed and all that others could see of its process meanwhile. */
    private static byte[] watch(TestNode node, String... arguments) throws Exception {
        Path output = Files.createTempFile(node.work(), "output", "");
        Process process = start(node, output, arguments);
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        long deadlineNanos = System.nanoTime() + COMMAND_TIMEOUT.toNanos();
        while (!process.waitFor(20, TimeUnit.MILLISECONDS)) {
            assertTrue(System.nanoTime() < deadlineNanos, () -> Arrays.toString(arguments));
            all.writeBytes(seen(process.pid()));
        }
        byte[] printed = Files.readAllBytes(output);
        assertEquals(0, process.exitValue(), () -> new String(printed, StandardCharsets.UTF_8));
        all.writeBytes(printed);
        assertTrue(
                ConfidentialityTest.contains(all.toByteArray(), arguments[0].getBytes(StandardCharsets.US_ASCII)),
                "the command line was seen");
        return all.toByteArray();
    }

    private static byte[] seen(long pid) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        for (String file : List.of("cmdline", "environ")) {
            try {
                all.writeBytes(Files.readAllBytes(Path.of("/proc", Long.toString(pid), file)));
            } catch (IOException e) {
                // it has ended
            }
        }
        return all.toByteArray();
    }

    /** The passphrase and the two private keys of the node, in the forms in which they may show. */
    private static List<byte[]> secretsOf(TestNode node) throws IOException {
        List<byte[]> secrets = new ArrayList<>();
        String passphrase = Files.readString(node.directory().passphraseFile()).strip();
        secrets.add(passphrase.getBytes(StandardCharsets.UTF_8));
        secrets.add(passphrase.getBytes(StandardCharsets.UTF_16LE));
        byte[] seeds = seedsOf(node.data().resolve("node.key"));
        for (int half = 0; half < 2; half++) {
            byte[] part = Arrays.copyOfRange(seeds, half * 32, half * 32 + 24);
            secrets.add(part);
            for (String text : List.of(
                    HexFormat.of().formatHex(part),
                    Base64.getEncoder().encodeToString(part),
                    Base64.getUrlEncoder().encodeToString(part))) {
                secrets.add(text.getBytes(StandardCharsets.US_ASCII));
            }
        }
        return secrets;
    }

    /** The 64 bytes of an unprotected key file (docs/format.md, section 2.2). */
    private static byte[] seedsOf(Path keyFile) throws IOException {
        String text = Files.readString(keyFile);
        String body = text.substring(text.indexOf("\n\n") + 2, text.indexOf("-----END"));
        byte[] encoded = Base64.getMimeDecoder().decode(body);
        byte[] field = {9 << 3 | 2, 64};
        int at = ConfidentialityTest.indexOf(encoded, field);
        assertTrue(at > 0, text);
        return Arrays.copyOfRange(encoded, at + field.length, at + field.length + 64);
    }

    private static void requireAbsent(List<byte[]> secrets, byte[] place, String name) {
        assertTrue(place.length > 0, name);
        for (int i = 0; i < secrets.size(); i++) {
            assertFalse(
                    ConfidentialityTest.contains(place, secrets.get(i)),
                    (i < 2 ? "the passphrase" : "a private key") + " in " + name);
        }
    }
}
