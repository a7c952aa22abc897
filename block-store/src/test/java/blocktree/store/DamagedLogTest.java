package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * A write-ahead log that was damaged after a crash. Whatever was acknowledged is there after the store opens, or the store does not
 * open and says that it is missing: never a silent loss.
 */
class DamagedLogTest {

    private static final int BLOCKS = 40;

    @TempDir
    Path directory;

    private enum Damage {
        OVERWRITTEN_IN_THE_MIDDLE {
            @Override
            byte[] apply(byte[] wal, Random random) {
                int at = wal.length / 4 + random.nextInt(wal.length / 2);
                for (int i = 0; i < 3; i++) {
                    wal[at + i] ^= 0x5a;
                }
                return wal;
            }
        },
        TAIL_ZEROED {
            @Override
            byte[] apply(byte[] wal, Random random) {
                Arrays.fill(wal, wal.length - 1 - random.nextInt(wal.length / 2), wal.length, (byte) 0);
                return wal;
            }
        },
        TRUNCATED {
            @Override
            byte[] apply(byte[] wal, Random random) {
                return Arrays.copyOf(wal, random.nextInt(wal.length));
            }
        },
        REMOVED {
            @Override
            byte[] apply(byte[] wal, Random random) {
                return new byte[0];
            }
        };

        abstract byte[] apply(byte[] wal, Random random);
    }

    @ParameterizedTest
    @EnumSource
    void nothingAcknowledgedIsLostInSilence(Damage damage) throws Exception {
        for (long seed = 0; seed < 3; seed++) {
            Random random = new Random(seed);
            try (TestTree tree = new TestTree(directory.resolve(damage + "-" + seed))) {
                List<OpenBlock> acknowledged = write(tree);
                awaitAnchor(tree);
                Path crashed = crash(tree);
                damageNewestWal(crashed, damage, random);
                String label = damage + " seed " + seed;
                try (BlockStore store = BlockStore.open(crashed, tree.options, tree.node)) {
                    for (int i = 0; i < acknowledged.size(); i++) {
                        OpenBlock block = store.read(acknowledged.get(i).id());
                        assertArrayEquals(TestTree.sector(i + 1), TestTree.read(block, 0), label);
                    }
                } catch (StoreException e) {
                    assertTrue(
                            e.code() == StoreException.Code.LOST_WRITES || e.code() == StoreException.Code.CORRUPT,
                            label + ": " + e.code() + " " + e.getMessage());
                    salvage(tree, crashed, acknowledged, label);
                }
            }
        }
    }

    /** When the owner says so, what is left opens: whole, each block as it was committed or absent. */
    private static void salvage(TestTree tree, Path crashed, List<OpenBlock> acknowledged, String label)
            throws StoreException {
        try (BlockStore store = BlockStore.open(crashed, tree.options.withAcceptLoss(true), tree.node)) {
            for (int i = 0; i < acknowledged.size(); i++) {
                try {
                    OpenBlock block = store.read(acknowledged.get(i).id());
                    assertArrayEquals(TestTree.sector(i + 1), TestTree.read(block, 0), label);
                } catch (StoreException e) {
                    assertEquals(StoreException.Code.NOT_FOUND, e.code(), label + ": " + e.getMessage());
                }
            }
            List<Finding> findings = new ArrayList<>();
            FsckReport report = store.fsck(FsckOptions.defaults(), findings::add);
            assertTrue(report.isClean(), label + ": " + findings);
        }
    }

    @Test
    void anUntouchedLogAfterACrashOpensWithEverythingAcknowledged() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            List<OpenBlock> acknowledged = write(tree);
            awaitAnchor(tree);
            Path crashed = crash(tree);
            try (BlockStore store = BlockStore.open(crashed, tree.options, tree.node)) {
                for (int i = 0; i < acknowledged.size(); i++) {
                    OpenBlock block = store.read(acknowledged.get(i).id());
                    assertArrayEquals(TestTree.sector(i + 1), TestTree.read(block, 0));
                }
                List<Finding> findings = new ArrayList<>();
                store.fsck(FsckOptions.defaults(), findings::add);
                assertEquals(List.of(), findings);
            }
        }
    }

    private static List<OpenBlock> write(TestTree tree) throws StoreException {
        List<OpenBlock> written = new ArrayList<>();
        for (int i = 0; i < BLOCKS; i++) {
            written.add(tree.create("b" + i, i + 1));
            if (i % 10 == 9) {
                tree.store.ledger().checkpoint();
            }
            tree.store.sync();
        }
        return written;
    }

    /** The anchor follows an acknowledgement by at most its pause (docs/format.md, section 4). */
    private static void awaitAnchor(TestTree tree) throws Exception {
        while (true) {
            byte[] before = Files.readAllBytes(tree.dir.resolve("anchor"));
            try (AnchorFile file =
                    AnchorFile.open(tree.dir.resolve("anchor"), tree.node.deriveSecret("anchor"), true)) {
                Anchor anchor = file == null ? null : file.read();
                if (anchor != null && anchor.acknowledgedPosition() >= tree.store.headPosition()) {
                    return;
                }
            }
            assertTrue(before.length > 0);
            Thread.onSpinWait();
        }
    }

    /** The files as a crash leaves them: copied while the store runs. */
    private static Path crash(TestTree tree) throws IOException {
        Path copy = tree.dir.resolveSibling("crash");
        try (Stream<Path> files = Files.walk(tree.dir)) {
            for (Path file : files.toList()) {
                Path target = copy.resolve(tree.dir.relativize(file).toString());
                if (Files.isDirectory(file)) {
                    Files.createDirectories(target);
                } else if (!file.getFileName().toString().equals("LOCK")) {
                    Files.copy(file, target);
                }
            }
        }
        return copy;
    }

    private static void damageNewestWal(Path dir, Damage damage, Random random) throws IOException {
        try (Stream<Path> files = Files.list(dir)) {
            Path wal = files.filter(f -> f.getFileName().toString().matches("\\d+\\.log"))
                    .max(Comparator.comparing(f -> f.getFileName().toString()))
                    .orElseThrow();
            byte[] bytes = Files.readAllBytes(wal);
            assertTrue(bytes.length > BLOCKS * TestTree.SECTOR_SIZE, "the commits are in the log");
            Files.write(wal, damage.apply(bytes, random));
        }
    }
}
