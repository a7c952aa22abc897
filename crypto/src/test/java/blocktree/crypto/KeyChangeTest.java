package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertDenied;
import static blocktree.crypto.Fixtures.identity;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.CryptoException.Denial;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class KeyChangeTest {

    private static final Rights WRITE_AND_DELEGATE = Rights.WRITE.and(Rights.DELEGATE);

    private final Identity alice = identity(2);
    private final Identity bob = identity(3);
    private final Identity carol = identity(4);
    private final Identity fresh = identity(5);
    private final TestTree t;
    private final Identity root;

    KeyChangeTest() throws CryptoException {
        t = new TestTree();
        root = t.root;
        t.addReadcap(root, t.topKey, root);
    }

    private KeyChange rotate(long graceMillis) throws CryptoException {
        return apply(
                KeyChange.rotateRoot(t.authority, root, fresh, t.time, graceMillis == 0 ? 0 : t.time + graceMillis));
    }

    private KeyChange apply(KeyChange change) throws CryptoException {
        for (TreeFounding.Entry record : change.entries()) {
            t.add(record.kind(), record.payload());
        }
        return change;
    }

    private void check(Identity writer, WriteCapabilityChain chain) throws CryptoException {
        t.authority.checkRights(writer.id(), chain.id(), t.top, Rights.WRITE, t.position, t.time);
    }

    private WriteCapabilityChain newest(Identity subject) {
        List<WriteCapabilityChain> chains = t.authority.chainsOf(subject.id());
        return chains.get(chains.size() - 1);
    }

    @Test
    void everyChainThatCountsIsIssuedAgainUnderTheNewRootAndNoOther() throws Exception {
        WriteCapability first = t.grant(root, t.top, alice, WRITE_AND_DELEGATE, TestTree.START, t.time + 1000);
        WriteCapabilityChain ofAlice = t.addChain(first);
        WriteCapabilityChain ofBob = t.addChain(first, t.grant(alice, t.top, bob, Rights.WRITE));
        WriteCapability ended = t.grant(root, t.top, carol, Rights.WRITE);
        t.addChain(ended);
        t.revoke(root, ended);
        KeyChange change = rotate(0);
        assertEquals(Set.of(alice.id(), bob.id()), change.writers());

        assertDenied(Denial.NOT_ROOT, () -> check(alice, ofAlice));
        assertDenied(Denial.NOT_ROOT, () -> check(bob, ofBob));
        check(alice, newest(alice));
        check(bob, newest(bob));
        assertEquals(first.notAfterMillis(), newest(alice).links().get(0).notAfterMillis());
        assertEquals(first.rights(), newest(alice).links().get(0).rights());
        assertEquals(1, t.authority.chainsOf(carol.id()).size(), "what was revoked does not come back");
        // One link for both: ending it ends what was delegated under it.
        t.revoke(fresh, newest(alice).links().get(0));
        assertDenied(Denial.REVOKED, () -> check(alice, newest(alice)));
        assertDenied(Denial.REVOKED, () -> check(bob, newest(bob)));
    }

    @Test
    void inTheGraceOthersLinksCountAndTheOldRootsOwnDoNot() throws Exception {
        WriteCapabilityChain own = t.addChain(t.grant(root, t.top, root, Rights.ALL));
        WriteCapabilityChain ofAlice = t.addChain(t.grant(root, t.top, alice, Rights.WRITE));
        KeyChange change = rotate(100);
        check(alice, ofAlice);
        t.authority.checkRights(fresh.id(), change.chain(), t.top, Rights.ALL, t.position, t.time);
        assertDenied(Denial.REVOKED, () -> check(root, own));
        assertDenied(Denial.REVOKED, () -> t.addChain(own.links().get(0), t.grant(root, t.top, bob, Rights.WRITE)));
        assertDenied(Denial.NOT_REVOKER, () -> t.revoke(root, ofAlice.links().get(0)));
        t.time += 100;
        assertDenied(Denial.NOT_ROOT, () -> check(alice, ofAlice));
        check(alice, newest(alice));
    }

    @Test
    void theNewEpochOpensForTheNewRootAndEveryReaderButTheOldRoot() throws Exception {
        DomainId below = t.addDomain(root, t.top, true);
        t.addEpoch(root, below, 1, null, t.topKey);
        DomainId apart = t.addDomain(root, t.top, false);
        DomainKey apartKey = t.addEpoch(root, apart, 1, null, null);
        t.addReadcap(root, apartKey, root);
        t.addChain(t.grant(root, t.top, alice, Rights.WRITE));
        t.addReadcap(root, t.topKey, alice);
        assertEquals(Set.of(alice.id()), rotate(0).readers());

        for (DomainId domain : List.of(t.top, below, apart)) {
            assertEquals(2, t.authority.currentEpoch(domain));
            assertEquals(2, t.authority.minEpoch(domain, t.position));
            try (KeyRing ring = new KeyRing(fresh, t.authority);
                    KeyRing former = new KeyRing(root, t.authority)) {
                ring.currentKey(domain);
                ring.domainKey(domain, 1);
                former.domainKey(domain, 1);
                assertDenied(Denial.NO_CAPABILITY, () -> former.currentKey(domain));
            }
        }
        try (KeyRing ring = new KeyRing(alice, t.authority)) {
            ring.currentKey(t.top);
            ring.currentKey(below);
            assertDenied(Denial.NO_CAPABILITY, () -> ring.currentKey(apart));
        }
    }

    @Test
    void aReplacedNodeHoldsNothingAndItsSuccessorWhatANodeHas() throws Exception {
        WriteCapabilityChain before = t.addChain(t.grant(root, t.top, alice, TreeFounding.NODE_RIGHTS));
        t.addReadcap(root, t.topKey, alice);
        KeyChange change = apply(KeyChange.replaceNode(t.authority, root, alice.id(), fresh.keys(), t.time));
        assertDenied(Denial.REVOKED, () -> check(alice, before));
        t.authority.checkRights(fresh.id(), change.chain(), t.top, TreeFounding.NODE_RIGHTS, t.position, t.time);
        try (KeyRing ring = new KeyRing(fresh, t.authority);
                KeyRing roots = new KeyRing(root, t.authority);
                KeyRing former = new KeyRing(alice, t.authority)) {
            ring.domainKey(t.top, 1);
            ring.currentKey(t.top);
            roots.currentKey(t.top);
            assertDenied(Denial.NO_CAPABILITY, () -> former.currentKey(t.top));
        }
    }

    @Test
    void onlyTheRootInForceChangesKeys() throws Exception {
        assertDenied(Denial.NOT_ROOT, () -> KeyChange.rotateRoot(t.authority, alice, fresh, t.time, 0));
        assertDenied(Denial.NOT_ROOT, () -> KeyChange.replaceNode(t.authority, alice, bob.id(), fresh.keys(), t.time));
        rotate(0);
        assertDenied(Denial.NOT_ROOT, () -> KeyChange.rotateRoot(t.authority, root, carol, t.time, 0));
        assertTrue(t.authority.wasRoot(root.id()));
        assertFalse(t.authority.wasRoot(alice.id()));
    }
}
