package blocktree.crypto;

import static blocktree.crypto.Fixtures.assertCode;
import static blocktree.crypto.Fixtures.bytes;
import static blocktree.crypto.Fixtures.identity;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import blocktree.crypto.CryptoException.Code;
import com.google.protobuf.ByteString;
import org.junit.jupiter.api.Test;

class SignedEnvelopeTest {

    private final Identity signer = identity(1);
    private final SignedEnvelope envelope = signer.sign(SignatureKind.COMMIT, bytes(5, 50));

    @Test
    void itVerifiesAfterItWasSentAsItsExactBytes() throws Exception {
        SignedEnvelope received = SignedEnvelope.parse(envelope.toBytes());
        received.verify(SignatureKind.COMMIT, PrincipalKeys.parse(signer.keys().toBytes()));
        assertEquals(envelope, received);
        assertEquals(signer.id(), received.signer());
        assertArrayEquals(bytes(5, 50), received.body());
    }

    @Test
    void aSignatureOverOneKindVerifiesAsNoOther() throws Exception {
        for (SignatureKind kind : SignatureKind.values()) {
            if (kind == SignatureKind.COMMIT) {
                envelope.verify(kind, signer.keys());
            } else {
                assertCode(Code.BAD_SIGNATURE, () -> envelope.verify(kind, signer.keys()));
                assertNotEquals(envelope.id(SignatureKind.COMMIT), envelope.id(kind));
            }
        }
    }

    @Test
    void anotherKeyOrSignerDoesNotVerify() {
        assertCode(
                Code.BAD_SIGNATURE,
                () -> envelope.verify(SignatureKind.COMMIT, identity(2).keys()));
    }

    @Test
    void everyAlteredBitIsNoticed() {
        byte[] real = envelope.toBytes();
        for (int bit = 0; bit < real.length * 8; bit++) {
            byte[] altered = real.clone();
            altered[bit / 8] ^= (byte) (1 << bit % 8);
            assertThrows(
                    CryptoException.class,
                    () -> SignedEnvelope.parse(altered).verify(SignatureKind.COMMIT, signer.keys()));
        }
    }

    @Test
    void anUnknownSuiteIsToldFromDamage() throws Exception {
        CryptoProto.Signed real = CryptoProto.Signed.parseFrom(envelope.toBytes());
        byte[] newer = real.toBuilder().setSuite(2).build().toByteArray();
        assertCode(Code.UNSUPPORTED, () -> SignedEnvelope.parse(newer));
    }

    @Test
    void sizesAreBounded() {
        assertCode(Code.TOO_MANY, () -> SignedEnvelope.parse(new byte[SignedEnvelope.SIZE_MAX + 1]));
        assertThrows(
                IllegalArgumentException.class,
                () -> signer.sign(SignatureKind.COMMIT, new byte[SignedEnvelope.SIZE_MAX]));
    }

    @Test
    void aSigningKeyOfSmallOrderIsNoKey() throws Exception {
        CryptoProto.PrincipalKeys real =
                CryptoProto.PrincipalKeys.parseFrom(signer.keys().toBytes());
        byte[] neutral = new byte[32];
        neutral[0] = 1;
        for (byte[] point : new byte[][] {neutral, new byte[32], bytes(0xff, 32)}) {
            byte[] weak = real.toBuilder()
                    .setSigningKey(ByteString.copyFrom(point))
                    .build()
                    .toByteArray();
            assertCode(Code.MALFORMED, () -> PrincipalKeys.parse(weak));
        }
    }
}
