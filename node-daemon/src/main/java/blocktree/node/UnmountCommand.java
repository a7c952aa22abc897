package blocktree.node;

import blocktree.btmsg.ControlRequest;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
        name = "unmount",
        description =
                "Let the running node take its tree away from a directory. Fails when files are still open there after 10 seconds.",
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class UnmountCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Option(
            names = "--force",
            description = "Do not wait for open files: their users get errors, and the directory is free.")
    private boolean force;

    @Mixin
    private Output output;

    @Parameters(paramLabel = "MOUNTPOINT", description = "Where the tree is mounted.")
    private Path mountPoint;

    @Override
    public Integer call() throws NodeException {
        String path = mountPoint.toAbsolutePath().normalize().toString();
        try (NodeClient client = NodeClient.require(node.path())) {
            client.call(new ControlRequest.Unmount(path, force));
        }
        output.print(Map.of("unmounted", path), "unmounted from " + path);
        return ExitCode.OK.code();
    }
}
