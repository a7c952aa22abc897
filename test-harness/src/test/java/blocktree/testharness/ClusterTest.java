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
            mountOn(node);
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
