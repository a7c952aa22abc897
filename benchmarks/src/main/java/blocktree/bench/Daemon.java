package blocktree.bench;

import blocktree.harness.HarnessException;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What the node costs as a daemon, with an empty tree: how long it starts and answers, and its memory when it has nothing to do. */
final class Daemon {
    private static final int TURNS = 5;
    private static final Duration IDLE = Duration.ofSeconds(60);

    /** What is measured. */
    enum Cost {
        START("start", "s", 1.5, "from the start of the program to its tree being mounted, the page cache warm"),
        STATUS("status", "s", 0.5, "`btnode status` of that node, from its start to its end"),
        RESIDENT("resident", "MiB", 200, "resident set when it is mounted"),
        RESIDENT_IDLE("resident-idle", "MiB", 200, "resident set a minute later, nothing having been done");

        final String id;
        final String unit;
        /** At most. */
        final double goal;

        final String description;

        Cost(String id, String unit, double goal, String description) {
            this.id = id;
            this.unit = unit;
            this.goal = goal;
            this.description = description;
        }
    }

    /** The median of the turns. */
    record Figure(Cost cost, double value) {
        /** In goals: at most 1 is well. */
        double ratio() {
            return value / cost.goal;
        }
    }

    private Daemon() {}

    /** Measures all costs below {@code directory}. */
    static List<Figure> measure(Path directory, Scale scale, PrintWriter out) throws IOException {
        int turns = scale.settles() ? TURNS : 1;
        double[] start = new double[turns];
        double[] status = new double[turns];
        double[] resident = new double[turns];
        double residentIdle;
        try {
            Path mountPoint = Files.createDirectories(directory.resolve("daemon"));
            NodeDirectory node = NodeDirectory.in(directory.resolve("daemon.node"), NodeProgram.find())
                    .init();
            start(node, mountPoint).terminate(); // the page cache is warm from here on
            for (int turn = 0; ; turn++) {
                long startNanos = System.nanoTime();
                try (NodeProcess process = start(node, mountPoint)) {
                    start[turn] = secondsSince(startNanos);
                    resident[turn] = residentMebibytes(process);
                    long statusNanos = System.nanoTime();
                    node.status().orThrow();
                    status[turn] = secondsSince(statusNanos);
                    if (turn == turns - 1) {
                        Processes.pause(scale.settles() ? IDLE : Duration.ZERO);
                        residentIdle = residentMebibytes(process);
                        break;
                    }
                }
            }
        } catch (HarnessException e) {
            throw new IOException(e);
        }
        List<Figure> figures = new ArrayList<>();
        figures.add(new Figure(Cost.START, median(start)));
        figures.add(new Figure(Cost.STATUS, median(status)));
        figures.add(new Figure(Cost.RESIDENT, median(resident)));
        figures.add(new Figure(Cost.RESIDENT_IDLE, residentIdle));
        for (Figure figure : figures) {
            out.printf(
                    "%s:  %s %s, goal %s, %s of it%n",
                    figure.cost.id,
                    Unit.format(figure.value),
                    figure.cost.unit,
                    Unit.format(figure.cost.goal),
                    Unit.format(figure.ratio()));
        }
        return figures;
    }

    private static NodeProcess start(NodeDirectory node, Path mountPoint) throws HarnessException {
        return node.start(NodeOptions.mountedOn(mountPoint).withEnvironment(Blocktree.ENVIRONMENT));
    }

    private static double secondsSince(long nanos) {
        return (System.nanoTime() - nanos) / 1e9;
    }

    private static double residentMebibytes(NodeProcess process) throws IOException {
        return Processes.residentBytes(process.pid()) / (double) (1 << 20);
    }

    /** Of an odd number of values. */
    private static double median(double[] values) {
        Arrays.sort(values);
        return values[values.length / 2];
    }
}
