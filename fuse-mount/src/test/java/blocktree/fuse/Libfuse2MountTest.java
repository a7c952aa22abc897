package blocktree.fuse;

import org.junit.jupiter.api.Test;

class Libfuse2MountTest extends MemoryMountTest {
    Libfuse2MountTest() {
        super(MountOptions.defaults().withLibrary(Library.LIBFUSE2));
    }

    @Test
    void accessListsAreRefused() {
        python("""
                put("f"); os.mkdir("d")
                for name, list in (("f", ACCESS), ("d", ACCESS), ("d", DEFAULT)):
                    fails(errno.EOPNOTSUPP, os.setxattr, name, list, acl(7, {2000: 7}, 5, {}, 7, 0)); fails(errno.EOPNOTSUPP, os.getxattr, name, list)
                    fails(errno.EOPNOTSUPP, os.removexattr, name, list); same(os.listxattr(name), [])
                same((mode("f"), mode("d")), (0o644, 0o755))
                """);
    }
}
