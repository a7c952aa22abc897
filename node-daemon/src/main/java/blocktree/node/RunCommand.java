package blocktree.node;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlServer;
import blocktree.btmsg.StreamControlServer;
import blocktree.crypto.Identity;
import ch.qos.logback.classic.Level;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import sun.misc.Signal;

@Command(
        name = "run",
        description = {
            "Run the node in the foreground, until SIGTERM, SIGINT or btnode stop.",
            "It is ready when the mount points show the tree and the event node_ready is logged."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class RunCommand implements Callable<Integer> {
    private static final Logger log = LoggerFactory.getLogger(RunCommand.class);
    private static final int SCRUB_DELAY_MINUTES = 10;

    @Mixin
    private NodeOptions node;

    @Option(
            names = "--mount",
            paramLabel = "DIR",
            description =
                    "Mount the tree on this empty directory. May be given several times. Default: the mounts of the configuration.")
    private List<Path> mountPoints = List.of();

    @Mixin
    private MountFlags mountFlags;

    @Mixin
    private PassphraseOptions passphrase;

    @Option(
            names = "--control",
            paramLabel = "stdio",
            description =
                    "Speak the control protocol on standard input and output too, and stop when standard input ends.")
    private @Nullable Control control;

    @Option(names = "--stay", description = "With --control=stdio: go on when standard input ends.")
    private boolean stay;

    @Option(names = "--exit-on-unmount", description = "Stop when somebody unmounts the last mount point.")
    private boolean exitOnUnmount;

    @Option(
            names = "--retention",
            paramLabel = "TIME",
            description =
                    "Keep earlier versions that long, such as 12h or 7d. Default: retention of the configuration (1d).")
    private @Nullable String retention;

    @Option(
            names = "--dirty-limit",
            paramLabel = "SIZE",
            description =
                    "Most data that may wait in memory to be written, such as 64M. Default: dirty_limit of the configuration (48M).")
    private @Nullable String dirtyLimit;

    @Option(
            names = "--cache-size",
            paramLabel = "SIZE",
            description = "Memory for the store's caches, such as 64M. Default: cache_size of the configuration (64M).")
    private @Nullable String cacheSize;

    @Option(
            names = "--accept-loss",
            description =
                    "Open a store that has lost acknowledged writes, and take what is there for the truth from now on.")
    private boolean acceptLoss;

    @Option(
            names = "--request-timeout",
            paramLabel = "TIME",
            description =
                    "When the disk does not answer for that long, a program that waits for the mount gets ETIMEDOUT. Default: request_timeout of the configuration (2m).")
    private @Nullable String requestTimeout;

    @Option(
            names = "--fuse-library",
            paramLabel = "automatic|libfuse3|libfuse2",
            description =
                    "What mounts go through. Default: fuse_library of the configuration (automatic: libfuse3 where it is, else libfuse2).")
    private Setting.@Nullable FuseLibrary fuseLibrary;

    @Option(
            names = "--stop-timeout",
            paramLabel = "TIME",
            description =
                    "When stopping takes longer, the process ends with exit code 11. Default: stop_timeout of the configuration (60s).")
    private @Nullable String stopTimeout;

    @Option(
            names = "--listen",
            paramLabel = "ADDRESS:PORT",
            description =
                    "Where the tree's other nodes reach this one, such as 0.0.0.0:9274. Default: listen of the configuration (off).")
    private @Nullable String listen;

    @Option(
            names = "--advertise",
            paramLabel = "HOST:PORT,…",
            description =
                    "Under which addresses they do, where it is not what --listen says. Default: advertise of the configuration.")
    private @Nullable String advertise;

    @Option(
            names = "--metrics",
            paramLabel = "ADDRESS:PORT",
            description =
                    "Serve /metrics and /health over HTTP there, such as 127.0.0.1:9273. Default: metrics of the configuration (off).")
    private @Nullable String metrics;

    @Option(
            names = "--log-format",
            paramLabel = "text|json|journal",
            description =
                    "One event a line on standard error; journal: with the levels of systemd's journal and without the time. Default: log_format of the configuration, else journal where standard error is one, else text.")
    private EventLog.@Nullable Format logFormat;

    @Option(
            names = "--log-level",
            paramLabel = "error|warn|info|debug",
            description = "From which level on events are logged. Default: log_level of the configuration (info).")
    private @Nullable LogLevel logLevel;

    enum Control {
        STDIO
    }

    enum LogLevel {
        ERROR,
        WARN,
        INFO,
        DEBUG
    }

    @Override
    public Integer call() throws NodeException {
        Settings configured = settings();
        DataDirectory data = DataDirectory.open(configured.dataDirectory());
        MemoryLimits.require(configured.withOlder(data));
        RunSettings settings = RunSettings.of(data, configured, mountFlags.isReadOnly(), acceptLoss);
        EventLog events = EventLog.start(
                configured.isDefault(Setting.LOG_FORMAT) && Supervisor.isJournal(System.getenv())
                        ? EventLog.Format.JOURNAL
                        : configured.choice(Setting.LOG_FORMAT, EventLog.Format.class),
                Level.toLevel(
                        configured.choice(Setting.LOG_LEVEL, LogLevel.class).name()));
        passphrase.orFrom(configured.path(Setting.PASSPHRASE_FILE));
        if (mountPoints.isEmpty()
                && mountFlags.areGiven()
                && !configured.mounts().isEmpty()) {
            throw new NodeException(
                    ExitCode.USAGE,
                    "to mount as the options say",
                    "options of a mount without --mount: the mounts of " + configured.file() + " have their own",
                    "name the mount point with --mount, or set them in the file");
        }
        List<ControlMount> mounts = mountPoints.isEmpty()
                ? configured.mounts()
                : mountPoints.stream().map(mountFlags::at).toList();
        try (DataDirectory.Lock lock = lock(data, settings.readOnly());
                Identity identity = NodeKeys.unlockNode(data, passphrase, System.err)) {
            if (lock.isShared() && NodeClient.connect(data.path()).isPresent()) {
                throw data.taken("");
            }
            log.atInfo()
                    .addKeyValue("version", Version.NAME)
                    .addKeyValue("java", Runtime.version())
                    .addKeyValue("pid", ProcessHandle.current().pid())
                    .addKeyValue("data", data.path())
                    .addKeyValue("config", configured.file() == null ? "none" : configured.file())
                    .log("node_starting");
            if (configured.passedOver() != null) {
                log.atWarn().addKeyValue("config", configured.passedOver()).log("configuration_passed_over");
            }
            return serve(settings, configured.address(Setting.METRICS), mounts, identity, events);
        } catch (IOException e) {
            throw Failures.of(
                    "to run the node of " + data.path(), e, "check the data directory's disk and permissions");
        }
    }

    /** With what an interrupted change of keys has left settled, as far as it can be: the keys in their places may do. */
    private static DataDirectory.Lock lock(DataDirectory data, boolean readOnly) throws NodeException {
        DataDirectory.Lock lock = data.lock(readOnly);
        try {
            if (!lock.isShared()) {
                KeyFiles.settle(data, new KeyPlaceOptions());
            }
        } catch (NodeException e) {
            log.atWarn().addKeyValue("reason", e.getMessage()).log("key_change_unfinished");
        }
        return lock;
    }

    private Settings settings() throws NodeException {
        return node.settings()
                .with(Setting.RETENTION, "--retention", retention)
                .with(Setting.DIRTY_LIMIT, "--dirty-limit", dirtyLimit)
                .with(Setting.CACHE_SIZE, "--cache-size", cacheSize)
                .with(Setting.REQUEST_TIMEOUT, "--request-timeout", requestTimeout)
                .with(Setting.FUSE_LIBRARY, "--fuse-library", fuseLibrary == null ? null : Choice.label(fuseLibrary))
                .with(Setting.STOP_TIMEOUT, "--stop-timeout", stopTimeout)
                .with(Setting.LISTEN, "--listen", listen)
                .with(Setting.ADVERTISE, "--advertise", advertise)
                .with(Setting.METRICS, "--metrics", metrics)
                .with(Setting.LOG_FORMAT, "--log-format", logFormat == null ? null : Choice.label(logFormat))
                .with(Setting.LOG_LEVEL, "--log-level", logLevel == null ? null : Choice.label(logLevel));
    }

    /** Until it is to stop. */
    private int serve(
            RunSettings settings,
            @Nullable InetSocketAddress metricsAddress,
            List<ControlMount> mounts,
            Identity identity,
            EventLog events)
            throws NodeException, IOException {
        Node node = new Node(settings, identity);
        stopOnSignals(node);
        NodeControl handler = new NodeControl(node);
        Supervisor supervisor = Supervisor.of(System.getenv());
        boolean clean = false;
        try (ControlSocket socket = ControlSocket.prepare(settings.directory().path());
                ControlServer server = ControlServer.start(socket.path(), handler);
                StreamControlServer parent = control == null ? null : serveParent(node, handler, events);
                MetricsServer metrics = metricsAddress == null ? null : serveMetrics(node, metricsAddress)) {
            try {
                for (ControlMount mount : mounts) {
                    node.mount(mount);
                }
                node.ready();
                if (exitOnUnmount) {
                    node.stopWithLastMount();
                }
                List<String> points =
                        mounts.stream().map(ControlMount::mountPoint).toList();
                log.atInfo()
                        .addKeyValue("tree", node.treeId().toHex())
                        .addKeyValue("mounts", node.mounts().size())
                        .addKeyValue("mount", String.join(":", points))
                        .log("node_ready");
                supervisor.ready(points.isEmpty() ? "no mounts" : "mounted on " + String.join(", ", points));
                supervisor.keepAlive(node::mounts);
                scrubLater(node, settings.scrubBytesPerSecond());
                while (!node.awaitStopRequest()) {
                    node.bringUpToDate();
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            } finally {
                supervisor.stopping();
                log.atInfo().log("node_stopping");
                endBy(settings.stopTimeout());
                clean = node.stop(settings.stopTimeout().dividedBy(2)).isEmpty();
            }
            log.atInfo().addKeyValue("clean", clean).log("node_stopped");
        }
        return (clean ? ExitCode.OK : ExitCode.FAILED).code();
    }

    /** A node without its metrics serves its tree all the same: null, after an event that says why. */
    private static @Nullable MetricsServer serveMetrics(Node node, InetSocketAddress address) {
        try {
            return MetricsServer.start(node, address);
        } catch (IOException e) {
            log.atError()
                    .addKeyValue("address", address)
                    .addKeyValue("reason", e.getMessage())
                    .log("metrics_refused");
            return null;
        }
    }

    private StreamControlServer serveParent(Node node, NodeControl handler, EventLog events) {
        StreamControlServer parent = new StreamControlServer(System.in, System.out, handler);
        events.listen(parent::publish);
        Thread reader = new Thread(
                () -> {
                    try {
                        parent.serve();
                    } catch (IOException e) {
                        log.atWarn().addKeyValue("reason", e.getMessage()).log("control_refused");
                    } finally {
                        if (!stay) {
                            node.requestStop("stdin_closed");
                        }
                    }
                },
                "control-parent");
        reader.setDaemon(true);
        reader.start();
        return parent;
    }

    /** Not at once: a node that was just started has better things to do. */
    private static void scrubLater(Node node, long bytesPerSecond) {
        if (bytesPerSecond > 0) {
            CompletableFuture.delayedExecutor(SCRUB_DELAY_MINUTES, TimeUnit.MINUTES)
                    .execute(() -> node.scrubFromNowOn(bytesPerSecond));
        }
    }

    private static void stopOnSignals(Node node) {
        for (String name : List.of("TERM", "INT", "HUP")) {
            Signal.handle(
                    new Signal(name),
                    signal -> node.requestStop("signal_" + signal.getName().toLowerCase(Locale.ROOT)));
        }
    }

    /** A disk that does not answer must not hold up the machine's shutdown. */
    private static void endBy(Duration timeout) {
        Thread watchdog = new Thread(
                () -> {
                    try {
                        Thread.sleep(timeout.toMillis());
                    } catch (InterruptedException e) {
                        return;
                    }
                    log.atError()
                            .addKeyValue("timeout_millis", timeout.toMillis())
                            .log("stop_timed_out");
                    Runtime.getRuntime().halt(ExitCode.TIMED_OUT.code());
                },
                "stop-watchdog");
        watchdog.setDaemon(true);
        watchdog.start();
    }
}
