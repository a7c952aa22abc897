package blocktree.node;

import blocktree.btmsg.ControlReply;
import io.prometheus.metrics.model.snapshots.ClassicHistogramBuckets;
import io.prometheus.metrics.model.snapshots.CounterSnapshot;
import io.prometheus.metrics.model.snapshots.GaugeSnapshot;
import io.prometheus.metrics.model.snapshots.HistogramSnapshot;
import io.prometheus.metrics.model.snapshots.InfoSnapshot;
import io.prometheus.metrics.model.snapshots.Labels;
import io.prometheus.metrics.model.snapshots.MetricSnapshot;
import io.prometheus.metrics.model.snapshots.MetricSnapshots;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A node's status as Prometheus metrics; docs/metrics.md lists them. Names end in their unit, and those of counters in {@code _total}, as OpenMetrics asks. */
final class Metrics {
    private static final double NANOS = 1e-9;
    private static final double MILLIS = 1e-3;
    private static final String REQUESTS = "fuse.";

    private enum Kind {
        COUNTER,
        GAUGE
    }

    /** A number of the status. {@code name} is without {@code _total}, which the format adds. */
    private record Number(String key, Kind kind, String name, double unit, String help) {}

    private static final List<Number> NUMBERS = List.of(
            gauge("log.position", "btnode_log_position", "Last position of the log."),
            gauge("log.checkpoint_position", "btnode_log_checkpoint_position", "Position of the newest checkpoint."),
            counter("store.commits", "btnode_store_commits", "Entries appended to the log."),
            counter(
                    "store.blocks_corrupt",
                    "btnode_verification_failures",
                    "Times that what was read was not what was committed."),
            gauge("store.open_generations", "btnode_store_open_generations", "Generations that somebody holds open."),
            counter("store.collected_headers", "btnode_store_collected_headers", "Superseded generations removed."),
            counter("store.collected_sectors", "btnode_store_collected_sectors", "Sectors removed."),
            gauge("store.snapshots", "btnode_snapshots", "Snapshots that are kept."),
            gauge("store.usable_bytes", "btnode_disk_usable_bytes", "What is free on the disk of the store."),
            gauge("store.total_bytes", "btnode_disk_total_bytes", "Size of the disk of the store."),
            gauge("store.live_bytes", "btnode_store_live_bytes", "What the store takes on its disk."),
            counter("scrub.bytes", "btnode_scrub_bytes", "Ciphertext that scrub has verified."),
            counter("scrub.rounds", "btnode_scrub_rounds", "Times that scrub has been through the whole store."),
            counter(
                    "store.healed",
                    "btnode_pieces_healed",
                    "Sectors and nodes of integrity trees that were lost here, and taken from other nodes."),
            counter("scrub.errors", "btnode_scrub_errors", "What scrub found damaged."),
            counter("tree.commits", "btnode_tree_commits", "Commits of changes of the tree."),
            gauge("tree.dirty_bytes", "btnode_dirty_bytes", "Data that waits in memory to be written."),
            gauge("tree.clean_bytes", "btnode_cached_bytes", "Data in memory as it is in the store."),
            gauge("tree.dirty_inodes", "btnode_dirty_inodes", "Inodes with changes that wait to be written."),
            gauge("tree.cached_inodes", "btnode_cached_inodes", "Inodes in memory."),
            gauge("tree.open_handles", "btnode_open_handles", "Open files and directories."),
            counter(
                    "tree.cache_hits",
                    "btnode_cache_hits",
                    "Pages and directory nodes that were wanted and in memory."),
            counter(
                    "tree.cache_misses",
                    "btnode_cache_misses",
                    "Such that were read from the store, read ahead included."),
            counter("tree.inode_hits", "btnode_inode_hits", "Inodes that were wanted and in memory."),
            counter("tree.inode_misses", "btnode_inode_misses", "Inodes that were read from the store."),
            gauge(
                    "fuse.pending",
                    "btnode_requests_pending",
                    "Requests of the mounts that are not answered yet, those that wait for a lock left out."),
            new Number(
                    "fuse.oldest_pending_millis",
                    Kind.GAUGE,
                    "btnode_oldest_request_seconds",
                    MILLIS,
                    "How long the oldest of them has been running."),
            counter("fuse.slow", "btnode_slow_requests", "Requests that took long enough for operation_slow."),
            gauge("fuse.threads", "btnode_request_threads", "Threads that serve the mounts."),
            gauge("fuse.known_inodes", "btnode_known_inodes", "Inodes that the kernel has references to."),
            gauge("cluster.voters", "btnode_cluster_voters", "Nodes that vote, as far as this one knows."),
            gauge("cluster.votes", "btnode_cluster_votes", "1 when this node votes."),
            gauge("cluster.trusted", "btnode_cluster_trusted", "1 when this node may write, 0 when it is blind."),
            gauge(
                    "cluster.behind",
                    "btnode_cluster_behind",
                    "Entries of the order that a majority has, as far as this node knows, and this store has not."),
            gauge("cluster.leads", "btnode_cluster_leads", "1 when this node leads."),
            gauge("cluster.has_leader", "btnode_cluster_has_leader", "1 when this node knows of one that leads."),
            new Number(
                    "cluster.cut_off_millis",
                    Kind.GAUGE,
                    "btnode_cluster_cut_off_seconds",
                    MILLIS,
                    "For how long this node has reached no majority, so that its tree can only be read; 0 when it does."),
            gauge("cluster.term", "btnode_cluster_term", "Of the newest election."),
            gauge("cluster.committed", "btnode_cluster_committed", "Entries of the order that a majority has."),
            gauge("cluster.applied", "btnode_cluster_applied", "Entries of the order that this store has."),
            gauge(
                    "cluster.lag_max",
                    "btnode_cluster_lag",
                    "Entries by which the voter is behind that is furthest behind, where this node leads."),
            gauge("cluster.writes", "btnode_cluster_writes", "1 when this node has the right to change the tree."),
            counter(
                    "cluster.write_moves",
                    "btnode_cluster_write_moves",
                    "Times that this node has got the right to change the tree."),
            gauge("peers.connected", "btnode_peers_connected", "Nodes with which there is a session."),
            counter("peers.bytes_in", "btnode_peers_received_bytes", "Received from other nodes, encrypted."),
            counter("peers.bytes_out", "btnode_peers_sent_bytes", "Sent to other nodes, encrypted."),
            counter("peers.requests", "btnode_peers_requests", "Made of other nodes."),
            counter("peers.failures", "btnode_peers_request_failures", "Requests of these that came to nothing."),
            gauge("process.heap_used_bytes", "btnode_heap_used_bytes", "Java heap in use."),
            gauge("process.heap_max_bytes", "btnode_heap_max_bytes", "Most that the Java heap may become."),
            new Number(
                    "process.uptime_millis",
                    Kind.GAUGE,
                    "btnode_uptime_seconds",
                    MILLIS,
                    "Time since the node started."));

    private Metrics() {}

    private static Number gauge(String key, String name, String help) {
        return new Number(key, Kind.GAUGE, name, 1, help);
    }

    private static Number counter(String key, String name, String help) {
        return new Number(key, Kind.COUNTER, name, 1, help);
    }

    static MetricSnapshots of(ControlReply.Status status) {
        List<MetricSnapshot> all = new ArrayList<>();
        all.add(InfoSnapshot.builder()
                .name("btnode")
                .help("Which node.")
                .dataPoint(InfoSnapshot.InfoDataPointSnapshot.builder()
                        .labels(Labels.of("version", status.nodeVersion(), "tree", status.tree()))
                        .build())
                .build());
        all.add(GaugeSnapshot.builder()
                .name("btnode_ready")
                .help("1 when the node serves its tree, read-only or not.")
                .dataPoint(GaugeSnapshot.GaugeDataPointSnapshot.builder()
                        .value(Health.isReady(status.state()) ? 1 : 0)
                        .build())
                .build());
        for (Number number : NUMBERS) {
            Long value = status.counters().get(number.key);
            if (value != null) {
                all.add(number.kind == Kind.COUNTER ? counter(number, value) : gauge(number, value));
            }
        }
        addLatencies(status, all);
        return new MetricSnapshots(all);
    }

    private static CounterSnapshot counter(Number number, long value) {
        return CounterSnapshot.builder()
                .name(number.name)
                .help(number.help)
                .dataPoint(CounterSnapshot.CounterDataPointSnapshot.builder()
                        .value(value * number.unit)
                        .build())
                .build();
    }

    private static GaugeSnapshot gauge(Number number, long value) {
        return GaugeSnapshot.builder()
                .name(number.name)
                .help(number.help)
                .dataPoint(GaugeSnapshot.GaugeDataPointSnapshot.builder()
                        .value(value * number.unit)
                        .build())
                .build();
    }

    private static void addLatencies(ControlReply.Status status, List<MetricSnapshot> all) {
        HistogramSnapshot.Builder requests = HistogramSnapshot.builder()
                .name("btnode_request_seconds")
                .help("Time that the mounts took to answer requests, by kind.");
        CounterSnapshot.Builder failures = CounterSnapshot.builder()
                .name("btnode_request_failures")
                .help("Requests that the program saw fail, for whatever reason, 'no such file' included.");
        Map<String, HistogramSnapshot.Builder> others = new LinkedHashMap<>();
        for (ControlReply.Latency latency : status.latencies()) {
            if (latency.name().startsWith(REQUESTS)) {
                Labels labels = Labels.of("operation", latency.name().substring(REQUESTS.length()));
                requests.dataPoint(point(status, latency, labels));
                failures.dataPoint(CounterSnapshot.CounterDataPointSnapshot.builder()
                        .labels(labels)
                        .value(latency.failures())
                        .build());
            } else {
                String name =
                        "btnode_" + latency.name().substring(latency.name().indexOf('.') + 1) + "_seconds";
                others.computeIfAbsent(name, HistogramSnapshot.builder()::name)
                        .help("Time of each " + latency.name().replace('.', ' ') + ".")
                        .dataPoint(point(status, latency, Labels.EMPTY));
            }
        }
        all.add(requests.build());
        all.add(failures.build());
        others.values().forEach(other -> all.add(other.build()));
    }

    private static HistogramSnapshot.HistogramDataPointSnapshot point(
            ControlReply.Status status, ControlReply.Latency latency, Labels labels) {
        ClassicHistogramBuckets.Builder buckets = ClassicHistogramBuckets.builder();
        List<Long> upper = status.latencyUpperNanos();
        for (int i = 0; i < latency.counts().size(); i++) {
            double bound = i < upper.size() ? upper.get(i) / 1e9 : Double.POSITIVE_INFINITY;
            buckets.bucket(bound, latency.counts().get(i));
        }
        return HistogramSnapshot.HistogramDataPointSnapshot.builder()
                .labels(labels)
                .classicHistogramBuckets(buckets.build())
                .sum(latency.totalNanos() * NANOS)
                .build();
    }

    /** The numbers of the status that are metrics too. */
    static List<String> keys() {
        return NUMBERS.stream().map(Number::key).toList();
    }
}
