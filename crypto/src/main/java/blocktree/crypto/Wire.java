package blocktree.crypto;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.Parser;
import java.util.Arrays;
import java.util.List;

/** Reading of protobuf messages from hostile bytes, and the checks that many of them share. */
final class Wire {

    private Wire() {}

    /**
     * Parses in canonical form only: ascending fields, shortest varints, no defaults, nothing unknown. Otherwise whoever holds a
     * record could write the same content with another id, and so escape a revocation.
     */
    static <M extends Message> M parse(Parser<M> parser, byte[] bytes, int sizeMax, String what)
            throws CryptoException {
        if (bytes.length > sizeMax) {
            throw new CryptoException(
                    CryptoException.Code.TOO_MANY, what + " has " + bytes.length + " bytes, more than " + sizeMax);
        }
        M message;
        try {
            message = parser.parseFrom(bytes);
        } catch (InvalidProtocolBufferException e) {
            throw new CryptoException(CryptoException.Code.MALFORMED, what + " is not such a message", e);
        }
        if (!message.getUnknownFields().asMap().isEmpty() || !Arrays.equals(message.toByteArray(), bytes)) {
            throw CryptoException.malformed(what + " is not in canonical form");
        }
        return message;
    }

    static void checkVersion(int version, int suite, String what) throws CryptoException {
        if (version != Suite.VERSION || suite != Suite.SUITE) {
            throw new CryptoException(
                    CryptoException.Code.UNSUPPORTED,
                    what + " has version " + Integer.toUnsignedString(version) + ", suite "
                            + Integer.toUnsignedString(suite) + "; this program knows version 1, suite 1");
        }
    }

    static byte[] id(ByteString field, String what) throws CryptoException {
        return sized(field, Id.SIZE, what);
    }

    static byte[] sized(ByteString field, int size, String what) throws CryptoException {
        if (field.size() != size) {
            throw CryptoException.malformed(what + " has " + field.size() + " bytes, not " + size);
        }
        return field.toByteArray();
    }

    static void checkCount(List<?> list, int max, String what) throws CryptoException {
        if (list.isEmpty()) {
            throw CryptoException.malformed("no " + what);
        }
        if (list.size() > max) {
            throw new CryptoException(CryptoException.Code.TOO_MANY, list.size() + " " + what + ", more than " + max);
        }
    }

    /** Times are unsigned on the wire; beyond 2^63 they are nonsense. */
    static long millis(long value, String what) throws CryptoException {
        if (value < 0) {
            throw CryptoException.malformed(what + " is out of range");
        }
        return value;
    }

    static ByteString bytes(byte[] value) {
        return ByteString.copyFrom(value);
    }

    static ByteString bytes(Id id) {
        return ByteString.copyFrom(id.toBytes());
    }
}
