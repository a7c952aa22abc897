package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.MemoryFileSystem;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Two mounts of one tree in one process, each with a kernel that caches names, attributes, pages and writes: what is done through one is seen through the other when the call has returned. */
@SuppressWarnings("NullAway.Init")
class SharedTreeTest {
    private static final Duration LONG = Duration.ofSeconds(20);

    private Path one;
    private Path two;
    private final List<FuseMount> mounts = new ArrayList<>();

    private final MemoryFileSystem fileSystem = new MemoryFileSystem();

    @BeforeEach
    void mountTwice(@TempDir Path directory) throws Exception {
        one = Files.createDirectory(directory.resolve("one"));
        two = Files.createDirectory(directory.resolve("two"));
        MountOptions options = MountOptions.defaults().withLibrary(Library.LIBFUSE3);
        mounts.add(FuseMount.mount(fileSystem, one, options));
        mounts.add(FuseMount.mount(fileSystem, two, options));
    }

    private void mountOneAgainWithWriteBackCache() throws Exception {
        MountOptions options = MountOptions.defaults().withLibrary(Library.LIBFUSE3);
        mounts.remove(0).unmount(LONG);
        mounts.add(FuseMount.mount(fileSystem, one, options.withWriteBackCache(true)));
    }

    @AfterEach
    void unmount() throws Exception {
        for (FuseMount mount : mounts) {
            mount.unmount(LONG);
        }
    }

    @Test
    void namesThatTheOtherHasLookedUpComeAndGo() throws Exception {
        for (int i = 0; i < 50; i++) {
            assertFalse(Files.exists(two.resolve("file")));
            Files.createFile(one.resolve("file"));
            assertTrue(Files.exists(two.resolve("file")));
            Files.move(one.resolve("file"), one.resolve("moved"));
            assertFalse(Files.exists(two.resolve("file")));
            assertTrue(Files.exists(two.resolve("moved")));
            Files.delete(one.resolve("moved"));
            assertFalse(Files.exists(two.resolve("moved")));
        }
        Files.createDirectories(one.resolve("a/b/c"));
        Files.writeString(one.resolve("a/b/c/file"), "content");
        assertEquals("content", Files.readString(two.resolve("a/b/c/file")));
        Files.move(one.resolve("a/b"), one.resolve("d"));
        assertFalse(Files.exists(two.resolve("a/b/c/file")));
        assertEquals("content", Files.readString(two.resolve("d/c/file")));
        Files.createDirectory(one.resolve("a/b"));
        try (Stream<Path> entries = Files.list(two.resolve("a/b"))) {
            assertEquals(0, entries.count());
        }
    }

    @Test
    void attributesAreThoseThatTheOtherHasSet() throws Exception {
        Files.writeString(one.resolve("file"), "content");
        for (String permissions : List.of("rw-------", "r--r--r--", "rwxr-xr-x")) {
            assertEquals(7, Files.size(two.resolve("file")));
            Files.setPosixFilePermissions(one.resolve("file"), PosixFilePermissions.fromString(permissions));
            assertEquals(
                    permissions, PosixFilePermissions.toString(Files.getPosixFilePermissions(two.resolve("file"))));
        }
        assertEquals(1, Files.getAttribute(two.resolve("file"), "unix:nlink"));
        Files.createLink(one.resolve("link"), one.resolve("file"));
        assertEquals(2, Files.getAttribute(two.resolve("file"), "unix:nlink"));
        Files.delete(two.resolve("link"));
        assertEquals(1, Files.getAttribute(one.resolve("file"), "unix:nlink"));
    }

    @Test
    void pagesOfAnOpenFileAreReadAgainWhenTheOtherHasWritten() throws Exception {
        Path file = one.resolve("file");
        Files.write(file, filled('a'));
        try (FileChannel reader = FileChannel.open(two.resolve("file"))) {
            for (char c = 'b'; c < 'z'; c++) {
                assertArrayEquals(filled((char) (c - 1)), read(reader));
                Files.write(file, filled(c), StandardOpenOption.WRITE);
                assertArrayEquals(filled(c), read(reader));
                assertArrayEquals(filled(c), Files.readAllBytes(two.resolve("file")));
            }
        }
    }

    private static byte[] filled(char c) {
        byte[] bytes = new byte[100_000];
        Arrays.fill(bytes, (byte) c);
        return bytes;
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
    void whatOneKernelKeepsBackTheOtherShows() throws Exception {
        mountOneAgainWithWriteBackCache();
        StringBuilder expected = new StringBuilder();
        try (FileChannel writer =
                FileChannel.open(one.resolve("log"), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            try (FileChannel reader = FileChannel.open(two.resolve("log"))) {
                for (int i = 0; i < 100; i++) {
                    String line = "line " + i + "\n";
                    expected.append(line);
                    writer.write(ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8)));
                    assertEquals(expected.length(), Files.size(two.resolve("log")), line);
                    assertEquals(expected.toString(), new String(read(reader), StandardCharsets.UTF_8), line);
                }
            }
            assertEquals(expected.toString(), Files.readString(two.resolve("log")));
        }
    }

    @Test
    void aFileThatIsClosedAgainIsNotAskedForEachTime() throws Exception {
        mountOneAgainWithWriteBackCache();
        FuseMount reading = mounts.get(0);
        FuseMount keepingBack = mounts.get(1);
        Files.writeString(one.resolve("file"), "content");
        Await.until(
                "the file is released",
                () -> keepingBack.stats().operations().containsKey(Operation.RELEASE)); // counted when it is done
        assertEquals(7, Files.size(two.resolve("file")));
        long before = getattrCount(reading);
        for (int i = 0; i < 100; i++) {
            assertEquals(7, Files.size(two.resolve("file")));
        }
        assertTrue(getattrCount(reading) - before < 10, () -> reading.stats().toString());
    }

    private static long getattrCount(FuseMount mount) {
        MountStatistics.Count count = mount.stats().operations().get(Operation.GETATTR);
        return count == null ? 0 : count.count();
    }

    @Test
    void whatIsWrittenToAFileThatTheOtherHasOpenIsNotKeptBack() throws Exception {
        mountOneAgainWithWriteBackCache();
        Files.writeString(one.resolve("log"), "");
        StringBuilder expected = new StringBuilder();
        try (FileChannel reader = FileChannel.open(two.resolve("log"));
                FileChannel writer = FileChannel.open(one.resolve("log"), StandardOpenOption.WRITE)) {
            for (int i = 0; i < 100; i++) {
                String line = "line " + i + "\n";
                expected.append(line);
                writer.write(ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8)));
                assertEquals(expected.toString(), new String(read(reader), StandardCharsets.UTF_8), line);
            }
        }
        assertEquals(expected.toString(), Files.readString(one.resolve("log")));
    }

    @Test
    void theKernelGivesUpTheNamesThatItDidNotAskForLately() throws Exception {
        mounts.remove(0).unmount(LONG);
        FuseMount mount = FuseMount.mount(
                fileSystem,
                one,
                MountOptions.defaults().withLibrary(Library.LIBFUSE3).withKnownInodesMax(1000));
        mounts.add(mount);
        for (int directory = 0; directory < 20; directory++) {
            Files.createDirectory(one.resolve("d" + directory));
            for (int file = 0; file < 500; file++) {
                Files.createFile(one.resolve("d" + directory + "/f" + file));
            }
        }
        Await.until("most names are dropped", () -> mount.stats().knownInodeCount() < 1200);
        for (int round = 0; round < 3; round++) {
            for (int directory = 0; directory < 20; directory++) {
                for (int file = 0; file < 500; file++) {
                    assertEquals(0, Files.size(one.resolve("d" + directory + "/f" + file)));
                }
            }
        }
        Await.until("most names are dropped again", () -> mount.stats().knownInodeCount() < 1200);
    }

    @Test
    void bothAppendToOneFile() throws Exception {
        try (FileChannel first =
                        FileChannel.open(one.resolve("log"), StandardOpenOption.CREATE, StandardOpenOption.APPEND);
                FileChannel second = FileChannel.open(two.resolve("log"), StandardOpenOption.APPEND)) {
            for (int i = 0; i < 100; i++) {
                first.write(ByteBuffer.wrap(new byte[] {'1'}));
                second.write(ByteBuffer.wrap(new byte[] {'2'}));
            }
        }
        assertEquals("12".repeat(100), Files.readString(one.resolve("log")));
        assertEquals("12".repeat(100), Files.readString(two.resolve("log")));
    }

    @Test
    @Timeout(60)
    void bothWorkInOneDirectoryWithoutWaitingForEachOther() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(4);
        List<Future<Void>> results = new ArrayList<>();
        for (int worker = 0; worker < 4; worker++) {
            Path directory = worker % 2 == 0 ? one : two;
            Random random = new Random(worker);
            String own = "own-" + worker;
            Callable<Void> work = () -> {
                for (int i = 0; i < 200; i++) {
                    Path file = directory.resolve(own);
                    Files.writeString(file, own + i);
                    assertEquals(own + i, Files.readString(file));
                    Files.move(file, directory.resolve("shared-" + random.nextInt(3)), StandardCopyOption.ATOMIC_MOVE);
                    Files.write(directory.resolve("all"), new byte[random.nextInt(50_000)]);
                    assertTrue(Files.readAllBytes(directory.resolve("all")).length < 50_000);
                }
                return null;
            };
            results.add(threads.submit(work));
        }
        for (Future<Void> result : results) {
            result.get(60, TimeUnit.SECONDS);
        }
        threads.shutdown();
        // While both were at it a notice may have come later than the answer that waited for it; it comes.
        for (int i = 0; i < 3; i++) {
            String name = "shared-" + i;
            Await.until(
                    "both show the same",
                    () -> Files.readString(one.resolve(name)).equals(Files.readString(two.resolve(name))));
        }
    }
}
