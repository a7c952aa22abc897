package blocktree.fuse;

class WriteBackMountTest extends MemoryMountTest implements AccessListContractTest {
    WriteBackMountTest() {
        super(MountOptions.defaults()
                .withLibrary(Library.LIBFUSE3)
                .withAccessLists(true)
                .withWriteBackCache(true));
    }
}
