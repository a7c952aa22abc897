package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.SecretBytes;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.StringJoiner;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

@Command(
        name = "key",
        description = {
            "Look at the keys of a data directory, keep copies of them, change their passphrase, replace them.",
            "The root key is the owner's, the node key this machine's; btnode init --help says what each is for."
        },
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel =
                "(show | create | backup | verify-backup | restore | passphrase | rotate-root | replace-node)",
        subcommands = {
            KeyCreateCommand.class,
            KeyBackupCommand.class,
            KeyVerifyBackupCommand.class,
            KeyRestoreCommand.class,
            KeyRotateRootCommand.class,
            KeyReplaceNodeCommand.class
        })
final class KeyCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(
                spec.commandLine(),
                "Which of show, create, backup, verify-backup, restore, passphrase, rotate-root and replace-node?");
    }

    @Command(
            name = "show",
            description =
                    "Show the public part of the root key and of the node key: fingerprints to read out and compare. Needs no passphrase.",
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int show(@Mixin NodeOptions node, @Mixin Output output) throws NodeException {
        DataDirectory data = node.open();
        KeyFiles.settleUnlessTaken(data, new KeyPlaceOptions());
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

    @Command(
            name = "passphrase",
            description = {
                "Change the passphrase of the root key, and of a node key that has one. A node that runs is not affected.",
                "Backups keep the passphrase with which they were made: make a new one, and destroy those that it shall not open any more."
            },
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int passphrase(
            @Mixin NodeOptions node,
            @Mixin PassphraseOptions passphrase,
            @Option(
                            names = "--new-passphrase-file",
                            paramLabel = "FILE",
                            description = "Read the new passphrase from FILE. Default: it is asked for, twice.")
                    @Nullable
                    Path newFile,
            @Option(names = "--root-key", paramLabel = "KEYFILE", description = KeyPlaceOptions.ROOT_ELSEWHERE)
                    @Nullable
                    Path rootKey,
            @Mixin Output output)
            throws NodeException {
        DataDirectory data = node.open();
        String tried = "to change the passphrase of the keys of " + data.path();
        KeyPlaceOptions places = KeyPlaceOptions.of(rootKey);
        List<Path> sealed = new ArrayList<>();
        Map<Path, KeyFile> anew = new LinkedHashMap<>();
        try (DataDirectory.Lock lock = KeyFiles.lockBesideNode(data, places)) {
            for (Path path : List.of(data.nodeKey(), places.rootKey(data))) {
                if (Files.exists(path) && KeyFile.read(path).isProtected()) {
                    sealed.add(path);
                }
            }
            if (sealed.isEmpty()) {
                throw new NodeException(
                        ExitCode.BAD_KEY_FILE, tried, "no key there has one", "name the root key with --root-key");
            }
            try (SecretBytes before = passphrase.read("as it was", System.err);
                    SecretBytes after = PassphraseOptions.of(newFile).readNew(System.err);
                    ProgressLine line = ProgressLine.during("sealing the keys anew")) {
                for (Path path : sealed) {
                    KeyFile file = KeyFile.read(path);
                    if (!opens(file, after)) { // else an attempt before, cut short, has changed it already
                        anew.put(path, sealAnew(file, before, after));
                    }
                }
                for (Map.Entry<Path, KeyFile> each : anew.entrySet()) {
                    each.getValue().write(each.getKey(), true);
                }
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        sealed.removeAll(anew.keySet());
        StringJoiner text = new StringJoiner("\n");
        if (!anew.isEmpty()) {
            text.add("changed the passphrase of " + joined(anew.keySet()));
        }
        if (!sealed.isEmpty()) {
            text.add("not changed, because the new passphrase opens it already: " + joined(sealed));
        }
        if (!anew.isEmpty()) {
            text.add("make a new backup: btnode key backup FILE --data-dir " + Shell.word(data.path()));
        }
        output.print(Map.of("changed", List.copyOf(anew.keySet())), text.toString());
        return ExitCode.OK.code();
    }

    private static String joined(Collection<Path> paths) {
        return String.join(" and ", paths.stream().map(Path::toString).toList());
    }

    private static KeyFile sealAnew(KeyFile file, SecretBytes before, SecretBytes after) throws CryptoException {
        try (Identity identity = file.unlock(before)) {
            return KeyFile.protect(identity, file.role(), file.tree(), after);
        }
    }

    private static boolean opens(KeyFile file, SecretBytes passphrase) throws CryptoException {
        try {
            file.unlock(passphrase).close();
            return true;
        } catch (CryptoException e) {
            if (e.code() == CryptoException.Code.BAD_PASSPHRASE) {
                return false;
            }
            throw e;
        }
    }
}
