package blocktree.store;

import org.jspecify.annotations.Nullable;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.Snapshot;

/** All column families as they were at one moment, whatever is committed or collected meanwhile. For checks that take long. */
final class StoreView implements AutoCloseable {

    private final Rocks rocks;
    private final RocksDB db;
    private final Snapshot snapshot;
    private final ReadOptions readOptions;

    StoreView(Rocks rocks) {
        this.rocks = rocks;
        this.db = rocks.db();
        this.snapshot = db.getSnapshot();
        this.readOptions =
                new ReadOptions().setSnapshot(snapshot).setTotalOrderSeek(true).setFillCache(false);
    }

    byte @Nullable [] get(Column column, byte[] key) throws StoreException {
        try {
            return db.get(rocks.family(column), readOptions, key);
        } catch (RocksDBException e) {
            throw rocks.failure("read " + column.familyName, e);
        }
    }

    /** To be closed by the caller. */
    RocksIterator iterator(Column column) {
        return db.newIterator(rocks.family(column), readOptions);
    }

    /** For iterators over what one block has, under {@link #iterator(Column, BoundedReads)}; to be closed after them and before the view. */
    BoundedReads boundedTo(byte[] blockPrefix) {
        return new BoundedReads(readOptions, Keys.after(blockPrefix));
    }

    /** As {@link #iterator(Column)}, to the end of {@code bounds}. */
    RocksIterator iterator(Column column, BoundedReads bounds) {
        return db.newIterator(rocks.family(column), bounds.options());
    }

    /** The state map as of this view; to be closed before the view. */
    StateMap stateMap(long cacheSizeBytes) {
        return new StateMap(db, rocks.family(Column.STATE), cacheSizeBytes, snapshot);
    }

    /** Throws what ended an iteration, if it was not its end. */
    void checkEnd(RocksIterator it, Column column) throws StoreException {
        rocks.checkEnd(it, column);
    }

    @Override
    public void close() {
        readOptions.close();
        db.releaseSnapshot(snapshot);
        snapshot.close();
    }
}
