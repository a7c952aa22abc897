package blocktree.node;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Which node, and what is configured for it. */
final class NodeOptions {
    @Option(
            names = "--data-dir",
            paramLabel = "DIR",
            description =
                    "The node's data directory. Default: data_dir of the configuration, else /var/lib/btnode for root and the service, ~/.local/state/btnode for others.")
    private @Nullable Path directory;

    @Option(
            names = "--config",
            paramLabel = "FILE",
            description =
                    "The configuration. Default: /etc/btnode/btnode.toml for root and the service, ~/.config/btnode/btnode.toml for others, if it is there and for this data directory.")
    private @Nullable Path config;

    Settings settings() throws NodeException {
        return Settings.load(config, directory, System.getenv());
    }

    /** A directory that was named needs no configuration, and nobody is kept from stopping a node by a mistake in it. */
    Path path() throws NodeException {
        return directory == null
                ? settings().dataDirectory()
                : directory.toAbsolutePath().normalize();
    }

    DataDirectory open() throws NodeException {
        return DataDirectory.open(path());
    }
}
