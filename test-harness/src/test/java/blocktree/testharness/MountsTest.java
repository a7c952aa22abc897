package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.harness.HarnessException;
import blocktree.testharness.posix.Errno;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Several ways to look at one tree: snapshots, earlier versions, more than one mount, a part of the tree, read-only. */
class MountsTest {
    private static final Duration ATTRIBUTE_TIMEOUT = Duration.ofSeconds(3);

    private TestNode node;

    @SuppressWarnings("NullAway.Init")
    MountsTest() {}

    @BeforeEach
    void start() throws Exception {
        node = TestNode.started();
    }

    @AfterEach
    void close() {
        node.close();
    }

    @Test
    void aSnapshotKeepsTheTreeAsItWas() throws Exception {
        byte[] content = new byte[400_000];
        new Random(3).nextBytes(content);
        Files.createDirectories(path("a/b"));
        Files.write(path("a/b/file"), content);
        Files.writeString(path("a/deleted"), "will go");
        Posix.symlink("b/file", path("a/link").toString());
        node.process().createSnapshot("first one");
        Files.writeString(path("a/b/file"), "changed");
        Files.delete(path("a/deleted"));
        Files.writeString(path("a/new"), "new");
        Files.move(path("a/b"), path("a/c"));

        assertArrayEquals(content, Files.readAllBytes(path(".snapshots/first one/a/b/file")));
        assertArrayEquals(content, Files.readAllBytes(path(".snapshots/first one/a/link")));
        assertEquals("will go", Files.readString(path(".snapshots/first one/a/deleted")));
        assertEquals(
                Set.of("b", "deleted", "link"),
                Posix.list(path(".snapshots/first one/a").toString()).keySet());
        assertEquals("changed", Files.readString(path("a/c/file")));
        assertEquals(List.of("first one"), names());
        assertFalse(Posix.list(node.mount().toString()).containsKey(".snapshots"), "listed without being asked for");
        for (Posix.Call<?> change : List.<Posix.Call<?>>of(
                () -> Posix.open(path(".snapshots/first one/a/b/file").toString(), Posix.O_RDWR),
                () -> Posix.open(path(".snapshots/first one/x").toString(), Posix.O_CREAT | Posix.O_WRONLY, 0644),
                () -> {
                    Posix.unlink(path(".snapshots/first one/a/deleted").toString());
                    return "unlinked";
                },
                () -> {
                    Posix.mkdir(path(".snapshots/another").toString(), 0755);
                    return "made";
                })) {
            assertEquals(
                    Errno.EROFS, assertThrows(PosixException.class, change::run).errno());
        }

        node.restart();
        assertArrayEquals(content, Files.readAllBytes(path(".snapshots/first one/a/b/file")));
        assertEquals("changed", Files.readString(path("a/c/file")));
        node.requireCleanFsck();
        node.process().deleteSnapshot("first one");
        assertEquals(List.of(), names());
        Await.until(ATTRIBUTE_TIMEOUT, "the snapshot is gone", () -> !Files.exists(path(".snapshots/first one/a")));
        assertEquals("changed", Files.readString(path("a/c/file")));
        node.requireCleanFsck();
    }

    private List<String> names() throws Exception {
        return node.process().snapshots().stream()
                .map(ControlReply.Snapshot::name)
                .toList();
    }

    @Test
    void earlierVersionsOfAFileAreThere() throws Exception {
        for (int version = 1; version <= 3; version++) {
            Files.writeString(path("file"), "version " + version);
            node.process().sync();
        }
        Path versions = path(".snapshots/.versions/file");
        Set<String> contents = new java.util.TreeSet<>();
        for (String name : Posix.list(versions.toString()).keySet()) {
            contents.add(Files.readString(versions.resolve(name)));
        }
        assertTrue(contents.containsAll(Set.of("version 1", "version 2", "version 3")), contents.toString());
    }

    @Test
    void snapshotsShareTheirSpace() throws Exception {
        Program.shell(node.mount(), "head -c 20M /dev/urandom > large; sync large")
                .run();
        node.process().sync();
        long before = storedKib();
        for (int i = 0; i < 10; i++) {
            node.process().createSnapshot("s" + i);
        }
        long after = storedKib();
        assertTrue(after - before < 8000, "ten snapshots took " + (after - before) + " KiB");
    }

    private long storedKib() {
        return Long.parseLong(
                Program.shell(node.data(), "du -sk . | cut -f1").run().strip());
    }

    @Test
    void severalMountsShowOneTree() throws Exception {
        Path second = Files.createDirectory(node.work().resolve("second"));
        Path readOnly = Files.createDirectory(node.work().resolve("read-only"));
        Path part = Files.createDirectory(node.work().resolve("part"));
        Files.createDirectories(path("dir/inner"));
        Files.writeString(path("outside"), "outside");
        Files.writeString(path("dir/file"), "one");
        node.process().mount(mount(second, false, "", true));
        node.process().mount(mount(readOnly, true, "", false));
        node.process().mount(mount(part, false, "dir", false));

        assertEquals("one", Files.readString(second.resolve("dir/file")));
        assertEquals("one", Files.readString(readOnly.resolve("dir/file")));
        assertEquals("one", Files.readString(part.resolve("file")));
        assertTrue(Posix.list(second.toString()).containsKey(".snapshots"), "asked for");

        Files.writeString(part.resolve("inner/made-in-part"), "two");
        Files.writeString(part.resolve("file"), "a longer text");
        for (Path mount : List.of(node.mount(), second, readOnly)) {
            Await.until(
                    ATTRIBUTE_TIMEOUT,
                    "a new file shows in " + mount,
                    () -> Files.exists(mount.resolve("dir/inner/made-in-part")));
            assertEquals("two", Files.readString(mount.resolve("dir/inner/made-in-part")));
            Await.until(
                    ATTRIBUTE_TIMEOUT,
                    "a changed file shows in " + mount,
                    () -> Files.readString(mount.resolve("dir/file")).equals("a longer text"));
        }
        assertEquals(Set.of("file", "inner"), Posix.list(part.toString()).keySet());
        assertFalse(Files.exists(part.resolve("../outside/x")) || Files.exists(part.resolve("outside")));

        PosixException refused = assertThrows(
                PosixException.class,
                () -> Posix.open(readOnly.resolve("new").toString(), Posix.O_CREAT | Posix.O_WRONLY, 0644));
        assertEquals(Errno.EROFS, refused.errno());
        assertEquals(
                Errno.EROFS,
                assertThrows(
                                PosixException.class,
                                () -> Posix.chmod(readOnly.resolve("dir").toString(), 0700))
                        .errno());

        node.process().unmount(second, false);
        assertFalse(Files.exists(second.resolve("dir")));
        node.stop();
        assertFalse(
                Files.readString(Path.of("/proc/mounts")).contains(node.work().toString()), "everything is unmounted");
        node.requireCleanOfflineFsck();
    }

    private static ControlMount mount(Path point, boolean readOnly, String subtree, boolean showSnapshots) {
        return new ControlMount(point.toString(), readOnly, false, subtree, showSnapshots);
    }

    /** One descriptor, one lock, one busy mount: whoever holds a file open keeps the mount, and is told by force. */
    @Test
    void whatAMountHasDoneCountsWhenItIsGone() throws Exception {
        Path other = Files.createDirectory(node.work().resolve("other"));
        node.process().mount(mount(other, false, "", false));
        Files.writeString(other.resolve("file"), "content");
        long before = creations();
        assertTrue(before > 0);
        node.process().unmount(other, false);
        assertEquals(before, creations());
        Files.writeString(path("another"), "content");
        assertEquals(before + 1, creations());
    }

    private long creations() throws HarnessException {
        return node.process().status().latencies().stream()
                .filter(latency -> latency.name().equals("fuse.create"))
                .mapToLong(ControlReply.Latency::count)
                .sum();
    }

    @Test
    void aBusyMountIsGivenBackWhenItIsFree() throws Exception {
        Path second = Files.createDirectory(node.work().resolve("second"));
        node.process().mount(mount(second, false, "", false));
        int fd = Posix.open(second.resolve("open").toString(), Posix.O_CREAT | Posix.O_RDWR, 0644);
        Posix.write(fd, new byte[] {1, 2, 3});
        node.process().unmount(second, true);
        assertFalse(Files.exists(second.resolve("open")));
        assertThrows(PosixException.class, () -> {
            Posix.write(fd, new byte[] {4});
            Posix.fsync(fd);
        });
        try {
            Posix.close(fd);
        } catch (PosixException e) {
            assertTrue(e.isDisconnected(), e.toString());
        }
        assertArrayEquals(new byte[] {1, 2, 3}, Files.readAllBytes(path("open")));
    }

    /** As an administrator does with a mount that is stuck: programs get errors, the node goes on, and what it has acknowledged is there when it is mounted again. */
    @Test
    void anAbortedMountLosesNothingThatWasAcknowledged() throws Exception {
        Path aborted = Files.createDirectory(node.work().resolve("aborted"));
        ControlMount mount = mount(aborted, false, "", false);
        node.process().mount(mount);
        List<FileWriter> writers = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            writers.add(new FileWriter(Files.createDirectory(aborted.resolve("w" + i))));
        }
        writers.forEach(Thread::start);
        Await.until(
                Duration.ofSeconds(30),
                "the writers are at it",
                () -> writers.stream().allMatch(writer -> writer.acknowledged >= 5));
        int seen = node.process().events().size();
        Program.shell(node.work(), """
                        device=$(awk -v point=%s '$5 == point { split($3, number, ":"); print number[2] }' /proc/self/mountinfo)
                        mkdir -p connections && mount -t fusectl none connections
                        echo 1 > connections/$device/abort; umount connections
                        """.formatted(aborted)).run();
        for (FileWriter writer : writers) {
            writer.join(30_000);
            assertFalse(writer.isAlive(), "a program hangs");
        }
        node.process().awaitEvent("unmounted", seen, Duration.ofSeconds(10));
        Await.until(
                Duration.ofSeconds(10),
                "the status says so",
                () -> node.process().status().mounts().size() == 1);
        assertFalse(Files.exists(aborted.resolve("w0")));
        node.process().mount(mount);
        for (FileWriter writer : writers) {
            writer.verify();
        }
        node.process().unmount(aborted, false);
        node.requireCleanFsck();
    }

    /** Writes files and syncs each, until the mount is gone. */
    private static final class FileWriter extends Thread {
        private final Path directory;
        volatile int acknowledged;

        FileWriter(Path directory) {
            this.directory = directory;
        }

        @Override
        public void run() {
            try {
                for (int i = 1; ; i++) {
                    try (FileChannel file = FileChannel.open(
                            directory.resolve("f" + i), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                        file.write(ByteBuffer.wrap(content(i)));
                        file.force(true);
                        acknowledged = i;
                    }
                }
            } catch (IOException e) {
                // The mount is gone, as it should be.
            }
        }

        private static byte[] content(int i) {
            byte[] content = new byte[1 + i * 997 % 60_000];
            new Random(i).nextBytes(content);
            return content;
        }

        void verify() throws IOException {
            for (int i = 1; i <= acknowledged; i++) {
                assertArrayEquals(content(i), Files.readAllBytes(directory.resolve("f" + i)));
            }
        }
    }

    private Path path(String relative) {
        return node.mount().resolve(relative);
    }
}
