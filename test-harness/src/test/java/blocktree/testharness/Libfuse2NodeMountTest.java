package blocktree.testharness;

class Libfuse2NodeMountTest extends NodeMountContractTest {
    Libfuse2NodeMountTest() {
        super("libfuse2");
    }
}
