package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.BlockKey;
import blocktree.crypto.DomainId;
import blocktree.crypto.Hash;
import java.util.NavigableMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/** The next generation of one block within a {@link Commit}. Not thread-safe, except {@link #putSector}. */
public final class BlockEdit {

    private final Commit commit;
    private final BlockId id;
    private final DomainId domain;
    private final Hash nonce;
    private final @Nullable OpenBlock base;
    private final int epoch;

    /** The key made for this edit, which its header will carry; null when the base has one of this epoch. */
    private final @Nullable BlockKey freshKey;

    private final TreeMap<Long, Sector> sectors = new TreeMap<>(); // guarded by itself
    private final Ranges dropped = new Ranges(); // guarded by sectors
    private int sectorSizeLog2;
    private long sectorCount; // guarded by sectors
    private boolean resized;
    private byte @Nullable [] attributes;

    BlockEdit(
            Commit commit,
            BlockId id,
            DomainId domain,
            Hash nonce,
            @Nullable OpenBlock base,
            int epoch,
            @Nullable BlockKey freshKey,
            int sectorSizeLog2) {
        this.commit = commit;
        this.id = id;
        this.domain = domain;
        this.nonce = nonce;
        this.base = base;
        this.epoch = epoch;
        this.freshKey = freshKey;
        this.sectorSizeLog2 = sectorSizeLog2;
        this.sectorCount = base == null ? 0 : base.sectorCount();
    }

    /** Sets the attributes' plaintext, at most 1 MiB; later calls replace it. A new block must have some, an edited one keeps its own. */
    public BlockEdit attributes(byte[] plaintext) {
        if (plaintext.length > Header.ATTRIBUTES_SIZE_MAX) {
            throw new IllegalArgumentException("attributes of " + plaintext.length + " bytes");
        }
        attributes = plaintext.clone();
        return this;
    }

    /**
     * Seals a whole sector at once; keeps no reference to {@code buffer}. Behind the end it extends the payload, with holes between. May
     * be called from several threads at once for different indexes; the last one for an index wins.
     */
    public void putSector(long index, byte[] buffer, int offset) throws StoreException {
        if (index < 0 || index >= Header.SECTORS_MAX) {
            throw new IllegalArgumentException("sector index " + index);
        }
        Sector sector = commit.seal(this, index, buffer, offset);
        synchronized (sectors) {
            sectors.put(index, sector);
            sectorCount = Math.max(sectorCount, index + 1);
        }
    }

    /** Makes holes of the sectors from {@code fromIndex} up to, not with, {@code toIndex}. */
    public void punch(long fromIndex, long toIndex) {
        if (fromIndex < 0) {
            throw new IllegalArgumentException("sector index " + fromIndex);
        }
        synchronized (sectors) {
            if (fromIndex < toIndex) {
                sectors.subMap(fromIndex, true, toIndex, false).clear();
                dropped.add(fromIndex, toIndex);
            }
        }
    }

    /** Sets the number of sectors: cuts off, or adds holes. */
    public void truncate(long newSectorCount) {
        if (newSectorCount < 0 || newSectorCount > Header.SECTORS_MAX) {
            throw new IllegalArgumentException("sector count " + newSectorCount);
        }
        synchronized (sectors) {
            if (newSectorCount < sectorCount) {
                punch(newSectorCount, Long.MAX_VALUE);
            }
            sectorCount = newSectorCount;
        }
    }

    /** Drops all sectors and changes the sector size. */
    public void resize(int newSectorSizeLog2) {
        Commit.checkSectorSize(newSectorSizeLog2);
        truncate(0);
        sectorSizeLog2 = newSectorSizeLog2;
        resized = true;
    }

    public int sectorSize() {
        return 1 << sectorSizeLog2;
    }

    public long sectorCount() {
        synchronized (sectors) {
            return sectorCount;
        }
    }

    BlockId id() {
        return id;
    }

    DomainId domain() {
        return domain;
    }

    Hash nonce() {
        return nonce;
    }

    @Nullable
    OpenBlock base() {
        return base;
    }

    int epoch() {
        return epoch;
    }

    @Nullable
    BlockKey freshKey() {
        return freshKey;
    }

    int sectorSizeLog2() {
        return sectorSizeLog2;
    }

    boolean isResized() {
        return resized;
    }

    byte @Nullable [] attributes() {
        return attributes;
    }

    NavigableMap<Long, Sector> sectors() {
        return sectors;
    }

    Ranges dropped() {
        return dropped;
    }
}
