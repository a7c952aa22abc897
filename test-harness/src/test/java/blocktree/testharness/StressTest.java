package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.exercise.FileExercise;
import blocktree.testharness.posix.PosixException;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Loads that are made to break file systems: random use of a file with each read compared, and those stressors of stress-ng that use files, with its own
 * checks. Afterwards checks are clean, the node has logged no warning, and its memory and descriptors are within bounds.
 *
 * <p>System properties: {@code blocktree.stress.seconds} (4), the length of each load; {@code blocktree.stress.seed} (drawn; a failure names it).
 */
@Timeout(value = 1, unit = TimeUnit.HOURS)
class StressTest {
    private static final Logger log = LoggerFactory.getLogger(StressTest.class);
    private static final int SECONDS = Integer.getInteger("blocktree.stress.seconds", 4);
    private static final int FILE_COUNT = 2;
    private static final int STEPS_AT_ONCE = 100;
    private static final int DESCRIPTORS_MORE_MAX = 400; // one for each table and file of sectors
    private static final Duration CLEANING_UP = Duration.ofMinutes(3);
    private static final String STRESSORS =
            "access aio chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify fallocate fcntl file-ioctl filename flock fpunch fsize"
                    + " fstat getdent handle hdd inode-flags inotify io iomix lease link locka lockf lockofd mknod mmap msync open readahead rename revio"
                    + " seek sendfile symlink sync-file touch utime xattr";

    @Test
    void filesThroughLibfuse3() throws Exception {
        under(StressTest::files, "--fuse-library=libfuse3");
    }

    @Test
    void filesWithAWriteBackCache() throws Exception {
        under(StressTest::files, "--write-back-cache");
    }

    @Test
    void filesThroughLibfuse2() throws Exception {
        under(StressTest::files, "--fuse-library=libfuse2");
    }

    @Test
    void stressNgThroughLibfuse3() throws Exception {
        under(StressTest::stressNg, "--fuse-library=libfuse3");
    }

    @Test
    void stressNgWithAWriteBackCache() throws Exception {
        under(StressTest::stressNg, "--write-back-cache");
    }

    @Test
    void stressNgThroughLibfuse2() throws Exception {
        under(StressTest::stressNg, "--fuse-library=libfuse2");
    }

    private interface Load {
        void on(Path directory) throws Exception;
    }

    private static void under(Load load, String option) throws Exception {
        try (TestNode node = TestNode.initialised().withArguments(option)) {
            node.start();
            int descriptors = descriptorCount(node);
            load.on(Files.createDirectory(node.mount().resolve("load")));
            node.requireCleanFsck();
            int after = descriptorCount(node);
            long resident = node.memoryBytes("VmHWM");
            log.atInfo()
                    .addKeyValue("option", option)
                    .addKeyValue("resident_mib_max", resident >> 20)
                    .addKeyValue("descriptors_before", descriptors)
                    .addKeyValue("descriptors_after", after)
                    .log("stress_done");
            assertTrue(resident <= TestNode.RESIDENT_BYTES_MAX, "resident " + (resident >> 20) + " MiB");
            assertTrue(after <= descriptors + DESCRIPTORS_MORE_MAX, after + " descriptors after " + descriptors);
            node.stop();
            assertEquals(
                    List.of(),
                    node.process()
                            .log()
                            .lines()
                            .filter(line -> line.matches("\\S+ (WARN|ERROR) .*"))
                            .toList());
            node.requireCleanOfflineFsck();
        }
    }

    private static int descriptorCount(TestNode node) throws IOException {
        try (Stream<Path> descriptors =
                Files.list(Path.of("/proc/" + node.process().pid() + "/fd"))) {
            return (int) descriptors.count();
        }
    }

    // ---- one file each

    private static void files(Path directory) throws Exception {
        long seed = Long.getLong("blocktree.stress.seed", System.nanoTime());
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
        ExecutorService threads = Executors.newFixedThreadPool(FILE_COUNT);
        try {
            List<Future<Long>> running = new ArrayList<>();
            for (int i = 0; i < FILE_COUNT; i++) {
                long own = seed + i;
                String path = directory.resolve("file" + i).toString();
                running.add(threads.submit(() -> exercise(own, path, end)));
            }
            for (Future<Long> one : running) {
                log.atInfo()
                        .addKeyValue("seed", seed)
                        .addKeyValue("steps", one.get())
                        .log("stress_file");
            }
        } finally {
            threads.shutdownNow();
        }
    }

    private static long exercise(long seed, String path, long end) throws PosixException {
        try (FileExercise file = new FileExercise(seed, path)) {
            while (System.nanoTime() < end && !Thread.currentThread().isInterrupted()) {
                file.steps(STEPS_AT_ONCE);
            }
            file.compareAll();
            return file.stepCount();
        }
    }

    // ---- stress-ng

    /** One stressor after the other where there is a second for each, for half of the time, and all together. */
    private static void stressNg(Path directory) {
        List<String> stressors = List.of(STRESSORS.split(" "));
        int secondsEach = SECONDS / 2 / stressors.size();
        if (secondsEach > 0) {
            for (String stressor : stressors) {
                run(directory, secondsEach, List.of("--" + stressor, "2"));
            }
        }
        List<String> all = stressors.stream()
                .flatMap(stressor -> Stream.of("--" + stressor, "1"))
                .toList();
        run(directory, SECONDS - secondsEach * stressors.size(), all);
    }

    private static void run(Path directory, int seconds, List<String> stressors) {
        List<String> command = new ArrayList<>(List.of("stress-ng"));
        command.addAll(stressors);
        command.addAll(List.of("--mmap-file", "--mmap-bytes", "8m", "--hdd-bytes", "16m", "--verify"));
        command.addAll(List.of("--timeout", seconds + "s", "--temp-path", directory.toString()));
        long begun = System.nanoTime();
        Program.in(directory, command.toArray(String[]::new))
                .within(Duration.ofSeconds(seconds).plus(CLEANING_UP))
                .run();
        log.atInfo()
                .addKeyValue("stressors", stressors)
                .addKeyValue("seconds", TimeUnit.NANOSECONDS.toSeconds(System.nanoTime() - begun))
                .log("stress_ng");
    }
}
