package blocktree.store;

import java.nio.file.Path;
import java.time.InstantSource;
import org.jspecify.annotations.Nullable;

/**
 * How a store is opened. Immutable; each {@code with} method gives a changed copy. Sizes bound memory whatever the size of the tree.
 */
public final class StoreOptions implements Cloneable {

    private static final long MIB = 1 << 20;
    private static final long RESERVE_BY_SIZE = -1;
    private static final StoreOptions DEFAULTS = new StoreOptions();

    private @Nullable Path anchor;
    private boolean readOnly;
    private boolean acceptLoss;
    private long blockCacheBytes = 64 * MIB;
    private long writeBufferBytes = 64 * MIB;
    private long nodeCacheBytes = 16 * MIB;
    private long stateCacheBytes = 16 * MIB;
    private int blockKeys = 16_384;
    private long checkpointMillis = 10_000;
    private int checkpointChanges = 4_096;
    private long reserveBytes = RESERVE_BY_SIZE;
    private Retention retention = Retention.DEFAULT;
    private InstantSource clock = InstantSource.system();

    private StoreOptions() {}

    public static StoreOptions defaults() {
        return DEFAULTS;
    }

    private StoreOptions copy() {
        try {
            return (StoreOptions) clone();
        } catch (CloneNotSupportedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** File of the anchor (docs/format.md, section 4), best on another device; {@code anchor} in the store's directory by default. */
    public StoreOptions withAnchor(Path file) {
        StoreOptions o = copy();
        o.anchor = file;
        return o;
    }

    /** Refuses every write, and can open a store on a read-only device. */
    public StoreOptions withReadOnly(boolean value) {
        StoreOptions o = copy();
        o.readOnly = value;
        return o;
    }

    /** Opens a store that lost acknowledged writes, or its anchor, and makes what is there the new truth. Only for an operator who has read what is lost. */
    public StoreOptions withAcceptLoss(boolean value) {
        StoreOptions o = copy();
        o.acceptLoss = value;
        return o;
    }

    /** Bounds of the caches: RocksDB's index and data blocks, nodes of integrity trees, nodes of the state map, all in bytes; and open block keys. */
    public StoreOptions withCaches(long blockBytes, long nodeBytes, long stateBytes, int openBlockKeys) {
        StoreOptions o = copy();
        o.blockCacheBytes = blockBytes;
        o.nodeCacheBytes = nodeBytes;
        o.stateCacheBytes = stateBytes;
        o.blockKeys = openBlockKeys;
        return o;
    }

    /** Bound on all of RocksDB's memtables together, in bytes. */
    public StoreOptions withWriteBufferBytes(long bytes) {
        StoreOptions o = copy();
        o.writeBufferBytes = bytes;
        return o;
    }

    /** Longest time and most changed blocks between two checkpoints. */
    public StoreOptions withCheckpoints(long millis, int changes) {
        StoreOptions o = copy();
        o.checkpointMillis = millis;
        o.checkpointChanges = changes;
        return o;
    }

    /**
     * Free bytes of the device below which commits with data are refused with NO_SPACE; small ones are taken down to half of it, and
     * what deletes down to an eighth. 0: none. By default a fortieth of the device, 64 MiB at least and 512 MiB at most.
     */
    public StoreOptions withReserveBytes(long bytes) {
        StoreOptions o = copy();
        o.reserveBytes = bytes;
        return o;
    }

    public StoreOptions withRetention(Retention value) {
        StoreOptions o = copy();
        o.retention = value;
        return o;
    }

    /** The wall clock that log time follows. */
    public StoreOptions withClock(InstantSource source) {
        StoreOptions o = copy();
        o.clock = source;
        return o;
    }

    @Nullable
    Path anchor() {
        return anchor;
    }

    boolean readOnly() {
        return readOnly;
    }

    boolean acceptLoss() {
        return acceptLoss;
    }

    long blockCacheBytes() {
        return blockCacheBytes;
    }

    long writeBufferBytes() {
        return writeBufferBytes;
    }

    long nodeCacheBytes() {
        return nodeCacheBytes;
    }

    long stateCacheBytes() {
        return stateCacheBytes;
    }

    int blockKeys() {
        return blockKeys;
    }

    long checkpointMillis() {
        return checkpointMillis;
    }

    int checkpointChanges() {
        return checkpointChanges;
    }

    /** For a device of so many bytes. */
    long reserveBytes(long deviceBytes) {
        return reserveBytes == RESERVE_BY_SIZE
                ? Math.min(Math.max(deviceBytes / 40, 64 * MIB), 512 * MIB)
                : reserveBytes;
    }

    Retention retention() {
        return retention;
    }

    InstantSource clock() {
        return clock;
    }
}
