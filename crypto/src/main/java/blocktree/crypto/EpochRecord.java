package blocktree.crypto;

import org.jspecify.annotations.Nullable;

/**
 * Begins a key epoch of a domain (docs/format.md, section 2): commits to the new key, lets it open the one before, and lets the
 * parent's key open it where the domain inherits.
 *
 * @param epoch from 1, without gaps
 * @param minEpoch commits under epochs below it are refused from here on
 * @param previousSealed the key of {@code epoch - 1} under this one; empty at 1
 * @param parentEpoch 0 when there is no parentSealed
 * @param parentSealed this key under the parent's; empty unless the domain inherits
 */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, and never compared
public record EpochRecord(
        SignedEnvelope envelope,
        TreeId tree,
        DomainId domain,
        int epoch,
        int minEpoch,
        Hash commitment,
        byte[] previousSealed,
        int parentEpoch,
        byte[] parentSealed) {

    /** Signs the beginning of {@code key}'s epoch; {@code previous} is null at epoch 1, {@code parent} unless the domain inherits. */
    public static EpochRecord create(
            Identity signer, DomainKey key, int minEpoch, @Nullable DomainKey previous, @Nullable DomainKey parent) {
        if (previous == null ? key.epoch() != 1 : previous.epoch() != key.epoch() - 1) {
            throw new IllegalArgumentException("epochs follow one another without gaps");
        }
        CryptoProto.Epoch.Builder body = CryptoProto.Epoch.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setTree(Wire.bytes(key.tree()))
                .setDomain(Wire.bytes(key.domain()))
                .setEpoch(key.epoch())
                .setMinEpoch(minEpoch)
                .setKeyCommitment(Wire.bytes(key.commitment()));
        if (previous != null) {
            body.setPreviousSealed(Wire.bytes(key.sealPrevious(previous)));
        }
        if (parent != null) {
            body.setParentEpoch(parent.epoch()).setParentSealed(Wire.bytes(parent.sealChild(key)));
        }
        try {
            return read(signer.sign(SignatureKind.EPOCH, body.build().toByteArray()));
        } catch (CryptoException e) {
            throw new IllegalArgumentException("not a valid epoch", e);
        }
    }

    /** Reads hostile bytes; does not verify the signature. */
    public static EpochRecord parse(byte[] encoded) throws CryptoException {
        return read(SignedEnvelope.parse(encoded));
    }

    private static EpochRecord read(SignedEnvelope envelope) throws CryptoException {
        CryptoProto.Epoch body =
                Wire.parse(CryptoProto.Epoch.parser(), envelope.body(), SignedEnvelope.SIZE_MAX, "epoch record");
        Wire.checkVersion(body.getVersion(), body.getSuite(), "epoch record");
        int epoch = body.getEpoch();
        if (epoch < 1 || body.getMinEpoch() < 1 || body.getMinEpoch() > epoch || body.getParentEpoch() < 0) {
            throw CryptoException.malformed("epoch numbers are out of range");
        }
        boolean inherits = body.getParentEpoch() != 0;
        return new EpochRecord(
                envelope,
                TreeId.of(Wire.id(body.getTree(), "tree id")),
                DomainId.of(Wire.id(body.getDomain(), "domain id")),
                epoch,
                body.getMinEpoch(),
                Hash.of(Wire.id(body.getKeyCommitment(), "key commitment")),
                Wire.sized(
                        body.getPreviousSealed(), epoch == 1 ? 0 : DomainKey.SEALED_KEY_SIZE, "previous epoch's key"),
                body.getParentEpoch(),
                Wire.sized(body.getParentSealed(), inherits ? DomainKey.SEALED_KEY_SIZE : 0, "key for the parent"));
    }

    public byte[] toBytes() {
        return envelope.toBytes();
    }
}
