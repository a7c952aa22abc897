package blocktree.store;

import java.io.IOException;
import java.nio.channels.Channel;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.rocksdb.CompactRangeOptions;
import org.rocksdb.RocksDBException;
import org.rocksdb.WriteBatch;

/** What a store does besides reading and writing: snapshots, collection, scrub, fsck and transfers to others. Thread-safe. */
final class Upkeep implements AutoCloseable, Collector.Surroundings {

    /** How much of the device's space deleted sectors may keep. */
    private static final double DEAD_PART_MAX = 0.5;

    private static final double DEAD_PART_MAX_WHEN_LOW = 0.125;

    /** Space is low when less than this many times the reserve is free. */
    private static final int LOW_SPACE_RESERVES = 4;

    private final BlockStore store;
    private final Ledger ledger;
    private final Snapshots snapshots;
    private final Collector collector;
    private final Scrub scrub;
    private final Set<Pace> checks = ConcurrentHashMap.newKeySet(); // of the runs of fsck under way
    private final Set<Channel> channels = ConcurrentHashMap.newKeySet(); // of transfers under way
    private volatile boolean closed;

    Upkeep(BlockStore store, Snapshots snapshots, Retention retention) {
        this.store = store;
        this.ledger = store.ledger();
        this.snapshots = snapshots;
        this.scrub = new Scrub(store);
        Rocks rocks = ledger.rocks();
        Collector.Families families = new Collector.Families(
                rocks.family(Column.HEADERS),
                rocks.family(Column.SECTORS),
                rocks.family(Column.STREAMS),
                rocks.family(Column.NODES),
                rocks.family(Column.STATE),
                rocks.family(Column.GARBAGE));
        this.collector =
                new Collector(rocks.db(), families, store.openGenerations(), retention, this, Collector.Timing.DEFAULT);
    }

    /** Begins the background work. Nothing may have been committed since the store was opened. */
    void start() throws StoreException {
        discardLost();
        collector.start();
    }

    /**
     * After an accepted loss the log goes on at positions that it had before. What lost commits and checkpoints had noted under them
     * must not be taken for what comes now.
     */
    private void discardLost() throws StoreException {
        Rocks rocks = ledger.rocks();
        long head = ledger.headPosition();
        rocks.scan(Column.GARBAGE, Keys.u64(head + 1), null, (key, value) -> {
            rocks.delete(Column.GARBAGE, key);
            return true;
        });
        if (ledger.options().acceptLoss()) {
            rocks.scan(Column.STATE, new byte[0], null, (key, value) -> {
                if (key.length > Long.BYTES && ~Keys.getU64(key, key.length - Long.BYTES) > head) {
                    rocks.delete(Column.STATE, key);
                }
                return true;
            });
        }
    }

    Snapshots snapshots() {
        return snapshots;
    }

    Collector collector() {
        return collector;
    }

    Scrub scrub() {
        return scrub;
    }

    /** {@code cluster} orders the log; null on a lone node. */
    void deleteSnapshot(byte[] name, @Nullable LogPort cluster) throws StoreException {
        snapshots.delete(name, cluster);
        collector.released();
    }

    /** As {@link ReplicatedLog#applyChange}, of a snapshot. */
    CommitPort.Placed applySnapshot(Order order, byte[] signed) throws StoreException {
        Snapshots.Applied applied = snapshots.apply(order, signed);
        if (applied.ended()) {
            collector.released();
        }
        return applied.placed();
    }

    StatePin pin() throws StoreException {
        return snapshots.pin(this);
    }

    void unpin(StatePin pin) {
        if (snapshots.unpin(pin)) {
            collector.released();
        }
    }

    FsckReport fsck(FsckOptions options, Consumer<Finding> findings) throws StoreException {
        if (options.repair()) {
            ledger.checkWritable();
        }
        Pace pace = new Pace(options.bytesPerSecond());
        checks.add(pace);
        try (StoreView view = ledger.openView()) {
            if (closed) {
                throw new StoreException(StoreException.Code.CLOSED, "the store is closed");
            }
            return new Fsck(
                            ledger.rocks(),
                            view,
                            ledger.tree(),
                            store.keys(),
                            store.cipher(),
                            ledger.nodes(),
                            options,
                            findings,
                            pace)
                    .run();
        } finally {
            checks.remove(pace);
        }
    }

    /** From now on these are closed when the store is, so that it need not wait for who is at their other ends. */
    void endWithStore(List<Channel> opened) throws StoreException {
        channels.addAll(opened);
        if (closed) {
            throw new StoreException(StoreException.Code.CLOSED, "the store is closed");
        }
    }

    void forget(List<Channel> opened) {
        opened.forEach(channels::remove);
    }

    @Override
    public long checkpointPosition() {
        return ledger.checkpointPosition();
    }

    @Override
    public long nowMillis() {
        return ledger.nowMillis();
    }

    @Override
    public long[] pinnedPositions() {
        return snapshots.positions();
    }

    @Override
    public boolean mayCollect() {
        return snapshots.areReadable();
    }

    @Override
    public boolean isSpaceLow() throws StoreException {
        return ledger.rocks().freeBytes() < LOW_SPACE_RESERVES * ledger.reserveBytes();
    }

    @Override
    public void makeRoom() throws StoreException {
        ledger.checkpoint();
        ledger.rocks().settle();
    }

    @Override
    public boolean reclaim(CompactRangeOptions compaction) throws StoreException {
        return ledger.rocks()
                .reclaimSectors(
                        compaction, isSpaceLow() ? DEAD_PART_MAX_WHEN_LOW : DEAD_PART_MAX, ledger.reserveBytes() / 4);
    }

    @Override
    public void metDamage(RocksDBException e) {
        ledger.rocks().damagedTables().met(e);
    }

    @Override
    public boolean takeOutDamage() {
        return ledger.salvageTables();
    }

    @Override
    public void write(WriteBatch batch) throws StoreException {
        ledger.writeAside(batch);
    }

    /** Ends all background work. */
    @Override
    public void close() {
        closed = true;
        checks.forEach(Pace::stop);
        for (Channel channel : channels) {
            try {
                channel.close();
            } catch (IOException e) {
                // It is closed, or the one who waits for it finds out.
            }
        }
        scrub.close();
        collector.close();
    }
}
