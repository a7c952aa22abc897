package blocktree.harness;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * The data directory of one node, the file with its passphrase, and the program that runs it.
 *
 * @param data may not exist yet; see {@link #init}
 * @param log where the processes of the node write their logs, one behind the other
 */
public record NodeDirectory(NodeProgram program, Path data, Path passphraseFile, Path log) {
    private static final Duration COMMAND_TIMEOUT = Duration.ofMinutes(5);

    public NodeDirectory {
        data = data.toAbsolutePath();
        passphraseFile = passphraseFile.toAbsolutePath();
        log = log.toAbsolutePath();
    }

    /** {@code data}, {@code passphrase} and {@code node.log} in {@code folder}, which is made; a passphrase is written when there is none. */
    public static NodeDirectory in(Path folder, NodeProgram program) throws IOException {
        Files.createDirectories(folder);
        NodeDirectory directory = new NodeDirectory(
                program, folder.resolve("data"), folder.resolve("passphrase"), folder.resolve("node.log"));
        if (!Files.exists(directory.passphraseFile)) {
            Files.createFile(
                    directory.passphraseFile,
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
            Files.writeString(directory.passphraseFile, "correct horse battery staple\n");
        }
        return directory;
    }

    /** Makes the root key and the node. */
    public NodeDirectory init(String... options) throws HarnessException {
        List<String> arguments = new ArrayList<>(List.of("--passphrase-file", passphraseFile.toString()));
        arguments.addAll(List.of(options));
        command("init", arguments.toArray(String[]::new)).orThrow();
        return this;
    }

    /** Starts the node and waits until it is ready. */
    public NodeProcess start(NodeOptions options) throws HarnessException {
        return NodeProcess.start(this, options);
    }

    /** Starts the node with one mount and waits until it is ready. */
    public NodeProcess start(Path mountPoint) throws HarnessException {
        return start(NodeOptions.mountedOn(mountPoint));
    }

    /** {@code btnode fsck}, on the running node or else on the directory. */
    public CommandResult fsck(String... options) throws HarnessException {
        List<String> arguments = new ArrayList<>(List.of("--json"));
        if (Files.exists(data.resolve("root.key"))) { // a node that has joined has none
            arguments.addAll(List.of("--passphrase-file", passphraseFile.toString()));
        }
        arguments.addAll(List.of(options));
        return execute(onThis("fsck", arguments.toArray(String[]::new)), NodeProcess.CHECK_TIMEOUT);
    }

    /** {@code btnode status --json}; exit code 6 when no node runs. */
    public CommandResult status() throws HarnessException {
        return command("status", "--json");
    }

    /** Runs one command on this directory; {@code name} may be two words, such as "snapshot list". */
    public CommandResult command(String name, String... options) throws HarnessException {
        return execute(onThis(name, options), COMMAND_TIMEOUT);
    }

    private List<String> onThis(String name, String... options) {
        List<String> command = new ArrayList<>(program.command());
        command.addAll(List.of(name.split(" ")));
        command.addAll(List.of("--data-dir", data.toString()));
        command.addAll(List.of(options));
        return command;
    }

    static CommandResult execute(List<String> command, Duration timeout) throws HarnessException {
        Path output = null;
        Path errors = null;
        try {
            output = Files.createTempFile("btnode-harness", ".out");
            errors = Files.createTempFile("btnode-harness", ".err");
            Process process = new ProcessBuilder(command)
                    .redirectInput(Path.of("/dev/null").toFile())
                    .redirectOutput(output.toFile())
                    .redirectError(errors.toFile())
                    .start();
            if (!process.waitFor(timeout.toMillis(), TimeUnit.MILLISECONDS)) {
                process.destroyForcibly();
                throw new HarnessException(
                        "not done within " + timeout.toSeconds() + " s: " + command + "\n" + Files.readString(errors));
            }
            return new CommandResult(
                    process.exitValue(),
                    Files.readString(output, StandardCharsets.UTF_8),
                    Files.readString(errors, StandardCharsets.UTF_8));
        } catch (IOException e) {
            throw new HarnessException("cannot run " + command, e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new HarnessException("interrupted", e);
        } finally {
            delete(output);
            delete(errors);
        }
    }

    private static void delete(@Nullable Path file) {
        try {
            if (file != null) {
                Files.deleteIfExists(file);
            }
        } catch (IOException e) {
            // a temporary file that stays does no harm
        }
    }
}
