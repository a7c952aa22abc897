package blocktree.node;

import static java.nio.charset.StandardCharsets.UTF_8;

import blocktree.btmsg.ControlMount;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.tomlj.Toml;
import org.tomlj.TomlArray;
import org.tomlj.TomlParseResult;
import org.tomlj.TomlPosition;
import org.tomlj.TomlTable;

/**
 * The file {@code btnode.toml}: settings by their keys, and a table {@code [[mount]]} for each mount. Every mistake in it is found, with its
 * line and column, before anything of it counts.
 *
 * @param positions of each setting that is given
 */
record ConfigurationFile(
        Path path, Map<Setting, String> values, Map<Setting, Position> positions, List<ControlMount> mounts) {
    static final String NAME = "btnode.toml";
    private static final int SIZE_BYTES_MAX = 1 << 20;
    private static final String BYTE_ORDER_MARK = "\ufeff";
    private static final String MOUNT = "mount";
    private static final String MOUNTS_ARE_TABLES = "mounts are tables: [[mount]], then path = \"/mnt/tree\"";
    static final String MOUNT_PATH = "path";
    private static final String MOUNT_SUBTREE = "subtree";
    private static final List<String> MOUNT_FLAGS =
            List.of("read_only", "allow_other", "show_snapshots", "suid", "dev", "noexec", "write_back_cache", "acl");
    static final List<String> MOUNT_KEYS = Stream.concat(Stream.of(MOUNT_PATH, MOUNT_SUBTREE), MOUNT_FLAGS.stream())
            .toList();

    /** Lines and columns from 1. */
    record Position(int line, int column) implements Comparable<Position> {
        private static final Comparator<Position> ORDER =
                Comparator.comparingInt(Position::line).thenComparingInt(Position::column);

        static Position of(@Nullable TomlPosition position) {
            return position == null ? new Position(1, 1) : new Position(position.line(), position.column());
        }

        @Override
        public int compareTo(Position other) {
            return ORDER.compare(this, other);
        }

        @Override
        public String toString() {
            return "line " + line + ", column " + column;
        }
    }

    /** One thing that is wrong in a file. */
    record Mistake(Position position, String text) {}

    /** BAD_CONFIGURATION with all mistakes, or when the file cannot be read. */
    static ConfigurationFile read(Path path) throws NodeException {
        String tried = "to read the configuration " + path;
        TomlParseResult parsed;
        try {
            parsed = Toml.parse(text(path));
        } catch (NoSuchFileException e) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION, tried, "no such file", "check --config and BTNODE_CONFIG", e);
        } catch (IOException e) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION, tried, Failures.reason(e), "check the file and its permissions", e);
        }
        Reading reading = new Reading(path);
        if (parsed.hasErrors()) {
            parsed.errors().forEach(error -> reading.mistake(error.position(), String.valueOf(error.getMessage())));
        } else {
            reading.readAll(parsed);
        }
        if (!reading.mistakes.isEmpty()) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    tried,
                    String.join(
                            "\n         ",
                            reading.mistakes.stream()
                                    .sorted(Comparator.comparing(Mistake::position))
                                    .map(each -> each.position() + ": " + each.text())
                                    .toList()),
                    "correct the file, then try it with: btnode config check --config " + Shell.word(path));
        }
        return new ConfigurationFile(path, reading.values, reading.positions, List.copyOf(reading.mounts));
    }

    /** Without the mark with which some editors begin a file. */
    private static String text(Path path) throws IOException {
        String text = UTF_8.newDecoder()
                .decode(ByteBuffer.wrap(BoundedFile.read(path, SIZE_BYTES_MAX)))
                .toString();
        return text.startsWith(BYTE_ORDER_MARK) ? text.substring(BYTE_ORDER_MARK.length()) : text;
    }

    /** A file while it is read. */
    private static final class Reading {
        private final Path path;
        private final Map<Setting, String> values = new EnumMap<>(Setting.class);
        private final Map<Setting, Position> positions = new EnumMap<>(Setting.class);
        private final List<ControlMount> mounts = new ArrayList<>();
        private final List<Mistake> mistakes = new ArrayList<>();

        Reading(Path path) {
            this.path = path;
        }

        void mistake(@Nullable TomlPosition position, String text) {
            mistakes.add(new Mistake(Position.of(position), text));
        }

        void readAll(TomlTable file) {
            List<String> known = new ArrayList<>(Setting.keys());
            known.add(MOUNT);
            for (String key : file.keySet()) {
                Object value = file.get(List.of(key));
                TomlPosition position = file.inputPositionOf(List.of(key));
                if (key.equals(MOUNT)) {
                    readMounts(value, position);
                } else if (known.contains(key)) {
                    readSetting(Setting.valueOf(key.toUpperCase(Locale.ROOT)), value, position);
                } else {
                    mistake(position, unknown(key, known));
                }
            }
        }

        private void readSetting(Setting setting, @Nullable Object value, @Nullable TomlPosition position) {
            String text;
            if (value instanceof String string) {
                text = string;
            } else if (value instanceof Long number && setting.isNumber()) {
                text = number.toString();
            } else {
                mistake(position, setting.key() + " takes a text in quotes, such as \"" + example(setting) + "\"");
                return;
            }
            try {
                setting.check(text);
                values.put(setting, setting.isPath() ? absolute(text) : text);
                positions.put(setting, Position.of(position));
            } catch (IllegalArgumentException e) {
                mistake(position, setting.key() + ": " + e.getMessage());
            }
        }

        private static String example(Setting setting) {
            return setting.defaultText().isEmpty() ? "/path" : setting.defaultText();
        }

        /** Paths are relative to the file. */
        private String absolute(String text) {
            return path.toAbsolutePath().resolveSibling(text).normalize().toString();
        }

        private void readMounts(@Nullable Object value, @Nullable TomlPosition position) {
            if (!(value instanceof TomlArray array)) {
                mistake(position, MOUNTS_ARE_TABLES);
                return;
            }
            Set<String> points = new HashSet<>();
            for (int i = 0; i < array.size(); i++) {
                if (!(array.get(i) instanceof TomlTable table)) {
                    mistake(array.inputPositionOf(i), MOUNTS_ARE_TABLES);
                    continue;
                }
                ControlMount mount = readMount(table, array.inputPositionOf(i));
                if (mount != null && !points.add(mount.mountPoint())) {
                    mistake(
                            table.inputPositionOf(List.of(MOUNT_PATH)),
                            "path: " + mount.mountPoint() + " is mounted on above");
                } else if (mount != null) {
                    mounts.add(mount);
                }
            }
        }

        private @Nullable ControlMount readMount(TomlTable table, @Nullable TomlPosition position) {
            int before = mistakes.size();
            for (String key : table.keySet()) {
                Object value = table.get(List.of(key));
                TomlPosition at = table.inputPositionOf(List.of(key));
                if (!MOUNT_KEYS.contains(key)) {
                    mistake(at, unknown(key, MOUNT_KEYS));
                } else if (MOUNT_FLAGS.contains(key) ? !(value instanceof Boolean) : !(value instanceof String)) {
                    mistake(at, key + " takes " + (MOUNT_FLAGS.contains(key) ? "true or false" : "a text in quotes"));
                }
            }
            if (!table.contains(List.of(MOUNT_PATH))) {
                mistake(position, "the mount has no path");
            }
            if (mistakes.size() > before) {
                return null;
            }
            String point = String.valueOf(table.getString(List.of(MOUNT_PATH)));
            try {
                Setting.DATA_DIR.check(point);
                return new ControlMount(
                        absolute(point),
                        isSet(table, "read_only"),
                        isSet(table, "allow_other"),
                        MountFlags.normalizedSubtree(table.getString(List.of(MOUNT_SUBTREE), () -> "")),
                        isSet(table, "show_snapshots"),
                        isSet(table, "suid"),
                        isSet(table, "dev"),
                        isSet(table, "noexec"),
                        isSet(table, "write_back_cache"),
                        isSet(table, "acl"),
                        "");
            } catch (IllegalArgumentException e) {
                mistake(table.inputPositionOf(List.of(MOUNT_PATH)), "path: " + e.getMessage());
                return null;
            }
        }

        private static boolean isSet(TomlTable table, String flag) {
            return table.getBoolean(List.of(flag), () -> false);
        }
    }

    private static String unknown(String key, List<String> known) {
        return "unknown key '" + key + "'; "
                + Choice.nearest(key, known)
                        .map(near -> "did you mean '" + near + "'?")
                        .orElseGet(() -> "there are " + String.join(", ", known));
    }
}
