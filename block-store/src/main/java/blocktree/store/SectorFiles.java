package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import blocktree.crypto.BlockId;
import blocktree.crypto.Id;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicLong;
import org.rocksdb.EnvOptions;
import org.rocksdb.IngestExternalFileOptions;
import org.rocksdb.Options;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.Slice;
import org.rocksdb.SstFileWriter;
import org.rocksdb.WriteBatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings many sectors of one block into the database as a file of their own instead of through the write-ahead log, which would write
 * them twice and compute two slow checksums over them.
 *
 * <p>A run, sectors that lie together, goes to the family of streams, and its file stays as it is: files there are cut where a block
 * ends, so that none spans another block's and each finds room at the lowest level. What is scattered over a block would make each file
 * overlap with all the others of that block; it goes to the other sectors, where compaction writes it once more, to blob files.
 *
 * <p>Why that is safe in a crash: the file is written and synced first. Once the commit has its place in the log (nothing can come
 * between, see {@link Ledger}) a row of the local family names what is about to come, then the file is moved in, then
 * the commit's batch is written, which removes the row. A crash before the batch leaves sectors that no header names: the commit is
 * absent as a whole. The next start finds the row and deletes them. Where even the row was lost, a later commit of the same
 * generation overwrites them or goes to the other family: readers take the one whose hash is named, and fsck lists what is left.
 */
final class SectorFiles implements AutoCloseable {

    private static final Logger log = LoggerFactory.getLogger(SectorFiles.class);

    /** Fewer bytes than this go through the log: a file costs a sync of its own. */
    static final long BYTES_MIN = 2 << 20;

    static final byte[] ROWS = "store.incoming\0".getBytes(US_ASCII);

    private static final int DELETIONS_PER_BATCH = 1_000;

    /** Where less than one sector in so many of a range is written, that is no run. */
    private static final int RUN_DIVISOR = 2;

    /** Sectors of a commit that did not come about. */
    private record Range(BlockId block, long generation, long firstIndex, long lastIndex) {}

    /** A file that was written, and where it belongs. */
    record SectorFile(Path path, Column column) {}

    private final Rocks rocks;
    private final Path dir;
    private final AtomicLong sequence = new AtomicLong();
    private final Map<Column, Options> options = new EnumMap<>(Column.class);
    private final EnvOptions envOptions = new EnvOptions();
    private final IngestExternalFileOptions ingestOptions =
            new IngestExternalFileOptions().setMoveFiles(true).setWriteGlobalSeqno(false);

    SectorFiles(Rocks rocks, Path dir) {
        this.rocks = rocks;
        this.dir = dir;
        for (Column column : Column.OF_SECTORS) {
            options.put(column, rocks.fileOptions(column));
        }
    }

    /** Whether the sectors of {@code block} are worth a file. */
    static boolean isWorthFile(SealedBlock block) {
        return (long) block.sectors().size() << block.header().sectorSizeLog2() >= BYTES_MIN;
    }

    /** Whether so many sectors of a range lie together. */
    static boolean isRun(int count, long firstIndex, long lastIndex) {
        return count >= (lastIndex - firstIndex + 1) / RUN_DIVISOR;
    }

    /** The newest generation of a block; 0 when it was never created. */
    @FunctionalInterface
    interface Newest {
        long of(BlockId block) throws StoreException;
    }

    /** Deletes what a crash left: files that were not moved in, and sectors of commits that did not come about. */
    void clean(Newest newest) throws StoreException {
        try {
            Files.createDirectories(dir);
            try (DirectoryStream<Path> files = Files.newDirectoryStream(dir)) {
                for (Path file : files) {
                    Files.deleteIfExists(file);
                }
            }
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "cannot clean " + dir + ": " + e.getMessage(), e);
        }
        Map<byte[], byte[]> rows = new LinkedHashMap<>();
        rocks.scan(Column.LOCAL, ROWS, Keys.after(ROWS), (key, value) -> {
            rows.put(key, value);
            return true;
        });
        for (Map.Entry<byte[], byte[]> row : rows.entrySet()) {
            byte[] key = row.getKey();
            byte[] range = row.getValue();
            if (key.length == ROWS.length + Id.SIZE + Long.BYTES && range.length == 2 * Long.BYTES) {
                BlockId block = BlockId.of(key, ROWS.length);
                long generation = Keys.getU64(key, ROWS.length + Id.SIZE);
                // A generation that is not newer than the newest was committed, be it by a later attempt: its sectors
                // are in use.
                if (newest.of(block) < generation) {
                    deleteSectors(new Range(block, generation, Keys.getU64(range, 0), Keys.getU64(range, Long.BYTES)));
                }
            }
            rocks.delete(Column.LOCAL, key);
        }
    }

    private void deleteSectors(Range range) throws StoreException {
        for (Column column : Column.OF_SECTORS) {
            deleteSectors(range, column);
        }
    }

    private void deleteSectors(Range range, Column column) throws StoreException {
        try (ReadOptions readOptions = new ReadOptions();
                Slice upper = new Slice(Keys.sector(range.block, range.lastIndex, -1));
                RocksIterator it =
                        rocks.db().newIterator(rocks.family(column), readOptions.setIterateUpperBound(upper));
                WriteBatch batch = new WriteBatch()) {
            for (it.seek(Keys.sector(range.block, range.firstIndex, 0)); it.isValid(); it.next()) {
                if (Keys.sectorGeneration(it.key()) == range.generation) {
                    batch.delete(rocks.family(column), it.key());
                }
                if (batch.count() >= DELETIONS_PER_BATCH) {
                    rocks.write(batch);
                    batch.clear();
                }
            }
            it.status();
            rocks.write(batch);
        } catch (RocksDBException e) {
            throw rocks.failure("clean sectors", e);
        }
    }

    /** Under the commit lock, after {@link #ingest} or the commit's batch failed: as far as it goes, else the next start does it. */
    void undo(List<SealedBlock> blocks) {
        try {
            for (SealedBlock block : blocks) {
                Header header = block.header();
                deleteSectors(new Range(
                        header.block(),
                        header.generation(),
                        block.sectors().firstKey(),
                        block.sectors().lastKey()));
                rocks.delete(Column.LOCAL, row(header.block(), header.generation()));
            }
        } catch (StoreException e) {
            log.atWarn().addKeyValue("reason", e.getMessage()).log("incoming_kept");
        }
    }

    /** Writes and syncs a file of the sectors of {@code block}. */
    SectorFile write(SealedBlock block) throws StoreException {
        boolean run = isRun(
                block.sectors().size(),
                block.sectors().firstKey(),
                block.sectors().lastKey());
        Column column = run ? Column.STREAMS : Column.SECTORS;
        SectorFile file = new SectorFile(dir.resolve(sequence.incrementAndGet() + ".sst"), column);
        try (SstFileWriter writer = new SstFileWriter(envOptions, Objects.requireNonNull(options.get(column)))) {
            writer.open(file.path.toString());
            ByteBuffer key = ByteBuffer.allocateDirect(Keys.SECTOR_SIZE);
            for (Map.Entry<Long, Sector> sector : block.sectors().entrySet()) {
                key.clear();
                key.put(Keys.sector(
                                block.header().block(),
                                sector.getKey(),
                                block.header().generation()))
                        .flip();
                writer.put(key, sector.getValue().ciphertext().duplicate());
            }
            writer.finish();
            return file;
        } catch (RocksDBException e) {
            discard(List.of(file));
            throw rocks.failure("write sectors", e);
        }
    }

    /** Under the commit lock: moves the files in. The rows that name them are for the commit's batch to remove. */
    void ingest(List<SealedBlock> blocks, List<SectorFile> files, WriteBatch commitBatch) throws StoreException {
        try (WriteBatch rows = new WriteBatch()) {
            for (SealedBlock block : blocks) {
                byte[] row = row(block.header().block(), block.header().generation());
                byte[] range = new byte[2 * Long.BYTES];
                Keys.putU64(range, 0, block.sectors().firstKey());
                Keys.putU64(range, Long.BYTES, block.sectors().lastKey());
                rows.put(rocks.family(Column.LOCAL), row, range);
                commitBatch.delete(rocks.family(Column.LOCAL), row);
            }
            rocks.write(rows);
            for (Column column : options.keySet()) {
                List<String> paths = files.stream()
                        .filter(file -> file.column == column)
                        .map(file -> file.path.toString())
                        .toList();
                if (!paths.isEmpty()) {
                    rocks.db().ingestExternalFile(rocks.family(column), paths, ingestOptions);
                }
            }
        } catch (RocksDBException e) {
            throw rocks.failure("take in sectors", e);
        }
    }

    private static byte[] row(BlockId block, long generation) {
        byte[] row = new byte[ROWS.length + Id.SIZE + Long.BYTES];
        System.arraycopy(ROWS, 0, row, 0, ROWS.length);
        block.writeTo(row, ROWS.length);
        Keys.putU64(row, ROWS.length + Id.SIZE, generation);
        return row;
    }

    /** Deletes files that were not moved in. */
    void discard(List<SectorFile> files) {
        for (SectorFile file : files) {
            try {
                Files.deleteIfExists(file.path);
            } catch (IOException e) {
                // The next start deletes it.
            }
        }
    }

    @Override
    public void close() {
        ingestOptions.close();
        envOptions.close();
        options.values().forEach(Options::close);
    }
}
