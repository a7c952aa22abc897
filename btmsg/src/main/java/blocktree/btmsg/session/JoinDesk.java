package blocktree.btmsg.session;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.JoinStatement;
import blocktree.crypto.NodeAdmission;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.TreeFounding;
import com.google.protobuf.ByteString;
import io.netty.util.concurrent.DefaultThreadFactory;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** What a member says to who brings an invitation: decides, and knows of no connection. Thread-safe; blocks. */
final class JoinDesk implements AutoCloseable {
    static final int NONCE_SIZE_BYTES = 32;
    static final int INVITATION_ID_SIZE_BYTES = 16;

    /** Most of whom a new node is told. */
    static final int MEMBERS_MAX = 1024;

    private static final int THREADS = 2;
    private static final int WAITING_MAX = 16;
    private static final int REFUSED_LOGGED_PER_MINUTE = 10;
    private static final SecureRandom RANDOM = new SecureRandom();

    private static final Logger log = LoggerFactory.getLogger(JoinDesk.class);

    private final PrincipalId self;
    private final Invitations invitations;
    private final Certifier certifier;
    private final ExecutorService threads;
    private final LogGate strangers = new LogGate(REFUSED_LOGGED_PER_MINUTE, 60_000);

    JoinDesk(PrincipalId self, Invitations invitations, Certifier certifier) {
        this.self = self;
        this.invitations = invitations;
        this.certifier = certifier;
        ThreadPoolExecutor executor = new ThreadPoolExecutor(
                THREADS,
                THREADS,
                10,
                TimeUnit.SECONDS,
                new ArrayBlockingQueue<>(WAITING_MAX),
                new DefaultThreadFactory("join", true));
        executor.allowCoreThreadTimeOut(true);
        this.threads = executor;
    }

    /** For what this class does. */
    ExecutorService threads() {
        return threads;
    }

    /** Whether there is room for a line on somebody who was refused. */
    boolean mayLog() {
        return strangers.mayLog();
    }

    /** Whether anybody is to be answered. */
    boolean isOpen() {
        return invitations.isAnyOpen();
    }

    /** A greeting that was answered: what is said, and what it rests on. */
    record Greeted(Invitations.Offer offer, JoinProto.JoinOffer message, JoinProto.JoinTree tree) {}

    /**
     * Whoever names no invitation learns nothing, not even whether there has been one.
     *
     * @param keyInfo of this member's certificate on the connection
     */
    Greeted greet(JoinProto.JoinHello hello, Hash keyInfo) throws JoinException, ProtocolViolation {
        if (hello.getInvitation().size() != INVITATION_ID_SIZE_BYTES
                || hello.getNonce().size() != NONCE_SIZE_BYTES) {
            throw new ProtocolViolation("not a greeting");
        }
        byte[] nonce = new byte[NONCE_SIZE_BYTES];
        RANDOM.nextBytes(nonce);
        String id = HexFormat.of().formatHex(hello.getInvitation().toByteArray());
        Invitations.Offer offer =
                invitations.offer(id, keyInfo, hello.getNonce().toByteArray(), nonce);
        if (offer == null) {
            throw noInvitation();
        }
        JoinProto.JoinTree.Builder tree = JoinProto.JoinTree.newBuilder();
        for (TreeFounding.Entry entry : certifier.foundation()) {
            tree.addRecords(JoinProto.JoinRecord.newBuilder()
                    .setKind(entry.kind().number())
                    .setPayload(FrameReader.wrap(entry.payload())));
        }
        return new Greeted(
                offer,
                JoinProto.JoinOffer.newBuilder()
                        .setNonce(FrameReader.wrap(nonce))
                        .setProof(FrameReader.wrap(offer.proof()))
                        .setRole(offer.role().wire())
                        .setTrusted(offer.role().trusted())
                        .build(),
                tree.build());
    }

    /** Makes the joiner a node if it knows the secret and is the first, or the same again. */
    JoinProto.JoinWelcome admit(Greeted greeted, JoinProto.JoinRequest request)
            throws JoinException, ProtocolViolation {
        if (!NodeRecord.isName(request.getName())) {
            throw new JoinException(
                    JoinException.Code.BAD_NAME,
                    "a node's name is 1 to 63 letters, digits, dots, underlines and hyphens, a letter or digit first");
        }
        JoinStatement statement = parse(request.getStatement());
        if (!statement.binding().equals(greeted.offer.binding())) {
            throw new ProtocolViolation("a statement for another connection");
        }
        NodeRole role = greeted.offer.role();
        try {
            switch (invitations.use(
                    greeted.offer.id(), statement, request.getProof().toByteArray())) {
                case REFUSED -> throw noInvitation();
                case TAKEN ->
                    throw new JoinException(
                            JoinException.Code.USED,
                            "another machine has used this invitation: ask for another, and for who that was");
                case GRANTED -> {}
            }
            return welcome(certify(statement.keys(), role, request.getName()));
        } catch (JoinException e) {
            throw e;
        } catch (IOException | RuntimeException e) {
            log.atError()
                    .addKeyValue("peer", statement.keys().id())
                    .addKeyValue("name", request.getName())
                    .setCause(e)
                    .log("join_failed");
            throw new JoinException(
                    JoinException.Code.FAILED,
                    "the member could not make this machine a node (" + e.getMessage()
                            + "): try again, with the same keys");
        }
    }

    private static JoinStatement parse(ByteString encoded) throws ProtocolViolation {
        try {
            return JoinStatement.parse(encoded.toByteArray());
        } catch (CryptoException e) {
            throw new ProtocolViolation(String.valueOf(e.getMessage()));
        }
    }

    private NodeAdmission certify(PrincipalKeys node, NodeRole role, String name) throws IOException {
        if (node.id().equals(self)) {
            throw new IOException("the keys are those of the member itself: a copy of its disk joins nothing");
        }
        NodeAdmission admission = certifier.certify(node, role, name);
        if (!admission.chain().subject().equals(node)
                || !role.trusted() && !admission.readCapabilities().isEmpty()) {
            throw new IllegalStateException("the admission is not that of a " + role + " with these keys");
        }
        log.atInfo()
                .addKeyValue("peer", node.id())
                .addKeyValue("role", role)
                .addKeyValue("name", name)
                .log("node_joined");
        return admission;
    }

    private JoinProto.JoinWelcome welcome(NodeAdmission admission) {
        JoinProto.JoinWelcome.Builder welcome = JoinProto.JoinWelcome.newBuilder()
                .setChain(FrameReader.wrap(admission.chain().toBytes()));
        admission
                .readCapabilities()
                .forEach(capability -> welcome.addReadCapabilities(FrameReader.wrap(capability.toBytes())));
        for (Member member : certifier.members().stream().limit(MEMBERS_MAX).toList()) {
            JoinProto.JoinMember.Builder known = JoinProto.JoinMember.newBuilder()
                    .setPrincipal(ByteString.copyFrom(member.principal().toBytes()))
                    .setNodePath(member.nodePath());
            for (InetSocketAddress address : member.addresses()) {
                known.addAddresses(JoinProto.JoinAddress.newBuilder()
                        .setHost(address.getHostString())
                        .setPort(address.getPort()));
            }
            welcome.addMembers(known);
        }
        return welcome.build();
    }

    /** The same for all reasons: whoever has no invitation cannot tell them apart. */
    private static JoinException noInvitation() {
        return new JoinException(
                JoinException.Code.NO_INVITATION,
                "the member has no such invitation: it has ended, was used or revoked, or another member has made it");
    }

    @Override
    public void close() {
        threads.shutdownNow();
    }
}
