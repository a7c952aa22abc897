package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.ArrayList;
import java.util.List;

/** A header as it is stored: with the commit that wrote it and the proof that it belongs to that commit (docs/format.md, section 4). */
record HeaderRecord(Header header, long position, int index, List<Hash> path) {

    /** Bound on the encoded bytes. */
    static final int SIZE_MAX = Header.SIZE_MAX + HeadersTree.PATH_MAX * (Id.SIZE + 2) + 64;

    byte[] encode() {
        StoreProto.HeaderRecord.Builder m = StoreProto.HeaderRecord.newBuilder()
                .setHeader(Wire.bytes(header.encoded()))
                .setPosition(position)
                .setIndex(index);
        for (Hash hash : path) {
            m.addPath(Wire.bytes(hash));
        }
        return m.build().toByteArray();
    }

    /** Reads hostile bytes; INVALID when they are no header record within its bounds. */
    static HeaderRecord parse(byte[] encoded) throws StoreException {
        Wire.checkSize(encoded, SIZE_MAX, "header record");
        StoreProto.HeaderRecord m;
        try {
            m = StoreProto.HeaderRecord.parseFrom(encoded);
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.INVALID, "header record is not such a message", e);
        }
        if (m.getPosition() < 1 || m.getIndex() < 0 || m.getPathCount() > HeadersTree.PATH_MAX) {
            throw StoreException.invalid("header record is out of bounds");
        }
        List<Hash> path = new ArrayList<>(m.getPathCount());
        for (ByteString hash : m.getPathList()) {
            path.add(Wire.hash(hash, "hash of a path"));
        }
        return new HeaderRecord(
                Header.parse(m.getHeader().toByteArray()), m.getPosition(), m.getIndex(), List.copyOf(path));
    }
}
