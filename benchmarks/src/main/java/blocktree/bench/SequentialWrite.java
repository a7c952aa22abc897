package blocktree.bench;

import java.io.IOException;

/** A new file in requests of 1 MiB, fsync at the end. */
final class SequentialWrite implements Row {
    @Override
    public String id() {
        return "seq-write";
    }

    @Override
    public String description() {
        return "write a new file in requests of 1 MiB, then fsync";
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
    public void run(Workspace workspace) throws IOException {
        BlockFiles.write(
                workspace.directory().resolve("file"), workspace.scale().sequentialBytes());
    }
}
