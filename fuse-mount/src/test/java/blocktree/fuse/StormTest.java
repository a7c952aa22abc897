package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.MemoryFileSystem;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * 64 threads at once on one mount, on files of their own and on shared ones.
 *
 * <p>System properties: {@code blocktree.storm.seconds} (3), {@code blocktree.storm.seed} (drawn; a failure names it).
 */
@ParameterizedClass
@CsvSource({"LIBFUSE3,false", "LIBFUSE3,true", "LIBFUSE2,false"})
@SuppressWarnings("NullAway.Init")
@Timeout(3600)
class StormTest {
    private static final int WORKER_COUNT = 64;
    private static final int SHARED_COUNT = 8;
    private static final Duration LONG = Duration.ofSeconds(20);

    @Parameter(0)
    Library library;

    @Parameter(1)
    boolean writeBackCache;

    @TempDir
    Path directory;

    private final long seconds = Long.getLong("blocktree.storm.seconds", 3);
    private final long seed = Long.getLong("blocktree.storm.seed", System.nanoTime());
    private final AtomicLong steps = new AtomicLong();
    private final ExecutorService threads = Executors.newFixedThreadPool(WORKER_COUNT);
    private Path point;
    private volatile boolean stopping;

    @AfterEach
    void end() throws Exception {
        stopping = true;
        threads.shutdown();
        assertTrue(threads.awaitTermination(60, TimeUnit.SECONDS), "a thread hangs");
    }

    private FuseMount mount() throws Exception {
        point = Files.createDirectory(directory.resolve("mount"));
        return FuseMount.mount(
                new MemoryFileSystem(),
                point,
                MountOptions.defaults().withLibrary(library).withWriteBackCache(writeBackCache));
    }

    private List<Future<Void>> startWorkers() throws IOException {
        for (int i = 0; i < SHARED_COUNT; i++) {
            Files.write(point.resolve("shared-" + i), filled(0));
        }
        List<Future<Void>> results = new ArrayList<>();
        for (int worker = 0; worker < WORKER_COUNT; worker++) {
            int number = worker;
            Path own = Files.createDirectory(point.resolve("own-" + worker));
            results.add(threads.submit(() -> {
                Random random = new Random(seed + number);
                byte[] content = {};
                while (!stopping) {
                    content = step(own, random, content);
                    steps.incrementAndGet();
                }
                return null;
            }));
        }
        return results;
    }

    /** @param content of the worker's own file, empty while there is none; what it is afterwards is returned */
    private byte[] step(Path own, Random random, byte[] content) throws IOException {
        Path file = own.resolve("file");
        Path shared = point.resolve("shared-" + random.nextInt(SHARED_COUNT));
        switch (random.nextInt(8)) {
            case 0 -> {
                byte[] written = new byte[1 + random.nextInt(100_000)];
                random.nextBytes(written);
                Files.write(file, written);
                return written;
            }
            case 1 -> {
                if (content.length > 0) {
                    Files.move(file, own.resolve("moved"));
                    assertFalse(Files.exists(file));
                    Files.createLink(file, own.resolve("moved"));
                    Files.delete(own.resolve("moved"));
                }
            }
            case 2 -> {
                if (content.length > 0) {
                    assertArrayEquals(content, Files.readAllBytes(file));
                    assertEquals(content.length, Files.size(file));
                }
            }
            case 3 -> {
                try (Stream<Path> names = Files.list(own)) {
                    assertEquals(content.length > 0 ? 1 : 0, names.count());
                }
            }
            case 4 -> {
                Path made = Files.write(own.resolve("made"), filled(random.nextInt(100)));
                Files.move(made, shared, StandardCopyOption.ATOMIC_MOVE);
            }
            case 5 -> {
                byte[] read = Files.readAllBytes(shared); // replaced as a whole, so it is always of one piece
                assertArrayEquals(filled(read[0]), read);
            }
            case 6 -> {
                try (FileChannel channel = FileChannel.open(
                        own.resolve("temporary"),
                        StandardOpenOption.CREATE,
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE,
                        StandardOpenOption.DELETE_ON_CLOSE)) {
                    channel.write(ByteBuffer.wrap(filled(1)), random.nextInt(50_000));
                    channel.force(random.nextBoolean());
                    channel.truncate(10);
                    assertEquals(10, channel.size());
                }
            }
            default -> {
                try (FileChannel channel = FileChannel.open(shared)) {
                    assertTrue(channel.size() > 0);
                    channel.lock(0, Long.MAX_VALUE, true).close();
                } catch (OverlappingFileLockException e) {
                    // Another thread of this program has it.
                } catch (NoSuchFileException e) {
                    throw new AssertionError("a name that is only ever replaced was missing", e);
                }
            }
        }
        return content;
    }

    private static byte[] filled(int value) {
        byte[] bytes = new byte[20_000];
        Arrays.fill(bytes, (byte) value);
        return bytes;
    }

    @Test
    void everyAnswerIsRightAndNothingIsLeftOver() throws Exception {
        FuseMount mount = mount();
        List<Future<Void>> results = startWorkers();
        int threadCountMax = 0;
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (System.nanoTime() < end && results.stream().noneMatch(Future::isDone)) {
            threadCountMax = Math.max(threadCountMax, mount.stats().threadCount());
            Thread.sleep(20);
        }
        stopping = true;
        for (Future<Void> result : results) {
            result.get(60, TimeUnit.SECONDS); // fails with what went wrong
        }
        assertTrue(steps.get() > WORKER_COUNT, "seed " + seed + ": " + steps.get());
        assertTrue(threadCountMax <= 2 * WORKER_COUNT, "threads " + threadCountMax); // they double when all are held up
        Await.until("nothing is pending", () -> mount.stats().pendingCount() == 0);
        mount.unmountUnlessBusy(LONG);
        assertEquals(0, mount.stats().knownInodeCount());
        assertEquals(0, mount.stats().threadCount());
    }

    /** As an administrator does with a mount that is stuck. */
    @Test
    void anAbortedConnectionEndsEveryRequestAndTheMount() throws Exception {
        FuseMount mount = mount();
        List<Future<Void>> results = startWorkers();
        Path locked = Files.createFile(point.resolve("locked"));
        Process holder = lock(locked);
        Process waiter = lock(locked);
        try {
            Await.until("the workers are at it", () -> steps.get() > 2 * WORKER_COUNT);
            abortConnection();
            for (Future<Void> result : results) {
                Throwable failure = assertThrows(ExecutionException.class, () -> result.get(30, TimeUnit.SECONDS))
                        .getCause();
                assertTrue(
                        failure instanceof IOException || failure instanceof UncheckedIOException,
                        () -> "not an error of a call: " + failure);
            }
            mount.closed().get(LONG.toMillis(), TimeUnit.MILLISECONDS);
            assertFalse(mount.isMounted());
            assertEquals(0, mount.stats().threadCount());
            assertEquals(0, mount.stats().knownInodeCount());
            if (library == Library.LIBFUSE3) { // else the kernel keeps locks by itself
                assertTrue(waiter.waitFor(20, TimeUnit.SECONDS), "who waits for a lock is told");
                assertTrue(waiter.exitValue() != 0);
            }
            try (Stream<Path> names = Files.list(point)) {
                assertEquals(0, names.count(), "the mount point is an empty directory again");
            }
        } finally {
            holder.destroyForcibly().waitFor();
            waiter.destroyForcibly().waitFor();
        }
        FuseMount again = FuseMount.mount(
                new MemoryFileSystem(), point, MountOptions.defaults().withLibrary(library));
        again.unmountUnlessBusy(LONG);
    }

    private static Process lock(Path file) throws Exception {
        return new ProcessBuilder("flock", "--no-fork", file.toString(), "sleep", "1000").start();
    }

    private void abortConnection() throws Exception {
        String device = Files.readAllLines(Path.of("/proc/self/mountinfo")).stream()
                .filter(line -> line.contains(" " + point + " "))
                .map(line -> line.split(" ")[2].split(":")[1])
                .findFirst()
                .orElseThrow();
        Path connections = Files.createDirectory(directory.resolve("connections"));
        run("mount", "-t", "fusectl", "none", connections.toString());
        try {
            Files.writeString(connections.resolve(device).resolve("abort"), "1");
        } finally {
            run("umount", connections.toString());
        }
    }

    private static void run(String... command) throws Exception {
        Process process = new ProcessBuilder(command).inheritIO().start();
        assertEquals(0, process.waitFor(), command[0]);
    }
}
