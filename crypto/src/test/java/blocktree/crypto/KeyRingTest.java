package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.assertDenied;
import static blocktree.crypto.Fixtures.identity;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException.Code;
import blocktree.crypto.CryptoException.Denial;
import org.junit.jupiter.api.Test;

class KeyRingTest {

    private final Identity reader = identity(2);
    private final TestTree t;
    private final Identity root;

    KeyRingTest() throws CryptoException {
        t = new TestTree();
        root = t.root;
    }

    private static void assertSameKey(DomainKey expected, DomainKey actual) {
        assertEquals(expected.secret(), actual.secret());
        assertEquals(expected.epoch(), actual.epoch());
    }

    @Test
    void aReadcapOpensItsEpochForItsRecipientOnly() throws Exception {
        t.addReadcap(root, t.topKey, reader);
        try (KeyRing ring = new KeyRing(reader, t.authority);
                KeyRing stranger = new KeyRing(identity(3), t.authority)) {
            assertSameKey(t.topKey, ring.domainKey(t.top, 1));
            assertSame(ring.domainKey(t.top, 1), ring.currentKey(t.top));
            assertDenied(Denial.NO_CAPABILITY, () -> stranger.domainKey(t.top, 1));
        }
    }

    @Test
    void aLaterEpochsKeyOpensEarlierOnes() throws Exception {
        DomainKey second = t.addEpoch(root, t.top, 1, t.topKey, null);
        DomainKey third = t.addEpoch(root, t.top, 1, second, null);
        t.addReadcap(root, third, reader);
        try (KeyRing ring = new KeyRing(reader, t.authority)) {
            assertSameKey(t.topKey, ring.domainKey(t.top, 1));
            assertSameKey(second, ring.domainKey(t.top, 2));
            assertSameKey(third, ring.currentKey(t.top));
        }
    }

    @Test
    void anEarlierEpochsKeyNeverOpensALaterOne() throws Exception {
        t.addReadcap(root, t.topKey, reader);
        DomainKey second = t.addEpoch(root, t.top, 2, t.topKey, null);
        try (KeyRing ring = new KeyRing(reader, t.authority)) {
            assertSameKey(t.topKey, ring.domainKey(t.top, 1));
            assertDenied(Denial.NO_CAPABILITY, () -> ring.domainKey(t.top, 2));
            t.addReadcap(root, second, reader);
            assertSameKey(second, ring.domainKey(t.top, 2));
        }
    }

    @Test
    void theParentsReadersOpenInheritingDomainsAtAnyDepthAndNoOthers() throws Exception {
        t.addReadcap(root, t.topKey, reader);
        DomainId child = t.addDomain(root, t.top, true);
        DomainKey childKey = t.addEpoch(root, child, 1, null, t.topKey);
        DomainId grandchild = t.addDomain(root, child, true);
        DomainKey grandchildKey = t.addEpoch(root, grandchild, 1, null, childKey);
        DomainId apart = t.addDomain(root, t.top, false);
        t.addEpoch(root, apart, 1, null, null);
        try (KeyRing ring = new KeyRing(reader, t.authority)) {
            assertSameKey(grandchildKey, ring.domainKey(grandchild, 1));
            assertDenied(Denial.NO_CAPABILITY, () -> ring.domainKey(apart, 1));
        }
    }

    @Test
    void aChildsReaderDoesNotOpenTheParent() throws Exception {
        DomainId child = t.addDomain(root, t.top, true);
        DomainKey childKey = t.addEpoch(root, child, 1, null, t.topKey);
        t.addReadcap(root, childKey, reader);
        try (KeyRing ring = new KeyRing(reader, t.authority)) {
            assertSameKey(childKey, ring.domainKey(child, 1));
            assertDenied(Denial.NO_CAPABILITY, () -> ring.domainKey(t.top, 1));
        }
    }

    @Test
    void aReaderThatAParentsNewEpochLeavesOutDoesNotOpenTheChildsNewEpoch() throws Exception {
        t.addReadcap(root, t.topKey, reader);
        DomainId child = t.addDomain(root, t.top, true);
        DomainKey first = t.addEpoch(root, child, 1, null, t.topKey);
        DomainKey topSecond = t.addEpoch(root, t.top, 2, t.topKey, null);
        t.addEpoch(root, child, 2, first, topSecond);
        try (KeyRing ring = new KeyRing(reader, t.authority)) {
            assertSameKey(first, ring.domainKey(child, 1));
            assertDenied(Denial.NO_CAPABILITY, () -> ring.domainKey(child, 2));
        }
    }

    @Test
    void aKeyThatTheEpochDidNotCommitToIsWrong() throws Exception {
        DomainKey impostor = DomainKey.random(t.tree, t.top, 1);
        t.addReadcap(root, impostor, reader);
        try (KeyRing ring = new KeyRing(reader, t.authority)) {
            assertCode(Code.WRONG_KEY, () -> ring.domainKey(t.top, 1));
            t.addReadcap(root, t.topKey, reader);
            t.addReadcap(root, impostor, reader);
            assertSameKey(t.topKey, ring.domainKey(t.top, 1));
        }
    }

    @Test
    void anEpochThatDoesNotOpenTheOneBeforeIsReportedForThatOneOnly() throws Exception {
        DomainKey second = DomainKey.random(t.tree, t.top, 2);
        DomainKey falsePrevious = DomainKey.random(t.tree, t.top, 1);
        t.add(
                RecordKind.EPOCH,
                EpochRecord.create(root, second, 1, falsePrevious, null).toBytes());
        t.addReadcap(root, second, reader);
        try (KeyRing ring = new KeyRing(reader, t.authority)) {
            assertSameKey(second, ring.domainKey(t.top, 2));
            assertCode(Code.WRONG_KEY, () -> ring.domainKey(t.top, 1));
        }
    }

    @Test
    void aReadcapDoesNotOpenForAnotherDomainEpochOrTree() throws Exception {
        ReadCapability real = ReadCapability.issue(root, t.topKey, reader.keys());
        assertSameKey(t.topKey, real.open(reader));
        for (ReadCapability moved : new ReadCapability[] {
            moved(real, TreeId.of(Fixtures.bytes(1, 32)), real.domain(), 1, reader.id()),
            moved(real, real.tree(), DomainId.of(Fixtures.bytes(1, 32)), 1, reader.id()),
            moved(real, real.tree(), real.domain(), 2, reader.id())
        }) {
            assertCode(Code.CORRUPT, () -> moved.open(reader));
        }
        assertCode(Code.CORRUPT, () -> real.open(identity(3)));
    }

    private static ReadCapability moved(
            ReadCapability real, TreeId tree, DomainId domain, int epoch, PrincipalId recipient) {
        return new ReadCapability(real.envelope(), tree, domain, epoch, recipient, real.enc(), real.ciphertext());
    }

    /** Either half of the hybrid alone decides: altering the ML-KEM part or the X25519 part closes it. */
    @Test
    void aReadcapRestsOnBothHalvesOfTheHybrid() throws Exception {
        ReadCapability real = ReadCapability.issue(root, t.topKey, reader.keys());
        assertEquals(1088 + 32, real.enc().length, "ML-KEM-768 ciphertext, then X25519 point");
        for (int offset : new int[] {0, 1087, 1088, 1118}) {
            byte[] enc = real.enc().clone();
            enc[offset] ^= 1;
            ReadCapability altered = new ReadCapability(
                    real.envelope(), real.tree(), real.domain(), 1, real.recipient(), enc, real.ciphertext());
            assertCode(Code.CORRUPT, () -> altered.open(reader));
        }
    }

    @Test
    void closingZeroesTheKeysAndEndsTheRing() throws Exception {
        t.addReadcap(root, t.topKey, reader);
        KeyRing ring = new KeyRing(reader, t.authority);
        DomainKey key = ring.domainKey(t.top, 1);
        ring.close();
        assertTrue(key.isClosed());
        assertThrows(IllegalStateException.class, () -> ring.domainKey(t.top, 1));
        assertThrows(IllegalStateException.class, () -> key.sealName(new byte[1]));
    }
}
