package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ControlSocketTest {
    @TempDir
    Path temporary;

    @Test
    void liesInTheDataDirectoryWhereItsPathFits() throws Exception {
        try (ControlSocket socket = ControlSocket.prepare(temporary)) {
            assertEquals(temporary.resolve("control.sock"), socket.path());
            assertEquals(socket.path(), ControlSocket.find(temporary));
        }
    }

    @Test
    void liesAtAShortPathClosedToOthersWhereItDoesNotFit() throws Exception {
        Path deep = Files.createDirectories(temporary.resolve("d".repeat(60)).resolve("e".repeat(60)));
        Path directory;
        try (ControlSocket socket = ControlSocket.prepare(deep)) {
            directory = socket.path().getParent();
            assertTrue(socket.path().toString().length() < 108, socket.toString());
            assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(directory)));
            assertEquals(socket.path(), ControlSocket.find(deep));
            // As the next start of the node does, when this one was killed.
            assertEquals(socket.path(), ControlSocket.prepare(deep).path());
        }
        assertFalse(Files.exists(directory));
        assertFalse(Files.exists(deep.resolve("control.path")));

        Files.createSymbolicLink(directory, temporary); // as somebody else might
        try {
            NodeException squatted = assertThrows(NodeException.class, () -> ControlSocket.prepare(deep));
            assertTrue(squatted.found().startsWith(directory + " is there"), squatted.found());
            assertTrue(squatted.remedy().contains("XDG_RUNTIME_DIR"), squatted.remedy());
        } finally {
            Files.delete(directory);
        }
    }
}
