package blocktree.btmsg;

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

    /** A check came to its end. */
    record Checked(Map<String, Long> counters) implements ControlReply {
        public Checked {
            counters = Map.copyOf(counters);
        }
    }
}
