package blocktree.bench;

import blocktree.harness.HarnessException;
import blocktree.harness.NodeCluster;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** One tree on three nodes of this machine, beside one on a lone node and, where it is installed, etcd with three members: all on one disk, in one run. */
@Command(
        name = "clusters",
        mixinStandardHelpOptions = true,
        description = {
            "Measures what a tree on three nodes costs, beside a lone node and beside etcd (Debian's etcd-server) with three members.",
            "All of them share this machine's processors and disk."
        })
final class Clusters implements Callable<Integer> {
    private static final int NODES = 3;
    private static final int BLOCK_BYTES = 4096;

    /** Syncs before the first that counts, on each side: a Java program compiles what it does often. */
    static final int WARM_UP = 2_000;

    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final long SEEN_MILLIS_MAX = 10_000;

    @Option(names = "--syncs", paramLabel = "N", description = "Synced writes of 4 KiB (default: 500).")
    private int syncs = 500;

    @Option(names = "--moves", paramLabel = "N", description = "Changes that another node looks for (default: 200).")
    private int moves = 200;

    @Option(names = "--kills", paramLabel = "N", description = "Times that the leader is killed (default: 5).")
    private int kills = 5;

    @Option(
            names = "--size",
            paramLabel = "MIB",
            description = "File that is written and synced, in MiB (default: 1024).")
    private int sizeMiB = 1024;

    @Option(names = "--files", paramLabel = "N", description = "Small files that are made (default: 5000).")
    private int files = 5000;

    @Option(names = "--idle", paramLabel = "S", description = "How long nothing is done (default: 30).")
    private int idleSeconds = 30;

    @Option(names = "--directory", description = "Where everything is made (default: that of temporary files).")
    private Path parent = Path.of(System.getProperty("java.io.tmpdir"));

    private final PrintWriter out;

    Clusters(PrintWriter out) {
        this.out = out;
    }

    @Override
    public Integer call() throws Exception {
        Path directory = Files.createTempDirectory(parent, "btnode-bench-");
        try {
            Path lone = Files.createDirectories(directory.resolve("lone/mount"));
            double[] loneSync;
            double loneRate;
            double loneFiles;
            try (NodeProcess node = NodeDirectory.in(directory.resolve("lone"), NodeProgram.find())
                    .init()
                    .start(NodeOptions.mountedOn(lone))) {
                loneSync = syncMillis(lone, syncs);
                loneRate = writeRate(lone, List.of(node), "lone node");
                loneFiles = filesPerSecond(lone);
            }
            double[] etcdSync = Etcd.isInstalled() ? Etcd.putMillis(directory.resolve("etcd"), syncs) : null;
            try (NodeCluster cluster = NodeCluster.start(directory.resolve("three"), NodeProgram.find(), NODES)) {
                int leader = cluster.awaitLeader(PATIENCE);
                int follower = (leader + 1) % NODES;
                Path[] mounts = mount(cluster, directory);
                idle(cluster);
                double[] sync = syncMillis(mounts[leader], syncs);
                row("fsync of 4 KiB, lone node", loneSync);
                row("fsync of 4 KiB, three nodes, through the leader", sync);
                row("fsync of 4 KiB, three nodes, through a follower", syncMillis(mounts[follower], syncs));
                if (etcdSync != null) {
                    row("put of 4 KiB, etcd with three members", etcdSync);
                    out.printf(
                            "  p50 of three nodes: %.2f of etcd's (goal: at most 2)%n",
                            at(sync, 0.5) / at(etcdSync, 0.5));
                }
                double rate = writeRate(mounts[leader], nodes(cluster), "three nodes");
                out.printf("  %.2f of the lone node's (goal: 0.5)%n", rate / loneRate);
                double rateOfFiles = filesPerSecond(mounts[leader]);
                out.printf(
                        "%d files of 100 bytes, then sync: lone node %.0f/s, three nodes %.0f/s, %.2f of it (goal: 0.8)%n",
                        files, loneFiles, rateOfFiles, rateOfFiles / loneFiles);
                seen(mounts[leader], mounts[follower]);
                move(mounts);
                kill(cluster, directory, mounts);
            }
        } finally {
            Processes.deleteTree(directory);
        }
        return 0;
    }

    private static Path[] mount(NodeCluster cluster, Path directory) throws IOException, HarnessException {
        Path[] mounts = new Path[NODES];
        for (int i = 0; i < NODES; i++) {
            mounts[i] = Files.createDirectories(directory.resolve("mount" + i));
            cluster.mount(i, mounts[i]);
        }
        return mounts;
    }

    private static List<NodeProcess> nodes(NodeCluster cluster) {
        List<NodeProcess> nodes = new ArrayList<>();
        for (int i = 0; i < NODES; i++) {
            nodes.add(cluster.node(i));
        }
        return nodes;
    }

    private static double[] syncMillis(Path mount, int count) throws IOException {
        byte[] content = new byte[BLOCK_BYTES];
        Random random = new Random(1);
        double[] millis = new double[count];
        try (FileChannel file =
                FileChannel.open(mount.resolve("synced"), StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            for (int i = -WARM_UP; i < count; i++) {
                random.nextBytes(content);
                long startNanos = System.nanoTime();
                file.write(ByteBuffer.wrap(content), (long) random.nextInt(256) * BLOCK_BYTES);
                file.force(false);
                if (i >= 0) {
                    millis[i] = (System.nanoTime() - startNanos) / 1e6;
                }
            }
        }
        return millis;
    }

    private void row(String what, double[] millis) {
        out.printf("%s: p50 %.2f ms, p99 %.2f ms%n", what, at(millis, 0.5), at(millis, 0.99));
    }

    private static double at(double[] values, double part) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[(int) Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
    }

    /** In MB/s, of the second time. */
    private double writeRate(Path mount, List<NodeProcess> nodes, String what) throws IOException {
        byte[] content = new byte[1 << 20];
        new Random(2).nextBytes(content);
        writeLarge(mount, content);
        double cpuBefore = cpuSeconds(nodes);
        long startNanos = System.nanoTime();
        writeLarge(mount, content);
        double seconds = (System.nanoTime() - startNanos) / 1e9;
        double rate = sizeMiB * (double) (1 << 20) / 1e6 / seconds;
        double cpu = cpuSeconds(nodes) - cpuBefore;
        out.printf(
                "%d MiB written and synced, %s: %.0f MB/s, %.1f s of processor time, %.1f ns a byte%n",
                sizeMiB, what, rate, cpu, cpu * 1e9 / (sizeMiB * (double) (1 << 20)));
        Files.delete(mount.resolve("large"));
        return rate;
    }

    private void writeLarge(Path mount, byte[] content) throws IOException {
        try (FileChannel file = FileChannel.open(
                mount.resolve("large"),
                StandardOpenOption.CREATE,
                StandardOpenOption.TRUNCATE_EXISTING,
                StandardOpenOption.WRITE)) {
            for (int i = 0; i < sizeMiB; i++) {
                content[0] = (byte) i;
                file.write(ByteBuffer.wrap(content));
            }
            file.force(true);
        }
    }

    private static double cpuSeconds(List<NodeProcess> nodes) {
        return nodes.stream()
                .mapToDouble(node -> Processes.cpuTime(node.pid()).toNanos() / 1e9)
                .sum();
    }

    private double filesPerSecond(Path mount) throws IOException {
        Path folder = Files.createDirectory(mount.resolve("files"));
        long startNanos = System.nanoTime();
        for (int i = 0; i < files; i++) {
            Files.write(folder.resolve("file" + i), new byte[100]);
        }
        try (FileChannel directory = FileChannel.open(folder.resolve("file0"), StandardOpenOption.WRITE)) {
            directory.force(true);
        }
        Processes.run("sync", "-f", folder.toString());
        double seconds = (System.nanoTime() - startNanos) / 1e9;
        Processes.deleteTree(folder);
        return files / seconds;
    }

    /** From the end of a program's close on one mount until another reads what it has written. */
    private void seen(Path here, Path there) throws IOException {
        Path written = here.resolve("seen");
        Path read = there.resolve("seen");
        double[] millis = new double[moves];
        Files.writeString(written, "begin");
        for (int i = 0; i < moves; i++) {
            String content = "change " + i;
            Processes.pause(Duration.ofMillis(20));
            Files.writeString(written, content);
            long startNanos = System.nanoTime();
            while (!Files.exists(read) || !Files.readString(read).equals(content)) {
                if (System.nanoTime() - startNanos > SEEN_MILLIS_MAX * 1_000_000) {
                    throw new IOException("not seen on the other mount: " + content);
                }
            }
            millis[i] = (System.nanoTime() - startNanos) / 1e6;
        }
        row("a file changed on one mount is read on another (goal: p99 50 ms)", millis);
    }

    /** A change on one mount when another had the right to change the tree. */
    private void move(Path[] mounts) throws IOException {
        double[] millis = new double[moves];
        Path[] files = new Path[NODES];
        for (int i = 0; i < NODES; i++) {
            files[i] = mounts[i].resolve("move" + i);
            Files.writeString(files[i], "");
        }
        for (int i = 0; i < moves; i++) {
            long startNanos = System.nanoTime();
            Files.setLastModifiedTime(files[i % NODES], FileTime.fromMillis(1_000_000_000L + i));
            millis[i] = (System.nanoTime() - startNanos) / 1e6;
        }
        row("the right to change the tree moves, with the change (goal: p50 10 ms)", millis);
    }

    private void idle(NodeCluster cluster) throws HarnessException {
        List<NodeProcess> nodes = nodes(cluster);
        Processes.pause(Duration.ofSeconds(5));
        long bytesBefore = 0;
        for (NodeProcess node : nodes) {
            bytesBefore += sent(node);
        }
        double cpuBefore = cpuSeconds(nodes);
        Processes.pause(Duration.ofSeconds(idleSeconds));
        double cpu = (cpuSeconds(nodes) - cpuBefore) / NODES / idleSeconds;
        long bytes = -bytesBefore;
        for (NodeProcess node : nodes) {
            bytes += sent(node);
        }
        out.printf(
                "idle: %.2f %% of a core and %.0f bytes/s sent by each node (goals: 1 %%, 1024)%n",
                100 * cpu, bytes / (double) NODES / idleSeconds);
    }

    private static long sent(NodeProcess node) throws HarnessException {
        return node.status().counters().getOrDefault("peers.bytes_out", 0L);
    }

    /** The longest time between two synced writes on a follower's mount while the leader is killed; and the same of reads. */
    private void kill(NodeCluster cluster, Path directory, Path[] mounts) throws Exception {
        double[] gaps = new double[kills];
        for (int i = 0; i < kills; i++) {
            int leader = cluster.awaitLeader(PATIENCE);
            int writer = (leader + 1) % NODES;
            Path file = mounts[writer].resolve("killed");
            Files.writeString(file, "begin");
            long lastNanos = System.nanoTime();
            long untilNanos = lastNanos + 8_000_000_000L;
            double longest = 0;
            boolean killed = false;
            try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                while (lastNanos < untilNanos) {
                    channel.write(ByteBuffer.wrap(new byte[BLOCK_BYTES]), 0);
                    channel.force(true);
                    long nowNanos = System.nanoTime();
                    if (killed) {
                        longest = Math.max(longest, (nowNanos - lastNanos) / 1e6);
                    }
                    lastNanos = nowNanos;
                    if (!killed && untilNanos - nowNanos < 7_000_000_000L) {
                        cluster.node(leader).kill();
                        killed = true;
                    }
                }
            }
            gaps[i] = longest;
            Processes.run("sh", "-c", "fusermount -u -z \"$0\" || true", mounts[leader].toString());
            cluster.startNode(leader, NodeOptions.mountedOn(mounts[leader]));
        }
        out.printf(
                "leader killed %d times: synced writes on another node stand still for p50 %.0f ms, at most %.0f ms (goal: 3000)%n",
                kills, at(gaps, 0.5), at(gaps, 1));
    }
}
