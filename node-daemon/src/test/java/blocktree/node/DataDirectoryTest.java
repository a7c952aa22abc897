package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.node.NodeSettings.NodeKeyProtection;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DataDirectoryTest {
    @TempDir
    Path temporary;

    @Test
    void isTakenByOneProcessAtATime() throws Exception {
        DataDirectory directory = open(temporary);
        try (DataDirectory.Lock lock = directory.lock(false)) {
            NodeException e = assertThrows(NodeException.class, () -> directory.lock(true));
            assertEquals(ExitCode.ALREADY_RUNNING, e.exitCode());
            assertTrue(e.found().contains(Long.toString(ProcessHandle.current().pid())), e.found());
        }
        directory.lock(false).close();
    }

    @Test
    void resolvesPathsOfTheConfiguration() throws Exception {
        DataDirectory directory = open(temporary);
        assertEquals(temporary.resolve("node.key"), directory.nodeKey());
        assertEquals(Path.of("/elsewhere/anchor"), directory.anchor());
    }

    private static DataDirectory open(Path path) throws IOException, NodeException {
        NodeSettings settings = new NodeSettings(NodeKeyProtection.FILE, "node.key", "/elsewhere/anchor");
        Files.writeString(path.resolve(NodeSettings.FILE_NAME), settings.toText());
        return DataDirectory.open(path);
    }
}
