package blocktree.bench;

import blocktree.btmsg.session.Limits;
import blocktree.btmsg.session.Messenger;
import blocktree.btmsg.session.MessengerOptions;
import blocktree.btmsg.session.Peer;
import blocktree.btmsg.session.PeerStream;
import blocktree.btmsg.session.Platform;
import blocktree.btmsg.session.Service;
import blocktree.btmsg.session.StreamChunk;
import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Identity;
import blocktree.crypto.Rights;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import java.io.IOException;
import java.io.PrintWriter;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Two nodes over loopback: what sessions carry, beside plain TLS by the same libraries. All in one process, which both sides share. */
@Command(
        name = "sessions",
        mixinStandardHelpOptions = true,
        description = "Measures sessions between two nodes over loopback beside plain TLS.")
final class Sessions implements Callable<Integer> {
    private static final int PIECE_BYTES = 256 << 10;
    private static final int SMALL_BYTES = 64;
    private static final int OUTSTANDING = 64;
    private static final Duration PATIENCE = Duration.ofSeconds(60);

    @Option(names = "--rounds", paramLabel = "N", description = "Rounds, of which the median is shown (default: 5).")
    private int rounds = 5;

    @Option(names = "--size", paramLabel = "MIB", description = "What a stream carries, in MiB (default: 1024).")
    private long sizeMiB = 1024;

    @Option(names = "--requests", paramLabel = "N", description = "Requests of one figure (default: 20000).")
    private int requests = 20_000;

    @Option(names = "--platform", description = "One of: ${COMPLETION-CANDIDATES} (default: the fastest there is).")
    private Platform platform = Platform.best();

    private final PrintWriter out;
    private final Map<String, List<Double>> figures = new TreeMap<>();

    Sessions(PrintWriter out) {
        this.out = out;
    }

    @Override
    public Integer call() throws Exception {
        Path directory = Files.createTempDirectory("btnode-bench-");
        try (PlainTls plain = new PlainTls(platform, directory);
                Pair pair = new Pair(platform)) {
            for (int round = 0; round <= rounds; round++) { // the first warms up
                if (round == 1) {
                    figures.clear();
                }
                measure(plain, pair.peer);
            }
        } finally {
            Processes.deleteTree(directory);
        }
        out.println(platform + ", medians of " + rounds + " rounds");
        figures.forEach((name, values) -> out.printf("%-46s %s%n", name, Unit.format(median(values))));
        ratio("stream MB/s", "plain TLS MB/s");
        ratio("round trip alone, p50 µs", "plain TLS round trip, p50 µs");
        ratio("round trip beside a stream, p50 µs", "round trip alone, p50 µs");
        ratio("requests/s beside a stream", "requests/s alone");
        return 0;
    }

    private void ratio(String one, String other) {
        out.printf("%-46s %s%n", one + " / " + other, Unit.format(value(one) / value(other)));
    }

    private double value(String name) {
        return median(figures.getOrDefault(name, List.of(Double.NaN)));
    }

    private static double median(List<Double> values) {
        return values.stream().sorted().toList().get(values.size() / 2);
    }

    private void add(String name, double value) {
        figures.computeIfAbsent(name, n -> new ArrayList<>()).add(value);
    }

    private void addTimes(String name, long[] nanos) {
        Arrays.sort(nanos);
        add(name + ", p50 µs", nanos[nanos.length / 2] / 1e3);
        add(name + ", p99 µs", nanos[nanos.length * 99 / 100] / 1e3);
    }

    private void measure(PlainTls plain, Peer peer) throws Exception {
        long bytes = sizeMiB << 20;
        addRate("plain TLS MB/s", bytes, () -> {
            plain.transfer(bytes, PIECE_BYTES);
            return bytes;
        });
        addRate("stream MB/s", bytes, () -> send(peer, bytes, new AtomicBoolean()));
        addTimes("plain TLS round trip", plain.roundTrips(requests / 10, SMALL_BYTES));
        addTimes("round trip alone", roundTrips(peer));
        add("requests/s alone", requestsPerSecond(peer));
        AtomicBoolean enough = new AtomicBoolean();
        CompletableFuture<Double> bulk = inBackground(() -> {
            long startNanos = System.nanoTime();
            long sent = send(peer, Long.MAX_VALUE, enough);
            return sent / 1e6 / ((System.nanoTime() - startNanos) / 1e9);
        });
        Thread.sleep(200);
        addTimes("round trip beside a stream", roundTrips(peer));
        add("requests/s beside a stream", requestsPerSecond(peer));
        enough.set(true);
        add("stream MB/s beside requests", bulk.get());
    }

    private void addRate(String name, long bytes, Callable<Long> transfer) throws Exception {
        long startNanos = System.nanoTime();
        transfer.call();
        add(name, bytes / 1e6 / ((System.nanoTime() - startNanos) / 1e9));
    }

    private static CompletableFuture<Double> inBackground(Callable<Double> task) {
        CompletableFuture<Double> result = new CompletableFuture<>();
        Thread thread = new Thread(
                () -> {
                    try {
                        result.complete(task.call());
                    } catch (Exception e) {
                        result.completeExceptionally(e);
                    }
                },
                "bulk");
        thread.setDaemon(true);
        thread.start();
        return result;
    }

    /** Gives how much was sent, and received, by then. */
    private static long send(Peer peer, long bytes, AtomicBoolean enough) throws Exception {
        ByteBuffer piece = ByteBuffer.allocateDirect(PIECE_BYTES);
        long sent = 0;
        try (PeerStream stream = peer.openStream("sink", new byte[0], PATIENCE)) {
            while (sent < bytes && !enough.get()) {
                stream.write(piece.clear());
                sent += PIECE_BYTES;
            }
            stream.end();
            StreamChunk end = stream.read();
            if (end != null) {
                throw new IOException("the sink says something");
            }
        }
        return sent;
    }

    private long[] roundTrips(Peer peer) throws Exception {
        long[] nanos = new long[requests / 10];
        for (int i = 0; i < nanos.length; i++) {
            long startNanos = System.nanoTime();
            peer.request("echo", new byte[SMALL_BYTES], PATIENCE).get();
            nanos[i] = System.nanoTime() - startNanos;
        }
        return nanos;
    }

    private double requestsPerSecond(Peer peer) throws Exception {
        Semaphore places = new Semaphore(OUTSTANDING);
        CompletableFuture<Void> failed = new CompletableFuture<>();
        long startNanos = System.nanoTime();
        for (int i = 0; i < requests; i++) {
            places.acquire();
            peer.request("echo", new byte[SMALL_BYTES], PATIENCE).whenComplete((reply, failure) -> {
                if (failure != null) {
                    failed.completeExceptionally(failure);
                }
                places.release();
            });
        }
        places.acquire(OUTSTANDING);
        if (failed.isCompletedExceptionally()) {
            failed.get();
        }
        return requests / ((System.nanoTime() - startNanos) / 1e9);
    }

    /** Two nodes of a fresh tree with a session. */
    private static final class Pair implements AutoCloseable {
        private final Identity root = Identity.generate();
        private final long startMillis = System.currentTimeMillis() - 1000;
        private final TreeFounding founding = TreeFounding.create(root, Identity.generate(), startMillis);
        private final Messenger one;
        private final Messenger other;
        final Peer peer;

        Pair(Platform platform) throws Exception {
            Identity self = Identity.generate();
            Identity asked = Identity.generate();
            one = newMessenger(self, platform);
            other = newMessenger(asked, platform);
            other.register(Service.ofMessages("echo", 1, 1000, call -> CompletableFuture.completedFuture(call.body())));
            other.register(Service.ofStreams("sink", stream -> {
                StreamChunk chunk;
                while ((chunk = stream.read()) != null) {
                    chunk.close();
                }
                stream.end();
            }));
            InetSocketAddress address = other.listen(new InetSocketAddress("127.0.0.1", 0));
            peer = one.peer(asked.id());
            peer.setAddresses(List.of(address));
            peer.whenConnected().get();
        }

        private Messenger newMessenger(Identity node, Platform platform) throws CryptoException {
            Authority authority = new Authority(founding.tree());
            for (TreeFounding.Entry entry : founding.entries()) {
                authority.apply(entry.kind(), entry.payload(), authority.position() + 1, startMillis);
            }
            WriteCapabilityChain chain = WriteCapabilityChain.of(List.of(WriteCapability.issue(
                    root,
                    founding.tree(),
                    founding.rootDomain(),
                    node.keys(),
                    Rights.NODE,
                    startMillis,
                    WriteCapability.NO_END)));
            return new Messenger(new MessengerOptions(
                    node,
                    chain,
                    authority,
                    System::currentTimeMillis,
                    "/bench",
                    "bench",
                    platform,
                    Limits.DEFAULT,
                    Clock.systemUTC()));
        }

        @Override
        public void close() {
            one.close();
            other.close();
        }
    }
}
