package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
        name = "snapshot",
        description = {
            "Keep the tree as it is now under a name, list what is kept, let go of it.",
            "A snapshot is read at .snapshots/NAME in every mount of the whole tree; it shares its space with the tree."
        },
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "(create | list | delete)")
final class SnapshotCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "create, list or delete?");
    }

    @Command(
            name = "create",
            description = "Keep the tree as it is now.",
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int create(
            @Mixin NodeOptions node,
            @Mixin Output output,
            @Parameters(paramLabel = "NAME", description = "1 to 255 bytes, without '/'.") String name)
            throws NodeException {
        try (NodeClient client = NodeClient.require(node.path())) {
            client.call(new ControlRequest.SnapshotCreate(name));
        }
        output.print(Map.of("created", name), "created snapshot " + Output.onOneLine(name));
        return ExitCode.OK.code();
    }

    @Command(
            name = "list",
            description = "List the snapshots, oldest first.",
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int list(@Mixin NodeOptions node, @Mixin Output output) throws NodeException {
        try (NodeClient client = NodeClient.require(node.path())) {
            ControlReply.Snapshots reply = (ControlReply.Snapshots) client.call(new ControlRequest.SnapshotList());
            for (ControlReply.Snapshot snapshot : reply.snapshots()) {
                Map<String, Object> value = new LinkedHashMap<>();
                value.put("name", snapshot.name());
                value.put("time", Instant.ofEpochMilli(snapshot.timeMillis()));
                value.put("position", snapshot.position());
                output.print(
                        value, Instant.ofEpochMilli(snapshot.timeMillis()) + "  " + Output.onOneLine(snapshot.name()));
            }
        }
        return ExitCode.OK.code();
    }

    @Command(
            name = "delete",
            description = "Let go of a snapshot and the space that only it needs.",
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int delete(
            @Mixin NodeOptions node,
            @Mixin Output output,
            @Parameters(paramLabel = "NAME", description = "As btnode snapshot list shows it.") String name)
            throws NodeException {
        try (NodeClient client = NodeClient.require(node.path())) {
            client.call(new ControlRequest.SnapshotDelete(name));
        }
        output.print(Map.of("deleted", name), "deleted snapshot " + Output.onOneLine(name));
        return ExitCode.OK.code();
    }
}
