package blocktree.node;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which node. */
final class DataDirectoryOption {
    @Option(
            names = "--data-dir",
            paramLabel = "DIR",
            description = "The node's data directory. Default: /var/lib/btnode for root, else ~/.local/state/btnode.")
    private @Nullable Path directory;

    Path path() {
        if (directory != null) {
            return directory.toAbsolutePath().normalize();
        }
        if (System.getProperty("user.name", "").equals("root")) {
            return Path.of("/var/lib/btnode");
        }
        String state = System.getenv("XDG_STATE_HOME");
        Path home = Path.of(System.getProperty("user.home", "/"));
        return (state == null || state.isEmpty() ? home.resolve(".local/state") : Path.of(state)).resolve("btnode");
    }

    DataDirectory open() throws NodeException {
        return DataDirectory.open(path());
    }
}
