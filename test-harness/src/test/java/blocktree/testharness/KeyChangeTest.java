package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.harness.CommandResult;
import blocktree.harness.HarnessException;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProgram;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Keys that are made and replaced, with the real program. */
class KeyChangeTest {
    private static final Logger log = LoggerFactory.getLogger(KeyChangeTest.class);
    private static final int EXIT_USAGE = 2;
    private static final int EXIT_WRONG_PASSPHRASE = 3;
    private static final int EXIT_ALREADY_RUNNING = 5;
    private static final int EXIT_DAMAGED_STORE = 7;
    private static final int EXIT_BAD_KEY_FILE = 9;

    // ---- the root's key

    @Test
    void aRotatedRootKeyCountsAndTheOldOneDoesNot() throws Exception {
        try (TestNode node = nodeWithAFile()) {
            Path oldBackup = backup(node, "old.txt");
            Path fresh = passphrase(node, "fresh", "another one");
            String printed = key(node, "rotate-root", "--new-passphrase-file", fresh.toString())
                    .orThrow()
                    .output();
            String nodesKey = Files.readString(node.data().resolve("node.key"));
            for (String renewed : List.of("writers", "readers")) {
                assertTrue(printed.contains(renewed + "      " + principal(nodesKey) + " (this node)\n"), printed);
            }
            Path retired = node.data().resolve("root.key.retired-1");
            assertTrue(Files.exists(retired));

            node.start();
            assertEquals("content", Files.readString(node.mount().resolve("file")));
            Files.writeString(node.mount().resolve("file"), "changed");
            Files.writeString(node.mount().resolve("new"), "new");
            node.requireCleanFsck();
            node.restart();
            assertEquals("changed", Files.readString(node.mount().resolve("file")));
            node.stop();
            assertEquals(0, fsck(node, fresh).exitCode());
            assertEquals(EXIT_WRONG_PASSPHRASE, node.directory().fsck().exitCode());

            CommandResult signing = key(
                    node, "rotate-root", "--root-key", retired.toString(), "--new-passphrase-file", fresh.toString());
            assertEquals(EXIT_BAD_KEY_FILE, signing.exitCode());
            assertTrue(signing.errors().contains("is retired"), signing.errors());
            CommandResult checking = node.directory()
                    .command(
                            "fsck",
                            "--root-key",
                            retired.toString(),
                            "--passphrase-file",
                            node.directory().passphraseFile().toString());
            assertEquals(EXIT_BAD_KEY_FILE, checking.exitCode());
            assertTrue(checking.errors().contains("is retired"), checking.errors());

            CommandResult old = key(node, "verify-backup", oldBackup.toString());
            assertEquals(EXIT_BAD_KEY_FILE, old.exitCode());
            assertTrue(old.errors().contains("its root key") && old.errors().contains("make a new one"), old.errors());
            Path newBackup = node.work().resolve("new.txt");
            keyWith(node, fresh, "backup", newBackup.toString()).orThrow();
            keyWith(node, fresh, "verify-backup", newBackup.toString()).orThrow();
        }
    }

    @Test
    void ofABackupFromBeforeARotationTheNodeKeyIsPutBack() throws Exception {
        try (TestNode node = nodeWithAFile()) {
            Path old = backup(node, "old.txt");
            rotate(node).orThrow();
            Path nodeKey = node.data().resolve("node.key");
            byte[] before = Files.readAllBytes(nodeKey);
            Files.delete(nodeKey);
            Files.delete(node.data().resolve("root.key"));
            CommandResult restored = key(node, "restore", old.toString());
            assertEquals(EXIT_BAD_KEY_FILE, restored.exitCode());
            assertTrue(restored.errors().contains("its root key"), restored.errors());
            assertTrue(restored.errors().contains("is put back: " + nodeKey), restored.errors());
            assertArrayEquals(before, Files.readAllBytes(nodeKey));
            assertFalse(Files.exists(node.data().resolve("root.key")), "a retired key is not put there");
            node.start();
            assertEquals("content", Files.readString(node.mount().resolve("file")));
        }
    }

    @Test
    void aNodeKeyUnderTheRootsPassphraseFollowsIt() throws Exception {
        try (TestNode node = nodeOf("--node-key=passphrase")) {
            Path fresh = passphrase(node, "fresh", "another one");
            key(node, "rotate-root", "--new-passphrase-file", fresh.toString()).orThrow();
            keyWith(node, fresh, "backup", node.work().resolve("new.txt").toString())
                    .orThrow();
            keyWith(node, fresh, "replace-node").orThrow();
            runWith(node, fresh);
            assertEquals("content", Files.readString(node.mount().resolve("file")));
            node.stop();
            assertTrue(Files.readString(node.data().resolve("node.key")).contains("Protection: passphrase"));
            assertEquals(0, fsck(node, fresh).exitCode());
        }
    }

    @Test
    void aCutOffRotationIsFinishedWithBothKeysUnderOnePassphrase() throws Exception {
        try (TestNode node = nodeOf("--node-key=passphrase")) {
            Path rootKey = node.data().resolve("root.key");
            Path nodeKey = node.data().resolve("node.key");
            Path nextNode = node.data().resolve("node.key.next");
            Path first = node.directory().passphraseFile();
            Path second = passphrase(node, "second", "another one");
            byte[] underFirst = Files.readAllBytes(nodeKey);
            Program.shell(node.work(), "cp -a data before").run();
            key(node, "rotate-root", "--new-passphrase-file", second.toString()).orThrow();
            byte[] underSecond = Files.readAllBytes(nodeKey);

            // As it is between the write of the log and the renames, and between these.
            for (boolean nodesHasItsPlace : new boolean[] {false, true}) {
                Files.move(rootKey, node.data().resolve("root.key.next"));
                Files.copy(node.data().resolve("root.key.retired-1"), rootKey);
                if (!nodesHasItsPlace) {
                    Files.move(nodeKey, nextNode);
                    Files.write(nodeKey, underFirst);
                }
                runWith(node, second);
                assertEquals("content", Files.readString(node.mount().resolve("file")));
                node.stop();
                assertArrayEquals(underSecond, Files.readAllBytes(nodeKey));
                assertFalse(Files.exists(nextNode));
                keyWith(
                                node,
                                second,
                                "backup",
                                node.work().resolve("backup" + nodesHasItsPlace).toString())
                        .orThrow();
            }

            // As it is before the write of the log: nothing has changed, and nothing of it comes back later.
            Program.shell(
                            node.work(),
                            "cp data/root.key before/root.key.next; cp data/node.key before/node.key.next; rm -r data; mv before data")
                    .run();
            runWith(node, first);
            node.stop();
            assertArrayEquals(underFirst, Files.readAllBytes(nodeKey));
            assertTrue(Files.exists(nextNode));
            key(node, "rotate-root", "--new-passphrase-file", first.toString()).orThrow();
            runWith(node, first);
            node.stop();
            key(node, "backup", node.work().resolve("last").toString()).orThrow();
        }
    }

    /** Kills around the renames of a rotation; the same command again, or another one, finishes it. System properties as of {@link KillTest}. */
    @Test
    @Timeout(3600)
    void aKillOfARotationLeavesBothKeysUnderOnePassphrase() throws Exception {
        int rounds = Integer.getInteger("blocktree.kill.rounds", 2);
        long seed = Long.getLong("blocktree.kill.seed", System.nanoTime());
        Random random = new Random(seed);
        try (TestNode node = nodeOf("--node-key=passphrase")) {
            Path inForce = node.directory().passphraseFile();
            Path other = passphrase(node, "other", "another one");
            Path rootKey = node.data().resolve("root.key");
            int rotations = 0;
            for (int round = 0; round < rounds; round++) {
                String where = "seed " + seed + " round " + round;
                byte[] before = Files.readAllBytes(rootKey);
                // The log is written within a second after the new key, and the renames follow within milliseconds.
                boolean early = round % 2 == 0;
                Path mark = node.data().resolve(early ? "root.key.next" : "root.key.retired-" + (rotations + 1));
                if (early) {
                    Files.deleteIfExists(mark); // of a round before, which did not count
                }
                Process command = start(node, inForce, "key", "rotate-root", "--new-passphrase-file", other.toString());
                Await.until(Duration.ofMinutes(1), "it comes so far", () -> Files.exists(mark) || !command.isAlive());
                Thread.sleep(random.nextInt(early ? 1000 : 3));
                command.destroyForcibly().waitFor();
                String left = String.join(" ", names(node.data()));

                boolean again = random.nextBoolean();
                int exitCode = again
                        ? keyWith(node, inForce, "rotate-root", "--new-passphrase-file", other.toString())
                                .exitCode()
                        : node.directory().command("key show").orThrow().exitCode();
                boolean changed = !Arrays.equals(before, Files.readAllBytes(rootKey));
                log.atInfo()
                        .addKeyValue("round", round)
                        .addKeyValue("left", left)
                        .addKeyValue("again", again)
                        .addKeyValue("exit", exitCode)
                        .addKeyValue("changed", changed)
                        .log("rotation_kill_round");
                assertTrue(changed || !again, where);
                if (changed) {
                    rotations = (int) names(node.data()).stream()
                            .filter(name -> name.startsWith("root.key.retired-"))
                            .count();
                    Path former = inForce;
                    inForce = other;
                    other = former;
                }
                runWith(node, inForce);
                assertEquals("content", Files.readString(node.mount().resolve("file")), where);
                node.stop();
                keyWith(
                                node,
                                inForce,
                                "backup",
                                node.work().resolve("backup" + round).toString())
                        .orThrow();
            }
        }
    }

    private static List<String> names(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    // ---- the node's key

    @Test
    void aReplacedNodeKeyOpensNothingAndTheTreeGoesOn() throws Exception {
        try (TestNode node = nodeWithAFile()) {
            Path oldBackup = backup(node, "old.txt");
            Path nodeKey = node.data().resolve("node.key");
            Path oldKey = Files.copy(nodeKey, node.work().resolve("old.key"));
            key(node, "replace-node").orThrow();

            node.start();
            assertEquals("content", Files.readString(node.mount().resolve("file")));
            Files.writeString(node.mount().resolve("file"), "changed");
            node.requireCleanFsck();
            node.restart();
            assertEquals("changed", Files.readString(node.mount().resolve("file")));
            node.stop();
            node.requireCleanOfflineFsck();

            CommandResult old = key(node, "verify-backup", oldBackup.toString());
            assertEquals(EXIT_BAD_KEY_FILE, old.exitCode());
            assertTrue(old.errors().contains("its node key"), old.errors());
            key(node, "verify-backup", backup(node, "new.txt").toString()).orThrow();

            Path newKey = node.work().resolve("new.key");
            Files.move(nodeKey, newKey);
            Files.copy(oldKey, nodeKey);
            CommandResult refused =
                    node.directory().command("run", "--mount", node.mount().toString());
            assertEquals(EXIT_BAD_KEY_FILE, refused.exitCode());
            assertTrue(refused.errors().contains("was replaced"), refused.errors());

            // The root key of that backup still counts: with it the node key can be replaced.
            Files.delete(nodeKey);
            Files.delete(node.data().resolve("root.key"));
            CommandResult restored = key(node, "restore", oldBackup.toString());
            assertEquals(EXIT_BAD_KEY_FILE, restored.exitCode());
            assertTrue(restored.errors().contains("replace-node --lost-node-key"), restored.errors());
            key(node, "replace-node", "--lost-node-key").orThrow();
            node.start();
            assertEquals("changed", Files.readString(node.mount().resolve("file")));
        }
    }

    @Test
    void aLostNodeKeyIsReplacedByTheRootAndWhatTheDiskLacksIsTold() throws Exception {
        try (TestNode node = nodeWithAFile()) {
            Path copy = node.work().resolve("copy");
            Program.shell(node.work(), "cp -a data copy").run();
            node.start();
            Files.writeString(node.mount().resolve("later"), "later");
            node.stop();
            Files.delete(node.data().resolve("node.key"));
            assertEquals(EXIT_BAD_KEY_FILE, key(node, "replace-node").exitCode());
            Program.shell(node.work(), "mv data/tree newest; cp -a copy/tree data/tree")
                    .run();
            CommandResult rolledBack = key(node, "replace-node", "--lost-node-key");
            assertEquals(EXIT_DAMAGED_STORE, rolledBack.exitCode(), rolledBack.errors());
            assertTrue(rolledBack.errors().contains("--accept-loss"), rolledBack.errors());
            Program.shell(node.work(), "rm -r data/tree; mv newest data/tree").run();
            CommandResult done = key(node, "replace-node", "--lost-node-key").orThrow();
            assertTrue(done.output().contains("anchor that nobody could verify"), done.output());
            node.start();
            assertEquals("later", Files.readString(node.mount().resolve("later")));
            node.requireCleanFsck();
            assertTrue(Files.exists(copy));
        }
    }

    @Test
    void aKeyForSystemdIsWrittenWhereItIsAskedFor() throws Exception {
        Path credentials = Files.createTempDirectory("blocktree-credentials");
        Path handedOver = credentials.resolve("btnode-node-key");
        NodeProgram program = NodeProgram.find().withPrefix(List.of("env", "CREDENTIALS_DIRECTORY=" + credentials));
        try (TestNode node = TestNode.initialised(program)) {
            Path inFile = node.data().resolve("node.key");
            Files.move(inFile, handedOver);
            Path settings = node.data().resolve("btnode.conf");
            Files.writeString(settings, Files.readString(settings).replace("node_key = file", "node_key = credential"));
            assertEquals(EXIT_USAGE, key(node, "replace-node").exitCode());
            Path written = node.work().resolve("written.key");
            CommandResult done = key(node, "replace-node", "--node-key-path", written.toString())
                    .orThrow();
            assertTrue(done.output().contains("systemd-creds encrypt"), done.output());
            // As after a kill that came too late to matter: the key is there and counts.
            key(node, "replace-node", "--node-key-path", written.toString()).orThrow();
            assertFalse(Files.exists(inFile));
            assertEquals(
                    EXIT_BAD_KEY_FILE,
                    node.directory()
                            .command("run", "--mount", node.mount().toString())
                            .exitCode());
            Files.move(written, handedOver, StandardCopyOption.REPLACE_EXISTING);
            node.start();
            Files.writeString(node.mount().resolve("file"), "content");
            node.requireCleanFsck();
        } finally {
            Files.deleteIfExists(handedOver);
            Files.delete(credentials);
        }
    }

    // ---- both

    @ParameterizedTest
    @ValueSource(strings = {"rotate-root", "replace-node"})
    void aChangeThatCannotBeChangesNothing(String command) throws Exception {
        try (TestNode node = nodeWithAFile()) {
            byte[] rootKey = Files.readAllBytes(node.data().resolve("root.key"));
            byte[] nodeKey = Files.readAllBytes(node.data().resolve("node.key"));
            String[] more = command.equals("rotate-root")
                    ? new String[] {
                        "--new-passphrase-file",
                        node.directory().passphraseFile().toString()
                    }
                    : new String[0];
            if (command.equals("replace-node")) {
                node.start();
                CommandResult running = key(node, command, more);
                assertEquals(EXIT_ALREADY_RUNNING, running.exitCode());
                assertTrue(running.errors().contains("btnode stop"), running.errors());
                node.stop();
            }
            Path wrong = passphrase(node, "wrong", "not it");
            assertEquals(
                    EXIT_WRONG_PASSPHRASE, keyWith(node, wrong, command, more).exitCode());
            assertArrayEquals(rootKey, Files.readAllBytes(node.data().resolve("root.key")));
            assertArrayEquals(nodeKey, Files.readAllBytes(node.data().resolve("node.key")));
            node.start();
            assertEquals("content", Files.readString(node.mount().resolve("file")));
        }
    }

    @Test
    void whatAnInterruptedChangeHasLeftIsFinishedWhereItCountsAndLeftAloneWhereNot() throws Exception {
        try (TestNode node = nodeWithAFile()) {
            Path rootKey = node.data().resolve("root.key");
            Path nodeKey = node.data().resolve("node.key");
            Path oldNode = Files.copy(nodeKey, node.work().resolve("old.key"));
            rotate(node).orThrow();
            key(node, "replace-node").orThrow();
            byte[] newRoot = Files.readAllBytes(rootKey);
            byte[] newNode = Files.readAllBytes(nodeKey);
            // As it is between the write of the log and the renames.
            Files.move(rootKey, node.data().resolve("root.key.next"));
            Files.move(node.data().resolve("root.key.retired-1"), rootKey);
            Files.move(nodeKey, node.data().resolve("node.key.next"));
            Files.copy(oldNode, nodeKey);
            node.start();
            String events = node.process().log(); // it comes before a parent is told of events
            assertTrue(events.contains("key_change_finished key=node"), events);
            assertTrue(events.contains("key_change_finished key=root"), events);
            node.stop();
            assertArrayEquals(newRoot, Files.readAllBytes(rootKey));
            assertArrayEquals(newNode, Files.readAllBytes(nodeKey));
            assertTrue(Files.exists(node.data().resolve("root.key.retired-1")));

            // The same, finished by a command.
            Files.move(rootKey, node.data().resolve("root.key.next"));
            Files.copy(node.data().resolve("root.key.retired-1"), rootKey);
            node.requireCleanOfflineFsck();
            assertArrayEquals(newRoot, Files.readAllBytes(rootKey));

            // As it is before the write of the log: a key that never counted.
            Path never = node.data().resolve("root.key.next");
            NodeDirectory elsewhere = NodeDirectory.in(
                            Files.createDirectory(node.work().resolve("elsewhere")),
                            node.directory().program())
                    .init();
            Files.copy(elsewhere.data().resolve("root.key"), never);
            Files.copy(elsewhere.data().resolve("node.key"), node.data().resolve("node.key.next"));
            node.start();
            assertEquals("content", Files.readString(node.mount().resolve("file")));
            node.stop();
            assertArrayEquals(newRoot, Files.readAllBytes(rootKey));
            assertArrayEquals(newNode, Files.readAllBytes(nodeKey));
            rotate(node).orThrow();
            key(node, "replace-node").orThrow();
            assertNotEquals(Arrays.toString(newRoot), Arrays.toString(Files.readAllBytes(rootKey)));
            assertFalse(Files.exists(never));
            node.requireCleanOfflineFsck();
        }
    }

    /**
     * Kills spread over the time from when the new key is written to the end of the command, which is measured first: it depends on the machine and its load.
     * System properties as of {@link KillTest}.
     */
    @Test
    @Timeout(3600)
    void aKillAtAnyMomentLeavesTheOldKeyOrTheNew() throws Exception {
        int rounds = Integer.getInteger("blocktree.kill.rounds", 2);
        long seed = Long.getLong("blocktree.kill.seed", System.nanoTime());
        Random random = new Random(seed);
        int changed = 0;
        int kept = 0;
        try (TestNode node = nodeWithAFile()) {
            long[] spanMillis = {change(node, false, Long.MAX_VALUE), change(node, true, Long.MAX_VALUE)};
            for (int round = 0; round < rounds; round++) {
                String where = "seed " + seed + " round " + round;
                boolean root = round % 2 == 0;
                Path file = keyFile(node, root);
                byte[] before = Files.readAllBytes(file);
                double part = (round + random.nextDouble()) / rounds;
                boolean last = round == rounds - 1; // lets a change come into force however long it takes
                change(node, root, last ? Long.MAX_VALUE : (long) (part * spanMillis[root ? 1 : 0]));
                if (random.nextBoolean()) {
                    node.requireCleanOfflineFsck();
                }
                node.start();
                assertEquals("content", Files.readString(node.mount().resolve("file")), where);
                Path mark = node.mount().resolve("round" + round);
                Files.writeString(mark, where);
                node.restart();
                assertEquals(where, Files.readString(mark), where);
                node.stop();
                // Both keys are those in force: otherwise there is no backup of them.
                assertTrue(Files.exists(backup(node, "backup" + round)), where);
                boolean isNew = !Arrays.equals(before, Files.readAllBytes(file));
                changed += isNew ? 1 : 0;
                kept += isNew ? 0 : 1;
                log.atInfo()
                        .addKeyValue("round", round)
                        .addKeyValue("key", root ? "root" : "node")
                        .addKeyValue("part", part)
                        .addKeyValue("changed", isNew)
                        .log("key_kill_round");
            }
            node.requireCleanOfflineFsck();
        }
        assertTrue(changed > 0 && kept > 0, changed + " changed, " + kept + " kept, seed " + seed);
    }

    private static Path keyFile(TestNode node, boolean root) {
        return node.data().resolve(root ? "root.key" : "node.key");
    }

    /** Changes a key and kills the command so long after the new key was written; how long after that it ended. */
    private static long change(TestNode node, boolean root, long killAfterMillis) throws Exception {
        List<String> words = new ArrayList<>(List.of("key", root ? "rotate-root" : "replace-node"));
        if (root) {
            words.addAll(List.of(
                    "--new-passphrase-file", node.directory().passphraseFile().toString()));
        }
        Path next = keyFile(node, root).resolveSibling(keyFile(node, root).getFileName() + ".next");
        Files.deleteIfExists(next); // of a round before, which did not count
        Process command = start(node, node.directory().passphraseFile(), words.toArray(String[]::new));
        Await.until(Duration.ofMinutes(1), "a new key is written", () -> Files.exists(next) || !command.isAlive());
        long written = System.nanoTime();
        command.waitFor(killAfterMillis, TimeUnit.MILLISECONDS);
        command.destroyForcibly().waitFor();
        return TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - written);
    }

    // ---- a root key from elsewhere

    @Test
    void aRootKeyFromAnotherMachineFoundsATree() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            Path secret = node.directory().passphraseFile();
            Path made = node.work().resolve("made.key");
            Process create = startAnywhere(node, secret, "key", "create", made.toString());
            assertEquals(0, create.waitFor());
            byte[] before = Files.readAllBytes(made);
            assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(made)));
            assertEquals(
                    EXIT_USAGE,
                    startAnywhere(node, secret, "key", "create", made.toString())
                            .waitFor(),
                    "nothing is overwritten");

            NodeDirectory elsewhere = new NodeDirectory(
                    node.directory().program(),
                    node.work().resolve("elsewhere"),
                    secret,
                    node.work().resolve("elsewhere.log"));
            elsewhere.init("--root-key", made.toString());
            assertArrayEquals(before, Files.readAllBytes(made));
            String shown = elsewhere.command("key show").orThrow().output();
            assertTrue(shown.contains(principal(Files.readString(made))), shown);
            assertEquals(0, elsewhere.fsck().exitCode());
            elsewhere
                    .command(
                            "key backup",
                            node.work().resolve("backup").toString(),
                            "--passphrase-file",
                            secret.toString())
                    .orThrow();
            // That of a tree founds no other.
            NodeDirectory second = new NodeDirectory(
                    node.directory().program(),
                    node.work().resolve("second"),
                    secret,
                    node.work().resolve("second.log"));
            assertEquals(
                    EXIT_BAD_KEY_FILE,
                    second.command(
                                    "init",
                                    "--root-key",
                                    elsewhere.data().resolve("root.key").toString(),
                                    "--passphrase-file",
                                    secret.toString())
                            .exitCode());
            assertFalse(Files.exists(second.data()));
        }
    }

    // ---- helpers

    /** The fingerprint that a key file names. */
    private static String principal(String keyFile) {
        return keyFile.lines()
                .filter(line -> line.startsWith("Principal: "))
                .findFirst()
                .orElseThrow()
                .substring("Principal: ".length());
    }

    /** Stopped, with a file in its tree. */
    private static TestNode nodeWithAFile() throws Exception {
        TestNode node = TestNode.started();
        write(node);
        return node;
    }

    private static TestNode nodeOf(String... initOptions) throws Exception {
        TestNode node = TestNode.initialised();
        Program.shell(node.work(), "rm -r data").run();
        node.directory().init(initOptions);
        runWith(node, node.directory().passphraseFile());
        write(node);
        return node;
    }

    private static void runWith(TestNode node, Path passphrase) throws HarnessException {
        node.with(NodeOptions.mountedOn(node.mount()).withArguments("--passphrase-file", passphrase.toString()))
                .start();
    }

    private static void write(TestNode node) throws IOException, HarnessException {
        Files.writeString(node.mount().resolve("file"), "content");
        node.stop();
    }

    private static Path passphrase(TestNode node, String name, String text) throws IOException {
        Path file = Files.writeString(node.work().resolve(name), text + "\n");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
        return file;
    }

    private static Path backup(TestNode node, String name) throws HarnessException {
        Path backup = node.work().resolve(name);
        key(node, "backup", backup.toString()).orThrow();
        return backup;
    }

    private static CommandResult rotate(TestNode node, String... more) throws HarnessException {
        return key(
                node,
                "rotate-root",
                Stream.concat(
                                Stream.of(
                                        "--new-passphrase-file",
                                        node.directory().passphraseFile().toString()),
                                Arrays.stream(more))
                        .toArray(String[]::new));
    }

    private static CommandResult fsck(TestNode node, Path passphrase) throws HarnessException {
        return node.directory().command("fsck", "--passphrase-file", passphrase.toString());
    }

    private static CommandResult key(TestNode node, String command, String... arguments) throws HarnessException {
        return keyWith(node, node.directory().passphraseFile(), command, arguments);
    }

    private static CommandResult keyWith(TestNode node, Path passphrase, String command, String... arguments)
            throws HarnessException {
        String[] all = Stream.concat(Arrays.stream(arguments), Stream.of("--passphrase-file", passphrase.toString()))
                .toArray(String[]::new);
        return node.directory().command("key " + command, all);
    }

    private static Process start(TestNode node, Path passphrase, String... command) throws IOException {
        String[] all = Stream.concat(
                        Arrays.stream(command),
                        Stream.of("--data-dir", node.data().toString()))
                .toArray(String[]::new);
        return startAnywhere(node, passphrase, all);
    }

    private static Process startAnywhere(TestNode node, Path passphrase, String... command) throws IOException {
        List<String> all = new ArrayList<>(node.directory().program().command());
        all.addAll(List.of(command));
        all.addAll(List.of("--passphrase-file", passphrase.toString()));
        return new ProcessBuilder(all)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(
                        node.work().resolve("commands.log").toFile()))
                .start();
    }
}
