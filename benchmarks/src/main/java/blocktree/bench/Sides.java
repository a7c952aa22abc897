package blocktree.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** The sides of a run, closed together. */
final class Sides implements AutoCloseable {
    static final String PLAIN_DISK = "disk";
    static final String GOCRYPTFS = "gocryptfs";
    static final String BLOCKTREE = "blocktree";
    static final String IN_MEMORY = "memory";

    /** {@link #BLOCKTREE} with other ways to mount. */
    static final String LIBFUSE2 = "libfuse2";

    static final String WRITE_BACK = "write-back";

    /** Those that are measured unless others are asked for. */
    static final Set<String> USUAL = set(PLAIN_DISK, GOCRYPTFS, BLOCKTREE, IN_MEMORY);

    static final Set<String> NAMES = set(PLAIN_DISK, GOCRYPTFS, BLOCKTREE, IN_MEMORY, LIBFUSE2, WRITE_BACK);

    private static Set<String> set(String... names) {
        return Collections.unmodifiableSet(new LinkedHashSet<>(List.of(names)));
    }

    private final List<Side> sides = new ArrayList<>();

    /** Starts those named in {@code names} below {@code directory}. */
    Sides(Path directory, Set<String> names, Scale scale) throws IOException {
        try {
            if (names.contains(PLAIN_DISK)) {
                sides.add(new PlainDisk(directory));
            }
            if (names.contains(GOCRYPTFS)) {
                sides.add(new Gocryptfs(directory));
            }
            if (names.contains(BLOCKTREE)) {
                sides.add(new Blocktree(directory, BLOCKTREE));
            }
            if (names.contains(LIBFUSE2)) {
                sides.add(new Blocktree(directory, LIBFUSE2, "--fuse-library", "libfuse2"));
            }
            if (names.contains(WRITE_BACK)) {
                sides.add(new Blocktree(directory, WRITE_BACK, "--write-back-cache"));
            }
            if (names.contains(IN_MEMORY)) {
                sides.add(new MemoryMount(directory, scale.footprintBytes()));
            }
        } catch (IOException | RuntimeException e) {
            close(e);
            throw e;
        }
    }

    List<Side> all() {
        return Collections.unmodifiableList(sides);
    }

    private void close(Exception cause) {
        try {
            close();
        } catch (IOException e) {
            cause.addSuppressed(e);
        }
    }

    @Override
    public void close() throws IOException {
        IOException failure = null;
        for (Side side : sides) {
            try {
                side.close();
            } catch (IOException e) {
                if (failure == null) {
                    failure = e;
                } else {
                    failure.addSuppressed(e);
                }
            }
        }
        if (failure != null) {
            throw failure;
        }
    }
}
