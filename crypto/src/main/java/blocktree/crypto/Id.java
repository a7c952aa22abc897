package blocktree.crypto;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;
import java.util.HexFormat;

/** A 32-byte value: immutable, ordered as unsigned bytes, equal only to one of the same class with the same bytes. */
public abstract sealed class Id implements Comparable<Id> permits TreeId, PrincipalId, DomainId, BlockId, Hash {

    /** Length in bytes. */
    public static final int SIZE = 32;

    private static final VarHandle LONG = MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.BIG_ENDIAN);

    private final long a;
    private final long b;
    private final long c;
    private final long d;

    Id(byte[] source, int offset) {
        a = (long) LONG.get(source, offset);
        b = (long) LONG.get(source, offset + 8);
        c = (long) LONG.get(source, offset + 16);
        d = (long) LONG.get(source, offset + 24);
    }

    static byte[] checkSize(byte[] bytes) {
        if (bytes.length != SIZE) {
            throw new IllegalArgumentException("an id has 32 bytes, not " + bytes.length);
        }
        return bytes;
    }

    static byte[] fromHex(String hex) {
        return checkSize(HexFormat.of().parseHex(hex));
    }

    /** A fresh array of the 32 bytes. */
    public final byte[] toBytes() {
        byte[] bytes = new byte[SIZE];
        writeTo(bytes, 0);
        return bytes;
    }

    /** Writes the 32 bytes at {@code offset}. */
    public final void writeTo(byte[] target, int offset) {
        LONG.set(target, offset, a);
        LONG.set(target, offset + 8, b);
        LONG.set(target, offset + 16, c);
        LONG.set(target, offset + 24, d);
    }

    /** All 64 hexadecimal digits; the factory method {@code parse} of each class takes them back. */
    public final String toHex() {
        return HexFormat.of().formatHex(toBytes());
    }

    /** The first 16 hexadecimal digits: enough for a log line, not an identity. */
    @Override
    public final String toString() {
        return HexFormat.of().toHexDigits(a);
    }

    @Override
    public final boolean equals(Object other) {
        return this == other
                || other instanceof Id o && o.getClass() == getClass() && a == o.a && b == o.b && c == o.c && d == o.d;
    }

    @Override
    public final int hashCode() {
        return Long.hashCode(a ^ Long.rotateLeft(d, 17));
    }

    @Override
    public final int compareTo(Id o) {
        int order = Long.compareUnsigned(a, o.a);
        if (order == 0) {
            order = Long.compareUnsigned(b, o.b);
        }
        if (order == 0) {
            order = Long.compareUnsigned(c, o.c);
        }
        return order == 0 ? Long.compareUnsigned(d, o.d) : order;
    }
}
