package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainId;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.Rights;
import blocktree.crypto.SignatureKind;
import blocktree.crypto.SignedEnvelope;
import blocktree.crypto.TreeId;
import com.google.protobuf.InvalidProtocolBufferException;
import org.jspecify.annotations.Nullable;

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

    /**
     * A checkpoint by a node that had the right to make it; null when it is of another tree or issuer than it says.
     *
     * @param root domain of the tree that {@code authority} is of
     * @throws CryptoException when its issuer had not the right, or has not signed it
     */
    static @Nullable Checkpoint verify(byte[] signed, DomainId root, Authority authority)
            throws StoreException, CryptoException {
        SignedEnvelope envelope = SignedEnvelope.parse(signed);
        Checkpoint made = parse(envelope.body());
        if (!made.tree.equals(authority.tree()) || !made.issuer.equals(envelope.signer())) {
            return null;
        }
        PrincipalKeys keys =
                authority.checkRights(made.issuer, made.chain, root, Rights.NODE, made.position, made.timeMillis);
        envelope.verify(SignatureKind.CHECKPOINT, keys);
        return made;
    }
}
