package blocktree.store;

import blocktree.crypto.Identity;
import blocktree.crypto.TreeFounding;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/** A tree of its own in a directory, with the keys to it: opens and reopens the store. */
final class TestTree implements AutoCloseable {

    static final int SECTOR_LOG2 = 12;
    static final int SECTOR_SIZE = 1 << SECTOR_LOG2;

    final Path dir;
    final Identity root = Identity.generate();
    final Identity node = Identity.generate();
    final TreeFounding founding = TreeFounding.create(root, node, System.currentTimeMillis() - 60_000);
    StoreOptions options;
    BlockStore store;

    TestTree(Path dir) throws StoreException {
        this(dir, options());
    }

    TestTree(Path dir, StoreOptions options) throws StoreException {
        this.dir = dir.resolve("store");
        this.options = options;
        BlockStore.create(this.dir, options, founding, node);
        store = BlockStore.open(this.dir, options, node);
    }

    /** Nothing happens by the clock: checkpoints only when asked for. */
    static StoreOptions options() {
        return StoreOptions.defaults()
                .withReserveBytes(0)
                .withWriteBufferBytes(16 << 20)
                .withCaches(8 << 20, 1 << 20, 1 << 20, 1024)
                .withCheckpoints(3_600_000, 1 << 20);
    }

    BlockStore reopen() throws StoreException {
        store.close();
        return open();
    }

    BlockStore open() throws StoreException {
        store = BlockStore.open(dir, options, node);
        return store;
    }

    /** A block with one sector of each of {@code fills}; 0 makes a hole. */
    OpenBlock create(String attributes, int... fills) throws StoreException {
        try (Commit commit = store.newCommit()) {
            NewBlock block = store.newBlock(store.rootDomain());
            BlockEdit edit = commit.create(block, SECTOR_LOG2).attributes(bytes(attributes));
            for (int i = 0; i < fills.length; i++) {
                if (fills[i] != 0) {
                    edit.putSector(i, sector(fills[i]), 0);
                }
            }
            return store.commit(commit, false).block(block.id());
        }
    }

    OpenBlock put(OpenBlock base, long index, int fill) throws StoreException {
        try (Commit commit = store.newCommit()) {
            commit.edit(base).putSector(index, sector(fill), 0);
            return store.commit(commit, false).block(base.id());
        }
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Sector content that differs for each {@code fill}. */
    static byte[] sector(int fill) {
        byte[] sector = new byte[SECTOR_SIZE];
        new Random(fill).nextBytes(sector);
        return sector;
    }

    /** A sector's content; null for a hole. */
    static byte @Nullable [] read(OpenBlock block, long index) throws StoreException {
        byte[] sector = new byte[block.sectorSize()];
        return block.readSector(index, sector) ? sector : null;
    }

    @Override
    public void close() throws StoreException {
        store.close();
        root.close();
        node.close();
    }
}
