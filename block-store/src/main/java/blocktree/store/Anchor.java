package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeId;
import com.google.protobuf.InvalidProtocolBufferException;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import org.jspecify.annotations.Nullable;

/**
 * What a node remembers outside its store: the newest checkpoint, and the last log entry that it acknowledged as durable
 * (docs/format.md, section 4).
 */
record Anchor(
        TreeId tree,
        long sequence,
        long checkpointPosition,
        Hash stateRoot,
        long acknowledgedPosition,
        Hash acknowledgedHash) {

    private static final int MAC_SIZE = 32;

    /** With the MAC under {@code key}. */
    byte[] encode(SecretBytes key) {
        StoreProto.Anchor.Builder m = message();
        return m.setMac(Wire.bytes(mac(m.build().toByteArray(), key))).build().toByteArray();
    }

    private StoreProto.Anchor.Builder message() {
        return StoreProto.Anchor.newBuilder()
                .setVersion(1)
                .setTree(Wire.bytes(tree))
                .setCheckpointPosition(checkpointPosition)
                .setStateRoot(Wire.bytes(stateRoot))
                .setAcknowledgedPosition(acknowledgedPosition)
                .setAcknowledgedHash(Wire.bytes(acknowledgedHash))
                .setSequence(sequence);
    }

    /** Null when the bytes are no anchor of version 1, or not authentic under {@code key}; without a key whoever wrote it is believed. */
    static @Nullable Anchor parse(byte[] encoded, @Nullable SecretBytes key) {
        try {
            StoreProto.Anchor m = StoreProto.Anchor.parseFrom(encoded);
            if (m.getVersion() != 1 || m.getMac().size() != MAC_SIZE) {
                return null;
            }
            Anchor anchor = new Anchor(
                    TreeId.of(Wire.sized(m.getTree(), Id.SIZE, "tree")),
                    m.getSequence(),
                    m.getCheckpointPosition(),
                    Wire.hash(m.getStateRoot(), "state root"),
                    m.getAcknowledgedPosition(),
                    Wire.hash(m.getAcknowledgedHash(), "log hash"));
            if (key == null) {
                return anchor;
            }
            byte[] expected = mac(anchor.message().build().toByteArray(), key);
            return MessageDigest.isEqual(expected, m.getMac().toByteArray()) ? anchor : null;
        } catch (InvalidProtocolBufferException | StoreException e) {
            return null;
        }
    }

    private static byte[] mac(byte[] message, SecretBytes key) {
        byte[] raw = key.reveal();
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(raw, "HmacSHA256"));
            return mac.doFinal(message);
        } catch (GeneralSecurityException e) {
            throw new IllegalStateException("this Java has no HmacSHA256", e);
        } finally {
            Arrays.fill(raw, (byte) 0);
        }
    }
}
