package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.harness.CommandResult;
import blocktree.harness.HarnessException;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeOptions;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What who runs a node does with it: keep its keys, configure it, look at it. */
class OperatorTest {
    private static final int EXIT_FAILED = 1;
    private static final int EXIT_WRONG_PASSPHRASE = 3;
    private static final int EXIT_ALREADY_RUNNING = 5;
    private static final int EXIT_BAD_CONFIGURATION = 8;
    private static final int EXIT_BAD_KEY_FILE = 9;

    // ---- keys

    @Test
    void aBackupIsRehearsedBesideANodeThatWrites() throws Exception {
        try (TestNode node = TestNode.started()) {
            Path backup = backup(node);
            AtomicBoolean done = new AtomicBoolean();
            Thread writer = new Thread(() -> {
                for (int i = 0; !done.get(); i++) {
                    try {
                        Files.write(node.mount().resolve("file" + i % 50), new byte[100_000]);
                    } catch (IOException e) {
                        return;
                    }
                }
            });
            writer.start();
            try {
                for (int i = 0; i < 5; i++) {
                    key(node, "verify-backup", backup.toString()).orThrow();
                }
            } finally {
                done.set(true);
                writer.join();
            }
            node.requireCleanFsck();
        }
    }

    @Test
    void aBackupThatSurvivedMailAndPrinterGivesBackBothKeys() throws Exception {
        try (TestNode node = TestNode.started()) {
            Files.writeString(node.mount().resolve("file"), "content");
            Path backup = backup(node);
            node.stop();
            Path mailed = Files.writeString(
                    node.work().resolve("mailed.txt"),
                    "Hello,\r\n\r\n> > " + Files.readString(backup).replace("\n", "  \r\n> > ") + "\r\n-- \r\nMe");
            Path nodeKey = node.data().resolve("node.key");
            Path rootKey = node.data().resolve("root.key");
            byte[] before = Files.readAllBytes(nodeKey);
            Files.delete(nodeKey);
            Files.delete(rootKey);

            assertEquals(EXIT_BAD_KEY_FILE, node.directory().command("fsck").exitCode());
            key(node, "restore", mailed.toString()).orThrow();
            assertArrayEquals(before, Files.readAllBytes(nodeKey));
            assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(nodeKey)));
            node.requireCleanOfflineFsck(); // which opens the root key too
            node.start();
            assertEquals("content", Files.readString(node.mount().resolve("file")));
            assertTrue(
                    key(node, "restore", mailed.toString()).orThrow().output().contains("already"),
                    "a key that is there is kept");
        }
    }

    @Test
    void aBackupThatIsNoGoodIsToldApart() throws Exception {
        try (TestNode node = TestNode.initialised();
                TestNode other = TestNode.initialised()) {
            Path backup = backup(node);
            String text = Files.readString(backup);
            Path damaged = node.work().resolve("damaged.txt");
            int place = text.lastIndexOf("-----END") - 20;
            Files.writeString(
                    damaged,
                    text.substring(0, place) + (text.charAt(place) == 'A' ? 'B' : 'A') + text.substring(place + 1));
            assertEquals(
                    EXIT_BAD_KEY_FILE,
                    key(node, "verify-backup", damaged.toString()).exitCode());
            Path cut = Files.writeString(node.work().resolve("cut.txt"), text.substring(0, text.length() / 2));
            assertEquals(
                    EXIT_BAD_KEY_FILE,
                    key(node, "verify-backup", cut.toString()).exitCode());
            Path wrong = Files.writeString(node.work().resolve("wrong"), "not it\n");
            assertEquals(
                    EXIT_WRONG_PASSPHRASE,
                    node.directory()
                            .command("key verify-backup", backup.toString(), "--passphrase-file", wrong.toString())
                            .exitCode());
            assertFalse(text.contains("correct horse"), "no passphrase in it");

            // All test nodes are copies of one tree: another tree has to be made.
            Path foreign = Files.createDirectory(other.work().resolve("foreign"));
            NodeDirectory elsewhere =
                    NodeDirectory.in(foreign, node.directory().program()).init();
            CommandResult refused = elsewhere.command(
                    "key verify-backup",
                    backup.toString(),
                    "--passphrase-file",
                    elsewhere.passphraseFile().toString());
            assertEquals(EXIT_BAD_KEY_FILE, refused.exitCode(), refused.errors());
            assertTrue(refused.errors().contains("it is of the tree"), refused.errors());
        }
    }

    @Test
    void theNewPassphraseCountsAndTheOldDoesNot() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            Path fresh = Files.writeString(node.work().resolve("fresh"), "another one\n");
            Files.setPosixFilePermissions(fresh, PosixFilePermissions.fromString("rw-------"));
            Path old = backup(node);
            key(node, "passphrase", "--new-passphrase-file", fresh.toString()).orThrow();
            assertEquals(EXIT_WRONG_PASSPHRASE, node.directory().fsck().exitCode());
            assertEquals(
                    0,
                    node.directory()
                            .command("fsck", "--passphrase-file", fresh.toString())
                            .exitCode());
            key(node, "verify-backup", old.toString()).orThrow(); // as it was made
        }
    }

    /** A node has read its keys when it started; a rotation, which would be undone by whoever writes the old key again, has the directory for itself. */
    @Test
    void keyFilesAreWrittenBesideANodeAndNotBesideAnybodyElse() throws Exception {
        try (TestNode node = TestNode.started()) {
            String backup = backup(node).toString();
            Path rootKey = node.data().resolve("root.key");
            Files.delete(rootKey);
            key(node, "restore", backup).orThrow();
            assertTrue(Files.exists(rootKey));
            String same = node.directory().passphraseFile().toString();
            String unchanged = key(node, "passphrase", "--new-passphrase-file", same, "--json")
                    .orThrow()
                    .output();
            assertEquals("{\"changed\":[]}", unchanged.strip());
            node.stop();
            try (FileChannel lock = FileChannel.open(node.data().resolve("lock"), StandardOpenOption.WRITE)) {
                assertNotNull(lock.tryLock());
                for (CommandResult refused :
                        List.of(key(node, "restore", backup), key(node, "passphrase", "--new-passphrase-file", same))) {
                    assertEquals(EXIT_ALREADY_RUNNING, refused.exitCode(), refused.errors());
                }
            }
            key(node, "passphrase", "--new-passphrase-file", same).orThrow();
        }
    }

    private static Path backup(TestNode node) throws HarnessException {
        Path backup = node.work().resolve("backup.txt");
        key(node, "backup", backup.toString()).orThrow();
        return backup;
    }

    private static CommandResult key(TestNode node, String command, String... arguments) throws HarnessException {
        String[] all = Stream.concat(
                        Arrays.stream(arguments),
                        Stream.of(
                                "--passphrase-file",
                                node.directory().passphraseFile().toString()))
                .toArray(String[]::new);
        return node.directory().command("key " + command, all);
    }

    // ---- configuration

    @Test
    void aNodeRunsAsItsFileSays() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            Path other = Files.createDirectory(node.work().resolve("other"));
            Path file = Files.writeString(node.work().resolve("btnode.toml"), """
                    data_dir = "data"
                    retention = "9d"
                    metrics = "127.0.0.1:0"

                    [[mount]]
                    path = "mount"

                    [[mount]]
                    path = "other"
                    read_only = true
                    """);
            Files.createDirectories(node.mount());
            node.with(NodeOptions.defaults().withArguments("--config", file.toString()))
                    .start();
            Files.writeString(node.mount().resolve("file"), "content");
            assertEquals("content", Files.readString(other.resolve("file")));
            assertFalse(Files.isWritable(other));
            String shown = node.directory()
                    .command("config show", "--config", file.toString())
                    .orThrow()
                    .output();
            assertTrue(shown.contains("retention = \"9d\"") && shown.contains(file + ":2"), shown);
            node.stop();
        }
    }

    @Test
    void aWrongFileIsToldWithItsLinesBeforeAnythingStarts() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            Path file =
                    Files.writeString(node.work().resolve("btnode.toml"), "retention = \"9d\"\nlog_levle = \"info\"\n");
            for (String command : List.of("run", "config check", "fsck")) {
                CommandResult refused = node.directory().command(command, "--config", file.toString());
                assertEquals(EXIT_BAD_CONFIGURATION, refused.exitCode(), command);
                assertTrue(
                        refused.errors()
                                .contains("line 2, column 1: unknown key 'log_levle'; did you mean 'log_level'?"),
                        refused.errors());
            }
        }
    }

    // ---- looking at it

    @Test
    void metricsAndHealthAreServed() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            node.withArguments("--metrics", "127.0.0.1:0").start();
            String address = String.valueOf(node.process()
                    .awaitEvent("metrics_listening", Duration.ofSeconds(10))
                    .fields()
                    .get("address"));
            Files.writeString(node.mount().resolve("file"), "content");
            node.process().sync();
            String metrics = get(address, "/metrics").body();
            for (String line : List.of(
                    "btnode_ready 1.0",
                    "btnode_request_seconds_count{operation=\"create\"} 1",
                    "btnode_request_seconds_bucket{operation=\"write\",le=\"+Inf\"} 1",
                    "btnode_verification_failures_total 0.0")) {
                assertTrue(metrics.lines().anyMatch(line::equals), () -> line + " is not in\n" + metrics);
            }
            assertTrue(metrics.contains("jvm_gc_collection_seconds"), metrics);
            assertTrue(metrics.contains("process_resident_memory_bytes"), metrics);
            assertFalse(metrics.contains("file\""), "no names");
            assertEquals(200, get(address, "/health").statusCode());
            assertEquals(200, get(address, "/health/live").statusCode());
            assertEquals(
                    "{\"live\":true,\"ready\":true,\"state\":\"running\"}\n",
                    get(address, "/health/ready").body());
            assertEquals(404, get(address, "/").statusCode());
            assertEquals(
                    405,
                    HttpClient.newHttpClient()
                            .send(
                                    HttpRequest.newBuilder(URI.create("http://" + address + "/metrics"))
                                            .POST(HttpRequest.BodyPublishers.ofString("x"))
                                            .build(),
                                    HttpResponse.BodyHandlers.ofString())
                            .statusCode());
        }
    }

    @Test
    void anAddressThatIsTakenCostsTheMetricsOnly() throws Exception {
        try (TestNode node = TestNode.initialised();
                ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            node.withArguments("--metrics", "127.0.0.1:" + taken.getLocalPort()).start();
            node.process().awaitEvent("metrics_refused", Duration.ofSeconds(10));
            Files.writeString(node.mount().resolve("file"), "content");
        }
    }

    private static HttpResponse<String> get(String address, String path) throws Exception {
        return HttpClient.newHttpClient()
                .send(
                        HttpRequest.newBuilder(URI.create("http://" + address + path))
                                .build(),
                        HttpResponse.BodyHandlers.ofString());
    }

    @Test
    void topShowsWhatTheNodeDoes() throws Exception {
        try (TestNode node = TestNode.started()) {
            AtomicBoolean done = new AtomicBoolean();
            Thread writer = new Thread(() -> {
                while (!done.get()) {
                    try {
                        Files.writeString(node.mount().resolve("file"), "content");
                    } catch (IOException e) {
                        return;
                    }
                }
            });
            writer.start();
            try {
                List<String> rounds = node.directory()
                        .command("top", "--interval", "300ms", "--count", "2", "--json")
                        .orThrow()
                        .lines();
                assertEquals(2, rounds.size());
                assertTrue(rounds.get(1).contains("{\"name\":\"fuse.write\",\"per_second\":"), rounds.get(1));
                String text = node.directory()
                        .command("top", "--interval", "300ms", "--count", "1")
                        .orThrow()
                        .output();
                assertTrue(text.contains("fuse.write") && text.contains("to be written"), text);
                assertFalse(text.contains("\033"), "no control characters where nobody watches");
            } finally {
                done.set(true);
                writer.join();
            }
        }
    }

    @Test
    void theDoctorFindsWhatIsInTheWayAndSaysHowToMendIt() throws Exception {
        try (TestNode node = TestNode.started()) {
            CommandResult well = node.directory().command("doctor");
            assertEquals(0, well.exitCode(), well.output());
            assertTrue(well.output().contains("ok    node"), well.output());
            node.stop();
            Path full = Files.createDirectory(node.work().resolve("full"));
            Files.writeString(full.resolve("something"), "x");
            Files.setPosixFilePermissions(
                    node.data().resolve("node.key"), PosixFilePermissions.fromString("rw-r--r--"));
            Path file = Files.writeString(
                    node.work().resolve("btnode.toml"), "data_dir = \"data\"\n[[mount]]\npath = \"full\"\n");
            CommandResult ill = node.directory().command("doctor", "--config", file.toString());
            assertEquals(EXIT_FAILED, ill.exitCode());
            assertTrue(ill.output().contains("FAIL  mount point"), ill.output());
            assertTrue(ill.output().contains("FAIL  node key"), ill.output());
            String json = node.directory()
                    .command("doctor", "--config", file.toString(), "--json")
                    .output();
            assertTrue(json.contains("\"verdict\":\"fail\",\"subject\":\"mount point\""), json);
        }
    }

    @Test
    void ofSeveralInitsAtOnceOneMakesTheNodeAndTheOthersTouchNothing() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            String init = String.join(" ", node.directory().program().command())
                    + " init --data-dir fresh/data --passphrase-file <(echo correct horse)";
            for (int round = 0; round < 3; round++) {
                String codes = Program.shell(
                                node.work(),
                                "for i in 1 2 3; do (" + init + " > said.$i 2>&1 && echo 0 || echo $?) & done; wait")
                        .run();
                List<String> each = codes.lines().sorted().toList();
                assertEquals("0", each.get(0), codes);
                assertTrue(each.subList(1, 3).stream().allMatch(code -> code.matches("[58]")), codes);
                assertEquals(
                        "anchor btnode.conf node.key root.key tree",
                        Program.shell(node.work(), "echo $(ls -A fresh/data)")
                                .run()
                                .strip());
                String fsck = String.join(" ", node.directory().program().command())
                        + " fsck --data-dir fresh/data --passphrase-file <(echo correct horse); rm -r fresh";
                Program.shell(node.work(), fsck).run();
            }
        }
    }

    @Test
    void pathsNamesWhereEverythingIs() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            String text = node.directory().command("paths").orThrow().output();
            assertTrue(text.contains("store           " + node.data().resolve("tree")), text);
            assertTrue(text.contains("/btnode.toml"), text);
        }
    }

    @Test
    void aResultThatCouldNotBePrintedIsNoSuccess() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            String paths = String.join(" ", node.directory().program().command()) + " paths --data-dir data";
            Program.Result full =
                    Program.shell(node.work(), paths + " > /dev/full").result();
            assertEquals(EXIT_FAILED, full.exitCode(), full.output());
            assertTrue(full.output().contains("failed to print the result"), full.output());
            assertTrue(full.output().contains("found: No space left on device"), full.output());
            Program.Result closed = Program.shell(node.work(), paths + " >&-").result();
            assertEquals(EXIT_FAILED, closed.exitCode(), closed.output());
            assertEquals("", Program.shell(node.work(), paths + " | true").run(), "a reader may end when it likes");
        }
    }

    @Test
    void whoWatchesIsToldWhatIsWaitedFor() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            node.withArguments("--stop-timeout", "12s").start();
            String program = String.join(" ", node.directory().program().command());
            String unmount = program + " unmount mount --data-dir data";
            String stop = program + " stop --data-dir data";
            Files.createFile(node.mount().resolve("busy"));
            String seen = Program.shell(
                            node.work(),
                            "exec 3< mount/busy; (" + unmount + " > quiet 2>&1; true) & script -qc '" + unmount
                                    + "' /dev/null || true; wait; script -qc '" + stop + "' /dev/null")
                    .run();
            assertTrue(seen.contains("\r\033[Kwaiting for the node  2 s\r\033[K"), seen);
            assertTrue(seen.contains("\r\033[Kwaiting for the node to end  2 s\r\033[K"), seen);
            String quiet = Files.readString(node.work().resolve("quiet"));
            assertTrue(quiet.contains("found:") && !quiet.contains("waiting for the node"), quiet);
        }
    }

    @Test
    void helpFitsTheTerminal() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            String help = String.join(" ", node.directory().program().command()) + " run --help";
            String narrow = Program.shell(node.work(), "script -qc 'stty cols 60; " + help + "' /dev/null")
                    .run();
            narrow.replaceAll("\033\\[[0-9;]*m", "")
                    .lines()
                    .forEach(line -> assertTrue(line.stripTrailing().length() <= 60, line));
        }
    }

    @Test
    void topEndsWithItsReader() throws Exception {
        try (TestNode node = TestNode.started()) {
            String top = String.join(" ", node.directory().program().command())
                    + " top --data-dir data --interval 100ms | head -n 1";
            assertTrue(Program.shell(node.work(), "timeout 60 " + top).run().contains("running"));
        }
    }
}
