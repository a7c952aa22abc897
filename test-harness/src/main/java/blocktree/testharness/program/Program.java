package blocktree.testharness.program;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** A command line, its directory and environment. Output and errors come together, as on a terminal. Immutable. */
public final class Program {
    private static final Duration TIMEOUT_DEFAULT = Duration.ofMinutes(2);
    private static final Map<String, String> PACKAGES = Map.ofEntries(
            Map.entry("fio", "fio"),
            Map.entry("git", "git"),
            Map.entry("getfacl", "acl"),
            Map.entry("setfacl", "acl"),
            Map.entry("man", "man-db"),
            Map.entry("mvn", "maven"),
            Map.entry("rsync", "rsync"),
            Map.entry("setfattr", "attr"),
            Map.entry("sqlite3", "sqlite3"),
            Map.entry("stress-ng", "stress-ng"),
            Map.entry("vim", "vim"),
            Map.entry("mkfs.ext4", "e2fsprogs"),
            Map.entry("fusermount", "fuse3"),
            Map.entry("setpriv", "util-linux"));

    private final Path directory;
    private final List<String> command;
    private final Map<String, String> environment;
    private final Duration timeout;

    private Program(Path directory, List<String> command, Map<String, String> environment, Duration timeout) {
        this.directory = directory;
        this.command = command;
        this.environment = environment;
        this.timeout = timeout;
    }

    public static Program in(Path directory, String... command) {
        return new Program(directory, List.of(command), Map.of(), TIMEOUT_DEFAULT);
    }

    /** A line of bash; unset variables and failing parts of it make it fail. */
    public static Program shell(Path directory, String script) {
        return in(directory, "bash", "-euo", "pipefail", "-c", script);
    }

    public Program with(String variable, String value) {
        Map<String, String> more = new LinkedHashMap<>(environment);
        more.put(variable, value);
        return new Program(directory, command, more, timeout);
    }

    public Program within(Duration newTimeout) {
        return new Program(directory, command, environment, newTimeout);
    }

    /**
     * Runs the program, which must succeed.
     *
     * @return what it printed
     */
    public String run() {
        Result result = result();
        if (result.exitCode != 0) {
            throw new AssertionError(this + " ended with " + result.exitCode + " and said:\n" + result.output);
        }
        return result.output;
    }

    /** Runs the program to whatever end it comes. */
    public Result result() {
        try {
            Path output = Files.createTempFile("program", ".out");
            try {
                Process process = start(ProcessBuilder.Redirect.to(output.toFile()));
                if (!process.waitFor(timeout.toMillis(), TimeUnit.MILLISECONDS)) {
                    process.descendants().forEach(ProcessHandle::destroyForcibly);
                    process.destroyForcibly();
                    throw new AssertionError(this + " is not done after " + timeout + " and said:\n" + text(output));
                }
                return new Result(process.exitValue(), text(output));
            } finally {
                Files.deleteIfExists(output);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new AssertionError(this + " was interrupted", e);
        }
    }

    /** Starts the program and leaves it running. */
    public Process start(ProcessBuilder.Redirect output) throws IOException {
        require(command.get(0));
        ProcessBuilder builder = new ProcessBuilder(command)
                .directory(directory.toFile())
                .redirectErrorStream(true)
                .redirectInput(ProcessBuilder.Redirect.from(Path.of("/dev/null").toFile()))
                .redirectOutput(output);
        builder.environment().put("LC_ALL", "C.UTF-8");
        builder.environment().putAll(environment);
        return builder.start();
    }

    /** Fails with what to install when one of the programs is missing. */
    public static void require(String... programs) {
        List<String> missing = new ArrayList<>();
        for (String program : programs) {
            boolean present = program.contains("/") && Files.isExecutable(Path.of(program))
                    || Arrays.stream((System.getenv("PATH") + ":/usr/sbin:/sbin").split(":"))
                            .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
            if (!present) {
                missing.add(program);
            }
        }
        if (!missing.isEmpty()) {
            List<String> packages = missing.stream()
                    .map(program -> PACKAGES.getOrDefault(program, program))
                    .distinct()
                    .toList();
            throw new AssertionError(
                    "missing: " + missing + "; install with: apt-get install " + String.join(" ", packages));
        }
    }

    private static String text(Path output) throws IOException {
        return new String(Files.readAllBytes(output), UTF_8);
    }

    @Override
    public String toString() {
        return String.join(" ", command);
    }

    /** How a program ended. */
    public record Result(int exitCode, String output) {}
}
