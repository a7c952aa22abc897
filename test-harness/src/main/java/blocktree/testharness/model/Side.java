package blocktree.testharness.model;

import blocktree.testharness.posix.Errno;
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

    private static boolean isSame(int descriptor, FileStatus file) throws PosixException {
        try {
            return Posix.fstat(descriptor).inode() == file.inode();
        } catch (PosixException e) {
            if (e.errno() == Errno.ENOENT) {
                return false; // a removed directory
            }
            throw e;
        }
    }

    void closeAll() throws PosixException {
        for (int slot = 0; slot < descriptors.length; slot++) {
            close(slot);
        }
    }
}
