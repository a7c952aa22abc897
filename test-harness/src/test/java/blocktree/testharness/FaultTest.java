package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.harness.CommandResult;
import blocktree.harness.HarnessException;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import blocktree.testharness.crash.CrashLoad;
import blocktree.testharness.posix.Errno;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What goes wrong around a node: its disk, its mount point, its key, its machine, its operator. */
class FaultTest {
    private static final int MIB = 1 << 20;
    private static final int EXIT_FAILED = 1;
    private static final int EXIT_MOUNT_POINT = 4;
    private static final int EXIT_ALREADY_RUNNING = 5;
    private static final int EXIT_BAD_CONFIGURATION = 8;
    private static final int EXIT_BAD_KEY_FILE = 9;
    private static final int EXIT_NO_SPACE = 10;
    private static final int EXIT_TIMED_OUT = 11;

    @Test
    void aFullDiskIsToldToTheWriterAndNothingCommittedIsLost() throws Exception {
        try (TestNode node = nodeOn("mount -t tmpfs -o size=320m,mode=700 tmpfs .")) {
            node.start();
            byte[] piece = new byte[MIB];
            new Random(9).nextBytes(piece);
            Path kept = node.mount().resolve("kept");
            writeDurably(kept, piece);
            int written = 0;
            Errno refused = null;
            while (refused == null && written < 400) {
                try {
                    writeDurably(node.mount().resolve("filler" + written), piece);
                    written++;
                } catch (PosixException e) {
                    refused = e.errno();
                }
            }
            assertEquals(Errno.ENOSPC, refused, "after " + written + " MiB on a disk of 320 MiB");
            assertTrue(written > 60, "full after " + written + " MiB of 320");
            assertArrayEquals(piece, Files.readAllBytes(kept));
            for (int i = 0; i < written; i++) {
                assertArrayEquals(piece, Files.readAllBytes(node.mount().resolve("filler" + i)), "filler" + i);
            }

            for (int i = 0; i < written; i += 2) {
                Files.delete(node.mount().resolve("filler" + i));
            }
            for (int i = 0; i < written / 2; i += 2) {
                writeDurably(node.mount().resolve("filler" + i), piece);
            }

            Program.shell(node.work(), "mount -o remount,size=640m " + node.data())
                    .run();
            Await.until(
                    Duration.ofSeconds(30),
                    "writes are taken again once there is room",
                    () -> isTaken(node.mount().resolve("again"), piece, Errno.ENOSPC));
            node.requireCleanFsck();
            node.kill();
            node.start();
            assertArrayEquals(piece, Files.readAllBytes(kept));
            assertArrayEquals(piece, Files.readAllBytes(node.mount().resolve("again")));
            node.requireCleanFsck();
        }
    }

    @Test
    void aStoreThatHasStoppedIsToldByStatusAndByTheExitCode() throws Exception {
        Program.require("prlimit");
        try (TestNode node = TestNode.started()) {
            Path file = node.mount().resolve("file");
            writeDurably(file, new byte[] {1});
            // No file may grow any more: every write of the store fails.
            Program.shell(node.work(), "prlimit --pid " + node.process().pid() + " --fsize=1:1")
                    .run();
            assertThrows(PosixException.class, () -> writeDurably(node.mount().resolve("refused"), new byte[] {2}));
            node.process().awaitEvent("store_stopped", Duration.ofSeconds(20));
            assertEquals("store_stopped", node.process().status().state());
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(file));
            assertEquals(EXIT_FAILED, node.directory().command("stop").exitCode());
            assertEquals(EXIT_FAILED, node.process().awaitExit(Duration.ofSeconds(60)));
            assertEquals(
                    "false",
                    node.process()
                            .awaitEvent("node_stopped", Duration.ofSeconds(1))
                            .fields()
                            .get("clean"));
            node.start();
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(file));
            node.requireCleanFsck();
        }
    }

    @Test
    void aStopThatWouldLoseWhatWasAcceptedIsRefusedUnlessItIsForced() throws Exception {
        try (TestNode node = nodeOn("mount -t tmpfs -o size=320m,mode=700 tmpfs .")) {
            node.start();
            byte[] piece = new byte[8 * MIB];
            new Random(10).nextBytes(piece);
            Path accepted = node.mount().resolve("accepted");
            Files.write(accepted, piece);
            Path filler = node.data().resolve("filler");
            Program.shell(node.data(), "cat /dev/zero > filler").result();
            CommandResult refused = node.directory().command("stop");
            assertEquals(EXIT_NO_SPACE, refused.exitCode(), refused.errors());
            assertTrue(refused.errors().contains("the node goes on, and nothing is lost yet"), refused.errors());
            assertTrue(
                    refused.errors().contains("make room") && refused.errors().contains("--force"), refused.errors());
            assertArrayEquals(piece, Files.readAllBytes(accepted));

            Files.delete(filler);
            CommandResult stopped = node.directory().command("stop");
            assertEquals(0, stopped.exitCode(), stopped.errors());
            assertEquals(0, node.process().awaitExit(Duration.ofSeconds(10)));
            node.start();
            assertArrayEquals(piece, Files.readAllBytes(accepted));

            Files.write(node.mount().resolve("given up"), piece);
            Program.shell(node.data(), "cat /dev/zero > filler").result();
            CommandResult forced = node.directory().command("stop", "--force");
            assertEquals(EXIT_FAILED, forced.exitCode(), forced.errors());
            assertTrue(forced.errors().contains("what waited to be written is lost"), forced.errors());
            assertEquals(EXIT_FAILED, node.process().awaitExit(Duration.ofSeconds(10)));
            Files.delete(filler);
            node.start();
            assertArrayEquals(piece, Files.readAllBytes(accepted));
            node.requireCleanFsck();
        }
    }

    @Test
    void aSecondNodeOnTheSameDataIsRefused() throws Exception {
        try (TestNode node = TestNode.started()) {
            Path other = Files.createDirectory(node.work().resolve("other"));
            HarnessException refused = assertThrows(
                    HarnessException.class,
                    () -> node.directory().start(NodeOptions.mountedOn(other)).close());
            assertTrue(refused.toString().contains("exit code " + EXIT_ALREADY_RUNNING), refused.toString());
            Files.writeString(node.mount().resolve("file"), "the first one goes on");
            node.requireCleanFsck();
        }
    }

    @Test
    void sigtermUnderLoadLosesNothingThatWasAcknowledgedOrClosed() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            // The load never lets go of the mount: it is cut off after half of that.
            node.withArguments("--stop-timeout", "20s").start();
            Path root = Files.createDirectory(node.mount().resolve("load"));
            Path closedFiles = Files.createDirectory(node.mount().resolve("closed"));
            CrashLoad load = new CrashLoad(root.toString(), 3, 77);
            ConcurrentLinkedQueue<String> closed = new ConcurrentLinkedQueue<>();
            Thread closer = new Thread(() -> {
                try {
                    for (int i = 0; ; i++) {
                        Files.writeString(closedFiles.resolve("file" + i), "content " + i);
                        closed.add("file" + i);
                    }
                } catch (IOException e) {
                    // the mount is gone
                }
            });
            load.start();
            closer.start();
            load.awaitAcknowledged(100, 20_000);
            assertEquals(0, node.process().terminate(), () -> node.process().log());
            closer.join(10_000);
            load.stop();
            load.awaitEnd();
            node.start();
            assertEquals(List.of(), withoutFailuresOfAMissingMount(load.verify()));
            for (String name : closed) {
                assertEquals("content " + name.substring(4), Files.readString(closedFiles.resolve(name)));
            }
            assertTrue(closed.size() > 10, "closed " + closed.size());
            node.requireCleanFsck();
        }
    }

    /** After an orderly unmount the writers look for their files in the empty mount point. */
    private static List<String> withoutFailuresOfAMissingMount(List<String> problems) {
        return problems.stream()
                .filter(problem -> !problem.startsWith("failed: "))
                .toList();
    }

    @Test
    void aFrozenNodeGoesOnWhereItWas() throws Exception {
        try (TestNode node = TestNode.started()) {
            Path root = Files.createDirectory(node.mount().resolve("load"));
            CrashLoad load = new CrashLoad(root.toString(), 3, 78);
            load.start();
            load.awaitAcknowledged(50, 20_000);
            Posix.signal(node.process().pid(), Posix.SIGSTOP);
            long frozen = load.acknowledgedCount();
            load.awaitAcknowledged(1000, 2_000);
            assertTrue(load.acknowledgedCount() <= frozen + 3, "a frozen node acknowledges nothing");
            Posix.signal(node.process().pid(), Posix.SIGCONT);
            load.awaitAcknowledged(50, 20_000);
            assertTrue(load.acknowledgedCount() >= frozen + 50, "the load goes on");
            load.stop();
            load.awaitEnd();
            assertEquals(List.of(), load.verify());
            node.requireCleanFsck();
        }
    }

    /** The disk is another node's mount: one that can be stopped. */
    @Test
    void aDiskThatDoesNotAnswerIsToldToTheProgramsAndNothingIsLost() throws Exception {
        try (TestNode disk = TestNode.started();
                TestNode node = nodeOn("mount --bind " + disk.mount() + " .")) {
            node.withArguments("--request-timeout", "2s", "--stop-timeout", "4s")
                    .start();
            Path kept = node.mount().resolve("kept");
            Path seldom = node.mount().resolve("seldom");
            writeDurably(kept, new byte[] {1});
            writeDurably(seldom, new byte[MIB]);
            node.restart();
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept));
            Posix.signal(disk.process().pid(), Posix.SIGSTOP);
            try {
                Program.shell(node.work(), "echo 1 > /proc/sys/vm/drop_caches").run();
                PosixException write = assertThrows(
                        PosixException.class, () -> writeDurably(node.mount().resolve("late"), new byte[] {2}));
                assertEquals(Errno.ETIMEDOUT, write.errno());
                assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept), "what is in memory is served");
                IOException read = assertThrows(IOException.class, () -> Files.readAllBytes(seldom));
                assertTrue(String.valueOf(read.getMessage()).contains("timed out"), read.getMessage());
                node.process().awaitEvent("operation_timed_out", Duration.ofSeconds(1));
            } finally {
                Posix.signal(disk.process().pid(), Posix.SIGCONT);
            }
            Await.until(
                    Duration.ofSeconds(20),
                    "the node goes on when its disk does",
                    () -> Arrays.equals(
                            new byte[] {2}, Files.readAllBytes(node.mount().resolve("late"))));
            assertArrayEquals(new byte[MIB], Files.readAllBytes(seldom));
            writeDurably(node.mount().resolve("after"), new byte[] {3});
            node.requireCleanFsck();

            Posix.signal(disk.process().pid(), Posix.SIGSTOP);
            try {
                Posix.signal(node.process().pid(), Posix.SIGTERM);
                node.process().awaitEvent("stop_timed_out", Duration.ofSeconds(20));
            } finally {
                Posix.signal(disk.process().pid(), Posix.SIGCONT); // until then the kernel waits with closing its files
            }
            assertEquals(EXIT_TIMED_OUT, node.process().awaitExit(Duration.ofSeconds(20)));
            node.start();
            assertArrayEquals(new byte[] {3}, Files.readAllBytes(node.mount().resolve("after")));
            node.requireCleanFsck();
            node.stop();
        }
    }

    /** The disk is another node's mount: one that can be stopped. */
    @Test
    void programsThatWaitForADiskKeepNoOtherWaitingAndLoseNothing() throws Exception {
        int count = 64;
        ExecutorService programs = Executors.newFixedThreadPool(count);
        try (TestNode disk = TestNode.started();
                TestNode node = nodeOn("mount --bind " + disk.mount() + " .")) {
            node.start();
            Path kept = node.mount().resolve("kept");
            writeDurably(kept, new byte[] {1});
            for (int i = 0; i < count; i++) {
                writeDurably(node.mount().resolve("file" + i), new byte[] {1});
            }
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept));
            List<Future<?>> writers = new ArrayList<>();
            Posix.signal(disk.process().pid(), Posix.SIGSTOP);
            try {
                for (int i = 0; i < count; i++) {
                    Path file = node.mount().resolve("file" + i);
                    writers.add(programs.submit(() -> {
                        writeDurably(file, new byte[] {2});
                        return null;
                    }));
                }
                Thread.sleep(1_000); // until all of them wait
                assertTrue(writers.stream().noneMatch(Future::isDone), "nobody is told of what the disk does not have");
                for (int i = 0; i < 20; i++) {
                    long start = System.nanoTime();
                    assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept));
                    assertFalse(Files.exists(node.mount().resolve("none" + i)));
                    Duration took = Duration.ofNanos(System.nanoTime() - start);
                    assertTrue(took.toMillis() < 2_000, () -> "took " + took);
                }
                long threads = requestThreadCount(node);
                assertTrue(threads <= 4, () -> threads + " threads answer requests");
            } finally {
                Posix.signal(disk.process().pid(), Posix.SIGCONT);
            }
            for (Future<?> writer : writers) {
                writer.get(60, TimeUnit.SECONDS);
            }
            node.kill();
            node.start();
            for (int i = 0; i < count; i++) {
                assertArrayEquals(
                        new byte[] {2}, Files.readAllBytes(node.mount().resolve("file" + i)));
            }
            node.requireCleanFsck();
            node.stop();
        } finally {
            programs.shutdownNow();
        }
    }

    private static long requestThreadCount(TestNode node) throws IOException {
        try (Stream<Path> tasks =
                Files.list(Path.of("/proc", String.valueOf(node.process().pid()), "task"))) {
            return tasks.filter(task -> isRequestThread(task.resolve("comm"))).count();
        }
    }

    private static boolean isRequestThread(Path name) {
        try {
            return Files.readString(name).matches("fuse-[0-9]+\n");
        } catch (IOException e) {
            return false; // it has ended meanwhile
        }
    }

    /** The disk is another node's mount, whose death is an error of each access. */
    @Test
    void aDiskThatFailsIsToldToTheProgramsAndNothingAcknowledgedIsLost() throws Exception {
        try (TestNode disk = TestNode.started();
                TestNode node = nodeOn("mount --bind " + disk.mount() + " .")) {
            node.start();
            Path kept = node.mount().resolve("kept");
            Path seldom = node.mount().resolve("seldom");
            writeDurably(kept, new byte[] {1});
            writeDurably(seldom, new byte[MIB]);
            node.restart();
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept));
            disk.kill();
            PosixException write = assertThrows(
                    PosixException.class, () -> writeDurably(node.mount().resolve("late"), new byte[] {2}));
            assertEquals(Errno.EIO, write.errno());
            node.process().awaitEvent("commit_failed", Duration.ofSeconds(20));
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept), "what is in memory is served");
            assertThrows(IOException.class, () -> Files.readAllBytes(seldom));
            Posix.signal(node.process().pid(), Posix.SIGTERM);
            assertEquals(EXIT_FAILED, node.process().awaitExit(Duration.ofSeconds(60)));

            Program.shell(node.work(), "umount " + node.data()).run();
            disk.start();
            Program.shell(node.work(), "mount --bind " + disk.mount() + " " + node.data())
                    .run();
            node.start();
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept));
            assertArrayEquals(new byte[MIB], Files.readAllBytes(seldom));
            node.requireCleanFsck();
            writeDurably(node.mount().resolve("late"), new byte[] {3});
            node.stop();
        }
    }

    @Test
    void runningOutOfFileDescriptorsLosesNothing() throws Exception {
        Program.require("prlimit");
        try (TestNode node = TestNode.started()) {
            Path kept = node.mount().resolve("kept");
            writeDurably(kept, new byte[] {1});
            String pid = Long.toString(node.process().pid());
            // The limit is one of numbers: below 3 none ever becomes free.
            Program.shell(node.work(), "prlimit --pid " + pid + " --nofile=3:").run();
            // Too large for the log: it takes a file of its own.
            assertThrows(PosixException.class, () -> writeDurably(node.mount().resolve("large"), new byte[16 * MIB]));
            node.process().awaitEvent("commit_failed", Duration.ofSeconds(20));
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept));
            Program.shell(node.work(), "prlimit --pid " + pid + " --nofile=4096:")
                    .run();
            Await.until(
                    Duration.ofSeconds(20),
                    "the node goes on when it may open files again",
                    () -> isTaken(node.mount().resolve("after"), new byte[] {2}, Errno.EIO));
            node.kill();
            node.start();
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(kept));
            assertArrayEquals(new byte[] {2}, Files.readAllBytes(node.mount().resolve("after")));
            node.requireCleanFsck();
        }
    }

    @Test
    void aMountPointThatCannotBeUsedIsToldAtOnce() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            Path missing = node.work().resolve("missing");
            Path file = Files.writeString(node.work().resolve("file"), "");
            Path full = Files.createDirectory(node.work().resolve("full"));
            Files.writeString(full.resolve("something"), "");
            for (Path bad : List.of(missing, file, full)) {
                CommandResult result = node.directory().command("run", "--mount", bad.toString());
                assertEquals(EXIT_MOUNT_POINT, result.exitCode(), bad + ": " + result.errors());
                assertTrue(result.errors().contains(bad.toString()), result.errors());
                assertFalse(result.errors().contains("\tat "), "a stack trace is no message: " + result.errors());
            }
            node.start();
            try (TestNode other = TestNode.initialised()) {
                CommandResult busy =
                        other.directory().command("run", "--mount", node.mount().toString());
                assertEquals(EXIT_MOUNT_POINT, busy.exitCode(), busy.errors());
            }
            Files.writeString(node.mount().resolve("file"), "still here");
        }
    }

    @Test
    void aStaleMountIsClearedByTheNextStart() throws Exception {
        try (TestNode node = TestNode.started()) {
            Files.writeString(node.mount().resolve("file"), "content");
            node.process().sync();
            // With the helper that watches over the node's end gone too, the kernel keeps the dead mount.
            ProcessHandle.of(node.process().pid())
                    .orElseThrow()
                    .descendants()
                    .toList()
                    .forEach(ProcessHandle::destroyForcibly);
            node.kill();
            PosixException stale = assertThrows(
                    PosixException.class, () -> Posix.stat(node.mount().toString()));
            assertEquals(Errno.ENOTCONN, stale.errno());
            node.start();
            assertEquals("content", Files.readString(node.mount().resolve("file")));
        }
    }

    @Test
    void aReadOnlyDataDirectoryCanBeReadAndCheckedAndDoesNoHarm() throws Exception {
        try (TestNode node = TestNode.started()) {
            writeDurably(node.mount().resolve("file"), new byte[] {1});
            node.kill();
            Program.shell(node.work(), "mount --bind data data; mount -o remount,bind,ro data")
                    .run();
            CommandResult refused =
                    node.directory().command("run", "--mount", node.mount().toString());
            assertEquals(EXIT_FAILED, refused.exitCode(), refused.errors());
            assertFalse(refused.errors().contains("\tat "), "a stack trace is no message: " + refused.errors());
            assertTrue(refused.errors().contains(node.data().toString()), refused.errors());
            assertTrue(refused.errors().contains("--read-only"), refused.errors());
            node.requireCleanOfflineFsck();
            NodeOptions writing = node.options();
            node.withArguments("--read-only").start();
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(node.mount().resolve("file")));
            assertThrows(PosixException.class, () -> writeDurably(node.mount().resolve("refused"), new byte[] {2}));
            CommandResult status = node.directory().status();
            assertTrue(status.output().startsWith("{\"state\":\"read_only\""), status.toString());
            assertEquals(
                    EXIT_ALREADY_RUNNING,
                    node.directory().command("run", "--read-only").exitCode());
            node.requireCleanFsck();
            node.stop();
            Program.shell(node.work(), "mount -o remount,bind,rw data").run();
            node.with(writing).start();
            writeDurably(node.mount().resolve("again"), new byte[] {3});
            node.requireCleanFsck();
        }
    }

    @Test
    void aDiskWithoutRoomIsToldAtTheStartAndTheTreeCanBeRead() throws Exception {
        try (TestNode node = nodeOn("mount -t tmpfs -o size=320m,mode=700 tmpfs .")) {
            node.start();
            writeDurably(node.mount().resolve("file"), new byte[] {1});
            node.stop();
            Program.shell(node.data(), "cat /dev/zero > filler").result();
            CommandResult refused =
                    node.directory().command("run", "--mount", node.mount().toString());
            assertEquals(EXIT_NO_SPACE, refused.exitCode(), refused.errors());
            assertTrue(refused.errors().contains("No space left on device"), refused.errors());
            assertTrue(refused.errors().contains("btnode run --read-only"), refused.errors());
            NodeOptions writing = node.options();
            node.withArguments("--read-only").start();
            assertArrayEquals(new byte[] {1}, Files.readAllBytes(node.mount().resolve("file")));
            node.stop();
            Files.delete(node.data().resolve("filler"));
            node.with(writing).start();
            writeDurably(node.mount().resolve("again"), new byte[] {2});
        }
    }

    @Test
    void aNodeKeyThatOthersCanReadIsRefused() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            Path key = node.data().resolve("node.key");
            Set<PosixFilePermission> right = Files.getPosixFilePermissions(key);
            assertEquals(PosixFilePermissions.fromString("rw-------"), right);
            Files.setPosixFilePermissions(key, PosixFilePermissions.fromString("rw-r--r--"));
            CommandResult refused = node.directory()
                    .command(
                            "run",
                            "--mount",
                            Files.createDirectories(node.mount()).toString());
            assertEquals(EXIT_BAD_KEY_FILE, refused.exitCode(), refused.errors());
            assertTrue(refused.errors().contains(key.toString()), refused.errors());
            Files.setPosixFilePermissions(key, right);
            node.start();
        }
    }

    @Test
    void aDirtyLimitThatDoesNotFitTheHeapIsRefused() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            String mount = Files.createDirectories(node.mount()).toString();
            for (String limit : List.of("10G", "10K")) {
                CommandResult refused = node.directory().command("run", "--dirty-limit", limit, "--mount", mount);
                assertEquals(EXIT_BAD_CONFIGURATION, refused.exitCode(), refused.errors());
                assertTrue(refused.errors().contains("dirty_limit"), refused.errors());
            }
        }
    }

    @Test
    void memoryStaysBoundedWhileALargeFileIsWrittenAndRead() throws Exception {
        try (TestNode node = TestNode.started()) {
            Program.shell(
                            node.mount(),
                            "head -c 64M /dev/urandom > ../random; for i in $(seq 16); do cat ../random; done > large; sync large")
                    .run();
            Program.shell(node.mount(), "cmp -n 67108864 large ../random; cat large > /dev/null")
                    .run();
            byte[] small = new byte[3000];
            new Random(11).nextBytes(small);
            for (int i = 0; i < 20_000; i++) {
                Files.write(node.mount().resolve("small" + i), small);
            }
            // With the caches of inodes, keys and tree nodes full.
            Program.shell(
                            node.mount(),
                            "for i in $(seq 8); do cat ../random; done > again; sync again; cat small* > /dev/null")
                    .run();
            long resident = node.memoryBytes("VmHWM");
            assertTrue(resident < TestNode.RESIDENT_BYTES_MAX, "peak of " + resident / MIB + " MiB resident");
        }
    }

    @Test
    void anUnprivilegedUserRunsANode() throws Exception {
        Program.require("setpriv", "fusermount");
        List<String> nobody = List.of("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--");
        Path device = Path.of("/dev/fuse");
        Set<PosixFilePermission> devicePermissions = Files.getPosixFilePermissions(device);
        // As udev makes it; a container often has it for root only.
        Files.setPosixFilePermissions(device, PosixFilePermissions.fromString("rw-rw-rw-"));
        try (TestNode node = TestNode.initialised(NodeProgram.find().withPrefix(nobody))) {
            Files.createDirectory(node.mount());
            Files.createFile(node.directory().log());
            // A tree of that user's own: its root belongs to who made it.
            Program.shell(node.work(), "rm -rf data; chown -R nobody .").run();
            node.directory().init();
            NodeProcess process = node.with(new NodeOptions(
                            List.of(node.mount()),
                            List.of(),
                            Map.of("HOME", node.work().toString()),
                            Duration.ofMinutes(1)))
                    .start();
            assertEquals(
                    "65534",
                    Program.shell(node.work(), "awk '/^Uid/ { print $3 }' /proc/" + process.pid() + "/status")
                            .run()
                            .strip());
            Program.in(
                            node.work(),
                            concat(
                                    nobody,
                                    "bash",
                                    "-c",
                                    "cd mount && echo mine > file && mkdir d && ln file d/link && cat d/link"))
                    .run();
            assertEquals(
                    "mine\n",
                    Program.in(node.work(), concat(nobody, "cat", "mount/file")).run());
            assertEquals(
                    "65534\n",
                    Program.in(node.work(), concat(nobody, "stat", "-c", "%u", "mount/file"))
                            .run());
            // Not even root looks in without allow_other.
            assertNotEquals(0, Program.shell(node.work(), "ls mount").result().exitCode());
            node.stop();
            assertFalse(Files.readString(Path.of("/proc/mounts"))
                    .contains(node.mount().toString()));
            node.start();
            assertEquals(
                    "mine\n",
                    Program.in(node.work(), concat(nobody, "cat", "mount/d/link"))
                            .run());
        } finally {
            Files.setPosixFilePermissions(device, devicePermissions);
        }
    }

    private static String[] concat(List<String> prefix, String... command) {
        return java.util.stream.Stream.concat(prefix.stream(), java.util.Arrays.stream(command))
                .toArray(String[]::new);
    }

    /** The spelling that scripts rely on. */
    @Test
    void theProgramInTheCheckoutWorksAsTheReadmeSays() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            Path work = Files.createDirectory(node.work().resolve("readme"));
            Path program = TestNode.projectDirectory().resolve("bin/btnode");
            Files.writeString(work.resolve("passphrase"), "correct horse\n");
            Files.createDirectory(work.resolve("mount"));
            readme(work, program + " init --data-dir data --passphrase-file passphrase")
                    .run();
            assertNotEquals(
                    0,
                    readme(work, program + " status --data-dir data --json")
                            .result()
                            .exitCode());
            Process run = Program.in(work, program.toString(), "run", "--data-dir", "data", "--mount", "mount")
                    .with("BTNODE_NO_BUILD", "1")
                    .start(ProcessBuilder.Redirect.to(work.resolve("log").toFile()));
            try {
                Await.until(Duration.ofSeconds(60), "mount is a mount point", () -> {
                    assertTrue(
                            run.isAlive(), () -> Program.shell(work, "cat log").run());
                    return Program.shell(work, "mountpoint -q mount").result().exitCode() == 0;
                });
                Files.writeString(work.resolve("mount/file"), "content");
                String status =
                        readme(work, program + " status --data-dir data --json").run();
                assertTrue(status.startsWith("{") && status.contains("mount"), status);
                // With its look at the sources, which a build that has just been made passes.
                Program.shell(TestNode.projectDirectory(), "touch node-daemon/target/dist/.built")
                        .run();
                Program.shell(work, program + " status --data-dir data").run();
                String live = readme(work, program + " fsck --data-dir data --passphrase-file passphrase --json")
                        .run();
                assertTrue(live.contains("\"clean\":true") || live.contains("\"clean\": true"), live);
                run.destroy();
                assertEquals(0, run.waitFor());
            } finally {
                run.descendants().forEach(ProcessHandle::destroy);
                run.destroy();
            }
            readme(work, program + " fsck --data-dir data --passphrase-file passphrase --json")
                    .run();
            assertNotEquals(
                    0, Program.shell(work, "mountpoint -q mount").result().exitCode());
        }
    }

    /** What is tested is what was built; the program would build when it sees newer sources. */
    private static Program readme(Path work, String command) {
        return Program.shell(work, command).with("BTNODE_NO_BUILD", "1");
    }

    /** A node whose data directory is what this command mounts on it. */
    private static TestNode nodeOn(String mountCommand) throws Exception {
        return TestNode.initialised(
                NodeProgram.find(), data -> Program.shell(data, mountCommand).run());
    }

    /** Whether a durable write is taken; when not, {@code refusal} is the reason. */
    private static boolean isTaken(Path file, byte[] content, Errno refusal) {
        try {
            writeDurably(file, content);
            return true;
        } catch (PosixException e) {
            assertEquals(refusal, e.errno());
            return false;
        }
    }

    private static void writeDurably(Path file, byte[] content) throws PosixException {
        int fd = Posix.open(file.toString(), Posix.O_WRONLY | Posix.O_CREAT | Posix.O_TRUNC, 0644);
        try {
            Posix.write(fd, content);
            Posix.fsync(fd);
        } finally {
            Posix.close(fd);
        }
    }
}
