package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * This node's own key/value table (access times, orphans): not part of the tree, never sent. Values are sealed for this node; keys lie
 * on the disk as they are: keep plaintext out of them. A write is durable after the next {@link BlockStore#sync}. Thread-safe.
 */
public final class LocalTable {

    private final BlockStore store;
    private final byte[] prefix;

    LocalTable(BlockStore store, String table) {
        this.store = store;
        this.prefix = key(table, new byte[0]);
    }

    /** Table names are ASCII without NUL, which ends them. */
    static byte[] key(String table, byte[] key) {
        if (table.isEmpty() || table.chars().anyMatch(c -> c == 0 || c > 126)) {
            throw new IllegalArgumentException("a table's name is ASCII");
        }
        byte[] name = table.getBytes(US_ASCII);
        byte[] whole = Arrays.copyOf(name, name.length + 1 + key.length);
        System.arraycopy(key, 0, whole, name.length + 1, key.length);
        return whole;
    }

    /** Whether the row of that whole key is of such a table, not one of the store's own, which lie in the clear. */
    static boolean isSealed(byte[] whole) {
        return !startsWith(whole, Scrub.CURSOR) && !startsWith(whole, SectorFiles.ROWS);
    }

    private static boolean startsWith(byte[] whole, byte[] start) {
        return whole.length >= start.length && Arrays.equals(whole, 0, start.length, start, 0, start.length);
    }

    private byte[] whole(byte[] key) {
        byte[] whole = Arrays.copyOf(prefix, prefix.length + key.length);
        System.arraycopy(key, 0, whole, prefix.length, key.length);
        return whole;
    }

    /** Null when there is none; CORRUPT when it is not what this node put there. */
    public byte @Nullable [] get(byte[] key) throws StoreException {
        byte[] whole = whole(key);
        try (Gate.Pass pass = store.gate().enter()) {
            byte[] sealed = store.readLocal(whole);
            return sealed == null ? null : store.openLocal(whole, sealed);
        }
    }

    public void put(byte[] key, byte[] value) throws StoreException {
        byte[] whole = whole(key);
        try (Gate.Pass pass = store.gate().enter()) {
            store.writeLocal(whole, store.localCipher().seal(whole, value));
        }
    }

    public void delete(byte[] key) throws StoreException {
        store.writeLocal(whole(key), null);
    }

    /** All entries in ascending order of their keys, as of the call; CORRUPT, before the first, when one is not what this node put there. */
    public void forEach(BiConsumer<byte[], byte[]> action) throws StoreException {
        List<byte[][]> entries = new ArrayList<>();
        store.scanLocal(prefix, (key, value) -> {
            entries.add(new byte[][] {Arrays.copyOfRange(key, prefix.length, key.length), store.openLocal(key, value)});
            return true;
        });
        entries.forEach(entry -> action.accept(entry[0], entry[1]));
    }
}
