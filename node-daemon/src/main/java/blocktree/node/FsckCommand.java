package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.SecretBytes;
import blocktree.store.StoreException;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "fsck",
        description = {
            "Check everything that is stored: signatures, capabilities, every sector, every name and link.",
            "Works on a running node through its control socket, else on the data directory itself. "
                    + "Exit code 0: all is well; 1: there are findings, one a line; 7: the store cannot be opened."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class FsckCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Option(names = "--root-key", paramLabel = "KEYFILE", description = KeyPlaceOptions.ROOT_ELSEWHERE)
    private @Nullable Path rootKey;

    @Option(
            names = "--repair",
            description = "Repair what can be repaired without losing anything; everything else is only reported.")
    private boolean repair;

    @Option(
            names = "--cluster",
            description =
                    "First take from the tree's other nodes what is missing or damaged here, and compare the logs with theirs. For a node that runs.")
    private boolean cluster;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Settings configured = node.settings();
        Path path = configured.dataDirectory();
        DataDirectory data = DataDirectory.open(path);
        KeyPlaceOptions places = KeyPlaceOptions.of(rootKey);
        KeyFiles.settleUnlessTaken(data, places);
        if (passphrase.isGiven()) {
            checkRootKey(data, places.rootKey(data));
        }
        CheckReport report = new CheckReport(output);
        Optional<NodeClient> running = NodeClient.connect(path);
        if (running.isPresent()) {
            try (NodeClient client = running.get()) {
                return report.finish(
                        (ControlReply.Checked) client.check(new ControlRequest.Fsck(repair, cluster), report::accept));
            }
        }
        if (cluster) {
            throw new NodeException(
                    ExitCode.NOT_RUNNING,
                    "to ask the other nodes of the tree",
                    "the node of " + path + " does not run",
                    "start it, or leave --cluster out");
        }
        passphrase.orFrom(configured.path(Setting.PASSPHRASE_FILE));
        try (DataDirectory.Lock lock = data.lock(!repair);
                Identity identity = NodeKeys.unlockNode(data, passphrase, System.err)) {
            return report.finish(
                    OpenTree.check(RunSettings.of(data, configured, !repair, false), identity, repair, part -> {
                        report.accept(part);
                        return true;
                    }));
        } catch (NodeException e) {
            if (e.exitCode() != ExitCode.DAMAGED_STORE) {
                throw e;
            }
            // Damage that keeps the store from being opened is a finding too, and the last one.
            boolean lost =
                    e.getCause() instanceof StoreException cause && cause.code() == StoreException.Code.LOST_WRITES;
            String remedy = lost ? e.remedy() : "check the disk; put back the data directory from a copy";
            report.accept(new ControlReply.Finding(
                    "error", "not_opened", "", e.found() + "; nothing more can be checked: " + remedy, false));
            report.finish(new ControlReply.Checked(Map.of()));
            return ExitCode.DAMAGED_STORE.code();
        }
    }

    /** The root key is part of what is checked; this also tells a wrong passphrase before a long check. */
    private void checkRootKey(DataDirectory data, Path path) throws NodeException {
        String tried = "to unlock the root key " + path;
        try (SecretBytes secret = passphrase.read("of the root key", System.err)) {
            NodeKeys.readRoot(path, OpenTree.keyHolders(data.tree()), tried)
                    .unlock(secret)
                    .close();
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        } catch (NodeException e) {
            if (e.exitCode() != ExitCode.DAMAGED_STORE) { // else the check says what is damaged
                throw e;
            }
        }
    }
}
