package blocktree.store;

import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.RecordKind;
import blocktree.crypto.TreeFounding;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What a cluster puts in order besides commits (docs/format.md, section 4.4): records of authority, or a snapshot.
 *
 * @param after the authority that {@code records} were made for, as checkpoints name it; null for any
 * @param snapshot a signed {@link SnapshotBody}; null exactly where there are records
 */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
record OrderedChange(
        List<TreeFounding.Entry> records, @Nullable Hash after, byte @Nullable [] snapshot) {

    private static final int VERSION = 1;
    private static final int CHUNK = 64 << 10;

    static OrderedChange ofRecords(List<TreeFounding.Entry> records, @Nullable Hash after) {
        return new OrderedChange(records, after, null);
    }

    static OrderedChange ofSnapshot(byte[] signed) {
        return new OrderedChange(List.of(), null, signed);
    }

    byte[] encode() {
        OrderProto.Change.Builder m = OrderProto.Change.newBuilder().setVersion(VERSION);
        for (TreeFounding.Entry record : records) {
            m.addRecords(OrderProto.AuthorityRecord.newBuilder()
                    .setKind(record.kind().number())
                    .setRecord(Wire.bytes(record.payload())));
        }
        if (after != null) {
            m.setAuthorityHash(Wire.bytes(after));
        }
        if (snapshot != null) {
            m.setSnapshot(Wire.bytes(snapshot));
        }
        return m.build().toByteArray();
    }

    /** Reads hostile bytes; INVALID when they are no change of version 1. */
    static OrderedChange parse(byte[] encoded) throws StoreException {
        OrderProto.Change m;
        try {
            m = OrderProto.Change.parseFrom(encoded);
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.INVALID, "a change is not such a message", e);
        }
        if (m.getVersion() != VERSION) {
            throw StoreException.invalid("a change of version " + Integer.toUnsignedString(m.getVersion())
                    + ", this program knows " + VERSION);
        }
        boolean hasHash = !m.getAuthorityHash().isEmpty();
        if (m.getSnapshot().isEmpty() == (m.getRecordsCount() == 0) || hasHash && m.getRecordsCount() == 0) {
            throw StoreException.invalid("a change is of records or of a snapshot");
        }
        List<TreeFounding.Entry> records = new ArrayList<>();
        for (OrderProto.AuthorityRecord record : m.getRecordsList()) {
            // no envelope is as large
            if (record.getRecord().size() > LogEntry.SIZE_MAX - 2 * Id.SIZE) {
                throw StoreException.invalid(
                        "a record of authority has " + record.getRecord().size() + " bytes");
            }
            try {
                records.add(new TreeFounding.Entry(
                        RecordKind.of(record.getKind()), record.getRecord().toByteArray()));
            } catch (CryptoException e) {
                throw new StoreException(StoreException.Code.INVALID, String.valueOf(e.getMessage()), e);
            }
        }
        return new OrderedChange(
                List.copyOf(records),
                hasHash ? Wire.hash(m.getAuthorityHash(), "authority hash") : null,
                m.getSnapshot().isEmpty() ? null : m.getSnapshot().toByteArray());
    }

    /** Reads hostile bytes to their end: INVALID when they are those that {@code hash} names but no change, CORRUPT when they are others. */
    static OrderedChange read(ReadableByteChannel channel, Hash hash) throws StoreException, IOException {
        MessageDigest digest = Parcel.digest();
        ByteArrayOutputStream encoded = new ByteArrayOutputStream();
        ByteBuffer chunk = ByteBuffer.allocate(CHUNK);
        boolean tooLong = false;
        while (channel.read(chunk.clear()) >= 0) {
            digest.update(chunk.array(), 0, chunk.position());
            tooLong |= encoded.size() + chunk.position() > LogPort.CHANGE_SIZE_MAX;
            if (!tooLong) {
                encoded.write(chunk.array(), 0, chunk.position());
            }
        }
        if (!Hash.of(digest.digest()).equals(hash)) {
            throw StoreException.corrupt("what lies under the name of a change is not that change");
        }
        if (tooLong) {
            throw StoreException.invalid("a change has more than " + LogPort.CHANGE_SIZE_MAX + " bytes");
        }
        return parse(encoded.toByteArray());
    }
}
