package blocktree.testharness.history;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Whether one name was taken by one at a time: between two that succeeded to take it somebody may have given it free, and between two that succeeded
 * to give it free somebody may have taken it. What may have been lost in a crash proves nothing, and may explain others.
 */
final class ExclusiveCheck {
    private final Name name;
    private final Evidence evidence;
    private final List<Operation> acquires = new ArrayList<>();
    private final List<Operation> releases = new ArrayList<>();
    private final List<Operation> reads = new ArrayList<>();
    private final Map<String, Operation> acquireOf = new HashMap<>();
    private final List<String> problems = new ArrayList<>();

    ExclusiveCheck(Name name, List<Operation> operations, Evidence evidence) {
        this.name = name;
        this.evidence = evidence;
        for (Operation each : operations) {
            if (each.kind() == Operation.Kind.READ && each.isSuccess()) {
                reads.add(each);
            } else if (each.kind() == Operation.Kind.ACQUIRE && each.outcome() != Operation.Outcome.REFUSED) {
                acquires.add(each);
                acquireOf.put(each.value(), each);
            } else if (each.kind() == Operation.Kind.RELEASE && each.outcome() != Operation.Outcome.REFUSED) {
                releases.add(each);
            }
        }
    }

    /** @param atEnd what is there in the end; null: unknown */
    List<String> problems(@Nullable String atEnd) {
        alternate(acquires, releases, "taken twice");
        alternate(releases, acquires, "given free twice");
        reads.forEach(this::checkRead);
        if (atEnd != null) {
            checkEnd(atEnd);
        }
        return problems;
    }

    /** In no span of time have there been more of {@code these} than of {@code those}, by more than one. */
    private void alternate(List<Operation> these, List<Operation> those, String problem) {
        List<Operation> certain = these.stream()
                .filter(each -> each.isSuccess() && !evidence.mayBeLost(each))
                .sorted(Comparator.comparingLong(Operation::effectiveNanos))
                .toList();
        List<Operation> possible = those.stream()
                .sorted(Comparator.comparingLong(Operation::invokedNanos))
                .toList();
        for (Operation first : certain) {
            long startNanos = first.invokedNanos();
            List<Operation> between = possible.stream()
                    .filter(each -> evidence.latestNanos(each) >= startNanos)
                    .toList();
            int betweenCount = 0;
            int count = 0;
            Operation last = first;
            for (Operation each : certain) {
                if (each.invokedNanos() < startNanos) {
                    continue;
                }
                count++;
                while (betweenCount < between.size()
                        && between.get(betweenCount).invokedNanos() <= each.effectiveNanos()) {
                    betweenCount++;
                }
                if (count > betweenCount + 1) {
                    problems.add(problem + ": " + last + " and " + each + ", " + count + " from "
                            + Operation.millis(startNanos) + " on and " + betweenCount + " of the other kind");
                    return;
                }
                last = each;
            }
        }
        if (these == releases && certain.size() > acquires.size()) {
            problems.add("given free more often than taken: " + name); // it was free in the beginning
        }
    }

    private void checkRead(Operation read) {
        String value = read.value();
        if (value.equals(Operation.ABSENT)) {
            acquires.stream()
                    .filter(acquire ->
                            evidence.mustBeSeen(acquire, read) && !mayBeGivenFree(acquire, read.returnedNanos()))
                    .findFirst()
                    .ifPresent(acquire -> problems.add("vanished: " + acquire + " and " + read));
            return;
        }
        if (name.kind() == Name.Kind.MADE) {
            return;
        }
        if (value.equals(Operation.EMPTY)) {
            checkEmpty(read);
            return;
        }
        Operation acquire = acquireOf.get(value);
        if (acquire == null || acquire.invokedNanos() > read.returnedNanos()) {
            problems.add("never written: " + read);
            return;
        }
        for (Operation release : releases) {
            if (release.isSuccess()
                    && evidence.latestNanos(acquire) < release.invokedNanos()
                    && evidence.mustBeSeen(release, read)) {
                problems.add("came back: " + acquire + ", then " + release + ", then " + read);
                return;
            }
        }
    }

    /** A file that was just created is empty, and so may one be whose content was not synced. */
    private void checkEmpty(Operation read) {
        if (name.kind() != Name.Kind.CREATED) {
            problems.add("empty: " + read);
            return;
        }
        acquires.stream()
                .filter(acquire -> acquire.outcome() == Operation.Outcome.SYNCED
                        && acquire.returnedNanos() < read.invokedNanos()
                        && evidence.mustBeSeen(acquire, read)
                        && !mayBeGivenFree(acquire, read.returnedNanos()))
                .findFirst()
                .ifPresent(acquire -> problems.add("emptied: " + acquire + " and " + read));
    }

    private boolean mayBeGivenFree(Operation acquire, long untilNanos) {
        return releases.stream()
                .anyMatch(release -> evidence.latestNanos(release) >= acquire.invokedNanos()
                        && release.invokedNanos() <= untilNanos);
    }

    private void checkEnd(String atEnd) {
        for (Operation acquire : acquires) {
            boolean stays =
                    acquire.isSuccess() && !evidence.mayBeLost(acquire) && !mayBeGivenFree(acquire, Evidence.NEVER);
            if (stays && !isThere(acquire, atEnd)) {
                problems.add("lost: " + acquire + "; in the end " + name + " is " + atEnd);
            }
        }
        for (Operation release : releases) {
            boolean stays = release.isSuccess()
                    && !evidence.mayBeLost(release)
                    && acquires.stream().noneMatch(acquire -> evidence.latestNanos(acquire) >= release.invokedNanos());
            if (stays && !atEnd.equals(Operation.ABSENT)) {
                problems.add("came back: " + release + "; in the end " + name + " is " + atEnd);
            }
        }
    }

    private boolean isThere(Operation acquire, String atEnd) {
        return switch (name.kind()) {
            case MADE -> !atEnd.equals(Operation.ABSENT);
            case CREATED ->
                atEnd.equals(acquire.value())
                        || atEnd.equals(Operation.EMPTY) && acquire.outcome() != Operation.Outcome.SYNCED;
            default -> atEnd.equals(acquire.value());
        };
    }
}
