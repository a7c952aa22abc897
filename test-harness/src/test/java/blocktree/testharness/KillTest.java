package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.crash.CrashLoad;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * SIGKILL at random moments under a mixed load. Nothing that an fsync acknowledged may be missing, torn or undone; the next start needs no help;
 * fsck has nothing to say.
 *
 * <p>System properties: {@code blocktree.kill.rounds} (30), {@code blocktree.kill.seed} (drawn; a failure names it).
 */
class KillTest {
    private static final Logger log = LoggerFactory.getLogger(KillTest.class);
    private static final int WRITER_COUNT = 4;
    private static final int OFFLINE_FSCK_ROUNDS = 10;

    @Test
    @Timeout(3600)
    void nothingAcknowledgedIsLost() throws Exception {
        int rounds = Integer.getInteger("blocktree.kill.rounds", 12);
        long seed = Long.getLong("blocktree.kill.seed", System.nanoTime());
        Random random = new Random(seed);
        try (TestNode node = TestNode.started()) {
            Path root = node.mount().resolve("load");
            Files.createDirectory(root);
            node.process().sync();
            CrashLoad load = new CrashLoad(root.toString(), WRITER_COUNT, seed);
            for (int round = 1; round <= rounds; round++) {
                String where = "seed " + seed + " round " + round;
                long before = load.acknowledgedCount();
                load.start();
                // Mostly in the midst of things, sometimes at once, sometimes late enough for a write-back by age.
                boolean late = random.nextInt(15) == 0;
                load.awaitAcknowledged(late ? Long.MAX_VALUE / 2 : random.nextInt(80), late ? 6000 : 8000);
                load.awaitAcknowledged(Long.MAX_VALUE / 2, random.nextInt(20));
                node.kill();
                load.awaitEnd();
                if (round % OFFLINE_FSCK_ROUNDS == 0) {
                    node.requireCleanOfflineFsck();
                }
                node.start();
                assertEquals(List.of(), load.verify(), where);
                assertEquals(List.of(), node.process().fsck(), where);
                long acknowledged = load.acknowledgedCount() - before;
                log.atInfo()
                        .addKeyValue("round", round)
                        .addKeyValue("acknowledged", acknowledged)
                        .log("kill_round");
            }
            assertTrue(
                    load.acknowledgedCount() > 3L * rounds,
                    "the load did next to nothing: " + load.acknowledgedCount());
            node.stop();
            node.requireCleanOfflineFsck();
        }
    }

    /** Also without fsync: what is older than the write-back age is in the store. */
    @Test
    void dirtyDataReachesTheStoreByItselfWithinFiveSeconds() throws Exception {
        try (TestNode node = TestNode.started()) {
            Path file = node.mount().resolve("unsynced");
            byte[] content = new byte[300_000];
            new Random(1).nextBytes(content);
            Files.write(file, content);
            Files.createDirectory(node.mount().resolve("directory"));
            long position = node.process().status().counters().getOrDefault("log.position", -1L);
            Await.until(
                    Duration.ofMillis(5500),
                    "dirty data is written back",
                    () -> node.process().status().counters().getOrDefault("tree.dirty_bytes", -1L) == 0
                            && node.process().status().counters().getOrDefault("log.position", -1L) > position);
            node.kill();
            node.start();
            assertArrayEquals(content, Files.readAllBytes(file));
            assertTrue(Files.isDirectory(node.mount().resolve("directory")));
        }
    }
}
