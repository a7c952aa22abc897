package blocktree.tree;

import blocktree.crypto.Identity;
import blocktree.crypto.TreeFounding;
import blocktree.store.BlockStore;
import blocktree.store.StoreOptions;
import java.nio.file.Files;
import java.nio.file.Path;

/** A real store with a tree in it, in a directory of a test. */
final class TestTree implements AutoCloseable {
    final Path directory;
    final Identity root = Identity.generate();
    final Identity node = Identity.generate();
    StoreOptions storeOptions = StoreOptions.defaults().withReserveBytes(0).withWriteBufferBytes(16 << 20);
    TreeOptions options = TreeOptions.defaults();
    BlockStore store;
    TreeFileSystem fs;

    TestTree(Path parent) throws Exception {
        directory = Files.createTempDirectory(parent, "store");
        BlockStore.create(
                directory.resolve("a"),
                storeOptions,
                TreeFounding.create(root, node, System.currentTimeMillis()),
                node);
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

    @Override
    public void close() throws Exception {
        fs.close();
        store.close();
        root.close();
        node.close();
    }
}
