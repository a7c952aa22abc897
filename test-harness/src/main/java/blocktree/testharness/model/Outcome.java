package blocktree.testharness.model;

import java.util.Arrays;

/** What a program saw of one operation: its result or errno as text, and the bytes it got. */
record Outcome(String text, byte[] data) {
    private static final byte[] NONE = {};

    static Outcome of(String text) {
        return new Outcome(text, NONE);
    }

    static Outcome of(byte[] data) {
        return new Outcome(data.length + " bytes", data);
    }

    /** Where the bytes first differ. */
    String difference(Outcome other) {
        int at = Arrays.mismatch(data, other.data);
        return at < 0 ? "" : ", bytes differ first at " + at + " (" + byteAt(at) + " and " + other.byteAt(at) + ")";
    }

    private String byteAt(int index) {
        return index < data.length ? String.format("%02x", data[index]) : "end";
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Outcome that && text.equals(that.text) && Arrays.equals(data, that.data);
    }

    @Override
    public int hashCode() {
        return text.hashCode() * 31 + Arrays.hashCode(data);
    }
}
