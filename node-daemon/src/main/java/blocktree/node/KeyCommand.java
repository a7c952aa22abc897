package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeId;
import ch.qos.logback.classic.Level;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

@Command(
        name = "key",
        description = {
            "Look at the keys of a data directory, keep copies of them, change their passphrase.",
            "The root key is the owner's, the node key this machine's; btnode init --help says what each is for."
        },
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "(show | backup | verify-backup | restore | passphrase)")
final class KeyCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(
                spec.commandLine(), "Which of show, backup, verify-backup, restore and passphrase?");
    }

    @Command(
            name = "show",
            description =
                    "Show the public part of the root key and of the node key: fingerprints to read out and compare. Needs no passphrase.",
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int show(@Mixin NodeOptions node, @Mixin Output output) throws NodeException {
        DataDirectory data = node.open();
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
            name = "backup",
            description = {
                "Write both keys to FILE, as text that may be printed or mailed, encrypted under the passphrase of the root key.",
                "With it, its passphrase and a copy of the data directory all data can be read again, whatever becomes of this machine."
            },
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int backup(
            @Mixin NodeOptions node,
            @Mixin PassphraseOptions passphrase,
            @Option(
                            names = "--node-key",
                            paramLabel = "KEYFILE",
                            description =
                                    "The node key, where it is not in its place, such as one that systemd hands over.")
                    @Nullable
                    Path nodeKey,
            @Parameters(paramLabel = "FILE", description = "A new file; - for standard output.") Path file,
            @Mixin Output output)
            throws NodeException {
        DataDirectory data = node.open();
        String tried = "to make a backup of the keys of " + data.path();
        boolean print = file.toString().equals("-");
        if (!print && Files.exists(file, LinkOption.NOFOLLOW_LINKS)) {
            throw new NodeException(
                    ExitCode.USAGE, tried, file + " exists already", "name a new file, or move that one away");
        }
        try {
            KeyFile rootFile = KeyFile.read(data.rootKey());
            KeyFile nodeFile = KeyFile.read(nodeKey == null ? NodeKeys.nodeKeyPath(data) : nodeKey);
            try (SecretBytes secret = passphrase.read("of the root key", System.err);
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
                            "put the root key of this tree to " + data.rootKey());
                }
                String text = KeyBackup.of(root, identity, tree, secret).toText();
                if (print) {
                    output.print(Map.of("text", text), text.stripTrailing());
                    if (System.out.checkError()) {
                        throw new NodeException(
                                ExitCode.FAILED, tried, "standard output takes no more", "make room where it goes to");
                    }
                    return ExitCode.OK.code();
                }
                writeDurably(file, text);
                try (KeyBackup.Opened keys = KeyBackup.read(file).open(secret, "to open the backup " + file)) {
                    rehearse(data, keys);
                }
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        } catch (IOException e) {
            throw Failures.of(tried, e, "name a file in a directory that this user can write to");
        }
        output.print(Map.of("backup", file.toAbsolutePath()), """
                The keys are in %s, encrypted under the passphrase of the root key.
                Print it, or copy it to another place than this machine; keep the passphrase apart from it.
                Whether it is good, now and each year: btnode key verify-backup %s --data-dir %s""".formatted(file, file, data.path()));
        return ExitCode.OK.code();
    }

    private static void writeDurably(Path file, String text) throws IOException {
        try (FileChannel channel = FileChannel.open(
                file,
                Set.of(StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")))) {
            ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.US_ASCII));
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
            channel.force(true);
        }
    }

    private static void rehearse(DataDirectory data, KeyBackup.Opened keys) throws NodeException {
        EventLog.start(EventLog.Format.TEXT, Level.ERROR); // what the store notes while it opens says nothing here
        OpenTree.rehearse(data.tree(), keys);
    }

    @Command(
            name = "verify-backup",
            description = {
                "Show that a backup is good: its passphrase opens it, its keys are those of this data directory, and they decrypt it.",
                "Works beside a node that runs, and changes nothing."
            },
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int verifyBackup(
            @Mixin NodeOptions node,
            @Mixin PassphraseOptions passphrase,
            @Parameters(paramLabel = "FILE", description = "What btnode key backup has written.") Path file,
            @Mixin Output output)
            throws NodeException {
        DataDirectory data = node.open();
        KeyBackup backup = KeyBackup.read(file);
        try (SecretBytes secret = passphrase.read("of the backup", System.err);
                KeyBackup.Opened keys = backup.open(secret, "to open the backup " + file)) {
            rehearse(data, keys);
        }
        output.print(
                Map.of("good", true, "tree", backup.tree().toHex()),
                "good: the passphrase opens it, and its keys decrypt the tree " + Fingerprint.of(backup.tree()) + " in "
                        + data.path());
        return ExitCode.OK.code();
    }

    @Command(
            name = "restore",
            description = {
                "Put the keys of a backup back into a data directory that has lost one or both of them.",
                "A key that is there stays as it is."
            },
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int restore(
            @Mixin NodeOptions node,
            @Mixin PassphraseOptions passphrase,
            @Parameters(paramLabel = "FILE", description = "What btnode key backup has written.") Path file,
            @Mixin Output output)
            throws NodeException {
        DataDirectory data = node.open();
        KeyBackup backup = KeyBackup.read(file);
        String tried = "to put back the keys of " + data.path();
        DataDirectory.requireOwner(data.path(), tried);
        List<String> done = new ArrayList<>();
        try (SecretBytes secret = passphrase.read("of the backup", System.err);
                KeyBackup.Opened keys = backup.open(secret, "to open the backup " + file)) {
            rehearse(data, keys);
            if (isMissing(data.rootKey(), backup.root(), tried)) {
                backup.root().write(data.rootKey(), false);
                done.add(data.rootKey().toString());
            }
            boolean handedOver = data.settings().nodeKey() == NodeSettings.NodeKeyProtection.CREDENTIAL;
            if (handedOver) {
                System.err.println(
                        "btnode: the node key is handed over by systemd and not written to a disk; where it is lost, make this"
                                + " node anew or put node_key = file into btnode.conf and restore again");
            } else if (isMissing(data.nodeKey(), backup.node(), tried)) {
                boolean sealed = data.settings().nodeKey() == NodeSettings.NodeKeyProtection.PASSPHRASE;
                KeyFile key =
                        sealed ? backup.node() : KeyFile.unprotected(keys.node(), KeyFile.Role.NODE, backup.tree());
                key.write(data.nodeKey(), false);
                done.add(data.nodeKey().toString());
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
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
            @Mixin Output output)
            throws NodeException {
        DataDirectory data = node.open();
        List<Path> sealed = new ArrayList<>();
        String tried = "to change the passphrase of the keys of " + data.path();
        DataDirectory.requireOwner(data.path(), tried);
        try {
            for (Path path : List.of(data.nodeKey(), data.rootKey())) {
                if (Files.exists(path) && KeyFile.read(path).isProtected()) {
                    sealed.add(path);
                }
            }
            if (sealed.isEmpty()) {
                throw new NodeException(
                        ExitCode.BAD_KEY_FILE, tried, "no key there has one", "put the root key to " + data.rootKey());
            }
            try (SecretBytes before = passphrase.read("as it was", System.err);
                    SecretBytes after = PassphraseOptions.of(newFile).readNew(System.err)) {
                List<Path> unchanged = new ArrayList<>();
                for (Path path : sealed) {
                    if (!opens(path, after)) { // else an attempt before, cut short, has changed it already
                        KeyFile.read(path).unlock(before).close();
                        unchanged.add(path);
                    }
                }
                for (Path path : unchanged) {
                    KeyFile.changePassphrase(path, before, after);
                }
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        output.print(
                Map.of("changed", sealed),
                "changed the passphrase of "
                        + String.join(
                                " and ", sealed.stream().map(Path::toString).toList())
                        + "\nmake a new backup: btnode key backup FILE --data-dir " + data.path());
        return ExitCode.OK.code();
    }

    private static boolean opens(Path path, SecretBytes passphrase) throws CryptoException {
        try {
            KeyFile.read(path).unlock(passphrase).close();
            return true;
        } catch (CryptoException e) {
            if (e.code() == CryptoException.Code.BAD_PASSPHRASE) {
                return false;
            }
            throw e;
        }
    }
}
