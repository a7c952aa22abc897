package blocktree.fuse;

import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.TreeFounding;
import blocktree.store.BlockStore;
import blocktree.store.CommitPort;
import blocktree.store.LogPort;
import blocktree.store.Order;
import blocktree.store.Parcel;
import blocktree.store.SealedCommit;
import blocktree.store.StoreException;
import blocktree.store.StoreOptions;
import blocktree.tree.ChangeGate;
import blocktree.tree.TreeFileSystem;
import blocktree.tree.TreeOptions;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Path;

/** Two nodes, each with a store and a tree of its own: what one commits is applied to the other's store, and its tree is told. */
final class TwoNodes implements AutoCloseable {
    /** Who changes what when is up to the test. */
    private static final ChangeGate NO_TURNS = new ChangeGate() {
        @Override
        public void enter() {}

        @Override
        public void leave() {}
    };

    private final Identity root = Identity.generate();
    private final Identity identity = Identity.generate();
    private final BlockStore[] stores = new BlockStore[2];
    private final TreeFileSystem[] trees = new TreeFileSystem[2];
    private long lastIndex; // guarded by this

    TwoNodes(Path directory) throws Exception {
        TreeFounding founding = TreeFounding.create(root, identity, System.currentTimeMillis() - 60_000);
        StoreOptions options = StoreOptions.defaults().withReserveBytes(0).withWriteBufferBytes(16 << 20);
        for (int i = 0; i < 2; i++) {
            Path own = directory.resolve("store" + i);
            BlockStore.create(own, options, founding, identity);
            stores[i] = BlockStore.open(own, options, identity);
            int writer = i;
            stores[i].orderBy(new LogPort() {
                @Override
                public Placed commit(SealedCommit commit, boolean sync) throws StoreException {
                    return order(writer, commit);
                }

                @Override
                public Placed change(byte[] change) {
                    throw new UnsupportedOperationException("commits are all that these nodes order");
                }
            });
        }
        TreeFileSystem.format(stores[0], 0, 0, 0755);
        for (int i = 0; i < 2; i++) {
            trees[i] = TreeFileSystem.open(stores[i], TreeOptions.defaults(), NO_TURNS);
        }
    }

    TreeFileSystem tree(int node) {
        return trees[node];
    }

    private synchronized CommitPort.Placed order(int writer, SealedCommit commit) throws StoreException {
        Order place = new Order(1, ++lastIndex, System.currentTimeMillis());
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        int other = 1 - writer;
        try {
            Hash hash = Parcel.write(commit, Channels.newChannel(bytes));
            stores[other]
                    .replicatedLog()
                    .apply(place, hash, Channels.newChannel(new ByteArrayInputStream(bytes.toByteArray())));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
        CommitPort.Placed placed = stores[writer].replicatedLog().apply(place, commit);
        if (trees[other] != null) {
            trees[other].changedElsewhere(commit.blockIds());
        }
        return placed;
    }

    @Override
    public void close() throws Exception {
        for (TreeFileSystem tree : trees) {
            tree.close();
        }
        for (BlockStore store : stores) {
            store.close();
        }
        root.close();
        identity.close();
    }
}
