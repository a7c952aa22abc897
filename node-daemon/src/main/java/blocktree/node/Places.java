package blocktree.node;

import java.nio.file.Path;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Where things are when nobody says otherwise: the machine's directories for root and for the user of the service, else those of the XDG Base
 * Directory Specification.
 */
record Places(Path configuration, Path dataDirectory) {

    /** As which the service runs. */
    private static final String SERVICE_USER = "btnode";

    /** @param variables the environment; null for what is not set */
    Places(Function<String, @Nullable String> variables) {
        this(
                isSystem()
                        ? Path.of("/etc/btnode", ConfigurationFile.NAME)
                        : xdg(variables.apply("XDG_CONFIG_HOME"), ".config").resolve(ConfigurationFile.NAME),
                isSystem() ? Path.of("/var/lib/btnode") : xdg(variables.apply("XDG_STATE_HOME"), ".local/state"));
    }

    private static boolean isSystem() {
        String user = System.getProperty("user.name", "");
        return user.equals("root") || user.equals(SERVICE_USER);
    }

    private static Path xdg(@Nullable String base, String usual) {
        // The specification has relative paths ignored.
        Path directory = base == null || !base.startsWith("/")
                ? Path.of(System.getProperty("user.home", "/")).resolve(usual)
                : Path.of(base);
        return directory.resolve("btnode");
    }
}
