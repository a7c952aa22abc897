package blocktree.btmsg;

import com.google.protobuf.ByteString;
import java.util.List;
import java.util.Map;

/** What a node answers; see control.proto. */
public sealed interface ControlReply {

    /** Whether the request is answered with it. */
    default boolean isLast() {
        return true;
    }

    /** @param pid process id of the node */
    record Welcome(int version, String nodeVersion, long pid, String tree) implements ControlReply {}

    record Done() implements ControlReply {}

    /** The request failed. {@code exitCode} is what a command line exits with, the rest says it to a person. */
    record Failed(int exitCode, String tried, String found, String remedy) implements ControlReply {}

    /**
     * @param state {@code starting}, {@code running}, {@code read_only}, {@code store_stopped} (it was running, and now only reads) or {@code stopping}
     * @param counters numbers by stable name
     * @param latencyUpperNanos the longest time of each bucket of the latencies but the last, which has no bound
     */
    record Status(
            String nodeVersion,
            long pid,
            long startedMillis,
            String tree,
            String principal,
            String dataDirectory,
            String state,
            List<ControlMount> mounts,
            Map<String, Long> counters,
            List<Long> latencyUpperNanos,
            List<Latency> latencies)
            implements ControlReply {
        public Status {
            mounts = List.copyOf(mounts);
            counters = Map.copyOf(counters);
            latencyUpperNanos = List.copyOf(latencyUpperNanos);
            latencies = List.copyOf(latencies);
        }
    }

    /**
     * How long requests of one kind took since the node started.
     *
     * @param name {@code fuse.read}, {@code tree.commit} and so on
     * @param counts how many in each bucket
     */
    record Latency(String name, long failures, long totalNanos, List<Long> counts) {
        public Latency {
            counts = List.copyOf(counts);
        }

        public long count() {
            return counts.stream().mapToLong(Long::longValue).sum();
        }
    }

    record Snapshots(List<Snapshot> snapshots) implements ControlReply {
        public Snapshots {
            snapshots = List.copyOf(snapshots);
        }
    }

    /** @param position in the tree's log */
    record Snapshot(String name, String id, long timeMillis, long position) {}

    /** @param protection {@code file}, {@code passphrase} or {@code credential} */
    record Key(String tree, String principal, String protection) implements ControlReply {}

    /** @param total 0 when it is not known */
    record Progress(String phase, long done, long total) implements ControlReply {
        @Override
        public boolean isLast() {
            return false;
        }
    }

    /**
     * @param kind stable name of what is wrong
     * @param subject id of the block or record that it is about
     */
    record Finding(String severity, String kind, String subject, String detail, boolean repaired)
            implements ControlReply {
        @Override
        public boolean isLast() {
            return false;
        }
    }

    /**
     * @param code for the machine that is to join; whoever has it can join
     * @param expiresMillis wall clock
     */
    record Invited(String invitation, String code, long expiresMillis) implements ControlReply {
        @Override
        public boolean isLast() {
            return false;
        }

        @Override
        public String toString() {
            return "Invited[" + invitation + ", redacted]";
        }
    }

    /**
     * A machine with the invitation asks to be made a node.
     *
     * @param keys its public keys, as docs/format.md has them
     * @param name that it would like
     */
    record JoinAsked(String invitation, ByteString keys, String name) implements ControlReply {
        @Override
        public boolean isLast() {
            return false;
        }
    }

    record Nodes(List<NodeState> nodes) implements ControlReply {
        public Nodes {
            nodes = List.copyOf(nodes);
        }
    }

    /**
     * A node of the tree, as the one that is asked knows it.
     *
     * @param principal in hexadecimal digits
     * @param name what it calls itself; empty where that is not known
     * @param self whether it is the one that is asked
     * @param rttNanos 0 where it was not measured
     * @param clockDifferenceMillis by how much its clock was ahead when the session began
     * @param lag by how many entries of the order it is behind; -1 where this node cannot tell
     * @param software that it says it runs
     * @param trusted whether it may hold read capabilities; otherwise it is blind
     * @param position of the tree's log that it has; -1 where this node cannot tell
     */
    record NodeState(
            String principal,
            String name,
            List<String> addresses,
            boolean self,
            boolean voter,
            boolean leader,
            boolean connected,
            long rttNanos,
            long clockDifferenceMillis,
            long lag,
            String software,
            boolean trusted,
            long position) {
        public NodeState {
            addresses = List.copyOf(addresses);
        }
    }

    /** @param silent principals of nodes that did not answer */
    record Locks(List<FileLock> locks, List<String> silent) implements ControlReply {
        public Locks {
            locks = List.copyOf(locks);
            silent = List.copyOf(silent);
        }
    }

    /**
     * A lock that a program holds.
     *
     * @param kind record or flock
     * @param end included; {@code Long.MAX_VALUE}: to the end of the file
     * @param node principal of the node on which the program runs
     * @param name of that node; empty where it is not known
     * @param pid the program's, there
     */
    record FileLock(
            long inode,
            String kind,
            long start,
            long end,
            boolean exclusive,
            String node,
            String name,
            int pid,
            long sinceMillis) {}

    /** A check came to its end. */
    record Checked(Map<String, Long> counters) implements ControlReply {
        public Checked {
            counters = Map.copyOf(counters);
        }
    }
}
