package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.assertDenied;
import static blocktree.crypto.Fixtures.bytes;
import static blocktree.crypto.Fixtures.identity;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import blocktree.crypto.CryptoException.Code;
import blocktree.crypto.CryptoException.Denial;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class NodeProofTest {

    private static final byte[] KEY_INFO = bytes(7, 91);
    private static final long BEGIN = TestTree.START;
    private static final long END = BEGIN + NodeProof.LIFE_MILLIS_MAX;

    private final Identity alice = identity(2);
    private final Identity mallory = identity(3);
    private final TestTree t;
    private final WriteCapabilityChain chain;
    private final NodeProof proof;

    NodeProofTest() throws CryptoException {
        t = new TestTree();
        chain = WriteCapabilityChain.of(List.of(t.grant(t.root, t.top, alice, Rights.NODE)));
        proof = NodeProof.create(alice, chain, KEY_INFO, BEGIN, END);
    }

    @Test
    void itVerifiesAfterItWasSent() throws Exception {
        NodeProof received = NodeProof.parse(proof.toBytes());
        received.verify(KEY_INFO);
        received.checkTimes(BEGIN);
        assertEquals(alice.keys(), received.subject());
        assertEquals(t.tree, received.tree());
        assertEquals(proof.keyInfoHash(), received.keyInfoHash());
    }

    @Test
    void itIsNotForAnotherKey() {
        assertCode(Code.WRONG_KEY, () -> proof.verify(bytes(8, 91)));
    }

    @Test
    void aStatementByAnotherThanTheSubjectOfTheChainIsRefused() throws Exception {
        NodeProof mallorys = NodeProof.create(
                mallory,
                WriteCapabilityChain.of(List.of(t.grant(t.root, t.top, mallory, Rights.NODE))),
                KEY_INFO,
                BEGIN,
                END);
        byte[] mixed = CryptoProto.NodeProof.newBuilder()
                .setChain(Wire.bytes(chain.toBytes()))
                .setStatement(Wire.bytes(mallorys.statement().toBytes()))
                .build()
                .toByteArray();
        assertCode(Code.BAD_SIGNATURE, () -> NodeProof.parse(mixed).verify(KEY_INFO));
        assertThrows(IllegalArgumentException.class, () -> NodeProof.create(mallory, chain, KEY_INFO, BEGIN, END));
    }

    @Test
    void aSignatureOfAnotherKindIsNoStatement() throws Exception {
        SignedEnvelope asCommit =
                alice.sign(SignatureKind.COMMIT, proof.statement().body());
        byte[] mixed = CryptoProto.NodeProof.newBuilder()
                .setChain(Wire.bytes(chain.toBytes()))
                .setStatement(Wire.bytes(asCommit.toBytes()))
                .build()
                .toByteArray();
        assertCode(Code.BAD_SIGNATURE, () -> NodeProof.parse(mixed).verify(KEY_INFO));
    }

    @Test
    void itHoldsFromItsBeginningUntilBeforeItsEndWithFiveMinutesOfGrace() throws Exception {
        long grace = NodeProof.CLOCK_GRACE_MILLIS;
        assertDenied(Denial.NOT_YET_VALID, () -> proof.checkTimes(BEGIN - grace - 1));
        proof.checkTimes(BEGIN - grace);
        proof.checkTimes(END + grace - 1);
        assertDenied(Denial.EXPIRED, () -> proof.checkTimes(END + grace));
    }

    @Test
    void itHoldsThirtyDaysAtMost() {
        NodeProof tooLong = NodeProof.create(alice, chain, KEY_INFO, BEGIN, END + 1);
        assertCode(Code.MALFORMED, () -> tooLong.checkTimes(BEGIN));
        NodeProof endless = NodeProof.create(alice, chain, KEY_INFO, 0, Long.MAX_VALUE);
        assertCode(Code.MALFORMED, () -> endless.checkTimes(BEGIN));
    }

    @Test
    void everyAlteredBitIsNoticed() {
        byte[] sent = proof.toBytes();
        for (int bit = 0; bit < sent.length * 8; bit += 13) {
            byte[] altered = sent.clone();
            altered[bit / 8] ^= (byte) (1 << bit % 8);
            assertThrows(
                    CryptoException.class,
                    () -> {
                        NodeProof read = NodeProof.parse(altered);
                        read.verify(KEY_INFO);
                        t.authority.checkNode(read.chain(), t.time);
                    },
                    "bit " + bit);
        }
    }

    @Test
    void itsSizeIsBoundedAndTheLongestChainFits() throws Exception {
        List<WriteCapability> links = new ArrayList<>();
        Identity issuer = t.root;
        for (int i = 0; i < WriteCapabilityChain.LINKS_MAX; i++) {
            Identity subject = identity(10 + i);
            links.add(t.grant(issuer, t.top, subject, Rights.ALL));
            issuer = subject;
        }
        NodeProof longest = NodeProof.create(issuer, WriteCapabilityChain.of(links), KEY_INFO, BEGIN, END);
        NodeProof.parse(longest.toBytes()).verify(KEY_INFO);
        assertCode(Code.TOO_MANY, () -> NodeProof.parse(new byte[NodeProof.SIZE_MAX + 1]));
    }
}
