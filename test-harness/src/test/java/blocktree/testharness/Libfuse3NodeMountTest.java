package blocktree.testharness;

import blocktree.fuse.AccessListContractTest;

class Libfuse3NodeMountTest extends NodeMountContractTest implements AccessListContractTest {
    Libfuse3NodeMountTest() {
        super("libfuse3", "--acl");
    }
}
