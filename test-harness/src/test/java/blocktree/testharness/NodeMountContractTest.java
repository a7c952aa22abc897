package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;

import blocktree.fuse.MountContractTest;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;

/** The contract of a mount, kept by a node with its store. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class NodeMountContractTest extends MountContractTest {
    private final String library;
    private final String[] options;
    private TestNode node;

    @SuppressWarnings("NullAway.Init")
    NodeMountContractTest(String library, String... options) {
        this.library = library;
        this.options = options;
    }

    @BeforeAll
    void start() throws Exception {
        node = TestNode.initialised();
        node.withArguments("--allow-other", "--dev", "--suid", "--fuse-library", library)
                .withArguments(options)
                .start();
    }

    @AfterAll
    void everythingIsInOrder() throws Exception {
        try (TestNode closing = node) {
            assertEquals(library, closing.process().status().mounts().get(0).library());
            closing.requireCleanFsck();
        }
    }

    @Override
    protected Path mountPoint() {
        return node.mount();
    }

    @Override
    protected boolean namesInodes() {
        return library.equals("libfuse3");
    }
}
