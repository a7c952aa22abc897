package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.fuse.MountException.Code;
import blocktree.tree.FileSystemException;
import blocktree.tree.MemoryFileSystem;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

/** Mounting, unmounting, and what happens when either side misbehaves. */
@ParameterizedClass
@EnumSource(Library.class)
@SuppressWarnings("NullAway.Init")
class FuseMountTest {
    private static final Duration LONG = Duration.ofSeconds(20);
    private static final Path DEVICE = Path.of("/dev/fuse");
    private static final String CONNECTIONS = "/sys/fs/fuse/connections";

    @Parameter
    Library library;

    @TempDir
    Path directory;

    private Path point;
    private final List<Process> processes = new ArrayList<>();

    @BeforeEach
    void makeMountPoint() throws IOException {
        Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxr-xr-x"));
        point = Files.createDirectory(directory.resolve("mount point \u00fc"));
    }

    @AfterEach
    void clearAway() throws Exception {
        run(
                "sh",
                "-c",
                "while grep -q '" + directory.getFileName()
                        + "' /proc/self/mountinfo && umount -f -l \"$0\"; do :; done",
                point.toString());
        for (Process process : processes) {
            process.destroyForcibly().waitFor();
        }
    }

    private MountOptions defaults() {
        return MountOptions.defaults().withLibrary(library);
    }

    private FuseMount mount(MountOptions options) throws MountException {
        return FuseMount.mount(new MemoryFileSystem(), point, options);
    }

    private static int run(String... command) throws Exception {
        Process process = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        assertTrue(process.waitFor(LONG.toMillis(), TimeUnit.MILLISECONDS), () -> Arrays.toString(command));
        return process.exitValue();
    }

    private Code failure(Path mountPoint) {
        MountException e = assertThrows(
                MountException.class, () -> FuseMount.mount(new MemoryFileSystem(), mountPoint, defaults()));
        assertTrue(String.valueOf(e.getMessage()).contains(mountPoint.toString()), e.getMessage());
        return e.code();
    }

    // ------------------------------------------------------------------------------------------------ mount points

    @Test
    void mountPointsThatCannotServeAreRefusedWithAReason() throws Exception {
        assertEquals(Code.MISSING, failure(directory.resolve("none")));
        assertEquals(Code.NOT_DIRECTORY, failure(Files.createFile(directory.resolve("file"))));
        Path full = Files.createDirectory(directory.resolve("full"));
        Files.createFile(full.resolve("file"));
        assertEquals(Code.NOT_EMPTY, failure(full));
        FuseMount mount = mount(defaults());
        assertEquals(Code.BUSY, failure(point));
        mount.unmount(LONG);
    }

    @Test
    void aMountIsThereUntilUnmounted() throws Exception {
        FuseMount mount = mount(defaults().withName("the:name").withAllowOther(true));
        mount.awaitReady();
        assertTrue(mount.isMounted());
        assertFalse(mount.closed().isDone());
        Files.writeString(point.resolve("file"), "content");
        assertEquals("content", Files.readString(point.resolve("file")));
        String line = Files.readAllLines(Path.of("/proc/self/mountinfo")).stream()
                .filter(each -> each.contains(String.valueOf(directory.getFileName())))
                .findFirst()
                .orElseThrow();
        assertTrue(line.contains(" - fuse.blocktree the:name "), line);
        for (String option : List.of("nosuid", "nodev", "default_permissions", "allow_other")) {
            assertTrue(line.contains(option), line);
        }
        mount.unmount(LONG);
        assertFalse(mount.isMounted());
        assertTrue(mount.closed().isDone());
        try (Stream<Path> entries = Files.list(point)) {
            assertEquals(0, entries.count());
        }
        mount.unmount(LONG); // again: nothing to do
    }

    @Test
    void readOnlyMountsRefuseWrites() throws Exception {
        FuseMount mount = mount(defaults().withReadOnly(true));
        IOException e = assertThrows(IOException.class, () -> Files.createFile(point.resolve("file")));
        assertTrue(String.valueOf(e.getMessage()).contains("Read-only file system"), e.getMessage());
        mount.unmount(LONG);
    }

    @Test
    void manyMountsLeaveNoProcessOrDescriptorBehind() throws Exception {
        mount(defaults()).unmount(LONG); // libraries are loaded
        long children = ProcessHandle.current().children().count();
        long descriptors = descriptorCount();
        for (int i = 0; i < 5; i++) {
            FuseMount mount = mount(defaults());
            Files.writeString(point.resolve("file"), "content");
            mount.unmount(LONG);
        }
        assertEquals(children, ProcessHandle.current().children().count());
        Await.until("descriptors are closed", () -> descriptorCount() <= descriptors + 1);
    }

    private static long descriptorCount() throws IOException {
        try (Stream<Path> descriptors = Files.list(Path.of("/proc/self/fd"))) {
            return descriptors.count();
        }
    }

    @Test
    void anotherProgramsUnmountIsNoticed() throws Exception {
        FuseMount mount = mount(defaults());
        assertEquals(0, run("umount", point.toString()));
        mount.closed().get(LONG.toMillis(), TimeUnit.MILLISECONDS);
        assertFalse(mount.isMounted());
    }

    @Test
    void unmountWaitsForOpenFiles() throws Exception {
        FuseMount mount = mount(defaults());
        FileChannel open = FileChannel.open(point.resolve("file"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        CompletableFuture<Void> unmount = CompletableFuture.runAsync(() -> {
            try {
                mount.unmount(LONG);
            } catch (MountException e) {
                throw new AssertionError(e);
            }
        });
        for (int i = 0; i < 20; i++) {
            open.write(StandardCharsets.UTF_8.encode("still writing"));
        }
        assertFalse(unmount.isDone());
        open.close();
        unmount.get(LONG.toMillis(), TimeUnit.MILLISECONDS);
        assertTrue(mount.closed().isDone());
    }

    @Test
    void unmountCutsOffThoseWhoDoNotLetGo() throws Exception {
        FuseMount mount = mount(defaults());
        try (FileChannel open =
                FileChannel.open(point.resolve("file"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            MountException busy =
                    assertThrows(MountException.class, () -> mount.unmountUnlessBusy(Duration.ofMillis(300)));
            assertEquals(Code.BUSY, busy.code());
            open.write(StandardCharsets.UTF_8.encode("the mount is as it was"));
            mount.unmount(Duration.ofMillis(300));
            assertTrue(mount.closed().isDone());
            assertThrows(IOException.class, () -> open.write(StandardCharsets.UTF_8.encode("x")));
        } catch (IOException e) {
            assertNotNull(e.getMessage()); // of close(): the mount is gone
        }
        FuseMount again = mount(defaults());
        assertTrue(again.isMounted());
        again.unmount(LONG);
    }

    // ------------------------------------------------------------------------------------------------ processes that
    // die

    /** A container that was started while the tree was mounted has the mount too, where unmounting does not reach it. */
    @Test
    void unmountEndsTheMountInOtherNamespacesToo() throws Exception {
        FuseMount mount = mount(defaults());
        processes.add(new ProcessBuilder("unshare", "--mount", "--propagation", "private", "sleep", "1000").start());
        Path container = Path.of("/proc", String.valueOf(processes.get(0).pid()));
        Await.until(
                "a namespace of its own",
                () -> Files.readString(container.resolve("comm")).equals("sleep\n"));
        assertTrue(Files.readString(container.resolve("mountinfo")).contains("fuse.blocktree"));
        withConnections(() -> {
            mount.unmount(Duration.ZERO);
            return null;
        });
        assertFalse(mount.isMounted());
    }

    private static void withConnections(Callable<@Nullable Void> step) throws Exception {
        boolean mounts = run("mountpoint", "-q", CONNECTIONS) != 0;
        if (mounts) {
            assertEquals(0, run("mount", "-t", "fusectl", "none", CONNECTIONS));
        }
        try {
            step.call();
        } finally {
            if (mounts) {
                assertEquals(0, run("umount", CONNECTIONS));
            }
        }
    }

    private Process mountInChild(String... arguments) throws Exception {
        return mountInChild(List.of(), System.getProperty("java.class.path"), arguments);
    }

    /** The class path where other users may read it. */
    private String publicClassPath() throws Exception {
        Path copies = Files.createDirectory(directory.resolve("classes"));
        List<String> paths = new ArrayList<>();
        for (String each : System.getProperty("java.class.path").split(":")) {
            Path copy = copies.resolve(String.valueOf(paths.size()));
            if (Files.exists(Path.of(each))) {
                assertEquals(0, run("cp", "-r", each, copy.toString()));
                paths.add(copy.toString());
            }
        }
        assertEquals(0, run("chmod", "-R", "a+rX", copies.toString()));
        return String.join(":", paths);
    }

    private Process mountInChild(List<String> prefix, String classPath, String... arguments) throws Exception {
        List<String> command = new ArrayList<>(prefix);
        command.addAll(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Dfile.encoding=UTF-8",
                "-cp",
                classPath,
                MemoryMount.class.getName(),
                point.toString()));
        command.add(library.name().toLowerCase(Locale.ROOT));
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
        processes.add(process);
        BufferedReader reader =
                new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
        String line = reader.readLine();
        while (line != null && !line.equals("mounted")) {
            line = reader.readLine();
        }
        assertNotNull(line, "the child could not mount");
        return process;
    }

    private boolean answers() {
        try (Stream<Path> entries = Files.list(point)) {
            return entries.count() >= 0;
        } catch (IOException e) {
            return false;
        }
    }

    @Test
    void aKilledProcessLeavesNoMountBehind() throws Exception {
        Process process = mountInChild();
        Files.writeString(point.resolve("file"), "content");
        process.destroyForcibly().waitFor();
        Await.until("the watcher has unmounted", () -> answers() && !Files.exists(point.resolve("file")));
        mount(defaults()).unmount(LONG);
    }

    /** A thread of the process waits in the kernel for an answer that only the process could give. */
    @Test
    void aKilledProcessThatWaitsForItselfLeavesNoMountBehind() throws Exception {
        killWaitingForItself(mountInChild("stuck"), List.of());
        mount(defaults()).unmount(LONG);
    }

    private void killWaitingForItself(Process process, List<String> prefix) throws Exception {
        List<String> command = new ArrayList<>(prefix);
        command.addAll(List.of("stat", point.resolve("file").toString()));
        Process stat = new ProcessBuilder(command).start();
        processes.add(stat);
        if (library == Library.LIBFUSE3) {
            Await.until("the kernel is told of a change, and waits", () -> isWaiting(process, "fuse-notify"));
        }
        process.destroyForcibly();
        assertTrue(stat.waitFor(LONG.toMillis(), TimeUnit.MILLISECONDS), "the program goes on");
        assertEquals(1, stat.exitValue());
        assertTrue(process.waitFor(LONG.toMillis(), TimeUnit.MILLISECONDS), "the process ends");
        Await.until("the watcher has unmounted", this::answers);
    }

    /** Whether a thread waits in the kernel, for what no signal ends. */
    private static boolean isWaiting(Process process, String thread) throws IOException {
        try (DirectoryStream<Path> threads = Files.newDirectoryStream(Path.of("/proc/" + process.pid() + "/task"))) {
            for (Path each : threads) {
                String status;
                try {
                    status = Files.readString(each.resolve("status"));
                } catch (IOException e) {
                    continue; // it has ended
                }
                if (status.startsWith("Name:\t" + thread + "\n")) {
                    return status.contains("State:\tD");
                }
            }
        }
        return false;
    }

    @Test
    void aStaleMountIsClearedByTheNext() throws Exception {
        Process process = mountInChild("no_auto_unmount");
        process.destroyForcibly().waitFor();
        Await.until("the mount is stale", () -> !answers());
        FuseMount mount = mount(defaults());
        Files.writeString(point.resolve("file"), "content");
        mount.unmount(LONG);
        assertTrue(answers());
    }

    @Test
    void ordinaryUsersMountThroughFusermount() throws Exception {
        assertEquals(0, run("chown", "65534:65534", point.toString()));
        Set<PosixFilePermission> devicePermissions = Files.getPosixFilePermissions(DEVICE);
        Files.setPosixFilePermissions(DEVICE, PosixFilePermissions.fromString("rw-rw-rw-")); // as udev does
        try {
            mountAsNobody();
        } finally {
            Files.setPosixFilePermissions(DEVICE, devicePermissions);
        }
    }

    private void mountAsNobody() throws Exception {
        List<String> nobody = List.of("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups");
        String classPath = publicClassPath();
        Process process = mountInChild(nobody, classPath);
        List<String> touch = new ArrayList<>(nobody);
        touch.addAll(List.of("touch", point.resolve("file").toString()));
        assertEquals(0, run(touch.toArray(String[]::new)));
        assertThrows(IOException.class, () -> Files.readAttributes(point.resolve("file"), "*"), "others are kept out");
        try (OutputStream input = process.getOutputStream()) {
            input.flush(); // its end asks the child to unmount
        }
        assertTrue(process.waitFor(LONG.toMillis(), TimeUnit.MILLISECONDS));
        assertEquals(0, process.exitValue());
        assertTrue(answers());
        withConnections(() -> {
            killWaitingForItself(mountInChild(nobody, classPath, "stuck"), nobody);
            return null;
        });
    }

    // ------------------------------------------------------------------------------------------------ file systems
    // that wait or fail

    @Test
    void heldUpRequestsDoNotHoldUpOthers() throws Exception {
        FaultyFileSystem faulty = new FaultyFileSystem();
        FuseMount mount = FuseMount.mount(faulty.fileSystem(), point, defaults().withThreads(2, 64));
        Files.writeString(point.resolve("file"), "content");
        CountDownLatch release = new CountDownLatch(1);
        CountDownLatch waiting = new CountDownLatch(20);
        faulty.before("statistics", () -> {
            waiting.countDown();
            release.await();
            return null;
        });
        List<Process> held = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            Process df = new ProcessBuilder("stat", "-f", point.toString())
                    .redirectErrorStream(true)
                    .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                    .start();
            held.add(df);
            processes.add(df);
        }
        assertTrue(waiting.await(LONG.toMillis(), TimeUnit.MILLISECONDS), "all 20 are held up at once");
        assertEquals("content", Files.readString(point.resolve("file")));
        MountStatistics statistics = mount.stats();
        assertTrue(statistics.pendingCount() >= 20, statistics.toString());
        assertTrue(statistics.threadCount() > 20 && statistics.threadCount() <= 64, statistics.toString());
        assertTrue(statistics.oldestPendingMillis() > 0, statistics.toString());
        release.countDown();
        for (Process df : held) {
            assertTrue(df.waitFor(LONG.toMillis(), TimeUnit.MILLISECONDS));
            assertEquals(0, df.exitValue());
        }
        faulty.heal();
        Await.until("threads in excess end", () -> {
            for (int i = 0; i < 100; i++) {
                Files.write(point.resolve("file"), new byte[1]);
            }
            return mount.stats().threadCount() <= 4;
        });
        mount.unmount(LONG);
    }

    @Test
    void slowRequestsAreCounted() throws Exception {
        FaultyFileSystem faulty = new FaultyFileSystem();
        FuseMount mount = FuseMount.mount(faulty.fileSystem(), point, defaults().withSlowAfter(Duration.ofMillis(100)));
        CountDownLatch release = new CountDownLatch(1);
        faulty.before("statistics", () -> {
            release.await();
            return null;
        });
        Process df = new ProcessBuilder("stat", "-f", point.toString()).start();
        processes.add(df);
        Await.until("the watch has seen it", () -> mount.stats().slowCount() == 1);
        release.countDown();
        assertTrue(df.waitFor(LONG.toMillis(), TimeUnit.MILLISECONDS));
        assertEquals(1, mount.stats().slowCount());
        mount.unmount(LONG);
    }

    @Test
    void requestsThatTakeTooLongAreAnsweredAndNeverWedgeTheMount() throws Exception {
        FaultyFileSystem faulty = new FaultyFileSystem();
        FuseMount mount = FuseMount.mount(
                faulty.fileSystem(),
                point,
                defaults()
                        .withThreads(2, 4)
                        .withRequestTimeout(Duration.ofMillis(500))
                        .withTimeouts(Duration.ZERO, Duration.ZERO));
        Files.writeString(point.resolve("file"), "content");
        CountDownLatch release = new CountDownLatch(1);
        for (String method : List.of("statistics", "create")) {
            faulty.before(method, () -> {
                release.await();
                return null;
            });
        }
        IOException first = assertThrows(IOException.class, () -> Files.createFile(point.resolve("late")));
        assertTrue(String.valueOf(first.getMessage()).contains("timed out"), first.getMessage());
        assertEquals("content", Files.readString(point.resolve("file")));
        for (int i = 0; i < 3; i++) { // with the first, as many as there may be threads
            statFileSystem("timed out");
        }
        Await.until("what comes while every thread is stuck is refused", () -> {
            try {
                Files.readString(point.resolve("file"));
                return false;
            } catch (IOException e) {
                return String.valueOf(e.getMessage()).contains("timed out");
            }
        });
        release.countDown();
        faulty.heal();
        Await.until("the mount goes on when the file system does", () -> {
            try {
                return Files.readString(point.resolve("file")).equals("content");
            } catch (IOException e) {
                return false;
            }
        });
        assertTrue(Files.exists(point.resolve("late")), "what was answered too early was done still");
        mount.unmountUnlessBusy(LONG); // so the file that nobody got was closed
    }

    private void statFileSystem(String message) throws Exception {
        Process stat = new ProcessBuilder("stat", "-f", point.toString())
                .redirectErrorStream(true)
                .start();
        processes.add(stat);
        String output = new String(stat.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(output.contains(message), output);
    }

    @Test
    void whateverIsThrownBecomesAnErrorOfOneRequest() throws Exception {
        FaultyFileSystem faulty = new FaultyFileSystem();
        FuseMount mount = FuseMount.mount(faulty.fileSystem(), point, defaults());
        Path file = Files.writeString(point.resolve("file"), "content");
        record Case(Throwable thrown, String message) {}
        for (Case each : List.of(
                new Case(new FileSystemException(FileSystemException.Code.CORRUPT, "block"), "Input/output error"),
                new Case(new FileSystemException(FileSystemException.Code.TIMED_OUT, "peer"), "timed out"),
                new Case(new FileSystemException(FileSystemException.Code.NO_SPACE, "disk"), "No space left"),
                new Case(new IllegalStateException("a bug, thrown on purpose"), "Input/output error"),
                new Case(new StackOverflowError("an error, thrown on purpose"), "Input/output error"))) {
            faulty.before("create", () -> {
                if (each.thrown() instanceof Error error) {
                    throw error;
                }
                throw (Exception) each.thrown();
            });
            IOException e = assertThrows(IOException.class, () -> Files.createFile(point.resolve("other")));
            assertTrue(String.valueOf(e.getMessage()).contains(each.message()), e.getMessage());
            assertEquals("content", Files.readString(file));
        }
        faulty.heal();
        Files.createFile(point.resolve("other"));
        MountStatistics.Count created = mount.stats().operations().get(Operation.CREATE);
        assertNotNull(created);
        assertEquals(5, created.failureCount());
        mount.unmount(LONG);
    }

    @Test
    void contentChangedBehindTheMountIsSeenAtOpen() throws Exception {
        MemoryFileSystem shared = new MemoryFileSystem();
        Path second = Files.createDirectory(directory.resolve("second"));
        FuseMount one = FuseMount.mount(shared, point, defaults());
        FuseMount two = FuseMount.mount(shared, second, defaults());
        Files.writeString(point.resolve("file"), "same size 0");
        for (int i = 0; i < 10; i++) {
            Files.writeString(second.resolve("file"), "same size " + i);
            assertEquals("same size " + i, Files.readString(point.resolve("file")));
            assertEquals("same size " + i, Files.readString(point.resolve("file")));
        }
        one.unmount(LONG);
        two.unmount(LONG);
    }

    @Test
    void contentIsNotReadAgainWhileUnchanged() throws Exception {
        FuseMount mount = mount(defaults());
        Path file = Files.write(point.resolve("file"), new byte[1 << 20]);
        Await.until("times are old enough to trust", () -> {
            long before = reads(mount);
            assertEquals(1 << 20, Files.readAllBytes(file).length);
            return reads(mount) == before;
        });
        Files.write(file, new byte[] {1, 2, 3});
        assertEquals(3, Files.readAllBytes(file).length);
        mount.unmount(LONG);
    }

    private static long reads(FuseMount mount) {
        MountStatistics.Count count = mount.stats().operations().get(Operation.READ);
        return count == null ? 0 : count.count();
    }
}
