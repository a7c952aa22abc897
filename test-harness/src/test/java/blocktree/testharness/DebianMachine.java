package blocktree.testharness;

import static java.nio.charset.StandardCharsets.UTF_8;

import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/**
 * A Debian of its own, with systemd as its first process, on a root that is made once and never written to: what a machine writes goes to a layer above it,
 * which goes with the machine. It has no network but its loopback.
 */
final class DebianMachine implements AutoCloseable {
    private static final Path TARGET = Path.of("target").toAbsolutePath();
    private static final String RELEASE = "bookworm";
    private static final String PACKAGES =
            "systemd,systemd-sysv,dbus,fuse3,libfuse2,openjdk-17-jre-headless,procps,adduser,man-db,init-system-helpers";
    private static final Duration ROOT_TIMEOUT = Duration.ofMinutes(8);
    private static final Duration BOOT_TIMEOUT = Duration.ofMinutes(3);
    private static final Duration OFF_TIMEOUT = Duration.ofMinutes(2);

    private static final Set<DebianMachine> OPEN = ConcurrentHashMap.newKeySet();

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> List.copyOf(OPEN).forEach(DebianMachine::close)));
    }

    private final Path folder;
    private @Nullable Process nspawn;
    private long leader;

    private DebianMachine(Path folder) {
        this.folder = folder;
        OPEN.add(this);
    }

    /** A machine that is off. */
    static DebianMachine installed() throws Exception {
        Program.require("mmdebstrap", "systemd-nspawn", "nsenter");
        return on(base().toString());
    }

    /** A machine that is off, with all that {@code other} has written, which is off too and never boots again, but has to be closed after this one. */
    static DebianMachine copyOf(DebianMachine other) throws Exception {
        Program.shell(other.folder, "! mountpoint -q root || umount root").run();
        return on(other.folder.resolve("upper") + ":" + base());
    }

    private static DebianMachine on(String layers) throws IOException {
        DebianMachine machine = new DebianMachine(Files.createTempDirectory("blocktree-machine-"));
        Program.shell(
                        machine.folder,
                        "mkdir upper work root && mount -t overlay overlay -o lowerdir=%s,upperdir=upper,workdir=work root"
                                .formatted(layers))
                .run();
        return machine;
    }

    /** Kept for the next run of the tests; {@code mvn clean} takes it away. */
    private static synchronized Path base() throws IOException {
        Path base = TARGET.resolve("debian-" + RELEASE);
        if (!Files.isDirectory(base)) {
            Path unfinished = TARGET.resolve("debian-unfinished");
            Program.shell(
                            TARGET,
                            "rm -rf %s && mmdebstrap --quiet --variant=minbase --include=%s %s %s"
                                    .formatted(unfinished, PACKAGES, RELEASE, unfinished))
                    .within(ROOT_TIMEOUT)
                    .run();
            Files.move(unfinished, base);
        }
        return base;
    }

    /** The machine's files, seen from outside. */
    Path root() {
        return folder.resolve("root");
    }

    /** Starts the machine, and waits until systemd has started what it was to start, or has failed to. */
    void boot(boolean withFuse) throws Exception {
        List<String> command = new ArrayList<>(List.of(
                "systemd-nspawn",
                "--quiet",
                "--directory=" + root(),
                "--machine=" + folder.getFileName(),
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--boot"));
        if (withFuse) {
            // With the permissions that udev gives it, which it has not got everywhere outside.
            Program.shell(folder, "test -e fuse || mknod --mode=666 fuse c 10 229")
                    .run();
            command.addAll(
                    List.of("--bind=" + folder.resolve("fuse") + ":/dev/fuse", "--property=DeviceAllow=/dev/fuse rw"));
        }
        Path console = folder.resolve("console");
        Process started = Program.in(folder, command.toArray(String[]::new))
                .start(ProcessBuilder.Redirect.appendTo(console.toFile()));
        nspawn = started;
        Await.until(BOOT_TIMEOUT, "the end of the machine's start", () -> {
            if (!started.isAlive()) {
                throw new AssertionError("no machine: " + Files.readString(console));
            }
            // Its first child is a helper that goes, the next one the machine's first process.
            leader =
                    started.children().mapToLong(ProcessHandle::pid).findFirst().orElse(0);
            return leader != 0
                    && result("systemctl is-system-running --wait").output().matches("(running|degraded)\\s*");
        });
    }

    /** Runs a line of bash in the machine, as its root; it must succeed. */
    String run(String script) {
        return in(script).run();
    }

    Program.Result result(String script) {
        return in(script).result();
    }

    private Program in(String script) {
        return Program.in(
                folder,
                "nsenter",
                "--target=" + leader,
                "--all",
                "env",
                "--ignore-environment",
                "PATH=/usr/sbin:/usr/bin",
                "LC_ALL=C.UTF-8",
                "HOME=/root",
                "DEBIAN_FRONTEND=noninteractive",
                "bash",
                "-euo",
                "pipefail",
                "-c",
                script);
    }

    /** As its power button does. */
    void powerOff() throws Exception {
        Process running = nspawn;
        if (running != null) {
            running.destroy(); // systemd-nspawn passes it on
            if (!running.waitFor(OFF_TIMEOUT.toMillis(), TimeUnit.MILLISECONDS)) {
                throw new AssertionError("the machine does not go off: "
                        + new String(Files.readAllBytes(folder.resolve("console")), UTF_8));
            }
            nspawn = null;
        }
    }

    @Override
    public void close() {
        if (OPEN.remove(this)) {
            if (nspawn != null) {
                ProcessHandle.of(leader).ifPresent(ProcessHandle::destroyForcibly);
                nspawn.destroyForcibly();
            }
            Program.shell(
                            Path.of("/"),
                            "for i in $(seq 50); do mountpoint -q %1$s || break; umount %1$s 2>/dev/null || sleep 0.1; done; rm -rf %2$s"
                                    .formatted(root(), folder))
                    .run();
        }
    }
}
