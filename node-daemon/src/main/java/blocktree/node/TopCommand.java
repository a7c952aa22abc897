package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.io.PrintStream;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "top",
        description = {
            "Show what the running node does now: operations a second, how long they take, what waits.",
            "Ends with Ctrl-C, or after --count rounds. On a terminal each round takes the place of the last."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class TopCommand implements Callable<Integer> {
    private static final String CLEAR = "\033[H\033[2J";
    private static final double MEBIBYTE = 1 << 20;

    @Mixin
    private NodeOptions node;

    @Option(
            names = "--interval",
            paramLabel = "TIME",
            defaultValue = "1s",
            description = "Between rounds. Default: ${DEFAULT-VALUE}.")
    private String interval = "1s";

    @Option(names = "--count", paramLabel = "N", defaultValue = "0", description = "How many rounds; 0: until Ctrl-C.")
    private int count;

    @Mixin
    private Output output;

    /** What happened between two looks at a node. */
    record Activity(String name, double perSecond, long failures, long meanNanos, long p50Nanos, long p99Nanos) {

        /** Those that happened at all, the most frequent first. */
        static List<Activity> between(ControlReply.Status before, ControlReply.Status now, double seconds) {
            Map<String, ControlReply.Latency> earlier = new LinkedHashMap<>();
            before.latencies().forEach(latency -> earlier.put(latency.name(), latency));
            List<Activity> activities = new ArrayList<>();
            for (ControlReply.Latency latency : now.latencies()) {
                ControlReply.Latency since = minus(latency, earlier.get(latency.name()));
                long operations = since.count();
                if (operations > 0) {
                    activities.add(new Activity(
                            latency.name(),
                            operations / seconds,
                            since.failures(),
                            since.totalNanos() / operations,
                            quantileNanos(now.latencyUpperNanos(), since.counts(), 0.5),
                            quantileNanos(now.latencyUpperNanos(), since.counts(), 0.99)));
                }
            }
            activities.sort(Comparator.comparingDouble(Activity::perSecond).reversed());
            return activities;
        }

        /** {@code earlier} may be null: then all of {@code now} is new. */
        private static ControlReply.Latency minus(ControlReply.Latency now, ControlReply.@Nullable Latency earlier) {
            if (earlier == null) {
                return now;
            }
            return new ControlReply.Latency(
                    now.name(),
                    now.failures() - earlier.failures(),
                    now.totalNanos() - earlier.totalNanos(),
                    IntStream.range(0, now.counts().size())
                            .mapToObj(
                                    i -> now.counts().get(i) - earlier.counts().get(i))
                            .toList());
        }

        /** The bound of the bucket in which the quantile lies; Long.MAX_VALUE beyond the last bound. */
        static long quantileNanos(List<Long> upperNanos, List<Long> counts, double quantile) {
            long rank = (long) Math.ceil(
                    quantile * counts.stream().mapToLong(Long::longValue).sum());
            long below = 0;
            for (int i = 0; i < upperNanos.size(); i++) {
                below += counts.get(i);
                if (below >= rank) {
                    return upperNanos.get(i);
                }
            }
            return Long.MAX_VALUE;
        }
    }

    @Override
    public Integer call() throws NodeException {
        Duration pause;
        try {
            pause = Duration.ofMillis(Math.max(1, Quantity.parseMillis(interval)));
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE,
                    "to read the option --interval",
                    String.valueOf(e.getMessage()),
                    "see btnode top --help",
                    e);
        }
        if (count < 0) {
            throw new NodeException(
                    ExitCode.USAGE, "to read the option --count", "a number below 0", "see btnode top --help");
        }
        Path data = node.path();
        boolean terminal = ProgressLine.isTerminal(1);
        PrintStream out = System.out;
        try (NodeClient client = NodeClient.require(data)) {
            ControlReply.Status before = (ControlReply.Status) client.call(new ControlRequest.Status());
            long beforeNanos = System.nanoTime();
            // A reader that has gone ends it too.
            for (int round = 0; (count == 0 || round < count) && !out.checkError(); round++) {
                Thread.sleep(pause.toMillis());
                ControlReply.Status now = (ControlReply.Status) client.call(new ControlRequest.Status());
                long nanos = System.nanoTime();
                double seconds = (nanos - beforeNanos) / 1e9;
                List<Activity> activities = Activity.between(before, now, seconds);
                if (output.isJson()) {
                    output.print(toJson(now, activities), "");
                } else {
                    out.print((terminal ? CLEAR : "") + toText(before, now, seconds, activities));
                    out.flush();
                }
                before = now;
                beforeNanos = nanos;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return ExitCode.OK.code();
    }

    private static Map<String, Object> toJson(ControlReply.Status now, List<Activity> activities) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("state", now.state());
        json.put("pending", counter(now, "fuse.pending"));
        json.put("oldest_pending_millis", counter(now, "fuse.oldest_pending_millis"));
        json.put("dirty_bytes", counter(now, "tree.dirty_bytes"));
        List<Map<String, Object>> operations = new ArrayList<>();
        for (Activity activity : activities) {
            Map<String, Object> each = new LinkedHashMap<>();
            each.put("name", activity.name);
            each.put("per_second", Math.round(activity.perSecond));
            each.put("failures", activity.failures);
            each.put("mean_nanos", activity.meanNanos);
            each.put("p50_nanos_max", activity.p50Nanos);
            each.put("p99_nanos_max", activity.p99Nanos);
            operations.add(each);
        }
        json.put("operations", operations);
        return json;
    }

    private static String toText(
            ControlReply.Status before, ControlReply.Status now, double seconds, List<Activity> activities) {
        long hits = counter(now, "tree.cache_hits") - counter(before, "tree.cache_hits");
        long misses = counter(now, "tree.cache_misses") - counter(before, "tree.cache_misses");
        StringBuilder text = new StringBuilder();
        text.append("%s  %s  up %s  version %s%n"
                .formatted(
                        now.dataDirectory(),
                        now.state(),
                        uptime(counter(now, "process.uptime_millis")),
                        now.nodeVersion()));
        text.append(
                "waiting %d, the oldest for %d ms   to be written %.1f MiB%ncached %.1f MiB, hits %s   heap %.0f MiB%n%n"
                        .formatted(
                                counter(now, "fuse.pending"),
                                counter(now, "fuse.oldest_pending_millis"),
                                counter(now, "tree.dirty_bytes") / MEBIBYTE,
                                counter(now, "tree.clean_bytes") / MEBIBYTE,
                                hits + misses == 0 ? "-" : "%.0f %%".formatted(100.0 * hits / (hits + misses)),
                                counter(now, "process.heap_used_bytes") / MEBIBYTE));
        text.append(
                "%-18s %12s %8s %10s %10s %10s%n".formatted("operation", "per second", "failed", "mean", "p50", "p99"));
        for (Activity activity : activities) {
            text.append("%-18s %,12.0f %,8d %10s %10s %10s%n"
                    .formatted(
                            activity.name,
                            activity.perSecond,
                            activity.failures,
                            time(activity.meanNanos),
                            "<= " + time(activity.p50Nanos),
                            "<= " + time(activity.p99Nanos)));
        }
        if (activities.isEmpty()) {
            text.append("nothing in ").append("%.1f s%n".formatted(seconds));
        }
        return text.append(System.lineSeparator()).toString();
    }

    private static long counter(ControlReply.Status status, String name) {
        return status.counters().getOrDefault(name, 0L);
    }

    static String time(long nanos) {
        if (nanos == Long.MAX_VALUE) {
            return "more";
        } else if (nanos < 1_000_000) {
            return nanos / 1_000 + " us";
        }
        return nanos < 1_000_000_000 ? nanos / 1_000_000 + " ms" : nanos / 1_000_000_000 + " s";
    }

    private static String uptime(long millis) {
        Duration up = Duration.ofMillis(millis);
        return up.toHours() > 0
                ? up.toHours() + " h " + up.toMinutesPart() + " min"
                : up.toMinutes() + " min " + up.toSecondsPart() + " s";
    }
}
