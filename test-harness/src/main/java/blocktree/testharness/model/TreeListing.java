package blocktree.testharness.model;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import blocktree.testharness.posix.FileStatus;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A whole tree as text, one line for each entry: status, extended attributes, symlink target, hash of the content. Two trees are the same when
 * their listings are. Files are the same inode on both sides when they share the same {@code first name}.
 */
public final class TreeListing {
    private static final int READ_SIZE_BYTES = 1 << 17;

    private TreeListing() {}

    /** Lines by path relative to {@code root}; the root itself is "". */
    public static SortedMap<String, String> of(String root) throws PosixException {
        SortedMap<String, String> lines = new TreeMap<>();
        add(root, "", lines, new TreeMap<>());
        return lines;
    }

    /** The first differences in words, or an empty text when there are none. */
    public static String difference(String rootA, String rootB) throws PosixException {
        SortedMap<String, String> a = of(rootA);
        SortedMap<String, String> b = of(rootB);
        StringBuilder text = new StringBuilder();
        TreeMap<String, String> all = new TreeMap<>(a);
        all.putAll(b);
        int count = 0;
        for (String path : all.keySet()) {
            String lineA = a.getOrDefault(path, "absent");
            String lineB = b.getOrDefault(path, "absent");
            if (!lineA.equals(lineB) && ++count <= 10) {
                text.append(String.format("%n/%s%n  %s%n  %s", Posix.printable(path), lineA, lineB));
            }
        }
        return count > 10
                ? text.append(String.format("%n… %d entries differ", count)).toString()
                : text.toString();
    }

    private static void add(String root, String path, Map<String, String> lines, Map<Long, String> firstNames)
            throws PosixException {
        String absolute = path.isEmpty() ? root : root + "/" + path;
        FileStatus status = Posix.lstat(absolute);
        StringBuilder line = new StringBuilder(Descriptions.of(status));
        if (!status.isDirectory() && status.linkCount() > 1) {
            String first = firstNames.putIfAbsent(status.inode(), path);
            line.append(first == null ? "" : " same as " + Posix.printable(first));
        }
        for (String name : Posix.listExtendedAttributes(absolute)) {
            byte[] value = Posix.getExtendedAttribute(absolute, name, 65536);
            line.append(' ')
                    .append(Posix.printable(name))
                    .append('=')
                    .append(HexFormat.of().formatHex(value));
        }
        if (status.isSymlink()) {
            line.append(" -> ").append(Posix.printable(Posix.readlink(absolute)));
        } else if (status.isRegular()) {
            line.append(' ').append(hash(absolute));
        }
        lines.put(path, line.toString());
        if (status.isDirectory()) {
            for (String name : Posix.list(absolute).keySet()) {
                add(root, path.isEmpty() ? name : path + "/" + name, lines, firstNames);
            }
        }
    }

    private static String hash(String path) throws PosixException {
        MessageDigest digest;
        try {
            digest = MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
        int fd = Posix.open(path, Posix.O_RDONLY);
        try {
            byte[] piece = Posix.read(fd, READ_SIZE_BYTES);
            while (piece.length > 0) {
                digest.update(piece);
                piece = Posix.read(fd, READ_SIZE_BYTES);
            }
        } finally {
            Posix.close(fd);
        }
        return HexFormat.of().formatHex(digest.digest(), 0, 12);
    }

    /** Paths of a tree and whether each is a directory, without reading any file. */
    static SortedMap<String, Boolean> paths(String root) throws PosixException {
        SortedMap<String, Boolean> paths = new TreeMap<>();
        addPaths(root, "", paths);
        return paths;
    }

    private static void addPaths(String root, String directory, Map<String, Boolean> paths) throws PosixException {
        for (Map.Entry<String, Integer> entry :
                Posix.list(root + "/" + directory).entrySet()) {
            String path = directory.isEmpty() ? entry.getKey() : directory + "/" + entry.getKey();
            boolean isDirectory = entry.getValue() == 4; // DT_DIR
            paths.put(path, isDirectory);
            if (isDirectory) {
                addPaths(root, path, paths);
            }
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(ISO_8859_1);
    }
}
