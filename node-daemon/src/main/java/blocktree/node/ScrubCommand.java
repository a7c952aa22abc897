package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
        name = "scrub",
        description =
                "Let the running node read everything that it stores, slowly, to find what the disk has lost. Findings are printed and logged.",
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class ScrubCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        CheckReport report = new CheckReport(output);
        try (NodeClient client = NodeClient.require(node.path())) {
            return report.finish((ControlReply.Checked) client.check(new ControlRequest.Scrub(), report::accept));
        }
    }
}
