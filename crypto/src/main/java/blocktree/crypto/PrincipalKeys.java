package blocktree.crypto;

import java.util.Arrays;
import org.bouncycastle.math.ec.rfc8032.Ed25519;
import org.bouncycastle.pqc.crypto.xwing.XWingPublicKeyParameters;

/**
 * The public keys of a principal: Ed25519 for signatures, X-Wing (ML-KEM-768 + X25519) for encapsulation; docs/format.md, section 2.
 * Immutable; equal when the encoded bytes are.
 */
public final class PrincipalKeys {

    static final int SIGNING_KEY_SIZE = 32;
    static final int KEM_KEY_SIZE = 1216;
    static final int ENCODED_SIZE_MAX = 1300;

    private final byte[] encoded;
    private final byte[] kemKey;
    private final PrincipalId id;
    private final Ed25519.PublicPoint signingPoint;

    private PrincipalKeys(byte[] encoded, byte[] signingKey, byte[] kemKey) throws CryptoException {
        Ed25519.PublicPoint point = Ed25519.validatePublicKeyFullExport(signingKey, 0);
        if (point == null) {
            throw CryptoException.malformed("signing key is not a point of prime order");
        }
        this.encoded = encoded;
        this.kemKey = kemKey;
        this.signingPoint = point;
        this.id = PrincipalId.of(TaggedHash.of("principal").add(encoded).digest());
    }

    /** From the exact bytes that other records hold. */
    public static PrincipalKeys parse(byte[] encoded) throws CryptoException {
        CryptoProto.PrincipalKeys message =
                Wire.parse(CryptoProto.PrincipalKeys.parser(), encoded, ENCODED_SIZE_MAX, "principal keys");
        Wire.checkVersion(message.getVersion(), message.getSuite(), "principal keys");
        return new PrincipalKeys(
                encoded.clone(),
                Wire.sized(message.getSigningKey(), SIGNING_KEY_SIZE, "signing key"),
                Wire.sized(message.getKemKey(), KEM_KEY_SIZE, "KEM key"));
    }

    static PrincipalKeys of(byte[] signingKey, byte[] kemKey) {
        byte[] encoded = CryptoProto.PrincipalKeys.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setSigningKey(Wire.bytes(signingKey))
                .setKemKey(Wire.bytes(kemKey))
                .build()
                .toByteArray();
        try {
            return new PrincipalKeys(encoded, signingKey, kemKey.clone());
        } catch (CryptoException e) {
            throw new IllegalArgumentException("not a key pair of suite 1", e);
        }
    }

    public PrincipalId id() {
        return id;
    }

    /** The exact bytes whose hash is {@link #id}. */
    public byte[] toBytes() {
        return encoded.clone();
    }

    boolean verify(SignatureKind kind, byte[] body, byte[] signature) {
        byte[] message = kind.message(body);
        return signature.length == Ed25519.SIGNATURE_SIZE
                && Ed25519.verify(signature, 0, signingPoint, message, 0, message.length);
    }

    XWingPublicKeyParameters kemKey() throws CryptoException {
        try {
            return new XWingPublicKeyParameters(kemKey);
        } catch (RuntimeException e) {
            throw new CryptoException(
                    CryptoException.Code.MALFORMED, "KEM key of principal " + id + " is not valid", e);
        }
    }

    @Override
    public boolean equals(Object other) {
        return this == other || other instanceof PrincipalKeys keys && Arrays.equals(encoded, keys.encoded);
    }

    @Override
    public int hashCode() {
        return id.hashCode();
    }

    @Override
    public String toString() {
        return "PrincipalKeys[" + id + "]";
    }
}
