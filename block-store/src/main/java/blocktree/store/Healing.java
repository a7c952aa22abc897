package blocktree.store;

import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Gets back from other nodes what this store has lost of payloads. Thread-safe. */
final class Healing {

    private static final Logger log = LoggerFactory.getLogger(Healing.class);

    private static final List<Column> OF_NODES = List.of(Column.NODES);

    private final Rocks rocks;
    private final AtomicLong healed = new AtomicLong();
    private volatile PieceSource source = (piece, isIt) -> null;

    Healing(Rocks rocks) {
        this.rocks = rocks;
    }

    void from(PieceSource newSource) {
        source = newSource;
    }

    long healed() {
        return healed.get();
    }

    /** The bytes of a piece that cannot be had here, which are kept from now on; throws {@code damage} when they cannot be had elsewhere either. */
    byte[] heal(Piece piece, Predicate<byte[]> isIt, StoreException damage) throws StoreException {
        byte[] bytes = damage.isUnreadable() ? source.fetch(piece, isIt) : null;
        if (bytes == null || !isIt.test(bytes)) {
            throw damage;
        }
        healed.incrementAndGet();
        try {
            if (piece.level() == Piece.SECTOR) {
                rocks.put(Column.SECTORS, piece.key(), bytes);
                rocks.delete(Column.STREAMS, piece.key()); // searched first
            } else {
                rocks.put(Column.NODES, piece.key(), bytes);
            }
            log.atInfo()
                    .addKeyValue("block", piece.block().toHex())
                    .addKeyValue("level", piece.level())
                    .addKeyValue("index", piece.index())
                    .addKeyValue("reason", damage.getMessage())
                    .log("piece_healed");
        } catch (StoreException e) {
            log.atWarn()
                    .addKeyValue("block", piece.block().toHex())
                    .addKeyValue("reason", e.getMessage())
                    .log("piece_not_kept");
        }
        return bytes;
    }

    /** As it is here, not verified; null where it is not, or cannot be read. */
    byte @Nullable [] piece(Piece piece) {
        for (Column column : piece.level() == Piece.SECTOR ? Column.OF_SECTORS : OF_NODES) {
            try {
                byte[] bytes = rocks.get(column, piece.key());
                if (bytes != null) {
                    return bytes;
                }
            } catch (StoreException e) {
                // the other family may have it
            }
        }
        return null;
    }
}
