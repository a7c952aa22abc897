package blocktree.harness;

import blocktree.btmsg.ControlClient;
import blocktree.btmsg.ControlEvent;
import blocktree.btmsg.ControlException;
import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * A running node as a child of this process, driven over its standard streams: when this process dies, the node stops by itself.
 * Thread-safe.
 */
public final class NodeProcess implements AutoCloseable {
    private static final Duration CALL_TIMEOUT = Duration.ofMinutes(5);
    /** A check takes as long as what is stored is large. */
    static final Duration CHECK_TIMEOUT = Duration.ofDays(7);

    private static final Duration STOP_TIMEOUT = Duration.ofSeconds(90);
    private static final int LOG_TAIL_CHARACTERS = 4000;

    private final NodeDirectory directory;
    private final NodeOptions options;
    private final Process process;
    private final ControlClient control;
    private final long logStart;
    private final List<ControlEvent> events = new ArrayList<>(); // guarded by itself

    private NodeProcess(NodeDirectory directory, NodeOptions options, Process process, long logStart) {
        this.directory = directory;
        this.options = options;
        this.process = process;
        this.logStart = logStart;
        this.control = ControlClient.over(process.getInputStream(), process.getOutputStream(), this::record);
        Thread waiter = new Thread(this::wakeAtExit, "node-exit");
        waiter.setDaemon(true);
        waiter.start();
    }

    static NodeProcess start(NodeDirectory directory, NodeOptions options) throws HarnessException {
        List<String> command = new ArrayList<>(directory.program().command());
        command.addAll(List.of("run", "--data-dir", directory.data().toString(), "--control=stdio"));
        for (Path mountPoint : options.mounts()) {
            command.addAll(List.of("--mount", mountPoint.toString()));
        }
        command.addAll(options.arguments());
        NodeProcess node;
        try {
            for (Path mountPoint : options.mounts()) {
                makeDirectory(mountPoint);
            }
            long logStart = Files.exists(directory.log()) ? Files.size(directory.log()) : 0;
            ProcessBuilder builder = new ProcessBuilder(command)
                    .redirectError(
                            ProcessBuilder.Redirect.appendTo(directory.log().toFile()));
            builder.environment().putAll(options.environment());
            node = new NodeProcess(directory, options, builder.start(), logStart);
        } catch (IOException e) {
            throw new HarnessException("cannot start " + command, e);
        }
        try {
            node.awaitEvent("node_ready", options.readyTimeout());
            node.control.greet(CALL_TIMEOUT);
            return node;
        } catch (HarnessException | ControlException e) {
            node.kill();
            throw e instanceof HarnessException h ? h : node.failure("not greeted: " + e.getMessage());
        }
    }

    /** Not over what a killed node has left mounted: that exists, though nothing can be asked about it. */
    private static void makeDirectory(Path mountPoint) throws IOException {
        try {
            Files.createDirectories(mountPoint);
        } catch (FileAlreadyExistsException e) {
            // a stale mount: the node clears it
        }
    }

    public NodeDirectory directory() {
        return directory;
    }

    /** Of the node itself, also when it was started through a script or another program that ends in exec. */
    public long pid() {
        return process.pid();
    }

    /** For what the methods here do not offer. */
    Process process() {
        return process;
    }

    public boolean isAlive() {
        return process.isAlive();
    }

    /** What the process has ended with; 128 + n when signal n ended it. Empty while it runs. */
    public Optional<Integer> exitCode() {
        return process.isAlive() ? Optional.empty() : Optional.of(process.exitValue());
    }

    // ------------------------------------------------------------------------------------------------ events and log

    private void record(ControlEvent event) {
        synchronized (events) {
            events.add(event);
            events.notifyAll();
        }
    }

    private void wakeAtExit() {
        try {
            process.waitFor();
            control.awaitClosed(Duration.ofSeconds(5)); // what the node said last is read before its end is reported
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        synchronized (events) {
            events.notifyAll();
        }
    }

    /** Everything that this process has logged at INFO or above, in order. */
    public List<ControlEvent> events() {
        synchronized (events) {
            return List.copyOf(events);
        }
    }

    /** The first event of that name since the start of the process. Fails when the process ends without it. */
    public ControlEvent awaitEvent(String name, Duration timeout) throws HarnessException {
        return awaitEvent(name, 0, timeout);
    }

    /** @param from how many {@link #events} to pass over, such as their number before the step that causes the one awaited */
    public ControlEvent awaitEvent(String name, int from, Duration timeout) throws HarnessException {
        long deadlineNanos = System.nanoTime() + timeout.toNanos();
        int next = from;
        synchronized (events) {
            while (true) {
                for (; next < events.size(); next++) {
                    if (events.get(next).name().equals(name)) {
                        return events.get(next);
                    }
                }
                long leftMillis = TimeUnit.NANOSECONDS.toMillis(deadlineNanos - System.nanoTime());
                boolean ended = !process.isAlive() && isClosed();
                if (ended || leftMillis <= 0) {
                    throw failure(
                            "no event " + name + (ended ? " before the end" : " within " + timeout.toMillis() + " ms"));
                }
                try {
                    events.wait(leftMillis);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    throw new HarnessException("interrupted", e);
                }
            }
        }
    }

    private boolean isClosed() {
        try {
            return control.awaitClosed(Duration.ZERO);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return true;
        }
    }

    /** What this process has written to its log so far. */
    public String log() {
        try {
            byte[] bytes = Files.readAllBytes(directory.log());
            int from = (int) Math.min(logStart, bytes.length);
            return new String(bytes, from, bytes.length - from, StandardCharsets.UTF_8);
        } catch (IOException e) {
            return "(no log: " + e.getMessage() + ")";
        }
    }

    private HarnessException failure(String what) {
        String log = log();
        String exit = exitCode().map(code -> ", exit code " + code).orElse(", still running");
        return new HarnessException(what + exit + "; its log ends with:\n"
                + log.substring(Math.max(0, log.length() - LOG_TAIL_CHARACTERS)));
    }

    // ------------------------------------------------------------------------------------------------ control

    /** The answer to a request; a failure is an exception. */
    public ControlReply call(ControlRequest request) throws HarnessException {
        return call(request, part -> {});
    }

    /** @param parts takes the replies before the last: findings and progress */
    public ControlReply call(ControlRequest request, Consumer<ControlReply> parts) throws HarnessException {
        return call(request, CALL_TIMEOUT, parts);
    }

    private ControlReply call(ControlRequest request, Duration timeout, Consumer<ControlReply> parts)
            throws HarnessException {
        try {
            ControlReply reply = control.call(request, timeout, parts);
            if (reply instanceof ControlReply.Failed failed) {
                throw new HarnessException(
                        "failed " + failed.tried() + ": " + failed.found() + " (exit code " + failed.exitCode() + ")");
            }
            return reply;
        } catch (ControlException e) {
            throw failure(request + ": " + e.getMessage());
        }
    }

    public ControlReply.Status status() throws HarnessException {
        return (ControlReply.Status) call(new ControlRequest.Status());
    }

    /** Everything written so far is on the disk when it returns. */
    public void sync() throws HarnessException {
        call(new ControlRequest.Sync());
    }

    public void createSnapshot(String name) throws HarnessException {
        call(new ControlRequest.SnapshotCreate(name));
    }

    public void deleteSnapshot(String name) throws HarnessException {
        call(new ControlRequest.SnapshotDelete(name));
    }

    public List<ControlReply.Snapshot> snapshots() throws HarnessException {
        return ((ControlReply.Snapshots) call(new ControlRequest.SnapshotList())).snapshots();
    }

    /** What a check of the running node finds. */
    public List<ControlReply.Finding> fsck() throws HarnessException {
        return findings(new ControlRequest.Fsck(false, false));
    }

    /** What one pass over everything stored finds. */
    public List<ControlReply.Finding> scrub() throws HarnessException {
        return findings(new ControlRequest.Scrub());
    }

    private List<ControlReply.Finding> findings(ControlRequest request) throws HarnessException {
        List<ControlReply.Finding> findings = new ArrayList<>();
        call(request, CHECK_TIMEOUT, part -> {
            if (part instanceof ControlReply.Finding finding) {
                findings.add(finding);
            }
        });
        return findings;
    }

    public void mount(ControlMount mount) throws HarnessException {
        call(new ControlRequest.Mount(mount));
    }

    public void unmount(Path mountPoint, boolean force) throws HarnessException {
        call(new ControlRequest.Unmount(mountPoint.toAbsolutePath().toString(), force));
    }

    // ------------------------------------------------------------------------------------------------ life and death

    /** Sends SIGTERM and waits for the end. */
    public int terminate() throws HarnessException {
        process.toHandle().destroy(); // Process.destroy would close its streams too, and the node stop for that reason
        return awaitExit(STOP_TIMEOUT);
    }

    /** Closes the node's standard input, as the death of its parent would, and waits for the end. */
    public int closeInput() throws HarnessException {
        try {
            process.getOutputStream().close();
        } catch (IOException e) {
            throw failure("its input cannot be closed: " + e.getMessage());
        }
        return awaitExit(STOP_TIMEOUT);
    }

    /** Sends SIGKILL and waits until the process is gone. */
    public void kill() {
        process.toHandle().destroyForcibly();
        boolean interrupted = false;
        while (process.isAlive()) {
            try {
                process.waitFor();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /**
     * Stops all its threads, as if the machine were suspended, until {@link #thaw}. Both start a process, which first closes the files that it inherits: not
     * for a program that has files open on this node's mounts, whose {@code thaw} would wait for the node.
     */
    public void freeze() throws HarnessException {
        signal("STOP");
    }

    public void thaw() throws HarnessException {
        signal("CONT");
    }

    /** @param name without SIG */
    public void signal(String name) throws HarnessException {
        NodeDirectory.execute(List.of("kill", "-" + name, Long.toString(pid())), Duration.ofSeconds(10))
                .orThrow();
    }

    public int awaitExit(Duration timeout) throws HarnessException {
        try {
            if (!process.waitFor(timeout.toMillis(), TimeUnit.MILLISECONDS)) {
                throw failure("not ended within " + timeout.toMillis() + " ms");
            }
            return process.exitValue();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new HarnessException("interrupted", e);
        }
    }

    /** Ends the node, by SIGTERM or else by SIGKILL, and takes away what it leaves mounted. */
    @Override
    public void close() {
        try {
            if (process.isAlive()) {
                signal("CONT");
                terminate();
            }
        } catch (HarnessException e) {
            kill();
        }
        for (Path mountPoint : options.mounts()) {
            try {
                // Says "not mounted" in the ordinary case.
                NodeDirectory.execute(
                        List.of("fusermount", "-u", "-z", "-q", mountPoint.toString()), Duration.ofSeconds(10));
            } catch (HarnessException e) {
                // no fusermount, no mount
            }
        }
        try {
            control.close();
        } catch (IOException e) {
            // the node is gone
        }
    }
}
