package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;

/** Checks that the parsers of hostile messages share; each failure is INVALID. */
final class Wire {

    private Wire() {}

    static void checkSize(byte[] encoded, int sizeMax, String what) throws StoreException {
        if (encoded.length > sizeMax) {
            throw StoreException.invalid(what + " has " + encoded.length + " bytes, more than " + sizeMax);
        }
    }

    static void checkVersion(int version, int suite, String what) throws StoreException {
        if (version != 1 || suite != 1) {
            throw StoreException.invalid(what + " has version " + Integer.toUnsignedString(version) + ", suite "
                    + Integer.toUnsignedString(suite) + "; this program knows version 1, suite 1");
        }
    }

    static byte[] sized(ByteString field, int size, String what) throws StoreException {
        if (field.size() != size) {
            throw StoreException.invalid(what + " has " + field.size() + " bytes, not " + size);
        }
        return field.toByteArray();
    }

    static Hash hash(ByteString field, String what) throws StoreException {
        return Hash.of(sized(field, Id.SIZE, what));
    }

    static ByteString bytes(Id id) {
        return UnsafeByteOperations.unsafeWrap(id.toBytes());
    }

    /** Wraps without copying: {@code value} must not change afterwards. */
    static ByteString bytes(byte[] value) {
        return UnsafeByteOperations.unsafeWrap(value);
    }
}
