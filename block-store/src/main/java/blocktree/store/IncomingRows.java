package blocktree.store;

import blocktree.crypto.BlockId;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.rocksdb.EnvOptions;
import org.rocksdb.IngestExternalFileOptions;
import org.rocksdb.Options;
import org.rocksdb.RocksDBException;
import org.rocksdb.SstFileWriter;
import org.rocksdb.WriteBatch;

/**
 * Brings many rows into a database that nobody else has open, past its write-ahead log: they are written once. On the device after {@link #flush}. The sectors
 * of a block, which come in the order of their keys, go to files of their own where they are many and lie together ({@link SectorFiles} says why). For one
 * thread; memory is bounded by the sizes below.
 */
final class IncomingRows implements AutoCloseable {

    private static final long BATCH_BYTES = 1 << 20;

    private static final long FILE_BYTES_MAX = 64 << 20;

    /** Files are moved in together: each time costs a sync. */
    private static final int FILES_MAX = 16;

    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    private record Held(byte[] key, byte[] value) {}

    private final Rocks rocks;
    private final Path dir;
    private final WriteBatch batch = new WriteBatch();
    private final Options options;
    private final EnvOptions envOptions = new EnvOptions();
    private final IngestExternalFileOptions ingestOptions =
            new IngestExternalFileOptions().setMoveFiles(true).setWriteGlobalSeqno(false);
    /** Sectors of a block are held back until it is known whether they are worth a file. */
    private final List<Held> held = new ArrayList<>();

    private long heldBytes;
    private boolean deciding = true; // of the block under way
    private @Nullable SstFileWriter file;
    private long fileBytes;
    private final List<Path> files = new ArrayList<>();
    private long sequence;

    /** Files are made in {@code dir}, on the device of the database. */
    IncomingRows(Rocks rocks, Path dir) throws StoreException {
        this.rocks = rocks;
        this.dir = dir;
        try {
            Files.createDirectories(dir);
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "cannot make " + dir + ": " + e.getMessage(), e);
        }
        options = rocks.fileOptions(Column.STREAMS);
    }

    void put(Column column, byte[] key, byte[] value) throws StoreException {
        try {
            batch.put(rocks.family(column), key, value);
        } catch (RocksDBException e) {
            throw rocks.failure("write " + column.familyName, e);
        }
        if (batch.getDataSize() >= BATCH_BYTES) {
            write();
        }
    }

    /** What was put can be read in the database when this returns; sectors aside. */
    void write() throws StoreException {
        if (batch.count() > 0) {
            rocks.writeUnlogged(batch);
            batch.clear();
        }
    }

    /** A sector of the block under way, behind all that came of it before. */
    void putSector(BlockId block, long index, long generation, byte[] ciphertext) throws StoreException {
        byte[] key = Keys.sector(block, index, generation);
        if (file != null) {
            putFile(key, ciphertext);
        } else if (!deciding) {
            put(Column.SECTORS, key, ciphertext);
        } else {
            held.add(new Held(key, ciphertext));
            heldBytes += ciphertext.length;
            if (heldBytes >= SectorFiles.BYTES_MIN) {
                decide();
            }
        }
    }

    private void decide() throws StoreException {
        boolean run = SectorFiles.isRun(
                held.size(), Keys.sectorIndex(held.get(0).key), Keys.sectorIndex(held.get(held.size() - 1).key));
        deciding = false;
        for (Held sector : held) {
            if (run) {
                putFile(sector.key, sector.value);
            } else {
                put(Column.SECTORS, sector.key, sector.value);
            }
        }
        held.clear();
        heldBytes = 0;
    }

    private void putFile(byte[] key, byte[] value) throws StoreException {
        try {
            SstFileWriter writer = file;
            if (writer == null) {
                writer = new SstFileWriter(envOptions, options);
                file = writer;
                fileBytes = 0;
                Path path = dir.resolve("taken-" + ++sequence + ".sst");
                files.add(path);
                writer.open(path.toString());
            }
            writer.put(key, value);
            fileBytes += value.length;
            if (fileBytes >= FILE_BYTES_MAX) {
                finishFile();
                deciding = true;
            }
        } catch (RocksDBException e) {
            throw rocks.failure("write sectors", e);
        }
    }

    /** The sectors of the next block come next. */
    void endBlock() throws StoreException {
        for (Held sector : held) {
            put(Column.SECTORS, sector.key, sector.value);
        }
        held.clear();
        heldBytes = 0;
        deciding = true;
        finishFile();
    }

    private void finishFile() throws StoreException {
        SstFileWriter writer = file;
        if (writer == null) {
            return;
        }
        try {
            writer.finish();
        } catch (RocksDBException e) {
            throw rocks.failure("write sectors", e);
        } finally {
            writer.close();
            file = null;
        }
        if (files.size() >= FILES_MAX) {
            ingest();
        }
    }

    private void ingest() throws StoreException {
        if (files.isEmpty()) {
            return;
        }
        try {
            rocks.db()
                    .ingestExternalFile(
                            rocks.family(Column.STREAMS),
                            files.stream().map(Path::toString).toList(),
                            ingestOptions);
            files.clear();
        } catch (RocksDBException e) {
            throw rocks.failure("take in sectors", e);
        }
    }

    /** Everything is in the database and on the device when this returns. */
    void flush() throws StoreException {
        endBlock();
        ingest();
        write();
        rocks.flush();
    }

    @Override
    public void close() {
        SstFileWriter writer = file;
        if (writer != null) {
            writer.close();
        }
        for (Path path : files) {
            try {
                Files.deleteIfExists(path);
            } catch (IOException e) {
                // The next start deletes it.
            }
        }
        batch.close();
        ingestOptions.close();
        envOptions.close();
        options.close();
    }
}
