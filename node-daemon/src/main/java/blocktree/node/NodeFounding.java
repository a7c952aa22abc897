package blocktree.node;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyFile;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.TreeId;
import blocktree.node.NodeSettings.NodeKeyProtection;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Makes a data directory, whole or not at all: everything is made in a folder within it and moved up at the end, {@code btnode.conf} last. The
 * data directory itself may be a mount point or belong to a service manager, so it is not replaced.
 */
final class NodeFounding {
    private static final String UNFINISHED = ".init";

    private final Path directory;
    private final NodeKeyProtection protection;
    private final @Nullable Path nodeKeyPath;
    private final @Nullable Path anchorPath;

    record Founded(TreeId tree, PrincipalId principal, Path rootKey, Path nodeKey) {
        String fingerprint() {
            return Fingerprint.of(tree);
        }
    }

    /** Paths that are null lie in the data directory. */
    NodeFounding(Path directory, NodeKeyProtection protection, @Nullable Path nodeKeyPath, @Nullable Path anchorPath) {
        this.directory = directory;
        this.protection = protection;
        this.nodeKeyPath =
                nodeKeyPath == null ? null : nodeKeyPath.toAbsolutePath().normalize();
        this.anchorPath =
                anchorPath == null ? null : anchorPath.toAbsolutePath().normalize();
    }

    private String tried() {
        return "to make a node in " + directory;
    }

    /** Fails when there is something that must not be touched; before the passphrase is asked for. */
    void check() throws NodeException {
        for (Path outside : new Path[] {nodeKeyPath, anchorPath}) {
            if (outside != null && Files.exists(outside)) {
                throw new NodeException(
                        ExitCode.BAD_CONFIGURATION,
                        tried(),
                        outside + " exists already",
                        "name a new file, or move that one away");
            }
        }
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(directory)) {
            boolean unfinished = Files.isDirectory(directory.resolve(UNFINISHED))
                    && !Files.exists(directory.resolve(NodeSettings.FILE_NAME));
            for (Path entry : entries) {
                if (!unfinished && !entry.getFileName().toString().equals("lost+found")) {
                    throw new NodeException(
                            ExitCode.BAD_CONFIGURATION,
                            tried(),
                            "the directory is not empty",
                            Files.exists(directory.resolve(NodeSettings.FILE_NAME))
                                    ? "use the node that is there: btnode run --data-dir " + directory
                                            + " --mount MOUNTPOINT; or name another directory"
                                    : "name a directory that is empty or does not exist");
                }
            }
        } catch (NoSuchFileException e) {
            // it will be made
        } catch (NotDirectoryException e) {
            throw new NodeException(ExitCode.BAD_CONFIGURATION, tried(), "a file of that name", "name a directory", e);
        } catch (IOException e) {
            throw unusable(e);
        }
    }

    /** Makes the keys, the tree and the configuration; leaves nothing behind when it fails. */
    Founded found(SecretBytes passphrase) throws NodeException {
        check();
        boolean existed = Files.exists(directory);
        List<Path> made = new ArrayList<>();
        try {
            Files.createDirectories(
                    directory, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
            Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwx------"));
            Path unfinished = directory.resolve(UNFINISHED);
            clearUnfinished(unfinished);
            Files.createDirectory(unfinished);
            made.add(unfinished);
            Founded founded = foundIn(unfinished, passphrase, made);
            moveUp(unfinished, made);
            return founded;
        } catch (IOException e) {
            remove(made, existed);
            throw unusable(e);
        } catch (NodeException | RuntimeException e) {
            remove(made, existed);
            throw e;
        }
    }

    private Founded foundIn(Path unfinished, SecretBytes passphrase, List<Path> made)
            throws NodeException, IOException {
        try (Identity root = Identity.generate();
                Identity node = Identity.generate()) {
            TreeFounding founding = TreeFounding.create(root, node, System.currentTimeMillis());
            TreeId tree = founding.tree();
            Path nodeKey = nodeKeyPath == null ? unfinished.resolve(DataDirectory.NODE_KEY) : nodeKeyPath;
            Path anchor = anchorPath == null ? unfinished.resolve(DataDirectory.ANCHOR) : anchorPath;
            KeyFile.protect(root, KeyFile.Role.ROOT, tree, passphrase)
                    .write(unfinished.resolve(DataDirectory.ROOT_KEY), false);
            made.add(nodeKey);
            (protection == NodeKeyProtection.PASSPHRASE
                            ? KeyFile.protect(node, KeyFile.Role.NODE, tree, passphrase)
                            : KeyFile.unprotected(node, KeyFile.Role.NODE, tree))
                    .write(nodeKey, false);
            made.add(anchor);
            OpenTree.create(unfinished.resolve(DataDirectory.TREE), anchor, founding, node);
            NodeSettings settings = NodeSettings.defaults(
                    protection,
                    nodeKeyPath == null ? DataDirectory.NODE_KEY : nodeKeyPath.toString(),
                    anchorPath == null ? DataDirectory.ANCHOR : anchorPath.toString());
            Files.writeString(unfinished.resolve(NodeSettings.FILE_NAME), settings.toText());
            return new Founded(
                    tree,
                    node.id(),
                    directory.resolve(DataDirectory.ROOT_KEY),
                    nodeKeyPath == null ? directory.resolve(DataDirectory.NODE_KEY) : nodeKeyPath);
        } catch (CryptoException e) {
            throw Failures.of(tried(), e);
        }
    }

    private void moveUp(Path unfinished, List<Path> made) throws IOException {
        List<Path> entries = new ArrayList<>();
        try (DirectoryStream<Path> stream = Files.newDirectoryStream(unfinished)) {
            stream.forEach(entries::add);
        }
        entries.sort(Comparator.comparing(entry -> entry.endsWith(NodeSettings.FILE_NAME)));
        for (Path entry : entries) {
            Path target = directory.resolve(entry.getFileName());
            made.add(target);
            Files.move(entry, target, StandardCopyOption.ATOMIC_MOVE);
        }
        Files.delete(unfinished);
    }

    /** What an init that was killed has left: it never told anybody that there is a tree. */
    private void clearUnfinished(Path unfinished) throws IOException {
        if (Files.isDirectory(unfinished)) {
            for (String name : List.of(
                    DataDirectory.TREE,
                    DataDirectory.ROOT_KEY,
                    DataDirectory.NODE_KEY,
                    DataDirectory.ANCHOR,
                    UNFINISHED)) {
                deleteAll(directory.resolve(name));
            }
        }
    }

    private void remove(List<Path> made, boolean keepDirectory) {
        try {
            for (Path path : made) {
                deleteAll(path);
            }
            if (!keepDirectory) {
                Files.deleteIfExists(directory);
            }
        } catch (IOException e) {
            // the first failure is the one to report
        }
    }

    private static void deleteAll(Path path) throws IOException {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        try (Stream<Path> tree = Files.walk(path)) {
            for (Path each : tree.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(each);
            }
        }
    }

    private NodeException unusable(IOException e) {
        return new NodeException(
                ExitCode.BAD_CONFIGURATION,
                tried(),
                e.toString(),
                "name a directory on a disk that this user can write to and that has room",
                e);
    }
}
