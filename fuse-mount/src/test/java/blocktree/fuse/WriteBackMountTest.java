package blocktree.fuse;

class WriteBackMountTest extends MemoryMountTest {
    WriteBackMountTest() {
        super(MountOptions.defaults().withLibrary(Library.LIBFUSE3).withWriteBackCache(true));
    }
}
