package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Database files that lost a page, as failing devices do: an error for what lay there, and a finding. The native code that reads the
 * files must not crash on it, and must not give wrong bytes.
 */
class DamagedFilesTest {

    private static final int BLOCKS = 300;
    private static final int PAGE = 512;
    private static final int PLACES_PER_FILE = 12;

    @TempDir
    Path directory;

    private final List<OpenBlock> blocks = new ArrayList<>();
    private int refusals;
    private int readErrors;

    @Test
    void aDamagedPageIsAnErrorWhereItLiesAndAFinding() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            for (int i = 0; i < BLOCKS; i++) {
                blocks.add(tree.create("b" + i, i + 1, i + 2));
            }
            tree.reopen();
            tree.store.close();
            List<Path> files;
            try (Stream<Path> all = Files.list(tree.dir)) {
                files = all.filter(f -> f.toString().matches(".*\\.(sst|blob)")).toList();
            }
            assertTrue(files.size() >= 5, files.toString());
            for (Path file : files) {
                byte[] whole = Files.readAllBytes(file);
                for (int place = 0; place < PLACES_PER_FILE; place++) {
                    long at = (long) (whole.length - 1) * place / PLACES_PER_FILE;
                    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                        int size = (int) Math.min(PAGE, whole.length - at);
                        channel.write(ByteBuffer.allocate(size), at);
                    }
                    check(tree, file + " zeroed at " + at);
                    Files.write(file, whole);
                }
                Files.delete(file);
                check(tree, file + " deleted");
                Files.write(file, whole);
            }
            assertTrue(refusals > 0 && readErrors > 0, refusals + " refusals, " + readErrors + " errors");
            assertEquals(0, failedReads(tree.open(), "all is as it was"));
        }
    }

    private void check(TestTree tree, String label) {
        try (BlockStore store = BlockStore.open(tree.dir, tree.options.withReadOnly(true), tree.node)) {
            int failed = failedReads(store, label);
            readErrors += failed;
            List<Finding> findings = new ArrayList<>();
            FsckReport report = store.fsck(FsckOptions.defaults(), findings::add);
            if (failed > 0) {
                assertFalse(report.isClean(), label + ": fsck does not see it");
            }
        } catch (StoreException e) {
            assertEquals(StoreException.Code.CORRUPT, e.code(), () -> label + ": " + e);
            refusals++;
        }
    }

    private int failedReads(BlockStore store, String label) {
        int failed = 0;
        for (int i = 0; i < BLOCKS; i++) {
            try {
                OpenBlock block = store.read(blocks.get(i).id());
                assertArrayEquals(TestTree.bytes("b" + i), block.attributes(), label);
                assertArrayEquals(TestTree.sector(i + 1), TestTree.read(block, 0), label);
                assertArrayEquals(TestTree.sector(i + 2), TestTree.read(block, 1), label);
            } catch (StoreException e) {
                assertEquals(StoreException.Code.CORRUPT, e.code(), () -> label + ": " + e);
                failed++;
            }
        }
        return failed;
    }
}
