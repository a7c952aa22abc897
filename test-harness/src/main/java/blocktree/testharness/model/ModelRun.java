package blocktree.testharness.model;

import blocktree.testharness.posix.PosixException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A seeded run of random operations on two directories, the first of which is the truth. The same seed, on the same truth, makes the same
 * operations. Needs root: some operations act as other users.
 */
public final class ModelRun implements AutoCloseable {
    private static final int HISTORY_COUNT = 30;
    private static final int SLOT_COUNT = 5;
    private static final int RESCAN_STEPS = 25;

    private final long seed;
    private final Side reference;
    private final Side subject;
    private final OperationGenerator generator;
    private final Deque<String> history = new ArrayDeque<>();
    private final SortedMap<String, Integer> outcomes = new TreeMap<>();
    private int step;

    /**
     * @param referenceRoot an empty directory of a plain local file system
     * @param subjectRoot an empty directory on the mount; of the same length, so that both meet PATH_MAX at the same step
     */
    public ModelRun(long seed, String referenceRoot, String subjectRoot) throws PosixException {
        if (referenceRoot.length() != subjectRoot.length()) {
            throw new IllegalArgumentException(
                    "roots must have the same length: " + referenceRoot + ", " + subjectRoot);
        }
        this.seed = seed;
        this.reference = new Side(referenceRoot, SLOT_COUNT);
        this.subject = new Side(subjectRoot, SLOT_COUNT);
        this.generator = new OperationGenerator(seed, SLOT_COUNT);
    }

    /** Runs {@code count} more operations. */
    public void steps(int count) throws PosixException {
        for (int i = 0; i < count; i++) {
            if (step % RESCAN_STEPS == 0) {
                generator.know(TreeListing.paths(reference.root()));
            }
            step++;
            Operation operation = generator.next();
            Outcome expected = operation.apply(reference);
            remember(operation, expected);
            Outcome actual = operation.apply(subject);
            outcomes.merge(expected.text().matches("E[A-Z]+") ? expected.text() : "ok", 1, Integer::sum);
            if (!expected.equals(actual)) {
                throw mismatch(expected.text(), actual.text() + expected.difference(actual));
            }
        }
    }

    private void remember(Operation operation, Outcome outcome) {
        if (history.size() == HISTORY_COUNT) {
            history.removeFirst();
        }
        history.addLast(String.format("%6d %s: %s", step, operation, outcome.text()));
    }

    /** Closes every descriptor on both sides, as before a remount. */
    public void closeDescriptors() throws PosixException {
        reference.closeAll();
        subject.closeAll();
    }

    /** Compares the trees as wholes. */
    public void compareTrees() throws PosixException {
        String difference = TreeListing.difference(reference.root(), subject.root());
        if (!difference.isEmpty()) {
            throw mismatch("trees to be the same", "these differences" + difference);
        }
    }

    /** How often each result came, to see that the run was not all errors. */
    public SortedMap<String, Integer> outcomes() {
        return outcomes;
    }

    private ModelMismatch mismatch(String expected, String actual) {
        return new ModelMismatch(String.format(
                "seed %d step %d%n  plain directory: %s%n  mount:           %s%nlast steps, with the plain directory's results:%n%s",
                seed, step, expected, actual, String.join(System.lineSeparator(), history)));
    }

    @Override
    public void close() throws PosixException {
        closeDescriptors();
    }
}
