package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.MemoryFileSystem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Locks through two mounts of one tree in one process. One program uses both: to the tree it is an owner of its own in each. */
@SuppressWarnings("NullAway.Init")
@Timeout(120)
class SharedLocksTest {
    private static final Duration LONG = Duration.ofSeconds(20);

    private static final String PRELUDE = MountContractTest.PRELUDE + """
            OFD_GETLK, OFD_SETLK, OFD_SETLKW = 36, 37, 38
            READ, WRITE, NONE = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
            EXCLUSIVE, SHARED, NOW = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB
            def file_lock(type, start=0, length=0):
                return struct.pack("hhqqi4x", type, os.SEEK_SET, start, length, 0)
            def setlk(f, *lock):
                fcntl.fcntl(f, fcntl.F_SETLK, file_lock(*lock))
            def setlkw(f, *lock):
                fcntl.fcntl(f, fcntl.F_SETLKW, file_lock(*lock))
            def getlk(f, *lock):
                type, whence, start, length, pid = struct.unpack("hhqqi4x", fcntl.fcntl(f, fcntl.F_GETLK, file_lock(*lock)))
                return type, start, length, pid
            def ofd_setlk(f, *lock):
                fcntl.fcntl(f, OFD_SETLK, file_lock(*lock))
            def ofd_setlkw(f, *lock):
                fcntl.fcntl(f, OFD_SETLKW, file_lock(*lock))
            def flock(f, type, now=0):
                fcntl.flock(f, {READ: SHARED | now, WRITE: EXCLUSIVE | now, NONE: fcntl.LOCK_UN}[type])
            def flock_now(f, type):
                flock(f, type, NOW)
            def waits(call, *args):
                waiter = threading.Thread(target=call, args=args, daemon=True)
                waiter.start(); waiter.join(0.3); assert waiter.is_alive()
                return waiter
            def ends(waiter):
                waiter.join(20); assert not waiter.is_alive()
            def child(body):
                # A process that runs body, says so, and stays until it is killed.
                read, write = os.pipe()
                pid = os.fork()
                if pid == 0:
                    try:
                        body(); os.write(write, b"!"); time.sleep(100)
                    finally:
                        os._exit(1)
                os.close(write); same(os.read(read, 1), b"!"); os.close(read)
                return pid
            def kill(pid):
                os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
            put("one/x", b"0123456789")
            """;

    private Path directory;
    private FuseMount one;
    private FuseMount two;
    private final MemoryFileSystem fileSystem = new MemoryFileSystem();
    private final List<Process> processes = new ArrayList<>();

    @BeforeEach
    void mountTwice(@TempDir Path temporary) throws Exception {
        directory = temporary;
        MountOptions options = MountOptions.defaults().withLibrary(Library.LIBFUSE3);
        one = FuseMount.mount(fileSystem, Files.createDirectory(temporary.resolve("one")), options);
        two = FuseMount.mount(fileSystem, Files.createDirectory(temporary.resolve("two")), options);
    }

    @AfterEach
    void unmount() throws Exception {
        for (Process process : processes) {
            process.destroyForcibly().waitFor();
        }
        one.unmount(LONG);
        two.unmount(LONG);
    }

    private Process start(String program) throws IOException {
        Process process = new ProcessBuilder("/usr/bin/python3", "-c", PRELUDE + program)
                .directory(directory.toFile())
                .redirectErrorStream(true)
                .start();
        processes.add(process);
        return process;
    }

    private void python(String program) throws Exception {
        assertSucceeds(start(program));
    }

    private static void assertSucceeds(Process process) throws Exception {
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        assertEquals(0, process.exitValue(), output);
    }

    private static void assertSays(String expected, Process process) throws IOException {
        byte[] said = process.getInputStream().readNBytes(expected.length() + 1);
        assertEquals(expected + "\n", new String(said, StandardCharsets.UTF_8));
    }

    @Test
    void recordLocksOfOneStandInTheWayOfTheOther() throws Exception {
        python("""
                f = os.open("one/x", os.O_RDWR); g = os.open("two/x", os.O_RDWR)
                setlk(f, WRITE, 2, 4)
                setlk(g, WRITE, 0, 2); setlk(g, WRITE, 6)
                for lock in ((READ, 5, 1), (WRITE, 0), (READ, 0, 3)):
                    fails(errno.EAGAIN, setlk, g, *lock); fails(errno.EAGAIN, ofd_setlk, g, *lock)
                same(getlk(g, WRITE, 0, 0), (WRITE, 2, 4, os.getpid()))
                same(getlk(f, READ, 0, 0), (WRITE, 0, 2, os.getpid()))
                same(getlk(f, READ, 8, 0), (WRITE, 6, 0, os.getpid()))
                same(getlk(f, READ, 2, 4)[0], NONE)
                setlk(f, READ, 3, 1); setlk(g, READ, 3, 1); fails(errno.EAGAIN, setlk, g, READ, 2, 2); fails(errno.EAGAIN, setlk, f, WRITE, 3, 1)
                setlk(g, NONE, 3, 1); setlk(f, WRITE, 3, 1)
                setlk(f, NONE); setlk(g, WRITE); same(getlk(f, READ)[:3], (WRITE, 0, 0))
                h = os.open("two/x", os.O_RDONLY); fails(errno.EAGAIN, setlk, f, READ); os.close(h); setlk(f, WRITE) # as close(2) demands
                """);
    }

    @Test
    void locksOfOpenFilesStandInTheWayOfTheOther() throws Exception {
        python("""
                f = os.open("one/x", os.O_RDWR); g = os.open("two/x", os.O_RDWR); h = os.open("two/x", os.O_RDWR)
                ofd_setlk(f, WRITE, 2, 4)
                for other in (g, h):
                    fails(errno.EAGAIN, ofd_setlk, other, READ, 5, 1); fails(errno.EAGAIN, setlk, other, READ, 5, 1)
                ofd_setlk(g, WRITE, 6, 0); fails(errno.EAGAIN, ofd_setlk, h, READ, 6, 1)
                os.close(os.open("two/x", os.O_RDONLY)); os.close(os.dup(g)); fails(errno.EAGAIN, ofd_setlk, f, READ, 6, 1)
                ofd_setlk(f, NONE, 2, 4); ofd_setlk(h, WRITE, 0, 6)
                os.close(g)
                deadline = time.monotonic() + 20
                while getlk(f, WRITE, 6, 0)[0] != NONE: # the kernel releases files in the background
                    assert time.monotonic() < deadline; time.sleep(0.01)
                ofd_setlk(f, WRITE, 6, 0)
                """);
    }

    @Test
    void wholeFileLocksOfOneStandInTheWayOfTheOther() throws Exception {
        python("""
                f = os.open("one/x", os.O_RDWR); g = os.open("two/x", os.O_RDONLY); h = os.open("two/x", os.O_RDWR)
                fcntl.flock(f, EXCLUSIVE); setlk(g, READ); setlk(g, NONE)
                fails(errno.EAGAIN, fcntl.flock, g, SHARED | NOW)
                fcntl.flock(f, SHARED); fcntl.flock(g, SHARED | NOW); fcntl.flock(h, SHARED | NOW)
                fails(errno.EAGAIN, fcntl.flock, f, EXCLUSIVE | NOW)
                fcntl.flock(g, fcntl.LOCK_UN); fcntl.flock(h, EXCLUSIVE | NOW) # what was refused was given up before
                fails(errno.EAGAIN, fcntl.flock, f, SHARED | NOW)
                pid = child(lambda: os.close(f)) # shares the open file
                os.close(os.dup(h)); fails(errno.EAGAIN, fcntl.flock, f, SHARED | NOW)
                kill(pid); os.close(h); fcntl.flock(f, EXCLUSIVE)
                """);
    }

    @Test
    void whoeverWaitsGetsTheLockWhenTheOtherGivesItUpOrClosesOrDies() throws Exception {
        python("""
                g = os.open("two/x", os.O_RDWR)
                for take, wait in ((setlk, setlkw), (ofd_setlk, ofd_setlkw), (flock_now, flock)):
                    f = os.open("one/x", os.O_RDWR)
                    take(f, WRITE); waiter = waits(wait, g, WRITE); take(f, NONE); ends(waiter); take(g, NONE)
                    take(f, WRITE); waiter = waits(wait, g, WRITE); os.close(f); ends(waiter); take(g, NONE)
                    pid = child(lambda: take(os.open("one/x", os.O_RDWR), WRITE))
                    waiter = waits(wait, g, WRITE); kill(pid); ends(waiter)
                    f = os.open("one/x", os.O_RDWR); fails(errno.EAGAIN, take, f, WRITE); take(g, NONE); os.close(f)
                """);
    }

    @Test
    void aSignalEndsTheWait() throws Exception {
        python("""
                class Interrupted(Exception):
                    pass
                def interrupt(number, frame):
                    raise Interrupted()
                signal.signal(signal.SIGALRM, interrupt)
                f = os.open("one/x", os.O_RDWR); g = os.open("two/x", os.O_RDWR); h = os.open("two/x", os.O_RDWR)
                for take, wait in ((ofd_setlk, ofd_setlkw), (flock_now, flock)):
                    take(f, WRITE)
                    for delay in [0.3] + [0.0002 * i for i in range(1, 100)]:
                        try:
                            signal.setitimer(signal.ITIMER_REAL, delay); wait(g, WRITE)
                        except Interrupted:
                            pass
                        else:
                            raise AssertionError("granted")
                    take(f, NONE); take(h, WRITE); take(h, NONE) # who was interrupted got nothing
                signal.signal(signal.SIGALRM, lambda number, frame: None); signal.siginterrupt(signal.SIGALRM, False)
                setlk(f, WRITE); signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
                pid = os.fork()
                if pid == 0:
                    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1); setlkw(g, WRITE); os._exit(7) # goes on waiting after each signal
                time.sleep(0.5); same(os.waitpid(pid, os.WNOHANG), (0, 0)); setlk(f, NONE); same(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 7)
                setlk(f, WRITE); pid = os.fork()
                if pid == 0:
                    setlkw(g, WRITE); os._exit(7)
                time.sleep(0.2); kill(pid); setlk(f, NONE); setlk(g, WRITE)
                """);
    }

    @Test
    void aSignalThatComesWithTheLockLosesNeither() throws Exception {
        python("""
                import random
                class Interrupted(Exception):
                    pass
                def interrupt(number, frame):
                    raise Interrupted()
                signal.signal(signal.SIGALRM, interrupt)
                f = os.open("one/x", os.O_RDWR); g = os.open("two/x", os.O_RDWR); h = os.open("two/x", os.O_RDWR)
                held, results = threading.Event(), []
                def give_up():
                    for i in range(1000):
                        held.wait(); held.clear(); time.sleep(random.random() * 0.002); ofd_setlk(f, NONE); results.append(i)
                threading.Thread(target=give_up, daemon=True).start()
                interrupted = 0
                for i in range(1000):
                    ofd_setlk(f, WRITE); held.set()
                    try:
                        signal.setitimer(signal.ITIMER_REAL, 0.00001 + random.random() * 0.002); ofd_setlkw(g, WRITE); signal.setitimer(signal.ITIMER_REAL, 0)
                    except Interrupted:
                        interrupted += 1
                    while len(results) == i: time.sleep(0.0001)
                    ofd_setlk(g, NONE); ofd_setlk(h, WRITE); ofd_setlk(h, NONE) # nobody is left who holds it
                assert 0 < interrupted < 1000, interrupted
                """);
    }

    @Test
    void waitingInACircleIsRefused() throws Exception {
        python("""
                f = os.open("one/x", os.O_RDWR); g = os.open("two/x", os.O_RDWR)
                setlk(f, WRITE, 0, 1); setlk(g, WRITE, 1, 1)
                waiter = waits(setlkw, f, WRITE, 1, 1)
                fails(errno.EDEADLK, setlkw, g, WRITE, 0, 1)
                setlk(g, NONE); ends(waiter)
                """);
    }

    @Test
    void thoseWhoWaitHoldNoThread() throws Exception {
        Process program = start("""
                threading.stack_size(1 << 18)
                f = os.open("one/x", os.O_RDWR); fcntl.flock(f, EXCLUSIVE)
                holders = []
                def work(g):
                    fcntl.flock(g, EXCLUSIVE); holders.append(g); same(len(holders), 1); holders.remove(g); fcntl.flock(g, fcntl.LOCK_UN); done.append(g)
                done = []
                threads = [threading.Thread(target=work, args=(os.open("two/x", os.O_RDWR),), daemon=True) for i in range(300)]
                for thread in threads: thread.start()
                print("started", flush=True); sys.stdin.read()
                same(done, []); fcntl.flock(f, fcntl.LOCK_UN)
                for thread in threads: ends(thread)
                same(len(done), 300)
                """);
        assertSays("started", program);
        Await.until("300 wait", () -> {
            MountStatistics.Count count = two.stats().operations().get(Operation.SETLK);
            return count != null && count.count() == 300;
        });
        for (int i = 0; i < 20; i++) {
            Path file = directory.resolve("two/other-" + i);
            Files.writeString(file, "content");
            assertEquals("content", Files.readString(directory.resolve("one/other-" + i)));
            Thread.sleep(20);
        }
        assertEquals(0, two.stats().pendingCount());
        assertTrue(two.stats().threadCount() <= 4, () -> two.stats().toString());
        assertSucceeds(program);
    }

    @Test
    void aMountThatIsCutOffGivesUpItsLocksAndAnswersThoseWhoWait() throws Exception {
        Process holder = start("""
                f = os.open("one/x", os.O_RDWR); setlk(f, WRITE, 0, 1); fcntl.flock(f, EXCLUSIVE)
                g = os.open("one/x", os.O_RDWR); waiter = waits(ofd_setlkw, g, READ, 0, 1)
                print("holds", flush=True); sys.stdin.read()
                """);
        assertSays("holds", holder);
        Process waiter = start("""
                f = os.open("two/x", os.O_RDWR); lost = os.open("one/x", os.O_RDWR)
                def wait_in_vain():
                    try:
                        fcntl.flock(lost, EXCLUSIVE)
                    except OSError as e:
                        assert e.errno in (errno.ENOTCONN, errno.ECONNABORTED), e; print("lost", flush=True)
                refused = waits(wait_in_vain); waiter = waits(setlkw, f, WRITE)
                print("waits", flush=True); ends(refused); ends(waiter)
                print("granted", flush=True)
                """);
        assertSays("waits", waiter);
        long start = System.nanoTime();
        one.unmount(Duration.ZERO);
        assertTrue(Duration.ofNanos(System.nanoTime() - start).toSeconds() < 10);
        assertSays("lost", waiter);
        assertSays("granted", waiter);
        assertSucceeds(waiter);
    }
}
