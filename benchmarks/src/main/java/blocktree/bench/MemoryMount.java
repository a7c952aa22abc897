package blocktree.bench;

import blocktree.fuse.FuseMount;
import blocktree.fuse.MountOptions;
import blocktree.tree.MemoryFileSystem;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * The ceiling: a file system in memory behind the same mount as a tree, served by a Java process of its own. What it loses against the disk is what
 * FUSE costs.
 */
final class MemoryMount implements Side {
    private static final Duration MOUNT_TIMEOUT = Duration.ofSeconds(60);
    private static final int NATIVE_ACCESS_SINCE = 24;

    private final Path root;
    private final Process daemon;

    /** @param sizeBytes how much content the rows keep in it at a time */
    MemoryMount(Path directory, long sizeBytes) throws IOException {
        root = Files.createDirectories(directory.resolve("memory"));
        Path log = directory.resolve("memory.log");
        // The file system takes half of the heap; the rest is room for the collector.
        long heapMiB = Math.max(512, (sizeBytes >> 20) * 4);
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.add("-Xms" + heapMiB + "m");
        command.add("-Xmx" + heapMiB + "m");
        // Otherwise a sequential write measures how fast the kernel hands out zeroed pages.
        command.add("-XX:+AlwaysPreTouch");
        command.add("-Dfile.encoding=UTF-8");
        if (Runtime.version().feature() >= NATIVE_ACCESS_SINCE) {
            command.add("--enable-native-access=ALL-UNNAMED");
            command.add("--sun-misc-unsafe-memory-access=allow");
        }
        command.addAll(
                List.of("-cp", System.getProperty("java.class.path"), MemoryMount.class.getName(), root.toString()));
        daemon = new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        Processes.awaitMounted(root, daemon, log, MOUNT_TIMEOUT);
    }

    /** The child: mounts, and serves until somebody unmounts or its parent is gone. */
    public static void main(String[] arguments) throws Exception {
        FuseMount mount = FuseMount.mount(new MemoryFileSystem(), Path.of(arguments[0]), MountOptions.defaults());
        Thread parent = new Thread(() -> awaitParent(mount), "await-parent");
        parent.setDaemon(true);
        parent.start();
        mount.closed().join();
    }

    private static void awaitParent(FuseMount mount) {
        try {
            while (System.in.read() >= 0) {}
            mount.unmount(Duration.ZERO);
        } catch (IOException | blocktree.fuse.MountException e) {
            Runtime.getRuntime().halt(1);
        }
    }

    @Override
    public String name() {
        return Sides.IN_MEMORY;
    }

    @Override
    public Path root() {
        return root;
    }

    @Override
    public void sync() {
        // There is nothing to survive in.
    }

    @Override
    public long pid() {
        return daemon.pid();
    }

    @Override
    public void close() throws IOException {
        Processes.unmount(root, daemon);
    }
}
