package blocktree.node;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The file {@code btnode.conf} of a data directory: {@code key = value}, one a line, '#' for comments. Its presence says that
 * the directory is complete. Paths are absolute or relative to the data directory.
 *
 * @param retentionMillis how long earlier versions are kept
 * @param dirtyBytesMax most data that may wait to be written back
 * @param cacheBytes caches of the store
 * @param scrubBytesPerSecond how fast the store is verified in the background; 0: not at all
 */
record NodeSettings(
        NodeKeyProtection nodeKey,
        String nodeKeyPath,
        String anchorPath,
        long retentionMillis,
        long dirtyBytesMax,
        long cacheBytes,
        long scrubBytesPerSecond) {
    static final String FILE_NAME = "btnode.conf";
    static final long RETENTION_MILLIS_DEFAULT = Quantity.parseMillis("1d");
    static final long DIRTY_BYTES_MAX_DEFAULT = Quantity.parseBytes("48M");
    static final long CACHE_BYTES_DEFAULT = Quantity.parseBytes("64M");

    static final long SCRUB_BYTES_PER_SECOND_DEFAULT = Quantity.parseBytes("8M");

    /** How the node's private key is kept. */
    enum NodeKeyProtection {
        /** In a file of mode 0600: starts unattended. */
        FILE,
        /** Under the passphrase, asked for at each start. */
        PASSPHRASE,
        /** Handed over by the service manager. */
        CREDENTIAL
    }

    static NodeSettings defaults(NodeKeyProtection nodeKey, String nodeKeyPath, String anchorPath) {
        return new NodeSettings(
                nodeKey,
                nodeKeyPath,
                anchorPath,
                RETENTION_MILLIS_DEFAULT,
                DIRTY_BYTES_MAX_DEFAULT,
                CACHE_BYTES_DEFAULT,
                SCRUB_BYTES_PER_SECOND_DEFAULT);
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
            NodeSettings settings = new NodeSettings(
                    Choice.of(NodeKeyProtection.class, take(values, "node_key")),
                    take(values, "node_key_path"),
                    take(values, "anchor_path"),
                    Quantity.parseMillis(take(values, "retention")),
                    Quantity.parseBytes(take(values, "dirty_limit")),
                    Quantity.parseBytes(take(values, "cache_size")),
                    Quantity.parseBytes(take(values, "scrub_rate")));
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
                "check --data-dir, or make a node there with: btnode init --data-dir " + dataDirectory);
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
                # A Blocktree node; docs/operations.md explains each line.
                node_key = %s
                node_key_path = %s
                anchor_path = %s
                retention = %s
                dirty_limit = %s
                cache_size = %s
                scrub_rate = %s
                """.formatted(
                        Choice.label(nodeKey),
                        nodeKeyPath,
                        anchorPath,
                        Quantity.ofMillis(retentionMillis),
                        Quantity.ofBytes(dirtyBytesMax),
                        Quantity.ofBytes(cacheBytes),
                        Quantity.ofBytes(scrubBytesPerSecond));
    }
}
