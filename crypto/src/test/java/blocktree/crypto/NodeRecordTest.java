package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.assertDenied;
import static blocktree.crypto.Fixtures.bytes;
import static blocktree.crypto.Fixtures.identity;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException.Code;
import blocktree.crypto.CryptoException.Denial;
import com.google.protobuf.ByteString;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NodeRecordTest {

    private static final String LABEL = "a".repeat(63);

    private final Identity alice = identity(2);
    private final Identity bob = identity(3);
    private final Identity carol = identity(4);
    private final TestTree t;
    private final Identity root;

    NodeRecordTest() throws CryptoException {
        t = new TestTree();
        root = t.root;
    }

    private static InetSocketAddress address(String host, int port) {
        return InetSocketAddress.createUnresolved(host, port);
    }

    private NodeRecord record(Identity node, long sequence) {
        return NodeRecord.create(node, t.tree, sequence, "nas", List.of(address("nas.example", 7450)));
    }

    private NodeRecord add(NodeRecord record) throws CryptoException {
        t.add(RecordKind.NODE, record.toBytes());
        return record;
    }

    private WriteCapability addNode(Identity node) throws CryptoException {
        WriteCapability link = t.grant(root, t.top, node, Rights.NODE);
        t.addChain(link);
        return link;
    }

    // What it says

    @Test
    void itSaysTheSameAfterItWasSent() throws Exception {
        List<InetSocketAddress> addresses =
                List.of(address("192.0.2.7", 1), address("2001:db8::7", 65535), address("NAS.example", 7450));
        NodeRecord made = NodeRecord.create(alice, t.tree, Long.MAX_VALUE, "nas-2.Attic_1", addresses);
        NodeRecord read = NodeRecord.parse(made.toBytes());
        assertEquals(made, read);
        assertArrayEquals(made.toBytes(), read.toBytes());
        assertEquals(alice.id(), read.node());
        assertEquals(t.tree, read.tree());
        assertEquals(Long.MAX_VALUE, read.sequence());
        assertEquals("nas-2.Attic_1", read.name());
        assertEquals(addresses, read.addresses());
        assertEquals("NAS.example", read.addresses().get(2).getHostString());
        assertTrue(read.addresses().stream().allMatch(InetSocketAddress::isUnresolved));
        read.envelope().verify(SignatureKind.NODE, alice.keys());
    }

    @Test
    void aNodeThatOnlyDialsHasNoAddress() throws Exception {
        NodeRecord made = NodeRecord.create(alice, t.tree, 1, "laptop", List.of());
        assertEquals(List.of(), NodeRecord.parse(made.toBytes()).addresses());
    }

    @Test
    void anAddressThatIsResolvedIsSaidAsItsLiteral() throws Exception {
        InetSocketAddress resolved =
                new InetSocketAddress(InetAddress.getByAddress(new byte[] {(byte) 192, 0, 2, 7}), 7450);
        assertEquals(
                List.of(address("192.0.2.7", 7450)),
                NodeRecord.create(alice, t.tree, 1, "nas", List.of(resolved)).addresses());
    }

    @Test
    void theLargestFitsAnEnvelope() throws Exception {
        String host = String.join(".", LABEL, LABEL, LABEL, LABEL);
        assertEquals(255, host.length());
        NodeRecord made =
                NodeRecord.create(alice, t.tree, Long.MAX_VALUE, LABEL, Collections.nCopies(16, address(host, 65535)));
        assertEquals(made, NodeRecord.parse(made.toBytes()));
    }

    @ParameterizedTest
    @ValueSource(strings = {"a", "7", "nas", "NAS.attic_2-b", "a.", "1..2"})
    void namesOfNodes(String name) {
        assertTrue(NodeRecord.isName(name));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", ".", "-a", "_a", ".a", "a b", "a/b", "a\n", "a\0", "\u00e4", "\u0661", "a:b"})
    void whatIsNoNameOfANode(String name) {
        assertFalse(NodeRecord.isName(name));
        assertThrows(IllegalArgumentException.class, () -> NodeRecord.create(alice, t.tree, 1, name, List.of()));
    }

    @Test
    void aNameHasAtMost63Characters() {
        assertTrue(NodeRecord.isName(LABEL));
        assertFalse(NodeRecord.isName(LABEL + "a"));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "0.0.0.0",
                "192.0.2.255",
                "::",
                "::1",
                "fe80::",
                "2001:DB8::7",
                "1:2:3:4:5:6:7:8",
                "1:2:3:4:5:6:7::",
                "::2:3:4:5:6:7:8",
                "1::8",
                "nas",
                "nas.example",
                "xn--bcher-kva.example",
                "_service.example",
                "1.2.3.4.example",
                "3com"
            })
    void hosts(String host) {
        assertTrue(NodeRecord.isHost(host));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                " ",
                ".",
                "a b",
                "a\tb",
                "nas\n",
                "nas\0",
                "\u007f",
                "nas\u00a0",
                "b\u00fccher.example",
                "1",
                "1.2.3",
                "1.2.3.4.5",
                "256.1.1.1",
                "1.2.3.04",
                "1.2.3.",
                ":",
                ":::",
                "1:2:3:4:5:6:7",
                "1:2:3:4:5:6:7:8:9",
                "1::2::3",
                "1:2:3:4::5:6:7:8",
                ":1:2:3:4:5:6:7:8",
                "1:2:3:4:5:6:7:",
                "12345::",
                "g::1",
                "::ffff:192.0.2.7",
                "fe80::1%eth0",
                "[::1]",
                "nas:7450",
                "nas.",
                ".nas",
                "a..b",
                "-a",
                "a-.b",
                "a/b",
                "a@b"
            })
    void whatIsNoHost(String host) {
        assertFalse(NodeRecord.isHost(host));
        assertThrows(
                IllegalArgumentException.class,
                () -> NodeRecord.create(alice, t.tree, 1, "nas", List.of(address(host, 7450))));
    }

    @Test
    void aHostHasAtMost255CharactersAndALabel63() {
        assertTrue(NodeRecord.isHost(String.join(".", LABEL, LABEL, LABEL, LABEL)));
        assertFalse(NodeRecord.isHost(String.join(".", LABEL, LABEL, LABEL, LABEL.substring(1), "a")));
        assertFalse(NodeRecord.isHost(LABEL + "a"));
        assertFalse(NodeRecord.isHost("0".repeat(100_000)));
        assertFalse(NodeRecord.isHost(":".repeat(255)));
    }

    @Test
    void noRecordIsMadeThatOthersWouldRefuse() {
        assertThrows(IllegalArgumentException.class, () -> record(alice, 0));
        assertThrows(IllegalArgumentException.class, () -> record(alice, -1));
        assertThrows(
                IllegalArgumentException.class,
                () -> NodeRecord.create(alice, t.tree, 1, "nas", List.of(address("nas", 0))));
        assertThrows(
                IllegalArgumentException.class,
                () -> NodeRecord.create(alice, t.tree, 1, "nas", Collections.nCopies(17, address("nas", 1))));
    }

    // Hostile bytes

    /** Signed by Alice. */
    private byte[] altered(Consumer<CryptoProto.Node.Builder> change) throws Exception {
        CryptoProto.Node.Builder body =
                CryptoProto.Node.parseFrom(record(alice, 1).envelope().body()).toBuilder();
        change.accept(body);
        return alice.sign(SignatureKind.NODE, body.build().toByteArray()).toBytes();
    }

    private static CryptoProto.NodeAddress.Builder host(String host) {
        return CryptoProto.NodeAddress.newBuilder().setHost(host).setPort(7450);
    }

    private void refused(Code code, Consumer<CryptoProto.Node.Builder> change) throws Exception {
        byte[] encoded = altered(change);
        assertCode(code, () -> NodeRecord.parse(encoded));
    }

    @Test
    void whatIsOutOfItsBoundsIsRefused() throws Exception {
        NodeRecord.parse(altered(b -> {}));
        refused(Code.UNSUPPORTED, b -> b.setVersion(2));
        refused(Code.UNSUPPORTED, CryptoProto.Node.Builder::clearSuite);
        refused(Code.MALFORMED, CryptoProto.Node.Builder::clearTree);
        refused(Code.MALFORMED, b -> b.setTree(ByteString.copyFrom(bytes(1, 33))));
        refused(Code.MALFORMED, CryptoProto.Node.Builder::clearSequence);
        refused(Code.MALFORMED, b -> b.setSequence(Long.MIN_VALUE)); // 2^63 on the wire
        refused(Code.MALFORMED, CryptoProto.Node.Builder::clearName);
        refused(Code.MALFORMED, b -> b.setName("a\nb"));
        refused(Code.MALFORMED, b -> b.setName(LABEL + "a"));
        refused(Code.MALFORMED, b -> b.addAddresses(host("")));
        refused(Code.MALFORMED, b -> b.addAddresses(host("nas\u0007")));
        refused(Code.MALFORMED, b -> b.addAddresses(host("a ".repeat(20_000))));
        for (int port : new int[] {0, 65536, -1, Integer.MIN_VALUE}) {
            refused(Code.MALFORMED, b -> b.addAddresses(host("nas").setPort(port)));
        }
        NodeRecord.parse(altered(b -> b.addAllAddresses(
                Stream.generate(() -> host("nas").build()).limit(15).toList())));
        refused(
                Code.TOO_MANY,
                b -> b.addAllAddresses(
                        Stream.generate(() -> host("nas").build()).limit(16).toList()));
    }

    @Test
    void onlyOneEncodingIsRead() throws Exception {
        ByteString body = ByteString.copyFrom(record(alice, 1).envelope().body());
        for (ByteString other : List.of(
                body.concat(ByteString.copyFrom(new byte[] {0x78, 1})), // a field that nobody knows
                body.concat(ByteString.copyFrom(new byte[] {0x20, 1})), // the sequence once more
                body.substring(0, body.size() - 1),
                ByteString.copyFrom(new byte[] {8, 1, 16, 1, 42, 1, (byte) 0xff}))) { // a name that is no UTF-8
            byte[] encoded = alice.sign(SignatureKind.NODE, other.toByteArray()).toBytes();
            assertCode(Code.MALFORMED, () -> NodeRecord.parse(encoded));
        }
        byte[] good = record(alice, 1).toBytes();
        for (int size = 0; size < good.length; size++) {
            byte[] cut = Arrays.copyOf(good, size);
            assertThrows(CryptoException.class, () -> NodeRecord.parse(cut));
        }
        assertCode(Code.TOO_MANY, () -> NodeRecord.parse(new byte[SignedEnvelope.SIZE_MAX + 1]));
    }

    @Test
    void everyBitIsSigned() throws Exception {
        addNode(alice);
        byte[] good = record(alice, 1).toBytes();
        for (int bit = 0; bit < good.length * 8; bit++) {
            byte[] altered = good.clone();
            altered[bit / 8] ^= (byte) (1 << bit % 8);
            assertThrows(CryptoException.class, () -> t.add(RecordKind.NODE, altered));
        }
        t.add(RecordKind.NODE, good);
    }

    // Whose it may be

    @Test
    void theNewestOfEachNodeIsKept() throws Exception {
        addNode(alice);
        addNode(bob);
        assertNull(t.authority.node(alice.id()));
        add(record(alice, 1));
        NodeRecord bobs = add(record(bob, 7));
        NodeRecord moved = add(NodeRecord.create(alice, t.tree, 2, "attic", List.of(address("198.51.100.7", 7450))));
        assertEquals(moved, t.authority.node(alice.id()));
        assertEquals(bobs, t.authority.node(bob.id()));
        assertNull(t.authority.node(root.id()));
    }

    @Test
    void theSequenceRises() throws Exception {
        addNode(alice);
        NodeRecord newest = add(record(alice, 5));
        for (long sequence : new long[] {5, 4, 1}) {
            NodeRecord late = NodeRecord.create(alice, t.tree, sequence, "elsewhere", List.of());
            assertCode(Code.OUT_OF_ORDER, () -> add(late));
        }
        assertCode(Code.OUT_OF_ORDER, () -> add(newest));
        assertEquals(newest, t.authority.node(alice.id()));
        add(record(alice, Long.MAX_VALUE));
    }

    @Test
    void itNeedsTheRightToRunANodeInTheRootDomain() throws Exception {
        DomainId below = t.addDomain(root, t.top, true);
        t.addChain(t.grant(root, t.top, alice, Rights.WRITE.and(Rights.DELEGATE).and(Rights.REKEY)));
        t.addChain(t.grant(root, below, alice, Rights.NODE));
        assertDenied(Denial.NO_CAPABILITY, () -> add(record(alice, 1)));
        assertDenied(Denial.UNKNOWN_PRINCIPAL, () -> add(record(bob, 1)));
        assertNull(t.authority.node(alice.id()));
        addNode(alice);
        add(record(alice, 1));
    }

    @Test
    void aRootPrincipalNeedsAChainLikeOthers() throws Exception {
        assertDenied(Denial.NO_CAPABILITY, () -> add(record(root, 1)));
        assertEquals(List.of(), t.authority.nodesAt(t.time));
        addNode(root);
        NodeRecord roots = add(record(root, 1));
        assertEquals(roots, t.authority.node(root.id()));
        assertEquals(List.of(root.id()), t.authority.nodesAt(t.time));
    }

    @Test
    void aDelegatedNodeSpeaksForItself() throws Exception {
        t.addChain(
                t.grant(root, t.top, alice, Rights.NODE.and(Rights.DELEGATE)), t.grant(alice, t.top, bob, Rights.NODE));
        add(record(bob, 1));
        assertDenied(Denial.NO_CAPABILITY, () -> add(record(alice, 1))); // no chain of the log ends in Alice
    }

    @Test
    void aNodesRightHasBegunAndNotEnded() throws Exception {
        t.addChain(t.grant(root, t.top, alice, Rights.NODE, t.time + 10, t.time + 20));
        assertDenied(Denial.NO_CAPABILITY, () -> add(record(alice, 1)));
        t.time += 10;
        NodeRecord kept = add(record(alice, 1));
        t.time += 10;
        CryptoException refused = assertCode(Code.DENIED, () -> add(record(alice, 2)));
        assertEquals(Denial.EXPIRED, ((CryptoException) refused.getSuppressed()[0]).denial(), "which chains there are");
        assertEquals(kept, t.authority.node(alice.id()));
    }

    @Test
    void aRevokedNodeSaysNothingMoreUntilItHasAnotherChain() throws Exception {
        WriteCapability link = addNode(alice);
        NodeRecord kept = add(record(alice, 1));
        t.revoke(root, link);
        assertDenied(Denial.NO_CAPABILITY, () -> add(record(alice, 2)));
        assertEquals(kept, t.authority.node(alice.id()));
        assertEquals(List.of(), t.authority.nodesAt(t.time));
        addNode(alice);
        assertCode(Code.OUT_OF_ORDER, () -> add(record(alice, 1)));
        add(record(alice, 2));
    }

    @Test
    void afterARotationANodeOfTheOldRootSpeaksAsLongAsItsChainCounts() throws Exception {
        addNode(alice);
        t.rotate(root, t.time + 100, carol);
        add(record(alice, 1));
        t.time += 100;
        assertDenied(Denial.NO_CAPABILITY, () -> add(record(alice, 2)));
        t.addChain(t.grant(carol, t.top, alice, Rights.NODE));
        add(record(alice, 2));
    }

    @Test
    void anotherTreesIsRefused() throws Exception {
        addNode(alice);
        NodeRecord foreign = NodeRecord.create(alice, new TestTree(2).tree, 1, "nas", List.of());
        assertCode(Code.OUT_OF_ORDER, () -> add(foreign));
    }

    @Test
    void nobodyElseSignsANodesRecord() throws Exception {
        addNode(alice);
        addNode(bob);
        byte[] body = record(alice, 1).envelope().body();
        for (SignedEnvelope signed : List.of(
                bob.sign(SignatureKind.NODE, body),
                root.sign(SignatureKind.NODE, body),
                alice.sign(SignatureKind.COMMIT, body))) {
            byte[] forged = CryptoProto.Signed.parseFrom(signed.toBytes()).toBuilder()
                    .setSigner(Wire.bytes(alice.id()))
                    .build()
                    .toByteArray();
            assertCode(Code.BAD_SIGNATURE, () -> t.add(RecordKind.NODE, forged));
        }
        assertNull(t.authority.node(alice.id()));
    }

    @Test
    void beforeTheRootDomainIsMadeThereIsNoNode() throws Exception {
        Authority young = new Authority(t.tree);
        assertCode(
                Code.OUT_OF_ORDER,
                () -> young.apply(RecordKind.NODE, record(root, 1).toBytes(), 1, t.time));
        young.apply(RecordKind.GENESIS, t.genesis.toBytes(), 1, t.time);
        assertDenied(
                Denial.UNKNOWN_DOMAIN,
                () -> young.apply(RecordKind.NODE, record(root, 1).toBytes(), 2, t.time));
        assertEquals(List.of(), young.nodesAt(t.time));
    }

    @Test
    void verifyingOneSaysTheSameAndTakesNothing() throws Exception {
        addNode(alice);
        t.authority.verify(RecordKind.NODE, record(alice, 1).toBytes(), t.position + 1, t.time);
        assertNull(t.authority.node(alice.id()));
        add(record(alice, 1));
        assertCode(
                Code.OUT_OF_ORDER,
                () -> t.authority.verify(RecordKind.NODE, record(alice, 1).toBytes(), t.position + 1, t.time));
    }

    // Who may run one

    @Test
    void nodesAreListedInTheOrderOfTheLogWithOrWithoutARecord() throws Exception {
        addNode(carol);
        t.addChain(t.grant(root, t.top, bob, Rights.WRITE));
        WriteCapability first = addNode(alice);
        assertEquals(List.of(carol.id(), alice.id()), t.authority.nodesAt(t.time));
        add(record(alice, 1));
        addNode(alice);
        addNode(bob);
        List<PrincipalId> all = List.of(carol.id(), bob.id(), alice.id());
        assertEquals(all, t.authority.nodesAt(t.time));
        t.revoke(root, first);
        assertEquals(all, t.authority.nodesAt(t.time), "Alice's other chain stands");
    }

    @Test
    void nodesAreThoseOfTheTimeAskedFor() throws Exception {
        long now = t.time;
        t.addChain(t.grant(root, t.top, alice, Rights.NODE, now, now + 20));
        t.addChain(t.grant(root, t.top, bob, Rights.NODE, now + 10, WriteCapability.NO_END));
        assertEquals(List.of(alice.id()), t.authority.nodesAt(now + 9));
        assertEquals(List.of(alice.id(), bob.id()), t.authority.nodesAt(now + 10));
        assertEquals(List.of(bob.id()), t.authority.nodesAt(now + 20));
    }

    // The log's kinds

    @Test
    void kindsOfTheLogThatAreNoAuthorityAreNone() throws Exception {
        for (RecordKind kind : RecordKind.values()) {
            assertEquals(kind, RecordKind.of(kind.number()));
        }
        assertEquals(11, RecordKind.NODE.number());
        for (int number : new int[] {Integer.MIN_VALUE, -1, 0, 8, 9, 10, 12, Integer.MAX_VALUE}) {
            assertCode(Code.MALFORMED, () -> RecordKind.of(number));
        }
    }
}
