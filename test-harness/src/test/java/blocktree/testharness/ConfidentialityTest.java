package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.posix.Posix;
import blocktree.testharness.program.Program;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Whoever has the disk or reads the log learns no name and no content. */
class ConfidentialityTest {

    @Test
    void nothingReadableIsOnTheDiskOrInTheLog() throws Exception {
        List<String> markers = List.of(
                "markerDirectoryName",
                "markerFileName",
                "markerContent",
                "markerAttributeName",
                "markerAttributeValue",
                "markerLinkTarget",
                "markerSnapshotName",
                "markerLongContent",
                "markerDeletedName",
                "markerRenamedName",
                "markerHardLink");
        try (TestNode node = TestNode.initialised()) {
            node.withArguments("--log-level", "debug").start();
            Path directory = Files.createDirectory(node.mount().resolve("markerDirectoryName"));
            Path file = Files.writeString(directory.resolve("markerFileName"), "markerContent");
            Posix.setExtendedAttribute(
                    file.toString(),
                    "user.markerAttributeName",
                    "markerAttributeValue".getBytes(java.nio.charset.StandardCharsets.US_ASCII),
                    0);
            Posix.symlink("/some/markerLinkTarget", directory.resolve("link").toString());
            Posix.link(file.toString(), directory.resolve("markerHardLink").toString());
            Files.writeString(directory.resolve("long"), "markerLongContent ".repeat(50_000));
            Files.writeString(directory.resolve("markerDeletedName"), "gone");
            for (int i = 0; i < 300; i++) {
                Files.writeString(directory.resolve("markerFileName" + i), "markerContent" + i);
            }
            node.process().createSnapshot("markerSnapshotName");
            Files.delete(directory.resolve("markerDeletedName"));
            Files.move(directory.resolve("long"), directory.resolve("markerRenamedName"));
            // What fails is logged more than what works.
            assertTrue(Program.shell(
                            directory,
                            "cat markerFileName/x; rmdir ../markerDirectoryName; mkdir markerFileName; ln markerHardLink markerFileName; cat markerDeletedName; true")
                    .result()
                    .output()
                    .contains("marker"));
            node.process().sync();
            assertUnseen(node, markers);
            node.kill();
            node.start();
            assertEquals("markerContent", Files.readString(file));
            node.stop();
            assertUnseen(node, markers);
        }
    }

    @Test
    void attributesAndExactSizesAreNotOnTheDisk() throws Exception {
        int owner = 0x12345678;
        long size = 0x123456789ABL;
        long time = 0x0123456789ABCDEFL;
        try (TestNode node = TestNode.started()) {
            Path file = Files.writeString(node.mount().resolve("file"), "content");
            Posix.truncate(file.toString(), size);
            Posix.lchown(file.toString(), owner, owner);
            Posix.setTimes(file.toString(), time, time);
            node.process().sync();
            node.kill();
            node.start();
            String tree = node.process().status().tree();
            assertEquals(size, Posix.stat(file.toString()).sizeBytes());
            node.stop();
            byte[] disk = allBytes(node.data());
            for (byte[] pattern : List.of(
                    varint(owner),
                    varint(size),
                    littleEndian(size, 6),
                    reversed(littleEndian(size, 6)),
                    littleEndian(time, 8),
                    reversed(littleEndian(time, 8)))) {
                assertFalse(contains(disk, pattern), () -> HexFormat.of().formatHex(pattern) + " is on the disk");
            }
            // The search itself works: what is meant to be public is found.
            assertTrue(contains(disk, HexFormat.of().parseHex(tree)), "the id of the tree is public");
        }
    }

    static byte[] allBytes(Path directory) throws IOException {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                all.write(Files.readAllBytes(file));
            }
        }
        return all.toByteArray();
    }

    static boolean contains(byte[] place, byte[] pattern) {
        return indexOf(place, pattern) >= 0;
    }

    static int indexOf(byte[] place, byte[] pattern) {
        for (int i = 0; i + pattern.length <= place.length; i++) {
            if (place[i] == pattern[0] && Arrays.equals(place, i, i + pattern.length, pattern, 0, pattern.length)) {
                return i;
            }
        }
        return -1;
    }

    private static byte[] varint(long value) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        long left = value;
        for (; left > 127; left >>>= 7) {
            bytes.write((int) (left & 127 | 128));
        }
        bytes.write((int) left);
        return bytes.toByteArray();
    }

    private static byte[] littleEndian(long value, int sizeBytes) {
        byte[] bytes = new byte[sizeBytes];
        for (int i = 0; i < sizeBytes; i++) {
            bytes[i] = (byte) (value >>> 8 * i);
        }
        return bytes;
    }

    private static byte[] reversed(byte[] bytes) {
        byte[] reversed = new byte[bytes.length];
        for (int i = 0; i < bytes.length; i++) {
            reversed[i] = bytes[bytes.length - 1 - i];
        }
        return reversed;
    }

    private static void assertUnseen(TestNode node, List<String> markers) {
        for (String marker : markers) {
            String found = Program.shell(node.work(), "grep -rlaFi " + marker + " data node.log || true")
                    .run();
            assertEquals("", found, marker + " is readable");
        }
        // The search itself works: what is meant to be public is found.
        assertTrue(Program.shell(node.work(), "grep -rlaF node_ready node.log")
                .run()
                .contains("node.log"));
    }
}
