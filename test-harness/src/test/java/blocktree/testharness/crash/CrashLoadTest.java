package blocktree.testharness.crash;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The judge judged: on a plain directory that does not crash all is well, and every kind of loss made by hand is seen. */
class CrashLoadTest {
    @TempDir
    Path directory;

    private CrashLoad load;

    @BeforeEach
    void runLoad() throws Exception {
        load = new CrashLoad(directory.toString(), 3, 7);
        load.start();
        load.awaitAcknowledged(150, 20_000);
        load.stop();
        load.awaitEnd();
    }

    @Test
    void nothingIsWrongWithoutACrash() throws Exception {
        assertEquals(List.of(), load.verify());
        load.start();
        load.awaitAcknowledged(50, 20_000);
        load.stop();
        load.awaitEnd();
        assertEquals(List.of(), load.verify());
        assertTrue(load.acknowledgedCount() >= 200);
    }

    @Test
    void aLostFileIsSeen() throws Exception {
        assertEquals(List.of(), load.verify());
        Files.delete(someFile());
        assertProblem("lost: ");
    }

    @Test
    void aTornPageIsSeen() throws Exception {
        write(someFile(), 100, new byte[] {1, 2, 3});
        assertProblem("torn: ");
    }

    @Test
    void aZeroedPageIsSeen() throws Exception {
        write(someFile(), 0, new byte[Page.SIZE_BYTES]);
        assertProblem("torn: ");
    }

    @Test
    void anOlderPageIsSeen() throws Exception {
        assertEquals(List.of(), load.verify());
        Path file = someFile();
        Page page = Objects.requireNonNull(Page.decode(Files.readAllBytes(file), 0));
        ByteBuffer old = ByteBuffer.allocate(Page.SIZE_BYTES);
        new Page(page.file(), 0, page.version() - 1).encode(old);
        write(file, 0, old.array());
        assertProblem("wrong content: ");
    }

    @Test
    void anUndoneRenameIsSeen() throws Exception {
        assertEquals(List.of(), load.verify());
        Path file = someFile();
        Files.move(file, file.resolveSibling("elsewhere"));
        assertProblem("misplaced: ");
    }

    @Test
    void aCutFileIsSeen() throws Exception {
        assertEquals(List.of(), load.verify());
        Files.write(someFile(), new byte[0], StandardOpenOption.TRUNCATE_EXISTING);
        assertProblem("lost: ");
    }

    private void assertProblem(String kind) throws Exception {
        List<String> problems = load.verify();
        assertTrue(
                problems.stream().anyMatch(problem -> problem.startsWith(kind)), () -> kind + " is not in " + problems);
    }

    private Path someFile() throws IOException {
        try (Stream<Path> files = Files.walk(directory)) {
            return files.filter(Files::isRegularFile)
                    .filter(file -> file.toFile().length() > 0)
                    .max(Comparator.comparing(Path::toString))
                    .orElseThrow();
        }
    }

    private static void write(Path file, long offset, byte[] data) throws IOException {
        try (var channel = Files.newByteChannel(file, StandardOpenOption.WRITE)) {
            channel.position(offset).write(ByteBuffer.wrap(data));
        }
    }
}
