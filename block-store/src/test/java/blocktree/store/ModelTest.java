package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import blocktree.crypto.BlockId;
import blocktree.store.StoreException.Code;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Random commits against a map in memory, with checkpoints and reopening in between. The seed is in the log of a failure. */
class ModelTest {

    private static final Logger log = LoggerFactory.getLogger(ModelTest.class);

    private static final int STEPS = 250;
    private static final long SEED = Long.getLong("model.seed", System.nanoTime());

    /** What a block should hold: sector size, count, and the fill of each sector that is no hole. */
    private record Model(byte[] attributes, int sectorSizeLog2, long count, TreeMap<Long, Integer> sectors) {}

    @TempDir
    Path temp;

    private final Random random = new Random(SEED);
    private final Map<BlockId, Model> models = new LinkedHashMap<>();
    private final List<BlockId> deleted = new ArrayList<>();

    @Test
    void storeHoldsWhatTheModelHolds() throws StoreException {
        log.atWarn().addKeyValue("seed", SEED).log("model_seed");
        try (TestTree tree = new TestTree(temp, TestTree.options().withRetention(Retention.NONE))) {
            for (int step = 0; step < STEPS; step++) {
                commitSomething(tree);
                if (random.nextInt(20) == 0) {
                    tree.store.ledger().checkpoint();
                }
                if (random.nextInt(40) == 0) {
                    tree.reopen();
                }
                if (random.nextInt(25) == 0) {
                    compare(tree);
                }
            }
            tree.reopen();
            compare(tree);
        } catch (StoreException | RuntimeException | AssertionError e) {
            throw new AssertionError("-Dmodel.seed=" + SEED, e);
        }
    }

    private void commitSomething(TestTree tree) throws StoreException {
        Map<BlockId, Model> after = new HashMap<>();
        List<BlockId> gone = new ArrayList<>();
        try (Commit commit = tree.store.newCommit()) {
            for (BlockId id : List.copyOf(models.keySet())) {
                if (random.nextInt(models.size()) < 2 && after.size() < 5) {
                    if (random.nextInt(12) == 0) {
                        commit.delete(tree.store.read(id));
                        gone.add(id);
                    } else {
                        Model model = models.get(id);
                        assertNotNull(model);
                        after.put(id, change(commit.edit(tree.store.read(id)), model));
                    }
                }
            }
            if (models.size() < 3 || random.nextInt(4) == 0) {
                int log2 = 12 + random.nextInt(3);
                NewBlock block = tree.store.newBlock(tree.store.rootDomain());
                BlockEdit edit = commit.create(block, log2);
                after.put(block.id(), change(edit, new Model(attributes(edit), log2, 0, new TreeMap<>())));
            }
            boolean sync = random.nextInt(10) == 0;
            if (after.isEmpty() && gone.isEmpty()) {
                return;
            }
            if (random.nextBoolean()) {
                // As if it came from another node: the port verifies all of it.
                tree.store.port().commit(commit.seal().commit(), sync);
            } else {
                CommitReceipt receipt = tree.store.commit(commit, sync);
                for (BlockId id : after.keySet()) {
                    Model model = after.get(id);
                    assertNotNull(model);
                    assertEquals(model.count, receipt.block(id).sectorCount());
                }
            }
        }
        models.putAll(after);
        gone.forEach(models::remove);
        deleted.addAll(gone);
    }

    private byte[] attributes(BlockEdit edit) {
        byte[] attributes = new byte[random.nextInt(600)];
        random.nextBytes(attributes);
        edit.attributes(attributes);
        return attributes;
    }

    private Model change(BlockEdit edit, Model before) throws StoreException {
        byte[] attributes = random.nextInt(3) == 0 ? attributes(edit) : before.attributes;
        int log2 = before.sectorSizeLog2;
        long count = before.count;
        TreeMap<Long, Integer> sectors = new TreeMap<>(before.sectors);
        for (int i = random.nextInt(5); i > 0; i--) {
            switch (random.nextInt(12)) {
                case 0 -> {
                    log2 = 12 + random.nextInt(3);
                    edit.resize(log2);
                    sectors.clear();
                    count = 0;
                }
                case 1, 2 -> {
                    count = index();
                    edit.truncate(count);
                    sectors.tailMap(count, true).clear();
                }
                case 3, 4 -> {
                    long from = index();
                    long to = from + index();
                    edit.punch(from, to);
                    sectors.subMap(from, true, to, false).clear();
                }
                default -> {
                    long index = index();
                    int fill = random.nextInt();
                    edit.putSector(index, content(fill, 1 << log2), 0);
                    sectors.put(index, fill);
                    count = Math.max(count, index + 1);
                }
            }
        }
        return new Model(attributes, log2, count, sectors);
    }

    /** Mostly small, sometimes at the borders of nodes and levels. */
    private long index() {
        return switch (random.nextInt(6)) {
            case 0 -> 126 + random.nextInt(4);
            case 1 -> 128 * 128 - 2 + random.nextInt(4);
            case 2 -> random.nextInt(1 << 22);
            default -> random.nextInt(20);
        };
    }

    private static byte[] content(int fill, int size) {
        byte[] content = new byte[size];
        new Random(fill).nextBytes(content);
        return content;
    }

    private void compare(TestTree tree) throws StoreException {
        for (Map.Entry<BlockId, Model> entry : models.entrySet()) {
            Model model = entry.getValue();
            OpenBlock block = tree.store.read(entry.getKey());
            assertArrayEquals(model.attributes, block.attributes());
            assertEquals(1 << model.sectorSizeLog2, block.sectorSize());
            assertEquals(model.count, block.sectorCount());
            List<Long> data = new ArrayList<>();
            for (long at = block.nextData(0); at < block.sectorCount(); at = block.nextData(at + 1)) {
                data.add(at);
            }
            assertEquals(List.copyOf(model.sectors.keySet()), data);
            for (Map.Entry<Long, Integer> sector : model.sectors.entrySet()) {
                assertArrayEquals(
                        content(sector.getValue(), block.sectorSize()), TestTree.read(block, sector.getKey()));
            }
            compareRun(model, block);
            long hole = block.nextHole(0);
            assertEquals(firstHole(model), hole);
        }
        for (BlockId id : deleted) {
            assertCode(Code.NOT_FOUND, () -> tree.store.read(id));
        }
    }

    /** Sectors that are read in one go, data, holes and what lies behind the end. */
    private void compareRun(Model model, OpenBlock block) throws StoreException {
        long first = index();
        byte[][] run = new byte[1 + random.nextInt(40)][block.sectorSize()];
        List<Integer> read = new ArrayList<>();
        block.readSectors(first, run, (i, present) -> {
            Integer fill = model.sectors.get(first + i);
            assertEquals(fill != null, present);
            assertArrayEquals(fill == null ? new byte[run[i].length] : content(fill, run[i].length), run[i]);
            read.add(i);
        });
        assertEquals(IntStream.range(0, run.length).boxed().toList(), read);
    }

    private static long firstHole(Model model) {
        long at = 0;
        while (model.sectors.containsKey(at)) {
            at++;
        }
        return Math.min(at, model.count);
    }
}
