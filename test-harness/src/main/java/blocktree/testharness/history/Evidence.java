package blocktree.testharness.history;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/** What a history proves of its changes: when each was made at the latest, when it was agreed, and whether it may have been lost. */
final class Evidence {
    static final long NEVER = Long.MAX_VALUE;

    private final History history;
    private final Bounds bounds;
    private final List<History.Loss> losses;
    /** When a value was first seen on another node than the one that wrote it. */
    private final Map<String, Long> seenElsewhere = new HashMap<>();
    /** By node, in the order in which they were made. */
    private final Map<Integer, List<Operation>> synced = new HashMap<>();

    private final Map<Operation, Long> committed = new IdentityHashMap<>();

    Evidence(History history, Bounds bounds) {
        this.history = history;
        this.bounds = bounds;
        this.losses = history.losses();
        Map<String, Integer> writers = new HashMap<>();
        for (Operation each : history.operations()) {
            if (each.kind() == Operation.Kind.WRITE || each.kind() == Operation.Kind.ACQUIRE) {
                writers.put(each.value(), each.node());
            }
            if (each.outcome() == Operation.Outcome.SYNCED) {
                synced.computeIfAbsent(each.node(), node -> new ArrayList<>()).add(each);
            }
        }
        synced.values().forEach(list -> list.sort(Comparator.comparingLong(Operation::effectiveNanos)));
        for (Operation each : history.operations()) {
            Integer writer = writers.get(each.value());
            if (each.kind() == Operation.Kind.READ && each.isSuccess() && writer != null && writer != each.node()) {
                seenElsewhere.merge(each.value(), each.returnedNanos(), Math::min);
            }
        }
    }

    /** When the change was made at the latest, or {@link #NEVER}: a reader of the same node may see it before, in the kernel's pages. */
    long latestNanos(Operation change) {
        long seen = seenElsewhere.getOrDefault(change.value(), NEVER);
        return change.isSuccess() ? Math.min(seen, change.effectiveNanos()) : seen;
    }

    /** When it was agreed at the latest, and so is there for ever; {@link #NEVER} when nothing proves that. */
    long committedNanos(Operation change) {
        return committed.computeIfAbsent(change, this::provenNanos);
    }

    private long provenNanos(Operation change) {
        long proven = seenElsewhere.getOrDefault(change.value(), NEVER);
        if (change.outcome() == Operation.Outcome.SYNCED) {
            proven = Math.min(proven, change.returnedNanos());
        }
        if (change.isSuccess()) {
            long byItself = change.effectiveNanos() + bounds.commitNanos();
            if (history.isQuiet(change.effectiveNanos(), byItself) && !isLossPossible(change, byItself)) {
                proven = Math.min(proven, byItself);
            }
            if (change.name().kind() != Name.Kind.OVERWRITTEN) {
                proven = Math.min(proven, withALaterSync(change));
            }
        }
        return proven;
    }

    /** Changes of names are written in order, all of them with any commit. */
    private long withALaterSync(Operation change) {
        for (Operation sync : synced.getOrDefault(change.node(), List.of())) {
            if (sync.effectiveNanos() > change.effectiveNanos()) {
                return isLossPossible(change, sync.returnedNanos()) ? NEVER : sync.returnedNanos();
            }
        }
        return NEVER;
    }

    private boolean isLossPossible(Operation change, long untilNanos) {
        return losses.stream()
                .anyMatch(loss -> loss.node() == change.node()
                        && loss.toNanos() >= change.invokedNanos()
                        && loss.fromNanos() <= untilNanos);
    }

    /** Whether a change that was made may be gone, as after a crash. */
    boolean mayBeLost(Operation change) {
        return committedNanos(change) == NEVER && isLossPossible(change, NEVER);
    }

    /**
     * Whether {@code reader} has to find the change, or a later one, since its own node made it, or since it was committed for long enough and nothing is
     * done to the cluster.
     */
    boolean mustBeSeen(Operation change, Operation reader) {
        long committedNanos = committedNanos(change);
        long before = reader.invokedNanos() - bounds.lagNanos();
        if (committedNanos <= before && history.isQuiet(before, reader.invokedNanos())) {
            return true;
        }
        return change.isSuccess()
                && change.node() == reader.node()
                && change.effectiveNanos() < reader.invokedNanos()
                && losses.stream()
                        .noneMatch(loss -> loss.node() == change.node()
                                && loss.toNanos() >= change.invokedNanos()
                                && loss.fromNanos() <= reader.returnedNanos()
                                && committedNanos > loss.fromNanos());
    }
}
