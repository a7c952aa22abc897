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
    private TestNode node;

    @SuppressWarnings("NullAway.Init")
    NodeMountContractTest(String library) {
        this.library = library;
    }

    @BeforeAll
    void start() throws Exception {
        node = TestNode.initialised();
        node.withArguments("--allow-other", "--dev", "--suid", "--fuse-library", library)
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
