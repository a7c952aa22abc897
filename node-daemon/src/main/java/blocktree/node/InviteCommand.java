package blocktree.node;

import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.btmsg.session.NodeRole;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainKey;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.KeyRing;
import blocktree.crypto.NodeAdmission;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.ReadCapability;
import blocktree.crypto.SecretBytes;
import blocktree.store.KeyHolders;
import com.google.protobuf.ByteString;
import java.nio.file.Path;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

@Command(
        name = "invite",
        description = {
            "Take another machine in: it gets a copy of the whole tree, keeps it up to date, and votes on the order of writes.",
            "",
            "With --role replica it does not vote; btnode promote changes that later. With --blind it is a replica that is given no key: it stores, verifies and serves what it cannot read, "
                    + "and neither writes nor votes. That is for machines of others, such as rented ones.",
            "",
            "Shows a code for btnode join on the new machine, and waits until it was used. The code is for one machine; it ends with this command, with the node, or at its time. "
                    + "Whoever has the code can join, so give it to nobody else; it is no key, and worth nothing afterwards.",
            "",
            "The root key signs for the new node. It stays in this process, which asks for its passphrase before it shows the code; the running node never sees it."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class InviteCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private PassphraseOptions passphrase;

    @Option(names = "--root-key", paramLabel = "KEYFILE", description = KeyPlaceOptions.ROOT_ELSEWHERE)
    private @Nullable Path rootKey;

    @Option(
            names = "--expires",
            paramLabel = "TIME",
            defaultValue = "1h",
            description = "How long the code holds, such as 10m or 1d. Default: ${DEFAULT-VALUE}.")
    private String expires = "1h";

    enum Role {
        VOTER,
        REPLICA
    }

    @Option(
            names = "--role",
            paramLabel = "voter|replica",
            description = "Whether the machine will vote. Default: voter; replica with --blind.")
    private @Nullable Role role;

    @Option(names = "--blind", description = "Give the machine no key: it can read nothing.")
    private boolean blind;

    @Option(
            names = "--ask",
            description =
                    "Show the fingerprint of the machine that joins, and ask before it is made a node; it waits for a minute at most.")
    private boolean ask;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        String tried = "to invite a machine";
        long lifeMillis = lifeMillis(tried);
        if (blind && role == Role.VOTER) {
            throw new NodeException(
                    ExitCode.USAGE,
                    tried,
                    "--blind with --role voter: who agrees on the order of writes has to be trusted",
                    "leave one of them out");
        }
        DataDirectory data = node.open();
        Path rootPath = KeyPlaceOptions.of(rootKey).rootKey(data);
        if (ask && System.console() == null) {
            throw new NodeException(
                    ExitCode.USAGE, tried, "--ask without a terminal", "leave it out, or use a terminal");
        }
        NodeClient.require(data.path()).close(); // before anybody types a passphrase
        try {
            KeyFile file = NodeKeys.readRoot(rootPath, OpenTree.keyHolders(data.tree()), tried);
            try (SecretBytes secret = passphrase.read("of the root key", System.err);
                    Identity root = file.unlock(secret)) {
                invite(data, root, lifeMillis);
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
        return ExitCode.OK.code();
    }

    private long lifeMillis(String tried) throws NodeException {
        try {
            long millis = Quantity.parseMillis(expires);
            if (millis >= 60_000) {
                return millis;
            }
        } catch (IllegalArgumentException e) {
            // answered like what is too short
        }
        throw new NodeException(
                ExitCode.USAGE, tried, "--expires " + expires, "give a time of at least a minute, such as 1h");
    }

    private void invite(DataDirectory data, Identity root, long lifeMillis) throws NodeException {
        BlockingQueue<ControlReply> parts = new LinkedBlockingQueue<>();
        try (NodeClient waiting = NodeClient.require(data.path());
                NodeClient answering = NodeClient.require(data.path())) {
            CompletableFuture<ControlReply> end = CompletableFuture.supplyAsync(() -> {
                try {
                    return waiting.check(new ControlRequest.Invite(lifeMillis, votes(), !blind), parts::add);
                } catch (NodeException e) {
                    return Failures.toReply(e);
                }
            });
            ControlReply.JoinAsked asked = null;
            while (!end.isDone() || !parts.isEmpty()) {
                ControlReply part = parts.poll(100, TimeUnit.MILLISECONDS);
                if (part instanceof ControlReply.Invited invited) {
                    show(data, invited);
                } else if (part instanceof ControlReply.JoinAsked question) {
                    asked = question;
                    answering.call(answer(data, root, question));
                }
            }
            if (end.get() instanceof ControlReply.Failed failed) {
                throw Failures.of(failed);
            }
            joined(data, Objects.requireNonNull(asked));
        } catch (InterruptedException | ExecutionException e) {
            throw new IllegalStateException(e);
        }
    }

    private boolean votes() {
        return !blind && role != Role.REPLICA;
    }

    private void show(DataDirectory data, ControlReply.Invited invited) throws NodeException {
        String tree =
                Fingerprint.of(OpenTree.keyHolders(data.tree()).authority().tree());
        Map<String, Object> value = new LinkedHashMap<>();
        value.put("code", invited.code());
        value.put("expires", Instant.ofEpochMilli(invited.expiresMillis()));
        value.put("tree_fingerprint", tree);
        output.print(value, """
                On the new machine:  btnode join --data-dir DIR
                It asks for this code, which holds until %s:

                    %s

                It shows the tree's fingerprint, which has to be
                    %s
                Waiting for it; Ctrl-C takes the invitation back.""".formatted(Instant.ofEpochMilli(invited.expiresMillis()), invited.code(), tree));
    }

    private ControlRequest answer(DataDirectory data, Identity root, ControlReply.JoinAsked question)
            throws NodeException {
        String tried = "to sign for the new node";
        try {
            PrincipalKeys keys = PrincipalKeys.parse(question.keys().toByteArray());
            if (ask && !confirm(question.name(), Fingerprint.of(keys.id()))) {
                return new ControlRequest.Admit(
                        question.invitation(), ByteString.EMPTY, List.of(), "whoever has invited this machine said no");
            }
            KeyHolders holders = OpenTree.keyHolders(data.tree());
            Authority authority = holders.authority();
            try (KeyRing ring = new KeyRing(root, authority)) {
                DomainKey key = ring.currentKey(
                        Objects.requireNonNull(authority.rootDomain()).domain());
                NodeRole given = new NodeRole(votes() ? NodeRole.Kind.VOTER : NodeRole.Kind.REPLICA, !blind);
                NodeAdmission admission = NodeAdmission.create(
                        authority,
                        root,
                        keys,
                        given.rights(),
                        blind ? List.of() : List.of(key),
                        System.currentTimeMillis());
                return new ControlRequest.Admit(
                        question.invitation(),
                        ByteString.copyFrom(admission.chain().toBytes()),
                        admission.readCapabilities().stream()
                                .map(ReadCapability::toBytes)
                                .map(ByteString::copyFrom)
                                .toList(),
                        "");
            }
        } catch (CryptoException e) {
            throw Failures.of(tried, e);
        }
    }

    private static boolean confirm(String name, String fingerprint) {
        String answer = Objects.requireNonNull(System.console())
                .readLine("%s asks to join. Its fingerprint:%n    %s%nTake it in? [y/N] ", name, fingerprint);
        return answer != null && answer.strip().equalsIgnoreCase("y");
    }

    private void joined(DataDirectory data, ControlReply.JoinAsked asked) throws NodeException {
        try {
            PrincipalKeys keys = PrincipalKeys.parse(asked.keys().toByteArray());
            Map<String, Object> value = new LinkedHashMap<>();
            value.put("principal", keys.id().toHex());
            value.put("fingerprint", Fingerprint.of(keys.id()));
            value.put("name", asked.name());
            output.print(value, """
                    %s is a node of the tree now, and takes a copy of it.
                      fingerprint  %s
                    It %s as soon as it runs; see: btnode nodes --data-dir %s""".formatted(
                    asked.name(), Fingerprint.of(keys.id()), votes() ? "votes" : "follows", Shell.word(data.path())));
        } catch (CryptoException e) {
            throw Failures.of("to show who has joined", e);
        }
    }
}
