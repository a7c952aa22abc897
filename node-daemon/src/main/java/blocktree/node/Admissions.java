package blocktree.node;

import blocktree.btmsg.ControlException;
import blocktree.btmsg.ControlHandler;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.session.Certifier;
import blocktree.btmsg.session.InvitationStore;
import blocktree.btmsg.session.Member;
import blocktree.btmsg.session.NodeRole;
import blocktree.crypto.CryptoException;
import blocktree.crypto.NodeAdmission;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.ReadCapability;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.BlockStore;
import blocktree.store.LocalTable;
import blocktree.store.StoreException;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes machines nodes that bring an invitation: what is to be signed by a root key, the command that has invited them signs, for as long as it
 * listens. The node itself never has that key. Thread-safe.
 */
final class Admissions implements Certifier, AutoCloseable {
    private static final Logger log = LoggerFactory.getLogger(Admissions.class);

    /** Whom this node has admitted, and who does not vote yet. */
    private static final String TABLE = "membership.awaited";

    private static final long ANSWER_SECONDS = 50;
    private static final long SIGN_OF_LIFE_MILLIS = 500;
    private static final long EXPIRED_GRACE_MILLIS = 60_000;

    /** Invitations end with the command that made them, or with the node: nothing of them outlives it. */
    static final class Forgetful implements InvitationStore {
        @Override
        public void put(String id, byte[] sealed) {}

        @Override
        public void delete(String id) {}

        @Override
        public Map<String, byte[]> readAll() {
            return Map.of();
        }
    }

    private record Question(PrincipalKeys keys, String name, CompletableFuture<NodeAdmission> answer) {}

    /** One who is invited. */
    private static final class Guest {
        final BlockingQueue<Question> questions = new LinkedBlockingQueue<>();
        volatile @Nullable Question asked;
        volatile @Nullable NodeAdmission admission;
        volatile @Nullable PrincipalId admitted;
    }

    private final BlockStore store;
    private final LocalTable awaited;
    private final Supplier<List<Member>> members;
    private final Function<PrincipalId, @Nullable String> invitationOf;
    private final Predicate<PrincipalId> hasCome;
    private final Map<String, Guest> guests = new ConcurrentHashMap<>();

    /** Noted as awaited, before the records that make them nodes: not yet to be looked for among the nodes. */
    private final Set<PrincipalId> admitting = ConcurrentHashMap.newKeySet();

    private volatile boolean closed;

    /**
     * @param invitationOf the invitation that somebody has used
     * @param hasCome whether there was a session with a node
     */
    Admissions(
            BlockStore store,
            Supplier<List<Member>> members,
            Function<PrincipalId, @Nullable String> invitationOf,
            Predicate<PrincipalId> hasCome) {
        this.store = store;
        this.awaited = store.local(TABLE);
        this.members = members;
        this.invitationOf = invitationOf;
        this.hasCome = hasCome;
    }

    /**
     * Serves the client that has made an invitation, until the machine is a node.
     *
     * @throws ControlException when the client is gone
     */
    void invite(String id, ControlHandler.Stream client, ControlReply.Invited invited)
            throws ControlException, NodeException, InterruptedException {
        Guest guest = new Guest();
        guests.put(id, guest);
        try {
            client.send(invited);
            while (true) {
                Question question = guest.questions.poll(SIGN_OF_LIFE_MILLIS, TimeUnit.MILLISECONDS);
                if (question != null) {
                    guest.asked = question;
                    client.send(new ControlReply.JoinAsked(
                            id, ByteString.copyFrom(question.keys.toBytes()), question.name));
                    continue;
                }
                PrincipalId admitted = guest.admitted;
                if (admitted != null && hasCome.test(admitted)) {
                    return; // it has the answer: whoever lost it would have to ask again
                }
                // Also finds out whether the client is still there.
                client.send(new ControlReply.Progress(admitted == null ? "invited" : "admitted", 0, 0));
                if (closed) {
                    throw new NodeException(
                            ExitCode.FAILED, "to wait for the machine", "the node stops", "start it, and invite again");
                }
                if (admitted == null && System.currentTimeMillis() > invited.expiresMillis() + EXPIRED_GRACE_MILLIS) {
                    throw new NodeException(
                            ExitCode.TIMED_OUT,
                            "to wait for the machine",
                            "nobody has joined before the invitation ended",
                            "invite it again: btnode invite");
                }
            }
        } finally {
            guests.remove(id);
            guest.questions.forEach(question -> question.answer.completeExceptionally(gone()));
            Question asked = guest.asked;
            if (asked != null) {
                asked.answer.completeExceptionally(gone());
            }
        }
    }

    private static IOException gone() {
        return new IOException(
                "whoever has invited this machine does not wait for it any more: ask for another invitation");
    }

    /** What the client has signed, or why it has not. */
    void answer(String invitation, byte[] chain, List<byte[]> readCapabilities, String refusal) throws NodeException {
        Guest guest = guests.get(invitation);
        Question asked = guest == null ? null : guest.asked;
        if (asked == null) {
            throw new NodeException(
                    ExitCode.FAILED, "to admit a machine", "nobody has asked with this invitation", "invite it again");
        }
        if (chain.length == 0) {
            asked.answer.completeExceptionally(new IOException(refusal));
            return;
        }
        try {
            List<ReadCapability> readable = new ArrayList<>();
            for (byte[] each : readCapabilities) {
                readable.add(ReadCapability.parse(each));
            }
            asked.answer.complete(new NodeAdmission(WriteCapabilityChain.parse(chain), List.copyOf(readable)));
        } catch (CryptoException e) {
            asked.answer.completeExceptionally(new IOException("what was signed is no capability", e));
            throw Failures.of("to admit a machine", e);
        }
    }

    @Override
    public List<TreeFounding.Entry> foundation() {
        try {
            return store.foundation();
        } catch (StoreException e) {
            throw new IllegalStateException("the records that founded the tree cannot be read", e);
        }
    }

    @Override
    public List<Member> members() {
        return members.get();
    }

    @Override
    public NodeAdmission certify(PrincipalKeys node, NodeRole role, String name) throws IOException {
        String id = invitationOf.apply(node.id());
        Guest guest = id == null ? null : guests.get(id);
        if (guest == null) {
            throw gone();
        }
        NodeAdmission before = guest.admission;
        if (before != null) {
            return before;
        }
        Question question = new Question(node, name, new CompletableFuture<>());
        guest.questions.add(question);
        try {
            NodeAdmission admission = question.answer.get(ANSWER_SECONDS, TimeUnit.SECONDS);
            admitting.add(node.id());
            if (role.kind() == NodeRole.Kind.VOTER) {
                awaited.put(node.id().toBytes(), new byte[0]);
            }
            store.appendAuthority(admission.entries());
            store.sync();
            guest.admission = admission;
            guest.admitted = node.id();
            log.atInfo()
                    .addKeyValue("peer", node.id())
                    .addKeyValue("name", name)
                    .log("node_admitted");
            return admission;
        } catch (ExecutionException e) {
            throw new IOException(
                    String.valueOf(e.getCause() == null ? e : e.getCause().getMessage()), e);
        } catch (TimeoutException e) {
            throw new IOException("whoever has invited this machine has not answered in time", e);
        } catch (StoreException e) {
            throw new IOException("it cannot be written to the tree: " + e.getMessage(), e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("the node stops", e);
        } finally {
            admitting.remove(node.id());
        }
    }

    /** Who was admitted here and does not vote yet. */
    List<PrincipalId> awaited() throws StoreException {
        List<PrincipalId> all = new ArrayList<>();
        awaited.forEach((key, value) -> all.add(PrincipalId.of(key)));
        all.removeAll(admitting);
        return all;
    }

    void forget(PrincipalId node) throws StoreException {
        awaited.delete(node.toBytes());
    }

    @Override
    public void close() {
        closed = true;
    }
}
