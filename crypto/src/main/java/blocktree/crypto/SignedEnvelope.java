package blocktree.crypto;

import java.util.Arrays;
import org.bouncycastle.math.ec.rfc8032.Ed25519;

/**
 * A signed body, as the exact bytes that are stored and sent (docs/format.md, section 1). Immutable. A parsed envelope is a claim:
 * nothing in it counts before {@link #verify}.
 */
public final class SignedEnvelope {

    /** Bound on a whole envelope, in bytes. */
    public static final int SIZE_MAX = 64 * 1024;

    private final byte[] encoded;
    private final PrincipalId signer;
    private final byte[] body;
    private final byte[] signature;

    private SignedEnvelope(byte[] encoded, PrincipalId signer, byte[] body, byte[] signature) {
        this.encoded = encoded;
        this.signer = signer;
        this.body = body;
        this.signature = signature;
    }

    /** Reads hostile bytes; MALFORMED, UNSUPPORTED or TOO_MANY when they are no envelope. Verifies nothing. */
    public static SignedEnvelope parse(byte[] encoded) throws CryptoException {
        CryptoProto.Signed message = Wire.parse(CryptoProto.Signed.parser(), encoded, SIZE_MAX, "envelope");
        Wire.checkVersion(Suite.VERSION, message.getSuite(), "envelope");
        return new SignedEnvelope(
                encoded.clone(),
                PrincipalId.of(Wire.id(message.getSigner(), "signer")),
                message.getBody().toByteArray(),
                Wire.sized(message.getSignature(), Ed25519.SIGNATURE_SIZE, "signature"));
    }

    /** With {@code bodyInEnvelope} empty where the record around it holds the body. */
    static SignedEnvelope of(PrincipalId signer, byte[] bodyInEnvelope, byte[] signature) {
        byte[] encoded = CryptoProto.Signed.newBuilder()
                .setSuite(Suite.SUITE)
                .setSigner(Wire.bytes(signer))
                .setBody(Wire.bytes(bodyInEnvelope))
                .setSignature(Wire.bytes(signature))
                .build()
                .toByteArray();
        if (encoded.length > SIZE_MAX) {
            throw new IllegalArgumentException("envelope of " + encoded.length + " bytes, more than " + SIZE_MAX);
        }
        return new SignedEnvelope(encoded, signer, bodyInEnvelope.clone(), signature);
    }

    /** Whose signature it claims to be. */
    public PrincipalId signer() {
        return signer;
    }

    /** The exact bytes that were signed. */
    public byte[] body() {
        return body.clone();
    }

    int bodySize() {
        return body.length;
    }

    /** The exact bytes of the envelope. */
    public byte[] toBytes() {
        return encoded.clone();
    }

    /** H("envelope", kind, bytes of the envelope). */
    public Hash id(SignatureKind kind) {
        return TaggedHash.of("envelope").add(kind.label()).add(encoded).hash();
    }

    /** Throws BAD_SIGNATURE unless {@code keys} are the signer's and signed this body as this kind. */
    public void verify(SignatureKind kind, PrincipalKeys keys) throws CryptoException {
        verifyDetached(kind, keys, body);
    }

    /** As {@link #verify}, for a body that the record around this envelope holds. */
    void verifyDetached(SignatureKind kind, PrincipalKeys keys, byte[] detachedBody) throws CryptoException {
        if (!keys.id().equals(signer) || !keys.verify(kind, detachedBody, signature)) {
            throw new CryptoException(
                    CryptoException.Code.BAD_SIGNATURE,
                    "signature over " + kind.label() + " by " + signer + " does not verify under the keys of "
                            + keys.id());
        }
    }

    @Override
    public boolean equals(Object other) {
        return this == other || other instanceof SignedEnvelope e && Arrays.equals(encoded, e.encoded);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(signature);
    }

    @Override
    public String toString() {
        return "SignedEnvelope[signer=" + signer + ", " + body.length + " bytes]";
    }
}
