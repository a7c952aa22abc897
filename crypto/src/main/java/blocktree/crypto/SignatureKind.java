package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.util.Locale;

/** What a signature is over; one over one kind never verifies as another (docs/format.md, section 1). */
public enum SignatureKind {
    GENESIS,
    WRITECAP,
    READCAP,
    DOMAIN,
    EPOCH,
    REVOCATION,
    ROTATION,
    COMMIT,
    CHECKPOINT,
    SNAPSHOT,
    SESSION,
    JOIN,
    NODE;

    private final String label = name().toLowerCase(Locale.ROOT);
    private final byte[] prefix = (Suite.LABEL_PREFIX + "sign/" + label + '\0').getBytes(US_ASCII);

    /** The name in docs/format.md. */
    public String label() {
        return label;
    }

    /** What is signed: the prefix of the kind, then the body. */
    byte[] message(byte[] body) {
        byte[] message = new byte[prefix.length + body.length];
        System.arraycopy(prefix, 0, message, 0, prefix.length);
        System.arraycopy(body, 0, message, prefix.length, body.length);
        return message;
    }
}
