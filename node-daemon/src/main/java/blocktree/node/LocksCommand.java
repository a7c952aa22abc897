package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
        name = "locks",
        description = {
            "Show the locks that programs hold on files of the tree, on all of its nodes.",
            "A file is shown by its inode number: find MOUNTPOINT -inum NUMBER says where it is. A lock through a mount by libfuse 2 is that mount's own, and not shown."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class LocksCommand implements Callable<Integer> {
    private static final int PRINCIPAL_DIGITS = 16;

    @Mixin
    private NodeOptions node;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        ControlReply.Locks locks;
        try (NodeClient client = NodeClient.require(node.path())) {
            locks = (ControlReply.Locks) client.call(new ControlRequest.Locks());
        }
        if (output.isJson()) {
            locks.locks().forEach(lock -> output.print(toJson(lock), ""));
        } else {
            List<List<String>> rows = new ArrayList<>();
            rows.add(List.of("INODE", "KIND", "LOCK", "START", "END", "NODE", "PID", "SINCE"));
            for (ControlReply.FileLock lock : locks.locks()) {
                Long end = end(lock);
                rows.add(List.of(
                        Long.toString(lock.inode()),
                        lock.kind(),
                        lock.exclusive() ? "exclusive" : "shared",
                        Long.toString(lock.start()),
                        end == null ? "end" : end.toString(),
                        lock.name().isEmpty() ? lock.node().substring(0, PRINCIPAL_DIGITS) : lock.name(),
                        Integer.toString(lock.pid()),
                        since(lock).toString()));
            }
            output.print(Map.of(), NodesCommand.table(rows));
        }
        if (locks.silent().isEmpty()) {
            return ExitCode.OK.code();
        }
        throw new NodeException(
                ExitCode.FAILED,
                "to ask all nodes for their locks",
                locks.silent().size() + " did not answer: " + String.join(" ", locks.silent()),
                "see who is there: btnode nodes");
    }

    private static @Nullable Long end(ControlReply.FileLock lock) {
        return lock.end() == Long.MAX_VALUE ? null : lock.end();
    }

    private static Instant since(ControlReply.FileLock lock) {
        return Instant.ofEpochMilli(lock.sinceMillis()).truncatedTo(ChronoUnit.SECONDS);
    }

    private static Map<String, Object> toJson(ControlReply.FileLock lock) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("inode", lock.inode());
        value.put("kind", lock.kind());
        value.put("exclusive", lock.exclusive());
        value.put("start", lock.start());
        Long end = end(lock);
        if (end != null) {
            value.put("end", end);
        }
        value.put("node", lock.node());
        value.put("node_name", lock.name());
        value.put("pid", lock.pid());
        value.put("since", since(lock));
        return value;
    }
}
