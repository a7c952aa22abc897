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

/** A node of one mount with default options unless others are given, as {@code btnode init} and {@code btnode run} make it. */
final class Blocktree implements Side {
    /** As bin/btnode sets it. */
    static final Map<String, String> ENVIRONMENT = Map.of("MALLOC_ARENA_MAX", "2", "MALLOC_MMAP_THRESHOLD_", "262144");

    private final String name;
    private final Path root;
    private final NodeProcess process;

    /** @param arguments more of them for {@code btnode run} */
    Blocktree(Path directory, String name, String... arguments) throws IOException {
        this.name = name;
        root = Files.createDirectories(directory.resolve(name));
        try {
            process = NodeDirectory.in(directory.resolve(name + ".node"), NodeProgram.find())
                    .init()
                    .start(NodeOptions.mountedOn(root).withArguments(arguments).withEnvironment(ENVIRONMENT));
        } catch (HarnessException e) {
            throw new IOException(e);
        }
    }

    @Override
    public String name() {
        return name;
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
    public long pid() {
        return process.pid();
    }

    @Override
    public void close() {
        process.close();
    }
}
