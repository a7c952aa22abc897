package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyChange;
import blocktree.crypto.KeyFile;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeId;
import blocktree.store.KeyHolders;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "rotate-root",
        description = {
            "Give the tree a new root key: when the old one or its passphrase may be known to somebody, or has been in use for long. The node may run, and has to where the tree is on several machines: all of them.",
            "",
            "The old root key signs for the new one. All that rests on it, for every writer and reader, is issued again, and a new epoch begins: what is written from then on opens for the new "
                    + "root key and not for the old. The old key signs nothing for this tree any more. With a copy of the data it still reads what was "
                    + "written before.",
            "",
            "The new key takes the place of the old, which stays in FILE.retired-N under its own passphrase: copies of the data directory from before need it. Backups of the keys hold the old root key: make a "
                    + "new one."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class KeyRotateRootCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Option(
            names = "--new-passphrase-file",
            paramLabel = "FILE",
            description = "Read the passphrase of the new root key from FILE. Default: it is asked for, twice.")
    private @Nullable Path newFile;

    @Mixin
    private KeyPlaceOptions places;

    @Option(
            names = "--grace",
            paramLabel = "TIME",
            defaultValue = "0",
            description =
                    "How long (such as 7d) what the old root key has granted to others still counts, for writers that have not seen yet what the new one grants them. "
                            + "What it has granted to itself ends at once. Default: ${DEFAULT-VALUE}, everything ends at once, which is right for one node.")
    private String grace = "0";

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Settings configured = node.settings();
        DataDirectory data = DataDirectory.open(configured.dataDirectory());
        RunSettings settings = RunSettings.of(data, configured, false, false);
        long graceMillis = graceMillis();
        String tried = "to rotate the root key of " + data.path();
        Path rootPath = places.rootKey(data);
        Optional<NodeClient> running = NodeClient.connect(data.path());
        if (running.isEmpty() && Files.isDirectory(data.cluster())) {
            throw new NodeException(
                    ExitCode.NOT_RUNNING,
                    tried,
                    "this node is one of several, which have to agree, and does not run",
                    "start it: btnode run --data-dir " + Shell.word(data.path()));
        }
        try (NodeClient client = running.orElse(null);
                DataDirectory.Lock lock = client == null ? data.lock(false) : null) {
            if (KeyFiles.settle(data, places)) {
                throw new NodeException(
                        ExitCode.FAILED,
                        tried,
                        "a rotation before was cut off after it counted: it is finished now, and " + rootPath
                                + " is the new root key",
                        "make a new backup; for yet another root key repeat this");
            }
            if (client != null) {
                requireAlone(client, rootPath, Files.isDirectory(data.cluster()), tried);
            }
            KeyHolders holders = OpenTree.keyHolders(data.tree());
            KeyFile rootFile = NodeKeys.readRoot(rootPath, holders, tried);
            Path nodePath = places.nodeKey(data);
            KeyFile nodeFile = KeyFile.read(nodePath);
            try (SecretBytes secret = passphrase.read("of the root key", System.err);
                    Identity old = rootFile.unlock(secret);
                    Identity identity = nodeFile.unlock(nodeFile.isProtected() ? secret : null);
                    SecretBytes newSecret = PassphraseOptions.of(newFile).readNew(System.err);
                    Identity fresh = Identity.generate()) {
                TreeId tree = holders.authority().tree();
                long nowMillis = System.currentTimeMillis();
                KeyChange change = KeyChange.rotateRoot(
                        holders.authority(), old, fresh, nowMillis, graceMillis == 0 ? 0 : nowMillis + graceMillis);
                Path retired;
                try (ProgressLine line = ProgressLine.during("putting the new root key in force")) {
                    if (nodeFile.isProtected()) { // backups hold both keys under one passphrase
                        KeyFile.protect(identity, KeyFile.Role.NODE, tree, newSecret)
                                .write(KeyFiles.next(nodePath), true);
                    }
                    KeyFile.protect(fresh, KeyFile.Role.ROOT, tree, newSecret)
                            .write(KeyFiles.next(rootPath), client == null);
                    long after = holders.authority().position();
                    if (client == null) {
                        OpenTree.appendAuthority(settings, identity, change.entries(), after);
                    } else {
                        append(client, change, after, rootPath);
                    }
                    int rotation = holders.authority().rotations() + 1;
                    retired = KeyFiles.finishRotation(rootPath, nodePath, rotation, tried);
                }
                boolean nodeToo = nodeFile.isProtected() && !secret.equals(newSecret);
                print(data, rootPath, retired, old, fresh, nodeToo, change, holders.node(), graceMillis);
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        return ExitCode.OK.code();
    }

    /** Of others that change the key at this moment: the key that waits is whose it is. And no node may miss the change, since it would know none of the others after it. */
    private static void requireAlone(NodeClient client, Path rootPath, boolean clustered, String tried)
            throws NodeException {
        Path next = KeyFiles.next(rootPath);
        if (Files.exists(next, LinkOption.NOFOLLOW_LINKS)) {
            throw new NodeException(
                    ExitCode.FAILED,
                    tried,
                    next + " is there: another rotation is under way, or was cut off before it counted",
                    "wait for the other; when there is none, and the node has caught up with the others (btnode nodes), remove the file and give the command again");
        }
        List<String> away = clustered
                ? ((ControlReply.Nodes) client.call(new ControlRequest.Nodes()))
                        .nodes().stream()
                                .filter(each -> !each.connected())
                                .map(each -> each.name().isEmpty() ? each.principal() : each.name())
                                .toList()
                : List.of();
        if (!away.isEmpty()) {
            throw new NodeException(
                    ExitCode.FAILED,
                    tried,
                    "not connected: " + String.join(", ", away)
                            + "; who misses the change does not know the others any more",
                    "start what is away, or end it for good with btnode retire, and give the command again");
        }
    }

    /** Has the node that runs put in the log what is signed here: it never has a root key. */
    private static void append(NodeClient client, KeyChange change, long after, Path rootPath) throws NodeException {
        try {
            client.call(new ControlRequest.AppendAuthority(NodeClient.records(change.entries()), after));
        } catch (NodeException e) {
            if (e.exitCode() != ExitCode.USAGE) {
                throw new NodeException(
                        e.exitCode(),
                        e.tried(),
                        e.found() + "; whether the new root key counts is not known",
                        "keep " + KeyFiles.next(rootPath)
                                + ", and give the command again once the node runs: it finishes what counts",
                        e);
            }
            KeyFiles.discard(rootPath, e.tried());
            throw e;
        }
    }

    private long graceMillis() throws NodeException {
        try {
            return grace.equals("0") ? 0 : Quantity.parseMillis(grace);
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE, "to read --grace", String.valueOf(e.getMessage()), "give a time such as 7d, or 0");
        }
    }

    private void print(
            DataDirectory data,
            Path rootPath,
            @Nullable Path retired,
            Identity old,
            Identity fresh,
            boolean nodeToo,
            KeyChange change,
            PrincipalId node,
            long graceMillis) {
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("principal", fresh.id().toHex());
        value.put("fingerprint", Fingerprint.of(fresh.id()));
        value.put("root_key", rootPath.toAbsolutePath());
        value.put("retired_principal", old.id().toHex());
        value.put("retired_key", retired == null ? "" : retired.toAbsolutePath());
        value.put("grace_millis", graceMillis);
        value.put("node_key_passphrase_changed", nodeToo);
        value.put("writers", change.writers().stream().map(PrincipalId::toHex).toList());
        value.put("readers", change.readers().stream().map(PrincipalId::toHex).toList());
        output.print(value, """
                The tree has a new root key.
                  fingerprint  %s
                  root key     %s (encrypted under its passphrase%s)
                  old one      %s (under its own passphrase)
                  writers      %s
                  readers      %s
                What these writers and readers had of the old root key they have of the new one now.
                The old root key signs nothing for this tree any more%s. It opens nothing that is written from now on; with a copy of the data
                it still reads what was written before. Copies of the data directory from before need it; without such copies: shred -u %s
                Backups of the keys made before hold the old root key. Make a new one now: btnode key backup FILE --data-dir %s""".formatted(
                        Fingerprint.of(fresh.id()),
                        rootPath,
                        nodeToo ? ", which the node key has now too" : "",
                        retired,
                        list(change.writers(), node),
                        list(change.readers(), node),
                        graceMillis == 0
                                ? ""
                                : "; what it has granted to others before counts until "
                                        + Instant.ofEpochMilli(System.currentTimeMillis() + graceMillis),
                        retired,
                        Shell.word(data.path())));
    }

    private static String list(Set<PrincipalId> principals, PrincipalId node) {
        return principals.stream()
                .map(each -> Fingerprint.of(each) + (each.equals(node) ? " (this node)" : ""))
                .collect(Collectors.joining("\n" + " ".repeat(15)));
    }
}
