package blocktree.node;

import blocktree.btmsg.ControlMount;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

@Command(
        name = "config",
        description = {
            "Show what is configured, and where each value comes from; check a configuration before it is used.",
            "A key of btnode.toml, such as retention, has a variable, such as BTNODE_RETENTION, that goes before it, and run has options that go before both."
        },
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "(show | check)")
final class ConfigCommand implements Runnable {
    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "show or check?");
    }

    @Command(
            name = "show",
            description = "Print what counts for the node, as it could stand in btnode.toml.",
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int show(@Mixin NodeOptions node, @Mixin Output output) throws NodeException {
        Settings settings = withOlder(node.settings());
        Path passedOver = settings.passedOver();
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("file", settings.file());
        json.put("passed_over", passedOver);
        StringJoiner text = new StringJoiner("\n");
        text.add("# " + (settings.file() == null ? "no configuration file" : settings.file()));
        if (passedOver != null) {
            text.add("# passed over, because it is for another data directory: " + passedOver);
        }
        Map<String, Object> values = new LinkedHashMap<>();
        for (Setting setting : Setting.values()) {
            Settings.Value value = settings.value(setting);
            Map<String, Object> each = new LinkedHashMap<>();
            each.put("value", value.text().isEmpty() ? null : value.text());
            each.put("source", value.source());
            values.put(setting.key(), each);
            String line = value.text().isEmpty()
                    ? "# " + setting.key() + " is not set"
                    : "%-34s # %s".formatted(setting.key() + " = " + quoted(value.text()), value.source());
            text.add(line);
        }
        json.put("settings", values);
        List<Map<String, Object>> mounts = new ArrayList<>();
        for (ControlMount mount : settings.mounts()) {
            Map<String, Object> each = toMap(mount);
            mounts.add(each);
            text.add("\n[[mount]]");
            each.forEach((key, value) -> {
                if (!Boolean.FALSE.equals(value) && !"".equals(value)) {
                    text.add(key + " = " + (value instanceof String string ? quoted(string) : value));
                }
            });
        }
        json.put("mounts", mounts);
        output.print(json, text.toString());
        return ExitCode.OK.code();
    }

    @Command(
            name = "check",
            description = {
                "Check the configuration, of a node that runs or not, and change nothing.",
                "Exit code 0: it can be used; 8: it cannot, and why, with line and column."
            },
            mixinStandardHelpOptions = true,
            sortOptions = false)
    int check(@Mixin NodeOptions node, @Mixin Output output) throws NodeException {
        Settings settings = withOlder(node.settings());
        List<String> unknown = System.getenv().keySet().stream()
                .filter(ConfigCommand::isUnknownVariable)
                .sorted()
                .toList();
        if (!unknown.isEmpty()) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    "to check the environment",
                    "unknown variable " + String.join(", ", unknown),
                    Choice.nearest(unknown.get(0), variables())
                            .map(near -> "did you mean " + near + "? If not, unset it")
                            .orElse("unset it; there are " + String.join(", ", variables())));
        }
        MemoryLimits.require(settings);
        Path file = settings.file();
        Path passedOver = settings.passedOver();
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("file", file);
        json.put("passed_over", passedOver);
        json.put("valid", true);
        output.print(
                json,
                (file == null ? "no configuration file; the defaults count" : file + " can be used")
                        + (passedOver == null
                                ? ""
                                : "\npassed over, because it is for another data directory: " + passedOver));
        return ExitCode.OK.code();
    }

    private static Settings withOlder(Settings settings) throws NodeException {
        Path directory = settings.dataDirectory();
        return Files.exists(directory.resolve(NodeSettings.FILE_NAME))
                ? settings.withOlder(DataDirectory.open(directory))
                : settings;
    }

    private static List<String> variables() {
        List<String> all = new ArrayList<>(List.of(Settings.CONFIG_VARIABLE));
        for (Setting setting : Setting.values()) {
            all.add(setting.variable());
        }
        return all;
    }

    /** One that looks like a setting; those of the program that starts Java are not the node's. */
    private static boolean isUnknownVariable(String name) {
        return name.startsWith("BTNODE_")
                && !List.of("BTNODE_JAVA_HOME", "BTNODE_JAVA_OPTS", "BTNODE_NO_BUILD")
                        .contains(name)
                && !variables().contains(name);
    }

    private static Map<String, Object> toMap(ControlMount mount) {
        Map<String, Object> each = new LinkedHashMap<>();
        each.put("path", mount.mountPoint());
        each.put("read_only", mount.readOnly());
        each.put("allow_other", mount.allowOther());
        each.put("subtree", mount.subtree());
        each.put("show_snapshots", mount.showSnapshots());
        each.put("suid", mount.setUserId());
        each.put("dev", mount.devices());
        each.put("noexec", mount.noExec());
        each.put("write_back_cache", mount.writeBackCache());
        each.put("acl", mount.accessLists());
        return each;
    }

    /** A basic string of TOML, which is one of JSON too. */
    private static String quoted(@Nullable String text) {
        return Json.of(text);
    }
}
