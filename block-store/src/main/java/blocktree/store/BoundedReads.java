package blocktree.store;

import org.jspecify.annotations.Nullable;
import org.rocksdb.ReadOptions;
import org.rocksdb.Slice;

/**
 * Options for iterators that end before a key, and are closed before these. Without a bound, an iterator that finds no more of what it was made for goes on to
 * the next key that is there, over all that were deleted and are not compacted away yet: where there is one iterator for each of many deleted things, that
 * takes time in the square of their number.
 */
final class BoundedReads implements AutoCloseable {

    private final @Nullable Slice end;
    private final ReadOptions options;

    /** @param end null: no bound */
    BoundedReads(ReadOptions like, byte @Nullable [] end) {
        options = new ReadOptions(like);
        if (end == null) {
            this.end = null;
        } else {
            this.end = new Slice(end);
            options.setIterateUpperBound(this.end);
        }
    }

    ReadOptions options() {
        return options;
    }

    @Override
    public void close() {
        options.close();
        if (end != null) {
            end.close();
        }
    }
}
