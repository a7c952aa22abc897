package blocktree.tree;

import blocktree.crypto.BlockId;
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
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Two nodes, each with a store and a tree of its own: what one commits is applied to both stores in one order, and the other tree is told. */
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
    private long lastIndex; // guarded by this

    final Node a;
    final Node b;

    final class Node {
        final BlockStore store;
        private final TreeOptions options;
        private @Nullable TreeFileSystem fs;
        /** Of the other node's commits that this one was not told of; null: it is told at once. Guarded by the nodes. */
        private @Nullable List<BlockId> untold;

        private volatile Runnable whenApplied = () -> {};

        private Node(Path directory, TreeFounding founding, TreeOptions options) throws Exception {
            StoreOptions storeOptions =
                    StoreOptions.defaults().withReserveBytes(0).withWriteBufferBytes(16 << 20);
            BlockStore.create(directory, storeOptions, founding, identity);
            store = BlockStore.open(directory, storeOptions, identity);
            store.orderBy(new LogPort() {
                @Override
                public Placed commit(SealedCommit commit, boolean sync) throws StoreException {
                    Placed placed = order(Node.this, commit);
                    whenApplied.run();
                    return placed;
                }

                @Override
                public Placed change(byte[] change) {
                    throw new UnsupportedOperationException("commits are all that these nodes order");
                }
            });
            this.options = options;
        }

        void open(ChangeGate gate) throws FileSystemException {
            fs = TreeFileSystem.open(store, options, gate);
        }

        TreeFileSystem fs() {
            return Objects.requireNonNull(fs);
        }

        /** What is done from now on when a commit of this node is in both stores, and its own tree does not know yet. */
        void whenApplied(Runnable action) {
            whenApplied = action;
        }

        /** From now on the other's commits are applied, but this one is not told of them. */
        void deafen() {
            synchronized (TwoNodes.this) {
                untold = new ArrayList<>();
            }
        }

        /** Tells it of all that it was not told. */
        void hear() {
            synchronized (TwoNodes.this) {
                fs().changedElsewhere(Objects.requireNonNull(untold));
                untold = null;
            }
        }

        private void told(List<BlockId> blocks) {
            if (untold != null) {
                untold.addAll(blocks);
            } else if (fs != null) {
                fs.changedElsewhere(blocks);
            }
        }
    }

    TwoNodes(Path directory, TreeOptions options) throws Exception {
        TreeFounding founding = TreeFounding.create(root, identity, System.currentTimeMillis() - 60_000);
        a = new Node(directory.resolve("a"), founding, options);
        b = new Node(directory.resolve("b"), founding, options);
        TreeFileSystem.format(a.store, 0, 0, 0755);
    }

    static TwoNodes open(Path directory, TreeOptions options) throws Exception {
        TwoNodes nodes = new TwoNodes(directory, options);
        nodes.a.open(NO_TURNS);
        nodes.b.open(NO_TURNS);
        return nodes;
    }

    private synchronized CommitPort.Placed order(Node writer, SealedCommit commit) throws StoreException {
        Order place = new Order(1, ++lastIndex, System.currentTimeMillis());
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        Node other = writer == a ? b : a;
        try {
            Hash hash = Parcel.write(commit, Channels.newChannel(bytes));
            other.store
                    .replicatedLog()
                    .apply(place, hash, Channels.newChannel(new ByteArrayInputStream(bytes.toByteArray())));
            other.told(commit.blockIds());
        } catch (StoreException e) {
            if (!e.isRefusal()) {
                throw e;
            }
        } catch (IOException e) {
            throw new AssertionError(e);
        }
        return writer.store.replicatedLog().apply(place, commit);
    }

    /** Lets one node at a time change the tree: which is the last that wanted to. */
    final class Lease {
        private Node holder = a; // guarded by this
        private int insideCount; // guarded by this
        private boolean moving; // guarded by this

        ChangeGate gate(Node node) {
            return new ChangeGate() {
                @Override
                public void enter() throws FileSystemException {
                    Lease.this.enter(node);
                }

                @Override
                public void leave() {
                    Lease.this.leave();
                }
            };
        }

        private void enter(Node node) throws FileSystemException {
            Node before;
            synchronized (this) {
                awaitWhile(false);
                if (holder == node) {
                    insideCount++;
                    return;
                }
                moving = true;
                awaitWhile(true);
                before = holder;
            }
            try {
                before.fs().settle();
            } finally {
                synchronized (this) {
                    moving = false;
                    holder = node;
                    insideCount++;
                    notifyAll();
                }
            }
        }

        /** Until nobody is inside, or nobody moves it. */
        private void awaitWhile(boolean inside) {
            try {
                while (inside ? insideCount > 0 : moving) {
                    wait();
                }
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
        }

        private synchronized void leave() {
            insideCount--;
            notifyAll();
        }
    }

    @Override
    public void close() throws Exception {
        a.fs().close();
        b.fs().close();
        a.store.close();
        b.store.close();
        root.close();
        identity.close();
    }
}
