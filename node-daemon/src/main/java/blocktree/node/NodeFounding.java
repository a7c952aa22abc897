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
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * Makes a data directory, whole or not at all: everything is made in a folder within it and moved up at the end, {@code btnode.conf} last. The
 * data directory itself may be a mount point or belong to a service manager, so it is not replaced.
 *
 * <p>What an init that was killed has left is cleared by the next one, and nothing else ever is: the folder counts as init's own when it holds
 * {@link #MARKER} and no name that init does not make there, a file above it when the marker names it and its inode.
 */
final class NodeFounding {
    private static final String UNFINISHED = ".init";
    /** The first of its folder by name, so that it is deleted last. */
    private static final String MARKER = ".made-by-btnode-init";
    /** What comes to lie in the data directory; {@code btnode.conf}, which says that all is there, last. */
    private static final List<String> MADE = List.of(
            DataDirectory.TREE,
            DataDirectory.ROOT_KEY,
            DataDirectory.NODE_KEY,
            DataDirectory.ANCHOR,
            DataDirectory.CLUSTER,
            NodeSettings.FILE_NAME);
    /** A key file that was being written. */
    private static final Pattern KEY_UNDER_WAY = Pattern.compile("\\.key\\d+\\.new");

    private static final Set<PosixFilePermission> CLOSED = PosixFilePermissions.fromString("rwx------");
    private static final Set<PosixFilePermission> OWNER_ONLY = PosixFilePermissions.fromString("rw-------");

    private final Path directory;
    private final NodeKeyProtection protection;
    private final @Nullable Path nodeKeyPath;
    private final @Nullable Path anchorPath;

    /** A data directory that is being made. */
    final class Site {
        private final Path unfinished;
        private final List<Path> made;

        private Site(Path unfinished, List<Path> made) {
            this.unfinished = unfinished;
            this.made = made;
        }

        /** Where what has that name in a data directory is put. */
        Path path(String name) {
            return unfinished.resolve(name);
        }

        /** On the disk when it returns. @param passphrase null unless the key is to be protected by it */
        void putNodeKey(Identity node, TreeId tree, @Nullable SecretBytes passphrase)
                throws IOException, CryptoException {
            Path nodeKey = nodeKeyPath == null ? path(DataDirectory.NODE_KEY) : nodeKeyPath;
            // An init of another directory may have been given the same paths: what it has made there is not this
            // one's.
            Files.createFile(nodeKey, PosixFilePermissions.asFileAttribute(OWNER_ONLY));
            made.add(nodeKey);
            (protection == NodeKeyProtection.PASSPHRASE && passphrase != null
                            ? KeyFile.protect(node, KeyFile.Role.NODE, tree, passphrase)
                            : KeyFile.unprotected(node, KeyFile.Role.NODE, tree))
                    .write(nodeKey, true);
        }

        /** For the store to write. */
        Path newAnchor() throws IOException {
            Path anchor = anchorPath == null ? path(DataDirectory.ANCHOR) : anchorPath;
            if (Files.exists(anchor, LinkOption.NOFOLLOW_LINKS)) {
                throw new FileAlreadyExistsException(anchor.toString());
            }
            made.add(anchor);
            return anchor;
        }
    }

    /** Makes all but the configuration. */
    interface Work {
        Founded in(Site site) throws NodeException, IOException, CryptoException;
    }

    record Founded(TreeId tree, PrincipalId principal, Path rootKey, Path nodeKey) {
        String fingerprint() {
            return Fingerprint.of(tree);
        }
    }

    /** Paths that are null lie in the data directory. */
    NodeFounding(Path directory, NodeKeyProtection protection, @Nullable Path nodeKeyPath, @Nullable Path anchorPath) {
        this.directory = directory;
        this.protection = protection;
        this.nodeKeyPath = outside(nodeKeyPath, DataDirectory.NODE_KEY);
        this.anchorPath = outside(anchorPath, DataDirectory.ANCHOR);
    }

    private @Nullable Path outside(@Nullable Path given, String usualName) {
        Path path = given == null ? null : given.toAbsolutePath().normalize();
        return directory.resolve(usualName).equals(path) ? null : path;
    }

    private String tried() {
        return "to make a node in " + directory;
    }

    /** Fails when there is something that must not be touched; before the passphrase is asked for. */
    void check() throws NodeException {
        DataDirectory.requireOwner(directory, tried());
        try {
            if (FoundingLock.isThere(directory)) {
                FoundingLock.take(directory, tried()).close();
            }
        } catch (IOException e) {
            throw unusable(e);
        }
        check(null);
    }

    /** @param held null when there may be other inits at work */
    private void check(@Nullable FoundingLock held) throws NodeException {
        checkPath("--node-key-path", nodeKeyPath);
        checkPath("--anchor-path", anchorPath);
        if (nodeKeyPath != null && anchorPath != null && resolved(nodeKeyPath).equals(resolved(anchorPath))) {
            throw wrongPath("--anchor-path", anchorPath, "is the node key's path too");
        }
        try {
            Set<Path> leftovers = new HashSet<>(leftovers());
            for (Path entry : list(directory)) {
                if (!leftovers.contains(entry)
                        && !entry.endsWith("lost+found")
                        && (held == null || !held.isFile(entry))) {
                    if (held == null && FoundingLock.isThere(directory)) {
                        throw FoundingLock.taken(tried()); // it has begun since
                    }
                    throw new NodeException(
                            ExitCode.BAD_CONFIGURATION,
                            tried(),
                            "the directory is not empty: it holds " + entry.getFileName(),
                            Files.exists(directory.resolve(NodeSettings.FILE_NAME))
                                    ? "use the node that is there: btnode run --data-dir "
                                            + Shell.word(directory)
                                            + " --mount MOUNTPOINT; or name another directory"
                                    : "name a directory that is empty or does not exist");
                }
            }
        } catch (NoSuchFileException e) {
            // it will be made
        } catch (NotDirectoryException e) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    tried(),
                    "a file in its place, or on the way to it",
                    "name a directory",
                    e);
        } catch (IOException e) {
            throw unusable(e);
        }
    }

    /** btnode.conf must be able to name it, and nothing else that a node has may be there. */
    private void checkPath(String option, @Nullable Path path) throws NodeException {
        if (path == null) {
            return;
        }
        String text = path.toString();
        if (!text.strip().equals(text) || text.chars().anyMatch(Character::isISOControl)) {
            throw wrongPath(option, path, "begins or ends with a blank, or holds a line break or the like");
        }
        Path real = resolved(path);
        Path data = resolved(directory);
        if (data.startsWith(real)
                || real.startsWith(data)
                        && DataDirectory.NAMES.contains(
                                data.relativize(real).getName(0).toString())
                || real.startsWith(data.resolve(UNFINISHED))) {
            throw wrongPath(option, path, "is the place of something else of the node");
        }
        if (Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    tried(),
                    path + " exists already",
                    "name a new file, or move that one away");
        }
    }

    private NodeException wrongPath(String option, Path path, String what) {
        return new NodeException(
                ExitCode.USAGE,
                tried(),
                option + " " + Json.of(path) + " " + what,
                "name another file, best outside of the data directory");
    }

    /** With the links followed of as much of it as there is. */
    private static Path resolved(Path path) {
        for (Path there = path; there != null; there = there.getParent()) {
            try {
                return there.toRealPath().resolve(there.relativize(path)).normalize();
            } catch (IOException e) {
                // not there, or closed to this user: the directory above it says more
            }
        }
        return path;
    }

    /** What an init that was killed has left here, in the order in which it may be deleted; it never told anybody that there is a tree. */
    private List<Path> leftovers() throws IOException {
        Path unfinished = directory.resolve(UNFINISHED);
        if (!Files.isDirectory(unfinished, LinkOption.NOFOLLOW_LINKS)
                || Files.exists(directory.resolve(NodeSettings.FILE_NAME), LinkOption.NOFOLLOW_LINKS)) {
            return List.of();
        }
        List<Path> content = list(unfinished);
        Path marker = unfinished.resolve(MARKER);
        for (Path entry : content) {
            String name = entry.getFileName().toString();
            if (!entry.equals(marker)
                    && !MADE.contains(name)
                    && !KEY_UNDER_WAY.matcher(name).matches()) {
                return List.of();
            }
        }
        List<Path> ours = new ArrayList<>();
        if (Files.isRegularFile(marker, LinkOption.NOFOLLOW_LINKS)) {
            List<String> moved = Files.readAllLines(marker);
            for (String name : MADE) {
                Path above = directory.resolve(name);
                if (Files.exists(above, LinkOption.NOFOLLOW_LINKS) && moved.contains(markerLine(name, above))) {
                    ours.add(above);
                }
            }
        } else if (!content.isEmpty()) {
            return List.of();
        }
        ours.add(unfinished);
        return ours;
    }

    private static String markerLine(String name, Path file) throws IOException {
        return name + " " + Files.getAttribute(file, "unix:ino", LinkOption.NOFOLLOW_LINKS);
    }

    /** Makes the node key, the tree of {@code root} and the configuration; leaves nothing behind when it fails. */
    Founded found(Identity root, SecretBytes passphrase) throws NodeException {
        return make(site -> {
            try (Identity node = Identity.generate()) {
                TreeFounding founding = TreeFounding.create(root, node, System.currentTimeMillis());
                KeyFile.protect(root, KeyFile.Role.ROOT, founding.tree(), passphrase)
                        .write(site.path(DataDirectory.ROOT_KEY), false);
                site.putNodeKey(node, founding.tree(), passphrase);
                OpenTree.create(site.path(DataDirectory.TREE), site.newAnchor(), founding, node);
                return founded(founding.tree(), node.id());
            }
        });
    }

    Founded founded(TreeId tree, PrincipalId node) {
        return new Founded(
                tree,
                node,
                directory.resolve(DataDirectory.ROOT_KEY),
                nodeKeyPath == null ? directory.resolve(DataDirectory.NODE_KEY) : nodeKeyPath);
    }

    /** Has {@code work} make a data directory; leaves nothing behind when it fails. */
    Founded make(Work work) throws NodeException {
        check();
        List<Path> directoriesMade = absent(directory);
        if (anchorPath != null) {
            directoriesMade.addAll(absent(anchorPath.getParent()));
        }
        boolean done = false;
        try {
            Files.createDirectories(directory, PosixFilePermissions.asFileAttribute(CLOSED));
            Files.setPosixFilePermissions(directory, CLOSED);
            try (FoundingLock lock = FoundingLock.take(directory, tried())) {
                check(lock); // once more: another init may have come first
                Founded founded = makeAlone(work);
                done = true;
                return founded;
            }
        } catch (IOException e) {
            throw unusable(e);
        } finally {
            if (!done) {
                removeEmpty(directoriesMade);
            }
        }
    }

    private Founded makeAlone(Work work) throws NodeException, IOException {
        List<Path> made = new ArrayList<>();
        boolean done = false;
        try {
            for (Path leftover : leftovers()) {
                deleteAll(leftover);
            }
            Path unfinished = directory.resolve(UNFINISHED);
            Files.createDirectory(unfinished);
            made.add(unfinished);
            Files.createFile(unfinished.resolve(MARKER));
            Founded founded = work.in(new Site(unfinished, made));
            NodeSettings settings = new NodeSettings(
                    protection,
                    nodeKeyPath == null ? DataDirectory.NODE_KEY : nodeKeyPath.toString(),
                    anchorPath == null ? DataDirectory.ANCHOR : anchorPath.toString());
            Files.writeString(unfinished.resolve(NodeSettings.FILE_NAME), settings.toText());
            moveUp(unfinished, made);
            done = true;
            return founded;
        } catch (CryptoException e) {
            throw Failures.of(tried(), e);
        } finally {
            if (!done) {
                remove(made);
            }
        }
    }

    /** The directory and those above it that do not exist, the innermost first. */
    private static List<Path> absent(@Nullable Path directory) {
        List<Path> absent = new ArrayList<>();
        for (Path at = directory; at != null && !Files.exists(at, LinkOption.NOFOLLOW_LINKS); at = at.getParent()) {
            absent.add(at);
        }
        return absent;
    }

    private void moveUp(Path unfinished, List<Path> made) throws IOException {
        StringBuilder marker = new StringBuilder();
        for (String name : MADE) {
            Path file = unfinished.resolve(name);
            if (Files.exists(file)) {
                marker.append(markerLine(name, file)).append('\n');
            }
        }
        Files.writeString(unfinished.resolve(MARKER), marker);
        for (String name : MADE) {
            Path file = unfinished.resolve(name);
            if (Files.exists(file)) {
                Path target = directory.resolve(name);
                made.add(target);
                Files.move(file, target, StandardCopyOption.ATOMIC_MOVE);
            }
        }
        deleteAll(unfinished);
    }

    private static void remove(List<Path> made) {
        try {
            for (Path path : made) {
                deleteAll(path);
            }
        } catch (IOException e) {
            // the first failure is the one to report
        }
    }

    private static void removeEmpty(List<Path> directories) {
        try {
            for (Path path : directories) {
                Files.deleteIfExists(path);
            }
        } catch (IOException e) {
            // another init uses it, or the first failure is the one to report
        }
    }

    private static List<Path> list(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.toList();
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
                Failures.reason(e),
                "name a directory on a disk that this user can write to and that has room",
                e);
    }
}
