package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.assertDenied;
import static blocktree.crypto.Fixtures.identity;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import blocktree.crypto.CryptoException.Code;
import blocktree.crypto.CryptoException.Denial;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class AuthorityTest {

    private static final Rights WRITE = Rights.WRITE;
    private static final Rights WRITE_AND_DELEGATE = Rights.WRITE.and(Rights.DELEGATE);

    private final Identity alice = identity(2);
    private final Identity bob = identity(3);
    private final Identity carol = identity(4);
    private final TestTree t;
    private final Identity root;

    AuthorityTest() throws CryptoException {
        t = new TestTree();
        root = t.root;
    }

    // Chains

    @Test
    void aChainFromTheRootAllowsItsSubjectToWriteAndGivesItsKeys() throws Exception {
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE));
        assertEquals(alice.keys(), t.authority.check(alice.id(), chain.id(), t.top, 1, WRITE, t.position, t.time));
    }

    @Test
    void aChainCountsOnlyFromItsOwnPositionInTheLog() throws Exception {
        long before = t.position;
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE));
        assertDenied(Denial.UNKNOWN_CHAIN, () -> t.check(chain, t.top, before, t.time));
        t.check(chain, t.top, before + 1, t.time);
    }

    @Test
    void aChainThatTheLogDoesNotHoldIsUnknown() {
        WriteCapabilityChain chain = WriteCapabilityChain.of(List.of(t.grant(root, t.top, alice, WRITE)));
        assertDenied(Denial.UNKNOWN_CHAIN, () -> t.check(chain, t.top));
    }

    @Test
    void aChainIsForItsSubjectOnly() throws Exception {
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE));
        assertDenied(
                Denial.OTHER_SUBJECT,
                () -> t.authority.check(bob.id(), chain.id(), t.top, 1, WRITE, t.position, t.time));
    }

    @Test
    void aRightThatTheChainDoesNotGrantIsMissing() throws Exception {
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE));
        for (Rights right : List.of(Rights.DELEGATE, Rights.REKEY, Rights.NODE)) {
            assertDenied(
                    Denial.RIGHT_MISSING,
                    () -> t.authority.checkRights(alice.id(), chain.id(), t.top, right, t.position, t.time));
        }
    }

    @Test
    void aCapabilityCountsFromItsBeginningUntilBeforeItsEnd() throws Exception {
        long begin = t.time + 100;
        long end = t.time + 200;
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE, begin, end));
        assertDenied(Denial.NOT_YET_VALID, () -> t.check(chain, t.top, t.position, begin - 1));
        t.check(chain, t.top, t.position, begin);
        t.check(chain, t.top, t.position, end - 1);
        assertDenied(Denial.EXPIRED, () -> t.check(chain, t.top, t.position, end));
    }

    @Test
    void aLinkIsNoLongerThanTheOneAboveItWhateverItSays() throws Exception {
        long end = t.time + 100;
        WriteCapabilityChain chain = t.addChain(
                t.grant(root, t.top, alice, WRITE_AND_DELEGATE, t.time, end), t.grant(alice, t.top, bob, WRITE));
        t.check(chain, t.top, t.position, end - 1);
        assertDenied(Denial.EXPIRED, () -> t.check(chain, t.top, t.position, end));
    }

    @Test
    void anExpiredChainIsNotTaken() {
        WriteCapability expired = t.grant(root, t.top, alice, WRITE, 0, t.time);
        assertDenied(Denial.EXPIRED, () -> t.addChain(expired));
    }

    @Test
    void aDelegateGrantsRightsOfItsOwn() throws Exception {
        t.check(t.addChain(t.grant(root, t.top, alice, WRITE_AND_DELEGATE), t.grant(alice, t.top, bob, WRITE)), t.top);
    }

    @Test
    void noOneGrantsWithoutTheRightToDelegate() {
        assertDenied(
                Denial.DELEGATE_MISSING,
                () -> t.addChain(t.grant(root, t.top, alice, WRITE), t.grant(alice, t.top, bob, WRITE)));
    }

    @Test
    void noOneGrantsARightThatTheyDoNotHold() {
        assertDenied(
                Denial.RIGHTS_EXCEEDED,
                () -> t.addChain(
                        t.grant(root, t.top, alice, WRITE_AND_DELEGATE), t.grant(alice, t.top, bob, Rights.REKEY)));
    }

    @Test
    void linksFollowOneAnother() {
        assertDenied(
                Denial.BROKEN_CHAIN,
                () -> t.addChain(t.grant(root, t.top, alice, WRITE_AND_DELEGATE), t.grant(bob, t.top, carol, WRITE)));
    }

    @Test
    void theFirstLinkIsARootPrincipals() {
        assertDenied(Denial.NOT_ROOT, () -> t.addChain(t.grant(alice, t.top, bob, WRITE)));
    }

    @Test
    void aForgedSignatureIsRefused() {
        WriteCapability real = t.grant(root, t.top, alice, WRITE);
        byte[] body = real.envelope().body();
        SignedEnvelope forged = SignedEnvelope.of(root.id(), body, new byte[64]);
        assertCode(Code.BAD_SIGNATURE, () -> t.addChain(WriteCapability.parse(forged.toBytes())));
    }

    @Test
    void aSignatureByAnotherKeyInTheRootsNameIsRefused() throws Exception {
        byte[] body = t.grant(root, t.top, alice, WRITE).envelope().body();
        CryptoProto.Signed byAlice = CryptoProto.Signed.parseFrom(
                alice.sign(SignatureKind.WRITECAP, body).toBytes());
        byte[] forged =
                byAlice.toBuilder().setSigner(Wire.bytes(root.id())).build().toByteArray();
        assertCode(Code.BAD_SIGNATURE, () -> t.addChain(WriteCapability.parse(forged)));
    }

    @Test
    void extendingTheTimeOfACapabilityBreaksItsSignature() throws Exception {
        WriteCapability real = t.grant(root, t.top, alice, WRITE, t.time, t.time + 100);
        CryptoProto.WriteCap longer = CryptoProto.WriteCap.parseFrom(
                        real.envelope().body())
                .toBuilder()
                .setNotAfterMillis(t.time + 1_000_000)
                .build();
        byte[] forged = CryptoProto.Signed.parseFrom(real.toBytes()).toBuilder()
                .setBody(longer.toByteString())
                .build()
                .toByteArray();
        assertCode(Code.BAD_SIGNATURE, () -> t.addChain(WriteCapability.parse(forged)));
    }

    @Test
    void aChainFromAnotherTreeIsRefused() throws Exception {
        TestTree other = new TestTree(2);
        WriteCapability foreign = other.grant(root, other.top, alice, WRITE);
        assertCode(Code.OUT_OF_ORDER, () -> t.addChain(foreign));
    }

    @Test
    void aChainHasAtMostEightLinks() throws Exception {
        CryptoProto.WriteCapChain.Builder tooLong = CryptoProto.WriteCapChain.newBuilder();
        List<WriteCapability> links = new ArrayList<>();
        Identity issuer = root;
        for (int i = 0; i < 9; i++) {
            Identity subject = identity(20 + i);
            WriteCapability link = t.grant(issuer, t.top, subject, WRITE_AND_DELEGATE);
            tooLong.addLinks(Wire.bytes(link.toBytes()));
            links.add(link);
            issuer = subject;
        }
        assertCode(
                Code.TOO_MANY,
                () -> t.add(RecordKind.WRITECAP_CHAIN, tooLong.build().toByteArray()));
        t.check(t.addChain(links.subList(0, 8).toArray(new WriteCapability[0])), t.top);
    }

    @Test
    void aChainIsTakenOnce() throws Exception {
        WriteCapability link = t.grant(root, t.top, alice, WRITE);
        t.addChain(link);
        assertCode(Code.OUT_OF_ORDER, () -> t.addChain(link));
    }

    // Domains

    @Test
    void authorityReachesInheritingDomainsBelowAndStopsAtOneThatDoesNotInherit() throws Exception {
        DomainId child = t.addDomain(root, t.top, true);
        DomainId grandchild = t.addDomain(root, child, true);
        DomainId apart = t.addDomain(root, child, false);
        DomainId belowApart = t.addDomain(root, apart, true);
        DomainKey childKey = t.addEpoch(root, child, 1, null, t.topKey);
        t.addEpoch(root, grandchild, 1, null, childKey);
        t.addEpoch(root, apart, 1, null, null);
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE));
        t.check(chain, child);
        t.check(chain, grandchild);
        assertDenied(Denial.OTHER_DOMAIN, () -> t.check(chain, apart));
        assertDenied(Denial.OTHER_DOMAIN, () -> t.check(chain, belowApart));
    }

    @Test
    void authorityInAChildIsNoneInItsParentOrSibling() throws Exception {
        DomainId child = t.addDomain(root, t.top, true);
        DomainId sibling = t.addDomain(root, t.top, true);
        t.addEpoch(root, child, 1, null, t.topKey);
        t.addEpoch(root, sibling, 1, null, t.topKey);
        WriteCapabilityChain chain = t.addChain(t.grant(root, child, alice, WRITE));
        t.check(chain, child);
        assertDenied(Denial.OTHER_DOMAIN, () -> t.check(chain, t.top));
        assertDenied(Denial.OTHER_DOMAIN, () -> t.check(chain, sibling));
    }

    @Test
    void aDelegateNarrowsToADomainBelowButNeverWidens() throws Exception {
        DomainId child = t.addDomain(root, t.top, true);
        DomainId apart = t.addDomain(root, t.top, false);
        t.addEpoch(root, child, 1, null, t.topKey);
        WriteCapability overTop = t.grant(root, t.top, alice, WRITE_AND_DELEGATE);
        WriteCapability overChild = t.grant(root, child, alice, WRITE_AND_DELEGATE);
        WriteCapabilityChain narrowed = t.addChain(overTop, t.grant(alice, child, bob, WRITE));
        t.check(narrowed, child);
        assertDenied(Denial.OTHER_DOMAIN, () -> t.check(narrowed, t.top));
        assertDenied(Denial.OTHER_DOMAIN, () -> t.addChain(overChild, t.grant(alice, t.top, bob, WRITE)));
        assertDenied(Denial.OTHER_DOMAIN, () -> t.addChain(overTop, t.grant(alice, apart, bob, WRITE)));
    }

    @Test
    void aDomainNeedsTheRightToDelegateInItsParent() throws Exception {
        t.addChain(t.grant(root, t.top, alice, WRITE_AND_DELEGATE));
        t.addChain(t.grant(root, t.top, bob, WRITE.and(Rights.REKEY)));
        t.addDomain(alice, t.top, true);
        assertDenied(Denial.NO_CAPABILITY, () -> t.addDomain(bob, t.top, true));
        assertDenied(Denial.UNKNOWN_PRINCIPAL, () -> t.addDomain(carol, t.top, true));
    }

    @Test
    void thereIsOneRootDomainAndARootPrincipalMakesIt() throws Exception {
        assertCode(Code.OUT_OF_ORDER, () -> t.addDomain(root, null, false));
        Authority fresh = new Authority(t.tree);
        fresh.apply(RecordKind.GENESIS, t.genesis.toBytes(), 1, t.time);
        DomainRecord.Draft draft = DomainRecord.draft(t.tree, null, alice.id());
        DomainRecord byAlice =
                DomainRecord.create(alice, t.tree, null, draft, false, BlockId.of(Fixtures.bytes(1, 32)));
        assertDenied(Denial.UNKNOWN_PRINCIPAL, () -> fresh.apply(RecordKind.DOMAIN, byAlice.toBytes(), 2, t.time));
    }

    @Test
    void aDomainUnderAnUnknownParentIsRefused() {
        assertDenied(Denial.UNKNOWN_DOMAIN, () -> t.addDomain(root, DomainId.of(Fixtures.bytes(7, 32)), true));
    }

    @Test
    void anIdThatIsNotMadeOfParentCreatorAndNonceIsRefused() {
        DomainRecord.Draft squatted = new DomainRecord.Draft(t.top, Fixtures.bytes(5, 32));
        DomainRecord record =
                DomainRecord.create(root, t.tree, t.top, squatted, true, BlockId.of(Fixtures.bytes(1, 32)));
        assertCode(Code.MALFORMED, () -> t.add(RecordKind.DOMAIN, record.toBytes()));
    }

    @Test
    void aDomainIsNotThereBeforeItsRecord() throws Exception {
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE));
        long before = t.position;
        DomainId child = t.addDomain(root, t.top, true);
        assertDenied(
                Denial.UNKNOWN_DOMAIN,
                () -> t.authority.checkRights(alice.id(), chain.id(), child, WRITE, before, t.time));
    }

    @Test
    void domainsNestUpToABound() throws Exception {
        DomainId deepest = t.top;
        for (int depth = 2; depth <= Authority.DOMAIN_DEPTH_MAX; depth++) {
            deepest = t.addDomain(root, deepest, true);
        }
        DomainId last = deepest;
        assertCode(Code.TOO_MANY, () -> t.addDomain(root, last, true));
    }

    // Revocations

    @Test
    void aRevokedChainCountsBeforeTheRevocationAndNotFromItOn() throws Exception {
        WriteCapability link = t.grant(root, t.top, alice, WRITE);
        WriteCapabilityChain chain = t.addChain(link);
        long before = t.position;
        t.revoke(root, link);
        t.check(chain, t.top, before, t.time);
        assertDenied(Denial.REVOKED, () -> t.check(chain, t.top, before + 1, t.time));
        assertEquals(before + 1, t.authority.revokedAt(link.envelopeId()));
    }

    @Test
    void revokingALinkEndsEveryChainThroughIt() throws Exception {
        WriteCapability toAlice = t.grant(root, t.top, alice, WRITE_AND_DELEGATE);
        WriteCapability toBob = t.grant(alice, t.top, bob, WRITE);
        WriteCapabilityChain chain = t.addChain(toAlice, toBob);
        t.revoke(root, toAlice);
        assertDenied(Denial.REVOKED, () -> t.check(chain, t.top));
        WriteCapability toCarol = t.grant(alice, t.top, carol, WRITE);
        assertDenied(Denial.REVOKED, () -> t.addChain(toAlice, toCarol));
    }

    @Test
    void issuersRevokeWhatTheyIssuedAndWhatCameOfIt() throws Exception {
        WriteCapability toAlice = t.grant(root, t.top, alice, WRITE_AND_DELEGATE);
        WriteCapability toBob = t.grant(alice, t.top, bob, WRITE_AND_DELEGATE);
        WriteCapability toCarol = t.grant(bob, t.top, carol, WRITE);
        WriteCapabilityChain chain = t.addChain(toAlice, toBob, toCarol);
        assertDenied(Denial.NOT_REVOKER, () -> t.revoke(bob, toBob));
        assertDenied(Denial.NOT_REVOKER, () -> t.revoke(carol, toCarol));
        assertDenied(Denial.NOT_REVOKER, () -> t.revoke(alice, toAlice));
        t.revoke(alice, toCarol);
        assertDenied(Denial.REVOKED, () -> t.check(chain, t.top));
    }

    /** Bob grants to Alice, unasked, so that a chain of his own leads through her grant to Carol; that one only he may end. */
    @Test
    void noOneRevokesAPeersGrantByLeadingAChainOfTheirOwnThroughIt() throws Exception {
        WriteCapability toCarol = t.grant(alice, t.top, carol, WRITE);
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE_AND_DELEGATE), toCarol);
        WriteCapabilityChain detour = t.addChain(
                t.grant(root, t.top, bob, WRITE_AND_DELEGATE), t.grant(bob, t.top, alice, WRITE_AND_DELEGATE), toCarol);
        t.revoke(bob, toCarol);
        assertDenied(Denial.REVOKED, () -> t.check(detour, t.top));
        t.check(chain, t.top);
        t.revoke(alice, toCarol);
        assertDenied(Denial.REVOKED, () -> t.check(chain, t.top));
        assertCode(Code.OUT_OF_ORDER, () -> t.revoke(alice, toCarol));
    }

    @Test
    void aRootRevokesACapabilityThatTheLogHasNotSeenYet() throws Exception {
        WriteCapability link = t.grant(root, t.top, alice, WRITE);
        t.addChain(t.grant(root, t.top, bob, WRITE));
        assertDenied(Denial.NOT_REVOKER, () -> t.revoke(bob, link));
        t.revoke(root, link);
        assertDenied(Denial.REVOKED, () -> t.addChain(link));
    }

    @Test
    void aRevokedCapabilityDoesNotComeBackInOtherBytes() throws Exception {
        WriteCapability link = t.grant(root, t.top, alice, WRITE);
        t.addChain(link);
        t.revoke(root, link);
        byte[] real = link.toBytes();
        byte[] withUnknownField = Arrays.copyOf(real, real.length + 2);
        withUnknownField[real.length] = (byte) (15 << 3);
        withUnknownField[real.length + 1] = 1;
        byte[] padded = Arrays.copyOf(real, real.length + 2);
        padded[1] = (byte) 0x81; // suite 1 as a varint of three bytes
        padded[2] = (byte) 0x80;
        padded[3] = 0;
        System.arraycopy(real, 2, padded, 4, real.length - 2);
        assertEquals(
                CryptoProto.Signed.parseFrom(real), CryptoProto.Signed.parseFrom(padded), "same content, other bytes");
        assertCode(Code.MALFORMED, () -> WriteCapability.parse(withUnknownField));
        assertCode(Code.MALFORMED, () -> WriteCapability.parse(padded));
    }

    @Test
    void aRevokedDelegateMakesNoDomainsOrEpochs() throws Exception {
        WriteCapability link = t.grant(root, t.top, alice, Rights.ALL);
        t.addChain(link);
        t.addDomain(alice, t.top, true);
        t.revoke(root, link);
        assertDenied(Denial.NO_CAPABILITY, () -> t.addDomain(alice, t.top, true));
        assertDenied(Denial.NO_CAPABILITY, () -> t.addEpoch(alice, t.top, 1, t.topKey, null));
    }

    // Rotations

    @Test
    void afterARotationWithoutGraceTheOldRootsChainsEndAndHistoryStays() throws Exception {
        Identity newRoot = identity(10);
        WriteCapabilityChain old = t.addChain(t.grant(root, t.top, alice, WRITE));
        long before = t.position;
        t.rotate(root, 0, newRoot);
        t.check(old, t.top, before, t.time);
        assertDenied(Denial.NOT_ROOT, () -> t.check(old, t.top));
        t.check(t.addChain(t.grant(newRoot, t.top, alice, WRITE)), t.top);
        assertEquals(List.of(newRoot.keys()), t.authority.roots());
    }

    @Test
    void graceKeepsWhatTheLogHeldButLetsTheOldRootMakeNothingNew() throws Exception {
        Identity newRoot = identity(10);
        WriteCapability toAlice = t.grant(root, t.top, alice, WRITE_AND_DELEGATE);
        WriteCapabilityChain old = t.addChain(toAlice);
        long end = t.time + 1000;
        t.rotate(root, end, newRoot);
        t.check(old, t.top, t.position, end - 1);
        assertDenied(Denial.NOT_ROOT, () -> t.check(old, t.top, t.position, end));
        WriteCapabilityChain delegated = t.addChain(toAlice, t.grant(alice, t.top, bob, WRITE));
        t.check(delegated, t.top);
        assertDenied(Denial.NOT_ROOT, () -> t.addChain(t.grant(root, t.top, carol, WRITE)));
        assertDenied(Denial.NO_CAPABILITY, () -> t.addEpoch(root, t.top, 1, t.topKey, null));
        assertDenied(Denial.NOT_ROOT, () -> t.rotate(root, 0, root));
        assertDenied(Denial.NOT_REVOKER, () -> t.revoke(root, t.grant(newRoot, t.top, carol, WRITE)));
    }

    @Test
    void aRootThatStaysThroughARotationKeepsItsChains() throws Exception {
        Identity second = identity(10);
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE));
        t.rotate(root, 0, root, second);
        t.check(chain, t.top);
        t.rotate(second, 0, root);
        t.check(chain, t.top);
        assertDenied(Denial.NOT_ROOT, () -> t.addChain(t.grant(second, t.top, bob, WRITE)));
    }

    @Test
    void onlyARootRotatesAndRotationsFollowOneAnother() throws Exception {
        t.addChain(t.grant(root, t.top, alice, Rights.ALL));
        assertDenied(Denial.NOT_ROOT, () -> t.rotate(alice, 0, alice));
        RotationRecord skipping = RotationRecord.create(root, t.tree, 2, Hash.of(t.tree.toBytes()), List.of(alice), 0);
        assertCode(Code.OUT_OF_ORDER, () -> t.add(RecordKind.ROTATION, skipping.toBytes()));
        RotationRecord elsewhere =
                RotationRecord.create(root, t.tree, 1, Hash.of(Fixtures.bytes(1, 32)), List.of(alice), 0);
        assertCode(Code.OUT_OF_ORDER, () -> t.add(RecordKind.ROTATION, elsewhere.toBytes()));
    }

    @Test
    void aRotationNeedsProofThatTheNewRootHoldsItsKey() throws Exception {
        RotationRecord real = RotationRecord.create(root, t.tree, 1, Hash.of(t.tree.toBytes()), List.of(alice), 0);
        CryptoProto.RotationRecord record = CryptoProto.RotationRecord.parseFrom(real.toBytes());
        byte[] body = real.envelope().body();
        byte[] byBob = record.toBuilder()
                .setPossessions(
                        0,
                        Wire.bytes(
                                bob.signDetached(SignatureKind.ROTATION, body).toBytes()))
                .build()
                .toByteArray();
        byte[] without = record.toBuilder().clearPossessions().build().toByteArray();
        assertCode(Code.BAD_SIGNATURE, () -> t.add(RecordKind.ROTATION, byBob));
        assertCode(Code.MALFORMED, () -> t.add(RecordKind.ROTATION, without));
    }

    // Key epochs and readcaps

    @Test
    void commitsBelowTheMinimumEpochAreRefusedFromItsPositionOn() throws Exception {
        WriteCapabilityChain chain = t.addChain(t.grant(root, t.top, alice, WRITE));
        long before = t.position;
        t.addEpoch(root, t.top, 2, t.topKey, null);
        t.authority.check(alice.id(), chain.id(), t.top, 1, WRITE, before, t.time);
        assertDenied(
                Denial.EPOCH_BELOW_MINIMUM,
                () -> t.authority.check(alice.id(), chain.id(), t.top, 1, WRITE, before + 1, t.time));
        t.authority.check(alice.id(), chain.id(), t.top, 2, WRITE, before + 1, t.time);
        assertDenied(
                Denial.UNKNOWN_EPOCH, () -> t.authority.check(alice.id(), chain.id(), t.top, 2, WRITE, before, t.time));
        assertEquals(1, t.authority.minEpoch(t.top, before));
        assertEquals(2, t.authority.minEpoch(t.top, before + 1));
    }

    @Test
    void epochsComeInOrderAndTheMinimumNeverFalls() throws Exception {
        DomainKey second = t.addEpoch(root, t.top, 2, t.topKey, null);
        assertCode(Code.OUT_OF_ORDER, () -> t.addEpoch(root, t.top, 1, second, null));
        assertCode(Code.OUT_OF_ORDER, () -> t.addEpoch(root, t.top, 2, t.topKey, null));
        DomainKey third = DomainKey.random(t.tree, t.top, 3);
        assertCode(Code.OUT_OF_ORDER, () -> t.addEpoch(root, t.top, 2, third, null));
    }

    @Test
    void anEpochNeedsTheRightToRekey() throws Exception {
        t.addChain(t.grant(root, t.top, alice, Rights.REKEY));
        t.addChain(t.grant(root, t.top, bob, WRITE_AND_DELEGATE));
        assertDenied(Denial.NO_CAPABILITY, () -> t.addEpoch(bob, t.top, 1, t.topKey, null));
        t.addEpoch(alice, t.top, 1, t.topKey, null);
    }

    @Test
    void anInheritingDomainsEpochGivesItsKeyToTheParentAndOnlyThen() throws Exception {
        DomainId inheriting = t.addDomain(root, t.top, true);
        DomainId apart = t.addDomain(root, t.top, false);
        assertCode(Code.MALFORMED, () -> t.addEpoch(root, inheriting, 1, null, null));
        assertCode(Code.MALFORMED, () -> t.addEpoch(root, apart, 1, null, t.topKey));
        DomainKey future = DomainKey.random(t.tree, t.top, 2);
        assertDenied(Denial.UNKNOWN_EPOCH, () -> t.addEpoch(root, inheriting, 1, null, future));
    }

    @Test
    void aReadcapNeedsTheRightToRekeyOrDelegateAndAnEpochThatIsThere() throws Exception {
        t.addChain(t.grant(root, t.top, alice, Rights.REKEY));
        t.addChain(t.grant(root, t.top, bob, Rights.DELEGATE));
        t.addChain(t.grant(root, t.top, carol, WRITE.and(Rights.NODE)));
        t.addReadcap(alice, t.topKey, carol);
        t.addReadcap(bob, t.topKey, carol);
        assertDenied(Denial.NO_CAPABILITY, () -> t.addReadcap(carol, t.topKey, carol));
        DomainKey future = DomainKey.random(t.tree, t.top, 2);
        assertDenied(Denial.UNKNOWN_EPOCH, () -> t.addReadcap(alice, future, carol));
    }

    @Test
    void aCapabilityThatHasNotBegunGivesNoRightToRekey() throws Exception {
        t.addChain(t.grant(root, t.top, alice, Rights.REKEY, t.time + 100, WriteCapability.NO_END));
        assertDenied(Denial.NO_CAPABILITY, () -> t.addEpoch(alice, t.top, 1, t.topKey, null));
        t.time += 100;
        t.addEpoch(alice, t.top, 1, t.topKey, null);
    }

    // The log

    @Test
    void aRefusedRecordChangesNothing() throws Exception {
        WriteCapability link = t.grant(alice, t.top, bob, WRITE);
        long before = t.position;
        assertDenied(Denial.NOT_ROOT, () -> t.addChain(link));
        assertEquals(before, t.authority.position());
        assertNull(t.authority.keys(bob.id()));
        assertEquals(List.of(), t.authority.chainsOf(bob.id()));
    }

    @Test
    void verifyingARecordSaysTheSameAndTakesNothing() throws Exception {
        byte[] good = WriteCapabilityChain.of(List.of(t.grant(root, t.top, alice, WRITE)))
                .toBytes();
        byte[] bad = WriteCapabilityChain.of(List.of(t.grant(alice, t.top, bob, WRITE)))
                .toBytes();
        t.authority.verify(RecordKind.WRITECAP_CHAIN, good, t.position + 1, t.time);
        assertDenied(Denial.NOT_ROOT, () -> t.authority.verify(RecordKind.WRITECAP_CHAIN, bad, t.position + 1, t.time));
        assertEquals(t.position, t.authority.position());
        assertEquals(List.of(), t.authority.chainsOf(alice.id()));
    }

    @Test
    void positionsRiseAndTimeNeverFalls() {
        byte[] chain = WriteCapabilityChain.of(List.of(t.grant(root, t.top, alice, WRITE)))
                .toBytes();
        assertCode(Code.OUT_OF_ORDER, () -> t.authority.apply(RecordKind.WRITECAP_CHAIN, chain, t.position, t.time));
        assertCode(
                Code.OUT_OF_ORDER,
                () -> t.authority.apply(RecordKind.WRITECAP_CHAIN, chain, t.position + 1, t.time - 1));
    }

    @Test
    void genesisComesFirstAndOnceAndIsTheTreesOwn() throws Exception {
        assertCode(Code.OUT_OF_ORDER, () -> t.add(RecordKind.GENESIS, t.genesis.toBytes()));
        Authority other = new Authority(TreeId.of(Fixtures.bytes(1, 32)));
        assertCode(Code.OUT_OF_ORDER, () -> other.apply(RecordKind.GENESIS, t.genesis.toBytes(), 1, t.time));
        Authority empty = new Authority(t.tree);
        byte[] revocation = Revocation.create(root, t.tree, Hash.of(Fixtures.bytes(1, 32)), 1)
                .toBytes();
        assertCode(Code.OUT_OF_ORDER, () -> empty.apply(RecordKind.REVOCATION, revocation, 1, t.time));
    }

    @Test
    void genesisIsSignedByEachRootPrincipal() throws Exception {
        GenesisRecord two = GenesisRecord.create(List.of(root, alice), 1);
        CryptoProto.GenesisRecord record = CryptoProto.GenesisRecord.parseFrom(two.toBytes());
        byte[] swapped = record.toBuilder()
                .setSignatures(0, record.getSignatures(1))
                .build()
                .toByteArray();
        byte[] one = CryptoProto.GenesisRecord.newBuilder()
                .setBody(record.getBody())
                .addSignatures(record.getSignatures(0))
                .build()
                .toByteArray();
        assertCode(Code.BAD_SIGNATURE, () -> GenesisRecord.parse(swapped));
        assertCode(Code.MALFORMED, () -> GenesisRecord.parse(one));
        assertEquals(2, GenesisRecord.parse(two.toBytes()).roots().size());
    }

    @Test
    void aFoundingIsTakenInItsOrderAndLetsTheNodeWriteRekeyAndCheckpoint() throws Exception {
        TreeFounding founding = TreeFounding.create(root, bob, 5_000);
        Authority authority = new Authority(founding.tree());
        long position = 0;
        for (TreeFounding.Entry entry : founding.entries()) {
            authority.apply(entry.kind().number(), entry.payload(), ++position, founding.createdMillis());
        }
        for (Rights right : List.of(Rights.WRITE, Rights.REKEY, Rights.NODE)) {
            authority.check(bob.id(), founding.nodeChain(), founding.rootDomain(), 1, right, position, 5_000);
        }
        long end = position;
        assertDenied(
                Denial.RIGHT_MISSING,
                () -> authority.check(
                        bob.id(), founding.nodeChain(), founding.rootDomain(), 1, Rights.DELEGATE, end, 5_000));
        authority.check(root.id(), founding.rootChain(), founding.rootDomain(), 1, Rights.ALL, position, 5_000);
        try (KeyRing ofNode = new KeyRing(bob, authority);
                KeyRing ofRoot = new KeyRing(root, authority)) {
            assertEquals(
                    ofRoot.currentKey(founding.rootDomain()).commitment(),
                    ofNode.currentKey(founding.rootDomain()).commitment());
        }
        assertEquals(
                founding.rootBlock(),
                BlockId.derive(founding.tree(), founding.rootDomain(), bob.id(), founding.rootBlockNonce()));
    }

    // Nodes

    private WriteCapabilityChain unseen(WriteCapability... links) {
        return WriteCapabilityChain.of(List.of(links));
    }

    private void deniedAsNode(Denial reason, WriteCapabilityChain chain) {
        assertDenied(reason, () -> t.authority.checkNode(chain, t.time));
    }

    @Test
    void aNodeMayRunWhetherOrNotTheLogHoldsItsChainYet() throws Exception {
        WriteCapabilityChain chain = unseen(
                t.grant(root, t.top, alice, Rights.NODE.and(Rights.DELEGATE)), t.grant(alice, t.top, bob, Rights.NODE));
        t.authority.checkNode(chain, t.time);
        t.add(RecordKind.WRITECAP_CHAIN, chain.toBytes());
        t.authority.checkNode(chain, t.time);
    }

    @Test
    void aNodeNeedsTheRightInTheRootDomain() throws Exception {
        deniedAsNode(Denial.RIGHT_MISSING, unseen(t.grant(root, t.top, alice, WRITE_AND_DELEGATE)));
        DomainId below = t.addDomain(root, t.top, true);
        deniedAsNode(Denial.OTHER_DOMAIN, unseen(t.grant(root, below, alice, Rights.NODE)));
    }

    @Test
    void aNodeOfAnotherTreeIsToldSo() throws Exception {
        TestTree other = new TestTree(2);
        deniedAsNode(Denial.OTHER_TREE, unseen(other.grant(other.root, other.top, alice, Rights.NODE)));
        assertCode(
                Code.OUT_OF_ORDER,
                () -> t.authority.checkNode(
                        unseen(
                                other.grant(other.root, other.top, alice, Rights.ALL),
                                t.grant(alice, t.top, bob, Rights.NODE)),
                        t.time));
    }

    @Test
    void aNodesCapabilityHasBegunAndNotEnded() throws Exception {
        WriteCapabilityChain chain = unseen(t.grant(root, t.top, alice, Rights.NODE, t.time + 10, t.time + 20));
        assertDenied(Denial.NOT_YET_VALID, () -> t.authority.checkNode(chain, t.time + 9));
        t.authority.checkNode(chain, t.time + 10);
        assertDenied(Denial.EXPIRED, () -> t.authority.checkNode(chain, t.time + 20));
    }

    @Test
    void aRevokedNodeIsRefusedWhetherOrNotTheLogHoldsItsChain() throws Exception {
        WriteCapability toAlice = t.grant(root, t.top, alice, Rights.NODE.and(Rights.DELEGATE));
        WriteCapabilityChain known = t.addChain(toAlice);
        WriteCapabilityChain unseen = unseen(toAlice, t.grant(alice, t.top, bob, Rights.NODE));
        t.authority.checkNode(unseen, t.time);
        t.revoke(root, toAlice);
        deniedAsNode(Denial.REVOKED, known);
        deniedAsNode(Denial.REVOKED, unseen);
    }

    @Test
    void aNodesChainReachesARootLinkByLink() throws Exception {
        deniedAsNode(Denial.NOT_ROOT, unseen(t.grant(alice, t.top, bob, Rights.NODE)));
        deniedAsNode(
                Denial.BROKEN_CHAIN,
                unseen(t.grant(root, t.top, alice, Rights.ALL), t.grant(bob, t.top, carol, Rights.NODE)));
        deniedAsNode(
                Denial.DELEGATE_MISSING,
                unseen(t.grant(root, t.top, alice, Rights.NODE), t.grant(alice, t.top, bob, Rights.NODE)));
        SignedEnvelope forged = SignedEnvelope.of(
                root.id(), t.grant(root, t.top, alice, Rights.NODE).envelope().body(), new byte[64]);
        assertCode(
                Code.BAD_SIGNATURE,
                () -> t.authority.checkNode(unseen(WriteCapability.parse(forged.toBytes())), t.time));
    }

    @Test
    void aRetiredRootsGraceIsForNodesThatTheLogKnew() throws Exception {
        WriteCapability before = t.grant(root, t.top, alice, Rights.NODE);
        WriteCapabilityChain known = t.addChain(before);
        WriteCapabilityChain unseen = unseen(t.grant(root, t.top, bob, Rights.NODE));
        t.rotate(root, t.time + 100, carol);
        t.authority.checkNode(known, t.time + 99);
        deniedAsNode(Denial.NOT_ROOT, unseen);
        assertDenied(Denial.NOT_ROOT, () -> t.authority.checkNode(known, t.time + 100));
    }

    @Test
    void beforeTheRootDomainIsMadeNobodyRunsANode() throws Exception {
        Authority young = new Authority(t.tree);
        young.apply(RecordKind.GENESIS, t.genesis.toBytes(), 1, t.time);
        assertDenied(
                Denial.UNKNOWN_DOMAIN, () -> young.checkNode(unseen(t.grant(root, t.top, alice, Rights.NODE)), t.time));
    }
}
