package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.SecretBytes;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Parameters;

@Command(
        name = "create",
        description = {
            "Make a root key in FILE, encrypted under a passphrase: on a machine that is offline, for btnode init --root-key FILE on another.",
            "Needs no data directory. btnode init makes a root key by itself where none is named."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class KeyCreateCommand implements Callable<Integer> {
    @Mixin
    private PassphraseOptions passphrase;

    @Parameters(paramLabel = "FILE", description = "A new file.")
    private Path file = Path.of("");

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        String tried = "to make a root key in " + file;
        if (Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
            throw new NodeException(
                    ExitCode.USAGE, tried, file + " exists already", "name a new file, or move that one away");
        }
        try (SecretBytes secret = passphrase.readNew(System.err);
                Identity root = Identity.generate()) {
            KeyFile.protect(root, KeyFile.Role.ROOT, null, secret).write(file, false);
            Map<String, Object> value = new LinkedHashMap<>();
            value.put("root_key", file.toAbsolutePath());
            value.put("principal", root.id().toHex());
            value.put("fingerprint", Fingerprint.of(root.id()));
            output.print(value, """
                    Made a root key in %s, encrypted under your passphrase.
                      fingerprint  %s
                    Next, where the tree is to be: btnode init --root-key %s""".formatted(file, Fingerprint.of(root.id()), file.getFileName()));
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        return ExitCode.OK.code();
    }
}
