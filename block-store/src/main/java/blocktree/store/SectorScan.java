package blocktree.store;

import java.nio.ByteBuffer;
import java.util.EnumMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;

/**
 * Reads sectors of one block that lie close together, in order of their keys: one search for all of them in the family that holds them.
 * For one thread.
 */
final class SectorScan implements AutoCloseable {

    /** Entries in between, of other generations, after which a new search is cheaper. */
    private static final int SKIPPED_MAX = 8;

    private final Rocks rocks;
    private final ReadOptions readOptions;
    private final ByteBuffer found = ByteBuffer.allocate(Keys.SECTOR_SIZE);
    private final Map<Column, RocksIterator> iterators = new EnumMap<>(Column.class);
    /** Where the last sector was; null before the first. */
    private @Nullable Column column;

    SectorScan(Rocks rocks, ReadOptions readOptions) {
        this.rocks = rocks;
        this.readOptions = readOptions;
    }

    /** As {@link Rocks#getSector}; {@code key} is behind that of the last call. */
    int get(ByteBuffer key, ByteBuffer target) throws StoreException {
        Column last = column;
        if (last != null) {
            int size = scan(last, key, target);
            if (size >= 0) {
                return size;
            }
        }
        for (Column other : Column.OF_SECTORS) {
            int size = other == last ? -1 : rocks.getSector(other, key.duplicate(), target);
            if (size >= 0) {
                column = other;
                return size;
            }
        }
        return -1;
    }

    private int scan(Column family, ByteBuffer key, ByteBuffer target) throws StoreException {
        RocksIterator it = iterators.get(family);
        int order = -1;
        if (it == null) {
            it = rocks.db().newIterator(rocks.family(family), readOptions);
            iterators.put(family, it);
        } else {
            order = compare(it, key);
            for (int i = 0; order < 0 && i < SKIPPED_MAX; i++) {
                it.next();
                order = compare(it, key);
            }
        }
        if (order < 0) {
            it.seek(key.duplicate());
            order = compare(it, key);
        }
        return order == 0 ? it.value(target) : -1;
    }

    /** Where an iterator stands: negative before {@code key}, positive behind it or at the end. */
    private int compare(RocksIterator it, ByteBuffer key) throws StoreException {
        if (!it.isValid()) {
            try {
                it.status();
            } catch (RocksDBException e) {
                throw rocks.failure("read sectors", e);
            }
            return 1;
        }
        found.clear();
        int size = it.key(found);
        found.position(0).limit(Math.min(size, found.capacity()));
        int at = found.mismatch(key);
        if (at < 0) {
            return size > key.remaining() ? 1 : 0;
        }
        if (at == found.remaining()) {
            return -1;
        }
        return at == key.remaining() ? 1 : Byte.compareUnsigned(found.get(at), key.get(key.position() + at));
    }

    @Override
    public void close() {
        iterators.values().forEach(RocksIterator::close);
    }
}
