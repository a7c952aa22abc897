package blocktree.crypto;

/**
 * Says that the holder of these keys asks to be made a node, over this one connection (docs/format.md, section 2.4): so nobody brings
 * keys that are not their own. Verified when parsed.
 *
 * @param binding what only this connection has
 * @param keys of the signer
 */
public record JoinStatement(SignedEnvelope envelope, Hash binding, PrincipalKeys keys) {

    private static final int SIZE_MAX = 4096;

    public static JoinStatement create(Identity joiner, Hash binding) {
        byte[] body = CryptoProto.Join.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setBinding(Wire.bytes(binding))
                .setKeys(Wire.bytes(joiner.keys().toBytes()))
                .build()
                .toByteArray();
        return new JoinStatement(joiner.sign(SignatureKind.JOIN, body), binding, joiner.keys());
    }

    /** Reads hostile bytes; BAD_SIGNATURE unless the keys in it have signed it. */
    public static JoinStatement parse(byte[] encoded) throws CryptoException {
        if (encoded.length > SIZE_MAX) {
            throw new CryptoException(
                    CryptoException.Code.TOO_MANY, "statement of " + encoded.length + " bytes, more than " + SIZE_MAX);
        }
        SignedEnvelope envelope = SignedEnvelope.parse(encoded);
        CryptoProto.Join body = Wire.parse(CryptoProto.Join.parser(), envelope.body(), SIZE_MAX, "statement");
        Wire.checkVersion(body.getVersion(), body.getSuite(), "statement");
        PrincipalKeys keys = PrincipalKeys.parse(body.getKeys().toByteArray());
        envelope.verify(SignatureKind.JOIN, keys);
        return new JoinStatement(envelope, Hash.of(Wire.id(body.getBinding(), "binding")), keys);
    }

    /** What the joiner's proof of the secret is over. */
    public Hash id() {
        return envelope.id(SignatureKind.JOIN);
    }

    public byte[] toBytes() {
        return envelope.toBytes();
    }
}
