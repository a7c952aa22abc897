package blocktree.crypto;

import java.util.List;

/**
 * The records that found a tree, in the order in which the log holds them from position 1: genesis, root domain, the chains of root and
 * node, key epoch 1, the readcaps of both. Holds no secret.
 *
 * @param rootBlock the root directory; its first header is for the node to write, which is its creator
 * @param rootBlockNonce the nonce that the root block's id is made of
 * @param rootChain the chain through which the root itself writes
 * @param nodeChain the chain through which the node writes
 */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, and never compared
public record TreeFounding(
        TreeId tree,
        DomainId rootDomain,
        BlockId rootBlock,
        PrincipalId rootBlockCreator,
        byte[] rootBlockNonce,
        Hash rootChain,
        Hash nodeChain,
        long createdMillis,
        List<Entry> entries) {

    /** A record as the payload of a log entry. */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, and never compared
    public record Entry(RecordKind kind, byte[] payload) {}

    /** What a node may do in the tree that it keeps. */
    static final Rights NODE_RIGHTS = Rights.WRITE.and(Rights.NODE).and(Rights.REKEY);

    /** Founds a tree of {@code root}, kept on {@code node}, whose log time begins at {@code createdMillis}. */
    public static TreeFounding create(Identity root, Identity node, long createdMillis) {
        GenesisRecord genesis = GenesisRecord.create(List.of(root), createdMillis);
        TreeId tree = genesis.tree();
        DomainRecord.Draft draft = DomainRecord.draft(tree, null, root.id());
        byte[] nonce = Suite.randomBytes(Id.SIZE);
        BlockId rootBlock = BlockId.derive(tree, draft.domain(), node.id(), nonce);
        DomainRecord domain = DomainRecord.create(root, tree, null, draft, false, rootBlock);
        WriteCapabilityChain rootChain = chain(root, domain, root.keys(), Rights.ALL, createdMillis);
        WriteCapabilityChain nodeChain = chain(root, domain, node.keys(), NODE_RIGHTS, createdMillis);
        try (DomainKey key = DomainKey.random(tree, domain.domain(), 1)) {
            List<Entry> entries = List.of(
                    new Entry(RecordKind.GENESIS, genesis.toBytes()),
                    new Entry(RecordKind.DOMAIN, domain.toBytes()),
                    new Entry(RecordKind.WRITECAP_CHAIN, rootChain.toBytes()),
                    new Entry(RecordKind.WRITECAP_CHAIN, nodeChain.toBytes()),
                    new Entry(
                            RecordKind.EPOCH,
                            EpochRecord.create(root, key, 1, null, null).toBytes()),
                    new Entry(
                            RecordKind.READCAP,
                            ReadCapability.issue(root, key, root.keys()).toBytes()),
                    new Entry(
                            RecordKind.READCAP,
                            ReadCapability.issue(root, key, node.keys()).toBytes()));
            return new TreeFounding(
                    tree,
                    domain.domain(),
                    rootBlock,
                    node.id(),
                    nonce,
                    rootChain.id(),
                    nodeChain.id(),
                    createdMillis,
                    entries);
        } catch (CryptoException e) {
            throw new IllegalStateException("own keys are refused", e);
        }
    }

    private static WriteCapabilityChain chain(
            Identity root, DomainRecord domain, PrincipalKeys subject, Rights rights, long fromMillis) {
        return WriteCapabilityChain.of(List.of(WriteCapability.issue(
                root, domain.tree(), domain.domain(), subject, rights, fromMillis, WriteCapability.NO_END)));
    }
}
