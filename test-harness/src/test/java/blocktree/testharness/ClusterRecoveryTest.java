package blocktree.testharness;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlEvent;
import blocktree.btmsg.ControlReply;
import blocktree.harness.CommandResult;
import blocktree.harness.NodeCluster;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import blocktree.testharness.program.Program;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What is left of three nodes that lost more than the agreement makes good by itself: processes, mounts, SIGKILL. */
@Timeout(300)
class ClusterRecoveryTest {
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    @TempDir
    Path folder;

    @SuppressWarnings("NullAway.Init") // each test starts it
    private NodeCluster cluster;

    private void start(int count) throws Exception {
        Program.require("fusermount");
        cluster = NodeCluster.start(
                folder,
                NodeProgram.find(),
                count,
                NodeOptions.defaults().withEnvironment(Map.of("BTNODE_LOG_KEPT", "16")));
    }

    @AfterEach
    void stop() {
        cluster.close();
    }

    private Path mount(int node) throws Exception {
        Path point = Files.createDirectories(folder.resolve("mount" + node));
        cluster.mount(node, point);
        return point;
    }

    private static void writeDurably(Path file, byte[] content) throws Exception {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            channel.write(ByteBuffer.wrap(content));
            channel.force(true);
        }
    }

    @Test
    void aVoterThatWasAwayForTooLongTakesOverWhatItLacksAndMountsAgain() throws Exception {
        start(3);
        int leader = cluster.awaitLeader(PATIENCE);
        int away = (leader + 1) % 3;
        Path there = mount(leader);
        Path mounted = mount(away);
        // Its node is frozen in the middle of this, and cuts it off when it mounts the tree anew.
        Process counting = counting(mounted);
        try {
            awayForTooLong(away, there, mounted);
        } finally {
            counting.destroyForcibly().waitFor();
        }
    }

    /** Writes higher and higher numbers durably, and notes beside the mount which are. */
    private Process counting(Path mounted) throws Exception {
        writeDurably(mounted.resolve("counter"), "0\n".getBytes(UTF_8));
        return Program.shell(folder, """
                for ((i = 1; ; i++)); do
                  if echo $i | dd of=%s conv=fsync,nocreat,notrunc status=none; then echo $i > noted && mv noted acknowledged; fi
                done""".formatted(mounted.resolve("counter"))).start(ProcessBuilder.Redirect.DISCARD);
    }

    private static long counted(Path mounted) throws Exception {
        return Long.parseLong(Files.readAllLines(mounted.resolve("counter")).get(0));
    }

    private long acknowledged() throws Exception {
        Path file = folder.resolve("acknowledged");
        return Files.exists(file) ? Long.parseLong(Files.readString(file).strip()) : 0;
    }

    private void awayForTooLong(int away, Path there, Path mounted) throws Exception {
        Await.until(PATIENCE, "the counter counts", () -> acknowledged() > 5);
        cluster.node(away).freeze();
        long counted = acknowledged();
        byte[] content = new byte[45_000];
        new Random(1).nextBytes(content);
        for (int i = 0; i < 150; i++) { // of more bytes than a file of Raft's log has
            content[0] = (byte) i;
            writeDurably(there.resolve("file" + i), content);
        }
        cluster.node(away).thaw();
        NodeProcess behind = cluster.node(away);
        behind.awaitEvent("node_behind", PATIENCE);
        behind.awaitEvent("node_caught_up", PATIENCE);
        long shown = counted(mounted);
        assertTrue(shown >= counted, counted + " was acknowledged, not " + shown);
        for (int i = 0; i < 150; i++) {
            content[0] = (byte) i;
            assertArrayEquals(content, Files.readAllBytes(mounted.resolve("file" + i)), "file" + i);
        }
        Await.until(PATIENCE, "the counter goes on", () -> acknowledged() > shown + 5);
        writeDurably(mounted.resolve("after"), "after".getBytes(UTF_8));
        assertEquals("after", Files.readString(there.resolve("after")));
        assertEquals("running", behind.status().state());
        assertEquals(1, behind.status().mounts().size());
        assertEquals(0, behind.terminate());
        CommandResult check = cluster.directory(away).fsck();
        assertEquals(0, check.exitCode(), () -> check.output() + check.errors());
    }

    @Test
    void oneOfThreeGoesOnAloneWhenTheOthersAreLostAndTheyAreRefusedWhenTheyComeBack() throws Exception {
        start(3);
        Path mounted = mount(0);
        Process counting = counting(mounted);
        try {
            Await.until(PATIENCE, "the counter counts", () -> acknowledged() > 20);
        } finally {
            for (int i = 2; i >= 0; i--) {
                cluster.node(i).kill();
            }
            counting.destroyForcibly().waitFor();
            Program.shell(folder, "fusermount -u -z " + mounted).result();
        }
        long counted = acknowledged();
        NodeDirectory left = cluster.directory(0);
        String passphrase = left.passphraseFile().toString();
        CommandResult unasked = left.command("recover", "--passphrase-file", passphrase);
        assertEquals(2, unasked.exitCode(), unasked.errors());
        assertTrue(unasked.errors().contains("node2"), unasked.errors());
        assertTrue(unasked.errors().contains("does not answer"), unasked.errors());
        left.command("recover", "--passphrase-file", passphrase, "--yes").orThrow();
        left.command("recover", "--passphrase-file", passphrase, "--yes").orThrow(); // as after one that was cut off

        cluster.startNode(0, NodeOptions.defaults());
        mount(0);
        assertTrue(counted(mounted) >= counted, counted + " was acknowledged, not " + counted(mounted));
        writeDurably(mounted.resolve("alone"), "alone".getBytes(UTF_8));
        assertEquals(1, cluster.nodes(0).size());

        NodeProcess old = cluster.startAgain(1);
        ControlEvent refused = old.awaitEvent("peer_refused", PATIENCE);
        assertTrue(
                String.valueOf(refused.fields().get("reason")).contains("removed from the tree"), refused.toString());
        assertEquals(0, old.terminate());

        int joined = cluster.join();
        assertEquals("alone", Files.readString(mount(joined).resolve("alone")));
        assertEquals(2, cluster.nodes(0).size());
        for (int i : new int[] {0, joined}) {
            assertEquals(0, cluster.node(i).terminate());
            CommandResult check = cluster.directory(i).fsck();
            assertEquals(0, check.exitCode(), () -> check.output() + check.errors());
        }
    }

    @Test
    void aJoinThatWasKilledDuringTheCopyGoesOnWithoutAnotherInvitation() throws Exception {
        start(1);
        byte[] content = new byte[64 << 20];
        new Random(2).nextBytes(content);
        Files.write(mount(0).resolve("large"), content);
        cluster.node(0).sync();
        NodeDirectory late =
                NodeDirectory.in(folder.resolve("late"), cluster.directory(0).program());
        Path code = folder.resolve("code");
        Process inviter = cluster.invite(code);
        Path joined = late.data().resolve("cluster/joined");
        List<String> command = new ArrayList<>(late.program().command());
        command.addAll(List.of(
                "join",
                "--yes",
                "--name",
                "late",
                "--data-dir",
                late.data().toString(),
                "--code-file",
                code.toString()));
        Process joining = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("joining").toFile())
                .start();
        try {
            Await.until(PATIENCE, "it is a node", () -> Files.exists(joined));
        } finally {
            joining.destroyForcibly().waitFor();
            inviter.destroyForcibly().waitFor(); // nobody is invited any more
        }
        assertTrue(Files.exists(joined), "it had the copy before it was killed");
        CommandResult tooEarly = late.command("run");
        assertEquals(8, tooEarly.exitCode(), tooEarly.errors());
        assertTrue(tooEarly.errors().contains("btnode join was begun here"), tooEarly.errors());
        late.command("join").orThrow();
        Path mounted = Files.createDirectories(folder.resolve("mount-late"));
        try (NodeProcess node = late.start(NodeOptions.mountedOn(mounted).withArguments("--listen", "127.0.0.1:0"))) {
            Await.until(
                    PATIENCE,
                    "both vote",
                    () -> cluster.nodes(0).stream()
                                    .filter(ControlReply.NodeState::voter)
                                    .count()
                            == 2);
            assertArrayEquals(content, Files.readAllBytes(mounted.resolve("large")));
        }
    }
}
