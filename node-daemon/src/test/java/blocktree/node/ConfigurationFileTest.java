package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.btmsg.ControlMount;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ConfigurationFileTest {
    @TempDir
    Path directory;

    @Test
    void givesSettingsWithTheirLinesAndMounts() throws Exception {
        ConfigurationFile file = read("""
                # a comment
                retention = "7d"
                cache_size = 33_554_432   # bytes
                data_dir = "data"

                [[mount]]
                path = "/mnt/tree"
                allow_other = true

                [[mount]]
                path = "/mnt/photos"
                subtree = "/home//photos/"
                read_only = true
                """);
        assertEquals(
                Map.of(
                        Setting.RETENTION, "7d",
                        Setting.CACHE_SIZE, "33554432",
                        Setting.DATA_DIR, directory.resolve("data").toString()),
                file.values(),
                "paths are relative to the file");
        assertEquals(new ConfigurationFile.Position(2, 1), file.positions().get(Setting.RETENTION));
        assertEquals(
                List.of(
                        new ControlMount("/mnt/tree", false, true, "", false),
                        new ControlMount("/mnt/photos", true, false, "home/photos", false)),
                file.mounts());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', textBlock = """
                    retnetion = "7d"                          | line 1, column 1: unknown key 'retnetion'; did you mean 'retention'?
                    colour = "blue"                           | line 1, column 1: unknown key 'colour'; there are data_dir
                    retention = 7                             | line 1, column 1: retention takes a text in quotes, such as "1d"
                    retention = "soon"                        | line 1, column 1: retention: 'soon' is not a number with
                    log_level = "loud"                        | line 1, column 1: log_level: 'loud' is none of error, warn, info, debug
                    stop_timeout = "0s"                       | line 1, column 1: stop_timeout: '0s' is not between 1s and 1d
                    data_dir = ""                             | line 1, column 1: data_dir: '' is not a path
                    retention = 7d                            | line 1, column 14: Unexpected
                    mount = "/mnt/tree"                       | line 1, column 1: mounts are tables
                    [mount]                                   | line 1, column 1: mounts are tables
                    [[mount]]                                 | line 1, column 1: the mount has no path
                    [[mount]]~path = 3                        | line 2, column 1: path takes a text in quotes
                    [[mount]]~path = "/m"~readonly = true     | line 3, column 1: unknown key 'readonly'; did you mean 'read_only'?
                    [[mount]]~path = "/m"~read_only = "yes"   | line 3, column 1: read_only takes true or false
                    [[mount]]~path = "/m"~[[mount]]~path="/m" | line 4, column 1: path: /m is mounted on above
                    retention = "1d"~retention = "2d"         | line 2, column 1: retention previously defined
                    """)
    void isRefusedWithTheLineAndTheReason(String text, String expected) {
        NodeException e = assertThrows(NodeException.class, () -> read(text.replace('~', '\n')));
        assertEquals(ExitCode.BAD_CONFIGURATION, e.exitCode());
        assertTrue(e.found().startsWith(expected), e.found());
        assertTrue(e.remedy().contains("config check"), e.remedy());
    }

    @Test
    void namesAllMistakesAtOnce() {
        NodeException e = assertThrows(NodeException.class, () -> read("a = 1\nretention = \"x\"\n[[mount]]\nb = 2\n"));
        assertEquals(4, e.found().lines().count(), e.found());
    }

    @Test
    void mayBeginWithAByteOrderMark() throws Exception {
        assertEquals("7d", read("\ufeffretention = \"7d\"\n").values().get(Setting.RETENTION));
    }

    @Test
    void isNotReadWithoutEnd() {
        NodeException e = assertThrows(NodeException.class, () -> ConfigurationFile.read(Path.of("/dev/zero")));
        assertEquals(ExitCode.BAD_CONFIGURATION, e.exitCode());
        assertEquals("larger than 1048576 bytes", e.found());
    }

    @Test
    void mustBeThere() {
        NodeException e =
                assertThrows(NodeException.class, () -> ConfigurationFile.read(directory.resolve("none.toml")));
        assertEquals(ExitCode.BAD_CONFIGURATION, e.exitCode());
        assertEquals("no such file", e.found());
    }

    private ConfigurationFile read(String text) throws IOException, NodeException {
        return ConfigurationFile.read(Files.writeString(directory.resolve(ConfigurationFile.NAME), text));
    }
}
