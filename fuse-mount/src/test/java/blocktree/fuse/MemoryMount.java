package blocktree.fuse;

import blocktree.tree.AttributeChange;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystemException;
import blocktree.tree.MemoryFileSystem;
import blocktree.tree.Name;
import com.sun.security.auth.module.UnixSystem;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/**
 * A process that mounts an empty file system in memory: for profiling, and to be killed by a test. {@code MemoryMount DIRECTORY
 * [allow_other|dev|suid|keep|drop|libfuse2|libfuse3|no_write_back|no_auto_unmount|stuck]...}. Prints {@code mounted} and stays until it is unmounted or its standard input ends.
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
                case "stuck" -> options;
                default -> throw new IllegalArgumentException(args[i]);
            };
        }
        UnixSystem user = new UnixSystem();
        Caller caller = new Caller((int) user.getUid(), (int) user.getGid());
        FileSystem fileSystem = List.of(args).contains("stuck") ? stuck(caller) : new MemoryFileSystem();
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

    /** Does not answer the first lookup, and changes the directory in which that waits, so that the kernel, too, is told something that has to wait for the answer. */
    private static FileSystem stuck(Caller caller) {
        FaultyFileSystem faulty = new FaultyFileSystem();
        FileSystem fileSystem = faulty.fileSystem();
        faulty.before("lookup", () -> {
            faulty.heal();
            new Thread(() -> change(fileSystem, caller)).start();
            Thread.sleep(Long.MAX_VALUE);
            return null;
        });
        return fileSystem;
    }

    private static void change(FileSystem fileSystem, Caller caller) {
        try {
            fileSystem.makeDirectory(caller, FileSystem.ROOT_INODE, Name.of("made"), 0700);
        } catch (FileSystemException e) {
            throw new AssertionError(e);
        }
    }
}
