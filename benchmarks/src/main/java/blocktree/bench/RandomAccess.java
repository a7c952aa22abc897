package blocktree.bench;

import java.io.IOException;
import java.nio.file.Path;

/** 4 KiB at a time at random places of a file that has been read once, in the same way. */
record RandomAccess(boolean writes, boolean direct, int jobs) implements Row {
    @Override
    public String id() {
        return "rand-%s%s-%d".formatted(writes ? "write" : "read", direct ? "-direct" : "", jobs);
    }

    @Override
    public String description() {
        return "%s 4 KiB at random places of a file, %s, %s%s"
                .formatted(
                        writes ? "overwrite" : "read",
                        jobs == 1 ? "1 job" : jobs + " jobs",
                        direct ? "O_DIRECT" : "plain",
                        writes ? ", then fsync" : "");
    }

    @Override
    public Unit unit() {
        return Unit.OPERATIONS_PER_SECOND;
    }

    @Override
    public double goal() {
        return writes ? 1.5 : 1.2;
    }

    @Override
    public long work(Scale scale) {
        return scale.randomCount();
    }

    @Override
    public void prepare(Workspace workspace) throws IOException {
        BlockFiles.write(file(workspace), workspace.scale().randomBytes());
        BlockFiles.read(file(workspace), workspace.scale().randomBytes(), direct);
    }

    @Override
    public void run(Workspace workspace) throws IOException {
        Scale scale = workspace.scale();
        if (writes) {
            BlockFiles.writeRandom(file(workspace), scale.randomBytes(), scale.randomCount(), jobs, direct);
        } else {
            BlockFiles.readRandom(file(workspace), scale.randomBytes(), scale.randomCount(), jobs, direct);
        }
    }

    private static Path file(Workspace workspace) {
        return workspace.directory().resolve("file");
    }
}
