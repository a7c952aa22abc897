package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.store.IntegrityNode.Entry;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksIterator;

/** Reads sectors of a {@link StoreView} in the order of their keys, over all blocks with one iterator for each family that holds some. For one thread. */
final class ViewSectors implements AutoCloseable {

    /** Keys in between, of other generations, after which a new search is cheaper. */
    private static final int SKIPPED_MAX = 8;

    private static final class Family {

        private final Column column;
        private final RocksIterator it;
        private byte @Nullable [] at; // null: not sought yet, or at the end
        private boolean ended;

        Family(Column column, RocksIterator it) {
            this.column = column;
            this.it = it;
        }

        /** Whether it has the key, at which it is then. */
        boolean find(byte[] key) {
            int order = compare(key);
            for (int i = 0; order < 0 && at != null && i < SKIPPED_MAX; i++) {
                it.next();
                read();
                order = compare(key);
            }
            if (order < 0) {
                it.seek(key);
                read();
                order = compare(key);
            }
            return order == 0;
        }

        private void read() {
            ended = !it.isValid();
            at = ended ? null : it.key();
        }

        private int compare(byte[] key) {
            return at == null ? (ended ? 1 : -1) : Arrays.compareUnsigned(at, key);
        }
    }

    private final StoreView view;
    private final List<Family> families = new ArrayList<>();

    ViewSectors(StoreView view) {
        this.view = view;
        for (Column column : Column.OF_SECTORS) {
            families.add(new Family(column, view.iterator(column)));
        }
    }

    /** The ciphertext of a sector, behind the one of the call before; CORRUPT when there is none. Where both families have one, it is the one that is named. */
    byte[] get(BlockId block, long index, Entry named) throws StoreException {
        byte[] key = Keys.sector(block, index, named.generation());
        byte @Nullable [] found = null;
        for (Family family : families) {
            boolean here = family.find(key);
            view.checkEnd(family.it, family.column);
            if (here && (found == null || !IntegrityNode.isSector(found, named.hash()))) {
                found = family.it.value();
            }
        }
        if (found == null) {
            throw StoreException.corrupt("sector " + index + " of block " + block + " is missing");
        }
        return found;
    }

    @Override
    public void close() {
        families.forEach(family -> family.it.close());
    }
}
