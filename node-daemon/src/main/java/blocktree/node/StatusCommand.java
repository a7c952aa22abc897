package blocktree.node;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.TreeId;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
        name = "status",
        description = "Show how the node is: its tree, its mounts, its numbers.",
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class StatusCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Path data = node.path();
        Optional<NodeClient> running = NodeClient.connect(data);
        if (running.isEmpty()) {
            NodeClient.requireNode(data);
            Map<String, Object> value = new LinkedHashMap<>();
            value.put("state", "not_running");
            value.put("data_directory", data);
            output.print(value, "state  not running\ndata   " + data);
            return ExitCode.NOT_RUNNING.code();
        }
        try (NodeClient client = running.get()) {
            ControlReply.Status status = (ControlReply.Status) client.call(new ControlRequest.Status());
            output.print(toJson(status), toText(status));
        }
        return ExitCode.OK.code();
    }

    private static Map<String, Object> toJson(ControlReply.Status status) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("state", status.state());
        value.put("version", status.nodeVersion());
        value.put("pid", status.pid());
        value.put("started", Instant.ofEpochMilli(status.startedMillis()));
        value.put("tree", status.tree());
        value.put("principal", status.principal());
        value.put("data_directory", status.dataDirectory());
        List<Map<String, Object>> mounts = new ArrayList<>();
        for (ControlMount mount : status.mounts()) {
            Map<String, Object> each = new LinkedHashMap<>();
            each.put("mount_point", mount.mountPoint());
            each.put("read_only", mount.readOnly());
            each.put("allow_other", mount.allowOther());
            each.put("subtree", mount.subtree());
            each.put("fuse_library", mount.library());
            each.put("write_back_cache", mount.writeBackCache());
            each.put("acl", mount.accessLists());
            mounts.add(each);
        }
        value.put("mounts", mounts);
        value.put("counters", new TreeMap<>(status.counters()));
        return value;
    }

    private static String toText(ControlReply.Status status) {
        StringBuilder text = new StringBuilder();
        text.append("state    ").append(status.state()).append("\npid      ").append(status.pid());
        text.append("\nsince    ").append(Instant.ofEpochMilli(status.startedMillis()));
        text.append("\ntree     ").append(Fingerprint.of(TreeId.parse(status.tree())));
        Long votes = status.counters().get("cluster.votes");
        if (votes != null) {
            boolean isBlind = status.counters().getOrDefault("cluster.trusted", 1L) == 0;
            text.append("\nrole     ").append(isBlind ? "blind " : "").append(votes == 1 ? "voter" : "replica");
        }
        text.append("\ndata     ").append(status.dataDirectory());
        if (status.state().equals(Health.CUT_OFF)) {
            text.append(
                    "\n         no majority of the nodes is reached since %s: the tree can be read, and who changes it gets EROFS\n         who is missing: btnode nodes; when they are lost for good: btnode recover --help"
                            .formatted(Instant.ofEpochMilli(System.currentTimeMillis()
                                    - status.counters().getOrDefault("cluster.cut_off_millis", 0L))));
        }
        for (ControlMount mount : status.mounts()) {
            text.append("\nmount    ")
                    .append(mount.mountPoint())
                    .append(mount.readOnly() ? " (read-only)" : "")
                    .append(mount.subtree().isEmpty() ? "" : " (of /" + mount.subtree() + ")")
                    .append(" through ")
                    .append(mount.library())
                    .append(mount.writeBackCache() ? ", write-back cache" : "")
                    .append(mount.accessLists() ? ", access control lists" : "");
        }
        new TreeMap<>(status.counters()).forEach((name, value) -> text.append("\n  %-40s %,d".formatted(name, value)));
        return text.toString();
    }
}
