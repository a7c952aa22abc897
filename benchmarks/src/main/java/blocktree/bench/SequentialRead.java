package blocktree.bench;

import java.io.IOException;
import java.nio.file.Path;

/** A file in requests of 1 MiB, from memory or from the disk. */
record SequentialRead(boolean isCold) implements Row {
    @Override
    public String id() {
        return isCold ? "seq-read-cold" : "seq-read-warm";
    }

    @Override
    public String description() {
        return isCold
                ? "read that file in requests of 1 MiB, the kernel's caches having been dropped"
                : "read that file in requests of 1 MiB, having read it once";
    }

    @Override
    public Unit unit() {
        return Unit.MEGABYTES_PER_SECOND;
    }

    @Override
    public double goal() {
        return 1.0;
    }

    @Override
    public long work(Scale scale) {
        return scale.sequentialBytes();
    }

    @Override
    public void prepare(Workspace workspace) throws IOException {
        BlockFiles.write(file(workspace), workspace.scale().sequentialBytes());
        if (!isCold) {
            run(workspace);
        }
    }

    @Override
    public void run(Workspace workspace) throws IOException {
        BlockFiles.read(file(workspace), workspace.scale().sequentialBytes(), false);
    }

    private static Path file(Workspace workspace) {
        return workspace.directory().resolve("file");
    }
}
