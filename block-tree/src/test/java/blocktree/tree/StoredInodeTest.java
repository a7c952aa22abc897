package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import blocktree.crypto.BlockId;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.HexFormat;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class StoredInodeTest {
    private static final byte[] HASH_KEY = HexFormat.of().parseHex("000102030405060708090a0b0c0d0e0f");

    static StoredInode file() {
        TreeMap<Name, byte[]> attributes =
                new TreeMap<>(Map.of(Name.of("user.a"), new byte[] {1, 2}, Name.of("user.b"), new byte[0]));
        return new StoredInode(
                0100644,
                1000,
                100,
                1,
                0,
                1,
                2,
                3,
                -4,
                new byte[0],
                attributes,
                new StoredInode.File(5, "hello".getBytes(StandardCharsets.UTF_8), 0),
                null);
    }

    static StoredInode sparseFile() {
        return new StoredInode(
                0100600,
                0,
                0,
                2,
                0,
                1,
                2,
                3,
                4,
                new byte[0],
                Collections.emptySortedMap(),
                new StoredInode.File(1L << 40, new byte[0], 17),
                null);
    }

    static StoredInode symlink() {
        return new StoredInode(
                0120777,
                0,
                0,
                1,
                0,
                1,
                2,
                3,
                4,
                "a/b".getBytes(StandardCharsets.UTF_8),
                Collections.emptySortedMap(),
                null,
                null);
    }

    static StoredInode device() {
        return new StoredInode(
                0020666, 0, 0, 1, 0x103, 1, 2, 3, 4, new byte[0], Collections.emptySortedMap(), null, null);
    }

    static StoredInode directory() {
        byte[] parent = new byte[32];
        Arrays.fill(parent, (byte) 7);
        return new StoredInode(
                0042755,
                0,
                0,
                3,
                0,
                1,
                2,
                3,
                4,
                new byte[0],
                Collections.emptySortedMap(),
                null,
                new StoredInode.Directory(
                        BlockId.of(parent), HASH_KEY, new DirectoryIndex.Layout(100, 2, 3, 5, 6, new byte[0])));
    }

    static StoredInode root() {
        return new StoredInode(
                0040755,
                0,
                0,
                2,
                0,
                1,
                2,
                3,
                4,
                new byte[0],
                Collections.emptySortedMap(),
                null,
                new StoredInode.Directory(null, HASH_KEY, DirectoryIndex.Layout.EMPTY));
    }

    private static Map<String, StoredInode> samples() {
        return Map.of(
                "file",
                file(),
                "sparse-file",
                sparseFile(),
                "symlink",
                symlink(),
                "device",
                device(),
                "directory",
                directory(),
                "root",
                root());
    }

    private static long sectorCount(StoredInode inode) {
        return inode.directory() != null ? inode.directory().layout().sectorCount() : 0;
    }

    @Test
    void attributesHaveTheDocumentedBytes() throws Exception {
        Properties vectors = vectors();
        for (Map.Entry<String, StoredInode> sample : samples().entrySet()) {
            assertEquals(
                    vectors.getProperty(sample.getKey()),
                    HexFormat.of().formatHex(sample.getValue().encode()),
                    sample.getKey());
        }
        assertEquals(samples().size(), vectors.size());
    }

    private static Properties vectors() throws IOException {
        Properties vectors = new Properties();
        try (InputStream in = StoredInodeTest.class.getResourceAsStream("/vectors/attributes.properties")) {
            vectors.load(in);
        }
        return vectors;
    }

    @Test
    void whatIsEncodedIsDecoded() throws Exception {
        for (StoredInode inode : samples().values()) {
            byte[] encoded = inode.encode();
            StoredInode decoded = StoredInode.decode(encoded, sectorCount(inode));
            assertArrayEquals(encoded, decoded.encode());
            assertEquals(inode.mode(), decoded.mode());
            assertEquals(inode.birthTimeNanos(), decoded.birthTimeNanos());
        }
        StoredInode.Directory directory =
                StoredInode.decode(directory().encode(), 6).directory();
        assertNotNull(directory);
        assertEquals(5, directory.layout().freeHead());
        assertEquals(3, directory.layout().root());
    }

    @Test
    void anotherVersionIsRefusedWithBothVersions() {
        byte[] encoded = file().encode();
        assertEquals(8, encoded[0]);
        encoded[1] = 2;
        FormatException e = assertThrows(FormatException.class, () -> StoredInode.decode(encoded, 0));
        assertEquals("attributes of version 2, this program reads version 1", e.getMessage());
    }

    @Test
    void contentThatDoesNotFitItsKindIsRefused() {
        StoredInode none =
                new StoredInode(0100644, 0, 0, 1, 0, 0, 0, 0, 0, new byte[0], Collections.emptySortedMap(), null, null);
        assertThrows(FormatException.class, () -> StoredInode.decode(none.encode(), 0));
        assertThrows(FormatException.class, () -> StoredInode.decode(file().encode(), 3), "inline content and sectors");
        assertThrows(FormatException.class, () -> StoredInode.decode(directory().encode(), 1L << 40));
        assertThrows(FormatException.class, () -> StoredInode.decode(new byte[0], 0));
    }

    @Test
    void mangledAttributesAreRefusedOrDecodedWithinBounds() {
        long seed = System.nanoTime();
        System.out.println("StoredInodeTest seed=" + seed);
        Random random = new Random(seed);
        for (int i = 0; i < 50_000; i++) {
            StoredInode inode = samples().values().stream()
                    .skip(random.nextInt(samples().size()))
                    .findFirst()
                    .orElseThrow();
            byte[] encoded = inode.encode();
            for (int j = random.nextInt(4); j >= 0; j--) {
                encoded[random.nextInt(encoded.length)] = (byte) random.nextInt();
            }
            try {
                StoredInode decoded = StoredInode.decode(encoded, sectorCount(inode));
                StoredInode.File file = decoded.file();
                assertEquals(
                        true, file == null || file.sizeBytes() >= 0 && file.sizeBytes() <= StoredInode.FILE_SIZE_MAX);
            } catch (FormatException e) {
                assertEquals(false, String.valueOf(e.getMessage()).isEmpty());
            }
        }
    }
}
