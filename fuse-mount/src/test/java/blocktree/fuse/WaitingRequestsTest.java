package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.LoggerFactory;

/** Requests that wait for a commit, for room in memory or for another mount's kernel hold no thread, are answered in time, and lose nothing. */
@SuppressWarnings("NullAway.Init")
@Timeout(180)
class WaitingRequestsTest {
    private static final Duration LONG = Duration.ofSeconds(20);
    private static final int WAITING_COUNT = 64;

    /** Two, and as many who do the work that the others wait for. */
    private static final int THREAD_COUNT_MAX = 4;

    private static final String PRELUDE = MountContractTest.PRELUDE + """
            threading.stack_size(1 << 18)
            count = 64
            failures = []
            def content(i, size): return bytes([i]) * size
            def in_threads(work):
                def guarded(i):
                    try:
                        work(i)
                    except BaseException as e:
                        failures.append((i, repr(e)))
                threads = [threading.Thread(target=guarded, args=(i,), daemon=True) for i in range(count)]
                for thread in threads: thread.start()
                return threads
            def join(threads):
                for thread in threads:
                    thread.join(60); assert not thread.is_alive()
            def say(text):
                print(text, flush=True)
            def hear():
                assert sys.stdin.readline()
            """;

    private Path directory;
    private Path one;
    private Path two;
    private HeldUpTree tree;
    private final List<FuseMount> mounts = new ArrayList<>();
    private final List<Process> processes = new ArrayList<>();

    @BeforeEach
    void makeTree(@TempDir Path temporary) throws Exception {
        directory = temporary;
        one = Files.createDirectory(temporary.resolve("one"));
        two = Files.createDirectory(temporary.resolve("two"));
        tree = new HeldUpTree(temporary.resolve("store"));
    }

    @AfterEach
    void clearAway() throws Exception {
        tree.release();
        for (Process process : processes) {
            process.destroyForcibly().waitFor();
        }
        for (FuseMount mount : mounts) {
            mount.unmount(LONG);
        }
        tree.close();
    }

    private static MountOptions options() {
        return MountOptions.defaults().withLibrary(Library.LIBFUSE3).withThreads(2, 64);
    }

    private FuseMount mount(Path point, MountOptions options) throws MountException {
        FuseMount mount = FuseMount.mount(tree.fileSystem, point, options);
        mounts.add(mount);
        return mount;
    }

    private Process start(String program) throws IOException {
        Process process = new ProcessBuilder("/usr/bin/python3", "-c", PRELUDE + program)
                .directory(directory.toFile())
                .redirectErrorStream(true)
                .start();
        processes.add(process);
        return process;
    }

    private static void say(Process process) throws IOException {
        process.getOutputStream().write('\n');
        process.getOutputStream().flush();
    }

    private static void assertSays(String expected, Process process) throws IOException {
        byte[] said = process.getInputStream().readNBytes(expected.length() + 1);
        assertEquals(expected + "\n", new String(said, StandardCharsets.UTF_8));
    }

    private static void assertSucceeds(Process process) throws Exception {
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        assertEquals(0, process.exitValue(), output);
    }

    private static void awaitPending(FuseMount mount, int count) throws Exception {
        Await.until(count + " wait", () -> mount.stats().pendingCount() >= count);
    }

    /** Other programs read, look up and list, and are answered at once, by as many threads as before. */
    private void assertOthersAreServed(FuseMount mount, int waitingCount) throws Exception {
        byte[] expected = new byte[100_000];
        for (int i = 0; i < 30; i++) {
            long start = System.nanoTime();
            assertFalse(Files.exists(mount.mountPoint().resolve("none-" + i)));
            assertArrayEquals(expected, Files.readAllBytes(mount.mountPoint().resolve("cached")));
            long tookMillis = Duration.ofNanos(System.nanoTime() - start).toMillis();
            assertTrue(tookMillis < 2_000, () -> "took " + tookMillis + " ms");
            Thread.sleep(20);
        }
        assertTrue(
                mount.stats().threadCount() <= THREAD_COUNT_MAX,
                () -> mount.stats().toString());
        assertTrue(
                mount.stats().pendingCount() >= waitingCount,
                () -> mount.stats().toString());
        assertTrue(
                mount.stats().oldestPendingMillis() > 100, () -> mount.stats().toString());
    }

    private static void assertNothingIsPending(FuseMount mount) throws Exception {
        Await.until("nothing is pending", () -> mount.stats().pendingCount() == 0);
        assertEquals(0, mount.stats().oldestPendingMillis());
    }

    @Test
    void thoseWhoSyncHoldNoThread() throws Exception {
        FuseMount mount = mount(one, options());
        Files.write(one.resolve("cached"), new byte[100_000]);
        Process program = start("""
                files = [os.open("one/f%d" % i, os.O_RDWR | os.O_CREAT | (os.O_SYNC if i % 4 == 0 else 0), 0o644) for i in range(count)]
                for i in range(count): os.mkdir("one/d%d" % i) # the kernel syncs a directory for one at a time
                directories = [os.open("one/d%d" % i, os.O_RDONLY) for i in range(count)]
                say("open"); hear()
                def work(i):
                    same(os.write(files[i], content(i, 1000)), 1000)
                    if i % 4 == 1: os.fsync(files[i])
                    if i % 4 == 2: os.fdatasync(files[i])
                    if i % 4 == 3: os.fsync(directories[i])
                threads = in_threads(work)
                say("started"); hear()
                assert all(thread.is_alive() for thread in threads), failures
                say("waiting")
                join(threads); same(failures, [])
                for i in range(count): same(get("one/f%d" % i), content(i, 1000))
                """);
        assertSays("open", program);
        tree.holdUp();
        say(program);
        assertSays("started", program);
        awaitPending(mount, WAITING_COUNT);
        assertOthersAreServed(mount, WAITING_COUNT);
        say(program);
        assertSays("waiting", program);
        long before = tree.fileSystem.counters().commits();
        tree.release();
        assertSucceeds(program);
        long commits = tree.fileSystem.counters().commits() - before;
        assertTrue(commits <= 8, () -> "those who wait together share a commit: " + commits);
        assertNothingIsPending(mount);
        MountStatistics.Count count = mount.stats().operations().get(Operation.FSYNCDIR);
        assertNotNull(count);
        assertEquals(WAITING_COUNT / 4, count.count(), "each is counted once");
    }

    @Test
    void thoseWhoFindNoRoomHoldNoThreadAndLoseNothing() throws Exception {
        FuseMount mount = mount(one, options());
        Files.write(one.resolve("cached"), new byte[100_000]);
        Process program = start("""
                files = [os.open("one/f%d" % i, os.O_RDWR | os.O_CREAT, 0o644) for i in range(count)]
                put("one/source")
                for i in range(12): os.mkdir("one/d%d" % i); put("one/d%d/old" % i) # the kernel changes a directory for one at a time
                os.mkdir("one/d11/directory")
                say("open"); hear()
                def work(i):
                    if i == 0: os.unlink("one/d0/old")
                    elif i == 1: os.mkdir("one/d1/made")
                    elif i == 2: put("one/d2/created", content(2, 10))
                    elif i == 3: os.rename("one/d3/old", "one/d3/new")
                    elif i == 4: os.symlink("target", "one/d4/symlink")
                    elif i == 5: os.link("one/source", "one/d5/linked")
                    elif i == 6: os.truncate("one/f6", 100)
                    elif i == 7: os.setxattr("one/f7", "user.k", b"v")
                    elif i == 8: fallocate(files[8], 0, 0, 100)
                    elif i == 9: os.mkfifo("one/d9/fifo")
                    elif i == 10: os.close(os.open("one/f10", os.O_WRONLY | os.O_TRUNC))
                    elif i == 11: os.rmdir("one/d11/directory")
                    else:
                        data = content(i, 300000)
                        while data: data = data[os.write(files[i], data):]
                threads = in_threads(work)
                say("started"); hear()
                assert all(thread.is_alive() for thread in threads), failures
                say("waiting")
                join(threads); same(failures, [])
                for i in range(12, count): same(get("one/f%d" % i), content(i, 300000))
                same([os.listdir("one/d%d" % i) for i in (0, 3, 11)], [[], ["new"], ["old"]]); same(get("one/d2/created"), content(2, 10))
                same(os.readlink("one/d4/symlink"), "target"); same(os.stat("one/d5/linked").st_nlink, 2); same(os.stat("one/f6").st_size, 100)
                same(os.getxattr("one/f7", "user.k"), b"v"); same(os.stat("one/f8").st_size, 100)
                assert os.path.isdir("one/d1/made"); assert stat.S_ISFIFO(os.stat("one/d9/fifo").st_mode)
                """);
        assertSays("open", program);
        assertEquals(100_000, Files.readAllBytes(one.resolve("cached")).length);
        tree.holdUp();
        tree.fill();
        say(program);
        assertSays("started", program);
        awaitPending(mount, WAITING_COUNT);
        assertOthersAreServed(mount, WAITING_COUNT);
        say(program);
        assertSays("waiting", program);
        tree.release();
        assertSucceeds(program);
        assertNothingIsPending(mount);
    }

    @Test
    void thoseWhoWaitForAnotherKernelHoldNoThread() throws Exception {
        mount(one, options().withWriteBackCache(true));
        FuseMount reading = mount(two, options());
        Files.write(one.resolve("cached"), new byte[100_000]);
        Files.createDirectory(one.resolve("d"));
        Process program = start("""
                put("one/f", b""); put("one/d/f", b"")
                f = os.open("one/f", os.O_RDWR); g = os.open("one/d/f", os.O_RDWR)
                h = os.open("two/f", os.O_RDONLY)
                say("open"); hear()
                os.write(f, b"kept back"); os.write(g, b"kept back, too")
                def work(i):
                    if i % 5 == 0: same(os.stat("two/f").st_size, 9)
                    if i % 5 == 1: same(get("two/f"), b"kept back")
                    if i % 5 == 2: same(os.stat("two/d/f").st_size, 14)
                    if i % 5 == 3: same(os.pread(h, 100, 0), b"kept back")
                    if i % 5 == 4: same([entry.stat().st_size for entry in os.scandir("two/d")], [14])
                threads = in_threads(work)
                say("started")
                join(threads); same(failures, [])
                """);
        assertSays("open", program);
        assertEquals(100_000, Files.readAllBytes(two.resolve("cached")).length);
        tree.holdUp();
        tree.fill();
        say(program);
        assertSays("started", program);
        awaitPending(reading, 30); // the kernel asks for one name once, and for other things as often as programs do
        assertOthersAreServed(reading, 30);
        tree.release();
        assertSucceeds(program);
        assertNothingIsPending(reading);
    }

    @Test
    void whatWaitsTooLongIsAnswered() throws Exception {
        FuseMount mount =
                mount(one, options().withRequestTimeout(Duration.ofSeconds(2)).withSlowAfter(Duration.ofMillis(500)));
        Process program = start("""
                files = [os.open("one/f%d" % i, os.O_RDWR | os.O_CREAT, 0o644) for i in range(count)]
                for f in files: os.write(f, b"first")
                say("open"); hear()
                def work(i):
                    if i % 2: fails(errno.ETIMEDOUT, os.fsync, files[i])
                    else: fails(errno.ETIMEDOUT, os.write, files[i], b"second")
                join(in_threads(work)); same(failures, [])
                say("timed out"); hear()
                for f in files:
                    for attempt in range(20): # what was given up is still under way
                        try:
                            os.fsync(f)
                            break
                        except TimeoutError:
                            pass
                    else:
                        raise AssertionError("does not go on")
                """);
        assertSays("open", program);
        tree.holdUp();
        tree.beginCommit();
        tree.fill();
        say(program);
        assertSays("timed out", program);
        assertTrue(
                mount.stats().slowCount() >= WAITING_COUNT, () -> mount.stats().toString());
        assertTrue(
                mount.stats().threadCount() <= THREAD_COUNT_MAX,
                () -> mount.stats().toString());
        assertNothingIsPending(mount);
        tree.release();
        say(program);
        assertSucceeds(program);
        mount.unmountUnlessBusy(LONG);
    }

    @Test
    void whatLosesItsThreadOnlyAfterItsTimeIsReportedOnce() throws Exception {
        FaultyFileSystem faulty = new FaultyFileSystem();
        FuseMount mount = FuseMount.mount(
                faulty.fileSystem(),
                one,
                options().withRequestTimeout(Duration.ofMillis(500)).withSlowAfter(Duration.ofMillis(100)));
        mounts.add(mount);
        CountDownLatch release = new CountDownLatch(1);
        faulty.replace("beginFsync", () -> {
            release.await();
            return new CompletableFuture<Void>();
        });
        ListAppender<ILoggingEvent> events = new ListAppender<>();
        Logger logger = (Logger) LoggerFactory.getLogger(RequestLoop.class);
        events.start();
        logger.addAppender(events);
        try (FileChannel file =
                FileChannel.open(one.resolve("file"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            IOException late = assertThrows(IOException.class, () -> file.force(true));
            assertTrue(String.valueOf(late.getMessage()).contains("timed out"), late.getMessage());
            release.countDown();
            assertNothingIsPending(mount);
        } finally {
            release.countDown();
            mount.unmount(LONG);
            logger.detachAppender(events);
        }
        assertEquals(1, mount.stats().slowCount());
        assertEquals(
                List.of("operation_slow", "operation_timed_out"),
                events.list.stream()
                        .filter(event -> event.getLevel().isGreaterOrEqual(Level.WARN))
                        .map(ILoggingEvent::getMessage)
                        .toList());
    }

    @Test
    void unmountingEndsWhatWaits() throws Exception {
        FuseMount mount = mount(one, options());
        Process program = start("""
                files = [os.open("one/f%d" % i, os.O_RDWR | os.O_CREAT, 0o644) for i in range(count)]
                for f in files: os.write(f, b"first")
                say("open"); hear()
                def work(i):
                    try:
                        if i % 2: os.fsync(files[i])
                        else: os.write(files[i], b"second")
                    except OSError as e:
                        assert e.errno in (errno.ENOTCONN, errno.ECONNABORTED), e
                    else:
                        raise AssertionError("done")
                threads = in_threads(work)
                say("started")
                join(threads); same(failures, [])
                """);
        assertSays("open", program);
        tree.holdUp();
        tree.beginCommit();
        tree.fill();
        say(program);
        assertSays("started", program);
        awaitPending(mount, WAITING_COUNT);
        long start = System.nanoTime();
        mount.unmount(Duration.ZERO);
        assertTrue(Duration.ofNanos(System.nanoTime() - start).compareTo(LONG) < 0);
        assertTrue(mount.closed().isDone());
        assertEquals(0, mount.stats().pendingCount());
        assertEquals(0, mount.stats().threadCount());
        assertSucceeds(program);
        tree.release();
        FuseMount again = mount(one, options());
        for (int i = 0; i < WAITING_COUNT; i++) {
            assertEquals("first", Files.readString(one.resolve("f" + i)));
        }
        again.unmountUnlessBusy(LONG);
    }
}
