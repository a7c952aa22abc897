package blocktree.harness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlEvent;
import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
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

/** A node as its operators see it, from init to the end, with a kernel mount. */
@Timeout(180)
class NodeTest {
    private static final Duration SOON = Duration.ofSeconds(30);

    @TempDir
    Path folder;

    @SuppressWarnings("NullAway.Init") // set before each test
    private NodeDirectory directory;

    private Path mnt = Path.of("");

    @SuppressWarnings("NullAway.Init") // null until the test starts a node
    private NodeProcess running;

    @BeforeEach
    void prepare() throws Exception {
        directory = NodeDirectory.in(folder, NodeProgram.find());
        mnt = folder.resolve("mnt");
    }

    @AfterEach
    void end() {
        if (running != null) {
            running.close();
        }
    }

    private NodeProcess start(NodeOptions options) throws HarnessException {
        running = directory.start(options);
        return running;
    }

    private NodeProcess start() throws HarnessException {
        return start(NodeOptions.mountedOn(mnt));
    }

    @Test
    void keepsWhatIsWrittenFromOneRunToTheNext() throws Exception {
        directory.init();
        NodeProcess node = start();
        Files.writeString(mnt.resolve("file"), "content");
        assertEquals("content", Files.readString(mnt.resolve("file")));

        ControlReply.Status status = node.status();
        assertEquals("running", status.state());
        assertEquals(node.pid(), status.pid());
        assertEquals(mnt.toString(), status.mounts().get(0).mountPoint());
        CommandResult json = directory.status();
        assertEquals(0, json.exitCode());
        assertTrue(json.output().contains("\"pid\":" + node.pid()), json.output());
        assertTrue(json.output().contains("\"mount_point\":\"" + mnt + "\""), json.output());

        assertEquals(0, node.terminate());
        assertEquals(6, directory.status().exitCode());
        assertFalse(Files.exists(mnt.resolve("file")));
        assertEquals(
                "clean",
                node.awaitEvent("node_stopped", SOON)
                        .fields()
                        .keySet()
                        .iterator()
                        .next());

        start();
        assertEquals("content", Files.readString(mnt.resolve("file")));
    }

    @Test
    void keepsWhatWasSyncedWhenItIsKilledAndStartsAgainByItself() throws Exception {
        directory.init();
        start();
        Path file = mnt.resolve("file");
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap("synced".getBytes(StandardCharsets.UTF_8)));
            channel.force(true);
        }
        running.kill();
        assertEquals(137, running.exitCode().orElseThrow());

        start(); // over the mount point as the killed process has left it
        assertEquals("synced", Files.readString(file));
        CommandResult fsck = directory.fsck();
        assertEquals(0, fsck.exitCode(), fsck::toString);
        assertEquals(0, running.terminate());
        CommandResult offline = directory.fsck();
        assertEquals(0, offline.exitCode(), offline::toString);
        assertTrue(offline.output().contains("\"clean\":true"), offline.output());
    }

    @Test
    void aSecondNodeOnTheSameDirectoryIsRefused() throws Exception {
        directory.init();
        start();
        CommandResult second = directory.command("run", "--mount", folder.toString());
        assertEquals(5, second.exitCode());
        assertTrue(second.errors().contains("process " + running.pid() + " has it"), second.errors());
        assertEquals("running", running.status().state());
    }

    @Test
    void anUnusableMountPointIsNamedAndNothingStaysBehind() throws Exception {
        directory.init();
        Path missing = folder.resolve("missing");
        Path file = Files.createFile(folder.resolve("a file"));
        Path full = Files.createDirectory(folder.resolve("full"));
        Files.createFile(full.resolve("x"));
        for (Path wrong : List.of(missing, file, full, folder.resolve("data"), folder.resolve("data/tree"))) {
            CommandResult result = directory.command("run", "--mount", wrong.toString());
            assertEquals(4, result.exitCode(), result::toString);
            assertTrue(result.errors().contains(wrong.toString()), result.errors());
            assertTrue(result.errors().contains("  do:    "), result.errors());
        }
        start(); // the directory is not locked
        CommandResult busy = directory.command("mount", mnt.toString());
        assertEquals(4, busy.exitCode(), busy::toString);
    }

    @Test
    void endsWhenItsParentClosesTheControlStreamUnlessToldToStay() throws Exception {
        directory.init();
        start();
        Files.writeString(mnt.resolve("late"), "x");
        assertEquals(0, running.closeInput());
        assertFalse(Files.exists(mnt.resolve("late")));

        start(NodeOptions.mountedOn(mnt).withArguments("--stay"));
        assertThrows(HarnessException.class, () -> {
            running.process().getOutputStream().close();
            running.awaitExit(Duration.ofSeconds(2));
        });
        assertEquals("x", Files.readString(mnt.resolve("late")));
        assertEquals(0, directory.command("stop").exitCode());
        assertEquals(0, running.awaitExit(SOON));
    }

    @Test
    void endsWithItsParentAlsoWhenTheControlStreamHasBroken() throws Exception {
        directory.init();
        start();
        OutputStream toNode = running.process().getOutputStream();
        toNode.write(new byte[] {4, 0x12, 2, 8, 99}); // a hello of version 99
        toNode.flush();
        toNode.write(new byte[] {2, 0x1a, 0}); // status
        toNode.flush();
        assertEquals(0, running.awaitExit(SOON));
    }

    @Test
    void stopsInTimeWithZeroThoughFilesAreOpen() throws Exception {
        directory.init();
        start(NodeOptions.mountedOn(mnt).withArguments("--stop-timeout=6s"));
        try (OutputStream open = Files.newOutputStream(mnt.resolve("open"))) {
            open.write(1);
            assertEquals(0, running.terminate());
        } catch (IOException e) {
            // closing a file of a mount that is gone
        }
        start();
        assertEquals(1, Files.size(mnt.resolve("open")));
    }

    @Test
    void standsStillWhileItIsFrozenAndGoesOnAfterwards() throws Exception {
        directory.init();
        start();
        running.freeze();
        Process reader = new ProcessBuilder("ls", mnt.toString()).start();
        assertFalse(reader.waitFor(1, TimeUnit.SECONDS));
        running.thaw();
        assertEquals(0, reader.waitFor());
    }

    @Test
    void mountsPartsOfTheTreeWhileItRuns() throws Exception {
        directory.init();
        start();
        Files.createDirectories(mnt.resolve("a/b"));
        Files.writeString(mnt.resolve("a/b/file"), "x");
        Path part = Files.createDirectory(folder.resolve("part"));
        Path readOnly = Files.createDirectory(folder.resolve("read only"));
        running.mount(new ControlMount(part.toString(), false, false, "a/b", false));
        CommandResult mounted = directory.command("mount", readOnly.toString(), "--read-only", "--noexec");
        assertEquals(0, mounted.exitCode(), mounted::toString);
        assertTrue(Files.readString(Path.of("/proc/self/mounts"))
                .lines()
                .anyMatch(line -> line.contains("read\\040only") && line.contains("noexec")));

        assertEquals("x", Files.readString(part.resolve("file")));
        assertEquals("x", Files.readString(readOnly.resolve("a/b/file")));
        assertThrows(FileSystemException.class, () -> Files.createFile(readOnly.resolve("new")));
        Files.writeString(part.resolve("second"), "y");
        assertEquals("y", Files.readString(mnt.resolve("a/b/second")));

        HarnessException absent = assertThrows(
                HarnessException.class,
                () -> running.mount(new ControlMount(folder.resolve("mnt2").toString(), false, false, "none", false)));
        assertTrue(String.valueOf(absent.getMessage()).contains("--subtree"), absent.getMessage());

        CommandResult dots = directory.command("mount", folder.resolve("mnt2").toString(), "--subtree", "a/../a");
        assertEquals(2, dots.exitCode(), dots::toString);
        assertTrue(dots.errors().contains("without '.' and '..'"), dots.errors());

        try (InputStream open = Files.newInputStream(part.resolve("file"))) {
            CommandResult busy = directory.command("unmount", part.toString());
            assertEquals(4, busy.exitCode(), busy::toString);
            assertTrue(busy.errors().contains("--force"), busy.errors());
            assertEquals('x', open.read());
        }
        running.unmount(part, false);
        assertFalse(Files.exists(part.resolve("file")));
        Path link = Files.createSymbolicLink(folder.resolve("link"), readOnly);
        assertEquals(0, directory.command("unmount", link.toString()).exitCode());
        assertEquals(1, running.status().mounts().size());
        assertEquals(4, directory.command("unmount", readOnly.toString()).exitCode());
    }

    @Test
    void endsWithItsLastMountWhenToldTo() throws Exception {
        directory.init();
        start(NodeOptions.mountedOn(mnt).withArguments("--exit-on-unmount"));
        NodeDirectory.execute(List.of("fusermount", "-u", mnt.toString()), SOON).orThrow();
        assertEquals(0, running.awaitExit(SOON));
    }

    @Test
    void listsAndShowsSnapshots() throws Exception {
        directory.init();
        start();
        Files.writeString(mnt.resolve("file"), "before");
        assertEquals(0, directory.command("snapshot create", "first").exitCode());
        Files.writeString(mnt.resolve("file"), "after");

        assertEquals(
                List.of("first"),
                running.snapshots().stream().map(ControlReply.Snapshot::name).toList());
        assertTrue(directory.command("snapshot list", "--json").output().startsWith("{\"name\":\"first\",\"time\":\""));
        assertEquals("before", Files.readString(mnt.resolve(".snapshots/first/file")));
        assertEquals("after", Files.readString(mnt.resolve("file")));

        CommandResult twice = directory.command("snapshot create", "first");
        assertEquals(1, twice.exitCode(), twice::toString);
        assertTrue(twice.errors().contains("there is one of that name"), twice.errors());
        assertEquals(2, directory.command("snapshot create", "a/b").exitCode());
        CommandResult taken = directory.command("snapshot create", ".versions");
        assertEquals(2, taken.exitCode(), taken::toString);
        assertTrue(taken.errors().contains(".versions is taken"), taken.errors());
        running.createSnapshot("two\nlines");
        assertEquals(2, directory.command("snapshot list").lines().size());
        running.deleteSnapshot("two\nlines");
        assertEquals(0, directory.fsck().exitCode());
        assertEquals(
                2,
                running.events().stream()
                        .filter(e -> e.name().equals("snapshot_created"))
                        .count(),
                () -> "a check tells of its own snapshots: " + running.log());
        running.deleteSnapshot("first");
        assertEquals(List.of(), running.snapshots());
        assertEquals(1, directory.command("snapshot delete", "first").exitCode());
    }

    @Test
    void aNodeKeyUnderThePassphraseNeedsIt() throws Exception {
        directory.init("--node-key=passphrase");
        CommandResult without = directory.command("run");
        assertEquals(3, without.exitCode(), without::toString);
        assertTrue(without.errors().contains("--passphrase-file"), without.errors());
        Path wrong = folder.resolve("wrong");
        Files.createFile(wrong, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        Files.writeString(wrong, "guess\n");
        CommandResult refused = directory.command("run", "--passphrase-file", wrong.toString());
        assertEquals(3, refused.exitCode(), refused::toString);
        assertFalse(refused.errors().contains("guess"));

        start(NodeOptions.mountedOn(mnt)
                .withArguments("--passphrase-file", directory.passphraseFile().toString()));
        assertEquals("running", running.status().state());
        // Nothing of the passphrase is where others could look.
        for (String name : List.of("cmdline", "environ")) {
            assertFalse(Files.readString(Path.of("/proc/" + running.pid() + "/" + name), StandardCharsets.ISO_8859_1)
                    .contains("correct"));
        }
        assertFalse(running.log().contains("correct"));
        assertEquals(0, running.terminate());
        CommandResult fsck = directory.fsck();
        assertEquals(0, fsck.exitCode(), fsck::toString);
    }

    @Test
    void takesTheNodeKeyFromTheServiceManagerAndTellsItWhenItIsReady() throws Exception {
        Path credentials = Files.createDirectory(folder.resolve("credentials"));
        directory.init(
                "--node-key=credential",
                "--node-key-path",
                credentials.resolve("btnode-node-key").toString());
        CommandResult without = directory.command("run");
        assertEquals(9, without.exitCode(), without::toString);
        assertTrue(without.errors().contains("LoadCredentialEncrypted"), without.errors());

        Path notify = folder.resolve("notify");
        Process supervisor = new ProcessBuilder("python3", "-c", """
                        import socket, sys
                        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                        s.bind(sys.argv[1])
                        print("bound", flush=True)
                        while True:
                            print(s.recv(1000).decode().replace("\\n", " "), flush=True)
                        """, notify.toString())
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        try (var told = supervisor.inputReader()) {
            assertEquals("bound", told.readLine());
            start(NodeOptions.mountedOn(mnt)
                    .withEnvironment(Map.of(
                            "CREDENTIALS_DIRECTORY",
                            credentials.toString(),
                            "NOTIFY_SOCKET",
                            notify.toString(),
                            "WATCHDOG_USEC",
                            "300000")));
            assertEquals("READY=1 STATUS=mounted on " + mnt, told.readLine());
            for (int i = 0; i < 3; i++) {
                assertEquals("WATCHDOG=1", told.readLine());
            }
            assertEquals(0, running.terminate());
            assertTrue(
                    told.lines().anyMatch("STOPPING=1 STATUS=writing everything to disk"::equals),
                    "it says that it stops");
        } finally {
            supervisor.destroy();
        }
    }

    @Test
    void itsControlSocketIsForItsUserOnlyAlsoWhereThePathIsLong() throws Exception {
        directory.init();
        start();
        Path socket = directory.data().resolve("control.sock");
        assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)));
        assertEquals(0, running.terminate());
        assertFalse(Files.exists(socket));

        Path deep = folder.resolve("d".repeat(100)).resolve("e".repeat(100));
        directory = NodeDirectory.in(deep, NodeProgram.find()).init();
        start();
        assertEquals(0, directory.status().exitCode());
        socket = Path.of(
                Files.readString(directory.data().resolve("control.path")).strip());
        assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(socket.getParent())));
        assertEquals(0, running.terminate());
        assertFalse(Files.exists(socket.getParent()));
        assertFalse(Files.exists(directory.data().resolve("control.path")));
    }

    @Test
    void itsClientsNeedNoConfigurationAndAreToldWhenItStandsStill() throws Exception {
        directory.init();
        start();
        Path configuration = directory.data().resolve("btnode.conf");
        Files.writeString(configuration, "no line of a configuration\n");
        assertEquals(0, directory.status().exitCode());
        assertEquals(0, directory.command("snapshot list").exitCode());

        running.freeze();
        long startNanos = System.nanoTime();
        CommandResult frozen = directory.status();
        assertEquals(11, frozen.exitCode(), frozen::toString);
        assertTrue(frozen.errors().contains("kill -CONT"), frozen.errors());
        assertTrue(Duration.ofNanos(System.nanoTime() - startNanos).toSeconds() < 12);
        running.thaw();
        assertEquals(0, running.terminate());
        assertEquals(6, directory.status().exitCode());
    }

    @Test
    void logsOneJsonObjectALineWhenAskedTo() throws Exception {
        directory.init();
        start(NodeOptions.mountedOn(mnt).withArguments("--log-format=json"));
        ControlEvent ready = running.awaitEvent("node_ready", SOON);
        assertEquals(mnt.toString(), ready.fields().get("mount"));
        assertEquals(0, running.terminate());
        CommandResult parsed = NodeDirectory.execute(
                List.of(
                        "python3",
                        "-c",
                        "import json, sys\nfor line in open(sys.argv[1]): print(json.loads(line)['event'])",
                        directory.log().toString()),
                SOON);
        assertEquals(0, parsed.exitCode(), parsed::toString);
        assertEquals("node_starting", parsed.lines().get(0));
        assertEquals("node_stopped", parsed.lines().get(parsed.lines().size() - 1));
    }

    @Test
    void aNodeThatDoesNotStartIsReportedWithItsLog() throws Exception {
        directory.init();
        HarnessException e = assertThrows(
                HarnessException.class, () -> start(NodeOptions.defaults().withArguments("--retention=soon")));
        assertTrue(String.valueOf(e.getMessage()).contains("exit code 2"), e.getMessage());
        assertTrue(String.valueOf(e.getMessage()).contains("'soon' is not a number"), e.getMessage());
    }

    @Test
    void asksForThePassphraseTwiceAndShowsNothingOfIt() throws Exception {
        List<String> command = new ArrayList<>(List.of("python3", "-c", """
                import os, pty, sys
                pid, terminal = pty.fork()
                if pid == 0:
                    os.execvp(sys.argv[1], sys.argv[1:])
                shown = b''
                for prompt in (b'root key: ', b'again: '):
                    while not shown.endswith(prompt):
                        shown += os.read(terminal, 1000)
                    os.write(terminal, b'typed secret\\n')
                try:
                    while True:
                        shown += os.read(terminal, 1000)
                except OSError:
                    pass
                print(shown.decode())
                sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                """));
        command.addAll(directory.program().command());
        command.addAll(List.of("init", "--data-dir", directory.data().toString()));
        CommandResult result = NodeDirectory.execute(command, SOON).orThrow();
        assertTrue(result.output().contains("Made a tree"), result.output());
        assertFalse(result.output().contains("typed secret"), result.output());

        Files.writeString(directory.passphraseFile(), "typed secret\n");
        assertEquals(0, directory.fsck().exitCode());
    }
}
