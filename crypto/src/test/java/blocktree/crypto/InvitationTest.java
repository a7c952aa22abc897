package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.bytes;
import static blocktree.crypto.Fixtures.identity;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException.Code;
import blocktree.crypto.CryptoException.Denial;
import blocktree.crypto.InvitationSecret.Side;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

class InvitationTest {

    private static final String CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    private static final long END = 1_800_000_000_000L;

    private final TreeId tree = TreeId.of(bytes(5, 32));
    private final InetSocketAddress lan = new InetSocketAddress("192.0.2.1", 7450);
    private final Invitation invitation = Invitation.create(tree, List.of(lan), END);
    private final String code = invitation.toCode();

    private static String message(Code expected, String code) {
        return String.valueOf(assertCode(expected, () -> Invitation.parse(code)).getMessage());
    }

    @Test
    void itReadsWhatWasWritten() throws Exception {
        List<InetSocketAddress> addresses = List.of(
                lan,
                new InetSocketAddress("2001:db8::1", 65535),
                InetSocketAddress.createUnresolved("nas.local", 1),
                InetSocketAddress.createUnresolved("x", 80));
        Invitation written = Invitation.create(tree, addresses, END + 999);
        Invitation read = Invitation.parse(written.toCode());
        assertEquals(addresses, read.addresses());
        assertEquals(END, read.expiresMillis());
        assertEquals(written.secret().id(), read.secret().id());
        assertArrayEquals(written.secret().reveal(), read.secret().reveal());
        assertTrue(read.isTo(tree));
        byte[] other = tree.toBytes();
        other[15] ^= 1;
        assertFalse(read.isTo(TreeId.of(other)));
    }

    @Test
    void itReadsWhatAPersonMakesOfIt() throws Exception {
        String sloppy = code.toLowerCase(Locale.ROOT)
                        .replace("-", " ")
                        .replace('0', 'o')
                        .replace('1', 'l') + "\n";
        assertEquals(code, Invitation.parse(sloppy).toCode());
        assertEquals(code, Invitation.parse(code.replace("-", "")).toCode());
    }

    @Test
    void anInvitationWithOneAddressIsTwentyGroups() {
        assertEquals(20, code.split("-").length);
    }

    @Test
    void secretsDiffer() {
        assertNotEquals(
                invitation.secret().id(),
                Invitation.create(tree, List.of(lan), END).secret().id());
    }

    @Test
    void everyCharacterThatIsMistypedIsFound() {
        String plain = code.replace("-", "");
        for (int i = 4; i < plain.length(); i++) { // the first four say how long it is
            char typed = CHARACTERS.charAt((CHARACTERS.indexOf(plain.charAt(i)) + 1 + i % 31) % 32);
            String text = plain.substring(0, i) + typed + plain.substring(i + 1);
            assertTrue(message(Code.MALFORMED, text).contains("mistyped"), text);
        }
        for (int i = 0; i < 4; i++) {
            char typed = CHARACTERS.charAt((CHARACTERS.indexOf(plain.charAt(i)) + 1) % 32);
            message(Code.MALFORMED, plain.substring(0, i) + typed + plain.substring(i + 1));
        }
    }

    @Test
    void twoGroupsThatAreSwappedAreFound() {
        List<String> groups = Arrays.asList(code.split("-"));
        for (int i = 1; i + 1 < groups.size(); i++) {
            if (groups.get(i).equals(groups.get(i + 1))) {
                continue; // the tree's start is the same byte all through
            }
            Collections.swap(groups, i, i + 1);
            assertTrue(message(Code.MALFORMED, String.join("-", groups)).contains("mistyped"));
            Collections.swap(groups, i, i + 1);
        }
    }

    @Test
    void whereverItIsCutAPartIsMissing() {
        for (int i = 0; i < code.length(); i++) {
            String text = code.substring(0, i);
            assertTrue(message(Code.MALFORMED, text).contains("ends too soon"), text);
        }
        assertTrue(message(Code.MALFORMED, code + "-0000").contains("mistyped"));
        assertTrue(message(Code.MALFORMED, code + "U").contains("a character that none has"));
        assertTrue(message(Code.MALFORMED, code.repeat(30)).contains("too long"));
    }

    /** With a check that fits. */
    private static String codeOf(byte[] body) {
        byte[] check = TaggedHash.of("invitation").add(body).digest();
        byte[] whole = Arrays.copyOf(body, body.length + 4);
        System.arraycopy(check, 0, whole, body.length, 4);
        return Base32.encode(whole);
    }

    private byte[] body() {
        byte[] whole = Base32.decode(code.replace("-", ""));
        return Arrays.copyOf(whole, whole.length - 4);
    }

    @Test
    void anotherVersionIsSaidToBeOne() {
        byte[] body = body();
        body[0] = 2;
        assertTrue(message(Code.UNSUPPORTED, codeOf(body)).contains("version 2"));
    }

    @Test
    void whatFitsItsCheckAndIsNoInvitationIsRefused() throws Exception {
        assertEquals(code.replace("-", ""), codeOf(body()));
        for (int[] change : new int[][] {
            {1, 49}, // another size
            {1, 0},
            {38, 0}, // no address
            {38, 2}, // more than there are
            {38, 200},
            {39, 0}, // the name of a host, of 192 characters
            {39, 6}, // an IPv6 address, cut short
            {39, 7}, // no known kind
            {40, 224}, // multicast
        }) {
            byte[] body = body();
            body[change[0]] = (byte) change[1];
            message(Code.MALFORMED, codeOf(body));
        }
        byte[] port = body();
        port[44] = 0;
        port[45] = 0;
        message(Code.MALFORMED, codeOf(port));
        byte[] longer = Arrays.copyOf(body(), 47);
        longer[1]++;
        message(Code.MALFORMED, codeOf(longer));
    }

    @Test
    void addressesThatNobodyCanDialAreRefused() {
        for (InetSocketAddress address : List.of(
                new InetSocketAddress("0.0.0.0", 7450),
                new InetSocketAddress("::", 7450),
                new InetSocketAddress("224.0.0.1", 7450),
                new InetSocketAddress("192.0.2.1", 0),
                InetSocketAddress.createUnresolved("", 7450),
                InetSocketAddress.createUnresolved("no host", 7450),
                InetSocketAddress.createUnresolved("-x", 7450),
                InetSocketAddress.createUnresolved("ä.example", 7450),
                InetSocketAddress.createUnresolved("x".repeat(300), 7450))) {
            assertThrows(IllegalArgumentException.class, () -> Invitation.create(tree, List.of(address), END));
        }
        assertThrows(IllegalArgumentException.class, () -> Invitation.create(tree, List.of(), END));
        assertThrows(IllegalArgumentException.class, () -> Invitation.create(tree, Collections.nCopies(9, lan), END));
        assertThrows(IllegalArgumentException.class, () -> Invitation.create(tree, List.of(lan), Long.MAX_VALUE));
        InetSocketAddress longName = InetSocketAddress.createUnresolved("x".repeat(120), 7450);
        assertThrows(IllegalArgumentException.class, () -> Invitation.create(tree, List.of(longName, longName), END));
    }

    @Test
    void aProofIsOfOneSideOneConnectionAndOneSecret() {
        InvitationSecret secret = invitation.secret();
        Hash keyInfo = Hash.of(bytes(1, 32));
        Hash bound = secret.bind(tree, keyInfo, bytes(2, 32), bytes(3, 32));
        byte[] proof = secret.prove(Side.MEMBER, bound);
        assertTrue(secret.isProof(Side.MEMBER, bound, proof));
        assertFalse(secret.isProof(Side.JOINER, bound, proof));
        assertFalse(secret.isProof(Side.MEMBER, bound, new byte[0]));
        assertFalse(InvitationSecret.random().isProof(Side.MEMBER, bound, proof));
        for (Hash other : List.of(
                secret.bind(TreeId.of(bytes(6, 32)), keyInfo, bytes(2, 32), bytes(3, 32)),
                secret.bind(tree, Hash.of(bytes(6, 32)), bytes(2, 32), bytes(3, 32)),
                secret.bind(tree, keyInfo, bytes(6, 32), bytes(3, 32)),
                secret.bind(tree, keyInfo, bytes(2, 32), bytes(6, 32)),
                InvitationSecret.random().bind(tree, keyInfo, bytes(2, 32), bytes(3, 32)))) {
            assertFalse(secret.isProof(Side.MEMBER, other, proof));
        }
    }

    @Test
    void aStatementIsSignedByTheKeysInIt() throws Exception {
        Hash bound = Hash.of(bytes(1, 32));
        JoinStatement own = JoinStatement.create(identity(2), bound);
        assertEquals(identity(2).keys(), JoinStatement.parse(own.toBytes()).keys());
        assertEquals(bound, JoinStatement.parse(own.toBytes()).binding());
        byte[] ofAnothersKeys =
                identity(3).sign(SignatureKind.JOIN, own.envelope().body()).toBytes();
        assertCode(Code.BAD_SIGNATURE, () -> JoinStatement.parse(ofAnothersKeys));
        byte[] ofAnotherKind =
                identity(2).sign(SignatureKind.SESSION, own.envelope().body()).toBytes();
        assertCode(Code.BAD_SIGNATURE, () -> JoinStatement.parse(ofAnotherKind));
    }

    @Test
    void whoIsAdmittedIsANodeAndReadsWhatItWasGiven() throws Exception {
        TestTree t = new TestTree();
        Identity trusted = identity(4);
        Identity blind = identity(5);
        NodeAdmission ofTrusted = NodeAdmission.create(
                t.authority, t.root, trusted.keys(), TreeFounding.NODE_RIGHTS, List.of(t.topKey), t.time);
        NodeAdmission ofBlind = NodeAdmission.create(t.authority, t.root, blind.keys(), Rights.NODE, List.of(), t.time);
        for (NodeAdmission admission : List.of(ofTrusted, ofBlind)) {
            t.authority.checkNode(admission.chain(), t.time); // also before the log has it
            for (TreeFounding.Entry entry : admission.entries()) {
                t.add(entry.kind(), entry.payload());
            }
            t.authority.checkNode(admission.chain(), t.time);
        }
        try (KeyRing ring = new KeyRing(trusted, t.authority)) {
            assertEquals(t.topKey.secret(), ring.currentKey(t.top).secret());
        }
        try (KeyRing ring = new KeyRing(blind, t.authority)) {
            Fixtures.assertDenied(Denial.NO_CAPABILITY, () -> ring.currentKey(t.top));
        }
        assertThrows(
                IllegalArgumentException.class,
                () -> NodeAdmission.create(t.authority, t.root, blind.keys(), Rights.WRITE, List.of(), t.time));
    }

    @Test
    void whoMayDelegateAdmitsNodesForATime() throws Exception {
        TestTree t = new TestTree();
        Identity member = identity(4);
        WriteCapabilityChain members =
                t.addChain(t.grant(t.root, t.top, member, TreeFounding.NODE_RIGHTS.and(Rights.DELEGATE)));
        NodeAdmission admission = NodeAdmission.create(
                t.authority, member, members, identity(5).keys(), Rights.NODE, List.of(t.topKey), t.time, t.time + 10);
        for (TreeFounding.Entry entry : admission.entries()) {
            t.add(entry.kind(), entry.payload());
        }
        t.authority.checkNode(admission.chain(), t.time);
        Fixtures.assertDenied(Denial.EXPIRED, () -> t.authority.checkNode(admission.chain(), t.time + 10));
        NodeAdmission withoutDelegating = NodeAdmission.create(
                t.authority,
                identity(5),
                admission.chain(),
                identity(6).keys(),
                Rights.NODE,
                List.of(),
                t.time,
                t.time + 10);
        Fixtures.assertDenied(Denial.DELEGATE_MISSING, () -> t.authority.checkNode(withoutDelegating.chain(), t.time));
    }
}
