package blocktree.node;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.crypto.Fingerprint;
import blocktree.crypto.Identity;
import blocktree.crypto.TreeId;
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
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
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

    private static final String RUNNING = "running";
    private static final String CATCHING_UP = "catching_up";
    private static final String STOPPING = "stopping";

    private final RunSettings settings;
    private final DataDirectory directory;
    private final Identity identity;
    private final TreeId treeId;
    /** Null while the store is brought up to date. */
    private volatile @Nullable OpenTree tree;

    private final long startedMillis = System.currentTimeMillis();
    /** Replaced by who holds this object; read by anybody, without waiting for a mount that is being made. */
    private volatile Mounts mounts = new Mounts(List.of(), MountStatistics.NONE);

    private final CompletableFuture<Void> stopRequested = new CompletableFuture<>();
    /** Completes when the tree that is open now cannot follow those of other nodes any more. */
    private volatile CompletableFuture<Void> behind = new CompletableFuture<>();
    /** What failed on the way. */
    private final CompletableFuture<Set<String>> stopped = new CompletableFuture<>();

    private volatile String state = "starting";
    private volatile boolean stopWithLastMount;
    /** Of each tree that is open; 0: none. */
    private volatile long scrubBytesPerSecond;

    /** Opens the tree. {@code identity} stays the caller's. */
    Node(RunSettings settings, Identity identity) throws NodeException {
        this.settings = settings;
        this.directory = settings.directory();
        this.identity = identity;
        OpenTree opened = open();
        this.treeId = opened.id();
        this.tree = opened;
    }

    private OpenTree open() throws NodeException {
        OpenTree opened = OpenTree.open(settings, identity, this::isStopRequested);
        Membership membership = opened.membership();
        CompletableFuture<Void> left = new CompletableFuture<>();
        behind = left;
        if (membership != null) {
            membership.whenBehind(() -> left.complete(null));
        }
        return opened;
    }

    /** Scrubs in the background from now on, whatever tree is open. */
    void scrubFromNowOn(long bytesPerSecond) {
        scrubBytesPerSecond = bytesPerSecond;
        OpenTree current = tree;
        if (current != null) {
            current.startScrub(bytesPerSecond);
        }
    }

    TreeId treeId() {
        return treeId;
    }

    /** FAILED while the store is brought up to date. */
    OpenTree tree() throws NodeException {
        OpenTree current = tree;
        if (current == null) {
            throw new NodeException(
                    ExitCode.FAILED,
                    "to use the tree",
                    "this node was away for too long, and takes what it lacks from another one",
                    "wait until btnode status says that it runs");
        }
        return current;
    }

    /** From now on the node stops by itself when somebody unmounts its last mount. */
    void stopWithLastMount() {
        stopWithLastMount = true;
    }

    /** The node's place among others; BAD_CONFIGURATION, for what was {@code tried}, when it is alone. */
    Membership membership(String tried) throws NodeException {
        OpenTree current = tree();
        Membership membership = current.membership();
        if (membership == null) {
            throw new NodeException(
                    ExitCode.BAD_CONFIGURATION,
                    tried,
                    current.isReadOnly() ? "the node only reads" : "the node is alone: it does not listen for others",
                    "set listen in btnode.toml, or start it with --listen ADDRESS:PORT");
        }
        return membership;
    }

    /**
     * To be called when this node cannot follow the others any more: brings the store up to date from another one, and mounts the tree anew. Until then the
     * mounts stay where they are and answer with errors, so that nobody takes what is below them for the tree. What was not committed before is lost, which is
     * logged.
     *
     * @throws NodeException when the node cannot go on
     */
    void bringUpToDate() throws NodeException {
        OpenTree old = tree();
        state = CATCHING_UP;
        tree = null;
        try {
            old.close();
        } catch (NodeException e) {
            log.atError().setCause(e).log("flush_failed");
        }
        try {
            tree = open();
        } catch (NodeException e) {
            if (isStopRequested()) {
                return;
            }
            throw e;
        }
        List<ControlMount> wanted = mounts();
        for (ControlMount each : wanted) {
            unmount(each.mountPoint(), true, Duration.ZERO);
            mount(each.through(""));
        }
        if (scrubBytesPerSecond > 0) {
            tree().startScrub(scrubBytesPerSecond);
        }
        ready();
        log.atInfo().addKeyValue("mounts", wanted.size()).log("node_caught_up");
    }

    void ready() throws NodeException {
        state = tree().isReadOnly() ? "read_only" : RUNNING;
    }

    /** As it is now: the store may stop writing at any moment. */
    private String state() {
        OpenTree current = tree;
        if (!state.equals(RUNNING) || current == null) {
            return state;
        }
        Membership membership = current.membership();
        return current.hasStoppedWriting()
                ? "store_stopped"
                : membership != null && membership.isCutOff() ? Health.CUT_OFF : state;
    }

    void requestStop(String reason) {
        if (stopRequested.complete(null)) {
            log.atInfo().addKeyValue("reason", reason).log("stop_requested");
        }
    }

    boolean isStopRequested() {
        return stopRequested.isDone();
    }

    /** True once it is to stop; false when it is to be brought up to date first. */
    boolean awaitStopRequest() throws InterruptedException {
        try {
            CompletableFuture.anyOf(stopRequested, behind).get();
        } catch (ExecutionException e) {
            throw new IllegalStateException(e);
        }
        return isStopRequested();
    }

    /** Mounts the tree, or a part of it; returns when the mount answers. */
    synchronized void mount(ControlMount wanted) throws NodeException {
        String tried = "to mount the tree on " + wanted.mountPoint();
        Path mountPoint = Path.of(wanted.mountPoint());
        if (!mountPoint.isAbsolute()) {
            throw new NodeException(
                    ExitCode.USAGE, tried, "a relative path", "name the mount point by its absolute path");
        }
        if (state.equals(STOPPING)) {
            throw new NodeException(ExitCode.FAILED, tried, "the node is stopping", "start it again first");
        }
        OpenTree current = tree();
        if (mountPoint.startsWith(directory.path()) || directory.path().startsWith(mountPoint)) {
            throw new NodeException(
                    ExitCode.MOUNT_POINT,
                    tried,
                    "the data directory " + directory.path() + " and the mount point lie in one another",
                    "name a directory outside the data directory");
        }
        requireSoleWriter(current, wanted, tried);
        try {
            FileSystem view = current.view(wanted);
            MountOptions options = MountOptions.defaults()
                    .withAllowOther(wanted.allowOther())
                    .withSetUserId(wanted.setUserId())
                    .withDevices(wanted.devices())
                    .withNoExec(wanted.noExec())
                    .withReadOnly(wanted.readOnly() || current.isReadOnly())
                    .withRequestTimeout(settings.requestTimeout())
                    .withLibrary(settings.fuseLibrary().library())
                    .withWriteBackCache(wanted.writeBackCache())
                    .withAccessLists(wanted.accessLists())
                    .withName("btnode@" + treeId.toHex().substring(0, 16));
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
    private void requireSoleWriter(OpenTree current, ControlMount wanted, String tried) throws NodeException {
        if (wanted.writeBackCache() && current.membership() != null) {
            throw new NodeException(
                    ExitCode.MOUNT_POINT,
                    tried,
                    "a write-back cache, in a node whose tree other nodes change too",
                    "mount without --write-back-cache");
        }
        if (wanted.readOnly() || current.isReadOnly()) {
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
        if (!state.equals(CATCHING_UP)) { // else its tree is closed
            close(view);
        }
        boolean last;
        synchronized (this) {
            mounts = mounts.without(fuse);
            last = mounts.open.isEmpty();
        }
        if (last && stopWithLastMount && !state.equals(CATCHING_UP)) {
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
        OpenTree current = tree;
        if (current != null) {
            current.report(counters, latencies);
        }
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
                treeId.toHex(),
                identity.id().toHex(),
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
        return new Health(
                state(),
                statistics().oldestPendingMillis() > settings.requestTimeout().toMillis());
    }

    ControlReply.Welcome welcome() {
        return new ControlReply.Welcome(0, Version.NAME, ProcessHandle.current().pid(), treeId.toHex());
    }

    ControlReply.Key key() {
        return new ControlReply.Key(
                Fingerprint.of(treeId),
                Fingerprint.of(identity.id()),
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
        OpenTree current = tree;
        if (current == null) {
            return;
        }
        try {
            current.sync();
        } catch (NodeException e) {
            if (isStopRequested() || current.hasStoppedWriting()) {
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
        state = STOPPING;
        Set<String> failures = new LinkedHashSet<>();
        OpenTree current = tree;
        if (current != null) {
            try {
                current.sync();
            } catch (NodeException e) {
                log.atError().setCause(e).log("flush_failed");
                failures.add(lost(e));
            }
        }
        failures.addAll(unmountAll(patience));
        if (current != null) {
            try {
                current.close();
            } catch (NodeException e) {
                log.atError().setCause(e).log("flush_failed");
                failures.add(lost(e));
            }
            if (current.hasStoppedWriting()) {
                // Nobody knows what was still to be written.
                failures.add("its store had stopped writing before, and what was written after that is lost");
            }
        }
        stopped.complete(failures);
        return failures;
    }

    /** Returns what failed. */
    private Set<String> unmountAll(Duration patience) {
        Set<String> failures = new LinkedHashSet<>();
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
        return failures;
    }

    private static String lost(NodeException e) {
        return "what waited to be written is lost: " + e.found();
    }
}
