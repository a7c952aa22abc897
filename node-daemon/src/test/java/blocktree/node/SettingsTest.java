package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SettingsTest {
    @TempDir
    Path directory;

    private Path file;

    @BeforeEach
    void write() throws IOException {
        file = Files.writeString(directory.resolve(ConfigurationFile.NAME), """
                data_dir = "data"
                retention = "2d"
                dirty_limit = "2M"
                cache_size = "2M"
                """);
    }

    @Test
    void theCommandLineGoesBeforeTheEnvironmentAndThatBeforeTheFile() throws Exception {
        Settings settings = Settings.load(
                        file,
                        null,
                        Map.of("BTNODE_DIRTY_LIMIT", "3M", "BTNODE_CACHE_SIZE", "3M", "BTNODE_SCRUB_RATE", ""))
                .with(Setting.CACHE_SIZE, "--cache-size", "4M")
                .with(Setting.RETENTION, "--retention", null);
        assertEquals(new Settings.Value("2d", file + ":2"), settings.value(Setting.RETENTION));
        assertEquals(new Settings.Value("3M", "BTNODE_DIRTY_LIMIT"), settings.value(Setting.DIRTY_LIMIT));
        assertEquals(new Settings.Value("4M", "--cache-size"), settings.value(Setting.CACHE_SIZE));
        assertEquals(new Settings.Value("8M", "default"), settings.value(Setting.SCRUB_RATE));
        assertEquals(directory.resolve("data"), settings.dataDirectory());
    }

    @Test
    void whatAnEarlierVersionLeftInTheDataDirectoryGoesBeforeTheDefaultsOnly() throws Exception {
        Path data = Files.createDirectory(directory.resolve("data"));
        Files.writeString(data.resolve(NodeSettings.FILE_NAME), """
                node_key = file
                node_key_path = node.key
                anchor_path = anchor
                retention = 9d
                scrub_rate = 0
                """);
        Settings settings = Settings.load(file, null, Map.of()).withOlder(DataDirectory.open(data));
        assertEquals("2d", settings.value(Setting.RETENTION).text());
        assertEquals(
                new Settings.Value("0", data.resolve("btnode.conf").toString()), settings.value(Setting.SCRUB_RATE));
    }

    @Test
    void aFileForAnotherDataDirectoryIsPassedOverUnlessItWasNamed() throws Exception {
        Path config = Files.createDirectories(directory.resolve("btnode"));
        Files.move(file, config.resolve(ConfigurationFile.NAME));
        Path usual = config.resolve(ConfigurationFile.NAME);
        String user = System.setProperty("user.name", "somebody");
        try {
            Map<String, String> environment = Map.of("XDG_CONFIG_HOME", directory.toString());
            Path other = directory.resolve("other");
            Settings passed = Settings.load(null, other, environment);
            assertEquals("1d", passed.value(Setting.RETENTION).text());
            assertEquals(usual, passed.passedOver());
            Settings same = Settings.load(null, config.resolve("data"), environment);
            assertEquals("2d", same.value(Setting.RETENTION).text());
            assertNull(same.passedOver());
            Settings named = Settings.load(usual, other, environment);
            assertEquals("2d", named.value(Setting.RETENTION).text());
            assertEquals(other, named.dataDirectory());
            assertEquals(usual, Settings.load(null, null, environment).file());
        } finally {
            System.setProperty("user.name", String.valueOf(user));
        }
    }

    @Test
    void wrongValuesAreRefusedWithTheirPlace() {
        NodeException variable =
                assertThrows(NodeException.class, () -> Settings.load(file, null, Map.of("BTNODE_RETENTION", "often")));
        assertEquals(ExitCode.BAD_CONFIGURATION, variable.exitCode());
        assertTrue(variable.tried().contains("BTNODE_RETENTION"), variable.tried());
        NodeException option = assertThrows(
                NodeException.class,
                () -> Settings.load(file, null, Map.of()).with(Setting.RETENTION, "--retention", "often"));
        assertEquals(ExitCode.USAGE, option.exitCode());
        assertTrue(option.tried().contains("--retention"), option.tried());
    }
}
