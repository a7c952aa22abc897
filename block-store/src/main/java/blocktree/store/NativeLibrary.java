package blocktree.store;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksDB;
import org.rocksdb.util.Environment;

/**
 * Unpacks RocksDB's native library once into a known directory. Its own loader unpacks 17 MB into the temp directory for each process,
 * and leaves it there when the process is killed.
 */
final class NativeLibrary {

    private static boolean loaded; // guarded by the class

    private NativeLibrary() {}

    static synchronized void load(@Nullable Path configuredDir, Path storeDir) throws StoreException {
        if (loaded) {
            return;
        }
        String name = Environment.getJniLibraryFileName("rocksdb");
        try {
            Path unpacked = unpack(name, configuredDir == null ? cacheDir(storeDir) : configuredDir);
            RocksDB.loadLibrary(List.of(unpacked.toString()));
            loaded = true;
        } catch (IOException | UnsatisfiedLinkError e) {
            throw new StoreException(
                    StoreException.Code.IO,
                    "cannot unpack RocksDB's native library " + name + ": " + e.getMessage(),
                    e);
        }
    }

    /** Never the temp directory: another user could put a library of his own there first. */
    private static Path cacheDir(Path storeDir) {
        String configured = System.getenv("XDG_CACHE_HOME");
        Path cache = configured != null && configured.startsWith("/")
                ? Path.of(configured)
                : Path.of(System.getProperty("user.home", "/nonexistent"), ".cache");
        Path dir = cache.resolve("blocktree");
        try {
            Files.createDirectories(dir);
            return Files.isWritable(dir) ? dir : storeDir;
        } catch (IOException e) {
            return storeDir;
        }
    }

    /** The directory that holds the library. */
    private static Path unpack(String name, Path dir) throws IOException {
        var resource = RocksDB.class.getClassLoader().getResource(name);
        if (resource == null) {
            throw new IOException("rocksdbjni has none for this platform");
        }
        var connection = resource.openConnection();
        connection.setUseCaches(false);
        long size = connection.getContentLengthLong();
        try (InputStream in = connection.getInputStream()) {
            Path parent = dir.resolve("rocksdb-" + Long.toHexString(size));
            // The name under which RocksDB.loadLibrary(paths) looks for it.
            Path library = parent.resolve(Environment.getJniLibraryFileName("rocksdbjni"));
            if (Files.isRegularFile(library) && Files.size(library) == size) {
                return parent;
            }
            Files.createDirectories(parent);
            Path partial = Files.createTempFile(
                    parent,
                    "unpack",
                    ".so",
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
            try {
                Files.copy(in, partial, StandardCopyOption.REPLACE_EXISTING);
                Files.move(partial, library, StandardCopyOption.ATOMIC_MOVE);
            } finally {
                Files.deleteIfExists(partial);
            }
            return parent;
        }
    }
}
