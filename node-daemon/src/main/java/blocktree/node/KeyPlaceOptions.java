package blocktree.node;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** Where the keys of a node are, for what works on both. */
final class KeyPlaceOptions {
    static final String ROOT_ELSEWHERE =
            "The root key, where it is kept elsewhere. Default: root.key in the data directory.";

    @Option(names = "--root-key", paramLabel = "KEYFILE", description = ROOT_ELSEWHERE)
    private @Nullable Path rootKey;

    @Option(
            names = "--node-key",
            paramLabel = "KEYFILE",
            description = "The node key, where it is not in its place, such as one that systemd hands over.")
    private @Nullable Path nodeKey;

    /** As if {@code --root-key} had named that file; null: as if nothing were given. */
    static KeyPlaceOptions of(@Nullable Path rootKey) {
        KeyPlaceOptions options = new KeyPlaceOptions();
        options.rootKey = rootKey;
        return options;
    }

    Path rootKey(DataDirectory data) {
        return rootKey == null ? data.rootKey() : rootKey;
    }

    Path nodeKey(DataDirectory data) throws NodeException {
        return nodeKey == null ? NodeKeys.nodeKeyPath(data, NodeKeys.NAME_A_COPY) : nodeKey;
    }

    /** As {@link #nodeKey}, but where it would be in a file of this node's even if systemd hands it over. */
    Path nodeKeyFile(DataDirectory data) {
        return nodeKey == null ? data.nodeKey() : nodeKey;
    }

    boolean namesNodeKey() {
        return nodeKey != null;
    }
}
