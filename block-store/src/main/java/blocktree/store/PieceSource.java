package blocktree.store;

import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;

/** Where what a store has lost may still be: the tree's other nodes. Thread-safe. */
@FunctionalInterface
public interface PieceSource {

    /** The bytes of a piece, of which {@code isIt} is true; null when nobody has them. Waits for others for seconds at most. */
    byte @Nullable [] fetch(Piece piece, Predicate<byte[]> isIt);
}
