package blocktree.fuse;

import blocktree.fuse.MountException.Code;
import blocktree.fuse.MountPoint.Mounted;
import blocktree.tree.FileSystem;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SecureDirectoryStream;
import java.time.Duration;
import java.util.List;
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
    private static final Path CONNECTIONS = Path.of("/sys/fs/fuse/connections");
    private static final Path CONFIGURATION = Path.of("/etc/fuse.conf");
    private static final String NOT_THERE = ".blocktree-not-there-";
    private static final Duration READY_TIMEOUT = Duration.ofSeconds(10);
    private static final Duration RETRY = Duration.ofMillis(50);
    private static final Duration GRACE = Duration.ofSeconds(2);

    private static final String LOOK_AT_THE_LOG = "look at the node's log and at dmesg";

    private final Library library;
    private final Connection connection;
    private final MountPoint mountPoint;
    private final CompletableFuture<Void> closed = new CompletableFuture<>();

    private @Nullable Process watcher;
    private int device;
    private RequestLoop loop;

    @SuppressWarnings("NullAway.Init") // the loop is set before mount() hands the object out
    private FuseMount(Library library, Connection connection, MountPoint mountPoint) {
        this.library = library;
        this.connection = connection;
        this.mountPoint = mountPoint;
    }

    /**
     * Mounts {@code fileSystem} on {@code mountPoint}, an empty directory, and starts to serve it. A mount that a killed process left there is cleared.
     *
     * @return when the mount answers
     * @throws MountException with what to do
     */
    public static FuseMount mount(FileSystem fileSystem, Path mountPoint, MountOptions options) throws MountException {
        requireMachine(options);
        MountPoint point = new MountPoint(mountPoint);
        point.prepare();
        Library library = choose(options.library());
        if (options.accessLists() && library != Library.LIBFUSE3) {
            throw new MountException(
                    Code.LIBRARY_MISSING,
                    "access control lists need libfuse 3, and this mount would go through " + library.fileName(),
                    "install it (apt-get install %s fuse3) and mount without --fuse-library, or mount without --acl"
                            .formatted(Library.LIBFUSE3.debianPackage()));
        }
        Connection connection = switch (library) {
            case LIBFUSE3 -> new InodeConnection(fileSystem, options);
            case LIBFUSE2 -> new PathConnection(fileSystem, options);
        };
        FuseMount mount = new FuseMount(library, connection, point);
        mount.start(options);
        return mount;
    }

    /** Whether this user can mount with these options on this machine, without doing so. */
    public static void checkMachine(MountOptions options) throws MountException {
        requireMachine(options);
        var unused = choose(options.library());
    }

    /** Whether a tree can be mounted on this directory, without doing so: a mount that a killed process left does not count, since {@link #mount} clears it. */
    public static void checkMountPoint(Path mountPoint) throws MountException {
        new MountPoint(mountPoint).check();
    }

    private static void requireMachine(MountOptions options) throws MountException {
        if (!Files.exists(DEVICE)) {
            throw new MountException(
                    Code.DEVICE_MISSING,
                    DEVICE + " does not exist",
                    "load the kernel's FUSE (modprobe fuse); in a container pass --device /dev/fuse --cap-add SYS_ADMIN");
        }
        checkUser(options);
    }

    /** The library that was asked for, or the first that is here. */
    private static Library choose(@Nullable Library wanted) throws MountException {
        List<Library> choice = wanted == null ? List.of(Library.values()) : List.of(wanted);
        LinkageError failure = null;
        for (Library library : choice) {
            try {
                switch (library) {
                    case LIBFUSE3 -> FuseCheck.requireFitting();
                    case LIBFUSE2 -> NativeFuse.load();
                }
                return library;
            } catch (LinkageError e) {
                log.atDebug()
                        .addKeyValue("library", library.fileName())
                        .addKeyValue("reason", e.getMessage())
                        .log("fuse_library_unusable");
                failure = failure == null ? e : failure;
            }
        }
        throw new MountException(
                Code.LIBRARY_MISSING,
                "%s cannot be used (%s)"
                        .formatted(choice.get(0).fileName(), failure == null ? "" : failure.getMessage()),
                "install it: apt-get install %s fuse3".formatted(choice.get(0).debianPackage()),
                failure);
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
        boolean ready = connection.open(mountPoint, options);
        device = mountPoint.mounted().map(Mounted::connection).orElse(-1);
        watcher = options.autoUnmount() ? mountPoint.watch(device) : null;
        loop = new RequestLoop(connection, options, this::ended);
        if (ready) {
            loop.initialised();
        }
        loop.start();
        try {
            awaitReady();
        } catch (MountException e) {
            unmount(Duration.ZERO);
            throw e;
        }
        log.atInfo()
                .addKeyValue("mount_point", mountPoint.path())
                .addKeyValue("library", library.fileName())
                .addKeyValue("options", options.toFuse3Options())
                .addKeyValue("write_back_cache", options.writeBackCache() && library == Library.LIBFUSE3)
                .addKeyValue("acl", options.accessLists())
                .log("mounted");
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

    /** What it goes through. */
    public Library library() {
        return library;
    }

    /**
     * Has the kernel hand over what it keeps back of writes: when this returns, the file system has all that was written before, unless the mount does not answer any more. Not durably:
     * that is {@link FileSystem#sync}.
     */
    public void writeBack() {
        connection.writeBack(mountPoint.path());
    }

    /** What {@link #mountPoint} is of a mount on {@code path}: absolute, with links resolved. */
    public static Path resolve(Path path) {
        return new MountPoint(path).path();
    }

    /** Whether the mount is in the mount table and served. */
    public boolean isMounted() {
        try {
            return !closed.isDone()
                    && mountPoint.mounted().map(Mounted::connection).orElse(-1) == device;
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
                connection.operations().metrics().snapshot(),
                loop.pendingCount(),
                loop.oldestPendingMillis(),
                loop.slowCount(),
                loop.threadCount(),
                connection.operations().knownInodeCount());
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
        writeBack(); // what is cut off could not be written any more
        log.atWarn()
                .addKeyValue("mount_point", mountPoint.path())
                .addKeyValue("reason", failure)
                .log("unmount_lazy");
        try (DirectoryStream<Path> root = Files.newDirectoryStream(mountPoint.path())) {
            String lazyFailure = mountPoint.unmount(true);
            if (!awaitClosed(GRACE)) {
                log.atWarn().addKeyValue("mount_point", mountPoint.path()).log("unmount_aborted");
                if (!abort() && root instanceof SecureDirectoryStream<Path> secure) {
                    cutOff(secure);
                }
            }
            if (!awaitClosed(GRACE)) {
                if (!isMounted()) {
                    throw new MountException(
                            Code.BUSY,
                            mountPoint.path()
                                    + " is unmounted here, and still there in another mount namespace, such as a container's",
                            "end what runs there, or, as root: mount -t fusectl none %1$s; echo 1 > %1$s/%2$d/abort"
                                    .formatted(CONNECTIONS, device));
                }
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

    /** Has the kernel end the connection, also where a mount namespace that was made meanwhile still has the mount. False: fusectl is not mounted here. */
    private boolean abort() {
        try {
            Files.write(CONNECTIONS.resolve(String.valueOf(device)).resolve("abort"), new byte[] {'1'});
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    /**
     * Cuts off those who hold files open: with the last thread the last user of /dev/fuse goes, and the kernel ends the connection. A thread that waits for
     * a request needs one to notice; it is made through {@code root}, since the mount has no path any more.
     */
    private void cutOff(SecureDirectoryStream<Path> root) {
        loop.stop();
        Thread waker = new Thread(
                () -> {
                    for (int i = 0; !closed.isDone(); i++) {
                        try {
                            root.deleteFile(Path.of(NOT_THERE + i)); // the kernel remembers that a name is missing
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
            connection.close();
            connection.operations().ended();
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
