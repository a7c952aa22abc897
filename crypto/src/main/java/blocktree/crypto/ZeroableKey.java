package blocktree.crypto;

import java.io.NotSerializableException;
import java.io.ObjectOutputStream;
import java.util.Arrays;
import javax.crypto.SecretKey;

/**
 * A key for the JCA that can be zeroed. The lock makes the copy that a cipher takes either whole or refused: a key that is zeroed
 * while a cipher reads it would otherwise seal under a key half of zeros.
 */
final class ZeroableKey implements SecretKey {

    private static final long serialVersionUID = 1L;

    private final transient byte[] bytes;
    private final String algorithm;
    private transient boolean destroyed;

    /** Takes over {@code bytes}. */
    ZeroableKey(byte[] bytes, String algorithm) {
        this.bytes = bytes;
        this.algorithm = algorithm;
    }

    static ZeroableKey aes(byte[] bytes) {
        return new ZeroableKey(bytes, "AES");
    }

    static ZeroableKey hmac(byte[] bytes) {
        return new ZeroableKey(bytes, "HmacSHA256");
    }

    @Override
    public String getAlgorithm() {
        return algorithm;
    }

    @Override
    public String getFormat() {
        return "RAW";
    }

    /** A copy, which the JCA's ciphers zero after use; throws IllegalStateException once destroyed. */
    @Override
    public synchronized byte[] getEncoded() {
        if (destroyed) {
            throw new IllegalStateException("key is destroyed");
        }
        return bytes.clone();
    }

    @Override
    public synchronized void destroy() {
        destroyed = true;
        Arrays.fill(bytes, (byte) 0);
    }

    @Override
    public synchronized boolean isDestroyed() {
        return destroyed;
    }

    @Override
    public String toString() {
        return "ZeroableKey[redacted]";
    }

    private void writeObject(ObjectOutputStream out) throws NotSerializableException {
        throw new NotSerializableException("keys are not serialised");
    }
}
