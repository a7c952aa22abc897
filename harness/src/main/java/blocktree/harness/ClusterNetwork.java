package blocktree.harness;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A network of its own for the nodes of one cluster: each node in a network namespace with one address, and a router between them, which is a
 * namespace too and loses what it is told to. Packets that are lost vanish, as on a broken line: nobody gets an error for them. The machine's own
 * network is as before. Needs root and {@code iproute2}. Thread-safe.
 *
 * <p>It is gone when closed, at the end of this process, or, where that was killed, when the next one is made.
 */
public final class ClusterNetwork implements AutoCloseable {
    private static final Path NAMESPACES = Path.of("/run/netns");
    private static final String PREFIX = "btcluster-";
    private static final Pattern NAME = Pattern.compile(PREFIX + "(\\d+)-.*");
    private static final String ROUTER_ADDRESS = "10.88.0.254";
    private static final int NODE_COUNT_MAX = 250;
    private static final String ENDED = "ended with ";
    private static final Duration PATIENCE = Duration.ofSeconds(20);

    private static final AtomicInteger MADE_COUNT = new AtomicInteger();
    private static final Set<ClusterNetwork> OPEN = ConcurrentHashMap.newKeySet();

    static {
        Runtime.getRuntime()
                .addShutdownHook(new Thread(() -> OPEN.forEach(ClusterNetwork::close), "cluster-networks-close"));
    }

    private record Line(int from, int to) {}

    /**
     * Runs the commands of this network. A process for each would first close the files that it inherits from this one, on mounts of nodes that may answer
     * only once the line is healed.
     */
    private final Process shell;

    private final Writer commands;
    private final BufferedReader answers;

    private final String prefix = PREFIX + ProcessHandle.current().pid() + "-" + MADE_COUNT.incrementAndGet() + "-";
    private final String router = prefix + "router";

    // All below is guarded by this.
    private final Set<Line> cuts = new LinkedHashSet<>();
    private final Set<Integer> limited = new LinkedHashSet<>();
    private int nodeCount;
    private boolean closed;

    private ClusterNetwork() throws IOException {
        shell = new ProcessBuilder("sh").redirectErrorStream(true).start();
        commands = shell.outputWriter(StandardCharsets.UTF_8);
        answers = shell.inputReader(StandardCharsets.UTF_8);
    }

    /** A network without nodes. */
    public static ClusterNetwork create() throws HarnessException {
        removeLeftovers();
        ClusterNetwork network;
        try {
            network = new ClusterNetwork();
        } catch (IOException e) {
            throw new HarnessException("no shell for the network of a cluster", e);
        }
        OPEN.add(network);
        try {
            network.execute("ip", "netns", "add", network.router);
            network.execute(
                    "nsenter",
                    "--net=" + NAMESPACES.resolve(network.router),
                    "--",
                    "sh",
                    "-c",
                    "'echo 1 > /proc/sys/net/ipv4/ip_forward'");
            return network;
        } catch (HarnessException e) {
            network.close();
            throw new HarnessException("no network for a cluster; it needs root and the package iproute2", e);
        }
    }

    /** Those of processes that are gone. */
    private static void removeLeftovers() {
        try (Stream<Path> names = Files.list(NAMESPACES)) {
            for (Path path : names.toList()) {
                Matcher matcher = NAME.matcher(path.getFileName().toString());
                if (matcher.matches() && !Files.exists(Path.of("/proc", matcher.group(1)))) {
                    remove(path.getFileName().toString());
                }
            }
        } catch (IOException e) {
            // no namespaces, no leftovers
        }
    }

    private static void remove(String namespace) {
        try {
            NodeDirectory.execute(List.of("ip", "netns", "delete", namespace), PATIENCE);
        } catch (HarnessException e) {
            // another process was faster
        }
    }

    /** Words as a shell takes them. */
    private synchronized void execute(String... command) throws HarnessException {
        String line = String.join(" ", command);
        StringBuilder said = new StringBuilder();
        try {
            commands.write(line + " </dev/null; echo \"" + ENDED + "$?\"\n");
            commands.flush();
            for (String answer = answers.readLine(); answer != null; answer = answers.readLine()) {
                if (answer.equals(ENDED + "0")) {
                    return;
                }
                said.append(answer).append('\n');
                if (answer.startsWith(ENDED)) {
                    break;
                }
            }
        } catch (IOException e) {
            throw new HarnessException("cannot run " + line, e);
        }
        throw new HarnessException(line + " has failed: " + said);
    }

    /** Makes room for one more node and gives its number; the first is 0. */
    public synchronized int add() throws HarnessException {
        if (closed || nodeCount == NODE_COUNT_MAX) {
            throw new HarnessException(closed ? "the network is closed" : "the network is full");
        }
        int node = nodeCount++;
        String namespace = namespace(node);
        execute("ip", "netns", "add", namespace);
        execute(
                "ip",
                "-n",
                namespace,
                "link",
                "add",
                "eth0",
                "type",
                "veth",
                "peer",
                "name",
                port(node),
                "netns",
                router);
        execute("ip", "-n", namespace, "address", "add", address(node), "peer", ROUTER_ADDRESS, "dev", "eth0");
        execute("ip", "-n", router, "address", "add", ROUTER_ADDRESS, "peer", address(node), "dev", port(node));
        execute("ip", "-n", namespace, "link", "set", "lo", "up");
        execute("ip", "-n", namespace, "link", "set", "eth0", "up");
        execute("ip", "-n", router, "link", "set", port(node), "up");
        execute("ip", "-n", namespace, "route", "add", "default", "via", ROUTER_ADDRESS);
        return node;
    }

    private String namespace(int node) {
        return prefix + node;
    }

    /** The router's end of a node's line. */
    private static String port(int node) {
        return "node" + node;
    }

    /** An IPv4 address that only nodes of this network reach. */
    public String address(int node) {
        return "10.88.0." + (node + 1);
    }

    /** The program with the network of that node. */
    public NodeProgram inside(int node, NodeProgram program) {
        return program.withPrefix(List.of("nsenter", "--net=" + NAMESPACES.resolve(namespace(node)), "--"));
    }

    // ---------------------------------------------------------------------------------------------------------- faults

    /** Has everything vanish that {@code from} sends to {@code to}; what comes the other way arrives. */
    public synchronized void cut(int from, int to) throws HarnessException {
        if (cuts.add(new Line(from, to))) {
            execute(rule("add", from, to));
        }
    }

    /** Takes {@link #cut} back. */
    public synchronized void heal(int from, int to) throws HarnessException {
        if (cuts.remove(new Line(from, to))) {
            execute(rule("delete", from, to));
        }
    }

    private String[] rule(String verb, int from, int to) {
        return new String[] {
            "ip", "-n", router, "rule", verb, "from", address(from), "to", address(to), "priority", "100", "blackhole"
        };
    }

    /** Cuts a node off from all others, both ways. */
    public synchronized void isolate(int node) throws HarnessException {
        for (int other = 0; other < nodeCount; other++) {
            if (other != node) {
                cut(node, other);
                cut(other, node);
            }
        }
    }

    /** No line is cut or slow any more. */
    public synchronized void healAll() throws HarnessException {
        for (Line line : List.copyOf(cuts)) {
            heal(line.from, line.to);
        }
        for (int node : List.copyOf(limited)) {
            limitBandwidth(node, 0);
        }
    }

    /**
     * How much a node may send, and how much it may be sent. What is more waits for up to a fifth of a second, and vanishes then.
     *
     * @param bitsPerSecond 0: as much as goes
     */
    public synchronized void limitBandwidth(int node, long bitsPerSecond) throws HarnessException {
        if (limited.remove(node)) {
            execute("tc", "-n", router, "qdisc", "delete", "dev", port(node), "root");
            execute("tc", "-n", namespace(node), "qdisc", "delete", "dev", "eth0", "root");
        }
        if (bitsPerSecond > 0) {
            limited.add(node);
            execute(bucket(router, port(node), bitsPerSecond));
            execute(bucket(namespace(node), "eth0", bitsPerSecond));
        }
    }

    private static String[] bucket(String namespace, String device, long bitsPerSecond) {
        return new String[] {
            "tc",
            "-n",
            namespace,
            "qdisc",
            "add",
            "dev",
            device,
            "root",
            "tbf",
            "rate",
            bitsPerSecond + "bit",
            "burst",
            "64kb",
            "latency",
            "200ms"
        };
    }

    /** Also of nodes that still run: they reach nobody any more. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        List<String> namespaces = new ArrayList<>();
        for (int node = 0; node < nodeCount; node++) {
            namespaces.add(namespace(node));
        }
        namespaces.add(router);
        namespaces.forEach(ClusterNetwork::remove);
        shell.destroy();
        OPEN.remove(this);
    }
}
