package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Hash;
import java.io.IOException;
import java.nio.channels.ReadableByteChannel;
import java.util.Collection;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The log of a store that a cluster orders: what all nodes of it have put in one order is applied here, by one caller, in that order.
 * Nothing in it depends on this node: all come to the same log, its refusals included. What is applied is on the device only after {@link #sync}: what
 * a crash takes is for the caller to apply again, from {@link #applied} on.
 */
public final class ReplicatedLog {

    private final BlockStore store;
    private final Slabs slabs;
    private volatile Consumer<Collection<BlockId>> changes = blocks -> {};

    ReplicatedLog(BlockStore store, Slabs slabs) {
        this.store = store;
        this.slabs = slabs;
    }

    /** The newest that was applied, with time 0; null before anything was. */
    public @Nullable Order applied() throws StoreException {
        try (Gate.Pass pass = store.gate().enter()) {
            return store.ledger().applied();
        }
    }

    /**
     * Verifies and applies a commit.
     *
     * @throws StoreException what {@link StoreException#isRefusal} is true of: the tree does not take it, here and on all nodes; that counts as applied. Anything else: it was
     *     not applied, and this node cannot go on before it is
     */
    public CommitPort.Placed apply(Order order, SealedCommit commit) throws StoreException {
        try (Gate.Pass pass = store.gate().enter()) {
            return store.ledger().apply(order, commit);
        }
    }

    /**
     * As {@link #apply(Order, SealedCommit)}, of the {@link Parcel} that {@code hash} names, read to its end. CORRUPT when it is not what
     * {@code parcel} gives: others may have it.
     */
    public CommitPort.Placed apply(Order order, Hash hash, ReadableByteChannel parcel)
            throws StoreException, IOException {
        Slabs.Lease memory = slabs.lease();
        try (Gate.Pass pass = store.gate().enter()) {
            SealedCommit commit;
            try {
                commit = Parcel.read(parcel, hash, memory);
            } catch (StoreException e) {
                throw store.ledger().refused(order, e);
            }
            CommitPort.Placed placed = store.ledger().apply(order, commit);
            changes.accept(commit.blockIds());
            return placed;
        } finally {
            memory.close();
        }
    }

    /**
     * Has {@code listener} told, by the caller of {@link #apply(Order, Hash, ReadableByteChannel)} and before that returns, which blocks a commit has changed that was
     * applied: what was not sealed by this store, or before it was opened.
     */
    public void onChanges(Consumer<Collection<BlockId>> listener) {
        changes = listener;
    }

    /**
     * As {@link #apply(Order, Hash, ReadableByteChannel)}, of a change as {@link LogPort#change} was given it: records of authority, of which all come into force or
     * none, or a snapshot. Where the last of its entries came to lie.
     */
    public CommitPort.Placed applyChange(Order order, Hash hash, ReadableByteChannel bytes)
            throws StoreException, IOException {
        try (Gate.Pass pass = store.gate().enter()) {
            OrderedChange change;
            try {
                change = OrderedChange.read(bytes, hash);
            } catch (StoreException e) {
                throw store.ledger().refused(order, e);
            }
            byte[] snapshot = change.snapshot();
            return snapshot == null
                    ? store.ledger().applyAuthority(order, change.records(), change.after())
                    : store.upkeep().applySnapshot(order, snapshot);
        }
    }

    /** Nothing for the log was at this place of the order. */
    public void pass(Order order) throws StoreException {
        try (Gate.Pass pass = store.gate().enter()) {
            store.ledger().pass(order);
        }
    }

    /** The hash of the log up to {@code position}, by which two nodes find that they have the same; null when this one does not reach so far. */
    public @Nullable Hash hashAt(long position) throws StoreException {
        try (Gate.Pass pass = store.gate().enter()) {
            return position > store.headPosition()
                    ? null
                    : store.ledger().entry(position).hash();
        }
    }

    /** Everything applied before the call is on the device when it returns. */
    public void sync() throws StoreException {
        try (Gate.Pass pass = store.gate().enter()) {
            store.ledger().sync();
        }
    }
}
