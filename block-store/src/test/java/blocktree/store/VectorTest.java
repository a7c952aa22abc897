package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.crypto.Hash;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.TreeId;
import blocktree.store.IntegrityNode.Entry;
import com.google.protobuf.ByteString;
import java.io.InputStream;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Properties;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Every structure that is hashed, signed or stored, byte for byte (docs/format.md, sections 3 and 4): {@code vectors/block-store.properties}. */
class VectorTest {

    private static final String FILE = "/vectors/block-store.properties";

    private final Properties expected = new Properties();
    private final TreeMap<String, String> differing = new TreeMap<>();

    VectorTest() throws Exception {
        try (InputStream in = VectorTest.class.getResourceAsStream(FILE)) {
            assertNotNull(in, FILE);
            expected.load(in);
        }
    }

    @AfterEach
    void allAsExpected() {
        assertEquals(new TreeMap<String, String>(), differing);
    }

    private void check(String name, byte[] actual) {
        String hex = HexFormat.of().formatHex(actual);
        if (!hex.equals(expected.getProperty(name))) {
            differing.put(name, hex);
        }
    }

    private void check(String name, Hash actual) {
        check(name, actual.toBytes());
    }

    private static byte[] fill(int value, int size) {
        byte[] bytes = new byte[size];
        Arrays.fill(bytes, (byte) value);
        return bytes;
    }

    private static Hash hash(int value) {
        return Hash.of(fill(value, 32));
    }

    private static final TreeId TREE = TreeId.of(fill(1, 32));
    private static final BlockId BLOCK = BlockId.of(fill(2, 32));
    private static final DomainId DOMAIN = DomainId.of(fill(3, 32));
    private static final PrincipalId NODE = PrincipalId.of(fill(4, 32));

    private static Header header() throws StoreException {
        return Header.of(Header.first(BLOCK, DOMAIN, NODE, hash(5))
                .setGeneration(7)
                .setPredecessor(Wire.bytes(hash(6)))
                .setEpoch(2)
                .setEpochCommitment(Wire.bytes(hash(7)))
                .addKeys(Header.message(new Header.WrappedKey(1, fill(8, 60))))
                .addKeys(Header.message(new Header.WrappedKey(2, fill(9, 60))))
                .setSectorSizeLog2(17)
                .setSectorCount(300)
                .setPayloadRoot(Wire.bytes(hash(10)))
                .setSealed(ByteString.copyFrom(fill(11, 113)))
                .setPayloadGeneration(6));
    }

    @Test
    void headers() throws StoreException {
        Header header = header();
        check("header", header.encoded());
        check("header.hash", header.hash());
        assertEquals(header, Header.parse(header.encoded()));
        assertEquals(7, header.generation());
        assertEquals(2, header.keys().size());
        Header tombstone = Header.of(header.next().setTombstone(true).setEpoch(2));
        check("tombstone", tombstone.encoded());
        check("tombstone.hash", tombstone.hash());
        assertTrue(tombstone.tombstone() && tombstone.hasPredecessor(header.hash()));
        HeaderRecord record = new HeaderRecord(header, 42, 3, List.of(hash(12), hash(13)));
        check("header-record", record.encode());
        assertEquals(record, HeaderRecord.parse(record.encode()));
    }

    @Test
    void commits() throws StoreException {
        CommitBody body = new CommitBody(
                TREE, NODE, hash(14), 9, hash(15), 3, List.of(new CommitBody.Fence(hash(16), 17)), 1_700_000_000_000L);
        check("commit", body.encode());
        assertEquals(body, CommitBody.parse(body.encode()));
        for (int count = 1; count <= 5; count++) {
            List<Hash> hashes =
                    IntStream.range(0, count).mapToObj(i -> hash(20 + i)).toList();
            HeadersTree tree = new HeadersTree(hashes);
            check("headers-root." + count, tree.root());
            for (int i = 0; i < count; i++) {
                assertTrue(HeadersTree.proves(tree.root(), count, i, hashes.get(i), tree.path(i)));
                assertFalse(HeadersTree.proves(tree.root(), count, i, hash(99), tree.path(i)));
                assertFalse(HeadersTree.proves(tree.root(), count, (i + 1) % count, hashes.get(i), tree.path(i))
                        && count > 1);
            }
        }
        List<StateEntry> changes =
                List.of(new StateEntry(BLOCK, 7, hash(18)), new StateEntry(BlockId.of(fill(19, 32)), 1, hash(20)));
        check("changes", Changes.encode(changes));
        assertEquals(changes, Changes.parse(Changes.encode(changes)));
    }

    @Test
    void logEntriesAndCheckpoints() throws StoreException {
        LogEntry entry = LogEntry.of(42, 1_700_000_000_000L, hash(21), LogKind.COMMIT, fill(22, 10));
        check("log-entry", entry.encoded());
        check("log-entry.hash", entry.hash());
        assertEquals(entry, LogEntry.parse(entry.encoded()));
        Checkpoint checkpoint =
                new Checkpoint(TREE, 42, 1_700_000_000_000L, hash(23), hash(24), NODE, hash(25), hash(26));
        check("checkpoint", checkpoint.encode());
        assertEquals(checkpoint, Checkpoint.parse(checkpoint.encode()));
        Anchor anchor = new Anchor(TREE, 5, 42, hash(24), 44, hash(27));
        try (SecretBytes key = SecretBytes.takeOver(fill(28, 32))) {
            check("anchor", anchor.encode(key));
            assertEquals(anchor, Anchor.parse(anchor.encode(key), key));
        }
    }

    @Test
    void integrityTree() {
        byte[] ciphertext = fill(29, 4096 + 49);
        byte[] leaf = IntegrityNode.leafHash(ciphertext, 0, ciphertext.length);
        check("leaf.hash", leaf);
        byte[] node = new byte[IntegrityNode.SIZE_MAX];
        IntegrityNode.setEntry(node, 0, 3, leaf);
        IntegrityNode.setEntry(node, 2, new Entry(4, hash(30)));
        byte[] trimmed = IntegrityNode.trim(node);
        check("node", trimmed);
        assertTrue(IntegrityNode.isWellFormed(trimmed));
        Hash nodeHash = IntegrityNode.nodeHash(1, trimmed);
        check("node.hash", nodeHash);
        check("payload-root", IntegrityNode.payloadRoot(300, 4096, new Entry(4, nodeHash)));
        check("payload-root.hole", IntegrityNode.payloadRoot(300, 4096, Entry.HOLE));
        assertEquals(1, IntegrityNode.depth(0));
        assertEquals(1, IntegrityNode.depth(128));
        assertEquals(2, IntegrityNode.depth(129));
        assertEquals(2, IntegrityNode.depth(128 * 128));
        assertEquals(8, IntegrityNode.depth(Header.SECTORS_MAX));
    }

    @Test
    void paddingOfAttributes() throws StoreException {
        check("padded", Padding.pad(fill(31, 100)));
        int[][] sizes = {
            {1, 64}, {64, 64}, {65, 72}, {104, 104}, {105, 112}, {1000, 1024}, {1025, 1088}, {70_000, 71_680}
        };
        for (int[] size : sizes) {
            assertEquals(size[1], Padding.paddedSize(size[0]), "of " + size[0]);
        }
        for (int length = 0; length < 5000; length += 7) {
            byte[] padded = Padding.pad(fill(1, length));
            assertArrayEquals(fill(1, length), Padding.unpad(padded, padded.length));
            assertTrue(padded.length <= 64 || padded.length <= (length + 4) * 1.13);
        }
    }
}
