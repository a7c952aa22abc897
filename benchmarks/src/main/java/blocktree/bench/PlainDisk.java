package blocktree.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The disk itself, without encryption: what the others stand on. */
final class PlainDisk implements Side {
    private final Path root;

    PlainDisk(Path directory) throws IOException {
        root = Files.createDirectories(directory.resolve("plain"));
    }

    @Override
    public String name() {
        return Sides.PLAIN_DISK;
    }

    @Override
    public Path root() {
        return root;
    }

    @Override
    public void sync() throws IOException {
        Processes.run("sync", "-f", root.toString());
    }

    @Override
    public long pid() {
        return 0;
    }

    @Override
    public void close() {}
}
