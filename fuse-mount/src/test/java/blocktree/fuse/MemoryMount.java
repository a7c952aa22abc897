package blocktree.fuse;

import blocktree.tree.AttributeChange;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.MemoryFileSystem;
import com.sun.security.auth.module.UnixSystem;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;

/**
 * A process that mounts an empty file system in memory: for profiling, and to be killed by a test. {@code MemoryMount DIRECTORY
 * [allow_other|dev|suid|keep|drop|libfuse2|libfuse3|no_write_back|no_auto_unmount]...}. Prints {@code mounted} and stays until it is unmounted or its standard input ends.
 */
public final class MemoryMount {
    private MemoryMount() {}

    public static void main(String[] args) throws Exception {
        MountOptions options = MountOptions.defaults();
        for (int i = 1; i < args.length; i++) {
            options = switch (args[i]) {
                case "allow_other" -> options.withAllowOther(true);
                case "dev" -> options.withDevices(true);
                case "suid" -> options.withSetUserId(true);
                case "keep" -> options.withPageCache(MountOptions.PageCache.KEEP);
                case "drop" -> options.withPageCache(MountOptions.PageCache.DROP);
                case "libfuse2" -> options.withLibrary(Library.LIBFUSE2);
                case "libfuse3" -> options.withLibrary(Library.LIBFUSE3);
                case "no_write_back" -> options.withWriteBackCache(false);
                case "no_auto_unmount" -> options.withAutoUnmount(false);
                default -> throw new IllegalArgumentException(args[i]);
            };
        }
        MemoryFileSystem fileSystem = new MemoryFileSystem();
        UnixSystem user = new UnixSystem();
        Caller caller = new Caller((int) user.getUid(), (int) user.getGid());
        fileSystem.setAttributes(caller, FileSystem.ROOT_INODE, AttributeChange.owner(caller.uid(), caller.gid()));
        FuseMount mount = FuseMount.mount(fileSystem, Path.of(args[0]), options);
        System.out.println("mounted");
        System.out.flush();
        while (System.in.read() >= 0 && mount.isMounted()) {
            System.out.write((mount.stats() + "\n").getBytes(StandardCharsets.UTF_8));
            System.out.flush();
        }
        mount.unmount(Duration.ofSeconds(5));
    }
}
