package blocktree.btmsg;

/**
 * A mount of a node's tree.
 *
 * @param mountPoint absolute path of a directory
 * @param subtree path inside the tree, without leading '/'; empty for all of it
 */
public record ControlMount(
        String mountPoint, boolean readOnly, boolean allowOther, String subtree, boolean showSnapshots) {}
