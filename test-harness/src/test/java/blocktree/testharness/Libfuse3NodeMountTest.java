package blocktree.testharness;

class Libfuse3NodeMountTest extends NodeMountContractTest {
    Libfuse3NodeMountTest() {
        super("libfuse3");
    }
}
