package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.TreeId;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.ArrayList;
import java.util.List;

/** What the signature of a commit is over (docs/format.md, section 4). */
record CommitBody(
        TreeId tree,
        PrincipalId writer,
        Hash chain,
        long writerSequence,
        Hash headersRoot,
        int headerCount,
        List<Fence> fences,
        long writerTimeMillis) {

    /** Bound on the headers of one commit. */
    static final int HEADERS_MAX = 65_536;

    private static final int FENCES_MAX = 256;
    private static final int SIZE_MAX = 48 * 1024;

    /** The commit counts only while {@code lease} has this fencing token. */
    record Fence(Hash lease, long token) {}

    byte[] encode() {
        StoreProto.Commit.Builder m = StoreProto.Commit.newBuilder()
                .setVersion(1)
                .setSuite(1)
                .setTree(Wire.bytes(tree))
                .setWriter(Wire.bytes(writer))
                .setChain(Wire.bytes(chain))
                .setWriterSequence(writerSequence)
                .setHeadersRoot(Wire.bytes(headersRoot))
                .setHeaderCount(headerCount)
                .setWriterTimeMillis(writerTimeMillis);
        for (Fence fence : fences) {
            m.addFences(StoreProto.Fence.newBuilder()
                    .setLease(Wire.bytes(fence.lease))
                    .setToken(fence.token));
        }
        return m.build().toByteArray();
    }

    /** Reads hostile bytes; INVALID when they are no commit of version 1 within its bounds. */
    static CommitBody parse(byte[] encoded) throws StoreException {
        Wire.checkSize(encoded, SIZE_MAX, "commit");
        StoreProto.Commit m;
        try {
            m = StoreProto.Commit.parseFrom(encoded);
        } catch (InvalidProtocolBufferException e) {
            throw new StoreException(StoreException.Code.INVALID, "commit is not such a message", e);
        }
        Wire.checkVersion(m.getVersion(), m.getSuite(), "commit");
        if (m.getHeaderCount() < 1 || m.getHeaderCount() > HEADERS_MAX) {
            throw StoreException.invalid("a commit has 1 to " + HEADERS_MAX + " headers, not "
                    + Integer.toUnsignedString(m.getHeaderCount()));
        }
        if (m.getFencesCount() > FENCES_MAX) {
            throw StoreException.invalid(m.getFencesCount() + " fences, more than " + FENCES_MAX);
        }
        List<Fence> fences = new ArrayList<>();
        for (StoreProto.Fence fence : m.getFencesList()) {
            fences.add(new Fence(Wire.hash(fence.getLease(), "lease"), fence.getToken()));
        }
        return new CommitBody(
                TreeId.of(Wire.sized(m.getTree(), Id.SIZE, "tree")),
                PrincipalId.of(Wire.sized(m.getWriter(), Id.SIZE, "writer")),
                Wire.hash(m.getChain(), "chain"),
                m.getWriterSequence(),
                Wire.hash(m.getHeadersRoot(), "root of the headers"),
                m.getHeaderCount(),
                List.copyOf(fences),
                m.getWriterTimeMillis());
    }
}
