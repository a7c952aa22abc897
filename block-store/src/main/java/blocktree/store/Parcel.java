package blocktree.store;

import blocktree.crypto.Hash;
import blocktree.crypto.SectorCipher;
import blocktree.store.PayloadUpdate.NewNode;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * A sealed commit as bytes, on its way between nodes (docs/format.md, section 4.4): what its writer signed, the headers, the nodes and
 * sectors that come with them. Local changes stay at home.
 */
public final class Parcel {

    /** Bound on the bytes of one. */
    public static final long SIZE_MAX = 256L << 20;

    private static final byte VERSION = 1;
    private static final int ENVELOPE_SIZE_MAX = 64 << 10;
    private static final int NODES_MAX = 1 << 20;
    private static final int NODE_HEAD = 1 + Long.BYTES + Integer.BYTES;
    private static final int CHUNK = 64 << 10;

    private Parcel() {}

    /** Bytes that {@link #write} writes. */
    public static long sizeBytes(SealedCommit commit) {
        long size = 1 + 2 * Integer.BYTES + commit.envelope().length;
        for (SealedBlock block : commit.blocks()) {
            size += 3 * Integer.BYTES + block.header().encoded().length;
            for (NewNode node : block.nodes()) {
                size += NODE_HEAD + node.bytes().length;
            }
            size += (long) block.sectors().size() * Long.BYTES + block.sizeBytes();
        }
        return size;
    }

    /** Writes all of it, blocking; its {@link #digest hash}. */
    public static Hash write(SealedCommit commit, WritableByteChannel channel) throws IOException {
        Output out = new Output(channel);
        out.u8(VERSION);
        out.sized(commit.envelope());
        out.u32(commit.blocks().size());
        for (SealedBlock block : commit.blocks()) {
            out.sized(block.header().encoded());
            out.u32(block.nodes().size());
            for (NewNode node : block.nodes()) {
                out.u8(node.level());
                out.u64(node.index());
                out.sized(node.bytes());
            }
            out.u32(block.sectors().size());
            for (long index : block.sectors().keySet()) {
                out.u64(index);
            }
        }
        for (SealedBlock block : commit.blocks()) {
            for (Sector sector : block.sectors().values()) {
                out.bytes(sector.ciphertext().duplicate());
            }
        }
        out.flush();
        return Hash.of(out.digest.digest());
    }

    /** A fresh one for the bytes of a parcel: what comes out names it. */
    public static MessageDigest digest() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /**
     * Reads hostile bytes to their end: INVALID when they are those that {@code hash} names but no parcel, CORRUPT when they are others. What it says is for a
     * {@link ReplicatedLog} to verify. Sectors lie in {@code memory}, and count as long as that is not closed.
     */
    static SealedCommit read(ReadableByteChannel channel, Hash hash, Slabs.Lease memory)
            throws StoreException, IOException {
        Input in = new Input(channel);
        StoreException invalid;
        try {
            SealedCommit commit = parse(in, memory);
            if (in.isAtEnd(hash)) {
                return commit;
            }
            invalid = StoreException.invalid("a parcel goes on behind its end");
        } catch (EOFException e) {
            invalid = new StoreException(StoreException.Code.INVALID, "a parcel ends early", e);
        } catch (StoreException e) {
            invalid = e;
        }
        in.skipToEnd();
        if (!in.isAtEnd(hash)) {
            throw StoreException.corrupt("what lies under the name of a parcel is not that parcel");
        }
        throw invalid;
    }

    private static SealedCommit parse(Input in, Slabs.Lease memory) throws StoreException, IOException {
        if (in.u8() != VERSION) {
            throw StoreException.invalid("a parcel of another version than " + VERSION);
        }
        byte[] envelope = in.sized(ENVELOPE_SIZE_MAX, "envelope");
        int count = in.count(CommitBody.HEADERS_MAX, "blocks");
        List<Header> headers = new ArrayList<>();
        List<List<NewNode>> nodes = new ArrayList<>();
        List<long[]> sectors = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            headers.add(Header.parse(in.sized(Header.SIZE_MAX, "header")));
            nodes.add(readNodes(in));
            sectors.add(readIndexes(in, headers.get(i)));
        }
        List<SealedBlock> blocks = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int size = sectors.get(i).length == 0 ? 0 : headers.get(i).sectorSize() + SectorCipher.OVERHEAD;
            TreeMap<Long, Sector> read = new TreeMap<>();
            for (long index : sectors.get(i)) {
                byte[] ciphertext = in.bytes(size);
                read.put(index, Sector.of(ciphertext, size, memory));
            }
            blocks.add(new SealedBlock(headers.get(i), nodes.get(i), read));
        }
        return new SealedCommit(envelope, blocks, List.of());
    }

    private static List<NewNode> readNodes(Input in) throws StoreException, IOException {
        int count = in.count(NODES_MAX, "integrity nodes");
        List<NewNode> nodes = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int level = in.u8();
            long index = in.u64();
            nodes.add(new NewNode(level, index, in.sized(IntegrityNode.SIZE_MAX, "integrity node")));
        }
        return nodes;
    }

    private static long[] readIndexes(Input in, Header header) throws StoreException, IOException {
        int count = in.count(
                header.tombstone() ? 0 : (int) Math.min(header.sectorCount(), SIZE_MAX >> header.sectorSizeLog2()),
                "sectors");
        List<Long> indexes = new ArrayList<>();
        long last = -1;
        for (int i = 0; i < count; i++) {
            long index = in.u64();
            if (index <= last) {
                throw StoreException.invalid("sectors of a parcel are not in ascending order");
            }
            last = index;
            indexes.add(index);
        }
        return indexes.stream().mapToLong(Long::longValue).toArray();
    }

    /** Collects small pieces. */
    private static final class Output {

        private final WritableByteChannel channel;
        private final ByteBuffer buffer = ByteBuffer.allocate(CHUNK);
        private final MessageDigest digest = digest();

        Output(WritableByteChannel channel) {
            this.channel = channel;
        }

        void u8(int value) throws IOException {
            room(1).put((byte) value);
        }

        void u32(int value) throws IOException {
            room(Integer.BYTES).putInt(value);
        }

        void u64(long value) throws IOException {
            room(Long.BYTES).putLong(value);
        }

        void sized(byte[] bytes) throws IOException {
            u32(bytes.length);
            bytes(ByteBuffer.wrap(bytes));
        }

        void bytes(ByteBuffer bytes) throws IOException {
            if (bytes.remaining() <= buffer.remaining()) {
                buffer.put(bytes);
                return;
            }
            flush();
            write(bytes);
        }

        void flush() throws IOException {
            write(buffer.flip());
            buffer.clear();
        }

        private ByteBuffer room(int size) throws IOException {
            if (buffer.remaining() < size) {
                flush();
            }
            return buffer;
        }

        private void write(ByteBuffer bytes) throws IOException {
            digest.update(bytes.duplicate());
            while (bytes.hasRemaining()) {
                channel.write(bytes);
            }
        }
    }

    /** Reads ahead, and no more in all than a parcel may have. */
    private static final class Input {

        private final ReadableByteChannel channel;
        private final ByteBuffer buffer = ByteBuffer.allocate(CHUNK).flip();
        private final MessageDigest digest = digest();
        private long left = SIZE_MAX;
        private boolean ended;
        private @Nullable Hash hash;

        Input(ReadableByteChannel channel) {
            this.channel = channel;
        }

        int u8() throws StoreException, IOException {
            return need(1).get() & 0xff;
        }

        long u64() throws StoreException, IOException {
            return need(Long.BYTES).getLong();
        }

        int count(int max, String what) throws StoreException, IOException {
            int count = need(Integer.BYTES).getInt();
            if (count < 0 || count > max) {
                throw StoreException.invalid("a parcel of " + Integer.toUnsignedString(count) + " " + what);
            }
            return count;
        }

        byte[] sized(int max, String what) throws StoreException, IOException {
            int size = need(Integer.BYTES).getInt();
            if (size < 0 || size > max) {
                throw StoreException.invalid(
                        "a parcel with " + what + " of " + Integer.toUnsignedString(size) + " bytes");
            }
            return bytes(size);
        }

        /** So many as are there, chunk by chunk: nothing is allocated on the word of a length alone that is not bounded. */
        byte[] bytes(int size) throws StoreException, IOException {
            byte[] bytes = new byte[size];
            for (int done = 0; done < size; ) {
                int piece = Math.min(size - done, Math.max(1, Math.min(buffer.remaining(), CHUNK)));
                need(piece).get(bytes, done, piece);
                done += piece;
            }
            return bytes;
        }

        private ByteBuffer need(int size) throws StoreException, IOException {
            while (buffer.remaining() < size) {
                if (!fill()) {
                    throw new EOFException();
                }
            }
            return buffer;
        }

        /** False at the end. */
        private boolean fill() throws StoreException, IOException {
            buffer.compact();
            int before = buffer.position();
            int got;
            try {
                got = ended ? -1 : channel.read(buffer);
            } finally {
                buffer.flip();
            }
            if (got < 0) {
                ended = true;
                return false;
            }
            digest.update(buffer.array(), before, got);
            left -= got;
            if (left < 0) {
                throw StoreException.corrupt("more than the " + SIZE_MAX + " bytes that a parcel may have");
            }
            return true;
        }

        void skipToEnd() throws StoreException, IOException {
            do {
                buffer.position(buffer.limit());
            } while (fill());
        }

        /** Whether there is nothing more, and what was read is what {@code expected} names. */
        boolean isAtEnd(Hash expected) throws StoreException, IOException {
            if (buffer.hasRemaining() || fill()) {
                return false;
            }
            if (hash == null) {
                hash = Hash.of(digest.digest());
            }
            return hash.equals(expected);
        }
    }
}
