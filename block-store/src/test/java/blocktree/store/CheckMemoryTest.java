package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A check needs no more memory for a block of many versions, of which a database file has one for each of its syncs. */
class CheckMemoryTest {

    private static final int HEAP_MIB = 48;

    /** With attributes of this size all headers at once take more than the heap. */
    private static final int ATTRIBUTES_SIZE_BYTES = 90_000;

    private static final int GENERATIONS = 900;

    @TempDir
    Path temp;

    @Test
    void manyVersionsOfABlock() throws Exception {
        Process child = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Xmx" + HEAP_MIB + "m",
                        "-cp",
                        System.getProperty("java.class.path"),
                        CheckMemoryTest.class.getName(),
                        temp.toString())
                .redirectErrorStream(true)
                .start();
        try {
            String output = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            assertTrue(child.waitFor(2, TimeUnit.MINUTES), "the check does not end");
            assertEquals(0, child.exitValue(), output);
        } finally {
            child.destroyForcibly();
        }
    }

    /** What the child does. */
    public static void main(String[] args) throws StoreException {
        try (TestTree tree = new TestTree(Path.of(args[0]))) {
            OpenBlock block = tree.create("many", 1, 2, 3);
            for (int i = 1; i < GENERATIONS; i++) {
                try (Commit commit = tree.store.newCommit()) {
                    commit.edit(block)
                            .attributes(new byte[ATTRIBUTES_SIZE_BYTES])
                            .putSector(i % 3, TestTree.sector(i), 0);
                    block = tree.store.commit(commit, false).block(block.id());
                }
            }
            FsckReport report = tree.store.fsck(FsckOptions.defaults(), finding -> {
                throw new IllegalStateException(finding.toString());
            });
            List<Long> counts = List.of(report.headers(), report.sectors(), report.nodes());
            if (!counts.equals(List.of((long) GENERATIONS, GENERATIONS + 2L, (long) GENERATIONS))) {
                throw new IllegalStateException("headers, sectors, nodes: " + counts);
            }
        }
    }
}
