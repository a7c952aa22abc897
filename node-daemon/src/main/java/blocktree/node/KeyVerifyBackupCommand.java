package blocktree.node;

import blocktree.crypto.Fingerprint;
import blocktree.crypto.SecretBytes;
import blocktree.store.KeyHolders;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

@Command(
        name = "verify-backup",
        description = {
            "Show that a backup is good: its passphrase opens it, its keys are those of this data directory, and they decrypt it.",
            "Works beside a node that runs, and changes nothing."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class KeyVerifyBackupCommand implements Callable<Integer> {
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
        KeyHolders holders = OpenTree.keyHolders(data.tree());
        backup.requireTreeOf(data, holders, file);
        try (SecretBytes secret = passphrase.read("of the backup", System.err);
                ProgressLine line = ProgressLine.during("opening the tree with the backup");
                KeyBackup.Opened keys = backup.open(secret, "to open the backup " + file)) {
            KeyBackup.checkCurrent(
                    holders,
                    keys.root().id(),
                    keys.node().id(),
                    "to show that the backup " + file + " is good",
                    "make a new one: btnode key backup FILE --data-dir " + Shell.word(data.path())
                            + "; keep the old one as long as you keep copies of the data directory from its time");
            keys.rehearse(data);
        }
        output.print(
                Map.of("good", true, "tree", backup.tree().toHex()),
                "good: the passphrase opens it, and its keys decrypt the tree " + Fingerprint.of(backup.tree()) + " in "
                        + data.path());
        return ExitCode.OK.code();
    }
}
