package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.ByteArrayOutputStream;
import java.util.Arrays;

/**
 * A domain key, encapsulated for one principal: HPKE with X-Wing, safe against those who record it today and have a quantum computer
 * later (docs/format.md, section 2).
 */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, and never compared
public record ReadCapability(
        SignedEnvelope envelope,
        TreeId tree,
        DomainId domain,
        int epoch,
        PrincipalId recipient,
        byte[] enc,
        byte[] ciphertext) {

    private static final int CIPHERTEXT_SIZE = Suite.KEY_SIZE + Hpke.TAG_SIZE;

    /** Encapsulates {@code key} for {@code recipient}; MALFORMED when the recipient's KEM key is not valid. */
    public static ReadCapability issue(Identity issuer, DomainKey key, PrincipalKeys recipient) throws CryptoException {
        return issue(issuer, key, recipient, Suite.randomBytes(Hpke.ENCAPSULATION_SEED_SIZE));
    }

    static ReadCapability issue(Identity issuer, DomainKey key, PrincipalKeys recipient, byte[] encapsulationSeed)
            throws CryptoException {
        byte[] raw = key.secret().reveal();
        Hpke.Sealed sealed;
        try {
            sealed = Hpke.seal(
                    recipient.kemKey(),
                    info(key.tree(), key.domain(), key.epoch(), recipient.id()),
                    raw,
                    encapsulationSeed);
        } finally {
            Arrays.fill(raw, (byte) 0);
        }
        byte[] body = CryptoProto.ReadCap.newBuilder()
                .setVersion(Suite.VERSION)
                .setSuite(Suite.SUITE)
                .setTree(Wire.bytes(key.tree()))
                .setDomain(Wire.bytes(key.domain()))
                .setEpoch(key.epoch())
                .setRecipient(Wire.bytes(recipient.id()))
                .setEnc(Wire.bytes(sealed.enc()))
                .setCiphertext(Wire.bytes(sealed.ciphertext()))
                .build()
                .toByteArray();
        return new ReadCapability(
                issuer.sign(SignatureKind.READCAP, body),
                key.tree(),
                key.domain(),
                key.epoch(),
                recipient.id(),
                sealed.enc(),
                sealed.ciphertext());
    }

    /** Reads hostile bytes; does not verify the signature. */
    public static ReadCapability parse(byte[] encoded) throws CryptoException {
        SignedEnvelope envelope = SignedEnvelope.parse(encoded);
        CryptoProto.ReadCap body =
                Wire.parse(CryptoProto.ReadCap.parser(), envelope.body(), SignedEnvelope.SIZE_MAX, "read capability");
        Wire.checkVersion(body.getVersion(), body.getSuite(), "read capability");
        if (body.getEpoch() < 1) {
            throw CryptoException.malformed("epoch is out of range");
        }
        return new ReadCapability(
                envelope,
                TreeId.of(Wire.id(body.getTree(), "tree id")),
                DomainId.of(Wire.id(body.getDomain(), "domain id")),
                body.getEpoch(),
                PrincipalId.of(Wire.id(body.getRecipient(), "recipient")),
                Wire.sized(body.getEnc(), Hpke.ENC_SIZE, "encapsulation"),
                Wire.sized(body.getCiphertext(), CIPHERTEXT_SIZE, "encapsulated key"));
    }

    /** The key, for its recipient; CORRUPT when it was not sealed to {@code identity} for this tree, domain and epoch. */
    DomainKey open(Identity identity) throws CryptoException {
        byte[] key = identity.open(enc, info(tree, domain, epoch, identity.id()), ciphertext);
        return DomainKey.of(tree, domain, epoch, SecretBytes.takeOver(key));
    }

    private static byte[] info(TreeId tree, DomainId domain, int epoch, PrincipalId recipient) {
        ByteArrayOutputStream info = new ByteArrayOutputStream();
        info.writeBytes((Suite.LABEL_PREFIX + "readcap").getBytes(US_ASCII));
        info.writeBytes(tree.toBytes());
        info.writeBytes(domain.toBytes());
        info.writeBytes(Bytes.u32(epoch));
        info.writeBytes(recipient.toBytes());
        return info.toByteArray();
    }

    public byte[] toBytes() {
        return envelope.toBytes();
    }
}
