package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.TaggedHash;
import com.google.protobuf.InvalidProtocolBufferException;

/** One entry of the tree's log (docs/format.md, section 4), with the exact bytes that its hash is over. */
@SuppressWarnings("ArrayRecordComponent") // read-only by agreement, compared by hash
record LogEntry(
        byte[] encoded, Hash hash, long position, long timeMillis, Hash previous, LogKind kind, byte[] payload) {

    /** Before the first entry. */
    static final Hash START = StateRoot.NONE;

    /** Bound on the encoded bytes: the payload of any kind, and what is around it. */
    static final int SIZE_MAX = 64 * 1024 + 128;

    static LogEntry of(long position, long timeMillis, Hash previous, LogKind kind, byte[] payload) {
        byte[] encoded = StoreProto.LogEntry.newBuilder()
                .setPosition(position)
                .setTimeMillis(timeMillis)
                .setPrevious(Wire.bytes(previous))
                .setKind(kind.number())
                .setPayload(Wire.bytes(payload))
                .build()
                .toByteArray();
        return new LogEntry(encoded, hash(encoded), position, timeMillis, previous, kind, payload);
    }

    /** Reads hostile bytes; INVALID when they are no log entry. */
    static LogEntry parse(byte[] encoded) throws StoreException {
        Wire.checkSize(encoded, SIZE_MAX, "log entry");
        StoreProto.LogEntry m;
        try {
            m = StoreProto.LogEntry.parseFrom(encoded);
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.INVALID, "log entry is not such a message", e);
        }
        if (m.getPosition() < 1 || m.getTimeMillis() < 0) {
            throw StoreException.invalid("position or time of a log entry is out of range");
        }
        return new LogEntry(
                encoded,
                hash(encoded),
                m.getPosition(),
                m.getTimeMillis(),
                Wire.hash(m.getPrevious(), "hash of the entry before"),
                LogKind.of(m.getKind()),
                m.getPayload().toByteArray());
    }

    private static Hash hash(byte[] encoded) {
        return TaggedHash.of("log").add(encoded).hash();
    }

    @Override
    public boolean equals(Object other) {
        return this == other || other instanceof LogEntry entry && hash.equals(entry.hash);
    }

    @Override
    public int hashCode() {
        return hash.hashCode();
    }
}
