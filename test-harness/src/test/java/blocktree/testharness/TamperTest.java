package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlReply;
import blocktree.harness.CommandResult;
import blocktree.harness.HarnessException;
import blocktree.testharness.StoreEditor.Entry;
import blocktree.testharness.StoreEditor.Id;
import blocktree.testharness.posix.Errno;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import blocktree.testharness.program.Program;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Somebody edits the database of a stopped node. Each kind of change hits a file of its own; then the node runs, and each test looks at one of
 * them: EIO and an event, never wrong bytes, and everything else in the tree usable.
 */
class TamperTest {
    private static final int FILE_SIZE_BYTES = 500_000;
    private static final int PAGE_SIZE_BYTES = 4096;
    /** Where the second generation of every victim differs from the first. */
    private static final int CHANGED_OFFSET = 200_000;

    private static TestNode node;
    private static final Map<String, Id> victims = new LinkedHashMap<>();

    @BeforeAll
    static void tamper() throws Exception {
        node = TestNode.started();
        Files.createDirectory(node.mount().resolve("folder"));
        for (String name : List.of(
                "sector-flipped",
                "sector-cut",
                "sector-swapped",
                "sector-replayed",
                "sector-deleted",
                "sector-of-another",
                "node-flipped",
                "node-deleted",
                "header-flipped",
                "header-replayed",
                "header-rolled-back",
                "header-deleted",
                "header-of-another")) {
            victims.put(name, make(() -> Files.write(file(name), content(name, 1))));
            try (FileChannel channel = FileChannel.open(file(name), StandardOpenOption.WRITE)) {
                channel.write(ByteBuffer.wrap(content(name, 2), CHANGED_OFFSET, 100), CHANGED_OFFSET);
                channel.force(true);
            }
        }
        victims.put("directory", make(() -> Files.createDirectory(node.mount().resolve("directory"))));
        for (int i = 0; i < 20; i++) {
            Files.writeString(node.mount().resolve("directory/entry" + i), "entry");
        }
        Files.write(file("bystander"), content("bystander", 2));
        node.stop();
        node.requireCleanOfflineFsck();

        try (StoreEditor editor = StoreEditor.open(node)) {
            editor.flip(StoreEditor.SECTORS, sectors(editor, "sector-flipped").get(0));
            Entry cut = sectors(editor, "sector-cut").get(0);
            editor.put(StoreEditor.SECTORS, cut.key(), Arrays.copyOf(cut.value(), cut.value().length - 1));
            List<Entry> swapped = sectors(editor, "sector-swapped");
            editor.put(StoreEditor.SECTORS, swapped.get(0).key(), swapped.get(1).value());
            editor.put(StoreEditor.SECTORS, swapped.get(1).key(), swapped.get(0).value());
            List<Entry> all = editor.entries(StoreEditor.SECTORS, victim("sector-replayed"));
            Entry changed = sectors(editor, "sector-replayed").stream()
                    .filter(newest ->
                            all.stream().filter(StoreEditor.ofPlaceOf(newest)).count() > 1)
                    .findFirst()
                    .orElseThrow();
            Entry old = all.stream()
                    .filter(StoreEditor.ofPlaceOf(changed))
                    .findFirst()
                    .orElseThrow();
            editor.put(StoreEditor.SECTORS, changed.key(), old.value());
            editor.delete(
                    StoreEditor.SECTORS,
                    sectors(editor, "sector-deleted").get(0).key());
            editor.put(
                    StoreEditor.SECTORS,
                    sectors(editor, "sector-of-another").get(0).key(),
                    sectors(editor, "sector-flipped").get(1).value());

            editor.flip(
                    StoreEditor.NODES,
                    newest(editor, StoreEditor.NODES, "node-flipped").get(0));
            for (Entry entry : newest(editor, StoreEditor.NODES, "node-deleted")) {
                editor.delete(StoreEditor.NODES, entry.key());
            }

            editor.flip(StoreEditor.HEADERS, headers(editor, "header-flipped").get(0));
            List<Entry> replayed = headers(editor, "header-replayed");
            editor.put(
                    StoreEditor.HEADERS, replayed.get(0).key(), replayed.get(1).value());
            editor.delete(
                    StoreEditor.HEADERS,
                    headers(editor, "header-rolled-back").get(0).key());
            for (Entry entry : headers(editor, "header-deleted")) {
                editor.delete(StoreEditor.HEADERS, entry.key());
            }
            editor.put(
                    StoreEditor.HEADERS,
                    headers(editor, "header-of-another").get(0).key(),
                    headers(editor, "sector-flipped").get(0).value());
            editor.flip(StoreEditor.HEADERS, headers(editor, "directory").get(0));
        }
        node.start();
    }

    @AfterAll
    static void close() {
        node.close();
    }

    @Test
    void aFlippedSectorIsRefused() throws Exception {
        assertDamaged("sector-flipped");
        assertPartReadable("sector-flipped");
    }

    @Test
    void aCutSectorIsRefused() throws Exception {
        assertDamaged("sector-cut");
        assertPartReadable("sector-cut");
    }

    @Test
    void swappedSectorsAreRefused() throws Exception {
        assertDamaged("sector-swapped");
        assertPartReadable("sector-swapped");
    }

    @Test
    void anOlderSectorInPlaceOfTheNewIsRefused() throws Exception {
        assertDamaged("sector-replayed");
        assertPartReadable("sector-replayed");
        try (FileReader reader = new FileReader("sector-replayed")) {
            assertEquals(Errno.EIO, reader.errno(CHANGED_OFFSET));
        }
    }

    @Test
    void aMissingSectorIsNoHole() throws Exception {
        assertDamaged("sector-deleted");
        assertPartReadable("sector-deleted");
    }

    @Test
    void aSectorOfAnotherFileIsRefused() throws Exception {
        assertDamaged("sector-of-another");
        assertPartReadable("sector-of-another");
    }

    @Test
    void aFlippedIntegrityNodeIsRefused() throws Exception {
        assertDamaged("node-flipped");
    }

    @Test
    void aMissingIntegrityNodeIsNoHole() throws Exception {
        assertDamaged("node-deleted");
    }

    @Test
    void aFlippedHeaderIsRefused() {
        assertUnusable("header-flipped");
    }

    @Test
    void anOlderHeaderInPlaceOfTheNewIsRefused() {
        assertUnusable("header-replayed");
    }

    @Test
    void aFileIsNotRolledBackByTakingItsNewestHeaderAway() {
        assertUnusable("header-rolled-back");
    }

    @Test
    void aMissingFileIsDamageAndNotAbsence() {
        assertUnusable("header-deleted");
    }

    @Test
    void aHeaderOfAnotherFileIsRefused() {
        assertUnusable("header-of-another");
    }

    @Test
    void aDamagedDirectoryIsNotAnEmptyOne() {
        PosixException e = assertThrows(
                PosixException.class,
                () -> Posix.list(node.mount().resolve("directory").toString()));
        assertEquals(Errno.EIO, e.errno());
    }

    @Test
    void theRestOfTheTreeIsUsable() throws Exception {
        assertArrayEquals(content("bystander", 2), Files.readAllBytes(file("bystander")));
        Path fresh = file("fresh");
        Files.writeString(fresh, "fresh");
        Files.move(fresh, file("moved"));
        assertEquals("fresh", Files.readString(file("moved")));
        Files.delete(file("moved"));
        assertTrue(Posix.list(node.mount().resolve("folder").toString()).containsKey("header-deleted"));
    }

    @Test
    void fsckNamesEveryVictim() throws Exception {
        List<ControlReply.Finding> findings = node.process().fsck();
        List<String> missed = new ArrayList<>();
        victims.forEach((name, block) -> {
            String id = java.util.HexFormat.of().formatHex(block.bytes());
            if (findings.stream()
                    .noneMatch(finding -> finding.severity().equals("error")
                            && (finding.subject() + finding.detail()).contains(id))) {
                missed.add(name + " " + id);
            }
        });
        assertEquals(List.of(), missed, () -> findings.toString());
        CommandResult command = node.directory().fsck();
        assertEquals(1, command.exitCode(), command.output());
        assertTrue(command.lines().stream().anyMatch(line -> line.contains("\"finding\"")), command.output());
    }

    /** The whole database as it was before, with everything in it well signed. */
    @Test
    void aStoreThatWasRolledBackIsNotOpened() throws Exception {
        try (TestNode victim = TestNode.started()) {
            Files.writeString(victim.mount().resolve("before"), "before");
            victim.stop();
            Program.shell(victim.work(), "cp -a data/tree old").run();
            victim.start();
            Path file = victim.mount().resolve("after");
            Files.writeString(file, "after");
            fsync(file);
            victim.stop();
            Program.shell(victim.work(), "rm -rf data/tree; mv old data/tree").run();
            HarnessException refused = assertThrows(HarnessException.class, victim::start);
            assertTrue(refused.toString().contains("exit code 7"), refused.toString());
            assertNotEquals(0, victim.directory().fsck().exitCode());
        }
    }

    @Test
    void anAlteredLogIsNotTaken() throws Exception {
        try (TestNode victim = TestNode.started()) {
            for (int i = 0; i < 20; i++) {
                Path file = victim.mount().resolve("file" + i);
                Files.writeString(file, "content " + i);
                fsync(file);
            }
            victim.stop();
            try (StoreEditor editor = StoreEditor.open(victim)) {
                List<Entry> entries = editor.entries(StoreEditor.LOG);
                editor.flip(StoreEditor.LOG, entries.get(entries.size() - 8));
            }
            // Either the store refuses to open, or what rests on the entry is refused: never a silent acceptance.
            CommandResult fsck = victim.directory().fsck();
            assertNotEquals(0, fsck.exitCode(), fsck.output());
            try {
                victim.start();
                assertFalse(victim.process().fsck().isEmpty());
            } catch (HarnessException e) {
                assertTrue(e.toString().contains("exit code 7"), e.toString());
            }
        }
    }

    private static void assertDamaged(String name) throws Exception {
        int from = node.process().events().size();
        byte[] expected = content(name, 2);
        int refusedCount = 0;
        try (FileReader reader = new FileReader(name)) {
            for (int offset = 0; offset < FILE_SIZE_BYTES; offset += PAGE_SIZE_BYTES) {
                try {
                    byte[] read = reader.page(offset);
                    assertArrayEquals(
                            Arrays.copyOfRange(expected, offset, Math.min(FILE_SIZE_BYTES, offset + PAGE_SIZE_BYTES)),
                            read,
                            name + " at " + offset);
                } catch (PosixException e) {
                    assertEquals(Errno.EIO, e.errno(), name);
                    refusedCount++;
                }
            }
        }
        assertTrue(refusedCount > 0, name + " was read whole");
        awaitCorruptEvent(name, from);
    }

    /** A damaged sector costs itself and not its file. */
    private static void assertPartReadable(String name) throws Exception {
        try (FileReader reader = new FileReader(name)) {
            assertArrayEquals(
                    Arrays.copyOfRange(content(name, 2), FILE_SIZE_BYTES - 1000, FILE_SIZE_BYTES),
                    Posix.pread(reader.descriptor, PAGE_SIZE_BYTES, FILE_SIZE_BYTES - 1000));
        }
    }

    private static void assertUnusable(String name) {
        PosixException e = assertThrows(PosixException.class, () -> {
            try (FileReader reader = new FileReader(name)) {
                reader.page(0);
            }
        });
        assertEquals(Errno.EIO, e.errno(), name);
        awaitCorruptEvent(name, 0);
    }

    private static void awaitCorruptEvent(String name, int from) {
        String id = java.util.HexFormat.of().formatHex(victim(name).bytes());
        try {
            Await.until(
                    Duration.ofSeconds(5),
                    "an event block_corrupt of " + name + " " + id,
                    () -> node.process().events().stream()
                            .anyMatch(event -> event.name().equals("block_corrupt")
                                    && event.fields().containsValue(id)));
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    private static List<Entry> sectors(StoreEditor editor, String name) throws Exception {
        List<Entry> newest = newest(editor, StoreEditor.SECTORS, name);
        assertTrue(newest.size() > 2, name + " has " + newest.size() + " sectors");
        return newest;
    }

    private static List<Entry> newest(StoreEditor editor, String family, String name) throws Exception {
        return StoreEditor.newestOfEachPlace(editor.entries(family, victim(name)));
    }

    private static List<Entry> headers(StoreEditor editor, String name) throws Exception {
        List<Entry> headers = editor.entries(StoreEditor.HEADERS, victim(name));
        assertTrue(headers.size() > 1, name + " has " + headers.size() + " headers");
        return headers;
    }

    /** The id of the block that {@code step} makes. */
    private static Id make(Step step) throws Exception {
        node.process().sync();
        TreeSet<Id> before;
        try (StoreEditor look = StoreEditor.look(node)) {
            before = look.blocks();
        }
        step.run();
        node.process().sync();
        try (StoreEditor look = StoreEditor.look(node)) {
            TreeSet<Id> after = look.blocks();
            after.removeAll(before);
            assertEquals(1, after.size(), "new blocks");
            return after.first();
        }
    }

    private static Id victim(String name) {
        Id id = victims.get(name);
        if (id == null) {
            throw new IllegalArgumentException(name);
        }
        return id;
    }

    private static Path file(String name) {
        return node.mount().resolve("folder").resolve(name);
    }

    private static byte[] content(String name, int generation) {
        byte[] content = new byte[FILE_SIZE_BYTES];
        new Random(name.hashCode()).nextBytes(content);
        if (generation > 1) {
            Arrays.fill(content, CHANGED_OFFSET, CHANGED_OFFSET + 100, (byte) generation);
        }
        return content;
    }

    private static void fsync(Path file) throws Exception {
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
            channel.force(true);
        }
    }

    private interface Step {
        void run() throws Exception;
    }

    private static final class FileReader implements AutoCloseable {
        final int descriptor;

        FileReader(String name) throws PosixException {
            descriptor = Posix.open(file(name).toString(), Posix.O_RDONLY);
        }

        byte[] page(int offset) throws PosixException {
            return Posix.pread(descriptor, PAGE_SIZE_BYTES, offset);
        }

        Errno errno(int offset) throws PosixException {
            return assertThrows(PosixException.class, () -> page(offset)).errno();
        }

        @Override
        public void close() throws PosixException {
            Posix.close(descriptor);
        }
    }
}
