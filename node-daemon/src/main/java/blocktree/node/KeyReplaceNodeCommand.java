package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeId;
import blocktree.node.NodeSettings.NodeKeyProtection;
import blocktree.store.KeyHolders;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "replace-node",
        description = {
            "Give this node a new key, signed for by the root key: when somebody may have copied the old one, or it is lost. The node must not run.",
            "",
            "The old key's rights end and a new epoch begins: it signs nothing for this tree any more, and opens nothing that is written from then on. Who has copied both it "
                    + "and the data still reads what was written before.",
            "",
            "The new key is kept as the old one was and takes its place. Backups of the keys hold the old node key: make a new one."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class KeyReplaceNodeCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Mixin
    private KeyPlaceOptions places;

    @Option(
            names = "--node-key-path",
            paramLabel = "FILE",
            description =
                    "Where to write the new key when systemd hands it over: a new file, best on a memory file system (/dev/shm), from which you move it into systemd's "
                            + "store.")
    private @Nullable Path newPath;

    @Option(
            names = "--lost-node-key",
            description =
                    "Do without the old key. The tree is read with the root key; times of access are forgotten. Whether the disk was put back to an earlier state can then "
                            + "not be told for certain: the anchor is believed where it says so, but it could have been forged.")
    private boolean lost;

    @Option(
            names = "--accept-loss",
            description = "With --lost-node-key: go on though acknowledged writes are missing, or the anchor is.")
    private boolean acceptLoss;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Settings configured = node.settings();
        DataDirectory data = DataDirectory.open(configured.dataDirectory());
        RunSettings settings = RunSettings.of(data, configured, false, acceptLoss);
        String tried = "to replace the node key of " + data.path();
        Path rootPath = places.rootKey(data);
        checkOptions(data, tried);
        try (DataDirectory.Lock lock = data.lock(false)) {
            KeyFiles.settle(data, places);
            KeyHolders holders = OpenTree.keyHolders(data.tree());
            if (newPath != null && Files.exists(newPath, LinkOption.NOFOLLOW_LINKS)) {
                return alreadyThere(data, newPath, holders, tried);
            }
            KeyFile rootFile = NodeKeys.readRoot(rootPath, holders, tried);
            KeyFile oldFile = lost ? null : readOld(data, tried);
            try (SecretBytes secret = passphrase.read("of the root key", System.err);
                    Identity root = rootFile.unlock(secret);
                    Identity old = oldFile == null ? null : oldFile.unlock(oldFile.isProtected() ? secret : null);
                    Identity fresh = Identity.generate()) {
                TreeId tree = holders.authority().tree();
                KeyFile key = data.settings().nodeKey() == NodeKeyProtection.PASSPHRASE
                        ? KeyFile.protect(fresh, KeyFile.Role.NODE, tree, secret)
                        : KeyFile.unprotected(fresh, KeyFile.Role.NODE, tree);
                try (ProgressLine line = ProgressLine.during("putting the new node key in force")) {
                    if (newPath != null) {
                        key.write(newPath, false);
                    } else {
                        key.write(KeyFiles.next(data.nodeKey()), true);
                    }
                    OpenTree.replaceNode(settings, old, root, fresh);
                    if (newPath == null) {
                        KeyFiles.takePlace(data.nodeKey(), tried);
                    }
                }
                print(data, newPath == null ? data.nodeKey() : newPath, holders.node(), fresh.id());
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        return ExitCode.OK.code();
    }

    private void checkOptions(DataDirectory data, String tried) throws NodeException {
        boolean handedOver = data.settings().nodeKey() == NodeKeyProtection.CREDENTIAL;
        if (handedOver && newPath == null) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    "systemd hands over the key of this node, and no --node-key-path",
                    "name a new file, best on a memory file system (/dev/shm), from which you move the key into systemd's store");
        }
        if (!handedOver && newPath != null) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    "--node-key-path, and a node whose key is kept in " + data.nodeKey(),
                    "leave it out: the new key takes the old one's place");
        }
        if (lost && places.namesNodeKey() || acceptLoss && !lost) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    lost ? "both --node-key and --lost-node-key" : "--accept-loss without --lost-node-key",
                    lost
                            ? "leave out --lost-node-key when you have the key"
                            : "with the key, accept a loss first: btnode run --accept-loss --data-dir "
                                    + Shell.word(data.path()));
        }
    }

    private KeyFile readOld(DataDirectory data, String tried) throws NodeException {
        String remedy =
                "put it back (btnode key restore BACKUP), name it with --node-key, or give --lost-node-key when it is lost";
        try {
            return KeyFile.read(places.nodeKey(data));
        } catch (CryptoException e) {
            throw new NodeException(
                    ExitCode.BAD_KEY_FILE, tried, Failures.of(tried, e).found(), remedy, e);
        } catch (NodeException e) {
            throw new NodeException(e.exitCode(), tried, e.found(), remedy, e);
        }
    }

    /** An attempt before, cut short after it counted, has written it; anything else is not touched. */
    private int alreadyThere(DataDirectory data, Path path, KeyHolders holders, String tried)
            throws NodeException, CryptoException {
        if (!KeyFile.read(path).principal().id().equals(holders.node())) {
            throw new NodeException(
                    ExitCode.USAGE, tried, path + " exists already", "name a new file, or move that one away");
        }
        print(data, path, null, holders.node());
        return ExitCode.OK.code();
    }

    private void print(DataDirectory data, Path path, @Nullable PrincipalId old, PrincipalId fresh) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("principal", fresh.toHex());
        value.put("fingerprint", Fingerprint.of(fresh));
        value.put("node_key", path.toAbsolutePath());
        value.put("replaced_principal", old == null ? "" : old.toHex());
        value.put("old_key_lost", lost);
        String next = newPath == null
                ? "btnode run --data-dir " + Shell.word(data.path()) + " --mount MOUNTPOINT"
                : NodeKeys.intoCredentialStore(path);
        output.print(value, """
                This node has a new key.
                  fingerprint  %s
                  node key     %s (%s)
                The old key signs nothing for this tree any more and opens nothing that is written from now on. Who has copied both it and the data
                still reads what was written before.%s
                Backups of the keys made before hold the old node key. Make a new one now: btnode key backup FILE --data-dir %s
                Next: %s""".formatted(
                        Fingerprint.of(fresh),
                        path,
                        Choice.label(data.settings().nodeKey()),
                        lost
                                ? "\nWhat is here was verified by its signatures. Whether it is the newest state of the tree rests on an anchor that nobody could verify: look whether your"
                                        + "\nnewest files are there. Times of access are forgotten; files that were unlinked while open keep their space, and btnode fsck names them."
                                : "",
                        Shell.word(data.path()),
                        next));
    }
}
