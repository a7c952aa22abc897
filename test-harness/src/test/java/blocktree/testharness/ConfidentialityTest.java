package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.posix.Posix;
import blocktree.testharness.program.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
