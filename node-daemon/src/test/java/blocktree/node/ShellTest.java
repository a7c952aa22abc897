package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ShellTest {
    @ParameterizedTest
    @ValueSource(
            strings = {"/var/lib/btnode", "/tmp/da ta", "/tmp/it's", "/tmp/$(id)`;\n*\"\\", "/mnt/größe", "~", "#"})
    void aWordIsReadBackAsThePathThatItWas(String path) throws Exception {
        Process shell = new ProcessBuilder("sh", "-c", "printf %s " + Shell.word(Path.of(path))).start();
        ByteArrayOutputStream read = new ByteArrayOutputStream();
        shell.getInputStream().transferTo(read);
        assertEquals(0, shell.waitFor());
        assertEquals(path, read.toString(StandardCharsets.UTF_8));
    }

    @ParameterizedTest
    @ValueSource(strings = {"/var/lib/btnode", "a-b_c.d", "/mnt/größe"})
    void aPlainPathIsLeftAsItIs(String path) {
        assertEquals(path, Shell.word(Path.of(path)));
    }
}
