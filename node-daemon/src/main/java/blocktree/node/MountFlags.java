package blocktree.node;

import blocktree.btmsg.ControlMount;
import java.nio.file.Path;
import picocli.CommandLine.Option;

/** How a tree is mounted. */
final class MountFlags {
    @Option(names = "--read-only", description = "Nothing can be changed through this mount.")
    private boolean readOnly;

    @Option(
            names = "--allow-other",
            description =
                    "Other users may use the mount, as permissions say. Needs user_allow_other in /etc/fuse.conf unless root.")
    private boolean allowOther;

    @Option(
            names = "--subtree",
            paramLabel = "PATH",
            defaultValue = "",
            description = "Mount only this directory of the tree.")
    private String subtree = "";

    @Option(names = "--show-snapshots", description = "List /.snapshots in the root; it can be entered in any case.")
    private boolean showSnapshots;

    @Option(names = "--suid", description = "Let set-user-id programs of the tree work as such. Root only.")
    private boolean setUserId;

    @Option(names = "--dev", description = "Let device nodes of the tree work as such. Root only.")
    private boolean devices;

    @Option(names = "--noexec", description = "No program of the tree can be started from this mount.")
    private boolean noExec;

    @Option(
            names = "--write-back-cache",
            description =
                    "Let the kernel keep writes back: many small ones get faster, and reach the tree within half a minute, with fsync and with close. Only for the one mount that changes the tree.")
    private boolean writeBackCache;

    @Option(
            names = "--acl",
            description =
                    "Enforce POSIX access control lists, and let them be set. Needs libfuse 3. Without it, lists of the tree are kept, and modes are shown that give nobody more; ls -l of a large directory is faster.")
    private boolean accessLists;

    boolean isReadOnly() {
        return readOnly;
    }

    /** Whether anything but {@link #isReadOnly} is given. */
    boolean areGiven() {
        return allowOther
                || showSnapshots
                || setUserId
                || devices
                || noExec
                || writeBackCache
                || accessLists
                || !subtree.isEmpty();
    }

    ControlMount at(Path mountPoint) {
        return new ControlMount(
                mountPoint.toAbsolutePath().normalize().toString(),
                readOnly,
                allowOther,
                normalizedSubtree(subtree),
                showSnapshots,
                setUserId,
                devices,
                noExec,
                writeBackCache,
                accessLists,
                "");
    }

    /** Without slashes at its ends and double ones; empty for the whole tree. */
    static String normalizedSubtree(String path) {
        return path.replaceAll("/+", "/").replaceAll("^/|/$", "");
    }
}
