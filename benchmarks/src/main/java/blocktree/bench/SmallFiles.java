package blocktree.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFileAttributes;
import java.time.Duration;

/** Many small files in one directory. */
enum SmallFiles implements Row {
    CREATE("create", "create files of 100 bytes in one directory, then sync", 5.0) {
        @Override
        public void run(Workspace workspace) throws IOException {
            createAll(workspace);
            workspace.side().sync();
        }
    },
    STAT("stat", "stat each of them, more than a second later: a kernel that is not told of changes asks again", 1.2) {
        @Override
        public void prepare(Workspace workspace) throws IOException {
            createAll(workspace);
            workspace.side().sync();
            awaitKernelTimeout(workspace.scale());
        }

        @Override
        public void run(Workspace workspace) throws IOException {
            for (int i = 0; i < workspace.scale().fileCount(); i++) {
                Files.readAttributes(file(workspace, i), PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
            }
        }
    },
    LIST("ls-lR", "ls -lR of them, more than a second later", 1.2) {
        @Override
        public void prepare(Workspace workspace) throws IOException {
            STAT.prepare(workspace);
        }

        @Override
        public void run(Workspace workspace) throws IOException {
            Processes.run(
                    "sh",
                    "-c",
                    "ls -lR \"$0\" >/dev/null",
                    workspace.directory().toString());
        }
    },
    UNLINK("unlink", "remove each of them, then sync", 1.2) {
        @Override
        public void prepare(Workspace workspace) throws IOException {
            STAT.prepare(workspace);
        }

        @Override
        public void run(Workspace workspace) throws IOException {
            for (int i = 0; i < workspace.scale().fileCount(); i++) {
                Files.delete(file(workspace, i));
            }
            workspace.side().sync();
        }
    };

    private static final int FILE_SIZE_BYTES = 100;
    /** gocryptfs, and a mount through libfuse 2, let the kernel answer by itself for 1 s. */
    private static final Duration KERNEL_TIMEOUT = Duration.ofMillis(1200);

    private final String label;
    private final String description;
    private final double goal;

    SmallFiles(String label, String description, double goal) {
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
        return Unit.OPERATIONS_PER_SECOND;
    }

    @Override
    public double goal() {
        return goal;
    }

    @Override
    public long work(Scale scale) {
        return scale.fileCount();
    }

    /** Afterwards the kernel asks the daemon about every name again. */
    static void awaitKernelTimeout(Scale scale) {
        if (scale.settles()) {
            Processes.pause(KERNEL_TIMEOUT);
        }
    }

    private static void createAll(Workspace workspace) throws IOException {
        byte[] content = new byte[FILE_SIZE_BYTES];
        for (int i = 0; i < workspace.scale().fileCount(); i++) {
            Files.write(file(workspace, i), content);
        }
    }

    private static Path file(Workspace workspace, int number) {
        return workspace.directory().resolve("file" + number);
    }
}
