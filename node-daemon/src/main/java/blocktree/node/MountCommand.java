package blocktree.node;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlRequest;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

@Command(
        name = "mount",
        description = "Let the running node mount its tree on one more directory.",
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class MountCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private MountFlags flags;

    @Mixin
    private Output output;

    @Parameters(paramLabel = "MOUNTPOINT", description = "An empty directory.")
    private Path mountPoint;

    @Override
    public Integer call() throws NodeException {
        ControlMount mount = flags.at(mountPoint);
        try (NodeClient client = NodeClient.require(node.path())) {
            client.call(new ControlRequest.Mount(mount));
        }
        output.print(Map.of("mounted", mount.mountPoint()), "mounted on " + mount.mountPoint());
        return ExitCode.OK.code();
    }
}
