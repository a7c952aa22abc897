package blocktree.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/** Programs that rows and sides run, and what the kernel tells about a process. */
final class Processes {
    private static final Duration POLL = Duration.ofMillis(20);
    private static final Path DROP_CACHES = Path.of("/proc/sys/vm/drop_caches");

    private Processes() {}

    /**
     * Runs a program to its end; its output is thrown away when it succeeds.
     *
     * @throws IOException with the output when the program cannot be started or its exit status is not 0
     */
    static void run(Map<String, String> environment, List<String> command) throws IOException {
        Path output = Files.createTempFile("btnode-bench-", ".out");
        try {
            ProcessBuilder builder = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectInput(Path.of("/dev/null").toFile())
                    .redirectOutput(output.toFile());
            builder.environment().putAll(environment);
            int status = await(builder.start());
            if (status != 0) {
                throw new IOException("'%s' ended with %d: %s"
                        .formatted(
                                String.join(" ", command),
                                status,
                                Files.readString(output, StandardCharsets.ISO_8859_1)
                                        .strip()));
            }
        } finally {
            Files.deleteIfExists(output);
        }
    }

    static void run(String... command) throws IOException {
        run(Map.of(), List.of(command));
    }

    private static int await(Process process) throws IOException {
        try {
            return process.waitFor();
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        }
    }

    /** Processor time, user and system, of all threads so far; the kernel counts in steps of 10 ms. 0 when there is no such process. */
    static Duration cpuTime(long pid) {
        return ProcessHandle.of(pid)
                .flatMap(process -> process.info().totalCpuDuration())
                .orElse(Duration.ZERO);
    }

    /** Largest resident set so far; 0 when there is no such process. */
    static long residentBytesMax(long pid) throws IOException {
        return memoryBytes(pid, "VmHWM:");
    }

    /** Resident set now; 0 when there is no such process. */
    static long residentBytes(long pid) throws IOException {
        return memoryBytes(pid, "VmRSS:");
    }

    private static long memoryBytes(long pid, String field) throws IOException {
        Path status = Path.of("/proc/" + pid + "/status");
        if (!Files.exists(status)) {
            return 0;
        }
        return Files.readAllLines(status).stream()
                .filter(line -> line.startsWith(field))
                .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) * 1024)
                .findFirst()
                .orElse(0);
    }

    static void awaitMounted(Path mountPoint, Process daemon, Path log, Duration timeout) throws IOException {
        await(() -> isMounted(mountPoint) || !daemon.isAlive(), timeout);
        if (!isMounted(mountPoint)) {
            daemon.destroyForcibly();
            throw new IOException("%s was not mounted within %s: %s"
                    .formatted(
                            mountPoint,
                            timeout,
                            Files.readString(log, StandardCharsets.ISO_8859_1).strip()));
        }
    }

    static boolean isMounted(Path mountPoint) {
        try {
            String field = " " + mountPoint.toAbsolutePath() + " ";
            return Files.readAllLines(Path.of("/proc/self/mounts"), StandardCharsets.ISO_8859_1).stream()
                    .anyMatch(line -> line.contains(field));
        } catch (IOException e) {
            return false;
        }
    }

    /** Unmounts, and waits for the daemon to end; after 20 s it is killed and the mount detached. */
    static void unmount(Path mountPoint, Process daemon) throws IOException {
        if (isMounted(mountPoint)) {
            try {
                run("fusermount", "-u", mountPoint.toString());
            } catch (IOException e) {
                run("fusermount", "-u", "-z", mountPoint.toString());
            }
        }
        try {
            if (!daemon.waitFor(20, TimeUnit.SECONDS)) {
                daemon.destroyForcibly().waitFor();
            }
        } catch (InterruptedException e) {
            daemon.destroyForcibly();
            Thread.currentThread().interrupt();
        }
    }

    /** Waits until the process has used next to no processor time for a while, so that what it still does for one row does not slow the next. */
    static void awaitIdle(long pid, Duration timeout) {
        Duration window = Duration.ofMillis(200);
        Duration[] before = {cpuTime(pid)};
        await(
                () -> {
                    pause(window);
                    Duration now = cpuTime(pid);
                    boolean idle = now.minus(before[0]).compareTo(window.dividedBy(8)) < 0;
                    before[0] = now;
                    return idle;
                },
                timeout);
    }

    private static void await(BooleanSupplier condition, Duration timeout) {
        long deadline = System.nanoTime() + timeout.toNanos();
        while (!condition.getAsBoolean() && System.nanoTime() - deadline < 0) {
            pause(POLL);
        }
    }

    static void pause(Duration duration) {
        try {
            TimeUnit.NANOSECONDS.sleep(duration.toNanos());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    static boolean canDropCaches() {
        return Files.isWritable(DROP_CACHES);
    }

    /** Empties the kernel's page cache and forgets names and inodes. */
    static void dropCaches() throws IOException {
        run("sync");
        Files.writeString(DROP_CACHES, "3");
    }

    static void deleteTree(Path directory) throws IOException {
        run("rm", "-rf", "--one-file-system", directory.toString());
    }
}
