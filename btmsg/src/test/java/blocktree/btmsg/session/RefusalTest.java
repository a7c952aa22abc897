package blocktree.btmsg.session;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.Identity;
import blocktree.crypto.NodeProof;
import blocktree.crypto.Rights;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import java.net.InetSocketAddress;
import java.time.Clock;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

/** Nodes that prove who they are and are not let in are told why, whichever of the two has dialled. The guests are on the best platform. */
@Timeout(120)
@ParameterizedClass
@EnumSource(Platform.class)
class RefusalTest {
    private final TestTree tree = new TestTree();
    private final Identity guest = Identity.generate();
    private final long now = System.currentTimeMillis();
    private final Platform platform;
    private final TestNode host;

    RefusalTest(Platform platform) {
        this.platform = platform;
        host = new TestNode(tree, platform);
    }

    @AfterEach
    void close() {
        host.close();
    }

    private static DialException dialFails(TestNode from, TestNode to) throws Exception {
        return dialFails(from, to, to.address);
    }

    private static DialException dialFails(TestNode from, TestNode to, InetSocketAddress address) throws Exception {
        ExecutionException e = assertThrows(
                ExecutionException.class,
                () -> from.messenger.dial(to.id(), address).get(30, TimeUnit.SECONDS));
        return assertInstanceOf(DialException.class, e.getCause());
    }

    private static String assertRefused(Refusal.Code code, DialException failure) {
        Refusal refusal = failure.refusal();
        assertNotNull(refusal, failure.getMessage());
        assertEquals(code, refusal.code(), refusal.text());
        return refusal.text();
    }

    /** Refused by the host when the guest dials, and by the host when it dials the guest. */
    private void assertRefusedBothWays(Refusal.Code code, TestTree of, WriteCapabilityChain chain) throws Exception {
        assertRefusedBothWays(code, of, chain, options -> options);
    }

    private void assertRefusedBothWays(
            Refusal.Code code, TestTree of, WriteCapabilityChain chain, UnaryOperator<MessengerOptions> configure)
            throws Exception {
        try (TestNode node = new TestNode(of, guest, chain, configure, Protocol.CURRENT)) {
            assertRefused(code, dialFails(node, host));
            assertRefused(code, dialFails(host, node));
            assertTrue(!host.peer(node).isConnected() && !node.peer(host).isConnected());
        }
    }

    @Test
    void ofAnotherTree() throws Exception {
        TestTree other = new TestTree();
        assertRefusedBothWays(Refusal.Code.OTHER_TREE, other, other.chain(guest));
    }

    @Test
    void withoutTheRightToRunANode() throws Exception {
        assertRefusedBothWays(
                Refusal.Code.NOT_A_NODE,
                tree,
                tree.chain(guest, Rights.WRITE.and(Rights.DELEGATE), tree.startMillis, WriteCapability.NO_END));
    }

    @Test
    void expired() throws Exception {
        assertRefusedBothWays(Refusal.Code.EXPIRED, tree, tree.chain(guest, Rights.NODE, tree.startMillis, now - 1000));
    }

    @Test
    void notBegun() throws Exception {
        assertRefusedBothWays(
                Refusal.Code.NOT_YET, tree, tree.chain(guest, Rights.NODE, now + 3_600_000, WriteCapability.NO_END));
    }

    @Test
    void revoked() throws Exception {
        WriteCapabilityChain chain = tree.chain(guest);
        tree.revoke(chain);
        assertRefusedBothWays(Refusal.Code.REVOKED, tree, chain);
    }

    @Test
    void byAnIssuerThatIsNoRoot() throws Exception {
        Identity mallory = Identity.generate();
        assertRefusedBothWays(
                Refusal.Code.UNKNOWN_ISSUER,
                tree,
                WriteCapabilityChain.of(
                        List.of(tree.grant(mallory, guest, Rights.NODE, tree.startMillis, WriteCapability.NO_END))));
    }

    @Test
    void withAStatementThatHasEndedOrNotBegun() throws Exception {
        for (long offsetMillis : new long[] {-NodeProof.LIFE_MILLIS_MAX - 600_000, 600_000}) {
            assertRefusedBothWays(
                    Refusal.Code.CLOCK,
                    tree,
                    tree.chain(guest),
                    options -> options.withPlatform(platform)
                            .withClock(Clock.offset(Clock.systemUTC(), Duration.ofMillis(offsetMillis))));
        }
    }

    @Test
    void aChainOfAnotherPrincipalIsNotShown() {
        assertThrows(IllegalArgumentException.class, () -> host.messenger.useChain(tree.chain(guest)));
        host.messenger.useChain(tree.chain(host.identity));
    }

    @Test
    void itself() throws Exception {
        assertRefused(Refusal.Code.SELF, dialFails(host, host));
    }

    @Test
    void oneTooMany() throws Exception {
        UnaryOperator<MessengerOptions> oneOnly =
                options -> options.withLimits(new Limits(1, 64, 64, 1024, 16 << 20, 16 << 20, TestNode.TIMES));
        Identity id = Identity.generate();
        try (TestNode narrow = new TestNode(tree, id, tree.chain(id), oneOnly, Protocol.CURRENT);
                TestNode second = new TestNode(tree, platform)) {
            host.connect(narrow);
            assertRefused(Refusal.Code.BUSY, dialFails(second, narrow));
            host.peer(narrow).setAddresses(List.of());
            assertTrue(host.peer(narrow).isConnected());
        }
    }

    @Test
    void ofVersionsThatThisNodeDoesNotSpeak() throws Exception {
        try (TestNode newer =
                new TestNode(tree, guest, tree.chain(guest), options -> options, new Protocol(3, 4, List.of()))) {
            String text = assertRefused(Refusal.Code.INCOMPATIBLE, dialFails(newer, host));
            assertTrue(text.contains("3 to 4") && text.contains("1 to 1"), text);
            assertRefused(Refusal.Code.INCOMPATIBLE, dialFails(host, newer));
        }
    }

    @Test
    void aNodeOfTheVersionBeforeIsSpokenToInItsVersion() throws Exception {
        try (TestNode newer = new TestNode(
                        tree,
                        guest,
                        tree.chain(guest),
                        options -> options,
                        new Protocol(1, 2, List.of("both", "new only")));
                TestNode current = new TestNode(
                        tree.authority,
                        host.identity,
                        tree.chain(host.identity),
                        options -> options,
                        new Protocol(1, 1, List.of("both", "old only")))) {
            Session session =
                    newer.messenger.dial(current.id(), current.address).get(30, TimeUnit.SECONDS);
            assertEquals(1, session.terms().version());
            assertEquals(List.of("both"), session.terms().features());
            Session back = current.messenger.dial(newer.id(), newer.address).get(30, TimeUnit.SECONDS);
            assertEquals(1, back.terms().version());
            assertEquals(List.of("both"), back.terms().features());
        }
    }

    /** Somebody else at the address is no reason to talk to them, and they are told nothing. */
    @Test
    void anotherNodeAtThePeersAddressIsNotThePeer() throws Exception {
        try (TestNode expected = new TestNode(tree, platform);
                TestNode other = new TestNode(tree, platform)) {
            DialException failure = dialFails(host, expected, other.address);
            assertNull(failure.refusal());
            assertTrue(String.valueOf(failure.getMessage()).contains(other.id().toString()));
        }
    }

    @Test
    void aMemberThatTheHostHasNotHeardOfYetIsLetIn() throws Exception {
        Identity member = Identity.generate();
        WriteCapability toMember = tree.grant(
                tree.root, member, Rights.NODE.and(Rights.DELEGATE), tree.startMillis, WriteCapability.NO_END);
        WriteCapabilityChain byMember = WriteCapabilityChain.of(
                List.of(toMember, tree.grant(member, guest, Rights.NODE, tree.startMillis, WriteCapability.NO_END)));
        try (TestNode node = new TestNode(tree.newAuthority(), guest, byMember, o -> o, Protocol.CURRENT)) {
            node.connect(host);
        }
    }

    @Test
    void aSessionEndsWhenThePeersCapabilityDoes() throws Exception {
        Limits hasty = TestNode.limits(new Limits.Times(10_000, 300, 25_000, 10_000, 20, 500, 10_000));
        long endMillis = System.currentTimeMillis() + 6_000;
        WriteCapabilityChain chain = tree.chain(guest, Rights.NODE, tree.startMillis, endMillis);
        Identity id = Identity.generate();
        try (TestNode keeper = new TestNode(
                        tree, id, tree.chain(id), o -> o.withPlatform(platform).withLimits(hasty), Protocol.CURRENT);
                TestNode node = new TestNode(tree, guest, chain, options -> options, Protocol.CURRENT)) {
            node.connect(keeper);
            Eventually.assertEventually(() -> !keeper.peer(node).isConnected(), "the peer is gone");
            assertTrue(System.currentTimeMillis() >= endMillis);
            assertRefused(Refusal.Code.EXPIRED, dialFails(node, keeper));
        }
    }

    @Test
    void aSessionEndsWhenItsPeerIsRevoked() throws Exception {
        WriteCapabilityChain chain = tree.chain(guest);
        try (TestNode node = new TestNode(tree.newAuthority(), guest, chain, options -> options, Protocol.CURRENT)) {
            node.connect(host);
            host.messenger.authorityChanged();
            assertTrue(host.peer(node).isConnected());
            tree.revoke(chain);
            host.messenger.authorityChanged();
            Eventually.assertEventually(() -> !node.peer(host).isConnected(), "the peer is gone");
            assertRefused(Refusal.Code.REVOKED, dialFails(node, host));
        }
    }
}
