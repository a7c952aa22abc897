package blocktree.node;

import java.nio.file.Path;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** Where things are when nobody says otherwise: the machine's directories for root, else those of the XDG Base Directory Specification. */
record Places(Path configuration, Path dataDirectory) {

    /** @param variables the environment; null for what is not set */
    Places(Function<String, @Nullable String> variables) {
        this(
                isRoot()
                        ? Path.of("/etc/btnode", ConfigurationFile.NAME)
                        : xdg(variables.apply("XDG_CONFIG_HOME"), ".config").resolve(ConfigurationFile.NAME),
                isRoot() ? Path.of("/var/lib/btnode") : xdg(variables.apply("XDG_STATE_HOME"), ".local/state"));
    }

    private static boolean isRoot() {
        return System.getProperty("user.name", "").equals("root");
    }

    private static Path xdg(@Nullable String base, String usual) {
        // The specification has relative paths ignored.
        Path directory = base == null || !base.startsWith("/")
                ? Path.of(System.getProperty("user.home", "/")).resolve(usual)
                : Path.of(base);
        return directory.resolve("btnode");
    }
}
