package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.TreeId;
import com.google.protobuf.InvalidProtocolBufferException;

/**
 * What the signature of a checkpoint is over (docs/format.md, section 4): the state of the tree once the entry at {@code position} was
 * applied.
 */
record Checkpoint(
        TreeId tree,
        long position,
        long timeMillis,
        Hash logHash,
        Hash stateRoot,
        PrincipalId issuer,
        Hash chain,
        Hash authorityHash) {

    private static final int SIZE_MAX = 1024;

    StateRoot root() {
        return new StateRoot(position, stateRoot);
    }

    byte[] encode() {
        return StoreProto.Checkpoint.newBuilder()
                .setVersion(1)
                .setSuite(1)
                .setTree(Wire.bytes(tree))
                .setPosition(position)
                .setTimeMillis(timeMillis)
                .setLogHash(Wire.bytes(logHash))
                .setStateRoot(Wire.bytes(stateRoot))
                .setIssuer(Wire.bytes(issuer))
                .setChain(Wire.bytes(chain))
                .setAuthorityHash(Wire.bytes(authorityHash))
                .build()
                .toByteArray();
    }

    /** Reads hostile bytes; INVALID when they are no checkpoint of version 1. */
    static Checkpoint parse(byte[] encoded) throws StoreException {
        Wire.checkSize(encoded, SIZE_MAX, "checkpoint");
        StoreProto.Checkpoint m;
        try {
            m = StoreProto.Checkpoint.parseFrom(encoded);
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.INVALID, "checkpoint is not such a message", e);
        }
        Wire.checkVersion(m.getVersion(), m.getSuite(), "checkpoint");
        if (m.getPosition() < 0 || m.getTimeMillis() < 0) {
            throw StoreException.invalid("position or time of a checkpoint is out of range");
        }
        return new Checkpoint(
                TreeId.of(Wire.sized(m.getTree(), Id.SIZE, "tree")),
                m.getPosition(),
                m.getTimeMillis(),
                Wire.hash(m.getLogHash(), "log hash"),
                Wire.hash(m.getStateRoot(), "state root"),
                PrincipalId.of(Wire.sized(m.getIssuer(), Id.SIZE, "issuer")),
                Wire.hash(m.getChain(), "chain"),
                Wire.hash(m.getAuthorityHash(), "authority hash"));
    }
}
