package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.node.NodeSettings.NodeKeyProtection;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class NodeSettingsTest {
    private static final NodeSettings SETTINGS =
            new NodeSettings(NodeKeyProtection.PASSPHRASE, "/keys/node.key", "anchor");

    @TempDir
    Path directory;

    @Test
    void comeBackAsTheyWereWritten() throws Exception {
        write(SETTINGS.toText());
        assertEquals(SETTINGS, NodeSettings.load(directory));
    }

    @Test
    void mayHoldWhatAnEarlierVersionWrote() throws Exception {
        write(
                "#c\n\n node_key=file\nnode_key_path = n\nanchor_path = a\nretention = 7d\n  dirty_limit = 32M  \ncache_size=1G\nscrub_rate=0\n");
        assertEquals(
                new NodeSettings(
                        NodeKeyProtection.FILE,
                        "n",
                        "a",
                        Map.of(
                                Setting.RETENTION, "7d",
                                Setting.DIRTY_LIMIT, "32M",
                                Setting.CACHE_SIZE, "1G",
                                Setting.SCRUB_RATE, "0")),
                NodeSettings.load(directory));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "retention = soon",
                "node_key = sticker",
                "colour = blue",
                "retention",
                "retention = 1d\nretention = 2d",
                "anchor_path ="
            })
    void areRefusedWithTheReason(String wrong) throws IOException {
        String key = wrong.split("[ =]")[0];
        write(SETTINGS.toText().replaceAll("(?m)^" + key + " .*\n", "") + wrong + "\n");
        NodeException e = assertThrows(NodeException.class, () -> NodeSettings.load(directory));
        assertEquals(ExitCode.BAD_CONFIGURATION, e.exitCode());
        assertTrue(e.tried().contains("btnode.conf"), e.tried());
    }

    @Test
    void tellAMissingDirectoryFromOneWithoutANode() {
        NodeException missing = assertThrows(NodeException.class, () -> NodeSettings.load(directory.resolve("none")));
        NodeException empty = assertThrows(NodeException.class, () -> NodeSettings.load(directory));
        assertEquals(ExitCode.BAD_CONFIGURATION, missing.exitCode());
        assertEquals("no such directory", missing.found());
        assertTrue(empty.found().contains("holds no node"), empty.found());
        assertTrue(empty.remedy().contains("btnode init"), empty.remedy());
    }

    private void write(String text) throws IOException {
        Files.writeString(directory.resolve(NodeSettings.FILE_NAME), text);
    }
}
