package blocktree.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Runs rows on all sides, round by round, and prints the table. */
@Command(
        name = "btnode-bench",
        mixinStandardHelpOptions = true,
        sortOptions = false,
        description =
                "Measures Blocktree beside gocryptfs, the plain disk and a file system in memory, all on one disk in one run.")
public final class Benchmarks implements Callable<Integer> {
    static final List<Row> ROWS = rows();
    private static final Duration IDLE_TIMEOUT = Duration.ofSeconds(10);

    @Option(
            names = "--rows",
            split = ",",
            paramLabel = "ROW",
            description = "Only these rows; a name ending in * means all that begin so.")
    private @Nullable List<String> wanted;

    @Option(
            names = "--sides",
            split = ",",
            paramLabel = "SIDE",
            description =
                    "Only these of: disk, gocryptfs, blocktree, memory, libfuse2, write-back. The last two are Blocktree mounted in other ways (default: all but these).")
    private Set<String> sideNames = Sides.USUAL;

    @Option(names = "--rounds", paramLabel = "N", description = "Rounds, of which the median is shown (default: 3).")
    private int rounds = 3;

    @Option(
            names = "--size",
            paramLabel = "MIB",
            description = "Size of the file of the sequential rows in MiB (default: 1024).")
    private long sizeMiB;

    @Option(
            names = "--growth",
            negatable = true,
            description =
                    "Measure what must not grow with the tree too (default: when all rows run; minutes to prepare).")
    private @Nullable Boolean growth;

    @Option(
            names = "--daemon",
            negatable = true,
            description = "Measure start, status and idle memory too (default: when all rows run; two minutes).")
    private @Nullable Boolean daemon;

    @Option(names = "--short", description = "A few seconds of everything, once; the figures say little.")
    private boolean isShort;

    @Option(
            names = "--dir",
            paramLabel = "DIR",
            description = "Where to work; the disk that is measured (default: ${DEFAULT-VALUE}).")
    private Path parent = Path.of("/var/tmp");

    @Option(names = "--markdown", paramLabel = "FILE", description = "Writes the page of the documentation here too.")
    private @Nullable Path markdown;

    @Spec
    private CommandSpec spec;

    private final PrintWriter out;

    Benchmarks(PrintWriter out) {
        this.out = out;
    }

    /** See {@code --help}. Exits with 2 for a wrong command line and with 1 for a failure. */
    public static void main(String[] arguments) {
        PrintWriter out = new PrintWriter(System.out, true);
        System.exit(new CommandLine(new Benchmarks(out))
                .addSubcommand(new Sessions(out))
                .addSubcommand(new Transfers(out))
                .addSubcommand(new Clusters(out))
                .execute(arguments));
    }

    private static List<Row> rows() {
        List<Row> rows = new ArrayList<>();
        rows.add(new SequentialWrite());
        rows.add(new SequentialRead(false));
        rows.add(new SequentialRead(true));
        for (boolean writes : new boolean[] {false, true}) {
            for (boolean direct : new boolean[] {false, true}) {
                rows.add(new RandomAccess(writes, direct, 1));
                rows.add(new RandomAccess(writes, direct, 4));
            }
        }
        rows.add(new SyncedWrite());
        rows.addAll(List.of(SmallFiles.values()));
        rows.addAll(List.of(SourceTrees.values()));
        return rows;
    }

    @Override
    public Integer call() throws IOException {
        if (!Sides.NAMES.containsAll(sideNames)) {
            throw new ParameterException(spec.commandLine(), "the sides are " + String.join(", ", Sides.NAMES));
        }
        Scale scale = isShort ? Scale.small() : Scale.full();
        if (sizeMiB > 0) {
            scale = scale.withSequentialBytes(sizeMiB << 20);
        }
        int count = isShort ? 1 : rounds;
        List<Row> rows = selected();
        Path directory = Files.createTempDirectory(parent, "btnode-bench-");
        Report report;
        try {
            Results results = measure(directory, rows, scale, count);
            boolean all = wanted == null;
            report = new Report(
                    results,
                    count,
                    (growth == null ? all : growth) ? Growth.measure(directory, scale, out) : List.of(),
                    (daemon == null ? all : daemon) ? Daemon.measure(directory, scale, out) : List.of());
        } catch (IOException e) {
            // With the daemons' logs.
            throw new IOException("failed; what it left is in " + directory, e);
        }
        Processes.deleteTree(directory);
        out.println(report.text());
        if (markdown != null) {
            Files.writeString(markdown, report.markdown());
        }
        return 0;
    }

    private List<Row> selected() {
        if (wanted == null) {
            return ROWS;
        }
        List<Row> selected = new ArrayList<>();
        for (String name : wanted) {
            List<Row> matching = ROWS.stream()
                    .filter(row -> name.endsWith("*")
                            ? row.id().startsWith(name.substring(0, name.length() - 1))
                            : row.id().equals(name))
                    .toList();
            if (matching.isEmpty()) {
                throw new ParameterException(
                        spec.commandLine(),
                        "no row '%s'; there are %s"
                                .formatted(
                                        name,
                                        String.join(
                                                ", ", ROWS.stream().map(Row::id).toList())));
            }
            selected.addAll(matching);
        }
        return selected;
    }

    /** Runs {@code rows} on all sides below {@code directory}; also what the short form in the build calls. */
    Results measure(Path directory, List<Row> rows, Scale scale, int roundCount) throws IOException {
        Results results = new Results(scale);
        Fixtures fixtures = new Fixtures(directory, scale.treeFileCount());
        try (Sides sides = new Sides(directory, sideNames, scale)) {
            for (int round = 1; round <= roundCount; round++) {
                for (Row row : rows) {
                    out.printf("round %d, %s:", round, row.id());
                    for (Side side : sides.all()) {
                        Measurement measurement = measure(row, side, scale, fixtures);
                        results.add(row, side.name(), measurement);
                        out.printf(
                                "  %s %s",
                                side.name(), Unit.format(row.unit().figure(row.work(scale), measurement.elapsed())));
                        out.flush();
                        // A cold row starts the daemon anew, so that this is asked after each.
                        results.addResident(side.name(), Processes.residentBytesMax(side.pid()));
                    }
                    out.println("  " + row.unit().label());
                }
            }
        }
        return results;
    }

    private static Measurement measure(Row row, Side side, Scale scale, Fixtures fixtures) throws IOException {
        Path directory = Files.createTempDirectory(side.root(), row.id() + "-");
        Workspace workspace = new Workspace(side, directory, scale, fixtures);
        row.prepare(workspace);
        side.sync();
        if (row.isCold()) {
            Processes.dropCaches();
        }
        settle(side.pid(), scale);
        Duration processor = Processes.cpuTime(side.pid());
        long start = System.nanoTime();
        row.run(workspace);
        Duration elapsed = Duration.ofNanos(System.nanoTime() - start);
        Measurement measurement =
                new Measurement(elapsed, Processes.cpuTime(side.pid()).minus(processor));
        Processes.deleteTree(directory);
        side.sync();
        settle(side.pid(), scale);
        return measurement;
    }

    /** What a daemon still does for one run must not slow the next. */
    static void settle(long pid, Scale scale) {
        if (scale.settles() && pid != 0) {
            Processes.awaitIdle(pid, IDLE_TIMEOUT);
        }
    }
}
