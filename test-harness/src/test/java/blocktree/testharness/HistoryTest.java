package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlEvent;
import blocktree.harness.CommandResult;
import blocktree.harness.HarnessException;
import blocktree.harness.NodeCluster;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import blocktree.testharness.history.Bounds;
import blocktree.testharness.history.History;
import blocktree.testharness.history.HistoryCheck;
import blocktree.testharness.history.HistoryLoad;
import blocktree.testharness.history.Name;
import blocktree.testharness.history.Operation;
import blocktree.testharness.model.TreeListing;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.CleanupMode;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Clients on the mounts of three nodes, all on the same few names, while nodes are killed, frozen and cut off; what each of them saw and when is judged
 * afterwards by {@link HistoryCheck}, which says what is promised. Then all mounts show the same tree, and checks are clean.
 *
 * <p>System properties: {@code blocktree.history.seconds}, without which it is a sample of 10, and {@code blocktree.history.seed} (drawn; a failure names it). The seed decides what is
 * done, not how threads and processes meet. What was seen in a failed part is left in {@code target/history-SEED}, with the logs of the nodes.
 */
class HistoryTest {
    private static final Logger log = LoggerFactory.getLogger(HistoryTest.class);
    private static final int NODE_COUNT = 3;
    private static final int CLIENTS_PER_NODE = 2;
    private static final String LONG_FORM = "blocktree.history.seconds";
    private static final int SECONDS = Integer.getInteger(LONG_FORM, 10);
    /** Other tests load the machine beside the short form. */
    private static final int SLACK = System.getProperty(LONG_FORM) == null ? 3 : 1;
    /** Each part has a directory and a history of its own. */
    private static final int PART_SECONDS_MAX = 60;

    /** Fewer show nothing; how many there are is up to the machine. */
    private static final int OPERATIONS_MIN = 20;

    private static final long SLOW_LINE_BITS_PER_SECOND = 1_000_000;
    private static final Duration HEALING = Duration.ofSeconds(30L * SLACK);
    /** A node may have dropped what it lost for so long before it said so. */
    private static final long SAID_MILLIS_MAX = 2_000;

    private static final Bounds BOUNDS = new Bounds(
            TimeUnit.SECONDS.toNanos(SLACK), TimeUnit.SECONDS.toNanos(SLACK), TimeUnit.SECONDS.toNanos(10L * SLACK));

    private final long seed = Long.getLong("blocktree.history.seed", System.nanoTime());
    private final Random random = new Random(seed);

    @TempDir(cleanup = CleanupMode.NEVER)
    Path folder;

    @SuppressWarnings("NullAway.Init") // what goes wrong before is told by the test
    private NodeCluster cluster;
    /** All processes of each node, in order. */
    private final Map<Integer, List<NodeProcess>> lives = new HashMap<>();

    @Test
    @Timeout(value = 6, unit = TimeUnit.HOURS)
    void whatIsPromisedHoldsWhateverFails() throws Exception {
        Program.require("fusermount", "ip", "tc", "nsenter");
        log.atInfo().addKeyValue("seed", seed).log("history_begins");
        try {
            cluster = NodeCluster.startApart(folder, NodeProgram.find(), NODE_COUNT);
            for (int node = 0; node < NODE_COUNT; node++) {
                cluster.mount(node, Files.createDirectory(mount(node)));
                live(node, cluster.node(node));
            }
            long endNanos = System.nanoTime() + TimeUnit.SECONDS.toNanos(SECONDS);
            for (int part = 0; System.nanoTime() < endNanos; part++) {
                long partNanos = TimeUnit.SECONDS.toNanos(PART_SECONDS_MAX);
                part(part, Math.min(endNanos, System.nanoTime() + partNanos));
            }
            for (int node = 0; node < NODE_COUNT; node++) {
                assertEquals(0, cluster.node(node).terminate(), "node " + node);
            }
            for (int node = 0; node < NODE_COUNT; node++) {
                CommandResult check = cluster.directory(node).fsck();
                assertEquals(0, check.exitCode(), () -> check.output() + check.errors());
            }
        } finally {
            if (cluster != null) {
                cluster.close();
            }
            remove(folder);
        }
    }

    private static void remove(Path folder) {
        Program.shell(Path.of("/"), "rm -rf --one-file-system " + folder).result();
    }

    private Path mount(int node) {
        return folder.resolve("mount" + node);
    }

    private void live(int node, NodeProcess process) {
        synchronized (lives) {
            lives.computeIfAbsent(node, number -> new ArrayList<>()).add(process);
        }
    }

    private void part(int part, long endNanos) throws Exception {
        String where = "seed " + seed + " part " + part;
        long originNanos = System.nanoTime();
        long originMillis = System.currentTimeMillis();
        History history = new History(originNanos);
        List<Path> roots = IntStream.range(0, NODE_COUNT).mapToObj(this::mount).toList();
        HistoryLoad load = new HistoryLoad(history, roots, "part" + part, CLIENTS_PER_NODE, random.nextLong());
        List<String> problems = new ArrayList<>();
        try {
            awaitWhole(load, history, false);
            load.prepare(HEALING.toMillis());
            load.start();
            long quietNanos = history.now();
            while (System.nanoTime() < endNanos) {
                Thread.sleep(2_000 + random.nextInt(2_000));
                history.add(new History.Quiet(quietNanos, history.now()));
                for (int i = random.nextInt(3); i >= 0; i--) {
                    fault(load, history);
                    Thread.sleep(random.nextInt(500));
                }
                awaitWhole(load, history, true);
                quietNanos = history.now();
            }
            load.stop();
            cluster.awaitSameLog(HEALING);
            TimeUnit.NANOSECONDS.sleep(BOUNDS.commitNanos() + BOUNDS.lagNanos());
            List<Map<Name, String>> atEnd = load.atEnd();
            history.add(new History.Quiet(quietNanos, history.now()));
            problems.addAll(load.failures());
            addLosses(history, originMillis);
            problems.addAll(new HistoryCheck(history, BOUNDS).problems(atEnd.get(0)));
            for (int node = 1; node < NODE_COUNT; node++) {
                String difference =
                        TreeListing.difference(mount(0).toString(), mount(node).toString());
                if (!difference.isEmpty()) {
                    problems.add("node 0 and node " + node + " differ: " + difference);
                }
            }
            for (int node = 0; node < NODE_COUNT; node++) {
                int number = node;
                cluster.node(node).fsck().forEach(finding -> problems.add("fsck of node " + number + ": " + finding));
            }
        } catch (Exception | AssertionError e) {
            begin(() -> {
                load.stop(); // which they may not be able to
                return null;
            });
            addLosses(history, originMillis);
            leave(history, List.of(e.toString()));
            throw new AssertionError(where + ": " + e.getMessage() + left(), e);
        }
        if (!problems.isEmpty()) {
            leave(history, problems);
        }
        assertEquals(List.of(), problems, () -> where + left());
        List<Operation> operations = history.operations();
        long synced = operations.stream()
                .filter(each -> each.outcome() == Operation.Outcome.SYNCED)
                .count();
        long failed =
                operations.stream().filter(each -> !each.errno().isEmpty()).count();
        log.atInfo()
                .addKeyValue("part", part)
                .addKeyValue("operations", operations.size())
                .addKeyValue("synced", synced)
                .addKeyValue("failed", failed)
                .log("history_part");
        assertTrue(operations.size() >= OPERATIONS_MIN, () -> where + ": only " + operations.size() + " operations");
    }

    /** When a node said that it has lost something. */
    private void addLosses(History history, long originMillis) {
        synchronized (lives) {
            lives.forEach((node, processes) -> {
                for (NodeProcess process : processes) {
                    for (ControlEvent event : process.events()) {
                        if (event.name().equals("changes_lost")) {
                            long saidMillis = event.timeMillis() - originMillis;
                            history.add(new History.Loss(
                                    node,
                                    false,
                                    TimeUnit.MILLISECONDS.toNanos(saidMillis - SAID_MILLIS_MAX),
                                    TimeUnit.MILLISECONDS.toNanos(saidMillis + 1)));
                        }
                    }
                }
            });
        }
    }

    private Path leavings() {
        return TestNode.projectDirectory().resolve("test-harness/target/history-" + seed);
    }

    private String left() {
        return "; see " + leavings();
    }

    private void leave(History history, List<String> problems) throws IOException {
        Path leavings = Files.createDirectories(leavings());
        Files.write(leavings.resolve("problems"), problems);
        Files.write(leavings.resolve("history"), history.lines());
        for (int node = 0; node < NODE_COUNT; node++) {
            Files.copy(
                    cluster.directory(node).log(),
                    leavings.resolve("node" + node + ".log"),
                    StandardCopyOption.REPLACE_EXISTING);
        }
    }

    // ---------------------------------------------------------------------------------------------------------- faults

    private void fault(HistoryLoad load, History history) throws Exception {
        int node = victim();
        int other = (node + 1 + random.nextInt(NODE_COUNT - 1)) % NODE_COUNT;
        switch (random.nextInt(10)) {
            case 0, 1, 2 -> kill(load, history, List.of(node));
            case 3 -> kill(load, history, List.of(0, 1, 2));
            case 4, 5 -> {
                history.note("freeze " + node);
                Posix.signal(cluster.node(node).pid(), Posix.SIGSTOP);
                Thread.sleep(200 + random.nextInt(4_000));
                history.note("thaw " + node);
                Posix.signal(cluster.node(node).pid(), Posix.SIGCONT);
            }
            case 6 -> cutOff(history, "isolate " + node, () -> cluster.network().isolate(node));
            case 7 ->
                cutOff(
                        history,
                        "cut " + node + " to " + other,
                        () -> cluster.network().cut(node, other));
            case 8 ->
                cutOff(history, "isolate all", () -> {
                    for (int each = 0; each < NODE_COUNT; each++) {
                        cluster.network().isolate(each);
                    }
                });
            default -> {
                history.note("isolate " + other);
                cluster.network().isolate(other);
                Thread.sleep(random.nextInt(1_500));
                if (random.nextBoolean()) {
                    cluster.network().healAll();
                    history.note("healed");
                    cluster.network().limitBandwidth(other, SLOW_LINE_BITS_PER_SECOND);
                    history.note("slow " + other);
                }
                kill(load, history, List.of(node));
                cluster.network().healAll();
                history.note("healed");
            }
        }
    }

    private interface Step {
        void run() throws HarnessException;
    }

    private void cutOff(History history, String what, Step step) throws Exception {
        history.note(what);
        step.run();
        Thread.sleep(300 + random.nextInt(5_000));
        cluster.network().healAll();
        history.note("healed");
    }

    /** Who leads or has the right to write, as often as anybody. */
    private int victim() throws HarnessException {
        String counter = switch (random.nextInt(3)) {
            case 0 -> "cluster.leads";
            case 1 -> "cluster.writes";
            default -> "";
        };
        int any = random.nextInt(NODE_COUNT);
        for (int node = 0; node < NODE_COUNT && !counter.isEmpty(); node++) {
            if (cluster.node(node).status().counters().getOrDefault(counter, 0L) == 1) {
                return node;
            }
        }
        return any;
    }

    private void kill(HistoryLoad load, History history, List<Integer> nodes) throws Exception {
        history.note("kill " + nodes);
        long fromNanos = history.now();
        nodes.forEach(load::goes);
        nodes.forEach(node -> cluster.node(node).kill());
        for (int node : nodes) {
            load.awaitUnused(node);
        }
        Thread.sleep(random.nextInt(3_000));
        history.note("start " + nodes);
        // Together: one may not be ready without another.
        List<FutureTask<NodeProcess>> starting = new ArrayList<>();
        for (int node : nodes) {
            starting.add(begin(() -> cluster.startAgain(node)));
        }
        for (int i = 0; i < nodes.size(); i++) {
            live(nodes.get(i), starting.get(i).get());
        }
        for (int node : nodes) {
            history.add(new History.Loss(node, true, fromNanos, history.now()));
            load.isBack(node);
        }
        history.note("started " + nodes);
    }

    private static <T> FutureTask<T> begin(Callable<T> call) {
        FutureTask<T> task = new FutureTask<>(call);
        Thread thread = new Thread(task, "history-step");
        thread.setDaemon(true);
        thread.start();
        return task;
    }

    /** Everything is made good, and each node can write what the others show then. */
    private void awaitWhole(HistoryLoad load, History history, boolean probe) throws Exception {
        cluster.network().healAll();
        cluster.awaitWhole(HEALING);
        if (!probe) {
            return;
        }
        FutureTask<Void> probing = begin(() -> {
            load.probe(HEALING.toMillis());
            return null;
        });
        try {
            probing.get(HEALING.toMillis() * 4, TimeUnit.MILLISECONDS);
        } catch (ExecutionException e) {
            if (e.getCause() instanceof TimeoutException timeout) {
                throw timeout;
            }
            throw e;
        }
        history.note("whole");
    }
}
