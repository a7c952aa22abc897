package blocktree.fuse;

class Libfuse2MountTest extends MemoryMountTest {
    Libfuse2MountTest() {
        super(MountOptions.defaults().withLibrary(Library.LIBFUSE2));
    }
}
