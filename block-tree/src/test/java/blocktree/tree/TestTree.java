package blocktree.tree;

import blocktree.crypto.Identity;
import blocktree.crypto.TreeFounding;
import blocktree.store.BlockStore;
import blocktree.store.StoreOptions;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.stream.Stream;

/** A real store with a tree in it, in a directory of a test. */
final class TestTree implements AutoCloseable {
    final Path directory;
    final Identity node;
    StoreOptions storeOptions = StoreOptions.defaults().withReserveBytes(0).withWriteBufferBytes(16 << 20);
    TreeOptions options = TreeOptions.defaults();
    BlockStore store;
    TreeFileSystem fs;

    TestTree(Path parent) throws Exception {
        directory = Files.createTempDirectory(parent, "store");
        node = Identity.generate();
        try (Identity root = Identity.generate()) {
            BlockStore.create(directory.resolve("a"), storeOptions, TreeFounding.create(root, node, System.currentTimeMillis()), node);
        }
        store = BlockStore.open(directory.resolve("a"), storeOptions, node);
        TreeFileSystem.format(store, 0, 0, 0755);
        fs = TreeFileSystem.open(store, options);
    }

    void reopen() throws Exception {
        fs.close();
        store.close();
        store = BlockStore.open(directory.resolve("a"), storeOptions, node);
        fs = TreeFileSystem.open(store, options);
    }

    /** What a kill leaves: the tree's memory is lost, the store keeps what was committed. */
    void crash() throws Exception {
        fs.abandon();
        store.close();
        store = BlockStore.open(directory.resolve("a"), storeOptions, node);
        fs = TreeFileSystem.open(store, options);
    }

    /** Another tree over a copy of the store's files as they are now, with this one still running. */
    TreeFileSystem openCopy(String name) throws Exception {
        Path copy = directory.resolve(name);
        copyWhileItChanges(directory.resolve("a"), copy);
        copied = BlockStore.open(copy, storeOptions, node);
        return TreeFileSystem.open(copied, options);
    }

    @org.jspecify.annotations.Nullable BlockStore copied;

    private static void copyWhileItChanges(Path from, Path to) throws IOException {
        try (Stream<Path> files = Files.walk(from)) {
            for (Path file : (Iterable<Path>) files::iterator) {
                Path target = to.resolve(from.relativize(file));
                try {
                    if (Files.isDirectory(file)) {
                        Files.createDirectories(target);
                    } else if (!file.getFileName().toString().equals("LOCK")) {
                        Files.copy(file, target);
                    }
                } catch (NoSuchFileException e) {
                    // Deleted by a compaction meanwhile.
                } catch (FileSystemException e) {
                    throw e;
                }
            }
        }
    }

    @Override
    public void close() throws Exception {
        fs.close();
        store.close();
        if (copied != null) {
            copied.close();
        }
        node.close();
    }
}
