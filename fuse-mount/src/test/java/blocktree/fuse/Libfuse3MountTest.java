package blocktree.fuse;

class Libfuse3MountTest extends MemoryMountTest implements AccessListContractTest {
    Libfuse3MountTest() {
        super(MountOptions.defaults().withLibrary(Library.LIBFUSE3).withAccessLists(true));
    }
}
