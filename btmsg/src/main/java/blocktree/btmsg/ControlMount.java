package blocktree.btmsg;

/**
 * A mount of a node's tree.
 *
 * @param mountPoint absolute path of a directory
 * @param subtree path inside the tree, without leading '/'; empty for all of it
 * @param setUserId set-user-id and set-group-id programs work as such
 * @param devices device nodes work as such
 * @param noExec no program can be started from it
 * @param writeBackCache the kernel may keep writes back; only for the one mount that changes the tree
 * @param accessLists POSIX access control lists are enforced
 * @param library the FUSE library that it goes through, in what a node says; empty in a request
 */
public record ControlMount(
        String mountPoint,
        boolean readOnly,
        boolean allowOther,
        String subtree,
        boolean showSnapshots,
        boolean setUserId,
        boolean devices,
        boolean noExec,
        boolean writeBackCache,
        boolean accessLists,
        String library) {

    /** A mount with nosuid, nodev and exec. */
    public ControlMount(
            String mountPoint, boolean readOnly, boolean allowOther, String subtree, boolean showSnapshots) {
        this(mountPoint, readOnly, allowOther, subtree, showSnapshots, false, false, false, false, false, "");
    }

    /** The same mount, as it was made. */
    public ControlMount through(String usedLibrary) {
        return new ControlMount(
                mountPoint,
                readOnly,
                allowOther,
                subtree,
                showSnapshots,
                setUserId,
                devices,
                noExec,
                writeBackCache,
                accessLists,
                usedLibrary);
    }
}
