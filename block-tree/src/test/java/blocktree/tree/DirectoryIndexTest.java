package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DirectoryIndexTest {
    private static final byte[] HASH_KEY = HexFormat.of().parseHex("000102030405060708090a0b0c0d0e0f");

    /** A directory whose sectors lie in a map; {@link #reopen} forgets everything that was not captured. */
    private static final class Stored {
        final Map<Integer, byte[]> sectors = new HashMap<>();
        final Cache cache;
        DirectoryIndex index;
        int reads;
        boolean failing;

        Stored(long cacheBytes) throws Exception {
            cache = new Cache(cacheBytes);
            index = new DirectoryIndex(HASH_KEY, DirectoryIndex.Layout.EMPTY, cache, this::read);
        }

        byte[] read(int sector) throws FileSystemException {
            reads++;
            byte[] image = sectors.get(sector);
            if (failing || image == null) {
                throw new FileSystemException(FileSystemException.Code.IO, "no sector " + sector);
            }
            return image;
        }

        void commit() {
            DirectoryIndex.Capture capture = index.capture();
            if (capture.dropped()) {
                sectors.clear();
            }
            for (int i = 0; i < capture.nodes().size(); i++) {
                sectors.put(capture.nodes().get(i).sector, capture.images().get(i));
            }
            index.committed(capture);
        }

        void reopen() throws Exception {
            commit();
            DirectoryIndex.Layout layout = index.layout();
            index.release();
            index = new DirectoryIndex(HASH_KEY, layout, cache, this::read);
        }

        List<DirectoryEntry> list() throws Exception {
            List<DirectoryEntry> all = new ArrayList<>();
            long cookie = 0;
            for (List<DirectoryEntry> some = index.after(0); !some.isEmpty(); some = index.after(cookie)) {
                all.addAll(some);
                cookie = some.get(some.size() - 1).key();
            }
            return all;
        }
    }

    private static DirectoryEntry entry(String name, long id) {
        byte[] bytes = new byte[32];
        for (int i = 0; i < 8; i++) {
            bytes[i] = (byte) (id >>> (8 * i));
        }
        return new DirectoryEntry(0, Name.of(name), BlockId.of(bytes), Attributes.TYPE_REGULAR >> 12, null);
    }

    @Test
    void hashIsSipHash24() {
        byte[] input = new byte[15];
        for (int i = 0; i < 15; i++) {
            input[i] = (byte) i;
        }
        // The value of the paper's appendix A.
        assertEquals(0xa129ca6149be45e5L, SipHash.hash(HASH_KEY, input));
    }

    @ParameterizedTest
    @ValueSource(ints = {20, 300, 4000})
    void behavesLikeAMapUnderRandomChangesCommitsAndReopens(int names) throws Exception {
        long seed = System.nanoTime();
        System.out.println("DirectoryIndexTest names=" + names + " seed=" + seed);
        Random random = new Random(seed);
        Stored stored = new Stored(200_000);
        Map<String, DirectoryEntry> model = new TreeMap<>();
        for (int step = 0; step < 30_000; step++) {
            // Phases of growing and of shrinking, so that the tree becomes deep and goes back into the attributes.
            boolean growing = (step / 6000) % 2 == 0;
            String name = "n" + random.nextInt(names) + "x".repeat(random.nextInt(names) % 7 * 20);
            DirectoryEntry found = stored.index.find(Name.of(name));
            DirectoryEntry expected = model.get(name);
            assertEquals(expected == null, found == null);
            if (expected != null && found != null) {
                assertEquals(expected.block(), found.block());
            }
            int dice = random.nextInt(100);
            if (dice < (growing ? 70 : 15)) {
                DirectoryEntry entry = entry(name, random.nextLong());
                if (expected == null) {
                    stored.index.insert(entry);
                } else {
                    stored.index.replace(entry);
                }
                model.put(name, entry);
            } else if (dice < 95) {
                assertEquals(expected != null, stored.index.remove(Name.of(name)));
                model.remove(name);
            } else if (dice < 97) {
                stored.commit();
            } else if (dice == 97) {
                stored.reopen();
            } else if (dice == 98) {
                DirectoryIndex.Capture capture = stored.index.capture();
                stored.index.failed(capture);
            }
            assertEquals(model.size(), stored.index.entryCount());
            if (step % 1000 == 999) {
                assertSame(model, stored.list());
            }
        }
        for (String name : List.copyOf(model.keySet())) {
            assertTrue(stored.index.remove(Name.of(name)));
        }
        assertEquals(0, stored.index.height(), "an emptied directory lies in the attributes again");
        stored.reopen();
        assertTrue(stored.sectors.isEmpty());
        assertTrue(stored.list().isEmpty());
    }

    private static void assertSame(Map<String, DirectoryEntry> model, List<DirectoryEntry> listed) {
        assertEquals(model.size(), listed.size());
        long last = 0;
        for (DirectoryEntry entry : listed) {
            assertTrue(entry.key() > last, "listing in key order");
            last = entry.key();
            DirectoryEntry expected = model.get(entry.name().plaintext());
            assertNotNull(expected);
            assertEquals(expected.block(), entry.block());
        }
    }

    @Test
    void costOfALookupInAHundredThousandEntriesIsTheHeight() throws Exception {
        Stored stored = new Stored(40_000_000);
        for (int i = 0; i < 100_000; i++) {
            stored.index.insert(entry("file-" + i, i));
            if (i % 1000 == 0) {
                stored.commit();
            }
        }
        stored.reopen();
        assertEquals(3, stored.index.height());
        for (int i = 0; i < 100; i++) {
            DirectoryIndex fresh =
                    new DirectoryIndex(HASH_KEY, stored.index.layout(), new Cache(1_000_000), stored::read);
            stored.reads = 0;
            assertNotNull(fresh.find(Name.of("file-" + i * 997)));
            assertEquals(3, stored.reads);
            fresh.insert(entry("another-" + i, i));
            fresh.remove(Name.of("file-" + i));
            assertTrue(stored.reads <= 3 * 4, "a change reads " + stored.reads + " sectors");
        }
    }

    @Test
    void entriesPresentDuringAWholeListingAppearExactlyOnce() throws Exception {
        long seed = System.nanoTime();
        System.out.println("DirectoryIndexTest listing seed=" + seed);
        Random random = new Random(seed);
        Stored stored = new Stored(10_000_000);
        for (int i = 0; i < 2000; i++) {
            stored.index.insert(entry("stays-" + i, i));
        }
        Set<String> seen = new HashSet<>();
        long cookie = 0;
        while (true) {
            List<DirectoryEntry> some = stored.index.after(cookie);
            if (some.isEmpty()) {
                break;
            }
            int taken = 1 + random.nextInt(some.size());
            for (DirectoryEntry entry : some.subList(0, taken)) {
                if (entry.name().plaintext().startsWith("stays-")) {
                    assertTrue(seen.add(entry.name().plaintext()), "listed twice");
                }
                cookie = entry.key();
            }
            for (int i = 0; i < 30; i++) {
                Name name = Name.of("comes-" + random.nextInt(500));
                if (stored.index.find(name) == null) {
                    stored.index.insert(entry(name.plaintext(), i));
                } else {
                    stored.index.remove(name);
                }
            }
        }
        assertEquals(2000, seen.size());
    }

    @Test
    void freedSectorsAreUsedAgain() throws Exception {
        Stored stored = new Stored(10_000_000);
        for (int i = 0; i < 3000; i++) {
            stored.index.insert(entry("a" + i, i));
        }
        int sectors = stored.index.sectorCount();
        for (int i = 0; i < 2900; i++) {
            stored.index.remove(Name.of("a" + i));
        }
        stored.reopen();
        for (int i = 0; i < 2900; i++) {
            stored.index.insert(entry("b" + i, i));
        }
        assertTrue(
                stored.index.sectorCount() <= sectors * 5 / 4,
                stored.index.sectorCount() + " sectors after " + sectors);
    }

    @Test
    void aFailedReadLeavesTheDirectoryUnchanged() throws Exception {
        Stored stored = new Stored(10_000_000);
        for (int i = 0; i < 5000; i++) {
            stored.index.insert(entry("f" + i, i));
        }
        stored.reopen();
        DirectoryIndex.Layout before = stored.index.layout();
        stored.failing = true;
        assertThrows(FileSystemException.class, () -> stored.index.insert(entry("new", 1)));
        assertThrows(FileSystemException.class, () -> stored.index.remove(Name.of("f1")));
        stored.failing = false;
        assertEquals(before.entryCount(), stored.index.entryCount());
        assertNull(stored.index.find(Name.of("new")));
        assertNotNull(stored.index.find(Name.of("f1")));
    }

    @Test
    void aChildOfTheWrongLevelIsCorruptAndNotACircle() throws Exception {
        Stored stored = new Stored(10_000_000);
        for (int i = 0; i < 500; i++) {
            stored.index.insert(entry("f" + i, i));
        }
        stored.commit();
        DirectoryIndex.Layout layout = stored.index.layout();
        byte[] root = stored.sectors.get(layout.root());
        assertNotNull(root);
        stored.sectors.replaceAll((sector, image) -> root);
        DirectoryIndex damaged = new DirectoryIndex(HASH_KEY, layout, new Cache(1_000_000), stored::read);
        FileSystemException e = assertThrows(FileSystemException.class, () -> damaged.find(Name.of("f1")));
        assertEquals(FileSystemException.Code.CORRUPT, e.code());
    }

    @Test
    void nodesHaveTheDocumentedBytes() throws Exception {
        Stored stored = new Stored(1_000_000);
        stored.index.insert(entry("a", 1));
        byte[] leaf = stored.index.layout().inline();
        // kind, level, count, size; key; block id; type; flags; name size; name
        assertEquals(
                "01000001" + "0000002c"
                        + HexFormat.of().toHexDigits((SipHash.hash(HASH_KEY, new byte[] {'a'}) >>> 1) & ~7L) + "01"
                        + "00".repeat(31) + "08" + "00" + "01" + "61",
                HexFormat.of().formatHex(leaf));
        DirectoryNode inner = new DirectoryNode(new HashMap<>(), 9, DirectoryNode.INNER, 1);
        inner.insertChild(0, 0, 7);
        inner.insertChild(1, 0x1122334455667788L, 5);
        byte[] image = inner.encode();
        assertEquals(4096, image.length);
        assertEquals(
                "02010002" + "00000000" + "00000007" + "1122334455667788" + "00000005",
                HexFormat.of().formatHex(image, 0, 24));
        assertArrayEquals(image, DirectoryNode.decode(new HashMap<>(), 9, image).encode());
        DirectoryNode free = new DirectoryNode(new HashMap<>(), 9, DirectoryNode.FREE, 0);
        assertEquals("03000000ffffffff", HexFormat.of().formatHex(free.encode(), 0, 8));
        assertFalse(DirectoryNode.validName(new byte[] {'.'}));
    }

    @Test
    void manglingANodeIsAFormatErrorOrAnotherValidNode() {
        long seed = System.nanoTime();
        System.out.println("DirectoryIndexTest mangling seed=" + seed);
        Random random = new Random(seed);
        DirectoryNode leaf = new DirectoryNode(new HashMap<>(), 0, DirectoryNode.LEAF, 0);
        for (int i = 0; i < 40; i++) {
            leaf.insertEntry(i, entry("name" + i, i).withKey(100 + i));
        }
        byte[] image = leaf.encode();
        int accepted = 0;
        for (int i = 0; i < 20_000; i++) {
            byte[] mangled = image.clone();
            mangled[random.nextInt(random.nextBoolean() ? 16 : 2400)] = (byte) random.nextInt();
            @Nullable DirectoryNode decoded = null;
            try {
                decoded = DirectoryNode.decode(new HashMap<>(), 0, mangled);
            } catch (FormatException e) {
                continue;
            }
            accepted++;
            assertArrayEquals(mangled, decoded.encode());
        }
        assertTrue(accepted > 0);
    }
}
