package blocktree.node;

import blocktree.node.NodeSettings.NodeKeyProtection;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How the key of a node that is being made is kept, and what notes what its store must hold. */
final class NodeKeyOptions {
    @Option(
            names = "--node-key",
            paramLabel = "file|passphrase|credential",
            defaultValue = "file",
            description = "How the node key is kept; btnode init --help tells what each is. Default: ${DEFAULT-VALUE}.")
    private NodeKeyProtection protection = NodeKeyProtection.FILE;

    @Option(
            names = "--node-key-path",
            paramLabel = "FILE",
            description = "Where the node key is kept. Default: node.key in the data directory.")
    private @Nullable Path path;

    @Option(
            names = "--anchor-path",
            paramLabel = "FILE",
            description =
                    "Where the node notes what the store must hold, to notice when the store lies. On another device it also notices when "
                            + "the data directory is put back to an earlier state. Default: anchor in the data directory.")
    private @Nullable Path anchorPath;

    NodeKeyProtection protection() {
        return protection;
    }

    /** Of a node in {@code directory}; USAGE when the options do not go together. */
    NodeFounding founding(Path directory) throws NodeException {
        if (protection == NodeKeyProtection.CREDENTIAL && path == null) {
            throw new NodeException(
                    ExitCode.USAGE,
                    "to make a node whose key systemd hands over",
                    "no --node-key-path",
                    "name a file, best on a memory file system (/dev/shm), from which you move the key into systemd's store");
        }
        return new NodeFounding(directory, protection, path, anchorPath);
    }

    /** What to do with a node that was made: {@code start} it, once its key is where it belongs. */
    String next(NodeFounding.Founded made, String start) {
        return protection == NodeKeyProtection.CREDENTIAL ? NodeKeys.intoCredentialStore(made.nodeKey()) : start;
    }
}
