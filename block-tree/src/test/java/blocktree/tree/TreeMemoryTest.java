package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileSystem.Caller;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a tree keeps in memory is bounded by its options, whatever the tree holds. */
class TreeMemoryTest {
    private static final Caller USER = new Caller(1, 1);
    private static final int FILE_COUNT = 6_000;
    private static final long INODE_BYTES = 300_000;

    @TempDir
    Path temp;

    @Test
    void inodesLeaveMemoryAndComeBack() throws Exception {
        try (TestTree tree = new TestTree(temp)) {
            tree.options = TreeOptions.defaults().withCaches(2 << 20, 1 << 20, INODE_BYTES);
            tree.reopen();
            for (int i = 0; i < FILE_COUNT; i++) {
                long made = tree.fs
                        .makeNode(
                                USER, FileSystem.ROOT_INODE, Name.of("file " + i), Attributes.TYPE_REGULAR | i % 512, 0)
                        .inode();
                tree.fs.forget(made, 1);
            }
            tree.fs.sync();
            assertBounded(tree);
            for (int i = 0; i < FILE_COUNT; i++) {
                Attributes found = tree.fs.lookup(FileSystem.ROOT_INODE, Name.of("file " + i));
                assertEquals(Attributes.TYPE_REGULAR | i % 512, found.mode());
                tree.fs.forget(found.inode(), 1);
            }
            assertBounded(tree);
        }
    }

    private static void assertBounded(TestTree tree) {
        int kept = tree.fs.counters().cachedInodes();
        assertTrue(kept < FILE_COUNT / 4, kept + " of " + FILE_COUNT + " inodes in memory");
    }
}
