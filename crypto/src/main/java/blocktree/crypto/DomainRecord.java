package blocktree.crypto;

import org.jspecify.annotations.Nullable;

/**
 * Makes a domain (docs/format.md, section 2).
 *
 * @param domain its id, checked against parent, creator and nonce
 * @param parent null for the tree's root domain
 * @param inherits whether readers and writers of the parent are readers and writers here
 * @param rootBlock the directory at its top
 */
public record DomainRecord(
        SignedEnvelope envelope,
        TreeId tree,
        DomainId domain,
        @Nullable DomainId parent,
        PrincipalId creator,
        boolean inherits,
        BlockId rootBlock) {

    private static final int NONCE_SIZE = 32;

    /** A domain's id, and the nonce that it is made of; the id is needed for the root block's before the record can be signed. */
    public record Draft(DomainId domain, byte[] nonce) {}

    /** Draws the id of a domain to be made by {@code creator}. */
    public static Draft draft(TreeId tree, @Nullable DomainId parent, PrincipalId creator) {
        return draft(tree, parent, creator, Suite.randomBytes(NONCE_SIZE));
    }

    static Draft draft(TreeId tree, @Nullable DomainId parent, PrincipalId creator, byte[] nonce) {
        return new Draft(DomainId.derive(tree, parent, creator, nonce), nonce.clone());
    }

    /** Signs the record of a drafted domain. */
    public static DomainRecord create(
            Identity creator,
            TreeId tree,
            @Nullable DomainId parent,
            Draft draft,
            boolean inherits,
            BlockId rootBlock) {
        CryptoProto.Domain.Builder body = CryptoProto.Domain.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setTree(Wire.bytes(tree))
                .setDomain(Wire.bytes(draft.domain))
                .setCreator(Wire.bytes(creator.id()))
                .setNonce(Wire.bytes(draft.nonce))
                .setInherits(inherits)
                .setRootBlock(Wire.bytes(rootBlock));
        if (parent != null) {
            body.setParent(Wire.bytes(parent));
        }
        SignedEnvelope envelope =
                creator.sign(SignatureKind.DOMAIN, body.build().toByteArray());
        return new DomainRecord(envelope, tree, draft.domain, parent, creator.id(), inherits, rootBlock);
    }

    /** Reads hostile bytes; does not verify the signature. */
    public static DomainRecord parse(byte[] encoded) throws CryptoException {
        SignedEnvelope envelope = SignedEnvelope.parse(encoded);
        CryptoProto.Domain body =
                Wire.parse(CryptoProto.Domain.parser(), envelope.body(), SignedEnvelope.SIZE_MAX, "domain record");
        Wire.checkVersion(body.getVersion(), body.getSuite(), "domain record");
        TreeId tree = TreeId.of(Wire.id(body.getTree(), "tree id"));
        DomainId domain = DomainId.of(Wire.id(body.getDomain(), "domain id"));
        DomainId parent = body.getParent().isEmpty() ? null : DomainId.of(Wire.id(body.getParent(), "parent id"));
        PrincipalId creator = PrincipalId.of(Wire.id(body.getCreator(), "creator"));
        byte[] nonce = Wire.sized(body.getNonce(), NONCE_SIZE, "domain nonce");
        if (!domain.equals(DomainId.derive(tree, parent, creator, nonce))) {
            throw CryptoException.malformed("domain id " + domain + " is not that of its parent, creator and nonce");
        }
        if (!creator.equals(envelope.signer())) {
            throw CryptoException.malformed(
                    "domain record of creator " + creator + " is signed by " + envelope.signer());
        }
        if (parent == null && body.getInherits()) {
            throw CryptoException.malformed("the root domain has nothing to inherit from");
        }
        BlockId rootBlock = BlockId.of(Wire.id(body.getRootBlock(), "root block"));
        return new DomainRecord(envelope, tree, domain, parent, creator, body.getInherits(), rootBlock);
    }

    public byte[] toBytes() {
        return envelope.toBytes();
    }
}
