package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.model.ModelRun;
import blocktree.testharness.posix.Posix;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Random operations on the mount and on a plain directory, with the same results and errnos at each step, also across restarts of the node.
 *
 * <p>System properties: {@code blocktree.model.steps} (40000), {@code blocktree.model.seed} (drawn and shown when it fails).
 */
class ModelTest {
    private static final Logger log = LoggerFactory.getLogger(ModelTest.class);
    private static final int STEPS = Integer.getInteger("blocktree.model.steps", 20_000);
    private static final int STEPS_BETWEEN_COMPARISONS = 2000;
    private static final int RESTART_ONE_IN = 4;

    @Test
    @Timeout(1800)
    void theMountBehavesLikeAPlainDirectory() throws Exception {
        compare(STEPS);
    }

    @Test
    @Timeout(1800)
    void soItDoesWithAWriteBackCache() throws Exception {
        compare(STEPS / 2, "--write-back-cache");
    }

    @Test
    @Timeout(1800)
    void soItDoesThroughLibfuse2() throws Exception {
        compare(STEPS / 2, "--fuse-library", "libfuse2");
    }

    private static void compare(int steps, String... arguments) throws Exception {
        long seed = Long.getLong("blocktree.model.seed", System.nanoTime());
        log.atInfo().addKeyValue("seed", seed).addKeyValue("steps", steps).log("model_started");
        Posix.umask(022);
        try (TestNode node = TestNode.initialised()) {
            node.withArguments("--allow-other").withArguments(arguments).start();
            Path plain = makeRoot(Files.createDirectory(node.work().resolve("plain")));
            Path mounted = makeRoot(node.mount());
            Random restarts = new Random(seed);
            try (ModelRun run = new ModelRun(seed, plain.toString(), mounted.toString())) {
                for (int done = 0; done < steps; done += STEPS_BETWEEN_COMPARISONS) {
                    run.steps(STEPS_BETWEEN_COMPARISONS);
                    if (restarts.nextInt(RESTART_ONE_IN) == 0) {
                        run.closeDescriptors();
                        node.restart();
                    }
                    run.compareTrees();
                }
                run.closeDescriptors();
                node.restart();
                run.compareTrees();
                assertTrue(
                        run.outcomes().getOrDefault("ok", 0) > steps / 3, () -> "too few succeed: " + run.outcomes());
            }
            node.requireCleanFsck();
        }
    }

    private static Path makeRoot(Path base) throws Exception {
        Path root = base.resolve("model");
        Posix.mkdir(root.toString(), 0755);
        Posix.chmod(root.toString(), 01777);
        return root;
    }
}
