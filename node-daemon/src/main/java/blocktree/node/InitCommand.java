package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.SecretBytes;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "init",
        description = {
            "Make a tree: its root key, and a node that keeps it on this machine.",
            "",
            "The root key is the owner's: it founds the tree and names who may do what in it. It is kept in DIR/root.key, encrypted under the passphrase. "
                    + "Copy it to a safe place; without it and its passphrase nobody, you included, can give anyone else access later.",
            "",
            "The node key is what this machine signs and reads with. How it is kept is your choice (--node-key):",
            "  file        In a file that only this user can read. The node starts unattended. Who steals the disk with that file can read the tree: "
                    + "put the file on another device (--node-key-path) to prevent that.",
            "  passphrase  Encrypted under the passphrase, which each start asks for. A stolen machine that is switched off gives nothing away.",
            "  credential  Handed over by systemd at start, from where you put it (see docs/operations.md). The machine's TPM or its root user guards it."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class InitCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Mixin
    private NodeKeyOptions key;

    @Option(
            names = "--root-key",
            paramLabel = "FILE",
            description =
                    "Found the tree with this root key, which btnode key create has made, perhaps on another machine; the passphrase is that of the file, which stays as it "
                            + "is. Default: a new one.")
    private @Nullable Path rootKey;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Path directory = node.path();
        NodeFounding founding = key.founding(directory);
        founding.check();
        NodeFounding.Founded founded;
        KeyFile rootFile = rootKey == null ? null : readRoot(rootKey);
        try (SecretBytes secret = rootFile == null
                        ? passphrase.readNew(System.err)
                        : passphrase.read("of the root key", System.err);
                ProgressLine line = ProgressLine.during("making the tree");
                Identity root = rootFile == null ? Identity.generate() : rootFile.unlock(secret)) {
            founded = founding.found(root, secret);
        } catch (CryptoException e) {
            throw Failures.of("to unlock the root key " + rootKey, e);
        }
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("tree", founded.tree().toHex());
        value.put("fingerprint", founded.fingerprint());
        value.put("principal", founded.principal().toHex());
        value.put("data_directory", directory);
        value.put("node_key", founded.nodeKey());
        value.put("root_key", founded.rootKey());
        String next = key.next(founded, "btnode run --data-dir " + Shell.word(directory) + " --mount MOUNTPOINT");
        output.print(value, """
                Made a tree and a node that keeps it.
                  tree      %s
                  data      %s
                  root key  %s (encrypted under your passphrase: copy it to a safe place)
                  node key  %s (%s)
                Next: %s""".formatted(
                        founded.fingerprint(),
                        directory,
                        founded.rootKey(),
                        founded.nodeKey(),
                        Choice.label(key.protection()),
                        next));
        return ExitCode.OK.code();
    }

    /** A root key that has founded no tree yet: one key for two trees would be rotated in one of them only. */
    private static KeyFile readRoot(Path path) throws NodeException {
        String tried = "to found a tree with the root key " + path;
        KeyFile file;
        try {
            file = KeyFile.read(path);
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        if (file.role() != KeyFile.Role.ROOT || file.tree() != null || !file.isProtected()) {
            throw new NodeException(
                    ExitCode.BAD_KEY_FILE,
                    tried,
                    file.role() != KeyFile.Role.ROOT
                            ? "a node key"
                            : file.tree() != null ? "the root key of another tree" : "a root key without passphrase",
                    "make one with: btnode key create FILE");
        }
        return file;
    }
}
