package blocktree.testharness.history;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Whether the writes of one register can be put into one order. What has to come before what:
 * <ul>
 *   <li>a write that was made before another was asked for: the right to change the tree is one node's at a time;
 *   <li>a write that a reader had to find, or that its node had shown before, before the one that it found.
 * </ul>
 * There is an order exactly when these do not go in a circle. A write that was lost has its place as well, the moment at which it was made: nothing
 * follows from its loss but that readers need not find it.
 */
final class RegisterCheck {
    private final Name name;
    private final Evidence evidence;
    private final List<Operation> writes = new ArrayList<>();
    private final List<Operation> reads = new ArrayList<>();
    private final Map<String, Integer> indexOfValue = new HashMap<>();
    private final List<String> problems = new ArrayList<>();

    private final long[] latestNanos;
    /** Which have to come before each. */
    private final BitSet[] before;
    /** When each write of another node was first seen, by node. */
    private final Map<Integer, long[]> seenNanos = new HashMap<>();

    RegisterCheck(Name name, List<Operation> operations, Evidence evidence) {
        this.name = name;
        this.evidence = evidence;
        Map<String, Operation> refused = new HashMap<>();
        for (Operation each : operations) {
            if (each.kind() == Operation.Kind.WRITE && each.outcome() == Operation.Outcome.REFUSED) {
                refused.put(each.value(), each);
            } else if (each.kind() == Operation.Kind.WRITE) {
                indexOfValue.put(each.value(), writes.size());
                writes.add(each);
            }
        }
        for (Operation read : operations) {
            if (read.kind() == Operation.Kind.READ && read.isSuccess()) {
                add(read, refused.get(read.value()));
            }
        }
        latestNanos = writes.stream().mapToLong(evidence::latestNanos).toArray();
        before = new BitSet[writes.size()];
        for (int i = 0; i < before.length; i++) {
            before[i] = new BitSet(before.length);
        }
    }

    private void add(Operation read, @org.jspecify.annotations.Nullable Operation refused) {
        Integer index = indexOfValue.get(read.value());
        if (index == null) {
            problems.add("never written: " + read + (refused == null ? "" : "; but " + refused));
        } else if (writes.get(index).invokedNanos() > read.returnedNanos()) {
            problems.add("read before it was written: " + read + " and " + writes.get(index));
        } else {
            reads.add(read);
        }
    }

    List<String> problems() {
        for (Operation read : reads) {
            int found = found(read);
            if (writes.get(found).node() != read.node()) {
                long[] seen = seenNanos.computeIfAbsent(read.node(), node -> {
                    long[] never = new long[writes.size()];
                    Arrays.fill(never, Evidence.NEVER);
                    return never;
                });
                seen[found] = Math.min(seen[found], read.returnedNanos());
            }
        }
        for (int later = 0; later < before.length; later++) {
            for (int earlier = 0; earlier < before.length; earlier++) {
                if (earlier != later && isMadeBefore(earlier, later)) {
                    before[later].set(earlier);
                }
            }
        }
        for (Operation read : reads) {
            int found = found(read);
            for (int write = 0; write < before.length; write++) {
                if (write != found && !before[found].get(write) && mustBeSeen(write, read)) {
                    before[found].set(write);
                }
            }
        }
        BitSet circular = circular();
        if (!circular.isEmpty()) {
            problems.add(describe(shortestCircle(circular)));
        }
        return problems;
    }

    private int found(Operation read) {
        return indexOfValue.getOrDefault(read.value(), -1);
    }

    private boolean isMadeBefore(int earlier, int later) {
        return latestNanos[earlier] < writes.get(later).invokedNanos();
    }

    private boolean mustBeSeen(int write, Operation read) {
        long[] seen = seenNanos.get(read.node());
        return seen != null && seen[write] < read.invokedNanos() || evidence.mustBeSeen(writes.get(write), read);
    }

    /** Those left when what nothing has to come before is taken away, again and again. */
    private BitSet circular() {
        BitSet left = new BitSet(before.length);
        left.set(0, before.length);
        boolean changed = true;
        while (changed) {
            changed = false;
            for (int i = left.nextSetBit(0); i >= 0; i = left.nextSetBit(i + 1)) {
                if (!before[i].intersects(left)) {
                    left.clear(i);
                    changed = true;
                }
            }
        }
        return left;
    }

    /** Each of them has to come before the one in front of it, and the first before the last. */
    private List<Integer> shortestCircle(BitSet among) {
        List<Integer> shortest = List.of();
        for (int start = among.nextSetBit(0); start >= 0; start = among.nextSetBit(start + 1)) {
            List<Integer> circle = circleFrom(start, among);
            if (!circle.isEmpty() && (shortest.isEmpty() || circle.size() < shortest.size())) {
                shortest = circle;
            }
        }
        return shortest;
    }

    private List<Integer> circleFrom(int start, BitSet among) {
        Map<Integer, Integer> cameFrom = new HashMap<>();
        Deque<Integer> queue = new ArrayDeque<>(List.of(start));
        while (!queue.isEmpty()) {
            int at = queue.remove();
            for (int next = before[at].nextSetBit(0); next >= 0; next = before[at].nextSetBit(next + 1)) {
                if (next == start) {
                    List<Integer> circle = new ArrayList<>(List.of(at));
                    while (circle.get(0) != start) {
                        circle.add(0, cameFrom.getOrDefault(circle.get(0), start));
                    }
                    return circle;
                }
                if (among.get(next) && cameFrom.putIfAbsent(next, at) == null) {
                    queue.add(next);
                }
            }
        }
        return List.of();
    }

    private String describe(List<Integer> circle) {
        StringBuilder text = new StringBuilder("no order of writes of " + name + ":");
        for (int i = 0; i < circle.size(); i++) {
            int later = circle.get(i);
            int earlier = circle.get((i + 1) % circle.size());
            text.append("\n  ")
                    .append(writes.get(earlier))
                    .append("\n    comes before ")
                    .append(writes.get(later))
                    .append("\n    since ")
                    .append(reason(earlier, later));
        }
        return text.toString();
    }

    private String reason(int earlier, int later) {
        if (isMadeBefore(earlier, later)) {
            return "it was made by " + Operation.millis(latestNanos[earlier]);
        }
        return reads.stream()
                .filter(read -> found(read) == later && mustBeSeen(earlier, read))
                .findFirst()
                .map(read -> {
                    long committed = evidence.committedNanos(writes.get(earlier));
                    return "it had to be found, or a later one, by " + read
                            + (committed == Evidence.NEVER ? "" : "; committed by " + Operation.millis(committed));
                })
                .orElse("?");
    }
}
