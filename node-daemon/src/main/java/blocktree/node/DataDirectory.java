package blocktree.node;

import com.sun.security.auth.module.UnixSystem;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.UserPrincipal;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** Where a node keeps what is its own; see docs/operations.md for the layout. */
final class DataDirectory {
    static final String TREE = "tree";
    static final String ROOT_KEY = "root.key";
    static final String NODE_KEY = "node.key";
    static final String ANCHOR = "anchor";

    /** What a node keeps of its cluster beside the store. */
    static final String CLUSTER = "cluster";

    private static final String LOCK = "lock";
    /** Everything that a node has there. */
    static final Set<String> NAMES = Set.of(
            TREE,
            ROOT_KEY,
            ROOT_KEY + KeyFiles.NEXT,
            NODE_KEY,
            NODE_KEY + KeyFiles.NEXT,
            ANCHOR,
            CLUSTER,
            LOCK,
            ControlSocket.NAME,
            ControlSocket.POINTER,
            NodeSettings.FILE_NAME);

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

    Path cluster() {
        return path.resolve(CLUSTER);
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

    /** Root would leave files there that the directory's owner, whose node it is, cannot read. */
    static void requireOwner(Path directory, String tried) throws NodeException {
        try {
            if (new UnixSystem().getUid() == 0 && (int) Files.getAttribute(directory, "unix:uid") != 0) {
                UserPrincipal owner = Files.getOwner(directory);
                throw new NodeException(
                        ExitCode.BAD_CONFIGURATION,
                        tried,
                        "the directory belongs to the user %s, whose node could not read what root writes there"
                                .formatted(owner),
                        "do it as that user (runuser -u %s -- btnode …), or make it root's: chown -R root %s"
                                .formatted(owner, Shell.word(directory)));
            }
        } catch (NoSuchFileException e) {
            // it will be made
        } catch (IOException e) {
            throw Failures.of(tried, e, "let this user see the directory");
        }
    }

    /**
     * Takes the directory for this process until the lock is closed. Where nothing can be written, who only reads shares it with others who do;
     * writers who come to it by another way are kept out.
     */
    Lock lock(boolean readOnly) throws NodeException {
        Path file = path.resolve(LOCK);
        String tried = "to lock the data directory " + path;
        boolean shared = readOnly && !Files.isWritable(path);
        if (!shared) {
            requireOwner(path, tried);
        }
        try {
            if (shared && !Files.exists(file)) {
                return new Lock(null, true);
            }
            FileChannel channel = shared
                    ? FileChannel.open(file, StandardOpenOption.READ)
                    : FileChannel.open(
                            file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
            try {
                if (channel.tryLock(0, Long.MAX_VALUE, shared) != null) {
                    if (!shared) {
                        noteHolder(channel);
                    }
                    return new Lock(channel, shared);
                }
            } catch (OverlappingFileLockException e) {
                // held by this very process: answered like any other holder
            }
            channel.close();
            throw taken(Files.readString(file).strip());
        } catch (IOException e) {
            throw Failures.of(
                    tried,
                    e,
                    "let this user write to the directory, on a disk that is not read-only; "
                            + "without that the tree can be read: btnode run --read-only");
        }
    }

    /** For messages only: a full disk must not keep a reader out. */
    private static void noteHolder(FileChannel channel) {
        String pid = ProcessHandle.current().pid() + "\n";
        try {
            channel.truncate(0);
            channel.write(ByteBuffer.wrap(pid.getBytes(StandardCharsets.US_ASCII)), 0);
        } catch (IOException e) {
            // the lock holds without it
        }
    }

    NodeException taken(String pid) {
        return new NodeException(
                ExitCode.ALREADY_RUNNING,
                "to take the data directory " + path,
                pid.isEmpty() ? "another process has it" : "process " + pid + " has it",
                "use the node that runs (btnode status --data-dir " + Shell.word(path)
                        + "), or stop it first: btnode stop --data-dir " + Shell.word(path));
    }

    /** Held by the process that uses the directory; the kernel lets it go when the process ends, however it ends. */
    static final class Lock implements AutoCloseable {
        private final @Nullable FileChannel channel;
        private final boolean shared;

        private Lock(@Nullable FileChannel channel, boolean shared) {
            this.channel = channel;
            this.shared = shared;
        }

        /** Whether others who only read may have the directory too. */
        boolean isShared() {
            return shared;
        }

        @Override
        public void close() throws NodeException {
            if (channel == null) {
                return;
            }
            try {
                channel.close();
            } catch (IOException e) {
                throw Failures.of("to give the data directory back", e, "check its disk");
            }
        }
    }
}
