package blocktree.testharness.model;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The model against itself, on two plain directories: it agrees where it should, and notices what it should. */
class ModelRunTest {
    @TempDir
    Path directory;

    @Test
    void twoDirectoriesOfOneFileSystemAgree() throws Exception {
        Path a = makeRoot("a");
        Path b = makeRoot("b");
        try (ModelRun run = new ModelRun(1, a.toString(), b.toString())) {
            run.steps(5000);
            run.compareTrees();
            assertTrue(
                    run.outcomes().getOrDefault("ok", 0) > 2500, () -> "too few operations succeed: " + run.outcomes());
            assertTrue(run.outcomes().size() > 12, () -> "too few kinds of failure: " + run.outcomes());
        }
    }

    @Test
    void aByteThatOneSideLostIsNoticed() throws Exception {
        Path a = makeRoot("a");
        Path b = makeRoot("b");
        try (ModelRun run = new ModelRun(2, a.toString(), b.toString())) {
            Files.write(a.resolve("data"), new byte[] {1, 2, 3});
            Files.write(b.resolve("data"), new byte[] {1, 0, 3});
            ModelMismatch mismatch = assertThrows(ModelMismatch.class, run::compareTrees);
            assertTrue(mismatch.toString().contains("/data"), mismatch.toString());
            assertTrue(mismatch.toString().contains("seed 2"), mismatch.toString());
        }
    }

    @Test
    void anOperationThatAnswersDifferentlyIsNoticedWithItsHistory() throws Exception {
        Path a = makeRoot("a");
        Path b = makeRoot("b");
        try (ModelRun run = new ModelRun(3, a.toString(), b.toString())) {
            run.steps(200);
            Posix.chmod(b.toString(), 0);
            ModelMismatch mismatch = assertThrows(ModelMismatch.class, () -> run.steps(2000));
            assertEquals(
                    30,
                    mismatch.toString()
                            .lines()
                            .filter(line -> line.matches(" +\\d+ .*"))
                            .count());
        }
    }

    private Path makeRoot(String name) throws PosixException {
        Path root = directory.resolve(name);
        Posix.mkdir(root.toString(), 0755);
        Posix.chmod(root.toString(), 01777);
        Posix.chmod(directory.toString(), 0755);
        return root;
    }
}
