package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class CacheTest {
    private static final int SIZE = 4096;

    private final List<Piece> evicted = new ArrayList<>();
    private final Cache cache = new Cache(4 * SIZE);

    private final class Piece extends CachedPiece {
        Piece() {
            super(LOADING);
        }

        @Override
        int sizeBytes() {
            return SIZE;
        }

        @Override
        void evicted() {
            evicted.add(this);
        }
    }

    private Piece loaded() {
        Piece piece = new Piece();
        cache.loaded(piece);
        return piece;
    }

    @Test
    void theOldestGoesUnlessItWasUsed() {
        Piece used = loaded();
        Piece oldest = loaded();
        used.touched = true;
        loaded();
        loaded();
        loaded();
        assertEquals(List.of(oldest), evicted);
        assertEquals(4 * SIZE, cache.cleanBytes());
    }

    @Test
    void whatIsDirtyStaysAndIsCleanAgainOnceFlushed() {
        Piece piece = loaded();
        assertTrue(cache.makeDirty(piece));
        for (int i = 0; i < 8; i++) {
            loaded();
        }
        assertFalse(evicted.contains(piece));
        assertEquals(SIZE, cache.dirtyBytes());
        cache.flushed(piece);
        assertEquals(0, cache.dirtyBytes());
        for (int i = 0; i < 4; i++) {
            loaded();
        }
        assertTrue(evicted.contains(piece));
    }

    /** As when files are made, written back and deleted while the cache never gets full. */
    @Test
    void whatIsDroppedIsNotRemembered() {
        for (int i = 0; i < 1000; i++) {
            assertTrue(cache.evict(loaded()));
            Piece written = loaded();
            assertTrue(cache.makeDirty(written));
            cache.discardDirty(written);
        }
        assertEquals(0, cache.queuedCount());
        assertEquals(0, cache.cleanBytes());
        assertEquals(0, cache.dirtyBytes());
    }
}
