package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.fail;

import blocktree.crypto.BlockId;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a store has lost of payloads comes back from others, verified. */
class HealingTest {
    @TempDir
    Path directory;

    private static void assertWhole(BlockStore store, BlockId id) throws StoreException {
        for (int i = 0; i < 3; i++) {
            assertArrayEquals(TestTree.sector(i + 1), TestTree.read(store.read(id), i));
        }
    }

    private static void assertDamaged(BlockStore store, BlockId id, long index) {
        StoreException e = assertThrows(StoreException.class, () -> TestTree.read(store.read(id), index));
        assertEquals(StoreException.Code.CORRUPT, e.code());
    }

    @Test
    void whatIsMissingOrDamagedIsTakenFromOthersVerifiedAndKept() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            BlockId id = tree.create("block", 1, 2, 3).id();
            Map<Piece, byte[]> elsewhere = new HashMap<>();
            for (Piece piece : new Piece[] {
                new Piece(id, Piece.SECTOR, 0, 1), new Piece(id, Piece.SECTOR, 1, 1), new Piece(id, 0, 0, 1)
            }) {
                elsewhere.put(piece, Objects.requireNonNull(tree.store.piece(piece)));
            }
            tree.store.close();
            try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
                byte[] flipped = Objects.requireNonNull(rocks.get(Column.SECTORS, Keys.sector(id, 0, 1)));
                flipped[100] ^= 1;
                rocks.put(Column.SECTORS, Keys.sector(id, 0, 1), flipped);
                rocks.delete(Column.SECTORS, Keys.sector(id, 1, 1));
                rocks.delete(Column.NODES, Keys.node(id, 0, 0, 1));
            }
            BlockStore store = tree.open();
            assertDamaged(store, id, 2);
            store.healFrom((piece, isIt) -> piece.level() == 0 ? elsewhere.get(piece) : new byte[4124]);
            assertArrayEquals(TestTree.sector(3), TestTree.read(store.read(id), 2));
            assertDamaged(store, id, 0); // who lies is not believed
            assertDamaged(store, id, 1);
            store.healFrom((piece, isIt) -> elsewhere.get(piece));
            assertArrayEquals(TestTree.sector(1), TestTree.read(store.read(id), 0));
            assertEquals(2, store.stats().healedPieces());
            store.scrub().runOnce(); // finds the other one
            assertEquals(3, store.stats().healedPieces());
            store = tree.reopen();
            assertWhole(store, id);
            store.fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
        }
    }
}
