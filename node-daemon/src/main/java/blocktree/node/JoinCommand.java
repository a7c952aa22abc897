package blocktree.node;

import blocktree.btmsg.session.JoinException;
import blocktree.btmsg.session.Joined;
import blocktree.btmsg.session.Joining;
import blocktree.btmsg.session.Member;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.NodeRole;
import blocktree.btmsg.session.Peer;
import blocktree.cluster.StoreCopies;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.Invitation;
import blocktree.crypto.KeyFile;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.SecretBytes;
import blocktree.node.NodeSettings.NodeKeyProtection;
import blocktree.store.KeyHolders;
import blocktree.store.StoreException;
import java.io.Console;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
        name = "join",
        description = {
            "Make this machine a node of a tree that another machine has, with the code that btnode invite shows there.",
            "",
            "Makes this machine's own key, has it certified, and takes a copy of the whole tree over, verifying all of it. The node runs when btnode run starts it.",
            "",
            "When taking the copy over was cut off, the same command in the same data directory goes on with it, without a code.",
            "",
            "The code is asked for, read from --code-file, or given as CODE; every user of this machine can see a command line while it runs. "
                    + "How the node key is kept (--node-key) is as with btnode init."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class JoinCommand implements Callable<Integer> {
    private static final int ATTEMPTS = 20;
    private static final int CODE_SIZE_MAX = 4096;
    private static final long CONNECT_MILLIS = 15_000;
    private static final long PAUSE_MILLIS = 1_000;
    private static final String GIVE_AGAIN =
            "give btnode join again with the same data directory: this machine is a node, and needs no other invitation";

    @Parameters(arity = "0..1", paramLabel = "CODE", description = "What btnode invite shows.")
    private @Nullable String code;

    @Mixin
    private NodeOptions node;

    @Option(names = "--code-file", paramLabel = "FILE", description = "Read the code from FILE; - is standard input.")
    private @Nullable Path codeFile;

    @Option(
            names = "--name",
            paramLabel = "NAME",
            description =
                    "What the other nodes call this one: 1 to 63 letters, digits, dots, underlines and hyphens, a letter or digit first. Default: this machine's name.")
    private @Nullable String name;

    @Option(
            names = "--yes",
            description =
                    "Do not ask whether the tree's fingerprint is the right one. The code proves as much, if nobody has exchanged it.")
    private boolean yes;

    @Mixin
    private PassphraseOptions passphrase;

    @Mixin
    private NodeKeyOptions key;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Path directory = node.path();
        NodeRole role;
        try (ProgressLine line = new ProgressLine()) {
            role = UnfinishedJoin.isIn(directory.resolve(DataDirectory.CLUSTER))
                    ? goOn(DataDirectory.open(directory), line)
                    : begin(directory, line);
        }
        print(DataDirectory.open(directory), role);
        return ExitCode.OK.code();
    }

    private NodeRole begin(Path directory, ProgressLine line) throws NodeException {
        String tried = "to join a tree";
        String called = name == null ? NodePlace.hostName() : name;
        if (!NodeRecord.isName(called)) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    "--name " + called,
                    "give a name of 1 to 63 letters, digits, dots, underlines and hyphens, a letter or digit first");
        }
        NodeFounding founding = key.founding(directory);
        founding.check();
        try (Invitation invitation = invitation(tried);
                SecretBytes secret =
                        key.protection() == NodeKeyProtection.PASSPHRASE ? passphrase.readNew(System.err) : null;
                Identity machine = Identity.generate()) {
            founding.make(site -> join(founding, site, invitation, called, secret, machine, line));
            return takeOver(DataDirectory.open(directory), machine, line);
        }
    }

    /** After an attempt that was cut off when this machine was a node already. */
    private NodeRole goOn(DataDirectory data, ProgressLine line) throws NodeException {
        String tried = "to go on with taking the tree over";
        try {
            KeyFile file = KeyFile.read(data.nodeKey());
            try (SecretBytes secret = file.isProtected() ? passphrase.read("of the node key", System.err) : null;
                    Identity machine = file.unlock(secret)) {
                return takeOver(data, machine, line);
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
    }

    private Invitation invitation(String tried) throws NodeException {
        String text = code;
        try {
            if (text == null && codeFile != null) {
                byte[] bytes = codeFile.toString().equals("-")
                        ? System.in.readNBytes(CODE_SIZE_MAX)
                        : BoundedFile.read(codeFile, CODE_SIZE_MAX);
                text = new String(bytes, java.nio.charset.StandardCharsets.UTF_8);
            }
            Console console = System.console();
            if (text == null && console != null) {
                text = console.readLine("Code from btnode invite: ");
            }
            if (text == null || text.isBlank()) {
                throw new NodeException(
                        ExitCode.USAGE,
                        tried,
                        "no code",
                        "give what btnode invite shows on a machine that has the tree, with --code-file or on a terminal");
            }
            return Invitation.parse(text.strip());
        } catch (IOException e) {
            throw Failures.of(tried, e, "name a file that this user can read with --code-file");
        } catch (CryptoException e) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    String.valueOf(e.getMessage()),
                    "give the code as btnode invite shows it",
                    e);
        }
    }

    private NodeFounding.Founded join(
            NodeFounding founding,
            NodeFounding.Site site,
            Invitation invitation,
            String called,
            @Nullable SecretBytes secret,
            Identity machine,
            ProgressLine line)
            throws NodeException, IOException, CryptoException {
        try {
            Joined joined = new Joining(invitation, machine, called, null, new Joining.Steps() {
                        @Override
                        public void reached(Joining.Step step, String detail) {
                            line.show(
                                    switch (step) {
                                        case REACHING -> "looking for " + detail;
                                        case MEMBER_FOUND -> "found " + detail;
                                        case CERTIFYING -> "waiting to be made a node";
                                        case CERTIFIED -> "made a node";
                                    });
                        }

                        @Override
                        public boolean accept(Joining.Comparison comparison) throws IOException {
                            line.clear();
                            if (!yes && !isRightTree(comparison)) {
                                return false;
                            }
                            try {
                                site.putNodeKey(machine, comparison.tree(), secret);
                                return true;
                            } catch (CryptoException e) {
                                throw new IOException(e.getMessage(), e);
                            }
                        }
                    })
                    .join();
            NodePlace.write(
                    site.path(DataDirectory.CLUSTER),
                    called,
                    joined.members().stream().map(Member::principal).collect(Collectors.toSet()));
            UnfinishedJoin.of(joined).write(site.path(DataDirectory.CLUSTER));
            return founding.founded(joined.tree(), machine.id());
        } catch (JoinException e) {
            throw new NodeException(
                    switch (e.code()) {
                        case UNREACHABLE, BUSY -> ExitCode.FAILED;
                        case DECLINED, EXPIRED, BAD_NAME -> ExitCode.USAGE;
                        default -> ExitCode.FAILED;
                    },
                    "to join the tree",
                    String.valueOf(e.getMessage()),
                    switch (e.code()) {
                        case UNREACHABLE ->
                            "see that the node with the invitation runs, and that this machine reaches the port it listens on";
                        case NO_INVITATION, NOT_AWAITED, USED, EXPIRED, UNPROVEN, FAILED ->
                            "ask for another invitation: btnode invite";
                        default -> "do what it says, and join again; the invitation may still hold";
                    },
                    e);
        }
    }

    private boolean isRightTree(Joining.Comparison comparison) {
        Console console = System.console();
        if (console == null) {
            System.err.println("btnode: no terminal to ask on whether the tree is the right one: give --yes");
            return false;
        }
        String answer = console.readLine(
                "The tree has the fingerprint%n    %s%nThis machine will be a %s of it, with the fingerprint%n    %s%nIs it the right tree? [y/N] ",
                comparison.treeFingerprint(), comparison.role(), comparison.machineFingerprint());
        return answer != null && answer.strip().equalsIgnoreCase("y");
    }

    private static NodeRole takeOver(DataDirectory data, Identity machine, ProgressLine line) throws NodeException {
        String tried = "to take the tree over";
        try (DataDirectory.Lock lock = data.lock(false)) {
            UnfinishedJoin joined = UnfinishedJoin.read(data.cluster());
            if (!OpenTree.isWhole(data, machine)) {
                Files.deleteIfExists(data.anchor()); // of a copy that was cut off
                copy(data, joined, machine, line);
            }
            UnfinishedJoin.delete(data.cluster());
            return joined.role();
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        } catch (IOException e) {
            throw Failures.of(tried, e, GIVE_AGAIN);
        }
    }

    /** From the member that has certified this machine, or else from another. */
    private static void copy(DataDirectory data, UnfinishedJoin joined, Identity machine, ProgressLine line)
            throws NodeException, IOException, CryptoException {
        String tried = "to take the tree over";
        String called = NodePlace.joinedName(data.cluster());
        try (Messenger messenger = Membership.messenger(machine, joined.chain(), joined.authority(), called)) {
            List<Peer> peers = new ArrayList<>();
            for (Member member : joined.members()) {
                if (!member.addresses().isEmpty()) {
                    Peer peer = messenger.peer(member.principal());
                    peer.setAddresses(member.addresses());
                    peers.add(peer);
                }
            }
            String reason = "no member has an address";
            for (int attempt = 0; attempt < ATTEMPTS && !peers.isEmpty(); attempt++) {
                Peer peer = peers.get(attempt % peers.size());
                try {
                    peer.whenConnected().get(CONNECT_MILLIS, TimeUnit.MILLISECONDS);
                    StoreCopies.create(
                            peer,
                            data.tree(),
                            OpenTree.newStoreOptions(data.anchor()),
                            machine,
                            joined.tree(),
                            progress ->
                                    line.show("taking the tree over", progress.sizeBytes(), progress.totalSizeBytes()));
                    return;
                } catch (StoreException e) {
                    if (e.code() != StoreException.Code.IO) {
                        throw Failures.of(tried, e);
                    }
                    reason = String.valueOf(e.getMessage());
                } catch (ExecutionException | TimeoutException e) {
                    reason = peer.principal() + " is not reached";
                }
                line.show("taking the tree over: " + reason + "; trying again");
                TimeUnit.MILLISECONDS.sleep(PAUSE_MILLIS);
            }
            throw new NodeException(
                    ExitCode.FAILED,
                    tried,
                    reason,
                    "see what the log of the node with the invitation says; then " + GIVE_AGAIN);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(ExitCode.FAILED, tried, "interrupted", GIVE_AGAIN, e);
        }
    }

    private void print(DataDirectory data, NodeRole role) throws NodeException {
        KeyHolders holders = OpenTree.keyHolders(data.tree());
        String called;
        try {
            called = NodePlace.joinedName(data.cluster());
        } catch (IOException e) {
            throw Failures.of("to show what this node is called", e, "check the permissions of " + data.cluster());
        }
        String fingerprint = Fingerprint.of(holders.authority().tree());
        NodeKeyProtection protection = data.settings().nodeKey();
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("tree", holders.authority().tree().toHex());
        value.put("fingerprint", fingerprint);
        value.put("principal", holders.node().toHex());
        value.put("name", called);
        value.put("role", role.toString());
        value.put("data_directory", data.path());
        value.put("node_key", data.nodeKey());
        String next = protection == NodeKeyProtection.CREDENTIAL
                ? NodeKeys.intoCredentialStore(data.nodeKey())
                : "btnode run --data-dir " + Shell.word(data.path()) + " --listen 0.0.0.0:9274"
                        + (role.trusted() ? " --mount MOUNTPOINT" : "");
        output.print(value, """
                This machine is a %s of the tree, and has a copy of it.
                  tree      %s
                  node      %s (%s)
                  data      %s
                  node key  %s (%s)
                Next: %s""".formatted(
                        role,
                        fingerprint,
                        called,
                        Fingerprint.of(holders.node()),
                        data.path(),
                        data.nodeKey(),
                        Choice.label(protection),
                        next));
    }
}
