package blocktree.fuse;

import blocktree.tree.FileLocks;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystemException;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** A file that is open in a mount. */
final class OpenFile {
    final long inode;

    /** Whether it is open to write. */
    final boolean writes;

    /** Whether the kernel may cache it, so far as other mounts are concerned. */
    final boolean cached;

    /** Whether the file system puts every write at the end, wherever the kernel takes that to be: pages from mmap need the other handle. */
    final boolean appends;

    /** Whether what a program writes is to be durable before the program is told so. */
    final boolean syncs;

    /** Who has locked through it, and not closed a descriptor of it since. */
    final Set<FileLocks.Owner> lockOwners = ConcurrentHashMap.newKeySet();

    private long positionedHandle;

    OpenFile(long inode, OpenMode mode, boolean cached) {
        this.inode = inode;
        this.writes = mode.write();
        this.cached = cached;
        this.appends = mode.write() && mode.append();
        this.syncs = mode.write() && mode.sync();
    }

    /** A handle of the same file that writes at offsets. */
    synchronized long positionedHandle(FileSystem fileSystem) throws FileSystemException {
        if (positionedHandle == 0) {
            positionedHandle =
                    fileSystem.open(MountOperations.PRIVILEGED, inode, new OpenMode(true, true, false, false, false));
        }
        return positionedHandle;
    }

    synchronized void release(FileSystem fileSystem) {
        if (positionedHandle != 0) {
            fileSystem.release(positionedHandle);
            positionedHandle = 0;
        }
    }
}
