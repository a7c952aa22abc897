package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.TreeId;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.HexFormat;
import org.jspecify.annotations.Nullable;

/**
 * What the signature of a snapshot is over (docs/format.md, section 4).
 *
 * @param id 16 random bytes, in hexadecimal
 * @param nameSealed the name under the key of {@code epoch} of the root domain
 * @param position of the entry whose state it names; where it names no root, of the newest entry that its maker had seen
 * @param stateRoot null in a cluster, where its maker does not know it: the state is that of the entry before its own
 * @param deleted the end of the snapshot of this id, not its beginning
 */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
record SnapshotBody(
        TreeId tree,
        String id,
        byte[] nameSealed,
        int epoch,
        long position,
        @Nullable Hash stateRoot,
        long timeMillis,
        boolean deleted) {

    static final int ID_SIZE = 16;

    private static final int NAME_SEALED_SIZE_MAX = 1024;
    private static final int SIZE_MAX = 2048;

    /** The state that its signature is over; null where its place in the log says which it is. */
    @Nullable
    StateRoot root() {
        return stateRoot == null ? null : new StateRoot(position, stateRoot);
    }

    SnapshotBody deletedAt(long nowMillis) {
        return new SnapshotBody(tree, id, nameSealed, epoch, position, stateRoot, nowMillis, true);
    }

    byte[] encode() {
        SnapshotProto.Snapshot.Builder m = SnapshotProto.Snapshot.newBuilder()
                .setVersion(1)
                .setSuite(1)
                .setTree(Wire.bytes(tree))
                .setId(ByteString.copyFrom(HexFormat.of().parseHex(id)))
                .setNameSealed(ByteString.copyFrom(nameSealed))
                .setEpoch(epoch)
                .setPosition(position)
                .setTimeMillis(timeMillis)
                .setDeleted(deleted);
        if (stateRoot != null) {
            m.setStateRoot(Wire.bytes(stateRoot));
        }
        return m.build().toByteArray();
    }

    /** Reads hostile bytes; INVALID when they are no snapshot of version 1 within its bounds. */
    static SnapshotBody parse(byte[] encoded) throws StoreException {
        Wire.checkSize(encoded, SIZE_MAX, "snapshot");
        SnapshotProto.Snapshot m;
        try {
            m = SnapshotProto.Snapshot.parseFrom(encoded);
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.INVALID, "snapshot is not such a message", e);
        }
        Wire.checkVersion(m.getVersion(), m.getSuite(), "snapshot");
        if (m.getPosition() < 0 || m.getTimeMillis() < 0 || m.getEpoch() < 1) {
            throw StoreException.invalid("position, time or epoch of a snapshot is out of range");
        }
        if (m.getNameSealed().size() > NAME_SEALED_SIZE_MAX) {
            throw StoreException.invalid("sealed name of " + m.getNameSealed().size() + " bytes");
        }
        return new SnapshotBody(
                TreeId.of(Wire.sized(m.getTree(), TreeId.SIZE, "tree")),
                HexFormat.of().formatHex(Wire.sized(m.getId(), ID_SIZE, "id of a snapshot")),
                m.getNameSealed().toByteArray(),
                m.getEpoch(),
                m.getPosition(),
                m.getStateRoot().isEmpty() ? null : Wire.hash(m.getStateRoot(), "state root"),
                m.getTimeMillis(),
                m.getDeleted());
    }
}
