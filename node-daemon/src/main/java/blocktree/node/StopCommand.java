package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
        name = "stop",
        description = "Let the running node write everything to disk, unmount and end; returns when it has.",
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class StopCommand implements Callable<Integer> {
    private static final Duration TIMEOUT = Duration.ofMinutes(2);

    @Mixin
    private NodeOptions node;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Path data = node.path();
        try (NodeClient client = NodeClient.require(data)) {
            ControlReply.Status before = (ControlReply.Status) client.call(new ControlRequest.Status());
            client.call(new ControlRequest.Stop());
            if (!client.awaitGone(TIMEOUT)) {
                throw new NodeException(
                        ExitCode.TIMED_OUT,
                        "to stop the node of " + data,
                        "it is still stopping after " + TIMEOUT.toSeconds() + " s",
                        "look at its log for what holds it up");
            }
            if (before.state().equals("store_stopped")) {
                throw new NodeException(
                        ExitCode.FAILED,
                        "to stop the node of " + data + " with everything on its disk",
                        "it has stopped, but its store had stopped writing before, and what was written after that is lost",
                        "look at its log for the event store_stopped, check the disk, start it again");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return ExitCode.FAILED.code();
        }
        output.print(Map.of("stopped", data), "stopped");
        return ExitCode.OK.code();
    }
}
