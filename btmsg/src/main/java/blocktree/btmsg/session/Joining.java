package blocktree.btmsg.session;

import blocktree.btmsg.session.JoinException.Code;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.Identity;
import blocktree.crypto.Invitation;
import blocktree.crypto.InvitationSecret;
import blocktree.crypto.JoinStatement;
import blocktree.crypto.NodeProof;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.ReadCapability;
import blocktree.crypto.RecordKind;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapabilityChain;
import com.google.protobuf.ByteString;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.security.SecureRandom;
import java.time.Clock;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Makes this machine a node of the tree that an invitation is to (docs/joining.md). It looks first, over one connection, has a person
 * compare, and joins over another: no member waits for people. Used once, by one thread, which waits.
 */
public final class Joining {

    /** How far it is. */
    public enum Step {
        /** Looks for a member, at each address in turn. */
        REACHING,
        /** A member has proven the tree and the invitation. */
        MEMBER_FOUND,
        /** The member is to make this machine a node; takes up to a minute. */
        CERTIFYING,
        /** This machine is a node. */
        CERTIFIED
    }

    /**
     * For a person to compare with what the member's operator sees.
     *
     * @param machine this machine's keys
     * @param member who has answered
     * @param role what this machine will be
     */
    public record Comparison(PrincipalId machine, TreeId tree, PrincipalId member, NodeRole role) {

        public String machineFingerprint() {
            return Fingerprint.of(machine);
        }

        public String treeFingerprint() {
            return Fingerprint.of(tree);
        }
    }

    /** Told by the joining thread, which waits. */
    public interface Steps {

        /** {@code detail} is for people: an address, or why one was passed over. */
        void reached(Step step, String detail);

        /**
         * Whether to go on. When this returns true, the keys are on disk: whoever loses them from here on needs another invitation.
         */
        boolean accept(Comparison comparison) throws IOException;
    }

    private static final Set<RecordKind> FOUNDING = Set.of(RecordKind.GENESIS, RecordKind.DOMAIN, RecordKind.ROTATION);
    private static final int ADDRESSES_MAX = 64;
    private static final SecureRandom RANDOM = new SecureRandom();

    /** What a member has shown: itself, the tree and the invitation, all proven. */
    record Shown(
            PrincipalId member,
            NodeRole role,
            Hash binding,
            Authority authority,
            List<TreeFounding.Entry> foundation) {}

    private final Invitation invitation;
    private final Identity machine;
    private final String name;
    private final @Nullable NodeRole wish;
    private final Steps steps;
    private final Clock clock;
    private final long answerMillis;

    /**
     * @param machine stays the caller's, and open
     * @param name what the node is to be called, see {@link NodeRecord#isName}
     * @param wish the only role that will do; null: whatever the invitation is for
     */
    public Joining(Invitation invitation, Identity machine, String name, @Nullable NodeRole wish, Steps steps) {
        this(invitation, machine, name, wish, steps, Clock.systemUTC(), Limits.Times.DEFAULT.greetingMillis());
    }

    Joining(
            Invitation invitation,
            Identity machine,
            String name,
            @Nullable NodeRole wish,
            Steps steps,
            Clock clock,
            long answerMillis) {
        this.invitation = invitation;
        this.machine = machine;
        this.name = name;
        this.wish = wish;
        this.steps = steps;
        this.clock = clock;
        this.answerMillis = answerMillis;
    }

    /** Throws a {@link JoinException}, or what {@link Steps#accept} throws. */
    public Joined join() throws IOException {
        if (clock.millis() - NodeProof.CLOCK_GRACE_MILLIS >= invitation.expiresMillis()) {
            throw new JoinException(
                    Code.EXPIRED,
                    "the invitation ended at " + Instant.ofEpochMilli(invitation.expiresMillis()) + ", here it is "
                            + clock.instant() + ": ask for another, or set the clock");
        }
        List<JoinException> failures = new ArrayList<>();
        for (InetSocketAddress given : invitation.addresses()) {
            for (InetSocketAddress address : resolve(given, failures)) {
                steps.reached(Step.REACHING, address.toString());
                Shown seen;
                try (JoinConnection looking = JoinConnection.open(address, answerMillis)) {
                    seen = look(looking, address);
                } catch (JoinException e) {
                    failures.add(e);
                    continue;
                }
                steps.reached(Step.MEMBER_FOUND, address.toString());
                return joinAt(address, seen); // who knows the secret decides: no other is asked
            }
        }
        throw allOf(failures);
    }

    private static List<InetSocketAddress> resolve(InetSocketAddress given, List<JoinException> failures) {
        try {
            return Addresses.resolve(given);
        } catch (UnknownHostException e) {
            failures.add(new JoinException(Code.UNREACHABLE, "no address of " + given.getHostString(), e));
            return List.of();
        }
    }

    /** The first that says more than that nobody answers gives the code. */
    private static JoinException allOf(List<JoinException> failures) {
        Code code = failures.stream()
                .map(JoinException::code)
                .filter(one -> one != Code.UNREACHABLE)
                .findFirst()
                .orElse(Code.UNREACHABLE);
        JoinException all = new JoinException(
                code,
                String.join("; ", failures.stream().map(Throwable::getMessage).toList()));
        failures.forEach(all::addSuppressed);
        return all;
    }

    private Joined joinAt(InetSocketAddress address, Shown seen) throws IOException {
        if (wish != null && !wish.equals(seen.role)) {
            throw new JoinException(Code.OTHER_ROLE, "the invitation is for a " + seen.role + ", not a " + wish);
        }
        if (!steps.accept(new Comparison(machine.id(), seen.authority.tree(), seen.member, seen.role))) {
            throw new JoinException(Code.DECLINED, "not joined: the fingerprints were not accepted");
        }
        try (JoinConnection joining = JoinConnection.open(address, answerMillis)) {
            Shown again = look(joining, address);
            if (!again.authority.tree().equals(seen.authority.tree()) || !again.role.equals(seen.role)) {
                throw joining.badAnswer("it is of another tree, or invites to another role, than a moment ago");
            }
            return ask(joining, again);
        }
    }

    /** Says which invitation, and has the member prove all that it can. */
    private Shown look(JoinConnection connection, InetSocketAddress address) throws JoinException {
        NodeProof proof = connection.proof();
        if (!invitation.isTo(proof.tree())) {
            throw new JoinException(
                    Code.OTHER_TREE,
                    address + " is a node of another tree, " + Fingerprint.of(proof.tree())
                            + ": nothing was said to it");
        }
        try {
            proof.checkTimes(clock.millis());
        } catch (CryptoException e) {
            throw new JoinException(
                    Code.CLOCK,
                    address + " proves itself for another time than " + clock.instant()
                            + ": set the clocks of both machines",
                    e);
        }
        if (!connection.isHeard()) {
            throw new JoinException(
                    Code.NOT_AWAITED,
                    address + " takes nobody in now: the invitation has ended, was used or revoked, or another member"
                            + " has made it");
        }
        InvitationSecret secret = invitation.secret();
        byte[] nonce = new byte[JoinDesk.NONCE_SIZE_BYTES];
        RANDOM.nextBytes(nonce);
        connection.send(JoinProto.Join.newBuilder()
                .setHello(JoinProto.JoinHello.newBuilder()
                        .setInvitation(FrameReader.wrap(HexFormat.of().parseHex(secret.id())))
                        .setNonce(FrameReader.wrap(nonce))));
        JoinProto.JoinOffer offer =
                connection.receive(FrameReader.GREETING_SIZE_BYTES_MAX).getOffer();
        byte[] memberNonce = offer.getNonce().toByteArray();
        Hash binding = secret.bind(proof.tree(), proof.keyInfoHash(), nonce, memberNonce);
        if (memberNonce.length != JoinDesk.NONCE_SIZE_BYTES
                || !secret.isProof(
                        InvitationSecret.Side.MEMBER, binding, offer.getProof().toByteArray())) {
            throw new JoinException(
                    Code.UNPROVEN,
                    address + " does not know the invitation's secret: it is not who has made it, or somebody is in"
                            + " between");
        }
        // Only now is it worth the memory.
        JoinProto.JoinTree tree =
                connection.receive(FrameReader.FRAME_SIZE_BYTES_MAX).getTree();
        try {
            NodeRole role = NodeRole.of(offer.getRole(), offer.getTrusted());
            List<TreeFounding.Entry> foundation = foundation(tree);
            Authority authority = authority(proof.tree(), foundation);
            authority.checkNode(proof.chain(), judgedAtMillis());
            return new Shown(proof.subject().id(), role, binding, authority, foundation);
        } catch (CryptoException | ProtocolViolation e) {
            throw connection.badAnswer("it does not prove to be a node of the tree (" + e.getMessage() + ")");
        }
    }

    /** Clocks may differ: what begins in the next minutes has begun, what ends in them has ended. */
    private long judgedAtMillis() {
        return clock.millis() + NodeProof.CLOCK_GRACE_MILLIS;
    }

    static List<TreeFounding.Entry> foundation(JoinProto.JoinTree tree) throws CryptoException, ProtocolViolation {
        List<TreeFounding.Entry> foundation = new ArrayList<>();
        for (JoinProto.JoinRecord record : tree.getRecordsList()) {
            RecordKind kind = RecordKind.of(record.getKind());
            if (!FOUNDING.contains(kind)) {
                throw new ProtocolViolation("a record of kind " + kind);
            }
            foundation.add(new TreeFounding.Entry(kind, record.getPayload().toByteArray()));
        }
        return List.copyOf(foundation);
    }

    /** The genesis record's hash is the tree's id, whose beginning is in the invitation: so the roots are the tree's. */
    public static Authority authority(TreeId tree, List<TreeFounding.Entry> foundation) throws CryptoException {
        Authority authority = new Authority(tree);
        for (TreeFounding.Entry entry : foundation) {
            authority.apply(entry.kind(), entry.payload(), authority.position() + 1, 0);
        }
        return authority;
    }

    private Joined ask(JoinConnection connection, Shown shown) throws JoinException {
        connection.allow((1 + AnsweredJoin.CERTIFYING_FACTOR) * answerMillis);
        JoinStatement statement = JoinStatement.create(machine, shown.binding);
        byte[] proof = invitation.secret().prove(InvitationSecret.Side.JOINER, statement.id());
        connection.send(JoinProto.Join.newBuilder()
                .setRequest(JoinProto.JoinRequest.newBuilder()
                        .setStatement(FrameReader.wrap(statement.toBytes()))
                        .setProof(FrameReader.wrap(proof))
                        .setName(name)));
        steps.reached(Step.CERTIFYING, "");
        JoinProto.Join answer = connection.receive(FrameReader.FRAME_SIZE_BYTES_MAX);
        try {
            Joined joined = joined(shown, answer.getWelcome());
            steps.reached(Step.CERTIFIED, "");
            return joined;
        } catch (CryptoException | ProtocolViolation e) {
            throw connection.badAnswer("it does not make this machine a " + shown.role + " (" + e.getMessage() + ")");
        }
    }

    Joined joined(Shown shown, JoinProto.JoinWelcome welcome) throws CryptoException, ProtocolViolation {
        WriteCapabilityChain chain =
                WriteCapabilityChain.parse(welcome.getChain().toByteArray());
        if (!chain.subject().equals(machine.keys())) {
            throw new ProtocolViolation("a chain for other keys");
        }
        shown.authority.checkNode(chain, judgedAtMillis());
        List<ReadCapability> readCapabilities = new ArrayList<>();
        for (ByteString encoded : welcome.getReadCapabilitiesList()) {
            ReadCapability capability = ReadCapability.parse(encoded.toByteArray());
            if (!shown.role.trusted()
                    || !capability.recipient().equals(machine.id())
                    || !capability.tree().equals(shown.authority.tree())) {
                throw new ProtocolViolation("a read capability that is not this machine's");
            }
            readCapabilities.add(capability);
        }
        return new Joined(
                shown.authority.tree(),
                shown.role,
                chain,
                List.copyOf(readCapabilities),
                shown.foundation,
                shown.authority.roots(),
                shown.member,
                members(welcome));
    }

    private static List<Member> members(JoinProto.JoinWelcome welcome) throws ProtocolViolation {
        if (welcome.getMembersCount() > JoinDesk.MEMBERS_MAX) {
            throw new ProtocolViolation(welcome.getMembersCount() + " members, more than " + JoinDesk.MEMBERS_MAX);
        }
        List<Member> members = new ArrayList<>();
        for (JoinProto.JoinMember member : welcome.getMembersList()) {
            if (member.getPrincipal().size() != Id.SIZE
                    || member.getAddressesCount() > ADDRESSES_MAX
                    || member.getNodePath().length() > FrameReader.TEXT_CHARS_MAX) {
                throw new ProtocolViolation("not a member");
            }
            List<InetSocketAddress> addresses = new ArrayList<>();
            for (JoinProto.JoinAddress address : member.getAddressesList()) {
                if (address.getPort() < 1
                        || address.getPort() > 65535
                        || address.getHost().isEmpty()
                        || address.getHost().length() > 255) {
                    throw new ProtocolViolation("not an address");
                }
                addresses.add(InetSocketAddress.createUnresolved(address.getHost(), address.getPort()));
            }
            members.add(new Member(
                    PrincipalId.of(member.getPrincipal().toByteArray()), member.getNodePath(), List.copyOf(addresses)));
        }
        return List.copyOf(members);
    }
}
