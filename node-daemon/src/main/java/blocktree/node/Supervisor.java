package blocktree.node;

import blocktree.btmsg.ServiceNotification;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The service manager that runs this process, if one does: told how the process is, as sd_notify(3) and sd_watchdog_enabled(3) say. */
final class Supervisor {
    private static final Logger log = LoggerFactory.getLogger(Supervisor.class);
    private static final Path STANDARD_ERROR = Path.of("/proc/self/fd/2");
    /** Of the time after which the manager takes the process for dead. */
    private static final int BEATS = 3;

    /** Null when nobody listens. */
    private final @Nullable String socket;
    /** Zero when nobody waits for it. */
    private final Duration watchdog;

    private Supervisor(@Nullable String socket, Duration watchdog) {
        this.socket = socket;
        this.watchdog = watchdog;
    }

    static Supervisor of(Map<String, String> environment) {
        String socket = environment.get("NOTIFY_SOCKET");
        return new Supervisor(socket == null || socket.isEmpty() ? null : socket, watchdog(environment));
    }

    private static Duration watchdog(Map<String, String> environment) {
        String micros = environment.getOrDefault("WATCHDOG_USEC", "");
        String pid = environment.getOrDefault("WATCHDOG_PID", "");
        boolean meant = pid.isEmpty()
                || pid.equals(Long.toString(ProcessHandle.current().pid()));
        return meant && micros.matches("\\d{1,15}") ? Duration.ofNanos(Long.parseLong(micros) * 1_000) : Duration.ZERO;
    }

    /** Whether standard error goes to the journal, which keeps times and levels by itself: systemd names its stream in {@code JOURNAL_STREAM}. */
    static boolean isJournal(Map<String, String> environment) {
        String stream = environment.get("JOURNAL_STREAM");
        if (stream == null) {
            return false;
        }
        try {
            Map<String, Object> file = Files.readAttributes(STANDARD_ERROR, "unix:dev,ino");
            return stream.equals(file.get("dev") + ":" + file.get("ino"));
        } catch (IOException | RuntimeException e) {
            return false;
        }
    }

    void ready(String status) {
        send("READY=1\nSTATUS=" + status);
    }

    void stopping() {
        send("STOPPING=1\nSTATUS=writing everything to disk");
    }

    /** Says from now on, for as long as {@code sign} comes back, that the process is alive. */
    void keepAlive(Runnable sign) {
        if (socket == null || watchdog.isZero()) {
            return;
        }
        Thread thread = new Thread(
                () -> {
                    try {
                        while (true) {
                            sign.run();
                            send("WATCHDOG=1");
                            Thread.sleep(Math.max(1, watchdog.toMillis() / BEATS));
                        }
                    } catch (InterruptedException e) {
                        // the process ends
                    }
                },
                "supervisor-watchdog");
        thread.setDaemon(true);
        thread.start();
    }

    private void send(String state) {
        if (socket != null && !ServiceNotification.send(socket, state)) {
            log.atWarn()
                    .addKeyValue("socket", socket)
                    .addKeyValue("state", state)
                    .log("notify_failed");
        }
    }
}
