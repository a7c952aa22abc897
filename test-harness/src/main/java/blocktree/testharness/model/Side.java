package blocktree.testharness.model;

import blocktree.testharness.posix.FileStatus;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.util.Arrays;

/** One of the two directories, with the descriptors that are open in it. */
final class Side {
    private static final int CLOSED = -1;

    private final String root;
    private final int[] descriptors;

    Side(String root, int slotCount) {
        this.root = root;
        this.descriptors = new int[slotCount];
        Arrays.fill(descriptors, CLOSED);
    }

    String root() {
        return root;
    }

    /** The absolute path of {@code relative}, which may be empty. */
    String path(String relative) {
        return root + "/" + relative;
    }

    /**
     * As {@link #path}, with the attributes of what is there known to the kernel. On a mount by path, each name of a file has attributes of its own in
     * the kernel, and by these it decides who may change them: what was changed under another name counts once they are asked for.
     */
    String seen(String relative) {
        String path = path(relative);
        try {
            Posix.lstat(path);
            Posix.stat(path);
        } catch (PosixException e) {
            // The operation itself will say why.
        }
        return path;
    }

    boolean isOpen(int slot) {
        return descriptors[slot] != CLOSED;
    }

    int descriptor(int slot) {
        return descriptors[slot];
    }

    /** Takes a new descriptor into a slot, closing what was there. */
    void keep(int slot, int descriptor) throws PosixException {
        close(slot);
        descriptors[slot] = descriptor;
    }

    void close(int slot) throws PosixException {
        if (isOpen(slot)) {
            int descriptor = descriptors[slot];
            descriptors[slot] = CLOSED;
            Posix.close(descriptor);
        }
    }

    /**
     * Closes every descriptor of the file at {@code path} when that has several names. A mount by path has pages of its own for each name: what
     * is open under one of them may miss what is written under another (docs/mount-limits.md).
     */
    void closeIfLinked(String path) throws PosixException {
        FileStatus status;
        try {
            status = Posix.stat(path);
        } catch (PosixException e) {
            return; // the operation itself will say why
        }
        if (status.isDirectory() || status.linkCount() < 2) {
            return;
        }
        for (int slot = 0; slot < descriptors.length; slot++) {
            if (isOpen(slot) && isSame(descriptors[slot], status)) {
                close(slot);
            }
        }
    }

    /** Whether both names exist and lead to the same inode. */
    boolean isSame(String relative, String other) {
        try {
            return Posix.lstat(path(relative)).inode()
                    == Posix.lstat(path(other)).inode();
        } catch (PosixException e) {
            return false;
        }
    }

    private static boolean isSame(int descriptor, FileStatus file) throws PosixException {
        return Posix.fstat(descriptor).inode() == file.inode();
    }

    void closeAll() throws PosixException {
        for (int slot = 0; slot < descriptors.length; slot++) {
            close(slot);
        }
    }
}
