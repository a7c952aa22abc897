package blocktree.store;

import blocktree.crypto.Hash;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.channels.Channels;

/** A cluster of one node: what its store brings is put in order and applied to it at once. */
final class OneNodeOrder implements LogPort {

    private final ReplicatedLog log;
    private long index;

    private OneNodeOrder(ReplicatedLog log) throws StoreException {
        this.log = log;
        Order applied = log.applied();
        this.index = applied == null ? 0 : applied.index();
    }

    static void of(BlockStore store) throws StoreException {
        store.orderBy(new OneNodeOrder(store.replicatedLog()));
    }

    private Order next() {
        return new Order(1, ++index, System.currentTimeMillis());
    }

    @Override
    public synchronized Placed commit(SealedCommit commit, boolean sync) throws StoreException {
        return log.apply(next(), commit);
    }

    @Override
    public synchronized Placed change(byte[] change) throws StoreException {
        try {
            return log.applyChange(
                    next(),
                    Hash.of(Parcel.digest().digest(change)),
                    Channels.newChannel(new ByteArrayInputStream(change)));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }
}
