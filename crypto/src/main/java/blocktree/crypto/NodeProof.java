package blocktree.crypto;

import blocktree.crypto.CryptoException.Denial;

/**
 * What a node shows to another before they talk: its capability chain, and a statement by the chain's subject over the key of its TLS
 * certificate (docs/format.md, section 2.3). A claim until {@link #verify}; then the subject is proven, and whether it may run a node
 * is for {@link Authority#checkNode} to say.
 *
 * @param keyInfoHash SHA-256 of the certificate's SubjectPublicKeyInfo
 * @param notBeforeMillis wall clock time from which the statement holds
 * @param notAfterMillis wall clock time from which it no longer does
 */
public record NodeProof(
        WriteCapabilityChain chain,
        SignedEnvelope statement,
        TreeId tree,
        Hash keyInfoHash,
        long notBeforeMillis,
        long notAfterMillis) {

    /** Longest that a statement holds. */
    public static final long LIFE_MILLIS_MAX = 30L * 24 * 60 * 60 * 1000;

    /** How far the clocks of two nodes may be apart. */
    public static final long CLOCK_GRACE_MILLIS = 5L * 60 * 1000;

    /** Bound on a whole proof, in bytes. */
    public static final int SIZE_MAX = WriteCapabilityChain.SIZE_MAX + 1024;

    /** Signs the statement; {@code node} is the subject of {@code chain}. */
    public static NodeProof create(
            Identity node, WriteCapabilityChain chain, byte[] keyInfo, long notBeforeMillis, long notAfterMillis) {
        if (!chain.subject().equals(node.keys())) {
            throw new IllegalArgumentException(
                    "the chain is for " + chain.subject().id() + ", not " + node.id());
        }
        TreeId tree = chain.last().tree();
        Hash keyInfoHash = hash(keyInfo);
        byte[] body = CryptoProto.Session.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setTree(Wire.bytes(tree))
                .setKeyInfoHash(Wire.bytes(keyInfoHash))
                .setNotBeforeMillis(notBeforeMillis)
                .setNotAfterMillis(notAfterMillis)
                .build()
                .toByteArray();
        return new NodeProof(
                chain, node.sign(SignatureKind.SESSION, body), tree, keyInfoHash, notBeforeMillis, notAfterMillis);
    }

    /** Reads hostile bytes; verifies nothing. */
    public static NodeProof parse(byte[] encoded) throws CryptoException {
        CryptoProto.NodeProof proof = Wire.parse(CryptoProto.NodeProof.parser(), encoded, SIZE_MAX, "node proof");
        WriteCapabilityChain chain = WriteCapabilityChain.parse(proof.getChain().toByteArray());
        SignedEnvelope statement = SignedEnvelope.parse(proof.getStatement().toByteArray());
        CryptoProto.Session body =
                Wire.parse(CryptoProto.Session.parser(), statement.body(), SignedEnvelope.SIZE_MAX, "statement");
        Wire.checkVersion(body.getVersion(), body.getSuite(), "statement");
        return new NodeProof(
                chain,
                statement,
                TreeId.of(Wire.id(body.getTree(), "tree id")),
                Hash.of(Wire.id(body.getKeyInfoHash(), "hash of the key info")),
                Wire.millis(body.getNotBeforeMillis(), "beginning"),
                Wire.millis(body.getNotAfterMillis(), "end"));
    }

    /** Throws BAD_SIGNATURE or WRONG_KEY unless the chain's subject has signed the statement, and over this key. */
    public void verify(byte[] keyInfo) throws CryptoException {
        statement.verify(SignatureKind.SESSION, subject());
        if (!keyInfoHash.equals(hash(keyInfo))) {
            throw new CryptoException(
                    CryptoException.Code.WRONG_KEY, "statement of " + subject().id() + " is over another key");
        }
    }

    /**
     * Throws DENIED (NOT_YET_VALID, EXPIRED) unless the statement holds now, by a wall clock that may be
     * {@link #CLOCK_GRACE_MILLIS} off, and MALFORMED when it holds longer than {@link #LIFE_MILLIS_MAX}.
     */
    public void checkTimes(long nowMillis) throws CryptoException {
        if (notAfterMillis - notBeforeMillis > LIFE_MILLIS_MAX) {
            throw CryptoException.malformed(
                    "statement holds for " + (notAfterMillis - notBeforeMillis) + " ms, more than " + LIFE_MILLIS_MAX);
        }
        if (nowMillis < notBeforeMillis - CLOCK_GRACE_MILLIS) {
            throw CryptoException.denied(
                    Denial.NOT_YET_VALID, "statement begins at " + notBeforeMillis + ", time is " + nowMillis);
        }
        if (nowMillis - CLOCK_GRACE_MILLIS >= notAfterMillis) {
            throw CryptoException.denied(
                    Denial.EXPIRED, "statement ended at " + notAfterMillis + ", time is " + nowMillis);
        }
    }

    /** Whose proof it is. */
    public PrincipalKeys subject() {
        return chain.subject();
    }

    public byte[] toBytes() {
        return CryptoProto.NodeProof.newBuilder()
                .setChain(Wire.bytes(chain.toBytes()))
                .setStatement(Wire.bytes(statement.toBytes()))
                .build()
                .toByteArray();
    }

    private static Hash hash(byte[] keyInfo) {
        return Hash.of(Suite.sha256().digest(keyInfo));
    }
}
