package blocktree.bench;

import java.io.IOException;
import java.nio.file.Path;

/** 4 KiB at a time, each followed by fdatasync. */
final class SyncedWrite implements Row {
    @Override
    public String id() {
        return "write-fsync";
    }

    @Override
    public String description() {
        return "overwrite 4 KiB at random places of a file, fdatasync after each";
    }

    @Override
    public Unit unit() {
        return Unit.OPERATIONS_PER_SECOND;
    }

    @Override
    public double goal() {
        return 1.0;
    }

    @Override
    public long work(Scale scale) {
        return scale.syncedCount();
    }

    @Override
    public void prepare(Workspace workspace) throws IOException {
        BlockFiles.write(file(workspace), workspace.scale().randomBytes());
    }

    @Override
    public void run(Workspace workspace) throws IOException {
        Scale scale = workspace.scale();
        BlockFiles.writeSynced(file(workspace), BlockFiles.randomOffsets(scale.randomBytes(), scale.syncedCount(), 0));
    }

    private static Path file(Workspace workspace) {
        return workspace.directory().resolve("file");
    }
}
