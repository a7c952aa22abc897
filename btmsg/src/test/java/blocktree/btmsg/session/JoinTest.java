package blocktree.btmsg.session;

import static blocktree.btmsg.session.Eventually.assertEventually;
import static java.util.concurrent.CompletableFuture.completedFuture;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.session.JoinException.Code;
import blocktree.btmsg.session.SessionProto.Frame;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.Invitation;
import blocktree.crypto.InvitationSecret;
import blocktree.crypto.InvitationSecret.Side;
import blocktree.crypto.JoinStatement;
import blocktree.crypto.KeyChange;
import blocktree.crypto.KeyFile;
import blocktree.crypto.KeyRing;
import blocktree.crypto.NodeProof;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import com.google.protobuf.ByteString;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.X509Certificate;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLSocket;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

/** Machines are taken in by a member that listens on loopback, through either TLS; whoever should not be is not. */
@Timeout(180)
@ParameterizedClass
@EnumSource(Platform.class)
class JoinTest {
    private static final NodeRole REPLICA = new NodeRole(NodeRole.Kind.REPLICA, true);
    private static final NodeRole BLIND = new NodeRole(NodeRole.Kind.REPLICA, false);
    private static final long ANSWER_MILLIS = 20_000;

    @TempDir
    Path directory;

    private final TestTree tree = new TestTree();
    private final Identity machine = Identity.generate();
    private final Platform platform;
    private final TestNode host;
    private TestCertifier certifier = new TestCertifier(tree);
    private final List<Joining.Step> steps = new ArrayList<>();
    private final List<Joining.Comparison> compared = new ArrayList<>();
    private final long[] memberMillis = {System.currentTimeMillis()};
    private final Clock membersClock = clock(memberMillis);
    private @Nullable Invitations opened;

    JoinTest(Platform platform) {
        this.platform = platform;
        host = new TestNode(tree, platform);
        host.messenger.register(Service.ofMessages("echo", 2, 100, call -> completedFuture(call.body())));
    }

    private static Clock clock(long[] millis) {
        return new Clock() {
            @Override
            public java.time.ZoneId getZone() {
                return ZoneOffset.UTC;
            }

            @Override
            public Clock withZone(java.time.ZoneId zone) {
                return this;
            }

            @Override
            public Instant instant() {
                return Instant.ofEpochMilli(millis[0]);
            }
        };
    }

    private Path rows() throws IOException {
        return Files.createDirectories(directory.resolve("invitations"));
    }

    private Invitations invitations(Identity node) throws IOException {
        return new Invitations(tree.tree, node, new FileInvitations(rows()), membersClock);
    }

    /** Those of the host, which takes joiners from here on. */
    private Invitations invitations() throws IOException {
        if (opened == null) {
            opened = invitations(host.identity);
            host.messenger.welcomeJoiners(opened, certifier);
        }
        return opened;
    }

    private Invitation invite(NodeRole role) throws IOException {
        return invitations().create(role, List.of(host.address), Invitations.LIFE);
    }

    @AfterEach
    void close() {
        host.close();
        if (opened != null) {
            opened.close();
        }
    }

    private final class Recorded implements Joining.Steps {
        private final boolean accepts;

        Recorded(boolean accepts) {
            this.accepts = accepts;
        }

        @Override
        public void reached(Joining.Step step, String detail) {
            steps.add(step);
        }

        @Override
        public boolean accept(Joining.Comparison comparison) {
            compared.add(comparison);
            return accepts;
        }
    }

    private Joining joining(Invitation invitation, Identity who) {
        return new Joining(invitation, who, "new-node", null, new Recorded(true), Clock.systemUTC(), ANSWER_MILLIS);
    }

    private Joined join(Invitation invitation) throws IOException {
        return joining(invitation, machine).join();
    }

    private static JoinException assertFails(Code code, Joining joining) {
        JoinException e = assertThrows(JoinException.class, joining::join);
        assertEquals(code, e.code(), e.getMessage());
        return e;
    }

    private JoinException assertFails(Code code, Invitation invitation) {
        return assertFails(code, joining(invitation, machine));
    }

    private void assertStillOpen(Invitation invitation) throws Exception {
        assertEquals(tree.tree, join(invitation).tree());
    }

    private static Invitation read(Invitation made) throws CryptoException {
        return Invitation.parse(made.toCode());
    }

    @Test
    void aMachineJoinsAndTalksAsANode() throws Exception {
        certifier.members = List.of(
                new Member(host.id(), "/test", List.of(host.address)),
                new Member(Identity.generate().id(), "/other", List.of(InetSocketAddress.createUnresolved("nas", 9))));
        Path keyFile = directory.resolve("node.key");
        Joining.Steps keeping = new Joining.Steps() {
            @Override
            public void reached(Joining.Step step, String detail) {
                steps.add(step);
            }

            @Override
            public boolean accept(Joining.Comparison comparison) throws IOException {
                compared.add(comparison);
                try {
                    KeyFile.unprotected(machine, KeyFile.Role.NODE, comparison.tree())
                            .write(keyFile, false);
                } catch (CryptoException e) {
                    throw new IOException(e);
                }
                return true;
            }
        };
        Joined joined = new Joining(read(invite(REPLICA)), machine, "new-node", REPLICA, keeping).join();

        assertEquals(List.of(new Joining.Comparison(machine.id(), tree.tree, host.id(), REPLICA)), compared);
        assertEquals(List.of(Joining.Step.values()), steps);
        assertEquals(tree.tree, joined.tree());
        assertEquals(REPLICA, joined.role());
        assertEquals(List.of(tree.root.keys()), joined.roots());
        assertEquals(host.id(), joined.member());
        assertEquals(
                List.of(host.id(), certifier.members.get(1).principal()),
                joined.members().stream().map(Member::principal).toList());
        assertEquals(
                List.of(InetSocketAddress.createUnresolved("127.0.0.1", host.address.getPort())),
                joined.members().get(0).addresses());
        assertEquals(List.of("new-node"), certifier.names());

        try (Identity kept = KeyFile.read(keyFile).unlock(null);
                KeyRing ring = new KeyRing(kept, tree.authority);
                KeyRing rootsRing = new KeyRing(tree.root, tree.authority);
                TestNode node = new TestNode(
                        tree, kept, joined.chain(), options -> options.withPlatform(platform), Protocol.CURRENT)) {
            assertArrayEquals(
                    rootsRing.currentKey(tree.top).commitment().toBytes(),
                    ring.currentKey(tree.top).commitment().toBytes());
            assertArrayEquals(
                    new byte[] {1, 2},
                    node.connect(host)
                            .request("echo", new byte[] {1, 2}, Duration.ofSeconds(20))
                            .get(30, TimeUnit.SECONDS));
        }
    }

    @Test
    void aBlindRoleGetsNoReadCapability() throws Exception {
        Joined joined = join(invite(BLIND));
        assertEquals(BLIND, joined.role());
        assertEquals(List.of(), joined.readCapabilities());
        assertEquals(Rights.NODE, joined.chain().links().get(0).rights());
        try (KeyRing ring = new KeyRing(machine, tree.authority)) {
            assertThrows(CryptoException.class, () -> ring.currentKey(tree.top));
        }
        assertEquals(
                1,
                joining(invite(REPLICA), Identity.generate())
                        .join()
                        .readCapabilities()
                        .size());
        certifier.careless = true;
        assertFails(Code.FAILED, joining(invite(BLIND), Identity.generate()));
    }

    @Test
    void rolesGiveNoMoreRightsThanTheyNeed() {
        assertEquals(new Rights(1 | 4 | 8), new NodeRole(NodeRole.Kind.VOTER, true).rights());
        assertEquals(new Rights(1 | 8), new NodeRole(NodeRole.Kind.CLIENT, true).rights());
        assertEquals(Rights.NODE, new NodeRole(NodeRole.Kind.VOTER, false).rights());
    }

    @Test
    void whoeverComparesMaySayNoAndNothingWasUsed() throws Exception {
        Invitation invitation = invite(REPLICA);
        assertFails(
                Code.DECLINED,
                new Joining(invitation, machine, "n", null, new Recorded(false), Clock.systemUTC(), ANSWER_MILLIS));
        NodeRole wish = new NodeRole(NodeRole.Kind.VOTER, true);
        assertFails(
                Code.OTHER_ROLE,
                new Joining(invitation, machine, "n", wish, new Recorded(true), Clock.systemUTC(), ANSWER_MILLIS));
        assertFails(
                Code.BAD_NAME,
                new Joining(invitation, machine, "a/b", null, new Recorded(true), Clock.systemUTC(), ANSWER_MILLIS));
        assertEquals(List.of(), certifier.names());
        assertNull(invitations().list().get(0).usedBy());
        joining(invitation, Identity.generate()).join();
    }

    @Test
    void anInvitationThatNobodyMadeIsNone() throws Exception {
        Invitation invented =
                Invitation.create(tree.tree, List.of(host.address), System.currentTimeMillis() + 3_600_000);
        assertFails(Code.NOT_AWAITED, invented); // before there is any
        Invitation other = invite(REPLICA);
        assertFails(Code.NO_INVITATION, invented);
        assertEquals(List.of(), compared);
        assertStillOpen(other);
    }

    @Test
    void whoIsOfAnotherTreeIsToldNothing() throws Exception {
        TestTree another = new TestTree();
        Identity node = Identity.generate();
        NodeCertificate shown = NodeCertificate.create(node, another.chain(node), System.currentTimeMillis());
        try (FakeMember member = new FakeMember(shown, joiner -> {})) {
            Invitation invitation =
                    invitations().create(REPLICA, List.of(member.address, host.address), Invitations.LIFE);
            assertEquals(host.id(), join(invitation).member()); // the next address is
            assertEquals(0, member.unread.take().length);
            Invitation onlyThere = invitations().create(REPLICA, List.of(member.address), Invitations.LIFE);
            assertFails(Code.OTHER_TREE, onlyThere);
            assertEquals(0, member.unread.take().length);
        }
    }

    @Test
    void anInvitationEnds() throws Exception {
        Invitation invitation = invitations().create(REPLICA, List.of(host.address), Duration.ofMinutes(10));
        long[] joinersMillis = {invitation.expiresMillis() + NodeProof.CLOCK_GRACE_MILLIS};
        assertFails(
                Code.EXPIRED,
                new Joining(invitation, machine, "n", null, new Recorded(true), clock(joinersMillis), ANSWER_MILLIS));
        memberMillis[0] = invitation.expiresMillis() - 1; // whatever the joiner's clock says
        Invitation longer = invitations().create(REPLICA, List.of(host.address), Duration.ofMinutes(10));
        assertEquals(2, invitations().list().size());
        memberMillis[0]++;
        assertEquals(
                List.of(longer.secret().id()),
                invitations().list().stream().map(Invitations.Listed::id).toList());
        assertFails(Code.NO_INVITATION, invitation);
        memberMillis[0] = longer.expiresMillis();
        assertFails(Code.NOT_AWAITED, longer);
        invitations(host.identity).close(); // takes the rows of those that have ended away
        assertEquals(List.of(), new FileInvitations(rows()).files());
    }

    @Test
    void anInvitationIsForOneMachineWhichMayComeAgain() throws Exception {
        Invitation invitation = invite(REPLICA);
        Joined first = join(invitation);
        assertFails(Code.USED, joining(invitation, Identity.generate()));
        assertEquals(machine.id(), invitations().list().get(0).usedBy());
        assertEquals(first.chain().id(), join(invitation).chain().id());
    }

    @Test
    void aRevokedInvitationIsNone() throws Exception {
        Invitation invitation = invite(REPLICA);
        Invitation other = invite(REPLICA);
        assertTrue(invitations().revoke(invitation.secret().id()));
        assertFalse(invitations().revoke(invitation.secret().id()));
        assertFails(Code.NO_INVITATION, invitation);
        assertStillOpen(other);
    }

    // Somebody who speaks the protocol, and has not what it takes

    private static JoinProto.Join.Builder hello(Invitation invitation, byte[] nonce) {
        return hello(HexFormat.of().parseHex(invitation.secret().id()), nonce);
    }

    private static JoinProto.Join.Builder hello(byte[] id, byte[] nonce) {
        return JoinProto.Join.newBuilder()
                .setHello(JoinProto.JoinHello.newBuilder()
                        .setInvitation(ByteString.copyFrom(id))
                        .setNonce(ByteString.copyFrom(nonce)));
    }

    private static JoinProto.Join.Builder request(JoinStatement statement, byte[] proof) {
        return JoinProto.Join.newBuilder()
                .setRequest(JoinProto.JoinRequest.newBuilder()
                        .setStatement(ByteString.copyFrom(statement.toBytes()))
                        .setProof(ByteString.copyFrom(proof))
                        .setName("n"));
    }

    /** Greeted by the host; gives what both are to prove over. */
    private Hash greet(JoinConnection connection, Invitation invitation) throws Exception {
        byte[] nonce = new byte[32];
        connection.send(hello(invitation, nonce));
        JoinProto.JoinOffer offer = connection.receive(1 << 20).getOffer();
        assertTrue(connection.receive(1 << 20).hasTree());
        return invitation
                .secret()
                .bind(
                        tree.tree,
                        connection.proof().keyInfoHash(),
                        nonce,
                        offer.getNonce().toByteArray());
    }

    /** The code of what the host answers. */
    private static Code refusal(JoinConnection connection) {
        return assertThrows(JoinException.class, () -> connection.receive(1 << 20))
                .code();
    }

    private void proveWrongly(Invitation invitation) throws Exception {
        try (JoinConnection connection = JoinConnection.open(host.address, ANSWER_MILLIS)) {
            JoinStatement statement = JoinStatement.create(machine, greet(connection, invitation));
            connection.send(request(statement, new byte[32]));
            assertEquals(Code.NO_INVITATION, refusal(connection));
        }
    }

    @Test
    void tenWrongProofsUseAnInvitationUp() throws Exception {
        Invitation almost = invite(REPLICA);
        Invitation tried = invite(REPLICA);
        for (int i = 1; i < Invitations.FAILED_PROOFS_MAX; i++) {
            proveWrongly(almost);
            proveWrongly(tried);
        }
        assertEquals(9, invitations().list().get(0).failedProofs());
        proveWrongly(tried);
        assertFails(Code.NO_INVITATION, tried);
        assertStillOpen(almost);
    }

    @Test
    void aProofIsForOneConnectionAndOneStatement() throws Exception {
        Invitation invitation = invite(REPLICA);
        InvitationSecret secret = invitation.secret();
        try (JoinConnection one = JoinConnection.open(host.address, ANSWER_MILLIS);
                JoinConnection other = JoinConnection.open(host.address, ANSWER_MILLIS);
                JoinConnection third = JoinConnection.open(host.address, ANSWER_MILLIS)) {
            JoinStatement ofOne = JoinStatement.create(machine, greet(one, invitation));
            JoinStatement ofOther = JoinStatement.create(machine, greet(other, invitation));
            greet(third, invitation);
            other.send(request(ofOther, secret.prove(Side.JOINER, ofOne.id())));
            assertEquals(Code.NO_INVITATION, refusal(other));
            third.send(request(ofOne, secret.prove(Side.JOINER, ofOne.id())));
            assertEquals(Code.UNREACHABLE, refusal(third)); // closed
            one.send(request(ofOne, secret.prove(Side.MEMBER, ofOne.binding())));
            assertEquals(Code.NO_INVITATION, refusal(one));
        }
        assertEquals(2, invitations().list().get(0).failedProofs());
        assertEquals(List.of(), certifier.names());
        assertStillOpen(invitation);
    }

    @Test
    void nobodyJoinsWithTheMembersOwnKeys() throws Exception {
        Invitation invitation = invite(REPLICA);
        assertFails(Code.FAILED, joining(invitation, host.identity));
    }

    // Who answers is not who has invited

    private NodeCertificate certificate(Identity node, WriteCapabilityChain chain) {
        return NodeCertificate.create(node, chain, System.currentTimeMillis());
    }

    /** A member of the tree, as certified as any, in between: it passes everything on. */
    private FakeMember relay(Identity villain, List<Boolean> asked) throws Exception {
        return new FakeMember(certificate(villain, tree.chain(villain)), joiner -> {
            try (JoinConnection onward = JoinConnection.open(host.address, ANSWER_MILLIS)) {
                onward.send(FakeMember.receive(joiner).toBuilder());
                FakeMember.send(joiner, onward.receive(1 << 20).toBuilder());
                FakeMember.send(joiner, onward.receive(1 << 20).toBuilder());
                asked.add(joiner.getInputStream().read() >= 0);
            }
        });
    }

    @Test
    void aMemberInBetweenThatPassesEverythingOnGainsNothing() throws Exception {
        List<Boolean> asked = java.util.Collections.synchronizedList(new ArrayList<>());
        try (FakeMember villain = relay(Identity.generate(), asked)) {
            Invitation invitation = invitations().create(REPLICA, List.of(villain.address), Invitations.LIFE);
            assertFails(Code.UNPROVEN, invitation);
            villain.unread.take();
            assertEquals(List.of(false), asked); // greeted, and not asked for anything
            assertNull(invitations().list().get(0).usedBy());
            assertEquals(List.of(), certifier.names());
            assertEquals(List.of(), compared);
        }
    }

    @Test
    void aStrangerInBetweenDoesNotGetAsFarAsAWord() throws Exception {
        BadCertificates.Shown stranger = BadCertificates.all(tree).get("no extension");
        assertNotNull(stranger);
        try (FakeMember villain =
                new FakeMember(new NodeCertificate(stranger.key(), stranger.certificates()[0]), joiner -> {})) {
            Invitation invitation = invitations().create(REPLICA, List.of(villain.address), Invitations.LIFE);
            assertFails(Code.UNREACHABLE, invitation);
            assertNull(villain.unread.poll(200, TimeUnit.MILLISECONDS)); // its handshake failed
        }
    }

    @Test
    void anotherMemberOfTheTreeHasNotTheInvitationAndTheNextAddressMay() throws Exception {
        Path others = Files.createDirectories(directory.resolve("others"));
        try (TestNode other = new TestNode(tree, platform);
                Invitations ofOther =
                        new Invitations(tree.tree, other.identity, new FileInvitations(others), membersClock)) {
            other.messenger.welcomeJoiners(ofOther, certifier);
            Invitation onlyThere = invitations().create(REPLICA, List.of(other.address), Invitations.LIFE);
            assertFails(Code.NOT_AWAITED, onlyThere);
            ofOther.create(REPLICA, List.of(other.address), Invitations.LIFE);
            assertFails(Code.NO_INVITATION, onlyThere);
            Invitation invitation = invitations()
                    .create(
                            REPLICA,
                            List.of(new InetSocketAddress("127.0.0.1", 1), other.address, host.address),
                            Invitations.LIFE);
            assertEquals(host.id(), join(invitation).member());
        }
    }

    /** It answers as a member would, from whatever it has. */
    private FakeMember knowing(
            CompletableFuture<Invitation> invitation, NodeCertificate shown, List<TreeFounding.Entry> foundation)
            throws Exception {
        Hash keyInfo = NodeCertificate.prove(new X509Certificate[] {shown.certificate()})
                .keyInfoHash();
        return new FakeMember(shown, joiner -> {
            JoinProto.JoinHello hello = FakeMember.receive(joiner).getHello();
            InvitationSecret secret = invitation.join().secret();
            byte[] nonce = new byte[32];
            Hash binding = secret.bind(tree.tree, keyInfo, hello.getNonce().toByteArray(), nonce);
            FakeMember.send(
                    joiner,
                    JoinProto.Join.newBuilder()
                            .setOffer(JoinProto.JoinOffer.newBuilder()
                                    .setNonce(ByteString.copyFrom(nonce))
                                    .setProof(ByteString.copyFrom(secret.prove(Side.MEMBER, binding)))
                                    .setRole(JoinProto.RoleKind.REPLICA)
                                    .setTrusted(true)));
            JoinProto.JoinTree.Builder records = JoinProto.JoinTree.newBuilder();
            foundation.forEach(entry -> records.addRecords(JoinProto.JoinRecord.newBuilder()
                    .setKind(entry.kind().number())
                    .setPayload(ByteString.copyFrom(entry.payload()))));
            FakeMember.send(joiner, JoinProto.Join.newBuilder().setTree(records));
            if (!compared.isEmpty()) {
                throw new IOException("asked to make it a node");
            }
        });
    }

    private JoinException assertNotJoined(Code code, NodeCertificate shown, List<TreeFounding.Entry> foundation)
            throws Exception {
        CompletableFuture<Invitation> invitation = new CompletableFuture<>();
        try (FakeMember member = knowing(invitation, shown, foundation)) {
            invitation.complete(
                    Invitation.create(tree.tree, List.of(member.address), System.currentTimeMillis() + 3_600_000));
            return assertFails(code, invitation.join());
        }
    }

    /** Whoever has read the code still has to be a node of the tree to be believed. */
    @Test
    void whoKnowsTheSecretAndIsNoNodeIsNotBelieved() throws Exception {
        Identity villain = Identity.generate();
        List<TreeFounding.Entry> right = tree.foundation();
        List<TreeFounding.Entry> more = new ArrayList<>(right);
        more.add(new TreeFounding.Entry(
                RecordKind.WRITECAP_CHAIN, tree.chain(villain).toBytes()));
        long past = System.currentTimeMillis() - 10;
        long start = tree.startMillis;
        WriteCapabilityChain bySelf = WriteCapabilityChain.of(
                List.of(tree.grant(villain, villain, Rights.NODE, start, WriteCapability.NO_END)));
        record Case(String reason, WriteCapabilityChain chain, List<TreeFounding.Entry> foundation) {}
        for (Case one : List.of(
                new Case("never a root", bySelf, right),
                new Case("not node", tree.chain(villain, Rights.WRITE, start, WriteCapability.NO_END), right),
                new Case("ended", tree.chain(villain, Rights.NODE, start, past), right),
                new Case("root domain", tree.chain(villain), right.subList(0, 1)),
                new Case("tree", tree.chain(villain), new TestTree().foundation()),
                new Case("WRITECAP_CHAIN", tree.chain(villain), more))) {
            JoinException e = assertNotJoined(Code.BAD_ANSWER, certificate(villain, one.chain), one.foundation);
            assertTrue(String.valueOf(e.getMessage()).contains(one.reason), one.reason + ": " + e.getMessage());
            assertEquals(List.of(), compared, one.reason);
        }
        // one with nothing wrong is believed, and its script ends there
        assertNotJoined(Code.UNREACHABLE, certificate(villain, tree.chain(villain)), right);
        assertEquals(1, compared.size());
    }

    @Test
    void rootKeysThatWereReplacedAreFollowed() throws Exception {
        Identity fresh = Identity.generate();
        KeyChange change = KeyChange.rotateRoot(tree.authority, tree.root, fresh, tree.startMillis, 0);
        List<TreeFounding.Entry> foundation = new ArrayList<>(tree.foundation());
        for (TreeFounding.Entry entry : change.entries()) {
            tree.authority.apply(entry.kind(), entry.payload(), tree.authority.position() + 1, tree.startMillis);
            if (entry.kind() == RecordKind.ROTATION) {
                foundation.add(entry);
            }
        }
        certifier = new TestCertifier(tree, fresh, foundation);
        Invitation invitation = invite(REPLICA);
        JoinException e = assertFails(Code.BAD_ANSWER, invitation); // the host's chain is of the old one
        assertTrue(String.valueOf(e.getMessage()).contains("does not prove"), e.getMessage());
        host.messenger.useChain(WriteCapabilityChain.of(
                List.of(tree.grant(fresh, host.identity, Rights.NODE, tree.startMillis, WriteCapability.NO_END))));
        assertEquals(List.of(fresh.keys()), join(invitation).roots());
    }

    // What comes to nothing

    @Test
    void whoVanishesBeforeTheAnswerComesAgainWithTheSameKeys() throws Exception {
        Invitation invitation = invite(REPLICA);
        CountDownLatch hold = new CountDownLatch(1);
        certifier.hold = hold;
        try (JoinConnection connection = JoinConnection.open(host.address, ANSWER_MILLIS)) {
            JoinStatement statement = JoinStatement.create(machine, greet(connection, invitation));
            connection.send(request(statement, invitation.secret().prove(Side.JOINER, statement.id())));
            assertEventually(() -> opened != null && opened.list().get(0).usedBy() != null, "it was used");
        }
        hold.countDown();
        assertEventually(() -> certifier.names().size() == 1, "certified all the same");
        assertFails(Code.USED, joining(invitation, Identity.generate()));
        long records = tree.authority.position();
        assertEquals(machine.keys(), join(invitation).chain().subject());
        assertEquals(records, tree.authority.position());
    }

    @Test
    void aMemberThatTakesTooLongSaysSoAndTheSameKeysComeAgain() throws Exception {
        Limits hasty = TestNode.limits(new Limits.Times(2000, 10_000, 25_000, 10_000, 20, 500, 10_000));
        CountDownLatch hold = new CountDownLatch(1);
        certifier.hold = hold;
        try (TestNode node = new TestNode(tree, platform, hasty);
                Invitations ofNode = new Invitations(
                        tree.tree,
                        node.identity,
                        new FileInvitations(Files.createDirectories(directory.resolve("hasty"))),
                        membersClock)) {
            node.messenger.welcomeJoiners(ofNode, certifier);
            Invitation invitation = ofNode.create(REPLICA, List.of(node.address), Invitations.LIFE);
            JoinException e = assertFails( // after 12 s, which are more than a joiner gives for other words
                    Code.FAILED,
                    new Joining(invitation, machine, "n", null, new Recorded(true), Clock.systemUTC(), 6000));
            assertTrue(String.valueOf(e.getMessage()).contains("in time"), e.getMessage());
            hold.countDown();
            assertEquals(machine.keys(), join(invitation).chain().subject());
        }
    }

    @Test
    void whoVanishesBeforeItAsksHasUsedNothing() throws Exception {
        Invitation invitation = invite(REPLICA);
        try (JoinConnection connection = JoinConnection.open(host.address, ANSWER_MILLIS)) {
            greet(connection, invitation);
        }
        joining(invitation, Identity.generate()).join();
    }

    @Test
    void aMemberThatCouldNotCertifyLetsTheSameKeysComeAgainAlsoAfterARestart() throws Exception {
        Invitation invitation = invite(REPLICA);
        certifier.failure = "no majority";
        JoinException e = assertFails(Code.FAILED, invitation);
        assertTrue(String.valueOf(e.getMessage()).contains("no majority"), e.getMessage());
        certifier.failure = null;
        host.messenger.close();
        try (TestNode restarted = new TestNode(tree, host.identity, platform);
                Invitations again = invitations(host.identity)) {
            restarted.messenger.welcomeJoiners(again, certifier);
            restarted.messenger.listen(host.address);
            assertEquals(machine.id(), again.list().get(0).usedBy());
            assertFails(Code.USED, joining(invitation, Identity.generate()));
            assertEquals(machine.keys(), join(invitation).chain().subject());
        }
    }

    @Test
    void aRestartKeepsInvitationsAndTheDiskShowsNoSecret() throws Exception {
        Invitation invitation = invite(BLIND);
        proveWrongly(invitation);
        Invitation revoked = invite(REPLICA);
        invitations().revoke(revoked.secret().id());
        List<Path> files = new FileInvitations(rows()).files();
        assertEquals(
                List.of(invitation.secret().id()),
                files.stream().map(file -> file.getFileName().toString()).toList());
        String row = HexFormat.of().formatHex(Files.readAllBytes(files.get(0)));
        byte[] secret = invitation.secret().reveal();
        for (int i = 0; i + 4 <= secret.length; i++) {
            assertFalse(row.contains(HexFormat.of().formatHex(secret, i, i + 4)));
        }
        try (Invitations again = invitations(host.identity)) {
            assertEquals(invitations().list(), again.list());
            assertEquals(BLIND, again.list().get(0).role());
            assertEquals(1, again.list().get(0).failedProofs());
        }
        try (Invitations ofAnother = invitations(Identity.generate())) {
            assertEquals(List.of(), ofAnother.list());
        }
        byte[] altered = Files.readAllBytes(files.get(0));
        altered[40] ^= 1;
        Files.write(files.get(0), altered);
        try (Invitations again = invitations(host.identity)) {
            assertEquals(List.of(), again.list());
        }
    }

    @Test
    void invitationsAreBounded() throws Exception {
        for (int i = 0; i < Invitations.COUNT_MAX; i++) {
            invite(REPLICA);
        }
        assertThrows(IllegalStateException.class, () -> invite(REPLICA));
        memberMillis[0] += Invitations.LIFE.toMillis();
        invite(REPLICA);
    }

    // Who does what no joiner does

    private static SSLSocket dial(InetSocketAddress address) throws Exception {
        SSLSocket socket = (SSLSocket)
                FakeMember.context(null).getSocketFactory().createSocket(address.getAddress(), address.getPort());
        FakeMember.setProtocol(socket);
        socket.setSoTimeout(20_000);
        socket.startHandshake();
        assertEquals(Credentials.JOIN_PROTOCOL, socket.getApplicationProtocol());
        return socket;
    }

    /** All that comes until the host closes. */
    private static byte[] rest(Socket socket) throws IOException {
        try (socket) {
            return socket.getInputStream().readAllBytes();
        } catch (java.net.SocketException e) {
            return new byte[0]; // reset
        }
    }

    private static byte[] bytes(JoinProto.Join.Builder step) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        Frame.newBuilder().setJoin(step).build().writeDelimitedTo(out);
        return out.toByteArray();
    }

    private static byte[] frame(Frame.Builder frame) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        frame.build().writeDelimitedTo(out);
        return out.toByteArray();
    }

    @Test
    void whatNoJoinerSendsEndsTheConnection() throws Exception {
        Invitation invitation = invite(REPLICA);
        byte[] id = HexFormat.of().parseHex(invitation.secret().id());
        JoinStatement statement = JoinStatement.create(machine, Hash.of(new byte[32]));
        for (byte[] wrong : List.of(
                new byte[] {5, 1, 2, 3, 4, 5},
                new byte[] {(byte) 0x81, (byte) 0x80, 4}, // a frame of 64 KiB and a byte
                new byte[] {-1, -1, -1, -1, -1, 1},
                new byte[] {0},
                frame(Frame.newBuilder().setPing(7)),
                frame(Frame.newBuilder()
                        .setHello(SessionProto.Hello.newBuilder().setVersionMin(1))),
                bytes(JoinProto.Join.newBuilder()),
                bytes(hello(id, new byte[31])),
                bytes(hello(id, new byte[33])),
                bytes(hello(new byte[0], new byte[32])),
                bytes(hello(new byte[17], new byte[32])),
                bytes(request(statement, new byte[32])), // before the greeting
                bytes(JoinProto.Join.newBuilder().setRefusal(JoinProto.JoinRefusal.newBuilder())))) {
            SSLSocket socket = dial(host.address);
            socket.getOutputStream().write(wrong);
            assertEquals(0, rest(socket).length, HexFormat.of().formatHex(wrong));
        }
        for (JoinProto.Join.Builder wrong : List.of(
                hello(id, new byte[32]), // twice
                JoinProto.Join.newBuilder()
                        .setRequest(JoinProto.JoinRequest.newBuilder().setName("n")),
                JoinProto.Join.newBuilder()
                        .setRequest(JoinProto.JoinRequest.newBuilder()
                                .setName("n")
                                .setStatement(ByteString.copyFrom(new byte[5000]))))) {
            SSLSocket socket = dial(host.address);
            FakeMember.send(socket, hello(id, new byte[32]));
            assertTrue(FakeMember.receive(socket).hasOffer());
            assertTrue(FakeMember.receive(socket).hasTree());
            FakeMember.send(socket, wrong);
            assertEquals(0, rest(socket).length);
        }
        assertEquals(0, invitations().list().get(0).failedProofs());
        assertStillOpen(invitation);
    }

    @Test
    void whoSaysNothingInTimeIsCutOffOnEitherSide() throws Exception {
        Limits hasty = TestNode.limits(new Limits.Times(3000, 10_000, 25_000, 10_000, 20, 500, 10_000));
        try (TestNode node = new TestNode(tree, platform, hasty);
                Invitations ofNode = new Invitations(
                        tree.tree,
                        node.identity,
                        new FileInvitations(Files.createDirectories(directory.resolve("hasty"))),
                        membersClock)) {
            node.messenger.welcomeJoiners(ofNode, certifier);
            Invitation invitation = ofNode.create(REPLICA, List.of(node.address), Invitations.LIFE);
            long began = System.nanoTime();
            assertEquals(0, rest(dial(node.address)).length);
            SSLSocket greeted = dial(node.address);
            FakeMember.send(greeted, hello(invitation, new byte[32]));
            rest(greeted);
            SSLSocket dripping = dial(node.address);
            byte[] word = bytes(hello(invitation, new byte[32]));
            assertThrows(IOException.class, () -> {
                for (int i = 0; i + 1 < word.length; i++) { // all but the last byte
                    dripping.getOutputStream().write(word, i, 1);
                    Thread.sleep(200);
                }
            });
            assertTrue(System.nanoTime() - began < 40_000_000_000L);
            assertEquals(machine.keys(), join(invitation).chain().subject());
        }
        Identity slow = Identity.generate();
        for (boolean drips : new boolean[] {false, true}) {
            try (FakeMember member = new FakeMember(certificate(slow, tree.chain(slow)), joiner -> {
                joiner.getOutputStream().write(new byte[] {(byte) 0x80, 8}); // a frame of 1 KiB
                for (int i = 0; drips && i < 200; i++) {
                    Thread.sleep(50);
                    joiner.getOutputStream().write(1);
                }
            })) {
                Invitation invitation =
                        Invitation.create(tree.tree, List.of(member.address), System.currentTimeMillis() + 3_600_000);
                long asked = System.nanoTime();
                JoinException e = assertFails(
                        Code.UNREACHABLE,
                        new Joining(invitation, machine, "n", null, new Recorded(true), Clock.systemUTC(), 3000));
                assertTrue(String.valueOf(e.getMessage()).contains("not done in time"), e.getMessage());
                assertTrue(System.nanoTime() - asked < 15_000_000_000L); // the member would go on
            }
        }
    }

    @Test
    void whatAMemberSendsIsBounded() throws Exception {
        Identity villain = Identity.generate();
        for (byte[] wrong : List.of(
                new byte[] {(byte) 0x81, (byte) 0x80, 4}, // a frame of 64 KiB and a byte
                new byte[] {-1, -1, -1, -1, 7},
                new byte[] {3, 1, 2, 3},
                frame(Frame.newBuilder().setPing(7)),
                bytes(JoinProto.Join.newBuilder().setTree(JoinProto.JoinTree.newBuilder())))) {
            try (FakeMember member = new FakeMember(
                    certificate(villain, tree.chain(villain)),
                    joiner -> joiner.getOutputStream().write(wrong))) {
                Invitation invitation =
                        Invitation.create(tree.tree, List.of(member.address), System.currentTimeMillis() + 3_600_000);
                JoinException e = assertThrows(JoinException.class, () -> join(invitation));
                assertTrue(
                        e.code() == Code.BAD_ANSWER || e.code() == Code.UNPROVEN,
                        HexFormat.of().formatHex(wrong) + ": " + e.getMessage());
            }
        }
        try (FakeMember member = new FakeMember(
                certificate(villain, tree.chain(villain)),
                joiner -> FakeMember.send(
                        joiner,
                        JoinProto.Join.newBuilder()
                                .setRefusal(JoinProto.JoinRefusal.newBuilder()
                                        .setCode(77)
                                        .setText("\u001b[31mred"))))) {
            Invitation invitation =
                    Invitation.create(tree.tree, List.of(member.address), System.currentTimeMillis() + 3_600_000);
            assertEquals("?[31mred", assertFails(Code.OTHER, invitation).getMessage());
        }
    }

    @Test
    void thoseWhoJoinAreHalfOpenAsLongAsItTakes() throws Exception {
        Limits few = new Limits(256, 64, 2, 1024, 16 << 20, 16 << 20, TestNode.TIMES);
        try (TestNode node = new TestNode(tree, platform, few);
                Invitations ofNode = new Invitations(
                        tree.tree,
                        node.identity,
                        new FileInvitations(Files.createDirectories(directory.resolve("few"))),
                        membersClock)) {
            node.messenger.welcomeJoiners(ofNode, certifier);
            Invitation invitation = ofNode.create(REPLICA, List.of(node.address), Invitations.LIFE);
            SSLSocket one = dial(node.address);
            SSLSocket two = dial(node.address);
            FakeMember.send(two, hello(invitation, new byte[32]));
            assertTrue(FakeMember.receive(two).hasOffer());
            assertEquals(2, node.messenger.halfOpen().count());
            assertFails(Code.UNREACHABLE, invitation);
            one.close();
            two.close();
            assertEventually(() -> node.messenger.halfOpen().count() == 0, "places are free again");
            assertEquals(machine.keys(), join(invitation).chain().subject());
            assertEventually(() -> node.messenger.halfOpen().count() == 0, "also after a join");
        }
    }

    /** While joiners are awaited the handshake asks for a certificate and goes on without: a session is not to. */
    @Test
    void whoShowsNoCertificateGetsNoSessionWhileJoinersAreAwaited() throws Exception {
        invite(REPLICA);
        for (String protocol : new String[] {Credentials.PROTOCOL, "http/1.1", ""}) {
            SSLSocket socket = (SSLSocket) FakeMember.context(null)
                    .getSocketFactory()
                    .createSocket(host.address.getAddress(), host.address.getPort());
            javax.net.ssl.SSLParameters parameters = socket.getSSLParameters();
            parameters.setApplicationProtocols(protocol.isEmpty() ? new String[0] : new String[] {protocol});
            socket.setSSLParameters(parameters);
            socket.setSoTimeout(20_000);
            try (socket) {
                socket.startHandshake();
                FakeMember.send(
                        socket,
                        Frame.newBuilder()
                                .setHello(SessionProto.Hello.newBuilder()
                                        .setVersionMin(1)
                                        .setVersionMax(1)
                                        .setSession(ByteString.copyFrom(new byte[16])))
                                .build());
                assertEquals(0, rest(socket).length, protocol);
            } catch (IOException e) {
                // closed before all was said
            }
        }
        try (TestNode guest = new TestNode(tree, platform)) {
            assertTrue(guest.connect(host).isConnected());
        }
        for (BadCertificates.Shown bad : BadCertificates.all(tree).values()) {
            if (bad.certificates().length > 1) {
                continue; // a store of Java's refuses them
            }
            SSLSocket socket = (SSLSocket) FakeMember.context(new NodeCertificate(bad.key(), bad.certificates()[0]))
                    .getSocketFactory()
                    .createSocket(host.address.getAddress(), host.address.getPort());
            FakeMember.setProtocol(socket);
            assertThrows(IOException.class, () -> {
                try (socket) {
                    socket.startHandshake();
                    FakeMember.send(socket, hello(new byte[16], new byte[32]));
                    FakeMember.receive(socket);
                }
            });
        }
    }
}
