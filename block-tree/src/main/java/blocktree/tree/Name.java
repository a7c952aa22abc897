package blocktree.tree;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** The name of a directory entry or extended attribute: any bytes but NUL. Immutable; its {@code toString} is redacted, since names are confidential. */
public final class Name implements Comparable<Name> {
    private final byte[] bytes;
    private final int hash;

    private Name(byte[] bytes) {
        this.bytes = bytes;
        this.hash = Arrays.hashCode(bytes);
    }

    /** Takes ownership of {@code bytes}. */
    public static Name wrap(byte[] bytes) {
        return new Name(bytes);
    }

    public static Name of(String text) {
        return new Name(text.getBytes(StandardCharsets.UTF_8));
    }

    public int sizeBytes() {
        return bytes.length;
    }

    /** The bytes themselves: not to be changed. */
    public byte[] bytes() {
        return bytes;
    }

    /** The plaintext as text, for messages that may show names. */
    public String plaintext() {
        return new String(bytes, StandardCharsets.UTF_8);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Name name && hash == name.hash && Arrays.equals(bytes, name.bytes);
    }

    @Override
    public int hashCode() {
        return hash;
    }

    @Override
    public int compareTo(Name other) {
        return Arrays.compareUnsigned(bytes, other.bytes);
    }

    @Override
    public String toString() {
        return "Name[" + bytes.length + " bytes]";
    }
}
