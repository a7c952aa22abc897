package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import org.jspecify.annotations.Nullable;

/**
 * One generation of a block, verified when it was opened; what is read from it is verified when it is read. Immutable and
 * thread-safe. Stays readable while it is referenced, whatever newer generations do.
 */
public final class OpenBlock {

    private final BlockStore store;
    private final PlacedHeader placed;
    private volatile @Nullable Payload payload;

    OpenBlock(BlockStore store, PlacedHeader placed) {
        this.store = store;
        this.placed = placed;
    }

    /** With the integrity tree that its commit has just built. */
    OpenBlock(BlockStore store, PlacedHeader placed, Payload payload) {
        this(store, placed);
        this.payload = payload;
    }

    PlacedHeader placed() {
        return placed;
    }

    Header header() {
        return placed.header();
    }

    public BlockId id() {
        return header().block();
    }

    public DomainId domain() {
        return header().domain();
    }

    public long generation() {
        return header().generation();
    }

    /** Log position of the commit that wrote it. */
    public long position() {
        return placed.position();
    }

    /** Log time of that commit. */
    public long timeMillis() {
        return placed.timeMillis();
    }

    /** Bytes of plaintext in a sector: a power of two from 4 KiB to 1 MiB. */
    public int sectorSize() {
        return header().sectorSize();
    }

    public long sectorCount() {
        return header().sectorCount();
    }

    /** The plaintext of the attributes, a fresh array. DENIED without the domain's key, CORRUPT when they are not authentic. */
    public byte[] attributes() throws StoreException {
        return store.readAttributes(header());
    }

    /** Hears of each sector of a run once its content is there. */
    @FunctionalInterface
    public interface SectorVisitor {
        /** Sector {@code i} of the run is in its array; {@code present} is false, and the array all zeros, for a hole. */
        void read(int i, boolean present);
    }

    /** Reads sector {@code index} whole; false, and zeros, for a hole or behind the end. CORRUPT when it is not what was committed. */
    public boolean readSector(long index, byte[] target) throws StoreException {
        boolean[] found = new boolean[1];
        readSectors(index, new byte[][] {target}, (i, present) -> found[0] = present);
        return found[0];
    }

    /**
     * Reads the sectors from {@code first} on, each whole into an array of its own, in order. CORRUPT when one of them is not what was
     * committed: {@code visitor} has heard of those before it.
     */
    public void readSectors(long first, byte[][] targets, SectorVisitor visitor) throws StoreException {
        store.readSectors(this, first, targets, visitor);
    }

    /** The first sector at or after {@code index} that is not a hole; {@link #sectorCount} when there is none. */
    public long nextData(long index) throws StoreException {
        return store.walk(this, p -> p.nextData(index));
    }

    /** The first hole at or after {@code index}; {@link #sectorCount} when there is none. */
    public long nextHole(long index) throws StoreException {
        return store.walk(this, p -> p.nextHole(index));
    }

    /** Called inside the store's gate. */
    Payload payload(IntegrityNodes nodes) throws StoreException {
        Payload known = payload;
        if (known == null) {
            known = Payload.of(nodes, header());
            payload = known;
        }
        return known;
    }

    @Override
    public String toString() {
        return "OpenBlock[" + id() + ", generation=" + generation() + "]";
    }
}
