package blocktree.btmsg;

/** What a client asks of a running node; see control.proto. */
public sealed interface ControlRequest {

    /** The first request of a connection: the version of the protocol that the client speaks. */
    record Hello(int version) implements ControlRequest {}

    /** Answered by {@link ControlReply.Status}. */
    record Status() implements ControlRequest {}

    /** Answered by {@link ControlReply.Done} once the mount point shows the tree. */
    record Mount(ControlMount mount) implements ControlRequest {}

    /** Answered by {@link ControlReply.Done} once the tree is gone from the mount point. */
    record Unmount(String mountPoint, boolean force) implements ControlRequest {}

    record SnapshotCreate(String name) implements ControlRequest {}

    /** Answered by {@link ControlReply.Snapshots}. */
    record SnapshotList() implements ControlRequest {}

    record SnapshotDelete(String name) implements ControlRequest {}

    /** Answered by {@link ControlReply.Progress} and {@link ControlReply.Finding} as they come, last by {@link ControlReply.Checked}. */
    record Fsck(boolean repair) implements ControlRequest {}

    /** Answered like {@link Fsck}. */
    record Scrub() implements ControlRequest {}

    /** Everything written so far is durable when the answer comes. */
    record Sync() implements ControlRequest {}

    /** Answered by {@link ControlReply.Key}. */
    record Key() implements ControlRequest {}

    /**
     * Answered by {@link ControlReply.Done} once everything is on the disk and unmounted, shortly before the connection closes. By {@link ControlReply.Failed} where the node could not write
     * everything: without {@code force} it goes on then, unless its store has stopped writing anyway.
     */
    record Stop(boolean force) implements ControlRequest {}
}
