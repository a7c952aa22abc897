package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeId;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

@Command(
        name = "backup",
        description = {
            "Write both keys to FILE, as text that may be printed or mailed, encrypted under the passphrase of the root key.",
            "With it, its passphrase and a copy of the data directory all data can be read again, whatever becomes of this machine."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class KeyBackupCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Mixin
    private KeyPlaceOptions places;

    @Parameters(paramLabel = "FILE", description = "A new file; - for standard output.")
    private Path file = Path.of("");

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        DataDirectory data = node.open();
        String tried = "to make a backup of the keys of " + data.path();
        boolean print = file.toString().equals("-");
        if (!print && Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
            throw new NodeException(
                    ExitCode.USAGE, tried, file + " exists already", "name a new file, or move that one away");
        }
        KeyFiles.settleUnlessTaken(data, places);
        String text;
        try {
            KeyFile rootFile = KeyFile.read(places.rootKey(data));
            KeyFile nodeFile = KeyFile.read(places.nodeKey(data));
            try (SecretBytes secret = passphrase.read("of the root key", System.err);
                    ProgressLine line = ProgressLine.during("sealing the keys and trying the backup");
                    Identity root = rootFile.unlock(secret);
                    Identity identity = nodeFile.unlock(nodeFile.isProtected() ? secret : null)) {
                TreeId tree = rootFile.tree();
                if (rootFile.role() != KeyFile.Role.ROOT || nodeFile.role() != KeyFile.Role.NODE) {
                    throw new NodeException(
                            ExitCode.BAD_KEY_FILE,
                            tried,
                            "a root key where the node key should be, or the other way round",
                            "name the node's key with --node-key");
                }
                if (tree == null || !Objects.equals(tree, nodeFile.tree())) {
                    throw new NodeException(
                            ExitCode.BAD_KEY_FILE,
                            tried,
                            "the root key and the node key are those of different trees",
                            "put the root key of this tree to " + data.rootKey() + ", or name it with --root-key");
                }
                text = KeyBackup.of(root, identity, tree, secret).toText();
                // A key that no longer counts is told before there is something that looks like a good backup.
                KeyBackup.checkCurrent(
                        OpenTree.keyHolders(data.tree()),
                        root.id(),
                        identity.id(),
                        tried,
                        "use the keys that are in force");
                if (!print) {
                    KeyFile.writeText(file, text.getBytes(StandardCharsets.US_ASCII), false);
                    try (KeyBackup.Opened keys = KeyBackup.read(file).open(secret, "to open the backup " + file)) {
                        keys.rehearse(data);
                    }
                }
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        } catch (IOException e) {
            throw Failures.of(tried, e, "name a file in a directory that this user can write to");
        }
        if (print) {
            output.print(Map.of("text", text), text.stripTrailing());
            if (System.out.checkError()) {
                throw new NodeException(
                        ExitCode.FAILED, tried, "standard output takes no more", "make room where it goes to");
            }
            return ExitCode.OK.code();
        }
        output.print(Map.of("backup", file.toAbsolutePath()), """
                The keys are in %s, encrypted under the passphrase of the root key.
                Print it, or copy it to another place than this machine; keep the passphrase apart from it.
                Whether it is good, now and each year: btnode key verify-backup %s --data-dir %s""".formatted(
                        file, Shell.word(file), Shell.word(data.path())));
        return ExitCode.OK.code();
    }
}
