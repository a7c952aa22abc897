package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.ViewOptions;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Kernels on two nodes: what is changed and synced through one is seen through all mounts of the other, well before the kernel would ask by itself. */
@SuppressWarnings("NullAway.Init")
@Timeout(120)
class ChangedElsewhereMountTest {
    private static final Duration LONG = Duration.ofSeconds(20);
    /** Names and attributes are valid for a minute without that. */
    private static final Duration BOUND = Duration.ofSeconds(3);

    private TwoNodes nodes;
    private Path here;
    private Path there;
    private Path alsoThere;
    private final List<FuseMount> mounts = new ArrayList<>();

    @BeforeEach
    void mount(@TempDir Path directory) throws Exception {
        nodes = new TwoNodes(directory);
        MountOptions options = MountOptions.defaults().withLibrary(Library.LIBFUSE3);
        List<Path> points = new ArrayList<>();
        for (int node : new int[] {0, 1, 1}) {
            Path point = Files.createDirectory(directory.resolve("mount" + points.size()));
            points.add(point);
            mounts.add(FuseMount.mount(nodes.tree(node).view(ViewOptions.defaults()), point, options));
        }
        here = points.get(0);
        there = points.get(1);
        alsoThere = points.get(2);
    }

    @AfterEach
    void unmount() throws Exception {
        for (FuseMount mount : mounts) {
            mount.unmount(LONG);
        }
        nodes.close();
    }

    private void sync() throws Exception {
        nodes.tree(0).sync();
    }

    private static void within(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + BOUND.toNanos();
        while (!condition.call()) {
            assertTrue(System.nanoTime() < deadline, () -> "not within " + BOUND + ": " + what);
            Thread.sleep(1);
        }
    }

    private static Set<String> list(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.map(entry -> entry.getFileName().toString()).collect(Collectors.toSet());
        }
    }

    private static byte[] filled(char c, int size) {
        byte[] bytes = new byte[size];
        Arrays.fill(bytes, (byte) c);
        return bytes;
    }

    @Test
    void namesComeGoAndMove() throws Exception {
        for (int i = 0; i < 20; i++) {
            assertFalse(Files.exists(there.resolve("file")));
            assertFalse(Files.exists(alsoThere.resolve("file")));
            Files.writeString(here.resolve("file"), "content " + i);
            sync();
            within("made", () -> Files.exists(there.resolve("file")) && Files.exists(alsoThere.resolve("file")));
            assertEquals("content " + i, Files.readString(there.resolve("file")));
            Files.move(here.resolve("file"), here.resolve("moved"));
            sync();
            within(
                    "moved",
                    () -> !Files.exists(there.resolve("file"))
                            && Files.exists(there.resolve("moved"))
                            && Files.exists(alsoThere.resolve("moved")));
            assertEquals("content " + i, Files.readString(alsoThere.resolve("moved")));
            Files.delete(here.resolve("moved"));
            sync();
            within("gone", () -> !Files.exists(there.resolve("moved")) && !Files.exists(alsoThere.resolve("moved")));
        }
        Files.createDirectories(here.resolve("a/b/c"));
        Files.writeString(here.resolve("a/b/c/file"), "content");
        sync();
        within("deep", () -> Files.exists(there.resolve("a/b/c/file")));
        Files.move(here.resolve("a/b"), here.resolve("d"));
        sync();
        within("moved", () -> !Files.exists(there.resolve("a/b/c/file")) && Files.exists(there.resolve("d/c/file")));
        Files.createDirectory(here.resolve("a/b"));
        sync();
        within("another", () -> Files.exists(there.resolve("a/b")));
        assertEquals(Set.of(), list(there.resolve("a/b")));
    }

    @Test
    void aFileThatIsReplacedAgainAndAgainIsAlwaysThere() throws Exception {
        Files.writeString(here.resolve("file"), "0");
        sync();
        within("made", () -> Files.exists(there.resolve("file")));
        for (int i = 1; i < 200; i++) {
            String content = String.valueOf(i);
            Files.writeString(here.resolve("new"), content);
            Files.move(here.resolve("new"), here.resolve("file"), StandardCopyOption.ATOMIC_MOVE);
            sync();
            within(content, () -> Files.readString(there.resolve("file")).equals(content));
        }
    }

    @Test
    void attributesAndPagesOfOpenFilesAreReadAgain() throws Exception {
        Path file = here.resolve("file");
        Files.write(file, filled('a', 100_000));
        sync();
        within("made", () -> Files.exists(there.resolve("file")));
        try (FileChannel reader = FileChannel.open(there.resolve("file"))) {
            for (char c = 'b'; c < 'z'; c++) {
                byte[] content = filled(c, 100_000 - 1_000 * (c - 'a'));
                Files.write(file, content);
                sync();
                within("size", () -> Files.size(there.resolve("file")) == content.length);
                within("open", () -> Arrays.equals(content, read(reader)));
                within("again", () -> Arrays.equals(content, Files.readAllBytes(alsoThere.resolve("file"))));
            }
        }
        for (String permissions : List.of("rw-------", "r--r--r--", "rwxr-xr-x")) {
            Files.setPosixFilePermissions(file, PosixFilePermissions.fromString(permissions));
            sync();
            within(
                    permissions,
                    () -> PosixFilePermissions.toString(Files.getPosixFilePermissions(there.resolve("file")))
                            .equals(permissions));
        }
    }

    private static byte[] read(FileChannel channel) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocate(200_000);
        int position = 0;
        while (true) {
            int read = channel.read(buffer, position);
            if (read < 0) {
                return Arrays.copyOf(buffer.array(), position);
            }
            position += read;
        }
    }

    @Test
    void aFileThatIsDeletedWhileItIsOpenIsStale() throws Exception {
        Files.write(here.resolve("file"), filled('a', 100_000));
        sync();
        within("made", () -> Files.exists(there.resolve("file")));
        try (FileChannel reader = FileChannel.open(there.resolve("file"))) {
            assertArrayEquals(filled('a', 100_000), read(reader));
            Files.delete(here.resolve("file"));
            Files.write(here.resolve("file"), filled('b', 100_000));
            sync();
            within("another", () -> Files.readString(there.resolve("file")).startsWith("b"));
            IOException e = assertThrows(IOException.class, () -> read(reader));
            assertTrue(String.valueOf(e.getMessage()).contains("tale file handle"), e::toString);
        }
    }

    @Test
    void aLargeDirectoryThatTheKernelKnowsFollows() throws Exception {
        Path directory = Files.createDirectory(here.resolve("d"));
        int count = 3_000;
        for (int i = 0; i < count; i++) {
            Files.createFile(directory.resolve("file number " + i));
        }
        sync();
        within("listed", () -> list(there.resolve("d")).size() == count);
        for (int i = 0; i < count; i++) {
            assertTrue(Files.exists(there.resolve("d/file number " + i)));
            assertFalse(Files.exists(there.resolve("d/new " + i)));
        }
        for (int i = 0; i < count; i += 3) {
            Files.move(directory.resolve("file number " + i), directory.resolve("new " + i));
            Files.delete(directory.resolve("file number " + (i + 1)));
        }
        sync();
        Set<String> expected = IntStream.range(0, count)
                .filter(i -> i % 3 != 1)
                .mapToObj(i -> (i % 3 == 0 ? "new " : "file number ") + i)
                .collect(Collectors.toSet());
        within("the last of them", () -> Files.exists(there.resolve("d/new " + (count - 3))));
        within("listed", () -> list(there.resolve("d")).equals(expected));
        within(
                "each by its name",
                () -> IntStream.range(0, count)
                        .allMatch(i -> Files.exists(there.resolve("d/file number " + i)) == (i % 3 == 2)
                                && Files.exists(there.resolve("d/new " + i)) == (i % 3 == 0)));
    }

    /** Of a directory that changes, only the names that have changed are dropped: a program that stands in another is not touched. */
    @Test
    void whoWorksInADirectoryBesideWhatChangesIsNotDisturbed() throws Exception {
        Files.createDirectories(here.resolve("d/quiet"));
        sync();
        within("made", () -> Files.exists(there.resolve("d/quiet")));
        Process shell = new ProcessBuilder("/bin/sh")
                .directory(there.resolve("d/quiet").toFile())
                .redirectErrorStream(true)
                .start();
        try (BufferedReader out = shell.inputReader(StandardCharsets.UTF_8);
                OutputStream in = shell.getOutputStream()) {
            for (int i = 0; i < 20; i++) {
                int number = i;
                Files.createFile(here.resolve("d/f" + i));
                sync();
                within("made", () -> Files.exists(there.resolve("d/f" + number)));
                in.write("/bin/pwd -P\n".getBytes(StandardCharsets.UTF_8));
                in.flush();
                assertEquals(there.toRealPath().resolve("d/quiet").toString(), out.readLine());
            }
        } finally {
            shell.destroyForcibly().waitFor();
        }
    }
}
