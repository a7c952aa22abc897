package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksDBException;
import org.rocksdb.WriteBatch;

/**
 * How far a store has applied the order of its cluster: rows {@code order/ ‖ u64 position} of the family {@code meta}, each {@code u64
 * term ‖ u64 index} of the newest that was applied when the log ended at that position. One for each position since the newest
 * checkpoint: where a start has to cut the log, the order is to be taken up again from there, no earlier and no later.
 */
final class OrderMarks {

    private static final byte[] PREFIX = "order/".getBytes(US_ASCII);

    private OrderMarks() {}

    private static byte[] key(long position) {
        byte[] key = Arrays.copyOf(PREFIX, PREFIX.length + Long.BYTES);
        Keys.putU64(key, PREFIX.length, position);
        return key;
    }

    /** {@code order} is applied with the entry at {@code position}, or, when it put nothing in the log, since. */
    static void put(Rocks rocks, WriteBatch batch, long position, Order order) throws RocksDBException {
        byte[] value = new byte[2 * Long.BYTES];
        Keys.putU64(value, 0, order.term());
        Keys.putU64(value, Long.BYTES, order.index());
        batch.put(rocks.family(Column.META), key(position), value);
    }

    /** The newest mark, its time 0; null in a store that no cluster orders. */
    static @Nullable Order newest(Rocks rocks) throws StoreException {
        byte @Nullable [][] last = {null};
        rocks.scan(Column.META, PREFIX, Keys.after(PREFIX), (key, value) -> {
            last[0] = value;
            return true;
        });
        byte[] value = last[0];
        if (value == null) {
            return null;
        }
        if (value.length != 2 * Long.BYTES) {
            throw StoreException.corrupt("the mark of the cluster's order has " + value.length + " bytes");
        }
        return new Order(Keys.getU64(value, 0), Keys.getU64(value, Long.BYTES), 0);
    }

    /** A checkpoint covers {@code position}: marks below the newest one up to there are not needed any more. */
    static void forget(Rocks rocks, WriteBatch batch, long position) throws StoreException, RocksDBException {
        long[] kept = {-1};
        rocks.scan(Column.META, PREFIX, key(position + 1), (key, value) -> {
            kept[0] = Keys.getU64(key, PREFIX.length);
            return true;
        });
        if (kept[0] > 0) {
            batch.deleteRange(rocks.family(Column.META), key(0), key(kept[0]));
        }
    }

    /** The log is cut behind {@code position}. */
    static void cut(Rocks rocks, WriteBatch batch, long position) throws RocksDBException {
        batch.deleteRange(rocks.family(Column.META), key(position + 1), key(-1));
    }
}
