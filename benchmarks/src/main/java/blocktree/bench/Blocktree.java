package blocktree.bench;

import blocktree.harness.HarnessException;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** A node of one mount with default options, as {@code btnode init} and {@code btnode run} make it. */
final class Blocktree implements Side {
    private final NodeDirectory node;
    private final Path folder;
    private final Path root;
    private NodeProcess process;

    Blocktree(Path directory) throws IOException {
        folder = directory.resolve("blocktree.node");
        root = Files.createDirectories(directory.resolve("blocktree"));
        try {
            node = NodeDirectory.in(folder, NodeProgram.find()).init();
            process = start();
        } catch (HarnessException e) {
            throw new IOException(e);
        }
    }

    private NodeProcess start() throws HarnessException {
        // As bin/btnode sets it.
        return node.start(NodeOptions.mountedOn(root).withEnvironment(Map.of("MALLOC_ARENA_MAX", "2")));
    }

    @Override
    public String name() {
        return Sides.BLOCKTREE;
    }

    @Override
    public Path root() {
        return root;
    }

    @Override
    public void sync() throws IOException {
        try {
            process.sync();
        } catch (HarnessException e) {
            throw new IOException(e);
        }
    }

    @Override
    public void chill() throws IOException {
        try {
            int status = process.terminate();
            if (status != 0) {
                throw new IOException("the node ended with " + status + ": " + process.log());
            }
            process.close();
            process = start();
        } catch (HarnessException e) {
            throw new IOException(e);
        }
        Processes.dropCaches();
    }

    @Override
    public long pid() {
        return process.pid();
    }

    @Override
    public void close() throws IOException {
        process.close();
        Processes.deleteTree(folder);
        Processes.deleteTree(root);
    }
}
