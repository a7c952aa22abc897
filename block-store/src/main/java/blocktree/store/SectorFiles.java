package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import blocktree.crypto.BlockId;
import blocktree.crypto.Id;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.rocksdb.EnvOptions;
import org.rocksdb.IngestExternalFileOptions;
import org.rocksdb.Options;
import org.rocksdb.RocksDBException;
import org.rocksdb.SstFileWriter;
import org.rocksdb.WriteBatch;

/**
 * Brings many sectors of one block into the database as a file of their own instead of through the write-ahead log, which would write
 * them twice and compute two slow checksums over them.
 *
 * <p>Why that is safe in a crash: the file is written and synced first. Once the commit has its place in the log (nothing can come
 * between, see {@link Ledger}) a row of the local family names what is about to come, then the file is moved in, then the commit's
 * batch is written, which removes the row. A crash before the batch leaves sectors that no header names: the commit is absent as a
 * whole. The next start finds the row and deletes them; where even the row was lost, a later commit of the same generation
 * overwrites them, and fsck lists what is left.
 */
final class SectorFiles implements AutoCloseable {

    /** Fewer bytes than this go through the log: a file costs a sync of its own. */
    private static final long BYTES_MIN = 2 << 20;

    private static final int SECTOR_SIZE_LOG2_MIN = 14;

    private static final byte[] ROWS = "store.incoming\0".getBytes(US_ASCII);

    private final Rocks rocks;
    private final Path dir;
    private final AtomicLong sequence = new AtomicLong();
    private final Options options;
    private final EnvOptions envOptions = new EnvOptions();
    private final IngestExternalFileOptions ingestOptions =
            new IngestExternalFileOptions().setMoveFiles(true).setWriteGlobalSeqno(false);

    SectorFiles(Rocks rocks, Path dir) {
        this.rocks = rocks;
        this.dir = dir;
        this.options = rocks.sectorFileOptions();
    }

    /** Whether the sectors of {@code block} are worth a file. */
    static boolean isWorthFile(SealedBlock block) {
        return block.header().sectorSizeLog2() >= SECTOR_SIZE_LOG2_MIN
                && (long) block.sectors().size() << block.header().sectorSizeLog2() >= BYTES_MIN;
    }

    /** Deletes what a crash left: files that were not moved in, and sectors of commits that did not come about. */
    void clean() throws StoreException {
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
        List<byte[]> rows = new ArrayList<>();
        rocks.scan(Column.LOCAL, ROWS, Keys.after(ROWS), (key, value) -> {
            if (key.length == ROWS.length + Id.SIZE + Long.BYTES) {
                rows.add(key);
            }
            return true;
        });
        for (byte[] row : rows) {
            BlockId block = BlockId.of(row, ROWS.length);
            long generation = Keys.getU64(row, ROWS.length + Id.SIZE);
            if (rocks.get(Column.HEADERS, Keys.header(block, generation)) == null) {
                deleteSectors(block, generation);
            }
            rocks.delete(Column.LOCAL, row);
        }
    }

    private void deleteSectors(BlockId block, long generation) throws StoreException {
        try (WriteBatch batch = new WriteBatch()) {
            byte[] prefix = block.toBytes();
            rocks.scan(Column.SECTORS, prefix, Keys.after(prefix), (key, value) -> {
                try {
                    if (Keys.sectorGeneration(key) == generation) {
                        batch.delete(rocks.family(Column.SECTORS), key);
                    }
                    return true;
                } catch (RocksDBException e) {
                    throw rocks.failure("clean sectors", e);
                }
            });
            rocks.write(batch);
        }
    }

    /** Writes and syncs a file of the sectors of {@code block}. */
    Path write(SealedBlock block) throws StoreException {
        Path file = dir.resolve(sequence.incrementAndGet() + ".sst");
        try (SstFileWriter writer = new SstFileWriter(envOptions, options)) {
            writer.open(file.toString());
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
    void ingest(List<SealedBlock> blocks, List<Path> files, WriteBatch commitBatch) throws StoreException {
        try (WriteBatch rows = new WriteBatch()) {
            for (SealedBlock block : blocks) {
                byte[] row = row(block);
                rows.put(rocks.family(Column.LOCAL), row, new byte[0]);
                commitBatch.delete(rocks.family(Column.LOCAL), row);
            }
            rocks.write(rows);
            rocks.db()
                    .ingestExternalFile(
                            rocks.family(Column.SECTORS),
                            files.stream().map(Path::toString).toList(),
                            ingestOptions);
        } catch (RocksDBException e) {
            throw rocks.failure("take in sectors", e);
        }
    }

    private static byte[] row(SealedBlock block) {
        byte[] row = new byte[ROWS.length + Id.SIZE + Long.BYTES];
        System.arraycopy(ROWS, 0, row, 0, ROWS.length);
        block.header().block().writeTo(row, ROWS.length);
        Keys.putU64(row, ROWS.length + Id.SIZE, block.header().generation());
        return row;
    }

    /** Deletes files that were not moved in. */
    void discard(List<Path> files) {
        for (Path file : files) {
            try {
                Files.deleteIfExists(file);
            } catch (IOException e) {
                // The next start deletes it.
            }
        }
    }

    @Override
    public void close() {
        ingestOptions.close();
        envOptions.close();
        options.close();
    }
}
