package blocktree.crypto;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** A tree with its log: one root principal, a root domain at epoch 1, and short ways to add records. */
final class TestTree {

    static final long START = 1_000_000;

    final Identity root = Fixtures.identity(1);
    final GenesisRecord genesis;
    final TreeId tree;
    final Authority authority;
    final DomainId top;
    DomainKey topKey;
    long position;
    long time = START;

    TestTree() throws CryptoException {
        this(1);
    }

    /** Trees of different seeds have different ids and the same root principal. */
    TestTree(int seed) throws CryptoException {
        genesis = GenesisRecord.create(List.of(root), START, Fixtures.bytes(seed, 32));
        tree = genesis.tree();
        authority = new Authority(tree);
        add(RecordKind.GENESIS, genesis.toBytes());
        top = addDomain(root, null, false);
        topKey = addEpoch(root, top, 1, null, null);
    }

    /** Applies a record at the next position and the present log time; the position only moves when it is taken. */
    long add(RecordKind kind, byte[] payload) throws CryptoException {
        authority.apply(kind, payload, position + 1, time);
        return ++position;
    }

    DomainId addDomain(Identity creator, @Nullable DomainId parent, boolean inherits) throws CryptoException {
        DomainRecord.Draft draft = DomainRecord.draft(tree, parent, creator.id());
        BlockId rootBlock = BlockId.derive(tree, draft.domain(), creator.id(), Fixtures.bytes(9, 32));
        add(
                RecordKind.DOMAIN,
                DomainRecord.create(creator, tree, parent, draft, inherits, rootBlock)
                        .toBytes());
        return draft.domain();
    }

    /** Begins the next epoch of a domain with a fresh key. */
    DomainKey addEpoch(
            Identity signer, DomainId domain, int minEpoch, @Nullable DomainKey previous, @Nullable DomainKey parent)
            throws CryptoException {
        DomainKey key = DomainKey.random(tree, domain, previous == null ? 1 : previous.epoch() + 1);
        add(
                RecordKind.EPOCH,
                EpochRecord.create(signer, key, minEpoch, previous, parent).toBytes());
        return key;
    }

    void addReadcap(Identity issuer, DomainKey key, Identity reader) throws CryptoException {
        add(RecordKind.READCAP, ReadCapability.issue(issuer, key, reader.keys()).toBytes());
    }

    WriteCapability grant(Identity issuer, DomainId domain, Identity subject, Rights rights) {
        return grant(issuer, domain, subject, rights, START, WriteCapability.NO_END);
    }

    WriteCapability grant(
            Identity issuer, DomainId domain, Identity subject, Rights rights, long notBefore, long notAfter) {
        return WriteCapability.issue(issuer, tree, domain, subject.keys(), rights, notBefore, notAfter);
    }

    WriteCapabilityChain addChain(WriteCapability... links) throws CryptoException {
        WriteCapabilityChain chain = WriteCapabilityChain.of(List.of(links));
        add(RecordKind.WRITECAP_CHAIN, chain.toBytes());
        return chain;
    }

    void revoke(Identity signer, WriteCapability link) throws CryptoException {
        add(
                RecordKind.REVOCATION,
                Revocation.create(signer, tree, link.envelopeId(), time).toBytes());
    }

    void rotate(Identity signer, long retiredUntil, Identity... roots) throws CryptoException {
        add(
                RecordKind.ROTATION,
                RotationRecord.create(
                                signer,
                                tree,
                                authority.rotations() + 1,
                                authority.lastRotation(),
                                List.of(roots),
                                retiredUntil)
                        .toBytes());
    }

    /** Whether the chain's subject may write to {@code domain} now under its newest epoch. */
    void check(WriteCapabilityChain chain, DomainId domain) throws CryptoException {
        check(chain, domain, position, time);
    }

    void check(WriteCapabilityChain chain, DomainId domain, long atPosition, long atTime) throws CryptoException {
        authority.check(chain.subject().id(), chain.id(), domain, 1, Rights.WRITE, atPosition, atTime);
    }
}
