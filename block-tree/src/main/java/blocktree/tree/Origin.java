package blocktree.tree;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.store.BlockStore;
import blocktree.store.OpenBlock;
import blocktree.store.SnapshotInfo;
import blocktree.store.StoreException;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;

/**
 * What an inode number stands for: a block as it is now, as a snapshot holds it, or in one earlier generation; or a directory that exists in views of history only.
 *
 * @param domain where the block must belong, as its directory entry says
 * @param generation of a GENERATION
 */
record Origin(
        Kind kind, BlockId block, DomainId domain, @Nullable SnapshotInfo snapshot, long generation) {

    enum Kind {
        /** The block's newest generation; the only kind that can be changed. */
        LIVE,
        SNAPSHOT,
        GENERATION,
        /** {@code /.snapshots} */
        SNAPSHOTS,
        /** Below {@code /.snapshots/.versions}: the directory that mirrors a live directory. */
        VERSIONS_OF_DIRECTORY,
        /** Below {@code /.snapshots/.versions}: the directory that lists the generations of a live file. */
        VERSIONS_OF_FILE
    }

    private static final long NUMBER_MIN = 16;

    static Origin live(BlockId block, DomainId domain) {
        return new Origin(Kind.LIVE, block, domain, null, 0);
    }

    Origin as(Kind other) {
        return new Origin(other, block, domain, null, 0);
    }

    /** The origin of an entry found in a directory of this origin. */
    Origin child(DirectoryEntry entry) {
        DomainId entryDomain = entry.domain();
        return new Origin(kind, entry.block(), entryDomain == null ? domain : entryDomain, snapshot, generation);
    }

    boolean isLive() {
        return kind == Kind.LIVE;
    }

    boolean isVirtual() {
        return kind == Kind.SNAPSHOTS || kind == Kind.VERSIONS_OF_DIRECTORY || kind == Kind.VERSIONS_OF_FILE;
    }

    /** The inode number: 63 bits of the block's id, mixed with what else tells this origin apart. The live root is 1. */
    long number(BlockId root) {
        if (isLive() && block.equals(root)) {
            return FileSystem.ROOT_INODE;
        }
        byte[] bytes = block.toBytes();
        long number;
        if (isLive()) {
            number = ByteBuffer.wrap(bytes).getLong();
        } else {
            ByteBuffer key = ByteBuffer.allocate(16)
                    .putLong(kind.ordinal())
                    .putLong(snapshot == null ? generation : snapshot.position());
            number = SipHash.hash(key.array(), bytes);
        }
        number &= Long.MAX_VALUE;
        return number < NUMBER_MIN ? number + NUMBER_MIN : number;
    }

    OpenBlock read(BlockStore store) throws StoreException {
        return switch (kind) {
            case LIVE, SNAPSHOTS, VERSIONS_OF_DIRECTORY, VERSIONS_OF_FILE -> store.read(block);
            case SNAPSHOT -> {
                if (snapshot == null) {
                    throw new IllegalStateException("snapshot origin without snapshot");
                }
                yield store.readAt(block, snapshot);
            }
            case GENERATION -> store.readGeneration(block, generation);
        };
    }

    /** Snapshots are told apart by their position. */
    @Override
    public boolean equals(@Nullable Object other) {
        return other instanceof Origin o
                && kind == o.kind
                && block.equals(o.block)
                && generation == o.generation
                && (snapshot == null
                        ? o.snapshot == null
                        : o.snapshot != null && snapshot.position() == o.snapshot.position());
    }

    @Override
    public int hashCode() {
        return block.hashCode() * 31 + kind.ordinal();
    }
}
