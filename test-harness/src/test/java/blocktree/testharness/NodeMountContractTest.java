package blocktree.testharness;

import blocktree.fuse.MountContractTest;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;

/** The contract of a mount, kept by a node with its store. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class NodeMountContractTest extends MountContractTest {
    private TestNode node;

    @SuppressWarnings("NullAway.Init")
    NodeMountContractTest() {}

    @BeforeAll
    void start() throws Exception {
        node = TestNode.initialised();
        node.withArguments("--allow-other", "--dev", "--suid").start();
    }

    @AfterAll
    void everythingIsInOrder() throws Exception {
        try (TestNode closing = node) {
            closing.requireCleanFsck();
        }
    }

    @Override
    protected Path mountPoint() {
        return node.mount();
    }
}
