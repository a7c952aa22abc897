package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import blocktree.crypto.BlockId;
import blocktree.crypto.Id;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.WriteBatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The rows of the family {@code local} that say that a database is being brought up to another's state (docs/format.md, section 6): one with the log position
 * that it had before, and one for each block of which something may have come, with the generation that it had. They are written before what they tell of,
 * and go in the batch that makes the new state count. So whatever ends a takeover, what came with it is found and deleted.
 */
final class Takeover {

    private static final Logger log = LoggerFactory.getLogger(Takeover.class);

    private static final byte[] ROWS = "store.takeover\0".getBytes(US_ASCII);
    private static final int DELETIONS_PER_BATCH = 1_000;

    private Takeover() {}

    /** Log position before the takeover that is under way, 0 for a database that is made by it; null when there is none. */
    static @Nullable Long underWay(Rocks rocks) throws StoreException {
        byte[] row = rocks.get(Column.LOCAL, ROWS);
        return row == null || row.length != Long.BYTES ? null : (Long) Keys.getU64(row, 0);
    }

    /** On the device when it returns. */
    static void begin(Rocks rocks, long position) throws StoreException {
        rocks.put(Column.LOCAL, ROWS, Keys.u64(position));
        rocks.syncWal();
    }

    /** Of {@code block}, which has {@code generation}, something may come. On the device after the next sync of the log. */
    static void announce(Rocks rocks, WriteBatch batch, BlockId block, long generation) throws RocksDBException {
        byte[] key = new byte[ROWS.length + Id.SIZE];
        System.arraycopy(ROWS, 0, key, 0, ROWS.length);
        block.writeTo(key, ROWS.length);
        batch.put(rocks.family(Column.LOCAL), key, Keys.u64(generation));
    }

    /** Into the batch that makes the new state count. */
    static void end(Rocks rocks, WriteBatch batch) throws RocksDBException {
        batch.deleteRange(rocks.family(Column.LOCAL), ROWS, Keys.after(ROWS));
    }

    /**
     * Before anything else looks at a database: undoes a takeover that did not come to its end.
     *
     * @throws StoreException INVALID when there is nothing but what it brought, READ_ONLY when it cannot be undone for that
     */
    static void recover(Rocks rocks, StoreOptions options) throws StoreException {
        Long position = underWay(rocks);
        if (position == null) {
            return;
        }
        if (position == 0) {
            throw StoreException.invalid("the store in " + rocks.dir()
                    + " is incomplete: it was being copied from another node; let it be copied again");
        }
        if (options.readOnly()) {
            throw new StoreException(
                    StoreException.Code.READ_ONLY,
                    "the store in " + rocks.dir() + " was being brought up to another node's state: open it for"
                            + " writing, which undoes that");
        }
        undo(rocks, position);
    }

    /** The database is as it was at {@code position} afterwards. Can be interrupted anywhere, and runs again then. */
    static void undo(Rocks rocks, long position) throws StoreException {
        byte[] from = Keys.log(position + 1);
        byte[] end = Keys.log(-1);
        try (WriteBatch batch = new WriteBatch()) {
            for (Column column : List.of(Column.LOG, Column.AUTHORITY, Column.GARBAGE)) {
                batch.deleteRange(rocks.family(column), from, end);
            }
            rocks.scan(Column.STATE, new byte[0], null, (key, value) -> {
                if (key.length > Long.BYTES && ~Keys.getU64(key, key.length - Long.BYTES) > position) {
                    delete(rocks, batch, Column.STATE, key);
                }
                return true;
            });
            rocks.write(batch);
            batch.clear();
            long[] blocks = {0};
            rocks.scan(Column.LOCAL, ROWS, Keys.after(ROWS), (key, value) -> {
                if (key.length == ROWS.length + Id.SIZE && value.length == Long.BYTES) {
                    undo(rocks, batch, BlockId.of(key, ROWS.length), Keys.getU64(value, 0));
                    blocks[0]++;
                }
                return true;
            });
            rocks.write(batch);
            batch.clear();
            // What came may have bypassed the log, and its deletion must not be forgotten before these rows are.
            rocks.flush();
            end(rocks, batch);
            rocks.write(batch);
            rocks.syncWal();
            log.atWarn()
                    .addKeyValue("position", position)
                    .addKeyValue("blocks", blocks[0])
                    .log("takeover_undone");
        } catch (RocksDBException e) {
            throw rocks.failure("undo a takeover", e);
        }
    }

    /** Deletes what the block has of later generations. */
    private static void undo(Rocks rocks, WriteBatch batch, BlockId block, long generation) throws StoreException {
        byte[] prefix = block.toBytes();
        rocks.scan(Column.HEADERS, prefix, Keys.header(block, generation), (key, value) -> {
            delete(rocks, batch, Column.HEADERS, key);
            return true;
        });
        for (Column column : List.of(Column.SECTORS, Column.STREAMS, Column.NODES)) {
            try (ReadOptions options = new ReadOptions();
                    BoundedReads own = new BoundedReads(options, Keys.after(prefix));
                    RocksIterator it = rocks.db().newIterator(rocks.family(column), own.options())) {
                for (it.seek(prefix); it.isValid(); it.next()) {
                    byte[] key = it.key();
                    if (Keys.getU64(key, key.length - Long.BYTES) > generation) {
                        delete(rocks, batch, column, key);
                    }
                }
                it.status();
            } catch (RocksDBException e) {
                throw rocks.failure("undo a takeover", e);
            }
        }
    }

    private static void delete(Rocks rocks, WriteBatch batch, Column column, byte[] key) throws StoreException {
        try {
            batch.delete(rocks.family(column), key);
        } catch (RocksDBException e) {
            throw rocks.failure("undo a takeover", e);
        }
        if (batch.count() >= DELETIONS_PER_BATCH) {
            rocks.write(batch);
            batch.clear();
        }
    }
}
