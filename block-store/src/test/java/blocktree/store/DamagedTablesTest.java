package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.store.StoreException.Code;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.rocksdb.CompactRangeOptions;
import org.rocksdb.CompactRangeOptions.BottommostLevelCompaction;
import org.rocksdb.FlushOptions;
import org.rocksdb.LiveFileMetaData;
import org.rocksdb.RocksDBException;
import org.slf4j.LoggerFactory;

/** A table of sectors with flipped bytes: the store goes on to write, and what is not damaged is kept. */
class DamagedTablesTest {

    /** Sectors of 4 KiB, some to each block of a table. */
    private static final int COUNT = 1024;

    private static final int FLIPPED = 64;

    @TempDir
    Path temp;

    private final ListAppender<ILoggingEvent> events = new ListAppender<>();
    private final Logger logger = (Logger) LoggerFactory.getLogger("blocktree.store");
    private TestTree tree;
    private OpenBlock damaged;
    private OpenBlock other;

    @BeforeEach
    void found() throws StoreException {
        events.start();
        logger.addAppender(events);
        tree = new TestTree(temp, TestTree.options().withRetention(Retention.NONE));
        damaged = create(1_000);
        other = create(5_000);
    }

    @AfterEach
    void close() throws StoreException {
        logger.detachAppender(events);
        tree.close();
    }

    private OpenBlock create(int seed) throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            NewBlock block = tree.store.newBlock(tree.store.rootDomain());
            BlockEdit edit = commit.create(block, TestTree.SECTOR_LOG2).attributes(bytes("large"));
            for (int i = 0; i < COUNT; i++) {
                edit.putSector(i, TestTree.sector(seed + i), 0);
            }
            return tree.store.commit(commit, true).block(block.id());
        }
    }

    /** Flips bytes at each of these parts of the table that has the block's sectors, while the store is closed. */
    private void damage(double... parts) throws StoreException, IOException {
        Path table = table(damaged);
        tree.store.close();
        try (FileChannel channel = FileChannel.open(table, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            for (double part : parts) {
                long at = (long) (part * channel.size());
                ByteBuffer bytes = ByteBuffer.allocate(FLIPPED);
                channel.read(bytes, at);
                for (int i = 0; i < FLIPPED; i++) {
                    bytes.put(i, (byte) ~bytes.get(i));
                }
                channel.write(bytes.flip(), at);
            }
        }
        tree.open();
        reopen();
    }

    private Path table(OpenBlock block) {
        Path found = null;
        for (LiveFileMetaData file : tree.store.ledger().rocks().db().getLiveFilesMetaData()) {
            if (Arrays.equals(file.columnFamilyName(), Column.STREAMS.nameBytes())
                    && Keys.block(file.smallestKey()).equals(block.id())) {
                assertTrue(file.level() > 0, "level " + file.level());
                found = tree.dir.resolve(file.fileName().substring(1));
            }
        }
        if (found == null) {
            throw new AssertionError("no table of " + block.id());
        }
        return found;
    }

    private TreeSet<Integer> unreadable() throws StoreException {
        TreeSet<Integer> indexes = new TreeSet<>();
        for (int i = 0; i < COUNT; i++) {
            try {
                assertArrayEquals(TestTree.sector(1_000 + i), TestTree.read(damaged, i));
            } catch (StoreException e) {
                assertEquals(Code.CORRUPT, e.code());
                indexes.add(i);
            }
        }
        return indexes;
    }

    private void assertRestIsReadableAndWritable() throws Exception {
        for (int i = 0; i < COUNT; i++) {
            assertArrayEquals(TestTree.sector(5_000 + i), TestTree.read(other, i));
        }
        other = tree.put(other, 0, 5_000);
        tree.store.sync();
    }

    /** Writes all tables of sectors and nodes anew. */
    private void compact() throws RocksDBException {
        Rocks rocks = tree.store.ledger().rocks();
        try (FlushOptions flush = new FlushOptions();
                CompactRangeOptions compaction =
                        new CompactRangeOptions().setBottommostLevelCompaction(BottommostLevelCompaction.kForce)) {
            for (Column column : List.of(Column.STREAMS, Column.SECTORS, Column.NODES)) {
                rocks.db().flush(flush, rocks.family(column));
                rocks.db().compactRange(rocks.family(column), null, null, compaction);
            }
        }
    }

    /** Takes out what was met, and removes what is superseded, of which nobody holds anything open after a restart. */
    private void collect() throws StoreException {
        tree.store.collectGarbage();
        reopen();
        tree.store.collectGarbage();
        tree.store.collectGarbage();
    }

    private void reopen() throws StoreException {
        boolean removed = damaged == other;
        tree.reopen();
        other = tree.store.read(other.id());
        damaged = removed ? other : tree.store.read(damaged.id());
    }

    private void remove() throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            commit.delete(damaged);
            tree.store.commit(commit, true);
        }
        damaged = other;
    }

    private List<Finding> findings() throws StoreException {
        List<Finding> findings = new ArrayList<>();
        tree.store.fsck(FsckOptions.defaults(), findings::add);
        return findings;
    }

    private long count(String event) {
        return events.list.stream().filter(e -> e.getMessage().equals(event)).count();
    }

    @Test
    void aRemovedBlocksDamageStopsNeitherCollectionNorCompaction() throws Exception {
        damage(0.3);
        String table = table(damaged).getFileName().toString();
        remove();
        tree.put(tree.create("later", 1, 2), 0, 3);
        collect();
        assertEquals(List.of(), findings());
        assertEquals(1, count("table_salvaged"));
        assertTrue(Files.exists(tree.dir.resolve("damaged").resolve(table)));
        compact();
        assertRestIsReadableAndWritable();
        tree.reopen();
        assertEquals(List.of(), findings());
        assertEquals(0, count("collect_failed") + count("store_stopped") + count("table_damaged"));
    }

    @Test
    void whatCanBeReadOfADamagedTableIsKept() throws Exception {
        damage(0.02, 0.3, 0.31, 0.6);
        TreeSet<Integer> lost = unreadable();
        assertTrue(lost.size() >= 4 && lost.size() < 40, lost.toString());
        collect();
        assertEquals(1, count("table_salvaged"));
        assertEquals(lost, unreadable());
        compact();
        assertRestIsReadableAndWritable();
        List<Finding> findings = findings();
        assertEquals(lost.size(), findings.size());
        assertTrue(findings.stream()
                .allMatch(f -> f.kind() == Finding.Kind.SECTOR_MISSING && Objects.equals(f.subject(), damaged.id())));
        try (Commit commit = tree.store.newCommit()) {
            BlockEdit edit = commit.edit(damaged);
            for (int index : lost) {
                edit.putSector(index, TestTree.sector(1_000 + index), 0);
            }
            damaged = tree.store.commit(commit, true).block(damaged.id());
        }
        collect();
        assertEquals(new TreeSet<>(), unreadable());
        assertEquals(List.of(), findings());
    }

    @Test
    void whatIsWrittenOverADamagedTableStays() throws Exception {
        damage(0.5);
        assertTrue(unreadable().size() > 0);
        try (Commit commit = tree.store.newCommit()) {
            BlockEdit edit = commit.edit(damaged);
            for (int i = 0; i < COUNT; i++) {
                edit.putSector(i, TestTree.sector(1_000 + i), 0);
            }
            damaged = tree.store.commit(commit, true).block(damaged.id());
        }
        collect();
        compact();
        assertEquals(new TreeSet<>(), unreadable());
        assertRestIsReadableAndWritable();
        assertEquals(List.of(), findings());
    }

    @Test
    void aCompactionThatMeetsItFirstStopsTheStoreUntilItsRestart() throws Exception {
        damage(0.3);
        assertThrows(RocksDBException.class, this::compact);
        assertCode(Code.CORRUPT, () -> tree.put(other, 0, 7));
        StoreException stopped = assertThrows(StoreException.class, () -> tree.put(other, 0, 7));
        assertEquals(Code.READ_ONLY, stopped.code());
        assertTrue(String.valueOf(stopped.getMessage()).contains("restart"), stopped.getMessage());
        assertEquals(1, count("store_stopped"));
        reopen();
        assertEquals(1, count("table_salvaged"));
        compact();
        assertRestIsReadableAndWritable();
        assertTrue(findings().stream().allMatch(f -> f.kind() == Finding.Kind.SECTOR_MISSING));
        remove();
        collect();
        assertEquals(List.of(), findings());
        tree.reopen();
        assertEquals(1, count("table_salvaged") + count("table_damaged"));
    }
}
