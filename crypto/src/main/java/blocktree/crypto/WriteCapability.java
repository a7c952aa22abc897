package blocktree.crypto;

/**
 * One link of a chain: the issuer grants the subject rights in a domain for a time (docs/format.md, section 2).
 *
 * @param notBeforeMillis log time from which it counts
 * @param notAfterMillis log time from which it no longer counts; {@link #NO_END} for none
 */
public record WriteCapability(
        SignedEnvelope envelope,
        TreeId tree,
        DomainId domain,
        PrincipalId issuer,
        PrincipalKeys subject,
        Rights rights,
        long notBeforeMillis,
        long notAfterMillis) {

    /** For {@code notAfterMillis}. */
    public static final long NO_END = Long.MAX_VALUE;

    private static final int SERIAL_SIZE = 16;

    /** Signs a grant; that the issuer may make it is for the {@link Authority} to say. */
    public static WriteCapability issue(
            Identity issuer,
            TreeId tree,
            DomainId domain,
            PrincipalKeys subject,
            Rights rights,
            long notBeforeMillis,
            long notAfterMillis) {
        return issue(
                issuer, tree, domain, subject, rights, notBeforeMillis, notAfterMillis, Suite.randomBytes(SERIAL_SIZE));
    }

    static WriteCapability issue(
            Identity issuer,
            TreeId tree,
            DomainId domain,
            PrincipalKeys subject,
            Rights rights,
            long notBeforeMillis,
            long notAfterMillis,
            byte[] serial) {
        byte[] body = CryptoProto.WriteCap.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setTree(Wire.bytes(tree))
                .setDomain(Wire.bytes(domain))
                .setIssuer(Wire.bytes(issuer.id()))
                .setSubject(Wire.bytes(subject.toBytes()))
                .setRights(rights.bits())
                .setNotBeforeMillis(notBeforeMillis)
                .setNotAfterMillis(notAfterMillis)
                .setSerial(Wire.bytes(serial))
                .build()
                .toByteArray();
        return new WriteCapability(
                issuer.sign(SignatureKind.WRITECAP, body),
                tree,
                domain,
                issuer.id(),
                subject,
                rights,
                notBeforeMillis,
                notAfterMillis);
    }

    /** Reads hostile bytes; does not verify the signature. */
    public static WriteCapability parse(byte[] encoded) throws CryptoException {
        SignedEnvelope envelope = SignedEnvelope.parse(encoded);
        CryptoProto.WriteCap body =
                Wire.parse(CryptoProto.WriteCap.parser(), envelope.body(), SignedEnvelope.SIZE_MAX, "write capability");
        Wire.checkVersion(body.getVersion(), body.getSuite(), "write capability");
        Wire.sized(body.getSerial(), SERIAL_SIZE, "serial");
        PrincipalId issuer = PrincipalId.of(Wire.id(body.getIssuer(), "issuer"));
        if (!issuer.equals(envelope.signer())) {
            throw CryptoException.malformed(
                    "write capability of issuer " + issuer + " is signed by " + envelope.signer());
        }
        if (body.getRights() < 1 || body.getRights() > Rights.ALL.bits()) {
            throw CryptoException.malformed("unknown rights or none");
        }
        return new WriteCapability(
                envelope,
                TreeId.of(Wire.id(body.getTree(), "tree id")),
                DomainId.of(Wire.id(body.getDomain(), "domain id")),
                issuer,
                PrincipalKeys.parse(body.getSubject().toByteArray()),
                new Rights(body.getRights()),
                Wire.millis(body.getNotBeforeMillis(), "beginning"),
                Wire.millis(body.getNotAfterMillis(), "end"));
    }

    /** What a revocation names. */
    public Hash envelopeId() {
        return envelope.id(SignatureKind.WRITECAP);
    }

    public byte[] toBytes() {
        return envelope.toBytes();
    }
}
