package blocktree.fuse;

import blocktree.tree.MemoryFileSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestInstance.Lifecycle;
import org.junit.jupiter.api.io.TempDir;

/** The binding keeps the contract over a file system that keeps it by construction. */
@TestInstance(Lifecycle.PER_CLASS)
@SuppressWarnings("NullAway.Init")
abstract class MemoryMountTest extends MountContractTest {
    private final MountOptions options;
    private FuseMount mount;

    MemoryMountTest(MountOptions options) {
        this.options = options;
    }

    @BeforeAll
    void mount(@TempDir Path directory) throws IOException, MountException {
        Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path mountPoint = Files.createDirectory(directory.resolve("mount"));
        mount = FuseMount.mount(
                new MemoryFileSystem(),
                mountPoint,
                options.withAllowOther(true).withDevices(true).withSetUserId(true));
    }

    @AfterAll
    void unmount() throws MountException {
        mount.unmount(Duration.ofSeconds(10));
    }

    @Override
    protected Path mountPoint() {
        return mount.mountPoint();
    }

    @Override
    protected boolean namesInodes() {
        return options.library() == Library.LIBFUSE3;
    }
}
