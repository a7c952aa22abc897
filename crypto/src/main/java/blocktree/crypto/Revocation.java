package blocktree.crypto;

/**
 * Ends a write capability, and every chain through it, from its own position in the log on (docs/format.md, section 2).
 *
 * @param revoked the envelope id of the capability
 */
public record Revocation(SignedEnvelope envelope, TreeId tree, Hash revoked, long timeMillis) {

    public static Revocation create(Identity signer, TreeId tree, Hash revoked, long timeMillis) {
        byte[] body = CryptoProto.Revocation.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setTree(Wire.bytes(tree))
                .setEnvelopeId(Wire.bytes(revoked))
                .setTimeMillis(timeMillis)
                .build()
                .toByteArray();
        return new Revocation(signer.sign(SignatureKind.REVOCATION, body), tree, revoked, timeMillis);
    }

    /** Reads hostile bytes; does not verify the signature. */
    public static Revocation parse(byte[] encoded) throws CryptoException {
        SignedEnvelope envelope = SignedEnvelope.parse(encoded);
        CryptoProto.Revocation body =
                Wire.parse(CryptoProto.Revocation.parser(), envelope.body(), SignedEnvelope.SIZE_MAX, "revocation");
        Wire.checkVersion(body.getVersion(), body.getSuite(), "revocation");
        return new Revocation(
                envelope,
                TreeId.of(Wire.id(body.getTree(), "tree id")),
                Hash.of(Wire.id(body.getEnvelopeId(), "revoked id")),
                Wire.millis(body.getTimeMillis(), "time of revocation"));
    }

    public byte[] toBytes() {
        return envelope.toBytes();
    }
}
