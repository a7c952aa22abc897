package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SecretBytes;
import blocktree.store.KeyHolders;
import java.io.Console;
import java.nio.file.Files;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "recover",
        description = {
            "Go on with this node alone when so many of the tree's nodes are lost for good that no majority is left to vote. The node must not run. Signed by the root key.",
            "",
            "This node becomes the only one that votes, with the tree as it has it; all other nodes are retired, those that are left as well. They come back only by joining anew, "
                    + "in an empty data directory: btnode invite.",
            "",
            "What others acknowledged that this node has not got is lost: of several that are left, recover the one that has most (log.position in btnode status). "
                    + "And make sure that the others do not run on: a majority of them that comes back goes on with the tree by itself, and nothing brings the two together again."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class RecoverCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Mixin
    private KeyPlaceOptions places;

    @Option(
            names = "--yes",
            description = "Do not ask: the other nodes are to be retired, and what only they have is lost.")
    private boolean yes;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Settings configured = node.settings();
        DataDirectory data = DataDirectory.open(configured.dataDirectory());
        RunSettings settings = RunSettings.of(data, configured, false, false);
        String tried = "to recover the tree with the node of " + data.path();
        try (DataDirectory.Lock lock = data.lock(false)) {
            KeyFiles.settle(data, places);
            if (!Files.isDirectory(data.cluster())) {
                throw new NodeException(
                        ExitCode.USAGE,
                        tried,
                        "this node has always been alone",
                        "start it: btnode run --data-dir " + Shell.word(data.path()));
            }
            KeyHolders holders = OpenTree.keyHolders(data.tree());
            KeyFile rootFile = NodeKeys.readRoot(places.rootKey(data), holders, tried);
            KeyFile nodeFile = KeyFile.read(places.nodeKey(data));
            try (SecretBytes secret = passphrase.read("of the root key", System.err);
                    Identity root = rootFile.unlock(secret);
                    SecretBytes nodeSecret =
                            nodeFile.isProtected() ? passphrase.read("of the node key", System.err) : null;
                    Identity identity = nodeFile.unlock(nodeSecret)) {
                List<PrincipalId> lost = Membership.others(holders.authority(), identity.id());
                NodePlace place = NodePlace.of(settings);
                Set<PrincipalId> answering = Recovery.answering(holders.authority(), identity, place);
                long position = OpenTree.headPosition(settings, identity);
                System.err.println(plan(holders, place, lost, answering, position));
                if (!yes && !confirm()) {
                    throw new NodeException(
                            ExitCode.USAGE,
                            tried,
                            "it was not confirmed, and nothing was changed",
                            "say yes on a terminal, or give --yes");
                }
                long recovered = Recovery.run(settings, place, root, identity);
                print(data, place, lost, recovered);
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        return ExitCode.OK.code();
    }

    private static boolean confirm() {
        Console console = System.console();
        String answer = console == null ? null : console.readLine("Retire them, and go on with this node? [y/N] ");
        return answer != null && answer.strip().equalsIgnoreCase("y");
    }

    private static String plan(
            KeyHolders holders, NodePlace place, List<PrincipalId> lost, Set<PrincipalId> answering, long position) {
        String others = lost.stream()
                .map(each -> {
                    NodeRecord record = holders.authority().node(each);
                    return "\n  %-20s %s  %s"
                            .formatted(
                                    record == null ? "" : record.name(),
                                    Fingerprint.of(each),
                                    answering.contains(each) ? "ANSWERS: it is not lost" : "does not answer");
                })
                .collect(Collectors.joining());
        return """
                This node, %s, has the tree up to position %d of its log, and maybe a little more that it has not heard to be agreed on.
                It goes on with that, alone. What was acknowledged elsewhere and is not in it is lost.
                These nodes are retired:%s
                Where a majority of them runs, or comes back, it goes on by itself, and nothing brings the two together again.""".formatted(place.name(), position, others.isEmpty() ? " none" : others);
    }

    private void print(DataDirectory data, NodePlace place, List<PrincipalId> retired, long position) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("name", place.name());
        value.put("position", position);
        value.put("retired", retired.stream().map(PrincipalId::toHex).toList());
        output.print(value, """
                %s is the only node of the tree that votes, and has it up to position %d of its log. Retired nodes: %d.
                Next: start it, look at what is there, and take machines in again: btnode invite --data-dir %s""".formatted(place.name(), position, retired.size(), Shell.word(data.path())));
    }
}
