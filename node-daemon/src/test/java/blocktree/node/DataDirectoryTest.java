package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.node.NodeSettings.NodeKeyProtection;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DataDirectoryTest {
    @TempDir
    Path temporary;

    @Test
    void isTakenByOneProcessAtATime() throws Exception {
        DataDirectory directory = open(temporary);
        try (DataDirectory.Lock lock = directory.lock()) {
            NodeException e = assertThrows(NodeException.class, directory::lock);
            assertEquals(ExitCode.ALREADY_RUNNING, e.exitCode());
            assertTrue(e.found().contains(Long.toString(ProcessHandle.current().pid())), e.found());
        }
        directory.lock().close();
    }

    @Test
    void resolvesPathsOfTheConfiguration() throws Exception {
        DataDirectory directory = open(temporary);
        assertEquals(temporary.resolve("node.key"), directory.nodeKey());
        assertEquals(Path.of("/elsewhere/anchor"), directory.anchor());
    }

    @Test
    void keepsTheSocketInsideWhereItsPathFits() throws Exception {
        DataDirectory directory = open(temporary);
        assertEquals(temporary.resolve("control.sock"), directory.prepareControlSocket());
        assertEquals(temporary.resolve("control.sock"), directory.controlSocket());
    }

    @Test
    void movesTheSocketToAShortPathClosedToOthersWhereItDoesNotFit() throws Exception {
        Path deep = Files.createDirectories(temporary.resolve("d".repeat(60)).resolve("e".repeat(60)));
        DataDirectory directory = open(deep);
        Path socket = directory.prepareControlSocket();
        try {
            assertTrue(socket.toString().length() < 108, socket.toString());
            assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(socket.getParent())));
            assertEquals(socket, DataDirectory.open(deep).controlSocket());
            assertEquals(socket, directory.prepareControlSocket()); // as the next start of the node does
        } finally {
            Files.deleteIfExists(socket.getParent());
        }
    }

    private static DataDirectory open(Path path) throws IOException, NodeException {
        NodeSettings settings = NodeSettings.defaults(NodeKeyProtection.FILE, "node.key", "/elsewhere/anchor");
        Files.writeString(path.resolve(NodeSettings.FILE_NAME), settings.toText());
        return DataDirectory.open(path);
    }
}
