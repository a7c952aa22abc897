package blocktree.btmsg;

import com.google.protobuf.ByteString;
import java.util.List;

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
    record Fsck(boolean repair, boolean cluster) implements ControlRequest {}

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

    /**
     * Invites one machine, while the client listens. Answered by {@link ControlReply.Invited}, by {@link ControlReply.JoinAsked} when a machine asks, which
     * {@link Admit} answers, by {@link ControlReply.Progress} meanwhile, last by {@link ControlReply.Done} once the machine is a node.
     *
     * @param voter whether it will vote; otherwise it is a replica
     * @param trusted whether it will be given read capabilities; otherwise it is blind
     */
    record Invite(long lifeMillis, boolean voter, boolean trusted) implements ControlRequest {}

    /**
     * Makes the machine that asked a node, or refuses it.
     *
     * @param chain signed by a root key, for the keys in {@link ControlReply.JoinAsked}; empty where it is refused
     * @param readCapabilities for the same keys
     * @param refusal why it is refused
     */
    record Admit(String invitation, ByteString chain, List<ByteString> readCapabilities, String refusal)
            implements ControlRequest {
        public Admit {
            readCapabilities = List.copyOf(readCapabilities);
        }
    }

    /** Answered by {@link ControlReply.Nodes}. */
    record Nodes() implements ControlRequest {}

    /**
     * Answered by {@link ControlReply.Done} once the node votes, or votes no more.
     *
     * @param node its name, its fingerprint, or the beginning of its principal in hexadecimal digits
     */
    record SetVoter(String node, boolean voter) implements ControlRequest {}

    /**
     * Answered by {@link ControlReply.Done} once the node votes no more, and all of the records are in the tree's log.
     *
     * @param principal in hexadecimal digits
     * @param records what ends its rights, signed by a root key; taken whole or not at all
     */
    record Retire(String principal, List<Record> records) implements ControlRequest {
        public Retire {
            records = List.copyOf(records);
        }
    }

    /**
     * Answered by {@link ControlReply.Done} once all of the records are in the tree's log. Fails with nothing done when another record of authority is there behind {@code
     * after}.
     *
     * @param records signed by a root key; taken whole or not at all
     * @param after position of the newest record of authority that they were made for
     */
    record AppendAuthority(List<Record> records, long after) implements ControlRequest {
        public AppendAuthority {
            records = List.copyOf(records);
        }
    }

    /** Answered by {@link ControlReply.Locks}. */
    record Locks() implements ControlRequest {}

    /**
     * Holds a lock of a file or directory, as by flock(2), while the client listens. Answered by {@link ControlReply.Progress} of the phases waiting and locked, as long as it lasts, last by {@link
     * ControlReply.Failed} when it was not to be had or is lost.
     *
     * @param path inside the tree
     * @param patienceMillis how long to wait for it; negative: for ever
     * @param pid the process to name to others
     */
    record Lock(String path, boolean shared, long patienceMillis, int pid) implements ControlRequest {}

    /** An authority record. {@code kind} is its number in the tree's log. */
    record Record(int kind, ByteString payload) {}
}
