package blocktree.tree;

/** An open regular file. Its inode is pinned. */
final class Handle {
    final Inode inode;
    final FileSystem.OpenMode mode;
    /** Failures to write back that this handle has reported; guarded by this. */
    private long errorsReported;

    // What the read-ahead knows; races cost a guess, nothing else.
    volatile long nextOffset;
    volatile int sequentialReads;
    volatile long prefetchedTo;

    Handle(Inode inode, FileSystem.OpenMode mode) {
        this.inode = inode;
        this.mode = mode;
        errorsReported = inode.writeErrors;
    }

    /** Throws what went wrong with written data since this handle last said so. */
    synchronized void reportErrors() throws FileSystemException {
        long errors = inode.writeErrors;
        if (errors != errorsReported) {
            errorsReported = errors;
            throw new FileSystemException(inode.writeErrorCode, "written data has not reached the store");
        }
    }

    /** The failure that the caller throws now covers what came before. */
    synchronized void errorsReported() {
        errorsReported = inode.writeErrors;
    }
}
