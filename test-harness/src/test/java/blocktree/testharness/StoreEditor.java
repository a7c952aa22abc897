package blocktree.testharness;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import org.jspecify.annotations.Nullable;
import org.rocksdb.ColumnFamilyDescriptor;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.ColumnFamilyOptions;
import org.rocksdb.DBOptions;
import org.rocksdb.Options;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;

/**
 * The program of somebody who has the disk: reads and writes the database behind the node's back (docs/format.md, section 4.1). Knows no key
 * of the tree.
 */
final class StoreEditor implements AutoCloseable {
    static final String HEADERS = "headers";
    static final String SECTORS = "sectors";
    static final String NODES = "nodes";
    static final String LOG = "log";
    static final String STATE = "state";

    private static final int ID_SIZE = 32;

    private final RocksDB database;
    private final DBOptions options;
    private final TreeMap<String, ColumnFamilyHandle> families = new TreeMap<>();

    private StoreEditor(Path directory, boolean readOnly) throws RocksDBException {
        RocksDB.loadLibrary();
        List<ColumnFamilyDescriptor> descriptors = new ArrayList<>();
        try (Options listing = new Options()) {
            for (byte[] name : RocksDB.listColumnFamilies(listing, directory.toString())) {
                descriptors.add(new ColumnFamilyDescriptor(name, new ColumnFamilyOptions()));
            }
        }
        List<ColumnFamilyHandle> handles = new ArrayList<>();
        options = new DBOptions();
        database = readOnly
                ? RocksDB.openReadOnly(options, directory.toString(), descriptors, handles)
                : RocksDB.open(options, directory.toString(), descriptors, handles);
        for (int i = 0; i < handles.size(); i++) {
            families.put(new String(descriptors.get(i).getName(), StandardCharsets.US_ASCII), handles.get(i));
        }
    }

    /** The node must not run. */
    static StoreEditor open(TestNode node) throws RocksDBException {
        return open(directory(node));
    }

    static StoreEditor open(Path directory) throws RocksDBException {
        return new StoreEditor(directory, false);
    }

    /** What the database holds now, also while the node runs. */
    static StoreEditor look(TestNode node) throws RocksDBException {
        return new StoreEditor(directory(node), true);
    }

    static Path directory(TestNode node) {
        return node.data().resolve("tree");
    }

    List<Entry> entries(String family) throws RocksDBException {
        List<Entry> entries = new ArrayList<>();
        try (RocksIterator iterator = database.newIterator(family(family))) {
            for (iterator.seekToFirst(); iterator.isValid(); iterator.next()) {
                entries.add(new Entry(iterator.key(), iterator.value()));
            }
            iterator.status();
        }
        return entries;
    }

    /** The entries of one block, in key order: headers newest first, sectors by index and then generation. */
    List<Entry> entries(String family, Id block) throws RocksDBException {
        return entries(family).stream()
                .filter(entry -> entry.block().equals(block))
                .toList();
    }

    /** Ids of the blocks that have headers. */
    TreeSet<Id> blocks() throws RocksDBException {
        TreeSet<Id> blocks = new TreeSet<>();
        entries(HEADERS).forEach(entry -> blocks.add(entry.block()));
        return blocks;
    }

    void put(String family, byte[] key, byte[] value) throws RocksDBException {
        database.put(family(family), key, value);
    }

    void delete(String family, byte[] key) throws RocksDBException {
        database.delete(family(family), key);
    }

    void flipAll(String family) throws RocksDBException {
        for (Entry entry : entries(family)) {
            flip(family, entry);
        }
    }

    /** Turns one bit in the middle of a value. */
    void flip(String family, Entry entry) throws RocksDBException {
        byte[] changed = entry.value().clone();
        changed[changed.length / 2] ^= 0x10;
        put(family, entry.key(), changed);
    }

    private ColumnFamilyHandle family(String name) {
        ColumnFamilyHandle family = families.get(name);
        if (family == null) {
            throw new IllegalStateException("no column family " + name + " among " + families.keySet());
        }
        return family;
    }

    @Override
    public void close() {
        families.values().forEach(ColumnFamilyHandle::close);
        database.close();
        options.close();
    }

    /** The newest entry of each sector index or node place among {@code entries}. */
    static List<Entry> newestOfEachPlace(List<Entry> entries) {
        TreeMap<Id, Entry> newest = new TreeMap<>();
        for (Entry entry : entries) {
            newest.put(new Id(Arrays.copyOf(entry.key(), entry.key().length - Long.BYTES)), entry);
        }
        return List.copyOf(newest.values());
    }

    static Predicate<Entry> ofPlaceOf(Entry one) {
        return other -> Arrays.equals(
                one.key(), 0, one.key().length - Long.BYTES, other.key(), 0, other.key().length - Long.BYTES);
    }

    /** Bytes that compare and sort as keys do. */
    record Id(byte[] bytes) implements Comparable<Id> {
        @Override
        public int compareTo(Id other) {
            return Arrays.compareUnsigned(bytes, other.bytes);
        }

        @Override
        public boolean equals(@Nullable Object other) {
            return other instanceof Id id && Arrays.equals(bytes, id.bytes);
        }

        @Override
        public int hashCode() {
            return Arrays.hashCode(bytes);
        }
    }

    /** A key and its value. */
    @SuppressWarnings("ArrayRecordComponent") // never compared
    record Entry(byte[] key, byte[] value) {
        Id block() {
            return new Id(Arrays.copyOf(key, ID_SIZE));
        }
    }
}
