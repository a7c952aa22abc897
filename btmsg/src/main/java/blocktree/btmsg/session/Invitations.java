package blocktree.btmsg.session;

import static java.nio.charset.StandardCharsets.US_ASCII;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.Identity;
import blocktree.crypto.Invitation;
import blocktree.crypto.InvitationSecret;
import blocktree.crypto.JoinStatement;
import blocktree.crypto.LocalCipher;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.TreeId;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.time.Clock;
import java.time.Duration;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The invitations of this member: made, listed, revoked, used up (docs/joining.md). Others of the tree know nothing of them. What is
 * kept is sealed for this node. Thread-safe; what changes something waits for the store.
 */
public final class Invitations implements AutoCloseable {

    /** How long an invitation holds unless something else is asked for. */
    public static final Duration LIFE = Duration.ofHours(24);

    /** Proofs that fail until an invitation is used up: somebody knows its id, and tries. */
    public static final int FAILED_PROOFS_MAX = 10;

    /** Most at a time. */
    public static final int COUNT_MAX = 256;

    private static final int VERSION = 1;

    private static final Logger log = LoggerFactory.getLogger(Invitations.class);

    /**
     * An invitation, without what would let anybody use it.
     *
     * @param usedBy who has used it, and alone may come again; null: nobody yet
     */
    public record Listed(
            String id,
            NodeRole role,
            long expiresMillis,
            int failedProofs,
            @Nullable PrincipalId usedBy) {}

    /** What has become of a try to use an invitation. */
    enum Use {
        /** By these keys, now or before. */
        GRANTED,
        /** Other keys were first. */
        TAKEN,
        /** The proof is wrong, or there is no such invitation. */
        REFUSED
    }

    /**
     * Of an invitation to who has named it.
     *
     * @param binding what both sides prove over
     * @param proof that this member knows the secret
     */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, and never compared
    record Offer(String id, Hash binding, byte[] proof, NodeRole role) {}

    private record Entry(
            InvitationSecret secret,
            NodeRole role,
            long expiresMillis,
            int failedProofs,
            @Nullable PrincipalId usedBy) {

        Entry withFailedProof() {
            return new Entry(secret, role, expiresMillis, failedProofs + 1, usedBy);
        }

        Entry withUser(PrincipalId user) {
            return new Entry(secret, role, expiresMillis, failedProofs, user);
        }
    }

    private final TreeId tree;
    private final InvitationStore store;
    private final Clock clock;
    private final LocalCipher cipher;

    /** Changed under the monitor, which is held while the store is written to; read without it. */
    private final Map<String, Entry> entries = new ConcurrentHashMap<>();

    /** Takes up what {@code store} has. {@code node} is the one that this process runs; it may be closed afterwards. */
    public Invitations(TreeId tree, Identity node, InvitationStore store, Clock clock) throws IOException {
        this.tree = tree;
        this.store = store;
        this.clock = clock;
        this.cipher = new LocalCipher(tree, node);
        for (Map.Entry<String, byte[]> row : store.readAll().entrySet()) {
            try {
                entries.put(row.getKey(), read(row.getKey(), row.getValue()));
            } catch (CryptoException
                    | InvalidProtocolBufferException
                    | IllegalArgumentException
                    | ProtocolViolation e) {
                log.atWarn()
                        .addKeyValue("invitation", row.getKey())
                        .addKeyValue("reason", e.getMessage())
                        .log("invitation_unreadable");
            }
        }
        forgetExpired();
    }

    /**
     * Invites one machine.
     *
     * @param addresses where this member is reached, and others that have been given the invitation
     * @throws IllegalArgumentException when an address is none to connect to, or they do not fit into a code
     * @throws IllegalStateException when there are {@link #COUNT_MAX} already
     */
    public synchronized Invitation create(NodeRole role, List<InetSocketAddress> addresses, Duration life)
            throws IOException {
        forgetExpired();
        if (entries.size() >= COUNT_MAX) {
            throw new IllegalStateException("there are " + COUNT_MAX + " invitations: revoke those that nobody needs");
        }
        Invitation made = Invitation.create(tree, addresses, clock.millis() + life.toMillis());
        byte[] secret = made.secret().reveal(); // its own copy: the caller closes the invitation
        put(made.secret().id(), new Entry(InvitationSecret.takeOver(secret), role, made.expiresMillis(), 0, null));
        return made;
    }

    /** Those that hold, the one that ends first at the beginning. */
    public List<Listed> list() {
        return entries.entrySet().stream()
                .filter(row -> holds(row.getValue()))
                .map(row -> new Listed(
                        row.getKey(),
                        row.getValue().role,
                        row.getValue().expiresMillis,
                        row.getValue().failedProofs,
                        row.getValue().usedBy))
                .sorted(Comparator.comparingLong(Listed::expiresMillis))
                .toList();
    }

    /** Whether there was one; whoever it has made a node stays one. */
    public synchronized boolean revoke(String id) throws IOException {
        boolean held = entries.containsKey(id) && holds(entries.get(id));
        remove(id);
        return held;
    }

    /** Whether anybody is to be answered who brings one. */
    boolean isAnyOpen() {
        return entries.values().stream().anyMatch(this::holds);
    }

    /**
     * What to show to somebody who names an invitation; null when there is none that holds.
     *
     * @param keyInfo of this member's certificate on the connection
     */
    synchronized @Nullable Offer offer(String id, Hash keyInfo, byte[] joinerNonce, byte[] memberNonce) {
        Entry entry = find(id);
        if (entry == null) {
            return null;
        }
        Hash binding = entry.secret.bind(tree, keyInfo, joinerNonce, memberNonce);
        return new Offer(id, binding, entry.secret.prove(InvitationSecret.Side.MEMBER, binding), entry.role);
    }

    private @Nullable Entry find(String id) {
        Entry entry = entries.get(id);
        return entry == null || !holds(entry) ? null : entry;
    }

    /** Uses an invitation for the keys in {@code statement}, or counts the failure. */
    synchronized Use use(String id, JoinStatement statement, byte[] proof) throws IOException {
        Entry entry = find(id);
        if (entry == null) {
            return Use.REFUSED;
        }
        PrincipalId user = statement.keys().id();
        if (!entry.secret.isProof(InvitationSecret.Side.JOINER, statement.id(), proof)) {
            countFailure(id, entry.withFailedProof());
            return Use.REFUSED;
        }
        if (entry.usedBy == null) {
            put(id, entry.withUser(user));
            return Use.GRANTED;
        }
        return entry.usedBy.equals(user) ? Use.GRANTED : Use.TAKEN;
    }

    private void countFailure(String id, Entry counted) throws IOException {
        if (counted.failedProofs < FAILED_PROOFS_MAX) {
            entries.put(id, counted); // counts, whether or not the store has room
            put(id, counted);
            return;
        }
        log.atWarn().addKeyValue("invitation", id).log("invitation_used_up");
        remove(id);
    }

    private boolean holds(Entry entry) {
        return clock.millis() < entry.expiresMillis;
    }

    private synchronized void forgetExpired() throws IOException {
        for (Map.Entry<String, Entry> row : entries.entrySet()) {
            if (!holds(row.getValue())) {
                remove(row.getKey());
            }
        }
    }

    private void remove(String id) throws IOException {
        Entry gone = entries.remove(id); // first: what cannot be deleted is not to be used either
        if (gone != null) {
            gone.secret.close();
            store.delete(id);
        }
    }

    private void put(String id, Entry entry) throws IOException {
        byte[] secret = entry.secret.reveal();
        JoinProto.InvitationRecord.Builder row = JoinProto.InvitationRecord.newBuilder()
                .setVersion(VERSION)
                .setSecret(ByteString.copyFrom(secret))
                .setRole(entry.role.wire())
                .setTrusted(entry.role.trusted())
                .setExpiresMillis(entry.expiresMillis)
                .setFailedProofs(entry.failedProofs);
        if (entry.usedBy != null) {
            row.setUsedBy(ByteString.copyFrom(entry.usedBy.toBytes()));
        }
        byte[] plaintext = row.build().toByteArray();
        store.put(id, cipher.seal(place(id), plaintext));
        Arrays.fill(plaintext, (byte) 0);
        Arrays.fill(secret, (byte) 0);
        entries.put(id, entry);
    }

    private Entry read(String id, byte[] sealed)
            throws CryptoException, InvalidProtocolBufferException, ProtocolViolation {
        byte[] plaintext = cipher.open(place(id), sealed);
        try {
            JoinProto.InvitationRecord row = JoinProto.InvitationRecord.parseFrom(plaintext);
            if (row.getVersion() != VERSION) {
                throw new ProtocolViolation("an invitation of version " + row.getVersion());
            }
            return new Entry(
                    InvitationSecret.takeOver(row.getSecret().toByteArray()),
                    NodeRole.of(row.getRole(), row.getTrusted()),
                    row.getExpiresMillis(),
                    row.getFailedProofs(),
                    row.getUsedBy().size() == Id.SIZE
                            ? PrincipalId.of(row.getUsedBy().toByteArray())
                            : null);
        } finally {
            Arrays.fill(plaintext, (byte) 0);
        }
    }

    private static byte[] place(String id) {
        return ("invitation\0" + id).getBytes(US_ASCII);
    }

    /** Forgets the secrets; the store keeps them. */
    @Override
    public synchronized void close() {
        entries.values().forEach(entry -> entry.secret.close());
        entries.clear();
        cipher.close();
    }
}
