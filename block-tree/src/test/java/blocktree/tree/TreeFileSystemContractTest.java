package blocktree.tree;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.io.TempDir;

class TreeFileSystemContractTest extends FileSystemContractTest {
    @TempDir
    Path directory;

    private final List<TestTree> trees = new ArrayList<>();

    @Override
    FileSystem open() throws Exception {
        TestTree tree = new TestTree(directory);
        trees.add(tree);
        return tree.fs;
    }

    @AfterEach
    void closeTrees() throws Exception {
        for (TestTree tree : trees) {
            tree.close();
        }
    }
}
