package blocktree.node;

import com.sun.security.auth.module.UnixSystem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/**
 * Where the node of a data directory listens: in it; where that path is too long for a socket, in a directory of the node's user that
 * {@code control.path} names; where nothing can be written into the data directory, in such a directory at a place that follows from its path.
 */
final class ControlSocket implements AutoCloseable {
    static final String NAME = "control.sock";
    static final String POINTER = "control.path";

    private static final Path TEMPORARY = Path.of("/tmp");
    /** sun_path holds 108 bytes with the NUL at the end. */
    private static final int PATH_BYTES_MAX = 107;

    private final Path path;
    private final List<Path> made;

    private ControlSocket(Path path, List<Path> made) {
        this.path = path;
        this.made = made;
    }

    Path path() {
        return path;
    }

    /** Where a client finds it, if a node runs. */
    static Path find(Path dataDirectory) throws IOException {
        try {
            return Path.of(Files.readString(dataDirectory.resolve(POINTER)).strip());
        } catch (NoSuchFileException e) {
            // it lies where it usually does
        }
        Path inside = dataDirectory.resolve(NAME);
        Path directory = outside(TEMPORARY, dataDirectory);
        boolean isOutside =
                Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS) && isTrusted(directory, dataDirectory);
        // Where nothing can be written, a killed node's socket may still lie inside.
        return isOutside && (!Files.exists(inside) || !Files.isWritable(dataDirectory))
                ? directory.resolve(NAME)
                : inside;
    }

    /** Chooses its place and makes what is needed there; called by the node that holds the lock, which takes it away again at its end. */
    static ControlSocket prepare(Path dataDirectory) throws IOException, NodeException {
        boolean writable = Files.isWritable(dataDirectory);
        Path inside = dataDirectory.resolve(NAME);
        Path pointer = dataDirectory.resolve(POINTER);
        if (writable) {
            Files.deleteIfExists(pointer);
        }
        if (writable && fits(inside)) {
            return new ControlSocket(inside, List.of());
        }
        String runtime = System.getenv("XDG_RUNTIME_DIR");
        boolean inRuntime = writable
                && runtime != null
                && fits(outside(Path.of(runtime), dataDirectory).resolve(NAME));
        Path directory = outside(inRuntime ? Path.of(runtime) : TEMPORARY, dataDirectory);
        try {
            Files.createDirectory(
                    directory, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (FileAlreadyExistsException e) {
            requireOwn(directory, writable);
        }
        if (!writable) {
            return new ControlSocket(directory.resolve(NAME), List.of(directory));
        }
        Files.writeString(pointer, directory.resolve(NAME) + "\n");
        return new ControlSocket(directory.resolve(NAME), List.of(pointer, directory));
    }

    private static Path outside(Path base, Path dataDirectory) throws IOException {
        try {
            byte[] path = dataDirectory.toRealPath().toString().getBytes(StandardCharsets.UTF_8);
            byte[] hash = MessageDigest.getInstance("SHA-256").digest(path);
            return base.resolve("btnode-" + HexFormat.of().formatHex(hash, 0, 8));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * Others may write to /tmp: a directory there is used only when it is closed to them and ours.
     *
     * @param isFree whether another place may be chosen for it
     */
    private static void requireOwn(Path directory, boolean isFree) throws IOException, NodeException {
        if (!Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS) || owner(directory) != new UnixSystem().getUid()) {
            throw new NodeException(
                    ExitCode.FAILED,
                    "to make a directory for the node's control socket, for which the data directory "
                            + (isFree ? "has too long a path" : "cannot be written"),
                    directory + " is there, and not a directory of this user's",
                    "remove it" + (isFree ? ", or set XDG_RUNTIME_DIR to a directory of this user's" : ""));
        }
        Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwx------"));
    }

    /** A socket that somebody else has put there would answer in the node's name. */
    private static boolean isTrusted(Path directory, Path dataDirectory) throws IOException {
        long owner = owner(directory);
        return owner == 0 || owner == new UnixSystem().getUid() || owner == owner(dataDirectory);
    }

    private static long owner(Path path) throws IOException {
        return (Integer) Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS);
    }

    private static boolean fits(Path socket) {
        return socket.toString().getBytes(StandardCharsets.UTF_8).length <= PATH_BYTES_MAX;
    }

    /** Takes away what was made for it; the socket itself is its server's. */
    @Override
    public void close() throws IOException {
        for (Path each : made) {
            Files.deleteIfExists(each);
        }
    }
}
