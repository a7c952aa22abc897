package blocktree.harness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The programs in bin, laid out as a package would install them, under a path with a space. */
@Timeout(180)
class ScriptsTest {
    private static final Duration SOON = Duration.ofMinutes(2);

    @TempDir
    Path temporary;

    private Path root = Path.of("");
    private Path btnode = Path.of("");
    private Path data = Path.of("");
    private Path mnt = Path.of("");
    private Path passphrase = Path.of("");

    @BeforeEach
    void install() throws Exception {
        root = Path.of("..").toRealPath();
        Path installed = Files.createDirectories(temporary.resolve("installed here/bin"));
        for (String name : List.of("btnode", "btnode-quickstart", "btnode-harness")) {
            Files.copy(root.resolve("bin").resolve(name), installed.resolve(name), StandardCopyOption.COPY_ATTRIBUTES);
        }
        Files.createSymbolicLink(installed.resolveSibling("lib"), root.resolve("node-daemon/target/dist/lib"));
        btnode = installed.resolve("btnode");
        data = temporary.resolve("the data");
        mnt = Files.createDirectory(temporary.resolve("the tree"));
        passphrase = Files.writeString(temporary.resolve("pass phrase"), "correct\n");
    }

    @AfterEach
    void unmount() throws Exception {
        run(Map.of(), btnode.toString(), "stop", "--data-dir", data.toString());
        run(Map.of(), "fusermount", "-u", "-z", "-q", mnt.toString());
    }

    @Test
    void theProgramRunsAsDocumented() throws Exception {
        run(
                        Map.of(),
                        btnode.toString(),
                        "init",
                        "--data-dir",
                        data.toString(),
                        "--passphrase-file",
                        passphrase.toString())
                .orThrow();
        NodeDirectory directory =
                new NodeDirectory(NodeProgram.ofScript(btnode), data, passphrase, temporary.resolve("node.log"));
        try (NodeProcess node = directory.start(mnt)) {
            Files.writeString(mnt.resolve("file"), "x");
            assertEquals(node.pid(), node.status().pid()); // the script has become the node
            CommandResult status = directory.status();
            assertEquals(0, status.exitCode(), status::toString);
            assertEquals("", status.errors());
            assertTrue(status.output().startsWith("{\"state\":\"running\""), status.output());
            assertEquals(0, node.terminate());
        }
    }

    @Test
    void pathsInAnyLettersSurviveTheLocale() throws Exception {
        CommandResult made = run(
                Map.of("LC_ALL", "C", "BTNODE", btnode.toString(), "P", passphrase.toString()),
                "bash",
                "-c",
                "cd \"$0\" && \"$BTNODE\" init --data-dir $'d\\xc3\\xa4t\\xe2\\x82\\xac' --passphrase-file \"$P\""
                        + " && test -f $'d\\xc3\\xa4t\\xe2\\x82\\xac/root.key'",
                temporary.toString());
        assertEquals(0, made.exitCode(), made::toString);
        assertTrue(made.output().contains("d\u00e4t\u20ac"), made.output());
    }

    @Test
    void itRunsInADirectoryThatIsGone() throws Exception {
        CommandResult version = run(
                Map.of("BTNODE", btnode.toString()),
                "bash",
                "-c",
                "mkdir \"$0/gone\" && cd \"$0/gone\" && rmdir \"$0/gone\" && \"$BTNODE\" version",
                temporary.toString());
        assertEquals(0, version.exitCode(), version::toString);
        assertTrue(version.output().startsWith("btnode "), version.output());
    }

    @Test
    void theMountHelperStartsANodeThatEndsWithItsMount() throws Exception {
        run(
                        Map.of(),
                        btnode.toString(),
                        "init",
                        "--data-dir",
                        data.toString(),
                        "--passphrase-file",
                        passphrase.toString())
                .orThrow();
        String helper = root.resolve("node-daemon/src/main/dist/mount.btnode").toString();
        Map<String, String> environment = Map.of("BTNODE", btnode.toString());
        // As mount(8) calls it.
        run(
                        environment,
                        "/usr/bin/env",
                        "-u",
                        "PATH",
                        helper,
                        data.toString(),
                        mnt.toString(),
                        "-o",
                        "rw,nofail,show_snapshots")
                .orThrow();
        Files.writeString(mnt.resolve("file"), "x");
        Path second = Files.createDirectory(temporary.resolve("second"));
        CommandResult unknown = run(environment, helper, data.toString(), second.toString(), "-o", "ro,sync");
        assertEquals(1, unknown.exitCode(), unknown::toString);
        assertTrue(unknown.errors().contains("unknown option 'sync'"), unknown.errors());
        assertEquals(1, run(environment, helper, data.toString()).exitCode());
        CommandResult busy = run(environment, helper, data.toString(), mnt.toString(), "-o", "ro");
        assertEquals(32, busy.exitCode(), busy::toString);
        assertTrue(busy.errors().contains("is in use as a mount point"), busy.errors());
        run(environment, helper, data.toString(), second.toString(), "-sn", "-o", "ro,noexec,sync")
                .orThrow();
        assertEquals("x", Files.readString(second.resolve("file")));
        assertTrue(Files.readString(Path.of("/proc/self/mounts"))
                .lines()
                .anyMatch(line -> line.contains(second.toString()) && line.contains("noexec")));

        run(Map.of(), "fusermount", "-u", second.toString()).orThrow();
        run(Map.of(), "fusermount", "-u", mnt.toString()).orThrow();
        awaitStopped();
        CommandResult failed = run(
                environment, helper, data.toString(), temporary.resolve("none").toString(), "-o", "rw");
        assertEquals(32, failed.exitCode(), failed::toString);
        assertTrue(failed.errors().contains("exit code 4"), failed.errors());
        assertTrue(failed.errors().contains("btnode: failed to"), "why, from the node: " + failed.errors());
    }

    @Test
    void theQuickstartEndsWithATreeInUseAndCanBeRunAgain() throws Exception {
        String quickstart = btnode.resolveSibling("btnode-quickstart").toString();
        for (int round = 0; round < 2; round++) {
            CommandResult result = run(Map.of(), quickstart, "--data-dir", data.toString(), "--mount", mnt.toString());
            assertEquals(0, result.exitCode(), result::toString);
            assertTrue(result.output().contains("hello.txt: Hello from Blocktree"), result.output());
            assertEquals("Hello from Blocktree\n", Files.readString(mnt.resolve("hello.txt")));
        }
        assertTrue(Files.exists(data.resolveSibling("the data.passphrase")));
    }

    @Test
    void theHarnessOfScriptsDrivesANode() throws Exception {
        Path folder = temporary.resolve("node one");
        String harness = btnode.resolveSibling("btnode-harness").toString();
        try {
            run(Map.of(), harness, "init", folder.toString()).orThrow();
            CommandResult started =
                    run(Map.of(), harness, "start", folder.toString()).orThrow();
            assertTrue(started.output().contains("\"event\":\"node_ready\""), started.output());
            Files.writeString(folder.resolve("mnt/file"), "x");
            run(Map.of(), "sync", folder.resolve("mnt/file").toString()).orThrow();
            run(Map.of(), harness, "freeze", folder.toString()).orThrow();
            run(Map.of(), harness, "thaw", folder.toString()).orThrow();
            run(Map.of(), harness, "kill", folder.toString()).orThrow();
            run(Map.of(), harness, "start", folder.toString()).orThrow();
            assertEquals("x", Files.readString(folder.resolve("mnt/file")));
            run(Map.of(), harness, "command", folder.toString(), "status", "--json")
                    .orThrow();
            CommandResult stopped =
                    run(Map.of(), harness, "stop", folder.toString()).orThrow();
            assertTrue(stopped.output().contains("\"clean\":true"), stopped.output());
        } finally {
            run(Map.of(), harness, "kill", folder.toString());
            run(Map.of(), "fusermount", "-u", "-z", "-q", folder.resolve("mnt").toString());
        }
    }

    private void awaitStopped() throws Exception {
        long deadlineNanos = System.nanoTime() + SOON.toNanos();
        while (run(Map.of(), btnode.toString(), "status", "--data-dir", data.toString())
                        .exitCode()
                != 6) {
            assertFalse(System.nanoTime() > deadlineNanos, "still running");
        }
    }

    private static CommandResult run(Map<String, String> environment, String... command) throws Exception {
        Path output = Files.createTempFile("scripts-test", ".out");
        Path errors = Files.createTempFile("scripts-test", ".err");
        try {
            ProcessBuilder builder = new ProcessBuilder(new ArrayList<>(List.of(command)))
                    .redirectInput(Path.of("/dev/null").toFile())
                    .redirectOutput(output.toFile())
                    .redirectError(errors.toFile());
            builder.environment().putAll(environment);
            Process process = builder.start();
            if (!process.waitFor(SOON.toSeconds(), TimeUnit.SECONDS)) {
                process.destroyForcibly();
                throw new IOException("not done in time: " + String.join(" ", command));
            }
            return new CommandResult(process.exitValue(), Files.readString(output), Files.readString(errors));
        } finally {
            Files.delete(output);
            Files.delete(errors);
        }
    }
}
