package blocktree.crypto;

import java.util.List;

/**
 * Replaces a tree's root principals (docs/format.md, section 2). Immutable. The new principals' proofs of possession are verified when
 * parsed; that the signer is a root principal is for the {@link Authority} to say.
 */
public final class RotationRecord {

    private final byte[] encoded;
    private final SignedEnvelope envelope;
    private final TreeId tree;
    private final int sequence;
    private final Hash previous;
    private final List<PrincipalKeys> roots;
    private final long retiredUntilMillis;

    private RotationRecord(
            byte[] encoded,
            SignedEnvelope envelope,
            TreeId tree,
            int sequence,
            Hash previous,
            List<PrincipalKeys> roots,
            long retiredUntilMillis) {
        this.encoded = encoded;
        this.envelope = envelope;
        this.tree = tree;
        this.sequence = sequence;
        this.previous = previous;
        this.roots = roots;
        this.retiredUntilMillis = retiredUntilMillis;
    }

    /**
     * Signed by {@code signer}, a root principal in force before it, and by each of {@code roots}, those in force after it.
     *
     * @param sequence from 1
     * @param previous the tree id at 1, else the envelope id of the rotation before
     * @param retiredUntilMillis log time until which chains from a root that leaves still count; 0 for not at all
     */
    public static RotationRecord create(
            Identity signer, TreeId tree, int sequence, Hash previous, List<Identity> roots, long retiredUntilMillis) {
        CryptoProto.Rotation.Builder rotation = CryptoProto.Rotation.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setTree(Wire.bytes(tree))
                .setSequence(sequence)
                .setPrevious(Wire.bytes(previous))
                .setRetiredUntilMillis(retiredUntilMillis);
        roots.forEach(root -> rotation.addRootPrincipals(Wire.bytes(root.keys().toBytes())));
        byte[] body = rotation.build().toByteArray();
        CryptoProto.RotationRecord.Builder record = CryptoProto.RotationRecord.newBuilder()
                .setRotation(
                        Wire.bytes(signer.sign(SignatureKind.ROTATION, body).toBytes()));
        roots.forEach(root -> record.addPossessions(
                Wire.bytes(root.signDetached(SignatureKind.ROTATION, body).toBytes())));
        try {
            return parse(record.build().toByteArray());
        } catch (CryptoException e) {
            throw new IllegalArgumentException("not a valid rotation", e);
        }
    }

    /** Reads hostile bytes and verifies the proofs of possession, not the rotation's own signature. */
    public static RotationRecord parse(byte[] encoded) throws CryptoException {
        CryptoProto.RotationRecord record =
                Wire.parse(CryptoProto.RotationRecord.parser(), encoded, GenesisRecord.SIZE_MAX, "rotation record");
        SignedEnvelope envelope = SignedEnvelope.parse(record.getRotation().toByteArray());
        byte[] body = envelope.body();
        CryptoProto.Rotation rotation =
                Wire.parse(CryptoProto.Rotation.parser(), body, GenesisRecord.SIZE_MAX, "rotation");
        Wire.checkVersion(rotation.getVersion(), rotation.getSuite(), "rotation");
        if (rotation.getSequence() < 1) {
            throw CryptoException.malformed("sequence of rotation is out of range");
        }
        List<PrincipalKeys> roots = GenesisRecord.parseRoots(rotation.getRootPrincipalsList());
        GenesisRecord.verifyEach(roots, record.getPossessionsList(), SignatureKind.ROTATION, body);
        return new RotationRecord(
                encoded.clone(),
                envelope,
                TreeId.of(Wire.id(rotation.getTree(), "tree id")),
                rotation.getSequence(),
                Hash.of(Wire.id(rotation.getPrevious(), "previous rotation")),
                roots,
                Wire.millis(rotation.getRetiredUntilMillis(), "end of retired roots"));
    }

    SignedEnvelope envelope() {
        return envelope;
    }

    /** What the next rotation names as its previous one. */
    public Hash envelopeId() {
        return envelope.id(SignatureKind.ROTATION);
    }

    public TreeId tree() {
        return tree;
    }

    public int sequence() {
        return sequence;
    }

    public Hash previous() {
        return previous;
    }

    /** The root principals in force after it. */
    public List<PrincipalKeys> roots() {
        return roots;
    }

    public long retiredUntilMillis() {
        return retiredUntilMillis;
    }

    public byte[] toBytes() {
        return encoded.clone();
    }

    @Override
    public String toString() {
        return "RotationRecord[tree=" + tree + ", sequence=" + sequence + "]";
    }
}
