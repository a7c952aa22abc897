package blocktree.store;

import java.util.Arrays;
import org.rocksdb.RocksIterator;

/** The sectors of both families that hold some, in the order of their keys. For checks; for one thread. */
final class SectorCursor implements AutoCloseable {

    private final StoreView view;
    private final RocksIterator sectors;
    private final RocksIterator streams;
    /** The one of the two that is at the smaller key. */
    private RocksIterator at;

    SectorCursor(StoreView view, BoundedReads bounds) {
        this.view = view;
        sectors = view.iterator(Column.SECTORS, bounds);
        streams = view.iterator(Column.STREAMS, bounds);
        at = sectors;
    }

    void seek(byte[] key) {
        sectors.seek(key);
        streams.seek(key);
        choose();
    }

    void next() {
        at.next();
        choose();
    }

    private void choose() {
        boolean stream =
                streams.isValid() && (!sectors.isValid() || Arrays.compareUnsigned(streams.key(), sectors.key()) < 0);
        at = stream ? streams : sectors;
    }

    /** Whether it is at a key that starts so. */
    boolean isAt(byte[] prefix) {
        return at.isValid() && Keys.startsWith(at.key(), prefix);
    }

    byte[] key() {
        return at.key();
    }

    byte[] value() {
        return at.value();
    }

    Column column() {
        return at == streams ? Column.STREAMS : Column.SECTORS;
    }

    /** Whether the other family has the same key, and is next. */
    boolean hasTwin() {
        return at == sectors && sectors.isValid() && streams.isValid() && Arrays.equals(sectors.key(), streams.key());
    }

    /** Throws what ended the iteration of one of the two, if it was not its end. */
    void checkEnd() throws StoreException {
        view.checkEnd(sectors, Column.SECTORS);
        view.checkEnd(streams, Column.STREAMS);
    }

    @Override
    public void close() {
        sectors.close();
        streams.close();
    }
}
