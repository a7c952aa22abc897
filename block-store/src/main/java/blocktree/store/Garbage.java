package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Id;
import blocktree.store.GarbageProto.GarbageRecord;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.List;

/**
 * What became unneeded by the newest version of a block when a commit superseded its {@code generation}: that generation's header, and
 * the sectors and nodes that it had and the next one has not (docs/format.md, section 4.2). Written in the batch of the commit that
 * superseded it, so nothing is forgotten in a crash; the {@link Collector} removes it once no kept generation needs it.
 *
 * <p>A sector written by generation {@code h} and listed here is needed by the generations {@code h} to {@code generation}, and by no
 * other.
 */
final class Garbage {

    /** The block in the key of a record of superseded state map nodes. */
    static final BlockId STATE = BlockId.of(new byte[Id.SIZE]);

    private final GarbageRecord record;

    private Garbage(GarbageRecord record) {
        this.record = record;
    }

    /** Of a value of the garbage column family; {@code CORRUPT} when it is not such a record. */
    static Garbage decode(byte[] bytes) throws StoreException {
        GarbageRecord record;
        try {
            record = GarbageRecord.parseFrom(bytes);
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.CORRUPT, "a garbage record is no such message", e);
        }
        boolean numbersFit = record.getGeneration() >= 0
                && record.getWrittenPosition() >= 0
                && record.getWrittenMillis() >= 0
                && record.getSupersededMillis() >= 0
                && record.getSectorsCount() % 2 == 0
                && record.getNodesCount() % 3 == 0
                && record.getSectorRangesCount() % 2 == 0;
        if (!numbersFit) {
            throw new StoreException(StoreException.Code.CORRUPT, "a garbage record is malformed");
        }
        for (int i = 0; i < record.getNodesCount(); i += 3) {
            if (record.getNodes(i) < 0 || record.getNodes(i) > 255) {
                throw new StoreException(
                        StoreException.Code.CORRUPT, "a garbage record names level " + record.getNodes(i));
            }
        }
        return new Garbage(record);
    }

    static byte[] stateKey(long position) {
        return Keys.garbage(position, STATE);
    }

    static byte[] encodeStatePaths(List<byte[]> encodedPaths) {
        GarbageRecord.Builder builder = GarbageRecord.newBuilder();
        encodedPaths.forEach(path -> builder.addStatePaths(ByteString.copyFrom(path)));
        return builder.build().toByteArray();
    }

    /** The generation that was superseded; 0 in a record of state map nodes. */
    long generation() {
        return record.getGeneration();
    }

    /** Log position of the commit that wrote {@link #generation}. */
    long writtenPosition() {
        return record.getWrittenPosition();
    }

    long writtenMillis() {
        return record.getWrittenMillis();
    }

    long supersededMillis() {
        return record.getSupersededMillis();
    }

    int sectorCount() {
        return record.getSectorsCount() / 2;
    }

    long sectorIndex(int i) {
        return record.getSectors(2 * i);
    }

    /** The generation that wrote the i-th sector. */
    long sectorGeneration(int i) {
        return record.getSectors(2 * i + 1);
    }

    int nodeCount() {
        return record.getNodesCount() / 3;
    }

    int nodeLevel(int i) {
        return (int) record.getNodes(3 * i);
    }

    long nodeIndex(int i) {
        return record.getNodes(3 * i + 1);
    }

    /** The generation that wrote the i-th node. */
    long nodeGeneration(int i) {
        return record.getNodes(3 * i + 2);
    }

    int sectorRangeCount() {
        return record.getSectorRangesCount() / 2;
    }

    long sectorRangeFrom(int i) {
        return record.getSectorRanges(2 * i);
    }

    /** The index after the last one of the i-th range. */
    long sectorRangeTo(int i) {
        return record.getSectorRanges(2 * i + 1);
    }

    /** Whether every sector and node that {@link #generation} or an earlier one wrote is unneeded by the next one. */
    boolean isAll() {
        return record.getAll();
    }

    /** Whether this record is why sector {@code index} as {@code generation} wrote it will be removed. */
    boolean namesSector(long index, long generation) {
        if (generation > generation()) {
            return false;
        }
        boolean named = isAll();
        for (int i = 0; i < sectorRangeCount() && !named; i++) {
            named = index >= sectorRangeFrom(i) && index < sectorRangeTo(i);
        }
        for (int i = 0; i < sectorCount() && !named; i++) {
            named = sectorIndex(i) == index && sectorGeneration(i) == generation;
        }
        return named;
    }

    /** As {@link #namesSector}, for a node; a record with ranges of sectors may name any node. */
    boolean namesNode(int level, long index, long generation) {
        if (generation > generation()) {
            return false;
        }
        boolean named = isAll() || sectorRangeCount() > 0;
        for (int i = 0; i < nodeCount() && !named; i++) {
            named = nodeLevel(i) == level && nodeIndex(i) == index && nodeGeneration(i) == generation;
        }
        return named;
    }

    /** Superseded state map paths; empty in the record of a block. */
    List<byte[]> statePaths() {
        return record.getStatePathsList().stream().map(ByteString::toByteArray).toList();
    }

    /** Collects what one block's new generation supersedes. */
    static final class Builder {

        private final GarbageRecord.Builder record = GarbageRecord.newBuilder();

        /** {@code generation} is the superseded one, written at {@code writtenPosition} and {@code writtenMillis} of log time. */
        Builder(long generation, long writtenPosition, long writtenMillis) {
            record.setGeneration(generation).setWrittenPosition(writtenPosition).setWrittenMillis(writtenMillis);
        }

        /** The version of sector {@code index} that {@code generation} wrote was overwritten or dropped. */
        Builder sector(long index, long generation) {
            record.addSectors(index).addSectors(generation);
            return this;
        }

        Builder node(int level, long index, long generation) {
            record.addNodes(level).addNodes(index).addNodes(generation);
            return this;
        }

        /** Every sector from {@code from} to before {@code to} was dropped: a truncation or a large hole. */
        Builder sectors(long from, long to) {
            record.addSectorRanges(from).addSectorRanges(to);
            return this;
        }

        /** The block was deleted, or its whole payload dropped: all its sectors and nodes. */
        Builder all() {
            record.setAll(true);
            return this;
        }

        /** The value to store; {@code supersededMillis} is the log time of the superseding commit. */
        byte[] encode(long supersededMillis) {
            return record.setSupersededMillis(supersededMillis).build().toByteArray();
        }
    }
}
