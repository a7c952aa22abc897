package blocktree.node;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The file {@code btnode.conf} of a data directory, which {@code init} writes: {@code key = value}, one a line, '#' for comments. Its presence says that
 * the directory is complete. Paths are absolute or relative to the data directory.
 *
 * @param older what btnode.toml holds now, as an earlier version wrote it here
 */
record NodeSettings(NodeKeyProtection nodeKey, String nodeKeyPath, String anchorPath, Map<Setting, String> older) {
    static final String FILE_NAME = "btnode.conf";
    private static final List<Setting> ONCE_HERE =
            List.of(Setting.RETENTION, Setting.DIRTY_LIMIT, Setting.CACHE_SIZE, Setting.SCRUB_RATE);

    /** How the node's private key is kept. */
    enum NodeKeyProtection {
        /** In a file of mode 0600: starts unattended. */
        FILE,
        /** Under the passphrase, asked for at each start. */
        PASSPHRASE,
        /** Handed over by the service manager. */
        CREDENTIAL
    }

    NodeSettings {
        older = Map.copyOf(older);
    }

    NodeSettings(NodeKeyProtection nodeKey, String nodeKeyPath, String anchorPath) {
        this(nodeKey, nodeKeyPath, anchorPath, Map.of());
    }

    static NodeSettings load(Path dataDirectory) throws NodeException {
        Path file = dataDirectory.resolve(FILE_NAME);
        String tried = "to read the configuration " + file;
        try {
            Map<String, String> values = new LinkedHashMap<>();
            int number = 0;
            for (String line : Files.readAllLines(file)) {
                number++;
                String text = line.strip();
                if (text.isEmpty() || text.startsWith("#")) {
                    continue;
                }
                int equals = text.indexOf('=');
                if (equals < 0
                        || values.put(
                                        text.substring(0, equals).strip(),
                                        text.substring(equals + 1).strip())
                                != null) {
                    throw new IllegalArgumentException("line " + number + " is not 'key = value' with a new key");
                }
            }
            Map<Setting, String> older = new EnumMap<>(Setting.class);
            for (Setting setting : ONCE_HERE) {
                String text = values.remove(setting.key());
                if (text != null) {
                    setting.check(text);
                    older.put(setting, text);
                }
            }
            NodeSettings settings = new NodeSettings(
                    Choice.of(NodeKeyProtection.class, take(values, "node_key")),
                    take(values, "node_key_path"),
                    take(values, "anchor_path"),
                    older);
            if (!values.isEmpty()) {
                throw new IllegalArgumentException(
                        "unknown key '" + values.keySet().iterator().next() + "'");
            }
            return settings;
        } catch (NoSuchFileException e) {
            throw noNode(dataDirectory);
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    tried,
                    String.valueOf(e.getMessage()),
                    "correct the file; docs/operations.md lists the keys");
        } catch (IOException e) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    tried,
                    Failures.reason(e),
                    "check the permissions of the data directory");
        }
    }

    /** What to say of a directory without the file. */
    static NodeException noNode(Path dataDirectory) {
        boolean exists = Files.isDirectory(dataDirectory);
        return new NodeException(
                ExitCode.BAD_CONFIGURATION,
                "to open the data directory " + dataDirectory,
                exists ? "a directory that holds no node (no " + FILE_NAME + ")" : "no such directory",
                isVacant(dataDirectory)
                        ? "check --data-dir, or make a node there with: btnode init --data-dir "
                                + Shell.word(dataDirectory)
                        : "name the data directory of a node with --data-dir; to make one, name an empty directory: btnode init --data-dir DIR");
    }

    /** Whether init would take it. */
    private static boolean isVacant(Path directory) {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.findAny().isEmpty();
        } catch (IOException e) {
            return Files.notExists(directory);
        }
    }

    private static String take(Map<String, String> values, String key) {
        String value = values.remove(key);
        if (value == null || value.isEmpty()) {
            throw new IllegalArgumentException("no value for '" + key + "'");
        }
        return value;
    }

    String toText() {
        return """
                # What btnode init decided for this node. What can be configured is in %s; see btnode config --help.
                node_key = %s
                node_key_path = %s
                anchor_path = %s
                """.formatted(ConfigurationFile.NAME, Choice.label(nodeKey), nodeKeyPath, anchorPath);
    }
}
