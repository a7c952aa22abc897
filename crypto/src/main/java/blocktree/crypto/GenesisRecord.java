package blocktree.crypto;

import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.List;

/** The record that founds a tree and names its root keys (docs/format.md, section 2). Immutable; verified when parsed. */
public final class GenesisRecord {

    /** Most root principals of a tree. */
    public static final int ROOTS_MAX = 8;

    static final int SIZE_MAX = 32 * 1024;

    private final byte[] encoded;
    private final TreeId tree;
    private final long createdMillis;
    private final List<PrincipalKeys> roots;

    private GenesisRecord(byte[] encoded, TreeId tree, long createdMillis, List<PrincipalKeys> roots) {
        this.encoded = encoded;
        this.tree = tree;
        this.createdMillis = createdMillis;
        this.roots = roots;
    }

    /** Founds a tree whose root principals are {@code roots}, 1 to 8. */
    public static GenesisRecord create(List<Identity> roots, long createdMillis) {
        return create(roots, createdMillis, Suite.randomBytes(Id.SIZE));
    }

    static GenesisRecord create(List<Identity> roots, long createdMillis, byte[] nonce) {
        CryptoProto.Genesis.Builder genesis = CryptoProto.Genesis.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setNonce(Wire.bytes(nonce))
                .setCreatedMillis(createdMillis);
        roots.forEach(root -> genesis.addRootPrincipals(Wire.bytes(root.keys().toBytes())));
        byte[] body = genesis.build().toByteArray();
        CryptoProto.GenesisRecord.Builder record =
                CryptoProto.GenesisRecord.newBuilder().setBody(Wire.bytes(body));
        roots.forEach(root -> record.addSignatures(
                Wire.bytes(root.signDetached(SignatureKind.GENESIS, body).toBytes())));
        try {
            return parse(record.build().toByteArray());
        } catch (CryptoException e) {
            throw new IllegalArgumentException("not 1 to 8 different root principals", e);
        }
    }

    /** Reads hostile bytes and verifies the signature of each root principal. */
    public static GenesisRecord parse(byte[] encoded) throws CryptoException {
        CryptoProto.GenesisRecord record =
                Wire.parse(CryptoProto.GenesisRecord.parser(), encoded, SIZE_MAX, "genesis record");
        byte[] body = record.getBody().toByteArray();
        CryptoProto.Genesis genesis = Wire.parse(CryptoProto.Genesis.parser(), body, SIZE_MAX, "genesis");
        Wire.checkVersion(genesis.getVersion(), genesis.getSuite(), "genesis");
        Wire.sized(genesis.getNonce(), Id.SIZE, "genesis nonce");
        List<PrincipalKeys> roots = parseRoots(genesis.getRootPrincipalsList());
        verifyEach(roots, record.getSignaturesList(), SignatureKind.GENESIS, body);
        return new GenesisRecord(
                encoded.clone(),
                TreeId.of(TaggedHash.of("genesis").add(body).digest()),
                Wire.millis(genesis.getCreatedMillis(), "time of genesis"),
                roots);
    }

    static List<PrincipalKeys> parseRoots(List<ByteString> encodedKeys) throws CryptoException {
        Wire.checkCount(encodedKeys, ROOTS_MAX, "root principals");
        List<PrincipalKeys> roots = new ArrayList<>();
        for (ByteString keys : encodedKeys) {
            PrincipalKeys root = PrincipalKeys.parse(keys.toByteArray());
            if (roots.contains(root)) {
                throw CryptoException.malformed("root principal " + root.id() + " is named twice");
            }
            roots.add(root);
        }
        return List.copyOf(roots);
    }

    /** The i-th signature must be the i-th principal's, over {@code body}, with an empty body of its own. */
    static void verifyEach(List<PrincipalKeys> signers, List<ByteString> signatures, SignatureKind kind, byte[] body)
            throws CryptoException {
        if (signatures.size() != signers.size()) {
            throw CryptoException.malformed(signatures.size() + " signatures of " + signers.size() + " principals");
        }
        for (int i = 0; i < signers.size(); i++) {
            SignedEnvelope envelope = SignedEnvelope.parse(signatures.get(i).toByteArray());
            if (envelope.bodySize() != 0) {
                throw CryptoException.malformed("detached signature holds a body");
            }
            envelope.verifyDetached(kind, signers.get(i), body);
        }
    }

    public TreeId tree() {
        return tree;
    }

    public long createdMillis() {
        return createdMillis;
    }

    public List<PrincipalKeys> roots() {
        return roots;
    }

    public byte[] toBytes() {
        return encoded.clone();
    }

    @Override
    public String toString() {
        return "GenesisRecord[tree=" + tree + ", " + roots.size() + " roots]";
    }
}
