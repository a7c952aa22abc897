package blocktree.node;

import blocktree.btmsg.ControlRequest;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

/** Has a node vote, or vote no more. */
abstract class VoteCommands implements Callable<Integer> {
    private static final String WHICH =
            "Its name as btnode nodes shows it, its fingerprint, or at least eight digits of its principal.";

    @Mixin
    private NodeOptions node;

    @Mixin
    private Output output;

    @Parameters(paramLabel = "NODE", description = WHICH)
    private String which = "";

    private final boolean votes;

    private VoteCommands(boolean votes) {
        this.votes = votes;
    }

    @Override
    public Integer call() throws NodeException {
        try (NodeClient client = NodeClient.require(node.path())) {
            client.call(new ControlRequest.SetVoter(which, votes));
        }
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("node", which);
        value.put("voter", votes);
        output.print(value, Output.onOneLine(which) + (votes ? " votes" : " votes no more"));
        return ExitCode.OK.code();
    }

    @Command(
            name = "promote",
            description = {
                "Have a replica vote on the order of writes. It must run and be connected, and cannot be blind.",
                "Three that vote go on when one is lost, five when two are; an even number bears no more than one fewer."
            },
            mixinStandardHelpOptions = true,
            sortOptions = false)
    static final class Promote extends VoteCommands {
        Promote() {
            super(true);
        }
    }

    @Command(
            name = "demote",
            description = {
                "Have a node of the tree vote no more, such as one that is gone for good, so that fewer make a majority.",
                "It stays a node, a replica: it follows the others, and can be read and written on; a majority of those that vote now has to be there."
            },
            mixinStandardHelpOptions = true,
            sortOptions = false)
    static final class Demote extends VoteCommands {
        Demote() {
            super(false);
        }
    }
}
