package blocktree.harness;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.io.BufferedReader;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * One tree on several nodes, each a child process with its own data directory and its own port of 127.0.0.1, or its own address in a
 * {@link ClusterNetwork}. Nodes are numbered from 0, which has founded the tree; the others joined it by invitation, as any machine would.
 * Thread-safe as far as different nodes go.
 */
public final class NodeCluster implements AutoCloseable {
    private static final Pattern CODE = Pattern.compile("\"code\":\"([^\"]+)\"");
    private static final Duration JOIN_TIMEOUT = Duration.ofMinutes(2);
    private static final long POLL_MILLIS = 20;
    /** Where nodes in a network of their own listen. */
    private static final int PORT = 9274;

    private static final class Node {
        final NodeDirectory directory;
        final String listen;
        volatile NodeOptions options = NodeOptions.defaults();
        volatile @Nullable NodeProcess process;

        Node(NodeDirectory directory, String listen) {
            this.directory = directory;
            this.listen = listen;
        }
    }

    private final Path folder;
    private final NodeProgram program;
    private final NodeOptions first;
    private final @Nullable ClusterNetwork network;
    private final List<Node> nodes = new ArrayList<>();

    private NodeCluster(Path folder, NodeProgram program, NodeOptions first, @Nullable ClusterNetwork network) {
        this.folder = folder;
        this.program = program;
        this.first = first;
        this.network = network;
    }

    /** Makes {@code count} nodes in {@code folder}/node0 and so on; returns when all of them run and vote. */
    public static NodeCluster start(Path folder, NodeProgram program, int count) throws HarnessException {
        return start(folder, program, count, NodeOptions.defaults());
    }

    /** The same, with nodes that are started as {@code options} say; mounts are not among them. */
    public static NodeCluster start(Path folder, NodeProgram program, int count, NodeOptions options)
            throws HarnessException {
        return start(folder, program, count, options, null);
    }

    /** The same in a {@link #network} whose lines can be cut. Needs root. */
    public static NodeCluster startApart(Path folder, NodeProgram program, int count) throws HarnessException {
        return start(folder, program, count, NodeOptions.defaults(), ClusterNetwork.create());
    }

    private static NodeCluster start(
            Path folder, NodeProgram program, int count, NodeOptions options, @Nullable ClusterNetwork network)
            throws HarnessException {
        NodeCluster cluster = new NodeCluster(folder, program, options, network);
        try {
            Node first = cluster.add();
            first.directory.init();
            cluster.startNode(0, options);
            for (int i = 1; i < count; i++) {
                cluster.join();
            }
            return cluster;
        } catch (HarnessException e) {
            cluster.close();
            throw e;
        }
    }

    private Node add() throws HarnessException {
        Path place = folder.resolve("node" + nodes.size());
        try {
            Node node;
            if (network == null) {
                try (ServerSocket free = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
                    node = new Node(NodeDirectory.in(place, program), "127.0.0.1:" + free.getLocalPort());
                }
            } else {
                int number = network.add();
                node = new Node(
                        NodeDirectory.in(place, network.inside(number, program)), network.address(number) + ":" + PORT);
            }
            nodes.add(node);
            return node;
        } catch (IOException e) {
            throw new HarnessException("cannot make a node in " + place, e);
        }
    }

    /** What is between the nodes of a cluster that was started apart. */
    public ClusterNetwork network() {
        return Objects.requireNonNull(network, "the nodes share this machine's network");
    }

    /** Has one more machine join, and starts it; returns its number once it votes. */
    public int join() throws HarnessException {
        int number = joinAs();
        String principal = self(number).principal();
        await(
                "node " + number + " votes",
                running -> nodes(running).stream()
                        .anyMatch(each -> each.principal().equals(principal) && each.voter()),
                JOIN_TIMEOUT);
        return number;
    }

    /** Has one more machine join, invited with {@code options}, and starts it; returns its number. */
    public int joinAs(String... options) throws HarnessException {
        int number = nodes.size();
        Node node = add();
        Path code = folder.resolve("node" + number).resolve("code");
        Process inviter = invite(code, options);
        try {
            join(node, "--code-file", code.toString(), "--name", "node" + number, "--yes");
            if (!inviter.waitFor(JOIN_TIMEOUT.toSeconds(), TimeUnit.SECONDS) || inviter.exitValue() != 0) {
                throw new HarnessException("btnode invite has not ended well");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new HarnessException("interrupted", e);
        } finally {
            inviter.destroyForcibly();
        }
        startNode(number, first);
        return number;
    }

    /** {@code btnode invite} on a node that runs, once it has shown its code, which is written to {@code code}; it waits until somebody joins. */
    public Process invite(Path code, String... options) throws HarnessException {
        NodeDirectory inviting = node(running()).directory();
        List<String> command = new ArrayList<>(inviting.program().command());
        command.addAll(List.of(
                "invite",
                "--data-dir",
                inviting.data().toString(),
                "--passphrase-file",
                inviting.passphraseFile().toString(),
                "--json"));
        command.addAll(List.of(options));
        try {
            Process inviter = new ProcessBuilder(command)
                    .redirectErrorStream(true)
                    .redirectInput(Path.of("/dev/null").toFile())
                    .start();
            BufferedReader lines = inviter.inputReader(StandardCharsets.UTF_8);
            String invitation = lines.readLine();
            Matcher matcher = CODE.matcher(invitation == null ? "" : invitation);
            if (!matcher.find()) {
                inviter.destroyForcibly();
                throw new HarnessException("btnode invite says " + invitation);
            }
            Files.createFile(code, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
            Files.writeString(code, matcher.group(1) + "\n");
            return inviter;
        } catch (IOException e) {
            throw new HarnessException("nobody can be invited", e);
        }
    }

    /** Comes again where a busy machine was too slow for a member's patience. */
    private static void join(Node node, String... arguments) throws HarnessException {
        long deadlineNanos = System.nanoTime() + JOIN_TIMEOUT.toNanos();
        CommandResult result = node.directory.command("join", arguments);
        while (result.errors().contains(": not done in time") && System.nanoTime() < deadlineNanos) {
            result = node.directory.command("join", arguments);
        }
        result.orThrow();
    }

    /** The first that runs. */
    private int running() throws HarnessException {
        for (int i = 0; i < nodes.size(); i++) {
            if (isRunning(i)) {
                return i;
            }
        }
        throw new HarnessException("no node runs");
    }

    public int size() {
        return nodes.size();
    }

    public boolean isRunning(int number) {
        NodeProcess process = nodes.get(number).process;
        return process != null && process.isAlive();
    }

    /** A node that was started; it may have ended since. */
    public NodeProcess node(int number) {
        return Objects.requireNonNull(nodes.get(number).process, "never started");
    }

    public NodeDirectory directory(int number) {
        return nodes.get(number).directory;
    }

    /** Starts a node that does not run; returns when it is ready. */
    public NodeProcess startNode(int number, NodeOptions options) throws HarnessException {
        Node node = nodes.get(number);
        Map<String, String> environment = new HashMap<>(options.environment());
        environment.putIfAbsent("BTNODE_NODE_NAME", "node" + number);
        NodeProcess process = node.directory.start(
                options.withArguments("--listen", node.listen).withEnvironment(environment));
        node.options = options;
        node.process = process;
        return process;
    }

    /** Has a node that runs show the tree at {@code mountPoint}, which exists. */
    public void mount(int number, Path mountPoint) throws HarnessException {
        Node node = nodes.get(number);
        node(number)
                .mount(new ControlMount(
                        mountPoint.toAbsolutePath().toString(),
                        false,
                        false,
                        "",
                        false,
                        false,
                        false,
                        false,
                        false,
                        false,
                        ""));
        node.options = node.options.withMount(mountPoint);
    }

    /** Starts a node that does not run as it was started last, with what it has mounted since. */
    public NodeProcess startAgain(int number) throws HarnessException {
        return startNode(number, nodes.get(number).options);
    }

    /** The nodes of the tree as one of them sees them. */
    public List<ControlReply.NodeState> nodes(int number) throws HarnessException {
        return ((ControlReply.Nodes) node(number).call(new ControlRequest.Nodes())).nodes();
    }

    private ControlReply.NodeState self(int number) throws HarnessException {
        return nodes(number).stream()
                .filter(ControlReply.NodeState::self)
                .findFirst()
                .orElseThrow();
    }

    /** Waits until a node that runs says of itself that it leads, and gives its number. */
    public int awaitLeader(Duration timeout) throws HarnessException {
        return await("a node leads", number -> self(number).leader(), timeout);
    }

    /** Waits until all nodes run, know the same leader and are connected with each other. */
    public void awaitWhole(Duration timeout) throws HarnessException {
        long deadlineNanos = System.nanoTime() + timeout.toNanos();
        while (true) {
            String missing = missing();
            if (missing.isEmpty()) {
                return;
            }
            pause(deadlineNanos, "not whole within " + timeout.toMillis() + " ms: " + missing);
        }
    }

    private String missing() throws HarnessException {
        List<String> leaders = new ArrayList<>();
        for (int i = 0; i < nodes.size(); i++) {
            if (!isRunning(i)) {
                return "node " + i + " does not run";
            }
            for (ControlReply.NodeState each : nodes(i)) {
                if (!each.connected()) {
                    return "node " + i + " does not reach " + each.name();
                }
                if (each.leader()) {
                    leaders.add(each.principal());
                }
            }
        }
        return leaders.size() == nodes.size() && leaders.stream().distinct().count() == 1
                ? ""
                : "leaders are " + leaders;
    }

    /** Waits until all nodes that run have the same log, as a majority has it. */
    public void awaitSameLog(Duration timeout) throws HarnessException {
        long deadlineNanos = System.nanoTime() + timeout.toNanos();
        while (true) {
            List<Long> positions = new ArrayList<>();
            for (int i = 0; i < nodes.size(); i++) {
                if (isRunning(i)) {
                    positions.add(node(i).status().counters().get("log.position"));
                }
            }
            if (positions.stream().distinct().count() == 1) {
                return;
            }
            pause(deadlineNanos, "not the same log everywhere: " + positions);
        }
    }

    @FunctionalInterface
    private interface Condition {
        boolean holdsAt(int number) throws HarnessException;
    }

    private int await(String what, Condition condition, Duration timeout) throws HarnessException {
        long deadlineNanos = System.nanoTime() + timeout.toNanos();
        while (true) {
            for (int i = 0; i < nodes.size(); i++) {
                if (isRunning(i) && condition.holdsAt(i)) {
                    return i;
                }
            }
            pause(deadlineNanos, "not within " + timeout.toMillis() + " ms: " + what);
        }
    }

    private static void pause(long deadlineNanos, String failure) throws HarnessException {
        if (System.nanoTime() > deadlineNanos) {
            throw new HarnessException(failure);
        }
        try {
            TimeUnit.MILLISECONDS.sleep(POLL_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new HarnessException("interrupted", e);
        }
    }

    /** Ends all of them. */
    @Override
    public void close() {
        for (Node node : nodes) {
            NodeProcess process = node.process;
            if (process != null) {
                process.close();
            }
        }
        if (network != null) {
            network.close();
        }
    }
}
