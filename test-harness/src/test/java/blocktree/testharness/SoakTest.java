package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.crash.CrashLoad;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A long life in short: writers with fsync, streams, snapshots made, read and deleted, retention, checks and scrubs while all that goes on, and
 * SIGKILL now and then. Nothing acknowledged is lost, snapshots keep what they saw, checks stay clean, memory
 * stays within its bound, and no more files are open in the second half than in the first.
 *
 * <p>System properties: {@code blocktree.soak.minutes} (1), {@code blocktree.soak.seed} (drawn; a failure names it), {@code
 * blocktree.soak.directory}: the volume is kept there at the end, with a list of what is in it, and a soak that finds one goes on with it, after comparing.
 */
class SoakTest {
    private static final Logger log = LoggerFactory.getLogger(SoakTest.class);
    private static final int WRITER_COUNT = 3;
    private static final int SNAPSHOTS_MAX = 5;
    private static final int STREAM_BYTES = 48 << 20;
    private static final int DESCRIPTORS_MORE_MAX = 64;

    /** A snapshot, and what the file that is rewritten before each held then. */
    private record Kept(String name, byte[] content) {}

    /** Of a node that is busy: bytes in memory, and files that it has open. */
    private record Usage(long residentBytes, int descriptors) {}

    private final long seed = Long.getLong("blocktree.soak.seed", System.nanoTime());
    private final Random random = new Random(seed);
    private final Deque<Kept> kept = new ArrayDeque<>();
    private final List<Usage> usages = new ArrayList<>();
    private int snapshotNumber;

    /** Where the volume is kept; null: nowhere. */
    private final @Nullable String keptIn = System.getProperty("blocktree.soak.directory");

    @Test
    @Timeout(value = 6, unit = TimeUnit.HOURS)
    void nothingIsLostAndNothingGrows() throws Exception {
        int minutes = Integer.getInteger("blocktree.soak.minutes", 1);
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(minutes);
        // Three lives at least, of no more than five minutes.
        long lifeNanos = Math.min(TimeUnit.MINUTES.toNanos(5), TimeUnit.MINUTES.toNanos(minutes) / 3);
        int life = 0;
        try (TestNode node = TestNode.initialised().withArguments("--retention", "30s")) {
            int part = takeUp(node);
            Path root = Files.createDirectory(node.mount().resolve("load" + part));
            node.process().sync();
            CrashLoad load = new CrashLoad(root.toString(), WRITER_COUNT, seed);
            while (System.nanoTime() < end) {
                life++;
                String where = "seed " + seed + " life " + life;
                load.start();
                long died = System.nanoTime() + lifeNanos / 2 + (long) (random.nextDouble() * lifeNanos);
                while (System.nanoTime() < Math.min(died, end)) {
                    act(node, where);
                    usages.add(usage(node));
                }
                node.kill();
                load.awaitEnd();
                node.start();
                assertEquals(List.of(), load.verify(), where);
                verifySnapshots(node, where);
                assertEquals(List.of(), node.process().fsck(), where);
                Usage last = usages.get(usages.size() - 1);
                log.atInfo()
                        .addKeyValue("life", life)
                        .addKeyValue("acknowledged", load.acknowledgedCount())
                        .addKeyValue("resident_mib", last.residentBytes >> 20)
                        .addKeyValue("descriptors", last.descriptors)
                        .addKeyValue(
                                "live_mib",
                                node.process().status().counters().getOrDefault("store.live_bytes", 0L) >> 20)
                        .log("soak_life");
            }
            leave(node, part);
        }
        assertBounded();
    }

    /**
     * Starts the node, on the volume of an earlier soak when there is one: it shows what it showed at that one's end.
     *
     * @return which soak of this volume begins, from 1
     */
    private int takeUp(TestNode node) throws Exception {
        Path left = keptIn == null ? null : Path.of(keptIn);
        if (left == null || !Files.exists(left.resolve("list"))) {
            node.start();
            return 1;
        }
        Program.shell(node.work(), "rm -rf data passphrase && mv " + left + "/data " + left + "/passphrase .")
                .run();
        node.start();
        String list = Files.readString(left.resolve("list"));
        assertEquals(list, list(node));
        for (String snapshot : Files.readAllLines(left.resolve("snapshots"))) {
            node.process().deleteSnapshot(snapshot);
        }
        return Integer.parseInt(Files.readString(left.resolve("part")).strip()) + 1;
    }

    private void leave(TestNode node, int part) throws Exception {
        Path left = keptIn == null ? null : Path.of(keptIn);
        if (left == null) {
            node.stop();
            node.requireCleanOfflineFsck();
            return;
        }
        Files.createDirectories(left);
        Files.write(left.resolve("snapshots"), kept.stream().map(Kept::name).toList());
        Files.writeString(left.resolve("part"), part + "\n");
        String list = list(node);
        node.stop();
        node.requireCleanOfflineFsck();
        Program.shell(node.work(), "mv data passphrase " + left).run();
        Files.writeString(left.resolve("list"), list);
    }

    /** What the mount shows, the content of files as hashes, and that of the file which each snapshot keeps. */
    private static String list(TestNode node) {
        return Program.shell(
                        node.mount(),
                        "find . -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum; "
                                + "find .snapshots -name .versions -prune -o -path '.snapshots/*/kept' -print0 | LC_ALL=C sort -z | xargs -0r sha256sum")
                .within(Duration.ofMinutes(10))
                .run();
    }

    private void act(TestNode node, String where) throws Exception {
        switch (random.nextInt(8)) {
            case 0, 1 -> snapshot(node);
            case 2 -> verifySnapshots(node, where);
            case 3, 4 -> stream(node);
            case 5 -> assertEquals(List.of(), node.process().fsck(), where);
            case 6 -> assertEquals(List.of(), node.process().scrub(), where);
            default -> Thread.sleep(1_000); // the writers alone
        }
    }

    private void snapshot(TestNode node) throws Exception {
        byte[] content = new byte[100_000 + random.nextInt(300_000)];
        random.nextBytes(content);
        Files.write(node.mount().resolve("kept"), content);
        String name = "s" + ++snapshotNumber;
        node.process().createSnapshot(name);
        kept.add(new Kept(name, content));
        if (kept.size() > SNAPSHOTS_MAX) {
            node.process().deleteSnapshot(kept.remove().name);
        }
    }

    private void verifySnapshots(TestNode node, String where) throws IOException {
        for (Kept one : kept) {
            Path file = node.mount().resolve(".snapshots").resolve(one.name).resolve("kept");
            assertArrayEquals(one.content, Files.readAllBytes(file), where + " snapshot " + one.name);
        }
    }

    /** Writes and reads back more than the caches hold. */
    private void stream(TestNode node) throws IOException {
        byte[] content = new byte[STREAM_BYTES];
        random.nextBytes(content);
        Path file = node.mount().resolve("stream");
        Files.write(file, content);
        assertArrayEquals(content, Files.readAllBytes(file));
        Files.delete(file);
    }

    private static Usage usage(TestNode node) throws IOException {
        try (Stream<Path> descriptors =
                Files.list(Path.of("/proc/" + node.process().pid() + "/fd"))) {
            return new Usage(node.memoryBytes("VmRSS"), (int) descriptors.count());
        }
    }

    private void assertBounded() {
        int half = usages.size() / 2;
        int before = descriptorsMax(usages.subList(0, half));
        int after = descriptorsMax(usages.subList(half, usages.size()));
        long resident = usages.stream().mapToLong(Usage::residentBytes).max().orElse(0);
        log.atInfo()
                .addKeyValue("samples", usages.size())
                .addKeyValue("resident_mib_max", resident >> 20)
                .addKeyValue("descriptors_first_half", before)
                .addKeyValue("descriptors_second_half", after)
                .log("soak_usage");
        assertTrue(resident <= TestNode.RESIDENT_BYTES_MAX, "resident " + (resident >> 20) + " MiB, seed " + seed);
        assertTrue(after <= before + DESCRIPTORS_MORE_MAX, after + " descriptors after " + before + ", seed " + seed);
    }

    private static int descriptorsMax(List<Usage> some) {
        return some.stream().mapToInt(Usage::descriptors).max().orElse(0);
    }
}
