package blocktree.node;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Set;

/** Where a node keeps what is its own; see docs/operations.md for the layout. */
final class DataDirectory {
    static final String TREE = "tree";
    static final String ROOT_KEY = "root.key";
    static final String NODE_KEY = "node.key";
    static final String ANCHOR = "anchor";

    private static final String LOCK = "lock";
    private static final String SOCKET = "control.sock";
    private static final String SOCKET_PATH = "control.path";
    /** sun_path holds 108 bytes with the NUL at the end. */
    private static final int SOCKET_PATH_BYTES_MAX = 107;

    /** Everything that a node has there. */
    static final Set<String> NAMES =
            Set.of(TREE, ROOT_KEY, NODE_KEY, ANCHOR, LOCK, SOCKET, SOCKET_PATH, NodeSettings.FILE_NAME);

    private final Path path;
    private final NodeSettings settings;

    private DataDirectory(Path path, NodeSettings settings) {
        this.path = path;
        this.settings = settings;
    }

    /** A complete data directory; BAD_CONFIGURATION for anything else. */
    static DataDirectory open(Path given) throws NodeException {
        Path path = given.toAbsolutePath().normalize();
        return new DataDirectory(path, NodeSettings.load(path));
    }

    Path path() {
        return path;
    }

    NodeSettings settings() {
        return settings;
    }

    Path tree() {
        return path.resolve(TREE);
    }

    Path rootKey() {
        return path.resolve(ROOT_KEY);
    }

    Path nodeKey() {
        return path.resolve(settings.nodeKeyPath());
    }

    Path anchor() {
        return path.resolve(settings.anchorPath());
    }

    /** Takes the directory for this process until the lock is closed. */
    Lock lock() throws NodeException {
        Path file = path.resolve(LOCK);
        try {
            FileChannel channel = FileChannel.open(
                    file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
            try {
                if (channel.tryLock() != null) {
                    channel.truncate(0);
                    String pid = ProcessHandle.current().pid() + "\n";
                    channel.write(ByteBuffer.wrap(pid.getBytes(StandardCharsets.US_ASCII)), 0);
                    return new Lock(channel);
                }
            } catch (OverlappingFileLockException e) {
                // held by this very process: answered like any other holder
            }
            channel.close();
            throw new NodeException(
                    ExitCode.ALREADY_RUNNING,
                    "to take the data directory " + path,
                    "process " + Files.readString(file).strip() + " has it",
                    "use the node that runs (btnode status --data-dir " + path
                            + "), or stop it first: btnode stop --data-dir " + path);
        } catch (IOException e) {
            throw new NodeException(
                    ExitCode.FAILED,
                    "to lock the data directory " + path,
                    Failures.reason(e),
                    "check that the directory can be written by this user and its disk is not full or read-only",
                    e);
        }
    }

    /** Where the node's control socket is, or would be: read by clients. */
    Path controlSocket() throws NodeException {
        Path pointer = path.resolve(SOCKET_PATH);
        try {
            return Files.exists(pointer) ? Path.of(Files.readString(pointer).strip()) : path.resolve(SOCKET);
        } catch (IOException e) {
            throw new NodeException(
                    ExitCode.FAILED,
                    "to find the control socket of the node in " + path,
                    Failures.reason(e),
                    "run the command as the user who runs the node, or as root");
        }
    }

    /**
     * Chooses the path of the control socket: in the data directory, or, where that path is too long for a socket, in a directory of
     * this user's own that {@code control.path} names. Called by the node that holds the lock.
     */
    Path prepareControlSocket() throws IOException {
        Path pointer = path.resolve(SOCKET_PATH);
        Path socket = path.resolve(SOCKET);
        if (fits(socket)) {
            Files.deleteIfExists(pointer);
            return socket;
        }
        String runtime = System.getenv("XDG_RUNTIME_DIR");
        String name = "btnode-" + pathHash();
        Path base = runtime != null && fits(Path.of(runtime, name, SOCKET)) ? Path.of(runtime) : Path.of("/tmp");
        Path directory = base.resolve(name);
        try {
            Files.createDirectory(
                    directory, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (FileAlreadyExistsException e) {
            requireOwn(directory);
        }
        Files.writeString(pointer, directory.resolve(SOCKET) + "\n");
        return directory.resolve(SOCKET);
    }

    /** Others may write to /tmp: a directory there is used only when it is closed to them and ours. */
    private void requireOwn(Path directory) throws IOException {
        boolean ours = Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)
                && Files.getAttribute(directory, "unix:uid", LinkOption.NOFOLLOW_LINKS)
                        .equals(Files.getAttribute(path, "unix:uid"));
        if (!ours) {
            throw new IOException(directory + " belongs to somebody else");
        }
        Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwx------"));
    }

    private String pathHash() {
        try {
            byte[] hash =
                    MessageDigest.getInstance("SHA-256").digest(path.toString().getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(hash, 0, 8);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static boolean fits(Path socket) {
        return socket.toString().getBytes(StandardCharsets.UTF_8).length <= SOCKET_PATH_BYTES_MAX;
    }

    /** Held by the process that uses the directory; the kernel lets it go when the process ends, however it ends. */
    static final class Lock implements AutoCloseable {
        private final FileChannel channel;

        private Lock(FileChannel channel) {
            this.channel = channel;
        }

        @Override
        public void close() throws IOException {
            channel.close();
        }
    }
}
