package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlReply;
import io.prometheus.metrics.expositionformats.ExpositionFormats;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

class MetricsTest {
    private static final Pattern TYPE = Pattern.compile("(?m)^# TYPE (btnode_\\w+) (\\w+)$");
    private static final Pattern SAMPLE = Pattern.compile("(?m)^(btnode_\\w+)");
    private static final Pattern LISTED = Pattern.compile("(?m)^\\| `(btnode_\\w+)` \\|");

    private static final ControlReply.Status STATUS = status();

    private static ControlReply.Status status() {
        Map<String, Long> counters = new TreeMap<>();
        for (String key : Metrics.keys()) {
            counters.put(key, 1_500L);
        }
        return new ControlReply.Status(
                "1.0",
                42,
                0,
                "ab12",
                "principal",
                "/data",
                "running",
                List.of(),
                counters,
                List.of(1_000_000L, 1_000_000_000L),
                List.of(
                        new ControlReply.Latency("fuse.read", 3, 2_500_000_000L, List.of(5L, 2L, 1L)),
                        new ControlReply.Latency("tree.commit", 0, 1_000_000L, List.of(2L, 0L, 0L)),
                        new ControlReply.Latency("tree.sync", 0, 0, List.of(0L, 0L, 0L))));
    }

    private static String text() throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ExpositionFormats.init().getPrometheusTextFormatWriter().write(out, Metrics.of(STATUS));
        return out.toString(StandardCharsets.UTF_8);
    }

    @Test
    void areInTheUnitsThatTheirNamesSay() throws IOException {
        List<String> lines = text().lines().toList();
        for (String line : List.of(
                "btnode_info{tree=\"ab12\",version=\"1.0\"} 1",
                "btnode_ready 1.0",
                "btnode_uptime_seconds 1.5",
                "btnode_store_commits_total 1500.0",
                "btnode_request_seconds_bucket{operation=\"read\",le=\"0.001\"} 5",
                "btnode_request_seconds_bucket{operation=\"read\",le=\"1.0\"} 7",
                "btnode_request_seconds_bucket{operation=\"read\",le=\"+Inf\"} 8",
                "btnode_request_seconds_sum{operation=\"read\"} 2.5",
                "btnode_request_failures_total{operation=\"read\"} 3.0",
                "btnode_commit_seconds_count 2",
                "btnode_sync_seconds_count 0")) {
            assertTrue(lines.contains(line), () -> line + " is not in\n" + String.join("\n", lines));
        }
    }

    @Test
    void areListedInTheDocumentationAndNoOthersAre() throws IOException {
        assertEquals(
                String.join("\n", found(TYPE, text())),
                String.join("\n", found(LISTED, Files.readString(Path.of("../docs/metrics.md")))));
    }

    @Test
    void theDashboardShowsOnlyWhatThereIs() throws IOException {
        TreeSet<String> there = found(SAMPLE, text());
        String dashboard = Files.readString(Path.of("../docs/grafana-dashboard.json"));
        TreeSet<String> shown = found(Pattern.compile("\\b(btnode_\\w+)"), dashboard);
        assertTrue(shown.size() > 10, shown.toString());
        shown.removeAll(there);
        assertEquals(new TreeSet<>(), shown);
    }

    private static TreeSet<String> found(Pattern pattern, String text) {
        TreeSet<String> names = new TreeSet<>();
        Matcher matcher = pattern.matcher(text);
        while (matcher.find()) {
            names.add(matcher.group(1));
        }
        return names;
    }
}
