package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyChange;
import blocktree.crypto.KeyFile;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeFounding;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
        name = "retire",
        description = {
            "End a node of the tree: a machine that is lost, sold, or not trusted any more. Signed by the root key.",
            "",
            "It votes no more, no other node talks to it, what it signs counts no more, and what is written from then on it cannot read. What it has on its disk "
                    + "it keeps: who holds that machine and its key reads what was written before.",
            "",
            "A majority of those that vote has to be there. A node that was retired comes back only by joining anew, in an empty data directory."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class RetireCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Option(names = "--root-key", paramLabel = "KEYFILE", description = KeyPlaceOptions.ROOT_ELSEWHERE)
    private @Nullable Path rootKey;

    @Parameters(
            paramLabel = "NODE",
            description =
                    "Its name as btnode nodes shows it, its fingerprint, or at least eight digits of its principal.")
    private String which = "";

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        String tried = "to retire " + which;
        DataDirectory data = node.open();
        Path rootPath = KeyPlaceOptions.of(rootKey).rootKey(data);
        try (NodeClient client = NodeClient.require(data.path())) {
            PrincipalId leaving = Membership.find(
                    ((ControlReply.Nodes) client.call(new ControlRequest.Nodes())).nodes(), which, tried);
            KeyFile file = NodeKeys.readRoot(rootPath, OpenTree.keyHolders(data.tree()), tried);
            try (SecretBytes secret = passphrase.read("of the root key", System.err);
                    Identity root = file.unlock(secret)) {
                Authority authority = OpenTree.keyHolders(data.tree()).authority();
                List<TreeFounding.Entry> records =
                        KeyChange.retireNode(authority, root, leaving, System.currentTimeMillis());
                client.call(new ControlRequest.Retire(leaving.toHex(), NodeClient.records(records)));
            }
            Map<String, Object> value = new LinkedHashMap<>();
            value.put("principal", leaving.toHex());
            value.put("fingerprint", Fingerprint.of(leaving));
            output.print(value, """
                    %s is no node of the tree any more.
                      fingerprint  %s
                    It reads nothing that is written from now on; what it has on its disk it keeps.""".formatted(Output.onOneLine(which), Fingerprint.of(leaving)));
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        return ExitCode.OK.code();
    }
}
