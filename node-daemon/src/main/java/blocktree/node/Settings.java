package blocktree.node;

import blocktree.btmsg.ControlMount;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * What counts for a node: the command line before the environment, that before {@code btnode.toml}, that before what the {@code btnode.conf} of an
 * earlier version says, that before the defaults (docs/decisions/0006). Immutable.
 */
final class Settings {
    static final String CONFIG_VARIABLE = "BTNODE_CONFIG";
    private static final String DEFAULT = "default";

    /** A value and where it comes from. The text may be empty where a setting has no default. */
    record Value(String text, String source) {}

    private final @Nullable ConfigurationFile file;
    private final @Nullable Path passedOver;
    private final Map<Setting, Value> values;

    private Settings(@Nullable ConfigurationFile file, @Nullable Path passedOver, Map<Setting, Value> values) {
        this.file = file;
        this.passedOver = passedOver;
        this.values = values;
    }

    /**
     * @param config {@code --config}
     * @param dataDirectory {@code --data-dir}
     * @throws NodeException BAD_CONFIGURATION when the file or a variable has mistakes, or the file was named and is not there
     */
    static Settings load(@Nullable Path config, @Nullable Path dataDirectory, Map<String, String> environment)
            throws NodeException {
        Map<Setting, Value> values = new EnumMap<>(Setting.class);
        for (Setting setting : Setting.values()) {
            values.put(setting, new Value(setting.defaultText(), DEFAULT));
        }
        Function<String, @Nullable String> variables = name -> {
            String text = environment.get(name);
            return text == null || text.isEmpty() ? null : text;
        };
        Places places = new Places(variables);
        values.put(Setting.DATA_DIR, new Value(places.dataDirectory().toString(), DEFAULT));

        String configVariable = variables.apply(CONFIG_VARIABLE);
        Path named = config == null && configVariable != null ? Path.of(configVariable) : config;
        ConfigurationFile file = null;
        Path passedOver = null;
        if (named != null || Files.exists(places.configuration())) {
            file = ConfigurationFile.read(named == null ? places.configuration() : named);
            String directoryVariable = variables.apply(Setting.DATA_DIR.variable());
            Path asked =
                    dataDirectory == null && directoryVariable != null ? Path.of(directoryVariable) : dataDirectory;
            String filed = file.values().getOrDefault(Setting.DATA_DIR, text(values, Setting.DATA_DIR));
            if (named == null && asked != null && !isSame(asked, Path.of(filed))) {
                passedOver = file.path();
                file = null;
            }
        }
        if (file != null) {
            for (Map.Entry<Setting, ConfigurationFile.Position> entry :
                    file.positions().entrySet()) {
                Setting setting = entry.getKey();
                values.put(
                        setting,
                        new Value(
                                file.values().getOrDefault(setting, ""),
                                file.path() + ":" + entry.getValue().line()));
            }
        }
        for (Setting setting : Setting.values()) {
            String text = variables.apply(setting.variable());
            if (text != null) {
                values.put(setting, new Value(checked(setting, text), setting.variable()));
            }
        }
        Settings loaded = new Settings(file, passedOver, values);
        return dataDirectory == null
                ? loaded
                : loaded.with(
                        Setting.DATA_DIR,
                        "--data-dir",
                        normalized(dataDirectory).toString());
    }

    private static String checked(Setting setting, String text) throws NodeException {
        try {
            setting.check(text);
            return setting.isPath() ? normalized(Path.of(text)).toString() : text;
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    "to read the variable " + setting.variable(),
                    String.valueOf(e.getMessage()),
                    "correct or unset it",
                    e);
        }
    }

    /** By their links, as far as there is something. */
    private static boolean isSame(Path one, Path other) {
        try {
            return Files.isSameFile(one, other);
        } catch (IOException e) {
            return normalized(one).equals(normalized(other));
        }
    }

    private static Path normalized(Path path) {
        return path.toAbsolutePath().normalize();
    }

    private static String text(Map<Setting, Value> values, Setting setting) {
        Value value = values.get(setting);
        return value == null ? "" : value.text();
    }

    /** With what an option of the command line says; with null, as it is. USAGE when that is no value of the setting. */
    Settings with(Setting setting, String option, @Nullable String text) throws NodeException {
        if (text == null) {
            return this;
        }
        try {
            setting.check(text);
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE,
                    "to read the option " + option,
                    String.valueOf(e.getMessage()),
                    "see btnode run --help",
                    e);
        }
        Map<Setting, Value> changed = new EnumMap<>(values);
        changed.put(setting, new Value(text, option));
        return new Settings(file, passedOver, changed);
    }

    /** With what the data directory of an earlier version says where nothing else does. */
    Settings withOlder(DataDirectory directory) {
        Map<Setting, Value> changed = new EnumMap<>(values);
        directory.settings().older().forEach((setting, text) -> {
            if (isDefault(setting)) {
                changed.put(
                        setting,
                        new Value(
                                text,
                                directory.path().resolve(NodeSettings.FILE_NAME).toString()));
            }
        });
        return new Settings(file, passedOver, changed);
    }

    Value value(Setting setting) {
        return values.getOrDefault(setting, new Value("", DEFAULT));
    }

    /** Where its value comes from, for who is to correct it. */
    String place(Setting setting) {
        String source = value(setting).source();
        ConfigurationFile.Position position =
                file == null ? null : file.positions().get(setting);
        return file != null && position != null && source.equals(file.path() + ":" + position.line())
                ? position + " of " + file.path()
                : source;
    }

    /** Whether nobody has set it. */
    boolean isDefault(Setting setting) {
        return value(setting).source().equals(DEFAULT);
    }

    Path dataDirectory() {
        return Path.of(text(Setting.DATA_DIR));
    }

    String text(Setting setting) {
        return value(setting).text();
    }

    List<InetSocketAddress> addresses(Setting setting) {
        return Setting.parseAddresses(text(setting));
    }

    /** Null when there is none. */
    @Nullable
    Path path(Setting setting) {
        return text(setting).isEmpty() ? null : Path.of(text(setting));
    }

    Duration time(Setting setting) {
        return Duration.ofMillis(Quantity.parseMillis(text(setting)));
    }

    int count(Setting setting) {
        return Setting.parseCount(text(setting));
    }

    long sizeBytes(Setting setting) {
        return Quantity.parseBytes(text(setting));
    }

    /** Null when it is off. */
    @Nullable
    InetSocketAddress address(Setting setting) {
        return Setting.parseAddress(text(setting));
    }

    <E extends Enum<E>> E choice(Setting setting, Class<E> type) {
        return Choice.of(type, text(setting));
    }

    List<ControlMount> mounts() {
        return file == null ? List.of() : file.mounts();
    }

    /** The file that counts, if there is one. */
    @Nullable
    Path file() {
        return file == null ? null : file.path();
    }

    /** The file that does not count because it is for another data directory than the one that was asked for. */
    @Nullable
    Path passedOver() {
        return passedOver;
    }
}
