package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.fuse.MountException.Code;
import blocktree.fuse.MountPoint.Mounted;
import blocktree.tree.FileSystem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SecureDirectoryStream;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A {@link FileSystem} mounted on a directory. Made by {@link #mount}; ends with {@link #unmount}, or when somebody else unmounts it; either way
 * {@link #closed} completes. The file system itself is not closed. Thread-safe.
 *
 * <p>Events: {@code mounted}, {@code unmounted}, {@code unmount_busy}, {@code unmount_lazy}, {@code unmount_aborted}, {@code unmount_incomplete}, {@code stale_mount_cleared},
 * {@code operation_slow}, {@code callback_failed}.
 */
public final class FuseMount {
    private static final Logger log = LoggerFactory.getLogger(FuseMount.class);
    private static final Path DEVICE = Path.of("/dev/fuse");
    private static final Path CONFIGURATION = Path.of("/etc/fuse.conf");
    private static final Path NOT_THERE = Path.of(".blocktree-not-there");
    private static final Duration READY_TIMEOUT = Duration.ofSeconds(10);
    private static final Duration RETRY = Duration.ofMillis(50);
    private static final Duration GRACE = Duration.ofSeconds(2);

    private static final String LOOK_AT_THE_LOG = "look at the node's log and at dmesg";

    private static final Object SETUP = new Object();

    private final NativeFuse fuse;
    private final NativeFuse.Operations table;
    private final MountOperations operations;
    private final MountPoint mountPoint;
    private final CompletableFuture<Void> closed = new CompletableFuture<>();

    private long nativeMountPoint;
    private long channel;
    private long session;
    private long handle;
    private @Nullable Process watcher;
    private int connection;
    private RequestLoop loop;

    @SuppressWarnings("NullAway.Init") // the loop is set before mount() hands the object out
    private FuseMount(NativeFuse fuse, FileSystem fileSystem, MountPoint mountPoint, MountOptions options) {
        this.fuse = fuse;
        this.mountPoint = mountPoint;
        this.operations = new MountOperations(fileSystem, options);
        this.table = fuse.new Operations();
        operations.bind(table);
    }

    /**
     * Mounts {@code fileSystem} on {@code mountPoint}, an empty directory, and starts to serve it. A mount that a killed process left there is cleared.
     *
     * @return when the mount answers
     * @throws MountException with what to do
     */
    public static FuseMount mount(FileSystem fileSystem, Path mountPoint, MountOptions options) throws MountException {
        NativeFuse fuse = requireFuse(options);
        MountPoint point = new MountPoint(mountPoint);
        point.prepare();
        FuseMount mount = new FuseMount(fuse, fileSystem, point, options);
        mount.start(options);
        return mount;
    }

    /** Whether this user can mount with these options on this machine, without doing so. */
    public static void checkMachine(MountOptions options) throws MountException {
        requireFuse(options);
    }

    /** Whether a tree can be mounted on this directory, without doing so: a mount that a killed process left does not count, since {@link #mount} clears it. */
    public static void checkMountPoint(Path mountPoint) throws MountException {
        new MountPoint(mountPoint).check();
    }

    private static NativeFuse requireFuse(MountOptions options) throws MountException {
        if (!Files.exists(DEVICE)) {
            throw new MountException(
                    Code.DEVICE_MISSING,
                    DEVICE + " does not exist",
                    "load the kernel's FUSE (modprobe fuse); in a container pass --device /dev/fuse --cap-add SYS_ADMIN");
        }
        NativeFuse fuse;
        try {
            fuse = NativeFuse.load();
        } catch (LinkageError e) {
            throw new MountException(
                    Code.LIBRARY_MISSING,
                    "%s cannot be loaded (%s)".formatted(NativeFuse.LIBRARY, e.getMessage()),
                    "install libfuse 2: apt-get install libfuse2 fuse3",
                    e);
        }
        checkUser(options);
        return fuse;
    }

    private static void checkUser(MountOptions options) throws MountException {
        boolean privileged = Privilege.mayMount();
        if (!privileged && MountPoint.fusermount().isEmpty()) {
            throw new MountException(
                    Code.FUSERMOUNT_MISSING,
                    "the program fusermount, through which who is not root mounts, was not found",
                    MountPoint.INSTALL_FUSE);
        }
        if (!Files.isReadable(DEVICE) || !Files.isWritable(DEVICE)) {
            throw new MountException(
                    Code.NOT_PERMITTED,
                    "this user may not open " + DEVICE,
                    "as root, run chmod 666 %s (udev does so where it runs)".formatted(DEVICE));
        }
        if (!privileged && options.allowOther() && !allowsOthers()) {
            throw new MountException(
                    Code.NOT_PERMITTED,
                    "allow_other needs root, or user_allow_other in " + CONFIGURATION,
                    "mount without it, or put the line user_allow_other into " + CONFIGURATION);
        }
        if (!Privilege.isRoot() && (options.setUserId() || options.devices())) {
            throw new MountException(
                    Code.NOT_PERMITTED, "only root can mount with suid or dev", "mount without, or as root");
        }
    }

    private static boolean allowsOthers() {
        try {
            return Files.readAllLines(CONFIGURATION).stream()
                    .anyMatch(line -> line.strip().equals("user_allow_other"));
        } catch (IOException e) {
            return false;
        }
    }

    private void start(MountOptions options) throws MountException {
        setUp(options);
        connection = mountPoint.mounted().map(Mounted::connection).orElse(-1);
        watcher = options.autoUnmount() ? mountPoint.watch(connection) : null;
        loop = new RequestLoop(fuse, session, channel, options, operations, this::ended);
        loop.start();
        try {
            awaitReady();
        } catch (MountException e) {
            unmount(Duration.ZERO);
            throw e;
        }
        log.atInfo()
                .addKeyValue("mount_point", mountPoint.path())
                .addKeyValue("options", options.toFuseOptions())
                .log("mounted");
    }

    /** One at a time, since libfuse keeps the session of its signal handlers in a static variable. */
    private void setUp(MountOptions options) throws MountException {
        String[] strings = {
            "blocktree", "-f", "-o", options.toFuseOptions(), mountPoint.path().toString()
        };
        long[] addresses = new long[strings.length];
        long cells = MEMORY.allocateMemory(16 + 8 * (strings.length + 1L), true);
        long vector = cells + 16;
        for (int i = 0; i < strings.length; i++) {
            addresses[i] = nativeString(strings[i]);
            MEMORY.putLong(vector + 8L * i, addresses[i]);
        }
        try {
            synchronized (SETUP) {
                handle = fuse.library.fuse_setup(
                        strings.length, vector, table.address(), table.sizeBytes(), cells, cells + 8, 0);
                if (handle == 0) {
                    throw new MountException(
                            Code.FAILED,
                            "%s could not be mounted, libfuse wrote the reason to standard error"
                                    .formatted(mountPoint.path()),
                            "see that it is allowed here: a container needs /dev/fuse and CAP_SYS_ADMIN, another user's directory needs write access");
                }
                session = fuse.library.fuse_get_session(handle);
                // Signals are the daemon's business.
                fuse.library.fuse_remove_signal_handlers(session);
            }
            nativeMountPoint = MEMORY.getLong(cells);
            channel = fuse.library.fuse_session_next_chan(session, 0);
        } finally {
            MEMORY.freeMemory(cells);
            for (long address : addresses) {
                MEMORY.freeMemory(address);
            }
        }
    }

    private static long nativeString(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        long address = MEMORY.allocateMemory(bytes.length + 1L, true);
        MEMORY.putByteArray(address, bytes, 0, bytes.length);
        return address;
    }

    /** Waits until the mount answers; {@link #mount} has done so. */
    public void awaitReady() throws MountException {
        try {
            CompletableFuture.anyOf(loop.ready(), closed).get(READY_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS);
        } catch (TimeoutException | ExecutionException e) {
            throw new MountException(
                    Code.FAILED, "the kernel did not begin to use the mount within 10 s", LOOK_AT_THE_LOG, e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new MountException(Code.FAILED, "interrupted", "try again", e);
        }
    }

    public Path mountPoint() {
        return mountPoint.path();
    }

    /** What {@link #mountPoint} is of a mount on {@code path}: absolute, with links resolved. */
    public static Path resolve(Path path) {
        return new MountPoint(path).path();
    }

    /** Whether the mount is in the mount table and served. */
    public boolean isMounted() {
        try {
            return !closed.isDone()
                    && mountPoint.mounted().map(Mounted::connection).orElse(-1) == connection;
        } catch (MountException e) {
            return !closed.isDone();
        }
    }

    /** Completes when the mount is gone and its threads have ended, whoever unmounted it. */
    public CompletableFuture<Void> closed() {
        return closed.copy();
    }

    public MountStatistics stats() {
        return new MountStatistics(
                operations.metrics().snapshot(),
                loop.pendingCount(),
                loop.oldestPendingMillis(),
                loop.slowCount(),
                loop.threadCount());
    }

    /**
     * Unmounts; while files are open it tries again until {@code timeout}.
     *
     * @throws MountException with BUSY when they are open still: then the mount is as it was
     */
    public void unmountUnlessBusy(Duration timeout) throws MountException {
        String failure = tryUnmount(timeout);
        if (failure != null) {
            throw new MountException(
                    Code.BUSY,
                    "%s is still in use after %d s (%s)".formatted(mountPoint.path(), timeout.toSeconds(), failure),
                    "close the files that are open in it and leave its directories (fuser -vm tells whose they are), or cut them off with --force");
        }
    }

    /**
     * Unmounts, files open or not. After {@code timeout} it detaches the mount, so that no new file can be opened, waits two more seconds for the open ones,
     * and at last cuts them off: their users get errors.
     */
    public void unmount(Duration timeout) throws MountException {
        String failure = tryUnmount(timeout);
        if (failure != null) {
            detach(failure);
        }
    }

    /** Null when the mount is gone, else why it is not. */
    private @Nullable String tryUnmount(Duration timeout) throws MountException {
        long deadline = System.nanoTime() + timeout.toNanos();
        String failure = null;
        while (isMounted()) {
            failure = mountPoint.unmount(false);
            if (failure == null || System.nanoTime() - deadline >= 0) {
                break;
            }
            log.atDebug().addKeyValue("mount_point", mountPoint.path()).log("unmount_busy");
            awaitClosed(RETRY);
        }
        if (!isMounted()) {
            failure = "detached, with files open";
            awaitClosed(
                    Duration.ofNanos(Math.max(0, deadline - System.nanoTime())).plus(GRACE));
        }
        return closed.isDone() ? null : String.valueOf(failure);
    }

    private void detach(String failure) throws MountException {
        log.atWarn()
                .addKeyValue("mount_point", mountPoint.path())
                .addKeyValue("reason", failure)
                .log("unmount_lazy");
        try (DirectoryStream<Path> root = Files.newDirectoryStream(mountPoint.path())) {
            String lazyFailure = mountPoint.unmount(true);
            if (!awaitClosed(GRACE) && root instanceof SecureDirectoryStream<Path> secure) {
                cutOff(secure);
            }
            if (!awaitClosed(GRACE)) {
                throw new MountException(
                        Code.BUSY,
                        "%s is still in use (%s): requests are waiting for the file system below"
                                .formatted(mountPoint.path(), lazyFailure),
                        LOOK_AT_THE_LOG);
            }
        } catch (IOException e) {
            if (!closed.isDone()) {
                throw new MountException(
                        Code.BUSY, mountPoint.path() + " does not answer, so it stays mounted", LOOK_AT_THE_LOG, e);
            }
        }
    }

    /**
     * Cuts off those who hold files open: with the last thread the last user of /dev/fuse goes, and the kernel ends the connection. A thread that waits for
     * a request needs one to notice; it is made through {@code root}, since the mount has no path any more.
     */
    private void cutOff(SecureDirectoryStream<Path> root) {
        log.atWarn().addKeyValue("mount_point", mountPoint.path()).log("unmount_aborted");
        loop.stop();
        Thread waker = new Thread(
                () -> {
                    while (!closed.isDone()) {
                        try {
                            root.deleteFile(NOT_THERE);
                        } catch (IOException e) {
                            // As it should: nothing has that name, and then the connection ends.
                            Thread.yield();
                        }
                    }
                },
                "fuse-waker");
        waker.setDaemon(true);
        waker.start();
    }

    private boolean awaitClosed(Duration timeout) {
        try {
            closed.get(timeout.toMillis(), TimeUnit.MILLISECONDS);
            return true;
        } catch (TimeoutException e) {
            return false;
        } catch (ExecutionException e) {
            return true;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return closed.isDone();
        }
    }

    /** On the last thread, when the kernel has said that the mount is gone: frees what libfuse holds. */
    private void ended() {
        try {
            // Not fuse_unmount: it would detach whatever is mounted here by now. This closes /dev/fuse, too.
            fuse.library.fuse_destroy(handle);
            fuse.free(nativeMountPoint);
            operations.ended();
            if (isMounted()) { // the threads ended for another reason
                mountPoint.unmount(true);
            }
            Process watching = watcher;
            if (watching != null) {
                watching.getOutputStream().close();
                watching.waitFor();
            }
            log.atInfo().addKeyValue("mount_point", mountPoint.path()).log("unmounted");
        } catch (MountException | IOException e) {
            log.atWarn()
                    .addKeyValue("mount_point", mountPoint.path())
                    .setCause(e)
                    .log("unmount_incomplete");
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } finally {
            closed.complete(null);
        }
    }
}
