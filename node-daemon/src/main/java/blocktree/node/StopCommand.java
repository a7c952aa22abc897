package blocktree.node;

import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "stop",
        description = {
            "Let the running node write everything to disk, unmount and end; returns when it has.",
            "Where something cannot be written, such as on a full disk, the node goes on, and the command fails: nothing is lost yet."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class StopCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Option(
            names = "--force",
            description = "Stop it all the same; what is not on the disk by then is lost, and the exit code is 1.")
    private boolean force;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Path data = node.path();
        try (NodeClient client = NodeClient.require(data)) {
            client.stop(force);
        }
        output.print(Map.of("stopped", data), "stopped");
        return ExitCode.OK.code();
    }
}
