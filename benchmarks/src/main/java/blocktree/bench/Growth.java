package blocktree.bench;

import blocktree.harness.HarnessException;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.LongStream;

/**
 * Costs that must not grow with the tree. Each is measured on a small and on a large case of the same node program, in turns, and the
 * best turn counts: what another process takes now and then would else pass for growth. A node is started anew before each directory,
 * so that its own caches are empty for both, and warmed up on a third one.
 */
final class Growth implements AutoCloseable {

    /** What is compared. */
    enum Cost {
        CREATE("dir-create", 1.5, "create a file in a directory, then sync; each"),
        COLD_LOOKUP("dir-lookup-cold", 1.5, "stat a file that neither the kernel nor the node has in memory"),
        LOOKUP("dir-lookup", 1.5, "stat a file that the node has in memory, the kernel's entry having expired"),
        UNLINK("dir-unlink", 1.5, "remove a file, then sync; each"),
        MOUNT(
                "mount",
                1.0,
                "start a node until its tree is mounted: an empty one, and the one with the large directory"),
        OVERWRITE(
                "sparse-overwrite",
                1.5,
                "overwrite 4 KiB and fdatasync: in a file of 1 MiB, and spread over a sparse one");

        final String id;
        /** The most that the large case may cost, in the small one's. */
        final double limit;

        final String description;

        Cost(String id, double limit, String description) {
            this.id = id;
            this.limit = limit;
            this.description = description;
        }
    }

    /** The best turns. */
    record Figure(Cost cost, Duration small, Duration large) {
        double ratio() {
            return (double) large.toNanos() / small.toNanos();
        }
    }

    private static final int TURNS = 3;
    private static final int OVERWRITES = 256;
    private static final int PROGRESS_ENTRIES = 100_000;

    private final Path root;
    private final Scale scale;
    private final PrintWriter out;
    private final NodeDirectory node;
    private final NodeDirectory emptyNode;
    private final Map<Cost, Duration[]> best = new EnumMap<>(Cost.class);
    private NodeProcess process;

    private Growth(Path directory, Scale scale, PrintWriter out) throws IOException, HarnessException {
        this.root = Files.createDirectories(directory.resolve("growth"));
        this.scale = scale;
        this.out = out;
        node = NodeDirectory.in(directory.resolve("growth.node"), NodeProgram.find())
                .init();
        emptyNode = NodeDirectory.in(directory.resolve("growth.empty"), NodeProgram.find())
                .init();
        process = start(node);
    }

    /** Measures all costs below {@code directory}. */
    static List<Figure> measure(Path directory, Scale scale, PrintWriter out) throws IOException {
        try (Growth growth = new Growth(directory, scale, out)) {
            return growth.measure();
        } catch (HarnessException e) {
            throw new IOException(e);
        }
    }

    private NodeProcess start(NodeDirectory directory) throws HarnessException {
        return directory.start(NodeOptions.mountedOn(root).withEnvironment(Blocktree.ENVIRONMENT));
    }

    private List<Figure> measure() throws IOException, HarnessException {
        Path small = fill("small", scale.smallDirectoryEntries());
        Path large = fill("large", scale.largeDirectoryEntries());
        Path warm = fill("warm", scale.smallDirectoryEntries());
        process.sync();
        int turns = scale.settles() ? TURNS : 1;
        for (int turn = 0; turn < turns; turn++) {
            process.terminate();
            take(Cost.MOUNT, 0, () -> process = start(emptyNode));
            process.terminate();
            take(Cost.MOUNT, 1, () -> process = start(node));
            measureDirectory(warm, small, 0, scale.smallDirectoryEntries());
            process.terminate();
            process = start(node);
            measureDirectory(warm, large, 1, scale.largeDirectoryEntries());
        }
        measureOverwrites(turns);
        List<Figure> figures = new ArrayList<>();
        best.forEach((cost, both) -> figures.add(new Figure(cost, both[0], both[1])));
        for (Figure figure : figures) {
            out.printf(
                    "%s:  small %s  large %s  %.2f%n",
                    figure.cost.id, format(figure.small), format(figure.large), figure.ratio());
        }
        return figures;
    }

    static String format(Duration duration) {
        double micros = duration.toNanos() / 1e3;
        return micros < 100_000 ? Unit.format(micros) + " µs" : Unit.format(micros / 1e6) + " s";
    }

    private Path fill(String name, int entries) throws IOException {
        Path directory = Files.createDirectory(root.resolve(name));
        for (int i = 0; i < entries; i++) {
            Files.createFile(entry(directory, i));
            if (i % PROGRESS_ENTRIES == PROGRESS_ENTRIES - 1) {
                out.printf("growth: %d of %d entries%n", i + 1, entries);
                out.flush();
            }
        }
        return directory;
    }

    private static Path entry(Path directory, int number) {
        return directory.resolve("entry" + number);
    }

    private void measureDirectory(Path warm, Path directory, int which, int entries)
            throws IOException, HarnessException {
        create(warm);
        lookUp(warm, scale.smallDirectoryEntries());
        unlink(warm);
        Benchmarks.settle(process.pid(), scale);
        take(Cost.CREATE, which, () -> create(directory));
        take(Cost.COLD_LOOKUP, which, () -> lookUp(directory, entries));
        SmallFiles.awaitKernelTimeout(scale);
        take(Cost.LOOKUP, which, () -> lookUp(directory, entries));
        take(Cost.UNLINK, which, () -> unlink(directory));
    }

    private int operations() {
        return scale.smallDirectoryEntries();
    }

    private void create(Path directory) throws IOException, HarnessException {
        for (int i = 0; i < operations(); i++) {
            Files.createFile(directory.resolve("new" + i));
        }
        process.sync();
    }

    /** The same entries each time. */
    private void lookUp(Path directory, int entries) throws IOException {
        Random random = new Random(entries);
        for (int i = 0; i < operations(); i++) {
            Files.readAttributes(
                    entry(directory, random.nextInt(entries)), PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
        }
    }

    private void unlink(Path directory) throws IOException, HarnessException {
        for (int i = 0; i < operations(); i++) {
            Files.delete(directory.resolve("new" + i));
        }
        process.sync();
    }

    private void measureOverwrites(int turns) throws IOException, HarnessException {
        Path small = Files.createFile(root.resolve("small.bin"));
        Path large = Files.createFile(root.resolve("sparse.bin"));
        long[] dense = LongStream.range(0, OVERWRITES)
                .map(i -> i * BlockFiles.RANDOM_REQUEST_BYTES)
                .toArray();
        long[] spread = BlockFiles.randomOffsets(scale.sparseBytes(), OVERWRITES, 1);
        // The first time there is nothing to overwrite.
        BlockFiles.writeSynced(small, dense);
        BlockFiles.writeSynced(large, spread);
        for (int turn = 0; turn < turns; turn++) {
            take(Cost.OVERWRITE, 0, () -> BlockFiles.writeSynced(small, dense));
            take(Cost.OVERWRITE, 1, () -> BlockFiles.writeSynced(large, spread));
        }
    }

    private interface Work {
        void run() throws IOException, HarnessException;
    }

    /** Times some work; {@code which} is 0 for the small case. */
    private void take(Cost cost, int which, Work work) throws IOException, HarnessException {
        long start = System.nanoTime();
        work.run();
        long nanos = System.nanoTime() - start;
        int count = switch (cost) {
            case MOUNT -> 1;
            case OVERWRITE -> OVERWRITES;
            case CREATE, COLD_LOOKUP, LOOKUP, UNLINK -> operations();
        };
        Duration each = Duration.ofNanos(nanos / count);
        Duration[] both = best.computeIfAbsent(cost, key -> new Duration[] {Duration.ofDays(1), Duration.ofDays(1)});
        if (each.compareTo(both[which]) < 0) {
            both[which] = each;
        }
    }

    @Override
    public void close() {
        process.close();
    }
}
