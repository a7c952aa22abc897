package blocktree.testharness.history;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** What clients saw, what was done to the nodes meanwhile, and when nothing was. All times from the same origin. Thread-safe. */
public final class History {

    /**
     * When a node may have lost what it had changed and not synced: it was killed, or said that it lost something.
     *
     * @param killed its mounts answered nothing, or with errors, in that time
     */
    public record Loss(int node, boolean killed, long fromNanos, long toNanos) {}

    /** A time in which nothing is done to any node or line, and everything done before was made good. */
    public record Quiet(long fromNanos, long toNanos) {}

    private record Note(long nanos, String text) {}

    private final long originNanos;
    private final List<Operation> operations = new ArrayList<>();
    private final List<Loss> losses = new ArrayList<>();
    private final List<Quiet> quiets = new ArrayList<>();
    private final List<Note> notes = new ArrayList<>();

    /** @param originNanos what {@link #now} counts from */
    public History(long originNanos) {
        this.originNanos = originNanos;
    }

    /** Of {@link System#nanoTime}, from the history's origin. */
    public long now() {
        return System.nanoTime() - originNanos;
    }

    public synchronized void add(Operation operation) {
        operations.add(operation);
    }

    public synchronized void add(Loss loss) {
        losses.add(loss);
    }

    public synchronized void add(Quiet quiet) {
        quiets.add(quiet);
    }

    /** For whoever reads the history: what was done to the cluster, now. */
    public synchronized void note(String text) {
        notes.add(new Note(now(), text));
    }

    public synchronized List<Operation> operations() {
        return List.copyOf(operations);
    }

    synchronized List<Loss> losses() {
        return List.copyOf(losses);
    }

    synchronized List<Quiet> quiets() {
        return List.copyOf(quiets);
    }

    synchronized boolean isQuiet(long fromNanos, long toNanos) {
        return quiets.stream().anyMatch(quiet -> quiet.fromNanos <= fromNanos && toNanos <= quiet.toNanos);
    }

    /** All of it, a line each, in the order of time. */
    public synchronized List<String> lines() {
        return Stream.of(
                        operations.stream().map(one -> new Note(one.invokedNanos(), one.toString())),
                        losses.stream()
                                .map(one -> new Note(
                                        one.fromNanos,
                                        "LOSS of node " + one.node + (one.killed ? ", killed, to " : ", to ")
                                                + Operation.millis(one.toNanos))),
                        quiets.stream()
                                .map(one -> new Note(one.fromNanos, "QUIET to " + Operation.millis(one.toNanos))),
                        notes.stream().map(one -> new Note(one.nanos, "-- " + one.text)))
                .flatMap(each -> each)
                .sorted(Comparator.comparingLong(Note::nanos))
                .map(note -> Operation.millis(note.nanos) + " " + note.text)
                .toList();
    }
}
