package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.KeyFile;
import blocktree.crypto.SecretBytes;
import blocktree.store.KeyHolders;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

@Command(
        name = "restore",
        description = {
            "Put the keys of a backup back into a data directory that has lost one or both of them.",
            "A key that is there stays as it is. Of a backup from before a key was replaced, the key that still counts is put back."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class KeyRestoreCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Parameters(paramLabel = "FILE", description = "What btnode key backup has written.")
    private Path file = Path.of("");

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        DataDirectory data = node.open();
        KeyBackup backup = KeyBackup.read(file);
        try (DataDirectory.Lock lock = KeyFiles.lockBesideNode(data, new KeyPlaceOptions())) {
            return restore(data, backup);
        }
    }

    private int restore(DataDirectory data, KeyBackup backup) throws NodeException {
        String tried = "to put back the keys of " + data.path();
        KeyHolders holders = OpenTree.keyHolders(data.tree());
        backup.requireTreeOf(data, holders, file);
        List<String> done = new ArrayList<>();
        boolean rootCounts = !holders.isRetiredRoot(backup.root().principal().id());
        boolean nodeCounts = !holders.isReplacedNode(backup.node().principal().id());
        try (SecretBytes secret = passphrase.read("of the backup", System.err);
                ProgressLine line = ProgressLine.during("opening the tree with the backup");
                KeyBackup.Opened keys = backup.open(secret, "to open the backup " + file)) {
            OpenTree.rehearse(data.tree(), rootCounts ? keys.root() : null, nodeCounts ? keys.node() : null);
            if (rootCounts && isMissing(data.rootKey(), backup.root(), tried)) {
                backup.root().write(data.rootKey(), false);
                done.add(data.rootKey().toString());
            }
            boolean handedOver = data.settings().nodeKey() == NodeSettings.NodeKeyProtection.CREDENTIAL;
            if (handedOver) {
                line.clear();
                System.err.println(
                        "btnode: the node key is handed over by systemd and not written to a disk; where it is lost, replace it:"
                                + " btnode key replace-node --lost-node-key");
            } else if (nodeCounts && isMissing(data.nodeKey(), backup.node(), tried)) {
                boolean sealed = data.settings().nodeKey() == NodeSettings.NodeKeyProtection.PASSPHRASE;
                KeyFile key =
                        sealed ? backup.node() : KeyFile.unprotected(keys.node(), KeyFile.Role.NODE, backup.tree());
                key.write(data.nodeKey(), false);
                done.add(data.nodeKey().toString());
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        KeyBackup.checkCurrent(
                holders,
                backup.root().principal().id(),
                backup.node().principal().id(),
                tried,
                (done.isEmpty()
                                ? "use"
                                : "what still counts is put back: " + String.join(", ", done) + "; for the other use")
                        + " a backup made since"
                        + (rootCounts ? ", or replace the node key: btnode key replace-node --lost-node-key" : ""));
        output.print(
                Map.of("restored", done),
                done.isEmpty() ? "both keys are there already" : "restored " + String.join(" and ", done));
        return ExitCode.OK.code();
    }

    /** False when the key is there and good; one that is there and is not must be moved away by whoever knows why it is there. */
    private static boolean isMissing(Path path, KeyFile wanted, String tried) throws NodeException {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return true;
        }
        String found;
        try {
            if (KeyFile.read(path).principal().equals(wanted.principal())) {
                return false;
            }
            found = "the key in " + path + " is another than that of the backup";
        } catch (CryptoException e) {
            found = String.valueOf(e.getMessage());
        }
        throw new NodeException(ExitCode.BAD_KEY_FILE, tried, found, "move " + path + " away, then restore again");
    }
}
