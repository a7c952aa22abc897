package blocktree.fuse;

import blocktree.fuse.MountException.Code;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The directory that a tree is mounted on, and the programs that mount and unmount. */
final class MountPoint {
    private static final Logger log = LoggerFactory.getLogger(MountPoint.class);
    private static final Path MOUNT_TABLE = Path.of("/proc/self/mountinfo");
    private static final Duration PROBE_TIMEOUT = Duration.ofSeconds(3);
    private static final Duration UNMOUNT_TIMEOUT = Duration.ofSeconds(10);

    /**
     * A line of the mount table.
     *
     * @param connection the minor device number: the name of a FUSE connection in /sys/fs/fuse/connections
     */
    record Mounted(String type, int connection) {
        boolean isFuse() {
            return type.equals("fuse") || type.startsWith("fuse.") || type.equals("fuseblk");
        }
    }

    private final Path path;

    /** @param path is made absolute, with links resolved as far as that works: the mount table shows it so */
    MountPoint(Path path) {
        Path absolute = path.toAbsolutePath().normalize();
        Path resolved = absolute;
        try {
            // Not the last component: it may be a stale mount, which answers nothing.
            Path parent = absolute.getParent();
            Path name = absolute.getFileName();
            if (parent != null && name != null) {
                resolved = Files.isSymbolicLink(absolute)
                        ? absolute.toRealPath()
                        : parent.toRealPath().resolve(name);
            }
        } catch (IOException e) {
            log.atDebug().setCause(e).log("mount_point_unresolved"); // prepare() will say what is wrong
        }
        this.path = resolved;
    }

    Path path() {
        return path;
    }

    /** The newest mount on the directory. */
    Optional<Mounted> mounted() throws MountException {
        try {
            Mounted last = null;
            for (String line : Files.readAllLines(MOUNT_TABLE, StandardCharsets.ISO_8859_1)) {
                String[] fields = line.split(" ");
                int separator = Arrays.asList(fields).indexOf("-");
                if (separator > 4 && isThisPath(fields[4])) {
                    String minor = fields[2].substring(fields[2].indexOf(':') + 1);
                    last = new Mounted(fields[separator + 1], Integer.parseInt(minor));
                }
            }
            return Optional.ofNullable(last);
        } catch (IOException | RuntimeException e) {
            throw new MountException(
                    Code.FAILED, "cannot read %s (%s)".formatted(MOUNT_TABLE, e.getMessage()), "mount /proc", e);
        }
    }

    private boolean isThisPath(String field) {
        // The kernel writes space, tab, newline and backslash as three octal digits.
        byte[] bytes = field.getBytes(StandardCharsets.ISO_8859_1);
        ByteBuffer plain = ByteBuffer.allocate(bytes.length);
        for (int i = 0; i < bytes.length; i++) {
            if (bytes[i] == '\\' && i + 3 < bytes.length) {
                plain.put((byte) Integer.parseInt(field.substring(i + 1, i + 4), 8));
                i += 3;
            } else {
                plain.put(bytes[i]);
            }
        }
        String text = new String(plain.array(), 0, plain.position(), StandardCharsets.UTF_8);
        return text.equals(path.toString());
    }

    /** Makes sure that a tree can be mounted here; clears what a killed process left. */
    void prepare() throws MountException {
        if (isLeftBehind()) {
            clearStale();
        }
        checkDirectory();
    }

    /** As {@link #prepare}, and changes nothing: what a killed process left is no hindrance. */
    void check() throws MountException {
        if (!isLeftBehind()) {
            checkDirectory();
        }
    }

    /** Whether a mount is here whose process is gone; BUSY when it has one. */
    private boolean isLeftBehind() throws MountException {
        Optional<Mounted> mounted = mounted();
        if (mounted.isEmpty() || !mounted.get().isFuse()) {
            return false;
        }
        if (!isStale()) {
            throw new MountException(
                    Code.BUSY,
                    "%s is in use as a mount point (%s)"
                            .formatted(path, mounted.get().type()),
                    "unmount it with fusermount -u %s, or name another directory".formatted(path));
        }
        return true;
    }

    private void checkDirectory() throws MountException {
        if (!Files.exists(path)) {
            throw new MountException(
                    Code.MISSING,
                    path + " does not exist",
                    "make it with mkdir -p %s, or name another".formatted(path));
        }
        if (!Files.isDirectory(path)) {
            throw new MountException(Code.NOT_DIRECTORY, path + " is not a directory", "name an empty one");
        }
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(path)) {
            if (entries.iterator().hasNext()) {
                throw new MountException(
                        Code.NOT_EMPTY,
                        path + " is not empty, and a mount would hide what is in it",
                        "name an empty directory");
            }
        } catch (IOException e) {
            throw new MountException(
                    Code.NOT_PERMITTED,
                    path + " cannot be read",
                    "give this user access to it, or name a directory of your own",
                    e);
        }
    }

    /** Whether the process behind a mount is gone. A mount whose process hangs is not stale. */
    private boolean isStale() {
        CompletableFuture<Boolean> probe = new CompletableFuture<>();
        Thread thread = new Thread(
                () -> {
                    try {
                        Files.getLastModifiedTime(path);
                        probe.complete(false);
                    } catch (IOException e) {
                        String message = String.valueOf(e.getMessage());
                        probe.complete(message.contains("not connected") || message.contains("aborted"));
                    }
                },
                "mount-probe");
        thread.setDaemon(true);
        thread.start();
        try {
            return probe.get(PROBE_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException | ExecutionException e) {
            return false;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    private void clearStale() throws MountException {
        log.atInfo().addKeyValue("mount_point", path).log("stale_mount_cleared");
        for (boolean lazy : new boolean[] {false, true}) {
            if (unmount(lazy) == null) {
                return;
            }
        }
        throw new MountException(
                Code.STALE,
                path + " was left mounted by a process that died, and could not be unmounted",
                "as root, run umount -l %s, then try again".formatted(path));
    }

    /**
     * Unmounts what is mounted here.
     *
     * @return null, or why it could not be done
     */
    @Nullable
    String unmount(boolean lazy) throws MountException {
        return Privilege.mayMount() ? unmountItself(lazy) : unmountThroughProgram(lazy);
    }

    /** In a thread of its own: a disk that does not answer must not hold up the caller for ever. */
    private @Nullable String unmountItself(boolean lazy) {
        CompletableFuture<Optional<String>> failure = new CompletableFuture<>();
        Thread thread = new Thread(
                () -> {
                    try {
                        failure.complete(Optional.ofNullable(NativeFuse.unmount(path, lazy)));
                    } catch (LinkageError e) {
                        failure.complete(Optional.of(String.valueOf(e.getMessage())));
                    }
                },
                "unmount");
        thread.setDaemon(true);
        thread.start();
        try {
            return failure.get(UNMOUNT_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS)
                    .orElse(null);
        } catch (TimeoutException | ExecutionException e) {
            return "umount does not end";
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "interrupted";
        }
    }

    private @Nullable String unmountThroughProgram(boolean lazy) throws MountException {
        String program = fusermount().map(Path::toString).orElse("fusermount");
        List<String> command = new ArrayList<>(List.of(program, "-u"));
        if (lazy) {
            command.add("-z");
        }
        command.addAll(List.of("--", path.toString()));
        try {
            Process process = new ProcessBuilder(command)
                    .directory(Path.of("/").toFile()) // not a directory within the mount
                    .redirectErrorStream(true)
                    .start();
            process.getOutputStream().close();
            if (!process.waitFor(UNMOUNT_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS)) {
                process.destroyForcibly();
                return program + " does not end";
            }
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
            return process.exitValue() == 0 ? null : output;
        } catch (IOException e) {
            throw new MountException(Code.FUSERMOUNT_MISSING, program + " cannot be run", INSTALL_FUSE, e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "interrupted";
        }
    }

    /**
     * Waits for the end of its input, or for a signal, which come with the end of this process; then detaches the mount, if it is still the same. The connection is aborted first: a thread of this process may be waiting in the kernel,
     * for a directory that a request has locked which nobody will answer. It does not end before that, and as long keeps the rest of the process, /dev/fuse included.
     */
    private static final String WATCHER = """
            trap '' HUP INT QUIT ABRT TERM
            end() {
                trap '' USR1
                [ "$(findmnt -rn -o MAJ:MIN --mountpoint "$2" | tail -n 1)" = "0:$1" ] || exit 0
                echo 1 >"/sys/fs/fuse/connections/$1/abort"
                umount -f -l -- "$2" || fusermount -u -z -- "$2"
                exit
            }
            trap 'end "$@"' USR1
            read -r nothing
            end "$@"
            """;

    /**
     * Starts a process that unmounts when this one dies, until its input is closed. Not libfuse's {@code auto_unmount}: its fusermount unmounts whatever is mounted on
     * the path by then, and leaves a descriptor here for each mount ever made.
     */
    @Nullable
    Process watch(int connection) {
        CompletableFuture<Process> started = new CompletableFuture<>();
        Thread thread = new Thread(
                () -> {
                    try {
                        Process watcher = startWatcher(connection);
                        started.complete(watcher);
                        watcher.waitFor(); // the kernel sends the signal when the thread that started it ends
                    } catch (IOException | InterruptedException e) {
                        started.completeExceptionally(e);
                    }
                },
                "mount-watch");
        thread.setDaemon(true);
        thread.start();
        try {
            return started.join();
        } catch (CompletionException e) {
            log.atWarn().addKeyValue("mount_point", path).setCause(e.getCause()).log("mount_unwatched");
            return null;
        }
    }

    private Process startWatcher(int connection) throws IOException {
        String[] command = {
            "setpriv",
            "--pdeathsig",
            "USR1",
            "/bin/sh",
            "-c",
            WATCHER,
            "blocktree-watch",
            String.valueOf(connection),
            path.toString()
        };
        return new ProcessBuilder(command)
                .directory(Path.of("/").toFile())
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start();
    }

    static final String INSTALL_FUSE = "install fusermount: apt-get install fuse3";

    /** The set-user-id program through which ordinary users mount. */
    static Optional<Path> fusermount() {
        String search = System.getenv().getOrDefault("PATH", "") + ":/usr/bin:/bin:/usr/local/bin";
        for (String directory : search.split(":")) {
            Path program = directory.isEmpty() ? null : Path.of(directory, "fusermount");
            if (program != null && Files.isExecutable(program)) {
                return Optional.of(program);
            }
        }
        return Optional.empty();
    }
}
