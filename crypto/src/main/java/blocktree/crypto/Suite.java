package blocktree.crypto;

import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import javax.crypto.Mac;

/** The primitives of suite 1 (docs/format.md, section 1) from the JCA default provider, one object of each per thread. */
final class Suite {

    static final int VERSION = 1;
    static final int SUITE = 1;
    static final int KEY_SIZE = 32;
    static final String LABEL_PREFIX = "blocktree/v1/";

    /** Thread-safe; the platform's default, seeded by the kernel. */
    static final SecureRandom RANDOM = new SecureRandom();

    private static final ThreadLocal<MessageDigest> SHA256 = ThreadLocal.withInitial(Suite::newSha256);

    private static final ThreadLocal<Mac> HMAC = ThreadLocal.withInitial(() -> {
        try {
            return Mac.getInstance("HmacSHA256");
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java has no HmacSHA256", e);
        }
    });

    private Suite() {}

    static MessageDigest newSha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java has no SHA-256", e);
        }
    }

    /** The thread's own, reset. */
    static MessageDigest sha256() {
        MessageDigest digest = SHA256.get();
        digest.reset();
        return digest;
    }

    static byte[] hmac(ZeroableKey key, byte[]... parts) {
        try {
            Mac mac = HMAC.get();
            mac.init(key);
            for (byte[] part : parts) {
                mac.update(part);
            }
            return mac.doFinal();
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("HmacSHA256 refused a key", e);
        }
    }

    static byte[] randomBytes(int size) {
        byte[] bytes = new byte[size];
        RANDOM.nextBytes(bytes);
        return bytes;
    }
}
