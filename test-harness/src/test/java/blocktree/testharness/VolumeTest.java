package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;

import blocktree.testharness.program.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Volumes that earlier versions have written, each left behind by SIGKILL, show what they showed then and go on being written. */
class VolumeTest {

    @ParameterizedTest
    @ValueSource(strings = {"v1"})
    void aVolumeOfAnEarlierVersionIsWhole(String name) throws Exception {
        Path volumes = TestNode.projectDirectory().resolve("test-harness/src/test/resources/volumes");
        String expected = Files.readString(volumes.resolve(name + ".txt"));
        try (TestNode node = TestNode.initialised()) {
            Program.shell(
                            node.work(),
                            "rm -rf data passphrase; tar -xzf " + volumes.resolve(name + ".tar.gz")
                                    + " --no-same-owner; chmod go= data passphrase")
                    .run();
            node.start();
            assertEquals(expected, list(volumes, node));
            node.requireCleanFsck();
            Files.writeString(node.mount().resolve("directory/inline"), "written by a later version");
            Files.delete(node.mount().resolve("streamed"));
            node.restart();
            assertEquals(
                    "written by a later version", Files.readString(node.mount().resolve("directory/inline")));
            node.requireCleanFsck();
            node.stop();
            node.requireCleanOfflineFsck();
        }
    }

    private static String list(Path volumes, TestNode node) {
        return Program.in(
                        node.work(),
                        volumes.resolve("list-volume").toString(),
                        node.mount().toString())
                .run();
    }
}
