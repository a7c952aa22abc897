package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.KeyFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

@Command(
        name = "key",
        description = "Look at the keys of a data directory.",
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "(show)")
final class KeyCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "show?");
    }

    @Command(
            name = "show",
            description =
                    "Show the public part of the root key and of the node key: fingerprints to read out and compare. Needs no passphrase.",
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int show(@Mixin DataDirectoryOption directory, @Mixin Output output) throws NodeException {
        DataDirectory data = directory.open();
        for (Path path : new Path[] {data.rootKey(), data.nodeKey()}) {
            if (!Files.exists(path)) {
                continue; // moved to a safe place, or handed over by systemd
            }
            try {
                KeyFile key = KeyFile.read(path);
                String principal = Fingerprint.of(key.principal().id());
                String protection = key.isProtected() ? "passphrase" : "none";
                Map<String, Object> value = new LinkedHashMap<>();
                value.put("role", key.role().name().toLowerCase(Locale.ROOT));
                value.put("principal", key.principal().id().toHex());
                value.put("fingerprint", principal);
                value.put("protection", protection);
                value.put("file", path);
                StringBuilder text = new StringBuilder(value.get("role") + " key")
                        .append("\n  fingerprint  ")
                        .append(principal)
                        .append("\n  protection   ")
                        .append(protection)
                        .append("\n  file         ")
                        .append(path);
                if (key.tree() != null) {
                    value.put("tree", key.tree().toHex());
                    value.put("tree_fingerprint", Fingerprint.of(key.tree()));
                    text.append("\n  tree         ").append(Fingerprint.of(key.tree()));
                }
                output.print(value, text.toString());
            } catch (CryptoException e) {
                throw Failures.of("to read the key file " + path, e);
            }
        }
        return ExitCode.OK.code();
    }
}
