package blocktree.tree;

/**
 * What stat(2) and statx(2) show. Times are nanoseconds since 1970 (signed, so 1677 to 2262); {@code mode} has type and permission bits; {@code storedBytes} is what the payload really
 * takes (holes take nothing), for st_blocks; {@code modeWithoutLists} is the mode to show where access control lists are not enforced: its permissions give nobody more than mode and list together.
 */
public record Attributes(
        long inode,
        int mode,
        int uid,
        int gid,
        long linkCount,
        long device,
        long sizeBytes,
        long storedBytes,
        int blockSizeBytes,
        long accessTimeNanos,
        long modifyTimeNanos,
        long changeTimeNanos,
        long birthTimeNanos,
        int modeWithoutLists) {

    /** The file type mask and types of {@code st_mode}, as in stat(2). */
    public static final int TYPE_MASK = 0170000;

    public static final int TYPE_FIFO = 0010000;
    public static final int TYPE_CHARACTER_DEVICE = 0020000;
    public static final int TYPE_DIRECTORY = 0040000;
    public static final int TYPE_BLOCK_DEVICE = 0060000;
    public static final int TYPE_REGULAR = 0100000;
    public static final int TYPE_SYMLINK = 0120000;
    public static final int TYPE_SOCKET = 0140000;

    /** What to show where access control lists are not enforced. */
    public Attributes withoutLists() {
        return modeWithoutLists == mode ? this : with(inode, modeWithoutLists);
    }

    Attributes withInode(long number) {
        return with(number, mode);
    }

    private Attributes with(long shownInode, int shownMode) {
        return new Attributes(
                shownInode,
                shownMode,
                uid,
                gid,
                linkCount,
                device,
                sizeBytes,
                storedBytes,
                blockSizeBytes,
                accessTimeNanos,
                modifyTimeNanos,
                changeTimeNanos,
                birthTimeNanos,
                modeWithoutLists);
    }

    public boolean isDirectory() {
        return (mode & TYPE_MASK) == TYPE_DIRECTORY;
    }

    public boolean isRegular() {
        return (mode & TYPE_MASK) == TYPE_REGULAR;
    }

    public boolean isSymlink() {
        return (mode & TYPE_MASK) == TYPE_SYMLINK;
    }

    /** A FIFO, a socket or a device. */
    public boolean isSpecial() {
        return !isDirectory() && !isRegular() && !isSymlink();
    }
}
