package blocktree.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** Programs at work on a source tree. */
enum SourceTrees implements Row {
    UNTAR("untar", "tar -x of a source tree, then sync", 3.0) {
        @Override
        public void run(Workspace workspace) throws IOException {
            Processes.run(
                    "tar",
                    "-xf",
                    workspace.fixtures().tar().toString(),
                    "-C",
                    workspace.directory().toString());
            workspace.side().sync();
        }
    },
    GIT_CLONE("git-clone", "git clone of that tree, then sync", 3.0) {
        @Override
        public void run(Workspace workspace) throws IOException {
            Processes.run(
                    Fixtures.GIT_ENVIRONMENT,
                    List.of(
                            "git",
                            "clone",
                            "-q",
                            "file://" + workspace.fixtures().repository(),
                            cloned(workspace).toString()));
            workspace.side().sync();
        }
    },
    GIT_STATUS("git-status", "git status in that clone, more than a second later", 3.0) {
        @Override
        public void prepare(Workspace workspace) throws IOException {
            GIT_CLONE.run(workspace);
            SmallFiles.awaitKernelTimeout(workspace.scale());
        }

        @Override
        public void run(Workspace workspace) throws IOException {
            Processes.run(
                    Fixtures.GIT_ENVIRONMENT,
                    List.of("git", "-C", cloned(workspace).toString(), "status", "--porcelain"));
        }
    },
    REMOVE("rm-rf", "rm -rf of the unpacked tree, then sync", 1.2) {
        @Override
        public void prepare(Workspace workspace) throws IOException {
            UNTAR.run(workspace);
        }

        @Override
        public void run(Workspace workspace) throws IOException {
            Processes.run("rm", "-rf", workspace.directory().resolve("tree").toString());
            workspace.side().sync();
        }
    };

    private final String label;
    private final String description;
    private final double goal;

    SourceTrees(String label, String description, double goal) {
        this.label = label;
        this.description = description;
        this.goal = goal;
    }

    @Override
    public String id() {
        return label;
    }

    @Override
    public String description() {
        return description;
    }

    @Override
    public Unit unit() {
        return Unit.SECONDS;
    }

    @Override
    public double goal() {
        return goal;
    }

    @Override
    public long work(Scale scale) {
        return scale.treeFileCount();
    }

    private static Path cloned(Workspace workspace) {
        return workspace.directory().resolve("clone");
    }
}
