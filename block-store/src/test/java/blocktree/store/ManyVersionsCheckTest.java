package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import blocktree.crypto.BlockId;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Checks of a block of many versions, of which a database file has one for each of its syncs. */
class ManyVersionsCheckTest {

    private static final int HEAP_MIB = 48;

    /** With attributes of this size all headers at once take more than the heap. */
    private static final int ATTRIBUTES_SIZE_BYTES = 90_000;

    private static final int GENERATIONS = 900;

    @TempDir
    Path temp;

    /** All headers at once would be more than the heap. */
    @Test
    void memoryDoesNotGrowWithThem() throws Exception {
        Process child = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-Xmx" + HEAP_MIB + "m",
                        "-cp",
                        System.getProperty("java.class.path"),
                        ManyVersionsCheckTest.class.getName(),
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

    @Test
    void whatIsMissingAlteredOrTooMuchIsFoundAmongManyVersions() throws Exception {
        try (TestTree tree = new TestTree(temp)) {
            OpenBlock block = tree.create("many", 1, 2, 3);
            for (int i = 1; i < 200; i++) {
                block = tree.put(block, i % 3, 1_000 + i);
            }
            tree.store.fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
            Rocks rocks = tree.store.ledger().rocks();
            BlockId id = block.id();
            rocks.delete(Column.SECTORS, Keys.sector(id, 1, 50));
            byte[] other = rocks.get(Column.SECTORS, Keys.sector(id, 0, 100));
            rocks.put(Column.SECTORS, Keys.sector(id, 2, 60), Objects.requireNonNull(other));
            List<Finding> missingAndAltered = findings(tree);
            assertEquals(
                    Set.of(Finding.Kind.SECTOR_MISSING, Finding.Kind.SECTOR_INVALID),
                    missingAndAltered.stream().map(Finding::kind).collect(Collectors.toSet()),
                    missingAndAltered::toString);
            assertEquals(2, missingAndAltered.size());
        }
    }

    @Test
    void whatNobodyNamesIsFoundAmongManyVersions() throws Exception {
        try (TestTree tree = new TestTree(temp)) {
            OpenBlock block = tree.create("many", 1, 2, 3);
            for (int i = 1; i < 200; i++) {
                block = tree.put(block, i % 3, 1_000 + i);
            }
            Rocks rocks = tree.store.ledger().rocks();
            byte[] some = rocks.get(Column.SECTORS, Keys.sector(block.id(), 0, 100));
            rocks.put(Column.SECTORS, Keys.sector(block.id(), 0, 101), Objects.requireNonNull(some));
            byte[] node = rocks.get(Column.NODES, Keys.node(block.id(), 0, 0, 100));
            rocks.put(Column.NODES, Keys.node(block.id(), 0, 7, 100), Objects.requireNonNull(node));
            assertEquals(
                    List.of(Finding.Kind.SECTOR_ORPHAN, Finding.Kind.NODE_ORPHAN),
                    findings(tree).stream().map(Finding::kind).toList());
        }
    }

    private static List<Finding> findings(TestTree tree) throws StoreException {
        List<Finding> findings = new ArrayList<>();
        tree.store.fsck(FsckOptions.defaults(), findings::add);
        return findings;
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
