package blocktree.store;

import java.io.IOException;
import java.math.BigInteger;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.rocksdb.EnvOptions;
import org.rocksdb.IngestExternalFileOptions;
import org.rocksdb.LiveFileMetaData;
import org.rocksdb.Options;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.SstFileReader;
import org.rocksdb.SstFileReaderIterator;
import org.rocksdb.SstFileWriter;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Takes tables of the database that are damaged out of it, before a compaction meets them: a compaction that cannot read a table stops
 * the whole database from writing, and there is no other one than to leave the table alone.
 *
 * <p>What can be read of a table is written anew and taken in above it, then the table is dropped; it is kept beside the database, in
 * {@code damaged}. What could not be read is absent from then on: to readers and fsck that is as much an error as before, and it ends
 * when the block is removed. A crash between the two steps leaves both, and the next one who meets the damage begins again.
 *
 * <p>Only of families whose keys are written once, and whose values are in the tables. Other tables, and those that were flushed and
 * not compacted yet, which the database does not drop, stay: their family is not compacted any more from the next start on.
 *
 * <p>Thread-safe; nobody may write sectors or nodes during {@link #salvage}.
 */
final class DamagedTables {

    private static final Logger log = LoggerFactory.getLogger(DamagedTables.class);

    private static final Set<Column> WRITTEN_ONCE = Set.of(Column.STREAMS, Column.NODES);

    private static final Pattern TABLE = Pattern.compile("\\b(\\d{6,}\\.sst)\\b");

    /** The last bytes of a key are a generation: behind a key that cannot be read, the next index comes first. */
    private static final BigInteger NEXT_INDEX = BigInteger.ONE.shiftLeft(Long.SIZE);

    /** So many indexes are tried one by one: as many sectors as a table has, so that what lies between two damaged places is found. */
    private static final int STEPS = 16_384;

    private final Rocks rocks;
    private final Path list;
    private final Set<String> met = ConcurrentHashMap.newKeySet();
    private final Set<String> kept = ConcurrentHashMap.newKeySet(); // those that cannot be taken out

    /** With the tables that {@link #remember} was called for when the store ran last. */
    DamagedTables(Rocks rocks) throws StoreException {
        this.rocks = rocks;
        this.list = listIn(rocks.dir());
        if (wereMet(rocks.dir())) {
            try {
                met.addAll(Files.readAllLines(list));
            } catch (IOException e) {
                throw new StoreException(StoreException.Code.IO, "cannot read " + list + ": " + e.getMessage(), e);
            }
        }
    }

    private static Path listIn(Path dir) {
        return dir.resolve("damaged-tables");
    }

    /** Whether the database in {@code dir} must not compact anything before {@link #salvage}. */
    static boolean wereMet(Path dir) {
        return Files.exists(listIn(dir));
    }

    /** Notes the table that {@code e} names. */
    void met(RocksDBException e) {
        Matcher matcher = TABLE.matcher(String.valueOf(e.getMessage()));
        if (Rocks.code(e) == StoreException.Code.CORRUPT && matcher.find() && !kept.contains(matcher.group(1))) {
            met.add(matcher.group(1));
        }
    }

    /** The tables that were met are for the next start, since this database writes nothing any more. */
    void remember() {
        Set<String> names = new TreeSet<>(met);
        names.addAll(kept);
        try {
            if (!names.isEmpty()) {
                Files.write(list, names);
            }
        } catch (IOException e) {
            log.atWarn().addKeyValue("reason", e.getMessage()).log("damaged_tables_forgotten");
        }
    }

    /** The families of tables that could not be taken out. */
    Set<Column> salvageAtStart() throws StoreException {
        salvage();
        Set<Column> families = new TreeSet<>();
        for (String name : kept) {
            LiveFileMetaData table = find(name);
            if (table != null) {
                families.add(column(table));
            }
        }
        if (families.isEmpty()) {
            try {
                Files.deleteIfExists(list);
            } catch (IOException e) {
                throw new StoreException(StoreException.Code.IO, "cannot remove " + list + ": " + e.getMessage(), e);
            }
        }
        return families;
    }

    /** Takes out the tables that were met since the last call; true when there was one. */
    boolean salvage() {
        boolean salvaged = false;
        for (String name : List.copyOf(met)) {
            met.remove(name);
            try {
                LiveFileMetaData table = find(name);
                salvaged |= table != null && salvage(name, table);
            } catch (StoreException e) {
                keep(name, String.valueOf(e.getMessage()));
            }
        }
        return salvaged;
    }

    private @Nullable LiveFileMetaData find(String name) {
        for (LiveFileMetaData file : rocks.db().getLiveFilesMetaData()) {
            if (nameOf(file).equals(name)) {
                return file;
            }
        }
        return null;
    }

    private static String nameOf(LiveFileMetaData file) {
        return file.fileName().substring(file.fileName().lastIndexOf('/') + 1);
    }

    private static Column column(LiveFileMetaData file) {
        for (Column column : Column.values()) {
            if (Arrays.equals(file.columnFamilyName(), column.nameBytes())) {
                return column;
            }
        }
        throw new IllegalStateException("no column of " + file.fileName());
    }

    private void keep(String name, String reason) {
        if (kept.add(name)) {
            log.atError()
                    .addKeyValue("table", name)
                    .addKeyValue("reason", reason)
                    .log("table_damaged");
        }
    }

    private boolean salvage(String name, LiveFileMetaData table) throws StoreException {
        Column column = column(table);
        if (!WRITTEN_ONCE.contains(column) || table.level() == 0) {
            keep(name, "it is of " + column.familyName + ", at level " + table.level());
            return false;
        }
        Path copy = rocks.dir().resolve("incoming").resolve("salvage.sst");
        try {
            keepFile(name);
            Files.createDirectories(rocks.dir().resolve("incoming"));
            // Dropping a range takes every table that lies in it.
            TreeSet<byte[]> keys = new TreeSet<>(Arrays::compareUnsigned);
            for (LiveFileMetaData file : rocks.db().getLiveFilesMetaData()) {
                if (column(file) == column && file.level() > 0 && isWithin(file, table)) {
                    addKeys(column, file, keys);
                }
            }
            long entries = write(column, copy, keys, Arrays.copyOf(table.largestKey(), table.largestKey().length + 1));
            try (IngestExternalFileOptions moving =
                    new IngestExternalFileOptions().setMoveFiles(true).setWriteGlobalSeqno(false)) {
                rocks.db().ingestExternalFile(rocks.family(column), List.of(copy.toString()), moving);
            }
            rocks.db()
                    .deleteFilesInRanges(rocks.family(column), List.of(table.smallestKey(), table.largestKey()), true);
            if (find(name) != null) {
                keep(name, "a compaction has it");
                return false;
            }
            log.atWarn()
                    .addKeyValue("table", name)
                    .addKeyValue("entries", entries)
                    .log("table_salvaged");
            return true;
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "cannot salvage " + name + ": " + e.getMessage(), e);
        } catch (RocksDBException e) {
            throw new StoreException(Rocks.code(e), "cannot salvage " + name + ": " + e.getMessage(), e);
        }
    }

    private void keepFile(String name) throws IOException {
        Path kept = rocks.dir().resolve("damaged");
        Files.createDirectories(kept);
        if (!Files.exists(kept.resolve(name))) {
            Files.createLink(kept.resolve(name), rocks.dir().resolve(name));
        }
    }

    private static boolean isWithin(LiveFileMetaData file, LiveFileMetaData range) {
        return Arrays.compareUnsigned(file.smallestKey(), range.smallestKey()) >= 0
                && Arrays.compareUnsigned(file.largestKey(), range.largestKey()) <= 0;
    }

    /** All keys of a table that can be read. */
    private void addKeys(Column column, LiveFileMetaData file, Set<byte[]> keys) {
        try (Options options = rocks.fileOptions(column);
                SstFileReader reader = new SstFileReader(options);
                ReadOptions readOptions = new ReadOptions().setFillCache(false)) {
            reader.open(rocks.dir().resolve(nameOf(file)).toString());
            Probe probe = key -> {
                // A new one each time: one that has failed may fail where it would not.
                SstFileReaderIterator it = reader.newIterator(readOptions);
                it.seek(key);
                if (it.isValid() || isAtEnd(it)) {
                    return it;
                }
                it.close();
                return null;
            };
            byte[] place = file.smallestKey();
            SstFileReaderIterator next = probe.seek(place);
            for (boolean atEnd = false; !atEnd; next = atEnd ? null : seekBehind(probe, place)) {
                try (SstFileReaderIterator it = next) {
                    for (; it != null && it.isValid(); it.next()) {
                        place = it.key();
                        keys.add(place);
                    }
                    atEnd = it != null && isAtEnd(it);
                }
            }
        } catch (RocksDBException e) {
            // nothing of it can be read
        }
    }

    /** An iterator at a key, or behind the last one; null when what comes there cannot be read. */
    @FunctionalInterface
    private interface Probe {
        @Nullable
        SstFileReaderIterator seek(byte[] key);
    }

    private static boolean isAtEnd(SstFileReaderIterator it) {
        try {
            it.status();
            return !it.isValid();
        } catch (RocksDBException e) {
            return false;
        }
    }

    /** Where something can be read again behind the damage that begins behind {@code key}. */
    private static SstFileReaderIterator seekBehind(Probe probe, byte[] key) throws RocksDBException {
        int size = key.length;
        BigInteger damaged = new BigInteger(1, key);
        BigInteger distance = NEXT_INDEX;
        for (int step = 1; ; step++) {
            BigInteger next = damaged.add(distance);
            if (next.bitLength() > size * Byte.SIZE) {
                throw new RocksDBException("the end of a table cannot be read");
            }
            SstFileReaderIterator it = probe.seek(bytes(next, size));
            if (it != null) {
                it.close();
                return seekBetween(probe, damaged, next, size);
            }
            damaged = next;
            if (step >= STEPS) {
                distance = distance.shiftLeft(1);
            }
        }
    }

    /** By halves, to the first key from which on something can be read. */
    private static SstFileReaderIterator seekBetween(Probe probe, BigInteger damaged, BigInteger readable, int size)
            throws RocksDBException {
        BigInteger low = damaged;
        BigInteger high = readable;
        while (high.subtract(low).compareTo(BigInteger.ONE) > 0) {
            BigInteger middle = low.add(high).shiftRight(1);
            SstFileReaderIterator it = probe.seek(bytes(middle, size));
            if (it == null) {
                low = middle;
            } else {
                it.close();
                high = middle;
            }
        }
        SstFileReaderIterator it = probe.seek(bytes(high, size));
        if (it == null) {
            throw new RocksDBException("what could be read of a table cannot be read again");
        }
        return it;
    }

    private static byte[] bytes(BigInteger key, int size) {
        byte[] bytes = key.toByteArray();
        byte[] padded = new byte[size];
        int count = Math.min(bytes.length, size); // a leading zero byte may be the sign
        System.arraycopy(bytes, bytes.length - count, padded, size - count, count);
        return padded;
    }

    /**
     * Writes what the database has under {@code keys}, and under {@code end}, behind them, that there is nothing: a table that ends there
     * does not lie in the range that is dropped. Gives the number of entries.
     */
    private long write(Column column, Path path, Set<byte[]> keys, byte[] end) throws RocksDBException {
        long entries = 0;
        try (Options options = rocks.fileOptions(column);
                EnvOptions env = new EnvOptions();
                SstFileWriter writer = new SstFileWriter(env, options);
                ReadOptions readOptions =
                        new ReadOptions().setTotalOrderSeek(true).setFillCache(false);
                RocksIterator it = rocks.db().newIterator(rocks.family(column), readOptions)) {
            writer.open(path.toString());
            for (byte[] key : keys) {
                it.seek(key);
                // Where it cannot read on behind the key, the key itself is deleted.
                if (it.isValid() && Arrays.equals(it.key(), key)) {
                    writer.put(key, it.value());
                    entries++;
                }
            }
            writer.delete(end);
            writer.finish();
        }
        return entries;
    }
}
