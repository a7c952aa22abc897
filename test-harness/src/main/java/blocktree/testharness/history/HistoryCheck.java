package blocktree.testharness.history;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Whether a history is one that a cluster promises.
 *
 * <p>Checked, for each name by itself:
 * <ul>
 *   <li>a read returns what somebody has written to this name before the read ended, whole; never what was refused;
 *   <li>the writes of a register have an order ({@link RegisterCheck}) in which each comes after those that were made before it was asked for. A
 *       node's reads never go back in it; they are at or after what this node has written, and, a bounded time after it was committed and while nothing is
 *       done to the cluster, what any node has written. Committed is what was synced, what another node has seen, what nothing was done to for a bounded
 *       time, and changes of names before a sync of the same node. What is committed is never undone; what is not may be only where its node was killed
 *       or said that it has lost something;
 *   <li>a name that only one can take is taken by one at a time ({@link ExclusiveCheck}), with the same exceptions, and stays taken or free as it is in the
 *       end;
 *   <li>calls fail only for what their names are, or while something is done to the cluster, and return within a bounded time where nothing is.
 * </ul>
 *
 * <p>Not checked, since not promised: that a read on another node sees what is not committed, or at once; that reads of several names fit together;
 * that EEXIST or ENOENT was still true when it was returned; what becomes of a file that is open on one node while another removes it; the order of
 * changes of different names after a crash, but for a sync; access times.
 */
public final class HistoryCheck {
    /** What a killed node's mount answers. */
    private static final Set<String> DISCONNECTED = Set.of("ENOTCONN", "ECONNABORTED", "ENODEV", "EINTR", "EIO");
    /** What a node answers that has no majority, or has lost what was written. */
    private static final Set<String> UNAVAILABLE = Set.of("EROFS", "ETIMEDOUT", "EIO");

    private final History history;
    private final Bounds bounds;

    public HistoryCheck(History history, Bounds bounds) {
        this.history = history;
        this.bounds = bounds;
    }

    /**
     * @param atEnd what all mounts show in the end: a value, or {@link Operation#ABSENT}, or {@link Operation#EMPTY}, also for a directory
     * @return what is wrong; empty when all is well
     */
    public List<String> problems(Map<Name, String> atEnd) {
        Evidence evidence = new Evidence(history, bounds);
        List<String> problems = new ArrayList<>();
        Map<Name, List<Operation>> byName = new LinkedHashMap<>();
        for (Operation each : history.operations()) {
            byName.computeIfAbsent(each.name(), name -> new ArrayList<>()).add(each);
            checkFailure(each, problems);
            checkTime(each, problems);
        }
        byName.forEach((name, operations) -> problems.addAll(
                name.kind().isRegister()
                        ? new RegisterCheck(name, operations, evidence).problems()
                        : new ExclusiveCheck(name, operations, evidence).problems(atEnd.get(name))));
        return problems;
    }

    private void checkFailure(Operation each, List<String> problems) {
        String errno = each.errno();
        if (errno.isEmpty() || !each.name().kind().isRegister() && OF_NAMES.contains(errno)) {
            return;
        }
        boolean isKilled = DISCONNECTED.contains(errno)
                && history.losses().stream()
                        .anyMatch(loss -> loss.killed()
                                && loss.node() == each.node()
                                && loss.fromNanos() <= each.returnedNanos()
                                && loss.toNanos() >= each.invokedNanos());
        boolean isDisturbed =
                UNAVAILABLE.contains(errno) && !history.isQuiet(each.invokedNanos(), each.returnedNanos());
        if (!isKilled && !isDisturbed) {
            problems.add("failed: " + each);
        }
    }

    /** What a name that comes and goes may answer. */
    private static final Set<String> OF_NAMES = Set.of("EEXIST", "ENOENT", "ESTALE", "ENOTEMPTY");

    private void checkTime(Operation each, List<String> problems) {
        for (History.Quiet quiet : history.quiets()) {
            long spent =
                    Math.min(each.returnedNanos(), quiet.toNanos()) - Math.max(each.invokedNanos(), quiet.fromNanos());
            if (spent > bounds.hangNanos()) {
                problems.add("slow: " + each + " in a quiet time of " + Operation.millis(quiet.fromNanos()) + " to "
                        + Operation.millis(quiet.toNanos()));
            }
        }
    }
}
