package blocktree.store;

import blocktree.crypto.Id;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.rocksdb.AbstractNativeReference;
import org.rocksdb.BlockBasedTableConfig;
import org.rocksdb.BloomFilter;
import org.rocksdb.ChecksumType;
import org.rocksdb.ColumnFamilyDescriptor;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.CompactRangeOptions;
import org.rocksdb.CompactRangeOptions.BottommostLevelCompaction;
import org.rocksdb.CompressionType;
import org.rocksdb.DBOptions;
import org.rocksdb.FlushOptions;
import org.rocksdb.InfoLogLevel;
import org.rocksdb.LRUCache;
import org.rocksdb.LogFile;
import org.rocksdb.MutableColumnFamilyOptions;
import org.rocksdb.Options;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.Slice;
import org.rocksdb.SstPartitionerFixedPrefixFactory;
import org.rocksdb.Status;
import org.rocksdb.WALRecoveryMode;
import org.rocksdb.WriteBatch;
import org.rocksdb.WriteOptions;

/**
 * The database under a store: its column families, options and error codes. Thread-safe; the caller sees to it that nothing is in
 * use when it is closed.
 */
final class Rocks implements AutoCloseable {

    /** Values of the sectors family from this size on go to blob files: every sector does. */
    private static final long BLOB_SIZE_MIN = 2048;

    private static final long MIB = 1 << 20;

    /** The part of the blob files that is moved at once at most. */
    private static final int MOVED_DIVISOR = 4;

    /** Blob files are moved whole, and so are small on a small device. */
    private static final int BLOB_FILES_PER_DEVICE = 2048;

    private static final long BLOB_FILE_BYTES_MIN = 4 * MIB;
    private static final long BLOB_FILE_BYTES_MAX = 128 * MIB;

    /** Some sectors together: an index that is a quarter in size, and still little to read for one sector. */
    private static final long STREAM_BLOCK_BYTES = 16 << 10;

    /** Whoever asks for so many sectors reads a stream: its table is read far ahead, and not kept, since the sectors themselves are. */
    private static final int STREAMED_MIN = 32;

    private static final long STREAMED_BYTES = 160 << 10;

    /** Files of the log that are made one. */
    static final int LOG_FILES = 16;

    /** Bounds what one compaction needs of free space. */
    private static final long COMPACTION_BYTES_MAX = 256 * MIB;

    /** Less than this in the log, or in files of sectors, is not worth a flush or a compaction. */
    private static final long SETTLED_BYTES_MIN = 16 * MIB;

    /** What a sector in a blob file takes outside of it: its key, the place of its value, and their share of the table's index. */
    private static final long KEY_BYTES = 80;

    private static final long OWED_NANOS_MAX = 50_000_000;

    private final Path dir;
    private final List<AbstractNativeReference> natives = new ArrayList<>(); // closed in reverse order
    private final Map<Column, ColumnFamilyHandle> families = new EnumMap<>(Column.class);
    private final RocksDB db;
    private final DBOptions dbOptions;
    private final Map<Column, ColumnFamilyOptions> familyOptions = new EnumMap<>(Column.class);
    private final ReadOptions readOptions;
    private final ReadOptions streamOptions;
    private final WriteOptions writeOptions;
    private final WriteOptions unloggedOptions;
    private final long logFileBytes;
    private final DamagedTables damagedTables;
    private final Set<Column> uncompacted = EnumSet.noneOf(Column.class); // a compaction there stops the database
    private volatile long owedBytes;
    private volatile long owedNanos = System.nanoTime() - 2 * OWED_NANOS_MAX;

    enum Mode {
        CREATE,
        WRITE,
        READ_ONLY,
        /** As WRITE, but what a damaged log still holds is taken, and the rest dropped. */
        SALVAGE
    }

    /** From {@code java.library.path}, where the program has it; else RocksDB's loader takes it out of the jar. */
    private static void loadLibrary() throws StoreException {
        try {
            RocksDB.loadLibrary();
        } catch (RuntimeException | UnsatisfiedLinkError e) {
            throw new StoreException(
                    StoreException.Code.IO, "cannot load RocksDB's native library: " + e.getMessage(), e);
        }
    }

    Rocks(Path dir, StoreOptions options, Mode mode) throws StoreException {
        this.dir = dir;
        loadLibrary();
        try {
            dbOptions = own(dbOptions(options, mode));
            LRUCache cache = own(new LRUCache(options.blockCacheBytes()));
            BloomFilter bloom = own(new BloomFilter(10));
            logFileBytes = options.writeBufferBytes() / 2;
            long deviceBytes = dir.toFile().getTotalSpace();
            boolean damaged = mode != Mode.READ_ONLY && DamagedTables.wereMet(dir);
            List<ColumnFamilyDescriptor> descriptors = new ArrayList<>();
            for (Column column : Column.values()) {
                ColumnFamilyOptions family = own(familyOptions(column, options, cache, bloom, deviceBytes));
                if (column == Column.STREAMS) {
                    family.setSstPartitionerFactory(own(new SstPartitionerFixedPrefixFactory(Id.SIZE)));
                }
                family.setDisableAutoCompactions(damaged);
                familyOptions.put(column, family);
                descriptors.add(new ColumnFamilyDescriptor(column.nameBytes(), family));
            }
            List<ColumnFamilyHandle> handles = new ArrayList<>();
            db = own(
                    mode == Mode.READ_ONLY
                            ? RocksDB.openReadOnly(dbOptions, dir.toString(), descriptors, handles)
                            : RocksDB.open(dbOptions, dir.toString(), descriptors, handles));
            for (Column column : Column.values()) {
                families.put(column, own(handles.get(column.ordinal())));
            }
            // With checksums: what leads to a value is parsed in native code, which a damaged file can crash.
            readOptions = own(new ReadOptions());
            streamOptions =
                    own(new ReadOptions().setReadaheadSize(STREAMED_BYTES).setFillCache(false));
            writeOptions = own(new WriteOptions());
            unloggedOptions = own(new WriteOptions().setDisableWAL(true));
            damagedTables = new DamagedTables(this);
            if (damaged) {
                uncompacted.addAll(damagedTables.salvageAtStart());
                db.enableAutoCompaction(families.entrySet().stream()
                        .filter(entry -> !uncompacted.contains(entry.getKey()))
                        .map(Map.Entry::getValue)
                        .toList());
            }
        } catch (RocksDBException e) {
            close();
            throw openFailure(dir, e);
        } catch (StoreException e) {
            close();
            throw e;
        }
    }

    /** Deletes the database in {@code dir}, which nobody has open. */
    static void destroy(Path dir) throws StoreException {
        loadLibrary();
        try (Options options = new Options()) {
            RocksDB.destroyDB(dir.toString(), options);
        } catch (RocksDBException e) {
            throw new StoreException(code(e), "cannot delete the database in " + dir + ": " + e.getMessage(), e);
        }
    }

    private <T extends AbstractNativeReference> T own(T reference) {
        natives.add(reference);
        return reference;
    }

    private static DBOptions dbOptions(StoreOptions options, Mode mode) {
        return new DBOptions()
                .setCreateIfMissing(mode == Mode.CREATE)
                .setErrorIfExists(mode == Mode.CREATE)
                .setCreateMissingColumnFamilies(mode == Mode.CREATE)
                // Anything but a torn tail refuses to open; the anchor tells whether the tail was acknowledged.
                .setWalRecoveryMode(
                        mode == Mode.SALVAGE
                                ? WALRecoveryMode.PointInTimeRecovery
                                : WALRecoveryMode.TolerateCorruptedTailRecords)
                .setDbWriteBufferSize(options.writeBufferBytes())
                .setMaxTotalWalSize(2 * options.writeBufferBytes())
                .setMaxBackgroundJobs(2)
                .setMaxOpenFiles(1024)
                // Lets the kernel read ahead: a cold sequential read is four times as fast, a random one the same.
                .setAdviseRandomOnOpen(false)
                .setSkipStatsUpdateOnDbOpen(true)
                .setBytesPerSync(MIB)
                .setInfoLogLevel(InfoLogLevel.WARN_LEVEL)
                .setMaxLogFileSize(4 * MIB)
                .setKeepLogFileNum(2)
                .setStatsDumpPeriodSec(0);
    }

    private static ColumnFamilyOptions familyOptions(
            Column column, StoreOptions options, LRUCache cache, BloomFilter bloom, long deviceBytes) {
        BlockBasedTableConfig table = new BlockBasedTableConfig()
                .setBlockCache(cache)
                .setCacheIndexAndFilterBlocks(true)
                .setCacheIndexAndFilterBlocksWithHighPriority(true)
                .setPinL0FilterAndIndexBlocksInCache(true)
                .setChecksumType(ChecksumType.kXXH3);
        if (column == Column.HEADERS
                || column == Column.SECTORS
                || column == Column.STREAMS
                || column == Column.NODES) {
            table.setFilterPolicy(bloom);
        }
        if (column == Column.STREAMS) {
            table.setBlockSize(STREAM_BLOCK_BYTES);
        }
        ColumnFamilyOptions family = new ColumnFamilyOptions()
                .setTableFormatConfig(table)
                .setCompressionType(CompressionType.NO_COMPRESSION)
                .setBottommostCompressionType(CompressionType.NO_COMPRESSION)
                .setWriteBufferSize(options.writeBufferBytes() / 3)
                .setMaxCompactionBytes(COMPACTION_BYTES_MAX)
                .setLevelCompactionDynamicLevelBytes(true);
        if (column == Column.LOG) {
            // Its keys only ascend, so that the file of each flush would be moved to the lowest level as it is, and
            // stay as small: compression makes a
            // compaction write anew, and the trigger makes it wait until there is something to write.
            family.setBottommostCompressionType(CompressionType.LZ4_COMPRESSION)
                    .setLevel0FileNumCompactionTrigger(LOG_FILES)
                    .setLevel0SlowdownWritesTrigger(2 * LOG_FILES)
                    .setLevel0StopWritesTrigger(3 * LOG_FILES);
        }
        if (column == Column.SECTORS) {
            family.setEnableBlobFiles(true)
                    .setMinBlobSize(BLOB_SIZE_MIN)
                    .setBlobFileSize(Math.min(
                            Math.max(deviceBytes / BLOB_FILES_PER_DEVICE, BLOB_FILE_BYTES_MIN), BLOB_FILE_BYTES_MAX))
                    .setBlobCompressionType(CompressionType.NO_COMPRESSION)
                    .setEnableBlobGarbageCollection(true)
                    // Sectors die by the collector alone; it says when, and there must be room for it.
                    .setBlobGarbageCollectionAgeCutoff(0);
        }
        return family;
    }

    Path dir() {
        return dir;
    }

    RocksDB db() {
        return db;
    }

    DamagedTables damagedTables() {
        return damagedTables;
    }

    ColumnFamilyHandle family(Column column) {
        ColumnFamilyHandle family = families.get(column);
        if (family == null) {
            throw new IllegalStateException("no column family " + column);
        }
        return family;
    }

    /** For files of sectors to be taken in; the caller closes it before this. */
    Options fileOptions(Column column) {
        return new Options(dbOptions, Objects.requireNonNull(familyOptions.get(column)));
    }

    byte @Nullable [] get(Column column, byte[] key) throws StoreException {
        try {
            return db.get(family(column), readOptions, key);
        } catch (RocksDBException e) {
            throw failure("read " + column.familyName, e);
        }
    }

    /**
     * Reads a sector into {@code target} from its position on, both direct. Returns the size of the value, of which no more than fits
     * was copied; -1 when there is none.
     */
    int getSector(ByteBuffer key, ByteBuffer target) throws StoreException {
        int size = -1;
        for (int i = 0; size < 0 && i < Column.OF_SECTORS.size(); i++) {
            size = getSector(Column.OF_SECTORS.get(i), key.duplicate(), target);
        }
        return size;
    }

    /** The same in one of the families that hold sectors. */
    int getSector(Column column, ByteBuffer key, ByteBuffer target) throws StoreException {
        try {
            return db.get(family(column), readOptions, key, target);
        } catch (RocksDBException e) {
            throw failure("read sector", e);
        }
    }

    /** For {@code count} sectors that lie together; to be closed by the caller. */
    SectorScan scanSectors(int count) {
        return new SectorScan(this, count < STREAMED_MIN ? readOptions : streamOptions);
    }

    void put(Column column, byte[] key, byte[] value) throws StoreException {
        try {
            db.put(family(column), writeOptions, key, value);
        } catch (RocksDBException e) {
            throw failure("write " + column.familyName, e);
        }
    }

    void delete(Column column, byte[] key) throws StoreException {
        try {
            db.delete(family(column), writeOptions, key);
        } catch (RocksDBException e) {
            throw failure("write " + column.familyName, e);
        }
    }

    /** Atomic; in the operating system's hands when it returns, on the device after {@link #syncWal}. */
    void write(WriteBatch batch) throws StoreException {
        try {
            db.write(writeOptions, batch);
        } catch (RocksDBException e) {
            throw failure("write", e);
        }
    }

    /** Throws what ended an iteration, if it was not its end. */
    void checkEnd(RocksIterator it, Column column) throws StoreException {
        try {
            it.status();
        } catch (RocksDBException e) {
            throw failure("scan " + column.familyName, e);
        }
    }

    /** Not through the write-ahead log: on the device only after {@link #flush}, and in parts before. For what a crash may take, and is undone or made anew then. */
    void writeUnlogged(WriteBatch batch) throws StoreException {
        try {
            db.write(unloggedOptions, batch);
        } catch (RocksDBException e) {
            throw failure("write", e);
        }
    }

    /** Everything that was written before the call is on the device when it returns, in the log or not. */
    void flush() throws StoreException {
        try (FlushOptions flush = new FlushOptions().setWaitForFlush(true)) {
            db.flush(flush, List.copyOf(families.values()));
        } catch (RocksDBException e) {
            throw failure("flush", e);
        }
    }

    void syncWal() throws StoreException {
        try {
            db.flushWal(true);
        } catch (RocksDBException e) {
            throw failure("sync", e);
        }
    }

    /** What a scan sees: one entry of a column family. */
    @FunctionalInterface
    interface EntryVisitor {
        /** False ends the scan. */
        boolean visit(byte[] key, byte[] value) throws StoreException;
    }

    /** Visits the entries from {@code from} to before {@code to} (null: to the end) in order of their keys, as of the call. */
    void scan(Column column, byte[] from, byte @Nullable [] to, EntryVisitor visitor) throws StoreException {
        try (Slice upper = to == null ? null : new Slice(to);
                ReadOptions options = new ReadOptions();
                RocksIterator it =
                        db.newIterator(family(column), upper == null ? options : options.setIterateUpperBound(upper))) {
            for (it.seek(from); it.isValid(); it.next()) {
                if (!visitor.visit(it.key(), it.value())) {
                    return;
                }
            }
            it.status();
        } catch (RocksDBException e) {
            throw failure("scan " + column.familyName, e);
        }
    }

    /** The value of the last key; null when the family is empty. */
    byte @Nullable [] last(Column column) throws StoreException {
        try (RocksIterator it = db.newIterator(family(column))) {
            it.seekToLast();
            if (it.isValid()) {
                return it.value();
            }
            it.status();
            return null;
        } catch (RocksDBException e) {
            throw failure("read " + column.familyName, e);
        }
    }

    /**
     * Free bytes of the device less what the database needs to finish what it has begun: to flush the memtables, whose content is in
     * the log only, to begin the next file of the log, which is allocated ahead, and to compact, which writes anew before it removes.
     * At most 50 ms old.
     */
    long freeBytes() throws StoreException {
        totalBytes();
        long now = System.nanoTime();
        if (now - owedNanos > OWED_NANOS_MAX) {
            owedNanos = now;
            owedBytes = owedBytes();
        }
        return dir.toFile().getUsableSpace() - owedBytes;
    }

    private long owedBytes() throws StoreException {
        try {
            long largest = 0;
            for (Map.Entry<Column, ColumnFamilyHandle> entry : families.entrySet()) {
                if (entry.getKey() != Column.SECTORS) {
                    largest = Math.max(largest, tableBytes(entry.getValue()));
                }
            }
            return db.getAggregatedLongProperty("rocksdb.cur-size-all-mem-tables")
                    + logFileBytes
                    + tableBytes(family(Column.SECTORS))
                    + Math.min(largest, COMPACTION_BYTES_MAX);
        } catch (RocksDBException e) {
            throw failure("ask for statistics", e);
        }
    }

    private long tableBytes(ColumnFamilyHandle family) throws RocksDBException {
        return db.getLongProperty(family, "rocksdb.live-sst-files-size");
    }

    /**
     * Makes what the database owes as small as it gets: flushes the memtables, so that the log goes, and moves sectors that came in
     * files of their own, scattered, to blob files. Does nothing when that gives back too little to matter.
     */
    synchronized void settle() throws StoreException {
        ColumnFamilyHandle sectors = family(Column.SECTORS);
        try (FlushOptions flush = new FlushOptions().setWaitForFlush(true);
                CompactRangeOptions compaction = new CompactRangeOptions()
                        .setExclusiveManualCompaction(false)
                        .setBottommostLevelCompaction(BottommostLevelCompaction.kForceOptimized)) {
            long logBytes = 0;
            for (LogFile file : db.getSortedWalFiles()) {
                logBytes += file.sizeFileBytes();
            }
            if (logBytes >= SETTLED_BYTES_MIN) {
                db.flush(flush, List.copyOf(families.values()));
            }
            long keyBytes = KEY_BYTES * db.getLongProperty(sectors, "rocksdb.estimate-num-keys");
            if (tableBytes(sectors) - keyBytes >= SETTLED_BYTES_MIN) {
                compact(Column.SECTORS, compaction);
            }
        } catch (RocksDBException e) {
            throw failure("settle", e);
        } finally {
            owedNanos = System.nanoTime() - 2 * OWED_NANOS_MAX;
        }
    }

    /**
     * Compacts the sectors: those that are deleted go, and the blob files of which nothing is left. When more than {@code deadPartMax}
     * of the blob files is deleted sectors, what lives in the oldest of them is moved, as far as that leaves {@code keptBytes} free. True
     * when that moved something and left too much still.
     */
    boolean reclaimSectors(CompactRangeOptions compaction, double deadPartMax, long keptBytes) throws StoreException {
        ColumnFamilyHandle sectors = family(Column.SECTORS);
        try (FlushOptions flush = new FlushOptions().setWaitForFlush(true)) {
            db.flush(flush, List.of(sectors, family(Column.STREAMS)));
            compaction.setBottommostLevelCompaction(BottommostLevelCompaction.kForceOptimized);
            compact(Column.SECTORS, compaction);
            // Nothing is written again that lies in files of its own.
            compaction.setBottommostLevelCompaction(BottommostLevelCompaction.kSkip);
            compact(Column.STREAMS, compaction);
            long room = dir.toFile().getUsableSpace() - owedBytes() - keptBytes;
            double part = deadPart() > deadPartMax && !uncompacted.contains(Column.SECTORS) ? oldestPart(room / 2) : 0;
            if (part == 0) {
                return false;
            }
            setMovedPart(part);
            try {
                compaction.setBottommostLevelCompaction(BottommostLevelCompaction.kForce);
                compact(Column.SECTORS, compaction);
            } finally {
                setMovedPart(0);
            }
            return deadPart() > deadPartMax;
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "cannot list " + dir, e);
        } catch (RocksDBException e) {
            throw failure("reclaim space", e);
        } finally {
            owedNanos = System.nanoTime() - 2 * OWED_NANOS_MAX;
        }
    }

    private void compact(Column column, CompactRangeOptions compaction) throws RocksDBException {
        if (!uncompacted.contains(column)) {
            db.compactRange(family(column), null, null, compaction);
        }
    }

    /** How much of the blob files is deleted sectors, as far as compactions have met them. */
    private double deadPart() throws RocksDBException {
        ColumnFamilyHandle sectors = family(Column.SECTORS);
        double dead = db.getLongProperty(sectors, "rocksdb.live-blob-file-garbage-size");
        return dead / Math.max(1, db.getLongProperty(sectors, "rocksdb.live-blob-file-size"));
    }

    /** The oldest blob files that have up to so many bytes together, as a part of all. */
    private double oldestPart(long bytesMax) throws IOException {
        List<Path> files = new ArrayList<>();
        try (DirectoryStream<Path> blobs = Files.newDirectoryStream(dir, "*.blob")) {
            blobs.forEach(files::add);
        }
        files.sort(Comparator.comparingInt((Path file) -> file.toString().length())
                .thenComparing(Comparator.naturalOrder()));
        int count = 0;
        long bytes = 0;
        while (count < (files.size() + MOVED_DIVISOR - 1) / MOVED_DIVISOR) {
            bytes += Files.size(files.get(count));
            if (bytes > bytesMax) {
                break;
            }
            count++;
        }
        return count == 0 ? 0 : Math.min((count + 0.5) / files.size(), 1); // the database rounds down
    }

    /** Every compaction that begins from now on moves what lives in this part of the blob files, the oldest. */
    private void setMovedPart(double part) throws RocksDBException {
        db.setOptions(
                family(Column.SECTORS),
                MutableColumnFamilyOptions.builder()
                        .setBlobGarbageCollectionAgeCutoff(part)
                        .build());
    }

    long totalBytes() throws StoreException {
        // Not by a FileStore, which looks for a mount point: in a change of root there may be none.
        long bytes = dir.toFile().getTotalSpace();
        if (bytes == 0) {
            throw new StoreException(StoreException.Code.IO, "cannot ask for the size of " + dir);
        }
        return bytes;
    }

    /** Keys of a family, as RocksDB estimates them. */
    long estimatedKeys(Column column) throws StoreException {
        try {
            return db.getLongProperty(family(column), "rocksdb.estimate-num-keys");
        } catch (RocksDBException e) {
            throw failure("ask for statistics", e);
        }
    }

    /** Bytes that the newest versions of all keys take, as RocksDB estimates them. */
    long liveBytes() throws StoreException {
        try {
            long bytes = 0;
            for (ColumnFamilyHandle family : families.values()) {
                bytes += db.getLongProperty(family, "rocksdb.estimate-live-data-size");
            }
            return bytes + db.getLongProperty(family(Column.SECTORS), "rocksdb.live-blob-file-size");
        } catch (RocksDBException e) {
            throw failure("ask for statistics", e);
        }
    }

    StoreException failure(String what, RocksDBException e) {
        damagedTables.met(e);
        return new StoreException(code(e), "cannot " + what + " in " + dir + ": " + e.getMessage(), e);
    }

    static StoreException.Code code(RocksDBException e) {
        Status status = e.getStatus();
        if (status == null) {
            return StoreException.Code.IO;
        }
        String message = String.valueOf(e.getMessage());
        if (status.getSubCode() == Status.SubCode.NoSpace || message.contains("No space left on device")) {
            return StoreException.Code.NO_SPACE;
        }
        return switch (status.getCode()) {
            case Corruption -> StoreException.Code.CORRUPT;
            case IOError ->
                message.contains("No such file or directory") ? StoreException.Code.CORRUPT : StoreException.Code.IO;
            case TimedOut, Expired -> StoreException.Code.TIMED_OUT;
            case ShutdownInProgress, Aborted -> StoreException.Code.CLOSED;
            default -> StoreException.Code.IO;
        };
    }

    private static StoreException openFailure(Path dir, RocksDBException e) {
        String message = String.valueOf(e.getMessage());
        if (message.contains("lock hold by") || message.contains("While lock file")) {
            return new StoreException(
                    StoreException.Code.LOCKED, "another node runs on " + dir + ": stop it first (" + message + ")", e);
        }
        if (message.contains("does not exist (create_if_missing is false)")) {
            return new StoreException(StoreException.Code.NOT_FOUND, "no store in " + dir, e);
        }
        if (message.contains("exists (error_if_exists is true)")) {
            return new StoreException(StoreException.Code.INVALID, "there is a store in " + dir + " already", e);
        }
        return new StoreException(code(e), "cannot open " + dir + ": " + message, e);
    }

    @Override
    public void close() {
        for (int i = natives.size() - 1; i >= 0; i--) {
            natives.get(i).close();
        }
        natives.clear();
    }
}
