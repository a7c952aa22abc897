package blocktree.node;

import blocktree.btmsg.ControlServer;
import blocktree.btmsg.ServiceNotification;
import blocktree.btmsg.StreamControlServer;
import blocktree.crypto.Identity;
import ch.qos.logback.classic.Level;
import java.io.IOException;
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
    private DataDirectoryOption directory;

    @Option(
            names = "--mount",
            paramLabel = "DIR",
            description = "Mount the tree on this empty directory. May be given several times.")
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
            description = "Keep earlier versions that long, such as 12h or 7d. Default: retention in btnode.conf.")
    private @Nullable String retention;

    @Option(
            names = "--dirty-limit",
            paramLabel = "SIZE",
            description =
                    "Most data that may wait in memory to be written, such as 64M. Default: dirty_limit in btnode.conf.")
    private @Nullable String dirtyLimit;

    @Option(
            names = "--cache-size",
            paramLabel = "SIZE",
            description = "Memory for the store's caches, such as 64M. Default: cache_size in btnode.conf.")
    private @Nullable String cacheSize;

    @Option(
            names = "--accept-loss",
            description =
                    "Open a store that has lost acknowledged writes, and take what is there for the truth from now on.")
    private boolean acceptLoss;

    @Option(
            names = "--request-timeout",
            paramLabel = "TIME",
            defaultValue = "2m",
            description =
                    "When the disk does not answer for that long, a program that waits for the mount gets ETIMEDOUT. Default: ${DEFAULT-VALUE}.")
    private String requestTimeout = "2m";

    @Option(
            names = "--stop-timeout",
            paramLabel = "TIME",
            defaultValue = "60s",
            description = "When stopping takes longer, the process ends with exit code 11. Default: ${DEFAULT-VALUE}.")
    private String stopTimeout = "60s";

    @Option(
            names = "--log-format",
            paramLabel = "text|json",
            defaultValue = "text",
            description = "One event a line on standard error. Default: ${DEFAULT-VALUE}.")
    private EventLog.Format logFormat = EventLog.Format.TEXT;

    @Option(
            names = "--log-level",
            paramLabel = "error|warn|info|debug",
            defaultValue = "info",
            description = "Default: ${DEFAULT-VALUE}.")
    private LogLevel logLevel = LogLevel.INFO;

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
        RunSettings settings = RunSettings.of(
                DataDirectory.open(directory.path()),
                retention,
                dirtyLimit,
                cacheSize,
                mountFlags.isReadOnly(),
                acceptLoss,
                duration("--request-timeout", requestTimeout),
                duration("--stop-timeout", stopTimeout));
        EventLog events = EventLog.start(logFormat, Level.toLevel(logLevel.name()));
        DataDirectory data = settings.directory();
        try (DataDirectory.Lock lock = data.lock(settings.readOnly());
                Identity identity = NodeKeys.unlockNode(data, passphrase, System.err)) {
            if (lock.isShared() && NodeClient.connect(data.path()).isPresent()) {
                throw data.taken("");
            }
            log.atInfo()
                    .addKeyValue("version", Version.NAME)
                    .addKeyValue("java", Runtime.version())
                    .addKeyValue("pid", ProcessHandle.current().pid())
                    .addKeyValue("data", data.path())
                    .log("node_starting");
            return serve(settings, identity, events);
        } catch (IOException e) {
            throw Failures.of(
                    "to run the node of " + data.path(), e, "check the data directory's disk and permissions");
        }
    }

    private int serve(RunSettings settings, Identity identity, EventLog events) throws NodeException, IOException {
        Node node = new Node(settings, OpenTree.open(settings, identity));
        stopOnSignals(node);
        NodeControl handler = new NodeControl(node);
        boolean clean = false;
        try (ControlSocket socket = ControlSocket.prepare(settings.directory().path());
                ControlServer server = ControlServer.start(socket.path(), handler);
                StreamControlServer parent = control == null ? null : serveParent(node, handler, events)) {
            try {
                for (Path mountPoint : mountPoints) {
                    node.mount(mountFlags.at(mountPoint));
                }
                node.ready();
                if (exitOnUnmount) {
                    node.stopWithLastMount();
                }
                log.atInfo()
                        .addKeyValue("tree", node.tree().id().toHex())
                        .addKeyValue("mounts", node.mounts().size())
                        .addKeyValue(
                                "mount",
                                String.join(
                                        ":",
                                        mountPoints.stream().map(Path::toString).toList()))
                        .log("node_ready");
                notifySupervisor("READY=1");
                scrubLater(node.tree(), settings.directory().settings().scrubBytesPerSecond());
                node.awaitStopRequest();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            } finally {
                notifySupervisor("STOPPING=1");
                log.atInfo().log("node_stopping");
                endBy(settings.stopTimeout());
                clean = node.stop(settings.stopTimeout().dividedBy(2));
            }
            log.atInfo().addKeyValue("clean", clean).log("node_stopped");
        }
        return (clean ? ExitCode.OK : ExitCode.FAILED).code();
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
    private static void scrubLater(OpenTree tree, long bytesPerSecond) {
        if (bytesPerSecond > 0) {
            CompletableFuture.delayedExecutor(SCRUB_DELAY_MINUTES, TimeUnit.MINUTES)
                    .execute(() -> tree.startScrub(bytesPerSecond));
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

    private static void notifySupervisor(String state) {
        String socket = System.getenv("NOTIFY_SOCKET");
        if (socket != null && !socket.isEmpty() && !ServiceNotification.send(socket, state)) {
            log.atWarn()
                    .addKeyValue("socket", socket)
                    .addKeyValue("state", state)
                    .log("notify_failed");
        }
    }

    private static Duration duration(String option, String text) throws NodeException {
        try {
            return Duration.ofMillis(Quantity.parseMillis(text));
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE,
                    "to read the option " + option,
                    String.valueOf(e.getMessage()),
                    "see btnode run --help",
                    e);
        }
    }
}
