package blocktree.crypto;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.security.DigestException;
import java.security.MessageDigest;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * The tagged hash H(label, p1, …, pn) of docs/format.md, section 1: SHA-256 over the label, a zero byte, and each part behind its
 * length. Fluent: {@code TaggedHash.of("header").add(bytes).hash()}. Used once, by one thread.
 */
public final class TaggedHash {

    private static final ConcurrentHashMap<String, byte[]> LABELS = new ConcurrentHashMap<>();
    private static final int LABELS_MAX = 256;

    /** Holds a digest that the thread's next hash takes; empty while one is under way, so that a nested hash takes its own. */
    private static final ThreadLocal<@Nullable MessageDigest> SPARE = new ThreadLocal<>();

    private final MessageDigest digest;

    private TaggedHash(MessageDigest digest) {
        this.digest = digest;
    }

    /** {@code label} without the prefix {@code blocktree/v1/}; ASCII. */
    public static TaggedHash of(String label) {
        byte[] tag = LABELS.get(label);
        if (tag == null) {
            tag = (Suite.LABEL_PREFIX + label + '\0').getBytes(US_ASCII);
            if (LABELS.size() < LABELS_MAX) {
                LABELS.put(label, tag);
            }
        }
        MessageDigest digest = SPARE.get();
        if (digest == null) {
            digest = Suite.newSha256();
        } else {
            SPARE.set(null);
            digest.reset();
        }
        digest.update(tag);
        return new TaggedHash(digest);
    }

    /** H(label, parts…). */
    public static Hash hash(String label, byte[]... parts) {
        TaggedHash hash = of(label);
        for (byte[] part : parts) {
            hash.add(part);
        }
        return hash.hash();
    }

    /** The calling thread's own SHA-256, reset: for plain hashes (integrity tree, Merkle trees). */
    public static MessageDigest sha256() {
        return Suite.sha256();
    }

    public TaggedHash add(byte[] part) {
        return add(part, 0, part.length);
    }

    public TaggedHash add(byte[] source, int offset, int length) {
        length(length);
        digest.update(source, offset, length);
        return this;
    }

    public TaggedHash add(Id id) {
        return add(id.toBytes());
    }

    /** A part of the ASCII characters of {@code text}. */
    public TaggedHash add(String text) {
        return add(text.getBytes(US_ASCII));
    }

    /** A part of four bytes. */
    public TaggedHash addU32(int value) {
        length(4);
        u32(value);
        return this;
    }

    /** A part of eight bytes. */
    public TaggedHash addU64(long value) {
        length(8);
        u32((int) (value >>> 32));
        u32((int) value);
        return this;
    }

    public Hash hash() {
        return Hash.of(digest());
    }

    public byte[] digest() {
        byte[] bytes = digest.digest();
        SPARE.set(digest);
        return bytes;
    }

    /** Writes the 32 bytes at {@code offset}. */
    public void digestTo(byte[] target, int offset) {
        try {
            digest.digest(target, offset, Id.SIZE);
            SPARE.set(digest);
        } catch (DigestException e) {
            throw new IllegalArgumentException("no room for 32 bytes at " + offset, e);
        }
    }

    private void length(int length) {
        u32(length);
    }

    private void u32(int value) {
        digest.update((byte) (value >>> 24));
        digest.update((byte) (value >>> 16));
        digest.update((byte) (value >>> 8));
        digest.update((byte) value);
    }
}
