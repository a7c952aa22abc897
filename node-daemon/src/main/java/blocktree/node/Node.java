package blocktree.node;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.crypto.Fingerprint;
import blocktree.fuse.FuseMount;
import blocktree.fuse.MountException;
import blocktree.fuse.MountOptions;
import blocktree.fuse.MountStatistics;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystemException;
import blocktree.tree.LatencyHistogram;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A running node: one open tree and its mounts. Thread-safe. */
final class Node {
    private static final Logger log = LoggerFactory.getLogger(Node.class);

    private static final int RELEASE_SECONDS = 5;

    /** @param released completes when the mount is gone and what was written through it has been handed to the store */
    private record Mount(ControlMount description, FuseMount fuse, FileSystem view, CompletableFuture<Void> released) {}

    /** @param gone what those have done that are no longer open */
    private record Mounts(List<Mount> open, MountStatistics gone) {
        Mounts with(Mount mount) {
            return new Mounts(Stream.concat(open.stream(), Stream.of(mount)).toList(), gone);
        }

        Mounts without(FuseMount fuse) {
            return new Mounts(
                    open.stream().filter(mount -> mount.fuse != fuse).toList(),
                    open.stream()
                            .filter(mount -> mount.fuse == fuse)
                            .map(mount -> mount.fuse.stats().afterwards())
                            .reduce(gone, MountStatistics::plus));
        }
    }

    private final DataDirectory directory;
    private final Duration requestTimeout;
    private final Setting.FuseLibrary fuseLibrary;
    private final OpenTree tree;
    private final long startedMillis = System.currentTimeMillis();
    /** Replaced by who holds this object; read by anybody, without waiting for a mount that is being made. */
    private volatile Mounts mounts = new Mounts(List.of(), MountStatistics.NONE);

    private final CountDownLatch stopRequested = new CountDownLatch(1);
    /** What failed on the way. */
    private final CompletableFuture<Set<String>> stopped = new CompletableFuture<>();

    private volatile String state = "starting";
    private volatile boolean stopWithLastMount;
    private volatile boolean leftBehind;

    Node(RunSettings settings, OpenTree tree) {
        this.directory = settings.directory();
        this.requestTimeout = settings.requestTimeout();
        this.fuseLibrary = settings.fuseLibrary();
        this.tree = tree;
    }

    OpenTree tree() {
        return tree;
    }

    /** From now on the node stops by itself when somebody unmounts its last mount. */
    void stopWithLastMount() {
        stopWithLastMount = true;
    }

    /** The node's place among others; BAD_CONFIGURATION, for what was {@code tried}, when it is alone. */
    Membership membership(String tried) throws NodeException {
        Membership membership = tree.membership();
        if (membership == null) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    tried,
                    tree.isReadOnly() ? "the node only reads" : "the node is alone: it does not listen for others",
                    "set listen in btnode.toml, or start it with --listen ADDRESS:PORT");
        }
        return membership;
    }

    /** From now on the node stops when it cannot follow the others any more, to bring its store up to date before it goes on. */
    void stopWhenBehind() {
        Membership membership = tree.membership();
        if (membership != null) {
            membership.whenBehind(() -> {
                leftBehind = true;
                requestStop("behind");
            });
        }
    }

    /** Whether it stops for that reason. */
    boolean isLeftBehind() {
        return leftBehind;
    }

    void ready() {
        state = tree.isReadOnly() ? "read_only" : "running";
    }

    /** As it is now: the store may stop writing at any moment. */
    private String state() {
        return state.equals("running") && tree.hasStoppedWriting() ? "store_stopped" : state;
    }

    void requestStop(String reason) {
        if (stopRequested.getCount() > 0) {
            log.atInfo().addKeyValue("reason", reason).log("stop_requested");
        }
        stopRequested.countDown();
    }

    boolean isStopRequested() {
        return stopRequested.getCount() == 0;
    }

    void awaitStopRequest() throws InterruptedException {
        stopRequested.await();
    }

    /** Mounts the tree, or a part of it; returns when the mount answers. */
    synchronized void mount(ControlMount wanted) throws NodeException {
        String tried = "to mount the tree on " + wanted.mountPoint();
        Path mountPoint = Path.of(wanted.mountPoint());
        if (!mountPoint.isAbsolute()) {
            throw new NodeException(
                    ExitCode.USAGE, tried, "a relative path", "name the mount point by its absolute path");
        }
        if (state.equals("stopping")) {
            throw new NodeException(ExitCode.FAILED, tried, "the node is stopping", "start it again first");
        }
        if (mountPoint.startsWith(directory.path()) || directory.path().startsWith(mountPoint)) {
            throw new NodeException(
                    ExitCode.MOUNT_POINT,
                    tried,
                    "the data directory " + directory.path() + " and the mount point lie in one another",
                    "name a directory outside the data directory");
        }
        requireSoleWriter(wanted, tried);
        try {
            FileSystem view = tree.view(wanted);
            MountOptions options = MountOptions.defaults()
                    .withAllowOther(wanted.allowOther())
                    .withSetUserId(wanted.setUserId())
                    .withDevices(wanted.devices())
                    .withNoExec(wanted.noExec())
                    .withReadOnly(wanted.readOnly() || tree.isReadOnly())
                    .withRequestTimeout(requestTimeout)
                    .withLibrary(fuseLibrary.library())
                    .withWriteBackCache(wanted.writeBackCache())
                    .withAccessLists(wanted.accessLists())
                    .withName("btnode@" + tree.id().toHex().substring(0, 16));
            FuseMount fuse;
            try {
                fuse = FuseMount.mount(view, mountPoint, options);
            } catch (MountException e) {
                close(view);
                throw Failures.of(tried, e);
            }
            // On another thread, which waits for this method's end.
            CompletableFuture<Void> released = fuse.closed().thenRunAsync(() -> gone(fuse, view));
            mounts = mounts.with(new Mount(wanted.through(Choice.label(fuse.library())), fuse, view, released));
        } catch (FileSystemException e) {
            throw switch (e.code()) {
                case NOT_FOUND, NOT_DIRECTORY, INVALID, NAME_TOO_LONG ->
                    new NodeException(
                            ExitCode.USAGE,
                            tried,
                            "no such directory in the tree: --subtree " + wanted.subtree(),
                            "name a directory that the tree has, by its path from the tree's root, without '.' and '..'",
                            e);
                default -> Failures.of(tried, e);
            };
        }
    }

    /** A kernel that keeps writes back believes nobody else about the size of a file. */
    private void requireSoleWriter(ControlMount wanted, String tried) throws NodeException {
        if (wanted.writeBackCache() && tree.membership() != null) {
            throw new NodeException(
                    ExitCode.MOUNT_POINT,
                    tried,
                    "a write-back cache, in a node whose tree other nodes change too",
                    "mount without --write-back-cache");
        }
        if (wanted.readOnly() || tree.isReadOnly()) {
            return;
        }
        for (ControlMount other : mounts()) {
            if (!other.readOnly() && (wanted.writeBackCache() || other.writeBackCache())) {
                throw new NodeException(
                        ExitCode.MOUNT_POINT,
                        tried,
                        "%s has a write-back cache, so no other mount may change the tree: %s is there already"
                                .formatted((wanted.writeBackCache() ? wanted : other).mountPoint(), other.mountPoint()),
                        "mount with --read-only, or mount the other one again without --write-back-cache");
            }
        }
    }

    /** Has the kernel hand over what it keeps back, so that what comes next finds it in the tree. */
    void writeBack() {
        for (Mount mount : mounts.open) {
            mount.fuse.writeBack();
        }
    }

    /** Unmounts; without {@code force} only when nothing is open there within {@code patience}. */
    void unmount(String mountPoint, boolean force, Duration patience) throws NodeException {
        String tried = "to unmount " + mountPoint;
        Path path = FuseMount.resolve(Path.of(mountPoint));
        Mount mount;
        synchronized (this) {
            mount = mounts.open.stream()
                    .filter(each -> each.fuse.mountPoint().equals(path))
                    .findFirst()
                    .orElse(null);
        }
        if (mount == null) {
            throw new NodeException(
                    ExitCode.MOUNT_POINT,
                    tried,
                    "this node has no mount there",
                    "see its mounts: btnode status --data-dir " + Shell.word(directory.path()));
        }
        try {
            if (force) {
                mount.fuse.unmount(Duration.ZERO);
            } else {
                mount.fuse.unmountUnlessBusy(patience);
            }
            mount.released.get(RELEASE_SECONDS, TimeUnit.SECONDS);
        } catch (MountException e) {
            throw Failures.of(tried, e);
        } catch (ExecutionException | TimeoutException e) {
            throw new NodeException(
                    ExitCode.TIMED_OUT,
                    tried,
                    "the mount is gone, but what was written through it is not on the disk yet",
                    "look at the node's log",
                    e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new NodeException(ExitCode.FAILED, tried, "interrupted", "try again", e);
        }
    }

    private void gone(FuseMount fuse, FileSystem view) {
        close(view);
        boolean last;
        synchronized (this) {
            mounts = mounts.without(fuse);
            last = mounts.open.isEmpty();
        }
        if (last && stopWithLastMount) {
            requestStop("unmounted");
        }
    }

    private void close(FileSystem view) {
        try {
            view.close();
        } catch (FileSystemException e) {
            log.atError().setCause(e).log("flush_failed");
        }
    }

    List<ControlMount> mounts() {
        return mounts.open.stream().map(Mount::description).toList();
    }

    ControlReply.Status status() {
        Map<String, Long> counters = new LinkedHashMap<>();
        List<ControlReply.Latency> latencies = new ArrayList<>();
        tree.report(counters, latencies);
        Runtime runtime = Runtime.getRuntime();
        MountStatistics statistics = statistics();
        counters.put("fuse.pending", (long) statistics.pendingCount());
        counters.put("fuse.oldest_pending_millis", statistics.oldestPendingMillis());
        counters.put("fuse.slow", statistics.slowCount());
        counters.put("fuse.threads", (long) statistics.threadCount());
        counters.put("fuse.known_inodes", (long) statistics.knownInodeCount());
        latencies.addAll(latencies(statistics));
        counters.put("process.heap_used_bytes", runtime.totalMemory() - runtime.freeMemory());
        counters.put("process.heap_max_bytes", runtime.maxMemory());
        counters.put("process.uptime_millis", System.currentTimeMillis() - startedMillis);
        return new ControlReply.Status(
                Version.NAME,
                ProcessHandle.current().pid(),
                startedMillis,
                tree.id().toHex(),
                tree.principal().toHex(),
                directory.path().toString(),
                state(),
                mounts(),
                counters,
                LatencyHistogram.UPPER_NANOS,
                latencies);
    }

    /** Of all mounts together, those that are gone included: no count falls. */
    private MountStatistics statistics() {
        Mounts now = mounts;
        return now.open.stream().map(mount -> mount.fuse.stats()).reduce(now.gone, MountStatistics::plus);
    }

    private static List<ControlReply.Latency> latencies(MountStatistics statistics) {
        List<ControlReply.Latency> latencies = new ArrayList<>();
        statistics
                .operations()
                .forEach((operation, count) -> latencies.add(
                        OpenTree.latency("fuse." + Choice.label(operation), count.failureCount(), count.latency())));
        return latencies;
    }

    Health health() {
        return new Health(state(), statistics().oldestPendingMillis() > requestTimeout.toMillis());
    }

    ControlReply.Welcome welcome() {
        return new ControlReply.Welcome(
                0, Version.NAME, ProcessHandle.current().pid(), tree.id().toHex());
    }

    ControlReply.Key key() {
        return new ControlReply.Key(
                Fingerprint.of(tree.id()),
                Fingerprint.of(tree.principal()),
                Choice.label(directory.settings().nodeKey()));
    }

    /**
     * Stops the node for a client, and returns when it has.
     *
     * @param force also when not everything can be written to the disk, and what is not there is lost
     * @throws NodeException NO_SPACE or another code when it could not be written: the node goes on, and nothing is lost; FAILED when the node has stopped and something is
     */
    void stopFor(boolean force) throws NodeException {
        if (!force) {
            requireWritten();
        }
        requestStop("control");
        Set<String> failures;
        try {
            failures = stopped.get();
        } catch (InterruptedException | ExecutionException e) {
            throw new IllegalStateException("the node ends without having stopped", e);
        }
        if (!failures.isEmpty()) {
            throw new NodeException(
                    ExitCode.FAILED,
                    "to stop the node of " + directory.path() + " with everything on its disk",
                    "it has stopped, but " + String.join("; ", failures),
                    "look at its log for the events store_stopped, flush_failed and unmount_failed, check the disk, start it again");
        }
    }

    /** A store that has stopped writing by itself can be helped by a new start only. */
    private void requireWritten() throws NodeException {
        try {
            tree.sync();
        } catch (NodeException e) {
            if (isStopRequested() || tree.hasStoppedWriting()) {
                return;
            }
            throw new NodeException(
                    e.exitCode(),
                    "to stop the node of " + directory.path() + " with everything on its disk",
                    e.found() + "; the node goes on, and nothing is lost yet",
                    (e.exitCode() == ExitCode.NO_SPACE
                                    ? "make room on the disk, then stop it again"
                                    : "look at its log for what is wrong with the disk, then stop it again")
                            + "; with --force it stops all the same, and what is not on the disk by then is lost",
                    e);
        }
    }

    /**
     * Flushes, unmounts, closes. Goes through to the end whatever fails on the way.
     *
     * @param patience how long open files may hold up the unmounting
     * @return what failed; empty when everything written is on the disk and no mount is left
     */
    Set<String> stop(Duration patience) {
        state = "stopping";
        Set<String> failures = new LinkedHashSet<>();
        try {
            tree.sync();
        } catch (NodeException e) {
            log.atError().setCause(e).log("flush_failed");
            failures.add(lost(e));
        }
        List<Mount> open;
        synchronized (this) {
            open = mounts.open;
        }
        long deadlineNanos = System.nanoTime() + patience.toNanos();
        for (Mount mount : open) {
            try {
                mount.fuse.unmount(Duration.ofNanos(Math.max(0, deadlineNanos - System.nanoTime())));
                // Not only unmounted: the tree must not be closed under those who still write to it.
                mount.released.get(RELEASE_SECONDS, TimeUnit.SECONDS);
            } catch (Exception e) {
                log.atError()
                        .addKeyValue("mount", mount.description.mountPoint())
                        .setCause(e)
                        .log("unmount_failed");
                failures.add("its mount on " + mount.description.mountPoint() + " may be left");
            }
        }
        try {
            tree.close();
        } catch (NodeException e) {
            log.atError().setCause(e).log("flush_failed");
            failures.add(lost(e));
        }
        if (tree.hasStoppedWriting()) {
            // Nobody knows what was still to be written.
            failures.add("its store had stopped writing before, and what was written after that is lost");
        }
        stopped.complete(failures);
        return failures;
    }

    private static String lost(NodeException e) {
        return "what waited to be written is lost: " + e.found();
    }
}
