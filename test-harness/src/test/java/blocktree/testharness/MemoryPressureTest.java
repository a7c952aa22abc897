package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import blocktree.harness.NodeProgram;
import blocktree.testharness.crash.CrashLoad;
import blocktree.testharness.program.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A node, and the programs that use its mount, in a control group with less memory than the node and what it and they cache would take: what is cached is reclaimed all the time, dirty pages of the mount included, which
 * takes the node itself. Nothing may wait for ever, be wrong or be killed.
 *
 * <p>System properties: {@code blocktree.pressure.seconds} (10), {@code blocktree.pressure.seed} (drawn; a failure names it).
 */
class MemoryPressureTest {
    private static final Logger log = LoggerFactory.getLogger(MemoryPressureTest.class);
    private static final Path GROUPS = Path.of("/sys/fs/cgroup/memory");
    private static final long LIMIT_BYTES = 512L << 20;
    private static final int WRITER_COUNT = 2;
    private static final int STREAM_MIB = 320;

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    @Timeout(value = 2, unit = TimeUnit.HOURS)
    void aNodeShortOfMemoryGoesOn(boolean writeBackCache) throws Exception {
        assumeTrue(Files.isDirectory(GROUPS), "needs the memory controller of control groups of version 1");
        long seconds = Long.getLong("blocktree.pressure.seconds", 10);
        long seed = Long.getLong("blocktree.pressure.seed", System.nanoTime());
        Random random = new Random(seed);
        Path group = Files.createTempDirectory(GROUPS, "blocktree-test-");
        try {
            Files.writeString(group.resolve("memory.limit_in_bytes"), Long.toString(LIMIT_BYTES));
            List<String> inGroup = List.of("sh", "-c", "echo $$ > " + group + "/cgroup.procs && exec \"$0\" \"$@\"");
            TestNode node = TestNode.initialised(NodeProgram.find().withPrefix(inGroup));
            try (node) {
                node.withArguments(writeBackCache ? new String[] {"--write-back-cache"} : new String[0])
                        .start();
                Path root = Files.createDirectory(node.mount().resolve("load"));
                CrashLoad load = new CrashLoad(root.toString(), WRITER_COUNT, seed);
                load.start();
                long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
                int rounds = 0;
                long residentMax = 0;
                while (System.nanoTime() < end) {
                    stream(node, group, random.nextInt(4));
                    byte[] content = new byte[random.nextInt(1 << 20)];
                    random.nextBytes(content);
                    Path file = node.mount().resolve("file");
                    Files.write(file, content);
                    assertArrayEquals(content, Files.readAllBytes(file), "seed " + seed);
                    residentMax = Math.max(residentMax, node.memoryBytes("VmRSS"));
                    rounds++;
                }
                long failures = Long.parseLong(
                        Files.readString(group.resolve("memory.failcnt")).strip());
                log.atInfo()
                        .addKeyValue("rounds", rounds)
                        .addKeyValue("acknowledged", load.acknowledgedCount())
                        .addKeyValue("limit_reached", failures)
                        .addKeyValue("resident_mib_max", residentMax >> 20)
                        .log("pressure");
                assertTrue(failures > 0, "the limit was never reached");
                assertTrue(residentMax <= TestNode.RESIDENT_BYTES_MAX, "resident " + (residentMax >> 20) + " MiB");
                node.kill();
                load.awaitEnd();
                node.start();
                assertEquals(List.of(), load.verify(), "seed " + seed);
                node.requireCleanFsck();
                node.stop();
            }
        } finally {
            Await.until(
                    Duration.ofSeconds(20),
                    "the group is empty",
                    () -> Files.readString(group.resolve("cgroup.procs")).isEmpty());
            Files.delete(group);
        }
    }

    /** A program in the group writes more than fits, through the page cache or by mapping it, and reads it again. */
    private static void stream(TestNode node, Path group, int which) {
        String program = """
                import mmap, os, sys
                open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
                size = int(sys.argv[2]) << 20
                piece = os.urandom(1 << 20)
                f = os.open("stream", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
                if int(sys.argv[3]) == 0:
                    os.ftruncate(f, size)
                    mapped = mmap.mmap(f, size)
                    for at in range(0, size, len(piece)): mapped[at:at + len(piece)] = piece
                    mapped.close()
                else:
                    for at in range(0, size, len(piece)): os.write(f, piece)
                if int(sys.argv[3]) == 1: os.fsync(f)
                for at in range(0, size, len(piece)):
                    assert os.pread(f, len(piece), at) == piece, at
                os.close(f); os.unlink("stream")
                """;
        Program.in(
                        node.mount(),
                        "python3",
                        "-c",
                        program,
                        group.toString(),
                        Integer.toString(STREAM_MIB),
                        Integer.toString(which))
                .run();
    }
}
