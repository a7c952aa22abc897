package blocktree.node;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.BlockId;
import blocktree.crypto.BlockKey;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.TreeId;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

@Command(
        name = "bench",
        description = {
            "Measure how fast the mounted tree of a running node is, beside the disk that its data is on.",
            "Works in temporary directories on the mount and in the data directory, and takes them away again, also after Ctrl-C.",
            "Other work on this machine or this node shows in the figures."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class BenchCommand implements Callable<Integer> {
    private static final int CIPHER_SIZE = 64 << 10;
    private static final int FILE_MEBIBYTES_MAX = 1 << 20;
    private static final Duration TIME_MAX = Duration.ofHours(1);
    private static final int CLEAN_UP_SECONDS = 30;

    @Mixin
    private NodeOptions node;

    @Parameters(
            arity = "0..1",
            paramLabel = "MOUNTPOINT",
            description = "Which mount of the node. Default: the first that can be written.")
    private @Nullable Path mountPoint;

    @Option(
            names = "--size",
            paramLabel = "SIZE",
            defaultValue = "256M",
            description = "Size of the file that is written and read. Default: ${DEFAULT-VALUE}.")
    private String size = "256M";

    @Option(
            names = "--time",
            paramLabel = "TIME",
            defaultValue = "1s",
            description = "Longest time for each kind of work on each side. Default: ${DEFAULT-VALUE}.")
    private String time = "1s";

    @Mixin
    private Output output;

    /** The same work on the plain disk and on the tree. */
    private record Pair(BenchWork.Result disk, BenchWork.Result tree) {
        double ratio() {
            return tree.perSecond() / disk.perSecond();
        }
    }

    @Override
    public Integer call() throws NodeException {
        int mebibytes;
        long nanos;
        try {
            mebibytes = (int) Math.min(FILE_MEBIBYTES_MAX, Math.max(1, Quantity.parseBytes(size) >> 20));
            nanos = Duration.ofMillis(Math.min(TIME_MAX.toMillis(), Math.max(1, Quantity.parseMillis(time))))
                    .toNanos();
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE,
                    "to read the options --size and --time",
                    String.valueOf(e.getMessage()),
                    "see btnode bench --help",
                    e);
        }
        Path data = node.path();
        Path mount = chooseMount(data);
        BenchWork disk = new BenchWork(makeDirectory(data), mebibytes, nanos);
        BenchWork tree;
        try {
            tree = new BenchWork(makeDirectory(mount), mebibytes, nanos);
        } catch (NodeException e) {
            delete(disk);
            throw e;
        }
        CountDownLatch cleaned = new CountDownLatch(1);
        Runtime.getRuntime()
                .addShutdownHook(new Thread(() -> stopAndAwait(List.of(disk, tree), cleaned), "bench-clean-up"));
        Map<BenchWork.Kind, Pair> pairs = new EnumMap<>(BenchWork.Kind.class);
        double cipher;
        try (ProgressLine line = new ProgressLine()) {
            line.show("cipher");
            cipher = cipherMebibytesPerSecond(nanos);
            for (BenchWork.Kind kind : BenchWork.Kind.values()) {
                line.show(Choice.label(kind) + " on the disk");
                BenchWork.Result onDisk = disk.run(kind);
                line.show(Choice.label(kind) + " on the tree");
                pairs.put(kind, new Pair(onDisk, tree.run(kind)));
            }
        } catch (InterruptedIOException e) {
            return ExitCode.FAILED.code(); // by a signal, by which the process ends
        } catch (IOException e) {
            throw Failures.of("to measure " + mount + " and " + data, e, "look at the node's log, and at the disk");
        } finally {
            delete(disk);
            delete(tree);
            cleaned.countDown();
        }
        output.print(toJson(mount, data, pairs, cipher), toText(mount, data, pairs, cipher));
        return ExitCode.OK.code();
    }

    private Path chooseMount(Path data) throws NodeException {
        ControlReply.Status status;
        try (NodeClient client = NodeClient.require(data)) {
            status = (ControlReply.Status) client.call(new ControlRequest.Status());
        }
        Path wanted = mountPoint == null ? null : mountPoint.toAbsolutePath().normalize();
        return status.mounts().stream()
                .filter(mount -> !mount.readOnly() && status.state().equals("running"))
                .map(ControlMount::mountPoint)
                .map(Path::of)
                .filter(each -> wanted == null || each.equals(wanted))
                .findFirst()
                .orElseThrow(() -> new NodeException(
                        ExitCode.MOUNT_POINT,
                        "to find a mount of the node of " + data + " to measure",
                        "the node is " + status.state() + " and has no mount that can be written"
                                + (wanted == null ? "" : " on " + wanted),
                        "see its mounts: btnode status; make one: btnode mount DIRECTORY"));
    }

    private static Path makeDirectory(Path parent) throws NodeException {
        try {
            return Files.createTempDirectory(parent, "btnode-bench-");
        } catch (IOException e) {
            throw Failures.of(
                    "to make a temporary directory in " + parent,
                    e,
                    "run the command as a user who may write there, such as the one who runs the node");
        }
    }

    private static void delete(BenchWork work) {
        try {
            work.delete();
        } catch (IOException e) {
            System.err.println("btnode: what was written stays there: " + Failures.reason(e));
        }
    }

    private static void stopAndAwait(List<BenchWork> works, CountDownLatch cleaned) {
        works.forEach(BenchWork::stop);
        try {
            if (!cleaned.await(CLEAN_UP_SECONDS, TimeUnit.SECONDS)) {
                System.err.println("btnode: btnode-bench-* on the mount and in the data directory was not deleted");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** What one thread seals, after as much time to warm up. */
    private static double cipherMebibytesPerSecond(long nanos) {
        byte[] id = new byte[32];
        new SecureRandom().nextBytes(id);
        SectorCipher cipher = new SectorCipher(TreeId.of(id), PrincipalId.of(id));
        byte[] plain = new byte[CIPHER_SIZE];
        byte[] sealed = new byte[CIPHER_SIZE + SectorCipher.OVERHEAD];
        long count = 0;
        try (BlockKey key = BlockKey.random(BlockId.of(id), 1)) {
            SectorCipher.warmUp(TimeUnit.NANOSECONDS.toMillis(nanos) / 2);
            long start = System.nanoTime();
            while (System.nanoTime() - start < nanos / 2 || count == 0) {
                cipher.seal(key, SectorCipher.Kind.SECTOR, count++, plain, 0, CIPHER_SIZE, sealed, 0);
            }
            return count * (double) CIPHER_SIZE / BenchWork.MEBIBYTE / ((System.nanoTime() - start) / 1e9);
        }
    }

    private static Map<String, Object> toJson(
            Path mount, Path data, Map<BenchWork.Kind, Pair> pairs, double cipherMebibytesPerSecond) {
        List<Map<String, Object>> rows = new ArrayList<>();
        pairs.forEach((kind, pair) -> {
            Map<String, Object> row = new LinkedHashMap<>();
            row.put("name", Choice.label(kind));
            row.put("unit", kind.unit);
            row.put("disk", toJson(pair.disk));
            row.put("tree", toJson(pair.tree));
            row.put("percent_of_disk", Math.round(100 * pair.ratio()));
            rows.add(row);
        });
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("mount_point", mount);
        json.put("data_directory", data);
        json.put("cipher_mib_per_second", Math.round(cipherMebibytesPerSecond));
        json.put("rows", rows);
        return json;
    }

    private static Map<String, Object> toJson(BenchWork.Result result) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("per_second", Math.round(result.perSecond()));
        json.put("p50_nanos", result.quantileNanos(0.5));
        json.put("p99_nanos", result.quantileNanos(0.99));
        return json;
    }

    private static String toText(
            Path mount, Path data, Map<BenchWork.Kind, Pair> pairs, double cipherMebibytesPerSecond) {
        StringBuilder text = new StringBuilder();
        text.append("tree   %s%ndisk   of %s%ncipher AES-256-GCM, 64 KiB at a time, one thread: %,.0f MiB/s%n%n"
                .formatted(mount, data, cipherMebibytesPerSecond));
        String format = "%-18s %-6s %10s %10s %8s %10s %10s  %s%n";
        text.append(format.formatted("", "", "disk", "tree", "of disk", "tree p50", "tree p99", ""));
        pairs.forEach((kind, pair) -> text.append(format.formatted(
                Choice.label(kind),
                kind.unit,
                "%,.0f".formatted(pair.disk.perSecond()),
                "%,.0f".formatted(pair.tree.perSecond()),
                "%.0f %%".formatted(100 * pair.ratio()),
                TopCommand.time(pair.tree.quantileNanos(0.5)),
                TopCommand.time(pair.tree.quantileNanos(0.99)),
                kind.description)));
        return text.toString().stripTrailing();
    }
}
