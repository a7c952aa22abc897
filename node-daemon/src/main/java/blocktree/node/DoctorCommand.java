package blocktree.node;

import blocktree.btmsg.ControlMount;
import blocktree.btmsg.ControlReply;
import blocktree.btmsg.ControlRequest;
import blocktree.crypto.CryptoException;
import blocktree.crypto.KeyFile;
import blocktree.fuse.FuseMount;
import blocktree.fuse.MountException;
import blocktree.fuse.MountOptions;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileStore;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
        name = "doctor",
        description = {
            "Look at this machine and this node for what keeps a tree from being mounted, or puts it at risk, and say how to mend it.",
            "Changes nothing. Exit code 0: nothing is in the way; 1: something is, see the lines that begin with FAIL."
        },
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class DoctorCommand implements Callable<Integer> {
    private static final int JAVA_FAST = 25;
    private static final long OPEN_FILES_MIN = 4096;
    private static final long MEMORY_BYTES_MIN = 700L << 20;
    private static final long DISK_BYTES_MIN = 1L << 30;
    /** Nobody ran this program before it was written. */
    private static final Instant WRITTEN = Instant.parse("2026-01-01T00:00:00Z");

    private static final Duration CLOCK_SKEW_MAX = Duration.ofMinutes(5);
    private static final Set<String> MEMORY_FILE_SYSTEMS = Set.of("tmpfs", "ramfs");
    private static final Set<String> NETWORK_FILE_SYSTEMS =
            Set.of("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph");
    private static final Pattern OPEN_FILES = Pattern.compile("(?m)^Max open files\\s+(\\S+)");
    private static final Pattern MEMORY = Pattern.compile("(?m)^MemAvailable:\\s+(\\d+) kB");

    @Mixin
    private NodeOptions node;

    @Mixin
    private Output output;

    private enum Verdict {
        OK,
        WARN,
        FAIL
    }

    /** @param remedy empty when all is well */
    private record Finding(Verdict verdict, String subject, String found, String remedy) {}

    private final List<Finding> findings = new ArrayList<>();

    private void ok(String subject, String found) {
        findings.add(new Finding(Verdict.OK, subject, found, ""));
    }

    private void warn(String subject, String found, String remedy) {
        findings.add(new Finding(Verdict.WARN, subject, found, remedy));
    }

    private void fail(String subject, String found, String remedy) {
        findings.add(new Finding(Verdict.FAIL, subject, found, remedy));
    }

    @Override
    public Integer call() {
        checkJava();
        checkLimits();
        checkMemory();
        checkClock();
        Settings settings = checkConfiguration();
        if (settings != null) {
            ControlReply.Status running = checkNode(settings);
            checkFuse(settings);
            checkMountPoints(settings, running);
            checkDataDirectory(settings.dataDirectory());
        }
        for (Finding finding : findings) {
            Map<String, Object> json = new LinkedHashMap<>();
            json.put("verdict", Choice.label(finding.verdict));
            json.put("subject", finding.subject);
            json.put("found", finding.found);
            json.put("do", finding.remedy.isEmpty() ? null : finding.remedy);
            output.print(
                    json,
                    "%-4s  %-14s  %s%s"
                            .formatted(
                                    finding.verdict == Verdict.OK ? "ok" : finding.verdict,
                                    finding.subject,
                                    finding.found,
                                    finding.remedy.isEmpty() ? "" : "\n      do:             " + finding.remedy));
        }
        boolean failed = findings.stream().anyMatch(finding -> finding.verdict == Verdict.FAIL);
        return (failed ? ExitCode.FAILED : ExitCode.OK).code();
    }

    private void checkJava() {
        int version = Runtime.version().feature();
        String found = "Java " + version + " in " + System.getProperty("java.home");
        if (version < JAVA_FAST) {
            warn("java", found, "install Java " + JAVA_FAST + ": encryption is twice as fast there");
        } else {
            ok("java", found);
        }
    }

    private void checkLimits() {
        Matcher limit = OPEN_FILES.matcher(text(Path.of("/proc/self/limits")));
        if (!limit.find()) {
            return;
        }
        String soft = limit.group(1);
        if (!soft.equals("unlimited") && Long.parseLong(soft) < OPEN_FILES_MIN) {
            warn(
                    "open files",
                    "at most " + soft,
                    "raise it: ulimit -n " + OPEN_FILES_MIN + ", or LimitNOFILE= in the unit");
        } else {
            ok("open files", "at most " + soft);
        }
    }

    private void checkMemory() {
        Matcher available = MEMORY.matcher(text(Path.of("/proc/meminfo")));
        if (!available.find()) {
            return;
        }
        long bytes = Long.parseLong(available.group(1)) << 10;
        String found = (bytes >> 20) + " MiB available";
        if (bytes < MEMORY_BYTES_MIN) {
            warn("memory", found, "a node may take 600 MiB: end something else, or lower cache_size and dirty_limit");
        } else {
            ok("memory", found);
        }
    }

    private void checkClock() {
        Instant now = Instant.now();
        if (now.isBefore(WRITTEN)) {
            fail(
                    "clock",
                    "it says " + now + ", before this program was written",
                    "set the clock, and let it be kept right: timedatectl set-ntp true");
        } else {
            ok("clock", now.toString());
        }
    }

    private @Nullable Settings checkConfiguration() {
        try {
            Settings settings = node.settings();
            Path file = settings.file();
            ok("configuration", file == null ? "none, the defaults count" : file.toString());
            if (settings.passedOver() != null) {
                warn(
                        "configuration",
                        settings.passedOver() + " is for another data directory, and does not count",
                        "leave out --data-dir, or name the file with --config");
            }
            return settings;
        } catch (NodeException e) {
            fail("configuration", e.found(), e.remedy());
            return null;
        }
    }

    private ControlReply.@Nullable Status checkNode(Settings settings) {
        Path data = settings.dataDirectory();
        try {
            Optional<NodeClient> client = NodeClient.connect(data);
            if (client.isEmpty()) {
                ok("node", "none runs on " + data);
                return null;
            }
            try (NodeClient connected = client.get()) {
                ControlReply.Status status = (ControlReply.Status) connected.call(new ControlRequest.Status());
                String found = "process " + status.pid() + " runs on " + data + ": " + status.state();
                if (!Health.isReady(status.state())) {
                    fail("node", found, "look at its log for what came before; btnode status shows its numbers");
                } else if (!status.nodeVersion().equals(Version.NAME)) {
                    warn(
                            "node",
                            found + ", version " + status.nodeVersion() + "; this program is " + Version.NAME,
                            "restart it");
                } else if (status.counters().getOrDefault("store.blocks_corrupt", 0L) > 0) {
                    fail(
                            "node",
                            found + ", and has read damaged blocks since it started",
                            "run btnode fsck, check the disk, put back the files that it names");
                } else {
                    ok("node", found);
                }
                return status;
            }
        } catch (NodeException e) {
            fail("node", e.found(), e.remedy());
            return null;
        }
    }

    private void checkFuse(Settings settings) {
        boolean others = settings.mounts().stream().anyMatch(ControlMount::allowOther);
        try {
            FuseMount.checkMachine(MountOptions.defaults().withAllowOther(others));
            ok("fuse", "this user can mount");
        } catch (MountException e) {
            fail("fuse", e.found(), e.remedy());
        }
    }

    private void checkMountPoints(Settings settings, ControlReply.@Nullable Status running) {
        for (ControlMount mount : settings.mounts()) {
            boolean mounted = running != null
                    && running.mounts().stream()
                            .anyMatch(each -> each.mountPoint().equals(mount.mountPoint()));
            if (mounted) {
                ok("mount point", mount.mountPoint() + " shows the tree");
                continue;
            }
            try {
                FuseMount.checkMountPoint(Path.of(mount.mountPoint()));
                ok("mount point", mount.mountPoint() + " is free");
            } catch (MountException e) {
                fail("mount point", e.found(), e.remedy());
            }
        }
    }

    private void checkDataDirectory(Path data) {
        DataDirectory directory;
        try {
            directory = DataDirectory.open(data);
        } catch (NodeException e) {
            fail("data directory", e.found(), e.remedy());
            return;
        }
        if (Files.isWritable(data)) {
            ok("data directory", data.toString());
        } else {
            warn(
                    "data directory",
                    data + " cannot be written by this user",
                    "let the node's user own it; the tree can be read: btnode run --read-only");
        }
        checkDisk(data);
        checkTimes(data);
        checkKey(
                "node key",
                directory.nodeKey(),
                directory.settings().nodeKey() != NodeSettings.NodeKeyProtection.CREDENTIAL);
        if (Files.exists(directory.rootKey())) {
            warn(
                    "root key",
                    "it lies in the data directory: " + directory.rootKey(),
                    "keep a copy elsewhere (btnode key backup), apart from its passphrase; the node does not need it");
        }
    }

    private void checkDisk(Path data) {
        try {
            FileStore disk = Files.getFileStore(data);
            long usable = disk.getUsableSpace();
            String found = "%s, %d MiB free of %d".formatted(disk.type(), usable >> 20, disk.getTotalSpace() >> 20);
            if (MEMORY_FILE_SYSTEMS.contains(disk.type())) {
                warn("disk", found, "nothing there outlives the machine's next start: use a disk");
            } else if (NETWORK_FILE_SYSTEMS.contains(disk.type())) {
                warn("disk", found, "locks and syncs of a network file system may not hold: use a local disk");
            } else if (usable < DISK_BYTES_MIN) {
                warn("disk", found, "make room: a node leaves up to 512 MiB free, and writers get ENOSPC below that");
            } else {
                ok("disk", found);
            }
        } catch (IOException e) {
            fail("disk", Failures.reason(e), "check the disk and the permissions of " + data);
        }
    }

    /** A clock that was put back shows by files of the store that are from the future. */
    private void checkTimes(Path data) {
        try (Stream<Path> files = Files.list(data.resolve(DataDirectory.TREE))) {
            Instant latest = Instant.now().plus(CLOCK_SKEW_MAX);
            for (Path file : files.toList()) {
                Instant modified = modified(file);
                if (modified.isAfter(latest)) {
                    warn(
                            "clock",
                            "the store was last written at " + modified + ", which is still to come",
                            "set the clock, and let it be kept right: timedatectl set-ntp true");
                    return;
                }
            }
        } catch (UncheckedIOException e) {
            fail("store", String.valueOf(e.getMessage()), "check the disk and the permissions of " + data);
        } catch (IOException e) {
            fail("store", Failures.reason(e), "check the disk and the permissions of " + data);
        }
    }

    /** Of a file that a running node has taken away meanwhile: long ago. */
    private static Instant modified(Path file) throws IOException {
        try {
            return Files.getLastModifiedTime(file).toInstant();
        } catch (NoSuchFileException e) {
            return Instant.EPOCH;
        }
    }

    private void checkKey(String subject, Path path, boolean expected) {
        if (!expected && !Files.exists(path)) {
            ok(subject, "handed over by systemd");
            return;
        }
        try {
            KeyFile key = KeyFile.read(path);
            ok(subject, path + (key.isProtected() ? ", under a passphrase" : ", without a passphrase"));
        } catch (CryptoException e) {
            fail(subject, String.valueOf(e.getMessage()), "put back the copy of the key file that you keep elsewhere");
        }
    }

    private static String text(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            return "";
        }
    }
}
