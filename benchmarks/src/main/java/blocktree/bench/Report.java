package blocktree.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;

/** The table of a run, for the terminal and as a page of the documentation. */
final class Report {
    private static final List<String> HEAD = List.of(
            "row",
            "unit",
            Sides.PLAIN_DISK,
            Sides.GOCRYPTFS,
            Sides.BLOCKTREE,
            Sides.IN_MEMORY,
            "× gocryptfs",
            "goal",
            "of ceiling",
            "CPU unit",
            "CPU gocryptfs",
            "CPU blocktree");

    private static final List<String> BINDINGS_HEAD =
            List.of("row", "unit", "libfuse2", "libfuse3", "write-back", "libfuse3 ×", "write-back ×");

    private final Results results;
    private final Scale scale;
    private final int rounds;
    private final List<Growth.Figure> growth;
    private final List<Daemon.Figure> daemon;

    /** {@code growth} and {@code daemon} are empty when that was not measured. */
    Report(Results results, int rounds, List<Growth.Figure> growth, List<Daemon.Figure> daemon) {
        this.results = results;
        this.growth = growth;
        this.daemon = daemon;
        this.scale = results.scale();
        this.rounds = rounds;
    }

    private List<List<String>> lines() {
        List<List<String>> lines = new ArrayList<>();
        lines.add(HEAD);
        for (Row row : results.rows()) {
            OptionalDouble own = results.figure(row, Sides.BLOCKTREE);
            lines.add(List.of(
                    row.id(),
                    row.unit().label(),
                    cell(results.figure(row, Sides.PLAIN_DISK)),
                    cell(results.figure(row, Sides.GOCRYPTFS)),
                    cell(own),
                    cell(results.figure(row, Sides.IN_MEMORY)),
                    ratio(row, own, results.figure(row, Sides.GOCRYPTFS)),
                    Unit.format(row.goal()),
                    ratio(row, own, results.figure(row, Sides.IN_MEMORY)),
                    row.unit().processorLabel(),
                    cell(results.processor(row, Sides.GOCRYPTFS)),
                    cell(results.processor(row, Sides.BLOCKTREE))));
        }
        return lines;
    }

    /** The same node mounted in other ways; empty when none of them was measured. */
    private List<List<String>> bindings() {
        List<List<String>> lines = new ArrayList<>();
        lines.add(BINDINGS_HEAD);
        for (Row row : results.rows()) {
            OptionalDouble own = results.figure(row, Sides.BLOCKTREE);
            OptionalDouble writeBack = results.figure(row, Sides.WRITE_BACK);
            OptionalDouble libfuse2 = results.figure(row, Sides.LIBFUSE2);
            if (writeBack.isPresent() || libfuse2.isPresent()) {
                lines.add(List.of(
                        row.id(),
                        row.unit().label(),
                        cell(libfuse2),
                        cell(own),
                        cell(writeBack),
                        ratio(row, own, libfuse2),
                        ratio(row, writeBack, libfuse2)));
            }
        }
        return lines.size() == 1 ? List.of() : lines;
    }

    private void appendBindings(StringBuilder page) {
        List<List<String>> lines = bindings();
        if (!lines.isEmpty()) {
            page.append("""
                    ## Ways to mount

                    *libfuse3* is the default and *write-back* the same with `--write-back-cache`; *×* says how many times as good as through libfuse 2.

                    """);
            appendTable(page, lines);
            page.append('\n');
        }
    }

    private static void appendTable(StringBuilder page, List<List<String>> lines) {
        for (int i = 0; i < lines.size(); i++) {
            page.append("| ").append(String.join(" | ", lines.get(i))).append(" |\n");
            if (i == 0) {
                page.append("| --- | --- |")
                        .append(" ---: |".repeat(lines.get(0).size() - 2))
                        .append('\n');
            }
        }
    }

    private static String cell(OptionalDouble value) {
        return value.isPresent() ? Unit.format(value.getAsDouble()) : "–";
    }

    private static String ratio(Row row, OptionalDouble own, OptionalDouble other) {
        return own.isPresent() && other.isPresent()
                ? String.format(Locale.ROOT, "%.2f", row.unit().ratio(own.getAsDouble(), other.getAsDouble()))
                : "–";
    }

    /** In columns, for a terminal. */
    String text() {
        StringBuilder text = new StringBuilder();
        appendColumns(text, lines());
        List<List<String>> bindings = bindings();
        if (!bindings.isEmpty()) {
            appendColumns(text.append('\n'), bindings);
        }
        return text.append(memory()).append('\n').toString();
    }

    private static void appendColumns(StringBuilder text, List<List<String>> lines) {
        for (List<String> line : lines) {
            for (int column = 0; column < line.size(); column++) {
                int index = column;
                int width = lines.stream()
                        .mapToInt(other -> other.get(index).length())
                        .max()
                        .orElse(0);
                String padding = " ".repeat(width - line.get(column).length());
                text.append(column < 2 ? line.get(column) + padding : padding + line.get(column))
                        .append("  ");
            }
            text.setLength(text.toString().stripTrailing().length());
            text.append('\n');
        }
    }

    private String memory() {
        return "Largest resident set: gocryptfs %d MiB, blocktree %d MiB."
                .formatted(
                        results.residentBytesMax(Sides.GOCRYPTFS) >> 20,
                        results.residentBytesMax(Sides.BLOCKTREE) >> 20);
    }

    /** The whole page {@code docs/benchmarks.md}. */
    String markdown() throws IOException {
        StringBuilder page = new StringBuilder();
        page.append("""
                # Benchmarks

                Written by `bin/btnode-bench`; do not edit. The median of %d rounds in one run; in each round every row ran on one side after the
                other, all on the same disk, with default options. Rates are better when higher, seconds when lower; *× gocryptfs* and *of ceiling*
                say how many times as good Blocktree is, above 1 is better in every row. The ceiling is a file system in memory behind the
                same mount: what FUSE and the binding cost. *CPU* is the processor time that the daemon took under the clock.

                """.formatted(rounds));
        appendTable(page, lines());
        page.append("\n").append(memory()).append("\n\n");
        appendBindings(page);
        appendGrowth(page);
        appendDaemon(page);
        page.append("## Rows\n\n");
        for (Row row : results.rows()) {
            page.append("- `%s`: %s\n".formatted(row.id(), row.description()));
        }
        page.append("""

                Sizes of this run: file in sequence %d MiB, file at random %d MiB, %d random requests, %d synced writes, %d small files, %d files in the source tree.
                "sync" makes everything durable on each side alike: syncfs(2) on the disk for gocryptfs, `btnode sync` for Blocktree.

                ## Machine

                """.formatted(
                        scale.sequentialBytes() >> 20,
                        scale.randomBytes() >> 20,
                        scale.randomCount(),
                        scale.syncedCount(),
                        scale.fileCount(),
                        scale.treeFileCount()));
        for (String line : machine()) {
            page.append("- ").append(line).append('\n');
        }
        return page.toString();
    }

    private void appendGrowth(StringBuilder page) {
        if (growth.isEmpty()) {
            return;
        }
        page.append(
                """
                ## Against itself

                What must not grow: a directory of %d entries beside one of %d, a file of %d GiB with holes beside one of 1 MiB. Each operation in the
                best of three turns; *ratio* is the large case in the small one's cost.

                | row | small | large | ratio | at most |
                | --- | ---: | ---: | ---: | ---: |
                """.formatted(scale.largeDirectoryEntries(), scale.smallDirectoryEntries(), scale.sparseBytes() >> 30));
        for (Growth.Figure figure : growth) {
            page.append("| %s | %s | %s | %s | %s |\n"
                    .formatted(
                            figure.cost().id,
                            Growth.format(figure.small()),
                            Growth.format(figure.large()),
                            Unit.format(figure.ratio()),
                            Unit.format(figure.cost().limit)));
        }
        page.append('\n');
        for (Growth.Figure figure : growth) {
            page.append("- `%s`: %s\n".formatted(figure.cost().id, figure.cost().description));
        }
        page.append('\n');
    }

    private void appendDaemon(StringBuilder page) {
        if (daemon.isEmpty()) {
            return;
        }
        page.append("""
                ## As a daemon

                A node with an empty tree. *of goal* is the figure in goals: at most 1 is well.

                | row | unit | figure | goal | of goal |
                | --- | --- | ---: | ---: | ---: |
                """);
        for (Daemon.Figure figure : daemon) {
            page.append("| %s | %s | %s | %s | %s |\n"
                    .formatted(
                            figure.cost().id,
                            figure.cost().unit,
                            Unit.format(figure.value()),
                            Unit.format(figure.cost().goal),
                            Unit.format(figure.ratio())));
        }
        page.append('\n');
        for (Daemon.Figure figure : daemon) {
            page.append("- `%s`: %s\n".formatted(figure.cost().id, figure.cost().description));
        }
        page.append('\n');
    }

    private static List<String> machine() throws IOException {
        return List.of(
                "%s, %d processors, %d GiB"
                        .formatted(
                                field(Path.of("/proc/cpuinfo"), "model name"),
                                Runtime.getRuntime().availableProcessors(),
                                Long.parseLong(field(Path.of("/proc/meminfo"), "MemTotal")
                                                .replaceAll("\\D", ""))
                                        >> 20),
                "Linux " + System.getProperty("os.version"),
                "%s %s".formatted(System.getProperty("java.vm.name"), Runtime.version()),
                firstLine("gocryptfs", "--version"),
                "load average over the last 15 minutes, this run and all else: "
                        + Files.readString(Path.of("/proc/loadavg")).split(" ")[2]);
    }

    /** The value of {@code key: value} in a file of the kernel. */
    private static String field(Path file, String key) throws IOException {
        return Files.readAllLines(file).stream()
                .filter(line -> line.startsWith(key))
                .map(line -> line.substring(line.indexOf(':') + 1).strip())
                .findFirst()
                .orElse("unknown " + key);
    }

    private static String firstLine(String... command) throws IOException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        return new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8)
                .lines()
                .findFirst()
                .orElse(command[0]);
    }
}
