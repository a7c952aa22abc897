package blocktree.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/**
 * gocryptfs with its default options, in the foreground so that its processor time can be read. Only scrypt is cheap ({@code -scryptn 10}):
 * that is a matter of the passphrase and shows in no row.
 */
final class Gocryptfs implements Side {
    private static final Duration MOUNT_TIMEOUT = Duration.ofSeconds(20);

    private final Path cipher;
    private final Path root;
    private final Path passphrase;
    private final Path log;
    private final Process daemon;

    Gocryptfs(Path directory) throws IOException {
        cipher = Files.createDirectories(directory.resolve("gocryptfs.cipher"));
        root = Files.createDirectories(directory.resolve("gocryptfs"));
        passphrase = directory.resolve("gocryptfs.pass");
        log = directory.resolve("gocryptfs.log");
        Files.writeString(passphrase, "only a benchmark\n");
        Processes.run(
                "gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", passphrase.toString(), cipher.toString());
        daemon = mount();
    }

    private Process mount() throws IOException {
        Process process = new ProcessBuilder(
                        "gocryptfs",
                        "-fg",
                        "-nosyslog",
                        "-passfile",
                        passphrase.toString(),
                        cipher.toString(),
                        root.toString())
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()))
                .start();
        Processes.awaitMounted(root, process, log, MOUNT_TIMEOUT);
        return process;
    }

    @Override
    public String name() {
        return Sides.GOCRYPTFS;
    }

    @Override
    public Path root() {
        return root;
    }

    /** The kernel passes no syncfs to a FUSE daemon; gocryptfs keeps nothing back, so that syncing the disk below is the same. */
    @Override
    public void sync() throws IOException {
        Processes.run("sync", "-f", cipher.toString());
    }

    @Override
    public long pid() {
        return daemon.pid();
    }

    @Override
    public void close() throws IOException {
        Processes.unmount(root, daemon);
    }
}
