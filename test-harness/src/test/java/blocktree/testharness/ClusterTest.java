package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlReply;
import blocktree.harness.CommandResult;
import blocktree.harness.NodeCluster;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import blocktree.testharness.program.Program;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** One tree on three nodes: processes, sockets, mounts, SIGKILL. */
@Timeout(300)
class ClusterTest {
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final Duration FAIL_OVER = Duration.ofSeconds(8);

    @TempDir
    Path folder;

    private NodeCluster cluster;

    @BeforeEach
    void startThree() throws Exception {
        Program.require("fusermount");
        cluster = NodeCluster.start(folder, NodeProgram.find(), 3);
    }

    @AfterEach
    void stop() {
        cluster.close();
    }

    private Path mount(int node) {
        return folder.resolve("mount" + node);
    }

    private static void writeDurably(Path file, byte[] content) throws Exception {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(content));
            channel.force(true);
        }
    }

    private void requireSameEverywhere(Map<String, byte[]> written) throws Exception {
        cluster.awaitSameLog(PATIENCE);
        for (int i = 0; i < cluster.size(); i++) {
            if (cluster.isRunning(i)) {
                assertEquals(0, cluster.node(i).terminate());
            }
        }
        for (int i = 0; i < cluster.size(); i++) {
            CommandResult check = cluster.directory(i).fsck();
            assertEquals(0, check.exitCode(), () -> check.output() + check.errors());
            // What is there is read without the others.
            Path mount = mount(i);
            try (NodeProcess alone =
                    cluster.directory(i).start(NodeOptions.mountedOn(mount).withArguments("--read-only"))) {
                for (Map.Entry<String, byte[]> file : written.entrySet()) {
                    assertEquals(
                            new String(file.getValue(), StandardCharsets.UTF_8),
                            Files.readString(mount.resolve(file.getKey())),
                            "node " + i);
                }
            }
        }
    }

    @Test
    void whatTheLeaderAcknowledgedBeforeItWasKilledIsOnAllNodes() throws Exception {
        Map<String, byte[]> written = new TreeMap<>();
        for (int round = 0; round < 2; round++) {
            int leader = cluster.awaitLeader(FAIL_OVER);
            if (round == 0) {
                // The first who leads goes in order, and another leads then.
                assertEquals(0, cluster.node(leader).terminate());
                leader = cluster.awaitLeader(FAIL_OVER);
            }
            mountOn(leader);
            for (int i = 0; i < 20; i++) {
                String name = "file-" + round + "-" + i;
                byte[] content = ("round " + round + ", file " + i).getBytes(StandardCharsets.UTF_8);
                writeDurably(mount(leader).resolve(name), content);
                written.put(name, content);
            }
            int other = (leader + 1) % cluster.size();
            mountOn(other);
            for (Map.Entry<String, byte[]> file : written.entrySet()) {
                assertEquals(
                        new String(file.getValue(), StandardCharsets.UTF_8),
                        Files.readString(mount(other).resolve(file.getKey())));
            }
            Files.writeString(mount(other).resolve("shared"), "round " + round);
            assertEquals("round " + round, Files.readString(mount(leader).resolve("shared")));
            written.put("shared", ("round " + round).getBytes(StandardCharsets.UTF_8));
            cluster.node(other).unmount(mount(other), true);
            cluster.node(leader).kill();
            Program.shell(folder, "fusermount -u -z " + mount(leader)).result();
            for (int i = 0; i < cluster.size(); i++) {
                if (!cluster.isRunning(i)) {
                    cluster.startNode(i, NodeOptions.defaults());
                }
            }
        }
        cluster.awaitLeader(FAIL_OVER);
        requireSameEverywhere(written);
    }

    private void mountOn(int node) throws Exception {
        cluster.mount(node, Files.createDirectories(mount(node)));
    }

    @Test
    void eachNodeShowsWhoIsThere() throws Exception {
        int leader = cluster.awaitLeader(FAIL_OVER);
        for (int i = 0; i < 3; i++) {
            CommandResult shown = cluster.directory(i).command("nodes");
            assertEquals(0, shown.exitCode(), shown.errors());
            assertEquals(4, shown.output().lines().count(), shown.output());
            assertTrue(shown.output().contains("voter, leads"), shown.output());
            List<ControlReply.NodeState> nodes = cluster.nodes(i);
            nodes.forEach(each -> assertTrue(each.voter(), each.toString()));
            assertEquals(3, nodes.size());
        }
        rotateRoot().orThrow();
        int again = leader == 2 ? 1 : 2; // the root key is on node 0
        assertEquals(0, cluster.node(again).terminate());
        CommandResult missed = rotateRoot();
        assertEquals(1, missed.exitCode(), missed.errors());
        assertTrue(missed.errors().contains("not connected: node" + again), missed.errors());
        cluster.startAgain(again); // it shows itself by what the new root key has signed
        cluster.awaitWhole(PATIENCE);
        mountOn(again);
        writeDurably(mount(again).resolve("after"), "the rotation".getBytes(StandardCharsets.UTF_8));

        int killed = (leader + 1) % 3;
        cluster.node(killed).kill();
        Await.until(
                PATIENCE,
                "the leader misses it",
                () -> cluster.nodes(leader).stream().anyMatch(each -> !each.self() && !each.connected()));
        change(leader, "demote", killed);
        assertEquals(
                2,
                cluster.nodes(leader).stream()
                        .filter(ControlReply.NodeState::voter)
                        .count());

        // It finds out what it has become, and its mount goes on, both ways; so does that of who is demoted while it
        // runs.
        cluster.startNode(killed, NodeOptions.defaults());
        Await.until(
                PATIENCE,
                "it follows the others",
                () -> cluster.nodes(killed).stream().anyMatch(ControlReply.NodeState::leader)
                        && cluster.nodes(killed).stream().noneMatch(each -> each.self() && each.voter()));
        int replica = (leader + 2) % 3;
        change(killed, "demote", replica);
        for (int node : List.of(leader, killed, replica)) {
            if (node != again || node == killed) {
                mountOn(node);
            }
        }
        for (int node : List.of(replica, leader, killed)) {
            writeDurably(mount(node).resolve("file"), ("by " + node).getBytes(StandardCharsets.UTF_8));
            for (int other : List.of(leader, killed, replica)) {
                assertEquals("by " + node, Files.readString(mount(other).resolve("file")));
            }
        }
        assertTrue(cluster.directory(replica).command("status").output().contains("role     replica"));
        change(replica, "promote", killed);
        writeDurably(mount(killed).resolve("file"), "again".getBytes(StandardCharsets.UTF_8));
        assertEquals("again", Files.readString(mount(replica).resolve("file")));
    }

    /** As it is given on {@code at}; every node knows it soon. */
    private void change(int at, String command, int node) throws Exception {
        CommandResult result = cluster.directory(at).command(command, "node" + node);
        assertEquals(0, result.exitCode(), result.errors());
    }

    @Test
    void aBlindNodeKeepsWhatItCannotRead() throws Exception {
        mountOn(0);
        Path secret = mount(0).resolve("markerName");
        writeDurably(secret, "markerContent".repeat(100_000).getBytes(StandardCharsets.UTF_8));
        int blind = cluster.joinAs("--blind");
        Files.writeString(mount(0).resolve("markerLater"), "markerContent");
        cluster.node(0).sync();
        cluster.awaitSameLog(PATIENCE);
        Await.until(
                PATIENCE,
                "the others know where it is",
                () -> cluster.nodes(0).stream()
                        .anyMatch(each -> each.name().equals("node" + blind)
                                && !each.voter()
                                && !each.trusted()
                                && each.connected()
                                && each.lag() == 0));
        assertTrue(cluster.directory(0).command("nodes").output().contains("blind replica"));
        CommandResult mounted = cluster.directory(blind)
                .command("mount", Files.createDirectories(mount(blind)).toString());
        assertEquals(2, mounted.exitCode());
        assertTrue(mounted.errors().contains("blind"), mounted.errors());
        CommandResult promoted = cluster.directory(0).command("promote", "node" + blind);
        assertEquals(2, promoted.exitCode());
        assertTrue(promoted.errors().contains("blind"), promoted.errors());
        CommandResult checked = cluster.directory(blind).command("fsck");
        assertEquals(0, checked.exitCode(), checked.errors());

        // What a disk has lost comes from the others, whether who has lost it can read it or not.
        int reader = 1;
        for (int node : List.of(blind, reader)) {
            assertEquals(0, cluster.node(node).terminate());
            try (StoreEditor editor =
                    StoreEditor.open(cluster.directory(node).data().resolve("tree"))) {
                editor.flipAll(StoreEditor.SECTORS);
                editor.flipAll(StoreEditor.NODES);
            }
            cluster.startNode(node, NodeOptions.defaults());
        }
        cluster.awaitWhole(PATIENCE);
        mountOn(reader);
        assertEquals(
                "markerContent".repeat(100_000), Files.readString(mount(reader).resolve("markerName")));
        CommandResult healed = cluster.directory(blind).command("fsck", "--cluster");
        assertTrue(healed.output().contains("pieces_healed"), healed.output() + healed.errors());
        for (int node : List.of(blind, reader)) {
            CommandResult again = cluster.directory(node).command("fsck", "--cluster");
            assertEquals(0, again.exitCode(), again.output() + again.errors());
        }
        assertEquals(0, cluster.node(blind).terminate());
        assertEquals(
                "",
                Program.shell(
                                folder,
                                "grep -rlaF marker " + cluster.directory(blind).data() + " || true")
                        .run());
        assertEquals(0, cluster.directory(blind).fsck().exitCode());
    }

    private CommandResult rotateRoot() throws Exception {
        String passphrase = cluster.directory(0).passphraseFile().toString();
        return cluster.directory(0)
                .command("key rotate-root", "--passphrase-file", passphrase, "--new-passphrase-file", passphrase);
    }

    /** What is left of a program's lines once it has ended. */
    private static String python(Path mount, String lines) {
        return Program.in(mount, "/usr/bin/python3", "-c", "import fcntl, os, struct, sys\n" + lines)
                .run()
                .strip();
    }

    private Process holding(Path mount, String... command) throws Exception {
        Path output = Files.createTempFile(folder, "held", "");
        Process process = Program.in(mount, command).start(ProcessBuilder.Redirect.to(output.toFile()));
        Await.until(PATIENCE, String.join(" ", command), () -> Files.size(output) > 0);
        return process;
    }

    private static boolean isFree(Path mount, String file) {
        return Program.in(mount, "flock", "-n", file, "true").result().exitCode() == 0;
    }

    @Test
    void locksOfProgramsHoldOnAllNodesAndOverTheEndOfOne() throws Exception {
        Program.require("flock", "sqlite3");
        int leader = cluster.awaitLeader(FAIL_OVER);
        int one = (leader + 1) % 3;
        int two = (leader + 2) % 3;
        for (int i = 0; i < 3; i++) {
            mountOn(i);
        }
        Files.writeString(mount(one).resolve("file"), "0");
        for (int i = 0; i < 3; i++) {
            Path file = mount(i).resolve("file");
            Await.until(PATIENCE, "the file is everywhere", () -> Files.exists(file));
        }

        // flock(1), and a command of btnode without a mount, in each other's way.
        Process held = holding(mount(one), "flock", "--no-fork", "file", "sh", "-c", "echo held; exec sleep 1000");
        assertFalse(isFree(mount(two), "file"));
        assertFalse(isFree(mount(leader), "file"));
        CommandResult refused =
                cluster.directory(two).command("lock", "--wait", "0", "file", "--", "echo", "not printed");
        assertEquals(11, refused.exitCode(), refused.errors());
        assertEquals("", refused.output());
        CommandResult shown = cluster.directory(two).command("locks");
        assertEquals(0, shown.exitCode(), shown.errors());
        assertEquals(2, shown.output().lines().count(), shown.output());
        assertTrue(shown.output().contains("node" + one) && shown.output().contains("flock"), shown.output());
        // Who waits can be interrupted, and gets it once it is free.
        assertEquals("interrupted", python(mount(two), """
                        import signal
                        def alarm(*args): raise InterruptedError
                        signal.signal(signal.SIGALRM, alarm); signal.setitimer(signal.ITIMER_REAL, 0.3)
                        try: fcntl.flock(os.open('file', os.O_RDWR), fcntl.LOCK_EX)
                        except InterruptedError: print('interrupted')
                        """));
        CompletableFuture<String> waiting = new CompletableFuture<>();
        Thread waiter = new Thread(() -> waiting.complete(
                Program.in(mount(two), "flock", "file", "echo", "mine").run().strip()));
        waiter.start();
        Thread.sleep(200);
        assertFalse(waiting.isDone());
        held.destroy();
        assertEquals("mine", waiting.get(10, TimeUnit.SECONDS));
        CommandResult locked = cluster.directory(two).command("lock", "file", "--", "sh", "-c", "echo mine; exit 7");
        assertEquals(7, locked.exitCode(), locked.errors());
        assertEquals("mine\n", locked.output());

        // Ranges, by fcntl(2) and of open files; whoever has the lock sees what was written under it.
        Process ranges = holding(mount(one), "/usr/bin/python3", "-uc", """
                import fcntl, os, struct, time
                f = os.open('file', os.O_RDWR)
                fcntl.lockf(f, fcntl.LOCK_EX, 10, 100)
                fcntl.fcntl(f, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 200, 10, 0)) # F_OFD_SETLK
                print('held'); time.sleep(1000)
                """);
        assertEquals("refused 100 10 0 refused taken", python(mount(two), """
                f = os.open('file', os.O_RDWR)
                def take(start):
                    try: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, start); return 'taken'
                    except OSError: return 'refused'
                first = take(105)
                _, _, start, size, pid = struct.unpack('hhqqi4x', fcntl.fcntl(
                    f, fcntl.F_GETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0)))
                print(first, start, size, pid, take(205), take(300))
                """));
        List<CompletableFuture<Void>> counters = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Path mount = mount(i);
            CompletableFuture<Void> counter = new CompletableFuture<>();
            counters.add(counter);
            new Thread(() -> {
                        try {
                            python(mount, """
                                    f = os.open('file', os.O_RDWR)
                                    for i in range(20):
                                        fcntl.lockf(f, fcntl.LOCK_EX, 1, 0)
                                        n = int(os.pread(f, 9, 0)) + 1
                                        os.pwrite(f, str(n).encode(), 0)
                                        fcntl.lockf(f, fcntl.LOCK_UN, 1, 0)
                                    """);
                            counter.complete(null);
                        } catch (Throwable e) {
                            counter.completeExceptionally(e);
                        }
                    })
                    .start();
        }
        for (CompletableFuture<Void> counter : counters) {
            counter.get(60, TimeUnit.SECONDS);
        }
        assertEquals("60", Files.readString(mount(two).resolve("file")).strip());
        String insert = "sqlite3 -cmd '.timeout 20000' db 'create table if not exists t(x); insert into t values(1);'";
        for (int i = 0; i < 4; i++) {
            Program.shell(mount(i % 2 == 0 ? one : two), insert).run();
        }
        assertEquals(
                "4",
                Program.shell(mount(two), "sqlite3 db 'select count(*) from t'")
                        .run()
                        .strip());

        // The leader is killed: what is held stays, and what it held is free. Nobody else waits long.
        Process ofLeader = holding(mount(leader), "flock", "--no-fork", "db", "sh", "-c", "echo held; exec sleep 1000");
        assertFalse(isFree(mount(one), "db"));
        cluster.node(leader).kill();
        long killedNanos = System.nanoTime();
        Await.until(PATIENCE, "the dead node's lock is free", () -> isFree(mount(two), "db"));
        long freeMillis = (System.nanoTime() - killedNanos) / 1_000_000;
        System.out.printf("a killed leader's lock was another's after %d ms%n", freeMillis);
        assertTrue(freeMillis < 8_000, freeMillis + " ms");
        assertEquals("refused", python(mount(two), """
                f = os.open('file', os.O_RDWR)
                try: fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 105); print('taken')
                except OSError: print('refused')
                """));
        ofLeader.destroy();
        ranges.destroy();
        Program.shell(folder, "fusermount -u -z " + mount(leader)).result();
        cluster.startNode(leader, NodeOptions.defaults());

        // One that stood still for longer than its session has lost its locks, and its programs hear of it.
        Process loser = Program.in(mount(one), "/usr/bin/python3", "-uc", """
                import fcntl, os, sys, time
                f = os.open('file', os.O_RDWR)
                fcntl.flock(f, fcntl.LOCK_EX)
                open(sys.argv[1] + '/locked', 'w').close()
                while not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.05)
                def tell(call):
                    try: call(); return 'done'
                    except OSError as e: return str(e.errno)
                print(tell(lambda: os.pwrite(f, b'x', 0)), tell(lambda: fcntl.flock(f, fcntl.LOCK_EX)))
                g = os.open('file', os.O_RDWR); print(tell(lambda: fcntl.flock(g, fcntl.LOCK_EX)))
                """, folder.toString())
                .start(ProcessBuilder.Redirect.to(folder.resolve("lost").toFile()));
        Await.until(PATIENCE, "it has the lock", () -> Files.exists(folder.resolve("locked")));
        assertFalse(isFree(mount(two), "file"));
        cluster.node(one).freeze();
        Await.until(PATIENCE, "the frozen node's lock is free", () -> isFree(mount(two), "file"));
        cluster.node(one).thaw();
        Await.until(
                PATIENCE,
                "the node knows",
                () -> cluster.directory(one).command("locks").output().lines().count() == 1);
        Files.createFile(folder.resolve("go"));
        assertTrue(loser.waitFor(20, TimeUnit.SECONDS));
        assertEquals("5 5\ndone\n", Files.readString(folder.resolve("lost")));
    }

    @Test
    void withoutAMajorityNothingIsAcknowledgedAndNothingIsLost() throws Exception {
        int leader = cluster.awaitLeader(FAIL_OVER);
        mountOn(leader);
        byte[] before = "before".getBytes(StandardCharsets.UTF_8);
        writeDurably(mount(leader).resolve("file"), before);
        for (int i = 0; i < 3; i++) {
            if (i != leader) {
                cluster.node(i).freeze();
            }
        }
        Path later = mount(leader).resolve("later");
        byte[] after = "after".getBytes(StandardCharsets.UTF_8);
        CompletableFuture<Void> written = CompletableFuture.runAsync(() -> {
            try {
                writeDurably(later, after);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        });
        assertEquals("before", Files.readString(mount(leader).resolve("file")));
        Await.until(
                PATIENCE,
                "it sees that it is cut off",
                () -> cluster.node(leader).status().state().equals("cut_off"));
        assertFalse(written.isDone(), "acknowledged by one of three");
        long begunNanos = System.nanoTime();
        FileSystemException refused = assertThrows(
                FileSystemException.class, () -> Files.createFile(mount(leader).resolve("refused")));
        assertTrue(String.valueOf(refused.getReason()).contains("Read-only"), refused.toString());
        assertTrue(System.nanoTime() - begunNanos < TimeUnit.SECONDS.toNanos(3), "it is not waited for the others");
        assertEquals("before", Files.readString(mount(leader).resolve("file")));
        CommandResult shown = cluster.directory(leader).command("status");
        assertTrue(shown.output().contains("no majority of the nodes is reached since"), shown.output());
        for (int i = 0; i < 3; i++) {
            if (i != leader) {
                cluster.node(i).thaw();
            }
        }
        written.get(20, TimeUnit.SECONDS);
        Await.until(
                PATIENCE,
                "it is not cut off any more",
                () -> cluster.node(leader).status().state().equals("running"));
        requireSameEverywhere(Map.of("file", before, "later", after));
    }
}
