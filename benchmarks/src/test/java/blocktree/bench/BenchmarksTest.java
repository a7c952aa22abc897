package blocktree.bench;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/** The short form of the benchmarks: what they measure is not judged here, only that they measure it. */
class BenchmarksTest {

    @TempDir
    Path directory;

    @Test
    void everySideProducesAFigureInEveryRowThatThisUserMayRun() throws Exception {
        List<Row> rows = Benchmarks.ROWS.stream()
                .filter(row -> !row.isCold() || Processes.canDropCaches())
                .toList();

        Results results = new Benchmarks(new PrintWriter(System.out, true)).measure(directory, rows, Scale.small(), 1);

        List<Executable> checks = new ArrayList<>();
        for (Row row : rows) {
            for (String side : List.of(Sides.PLAIN_DISK, Sides.GOCRYPTFS, Sides.BLOCKTREE, Sides.IN_MEMORY)) {
                checks.add(() -> assertTrue(results.figure(row, side).orElse(0) > 0, row.id() + " on " + side));
            }
        }
        assertAll(checks);
        List<Growth.Figure> growth = Growth.measure(directory, Scale.small(), new PrintWriter(System.out, true));
        assertEquals(
                List.of(Growth.Cost.values()),
                growth.stream().map(Growth.Figure::cost).toList());
        List<Daemon.Figure> daemon = Daemon.measure(directory, Scale.small(), new PrintWriter(System.out, true));
        assertEquals(
                List.of(Daemon.Cost.values()),
                daemon.stream().map(Daemon.Figure::cost).toList());
        Report report = new Report(results, 1, growth, daemon);
        for (Row row : rows) {
            assertTrue(report.text().lines().anyMatch(line -> line.startsWith(row.id() + " ")), report.text());
            assertTrue(report.markdown().contains("\n| " + row.id() + " | "), row.id());
        }
        for (Growth.Figure figure : growth) {
            assertTrue(
                    figure.ratio() > 0 && report.markdown().contains("\n| " + figure.cost().id + " | "),
                    figure::toString);
        }
        for (Daemon.Figure figure : daemon) {
            assertTrue(
                    figure.ratio() > 0 && report.markdown().contains("\n| " + figure.cost().id + " | "),
                    figure::toString);
        }
        assertTrue(
                Files.readAllLines(Path.of("/proc/self/mounts")).stream()
                        .noneMatch(line -> line.contains(directory.toString())),
                "a mount was left");
    }

    @Test
    void aRowThatDoesNotExistIsRefusedWithTheNamesOfThoseThatDo() {
        StringWriter errors = new StringWriter();
        int status = new CommandLine(new Benchmarks(new PrintWriter(new StringWriter())))
                .setErr(new PrintWriter(errors))
                .execute("--rows", "seq-wright");
        assertEquals(2, status);
        assertTrue(errors.toString().contains("seq-write"), errors.toString());
    }

    @Test
    void theMedianOfAnEvenNumberOfRoundsLiesBetweenTheMiddleTwo() {
        Row row = new SequentialWrite();
        Scale scale = Scale.small().withSequentialBytes(1_000_000);
        Results results = new Results(scale);
        for (int millis : new int[] {100, 1000, 200, 10}) {
            results.add(row, "side", new Measurement(java.time.Duration.ofMillis(millis), java.time.Duration.ZERO));
        }
        assertEquals(7.5, results.figure(row, "side").orElseThrow(), 1e-9);
        assertFalse(results.figure(row, "other").isPresent());
    }

    @Test
    void secondsAreBetterWhenLowerAndRatesWhenHigher() {
        assertEquals(3, Unit.SECONDS.ratio(1, 3));
        assertEquals(3, Unit.OPERATIONS_PER_SECOND.ratio(3, 1));
    }

    @Test
    void figuresHaveThreeSignificantDigits() {
        assertEquals(
                List.of("0.314", "1.00", "27.1", "100", "9990", "10.0k", "43.9k", "240k"),
                Stream.of(0.3141, 0.9996, 27.06, 99.96, 9990.0, 9999.0, 43_871.0, 239_600.0)
                        .map(Unit::format)
                        .toList());
    }
}
