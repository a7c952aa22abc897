package blocktree.crypto;

import java.security.MessageDigest;
import java.util.Arrays;

/**
 * Secret bytes, zeroed on close. What was copied out with {@link #reveal} is the caller's to zero. Thread-safe: a copy is whole or
 * refused with IllegalStateException once closed.
 */
public final class SecretBytes implements AutoCloseable {

    private final byte[] bytes;
    private boolean closed;

    private SecretBytes(byte[] bytes) {
        this.bytes = bytes;
    }

    /** Takes over {@code bytes}: the caller neither reads nor changes them afterwards. */
    public static SecretBytes takeOver(byte[] bytes) {
        return new SecretBytes(bytes);
    }

    public static SecretBytes copyOf(byte[] bytes) {
        return new SecretBytes(bytes.clone());
    }

    public static SecretBytes random(int sizeBytes) {
        return new SecretBytes(Suite.randomBytes(sizeBytes));
    }

    public int size() {
        return bytes.length;
    }

    /** A copy of the secret, for the caller to zero. */
    public synchronized byte[] reveal() {
        if (closed) {
            throw new IllegalStateException("secret is closed");
        }
        return bytes.clone();
    }

    /** A second secret with the same content, closed on its own. */
    public SecretBytes copy() {
        return new SecretBytes(reveal());
    }

    public synchronized boolean isClosed() {
        return closed;
    }

    @Override
    public synchronized void close() {
        closed = true;
        Arrays.fill(bytes, (byte) 0);
    }

    /** Compares in constant time. */
    @Override
    public boolean equals(Object other) {
        if (this == other) {
            return true;
        }
        if (!(other instanceof SecretBytes secret)) {
            return false;
        }
        byte[] mine = reveal();
        byte[] theirs = secret.reveal();
        try {
            return MessageDigest.isEqual(mine, theirs);
        } finally {
            Arrays.fill(mine, (byte) 0);
            Arrays.fill(theirs, (byte) 0);
        }
    }

    /** Says nothing about the content. */
    @Override
    public int hashCode() {
        return bytes.length;
    }

    @Override
    public String toString() {
        return "SecretBytes[" + bytes.length + " bytes, redacted]";
    }
}
