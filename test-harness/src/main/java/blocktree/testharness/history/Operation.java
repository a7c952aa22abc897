package blocktree.testharness.history;

import java.util.concurrent.TimeUnit;

/**
 * What one client did, and what it saw. Times are those of {@link System#nanoTime}.
 *
 * @param value what was read, or is written; unique among what is written
 * @param errno what failed, also after the change itself was made; empty when nothing did
 * @param effectiveNanos when the call returned that makes the change; that of its sync comes later
 */
public record Operation(
        int node,
        int client,
        Kind kind,
        Name name,
        String value,
        Outcome outcome,
        String errno,
        long invokedNanos,
        long effectiveNanos,
        long returnedNanos) {

    /** In place of a value: there was nothing of that name. */
    public static final String ABSENT = "(absent)";

    /** In place of a value: an empty file. */
    public static final String EMPTY = "(empty)";

    /** Begins what is in place of a value that nobody has written. */
    public static final String TORN = "(torn: ";

    /** What is done. */
    public enum Kind {
        READ,
        /** Of a register. */
        WRITE,
        /** Succeeds for one only, until the next release. */
        ACQUIRE,
        RELEASE
    }

    /** What the client knows. */
    public enum Outcome {
        /** The change was made, and a sync has returned without an error. */
        SYNCED,
        /** The change was made, or the value read. */
        DONE,
        /** It was not made. */
        REFUSED,
        /** It may have been made. */
        UNKNOWN
    }

    boolean isSuccess() {
        return outcome == Outcome.SYNCED || outcome == Outcome.DONE;
    }

    @Override
    public String toString() {
        return String.format(
                "%s %s %s by client %d of node %d, %s%s, %s to %s%s",
                kind,
                name,
                value,
                client,
                node,
                outcome,
                errno.isEmpty() ? "" : " " + errno,
                millis(invokedNanos),
                millis(returnedNanos),
                effectiveNanos == returnedNanos ? "" : " (made by " + millis(effectiveNanos) + ")");
    }

    static String millis(long nanos) {
        return String.format("%.1f", nanos / (double) TimeUnit.MILLISECONDS.toNanos(1));
    }
}
