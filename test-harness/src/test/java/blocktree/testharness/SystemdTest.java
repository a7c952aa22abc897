package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The Debian package on a Debian of its own, under its systemd. */
@Timeout(value = 10, unit = TimeUnit.MINUTES)
class SystemdTest {
    private static final Path SOURCES = Path.of("..").toAbsolutePath().normalize();
    private static final Duration BUILD_TIMEOUT = Duration.ofMinutes(8);
    private static final Duration RESTART_TIMEOUT = Duration.ofSeconds(60);

    private static Path packages;
    private static Path current;
    /** With the package, and off: the tests that are not about installing it start from there. */
    private static DebianMachine withPackage;

    @BeforeAll
    static void buildPackage() throws Exception {
        packages = Files.createTempDirectory("blocktree-packages-");
        current = build(SOURCES, packages);
        withPackage = DebianMachine.installed();
        withPackage.boot(true);
        install(withPackage, current);
        withPackage.powerOff();
    }

    @AfterAll
    static void deletePackages() {
        withPackage.close();
        Program.shell(Path.of("/"), "rm -rf " + packages).run();
    }

    private static Path build(Path sources, Path output) {
        Program script =
                Program.shell(sources, "bin/btnode-package --output " + output).within(BUILD_TIMEOUT);
        // What the tests run against is not built anew under them.
        List<String> lines = (sources.equals(SOURCES) ? script.with("BTNODE_NO_BUILD", "1") : script)
                .run()
                .lines()
                .toList();
        return Path.of(lines.get(lines.size() - 1));
    }

    /** The same package under another version. */
    private static Path later(String version) {
        Path path = packages.resolve("later.deb");
        Program.shell(
                        packages,
                        "dpkg-deb -R %s later; sed -i 's/^Version: .*/Version: %s/' later/DEBIAN/control; dpkg-deb -Znone -b later %s"
                                .formatted(current, version, path))
                .run();
        return path;
    }

    // ---- the package

    @Test
    void twoBuildsAreTheSameToTheByte() throws Exception {
        Path other = Files.createDirectory(packages.resolve("elsewhere"));
        Program.shell(SOURCES, "umask 077; tar c --exclude=target --exclude=.git . | tar x -C %s".formatted(other))
                .run();
        Path rebuilt = build(other, packages.resolve("rebuilt"));
        assertEquals(
                -1,
                Files.mismatch(current, rebuilt),
                () -> "differ in: "
                        + Program.shell(
                                        packages,
                                        "for p in %s %s; do rm -rf x; dpkg-deb -R $p x; (cd x; find . -type f | sort | xargs md5sum) > $(basename $(dirname $p)).sums; done; diff *.sums || true"
                                                .formatted(current, rebuilt))
                                .run());
    }

    @Test
    void dataOutlivesUpgradeRemovalAndPurge() throws Exception {
        try (DebianMachine machine = DebianMachine.installed()) {
            machine.boot(true);
            String said = install(machine, current);
            assertTrue(said.contains("btnode init") && said.contains("systemctl enable --now btnode"), said);
            assertEquals(
                    "disabled",
                    machine.result("systemctl is-enabled btnode").output().strip());
            found(machine);
            machine.run("systemctl start btnode; echo kept > /mnt/tree/file; echo '# mine' >> /etc/btnode/btnode.toml");
            String firstPid = mainPid(machine);

            said = install(machine, later("99.0"));
            assertFalse(said.contains("btnode init"), said);
            assertEquals("99.0", machine.run("dpkg-query -W -f '${Version}' btnode"));
            assertEquals("kept\n", machine.run("cat /mnt/tree/file"));
            assertNotEquals(firstPid, mainPid(machine), "the new version runs");
            assertTrue(machine.run("cat /etc/btnode/btnode.toml").contains("# mine"));
            machine.run("man -w btnode; man btnode | grep -q btnode");

            machine.run("systemctl enable btnode; apt-get remove -qq -y btnode");
            assertEquals("", machine.run("findmnt -rn -o TARGET -t fuse.blocktree || true"));
            assertEquals("", machine.run("pgrep -u btnode || true"));
            machine.run("test -f /var/lib/btnode/node.key; test -f /etc/btnode/btnode.toml; test ! -e /usr/bin/btnode");
            assertEquals("", machine.run("ls -A /usr/lib/btnode 2>/dev/null || true"), "nothing is left there");

            install(machine, current);
            machine.run("systemctl start btnode");
            assertEquals("kept\n", machine.run("cat /mnt/tree/file"));

            machine.run("apt-get purge -qq -y btnode");
            machine.run("test -f /var/lib/btnode/node.key; test ! -e /etc/btnode");
            assertEquals(
                    "btnode", machine.run("stat -c %U /var/lib/btnode/node.key").strip());

            install(machine, current);
            machine.run("echo btnode btnode/purge-data boolean true | debconf-set-selections");
            machine.run("systemctl start btnode; cat /mnt/tree/file; apt-get purge -qq -y btnode");
            machine.run("test ! -e /var/lib/btnode");
        }
    }

    // ---- the service

    @Test
    void theTreeIsThereAtEachStartAndAfterACrash() throws Exception {
        try (DebianMachine machine = DebianMachine.copyOf(withPackage)) {
            machine.boot(true);
            found(machine);
            machine.run("systemctl enable --now btnode");
            requireService(machine);
            machine.run(
                    "install -d -o nobody /mnt/tree/home; runuser -u nobody -- sh -c 'echo mine > /mnt/tree/home/file'");

            // What the journal has of it: one event a line, with a level.
            String journal = machine.run("journalctl -u btnode -o json --no-pager _SYSTEMD_UNIT=btnode.service");
            List<String> events = journal.lines().toList();
            assertFalse(events.isEmpty());
            for (String event : events) {
                assertTrue(event.matches(".*\"MESSAGE\":\"event=[a-z_]+[ \"].*"), event);
                assertTrue(event.matches(".*\"PRIORITY\":\"[3-7]\".*"), event);
            }
            assertTrue(journal.contains("event=node_ready"), journal);
            assertFalse(journal.contains("library_message"), journal);

            machine.powerOff();
            machine.boot(true);
            requireService(machine);
            assertEquals("mine\n", machine.run("cat /mnt/tree/home/file"));

            String before = mainPid(machine);
            machine.run("echo durable > /mnt/tree/durable; sync /mnt/tree/durable; kill -KILL " + before);
            Await.until(
                    RESTART_TIMEOUT,
                    "a new process serves the tree",
                    () -> !mainPid(machine).equals(before)
                            && machine.result("systemctl is-active btnode")
                                    .output()
                                    .equals("active\n"));
            requireService(machine);
            assertEquals("durable\n", machine.run("cat /mnt/tree/durable"));
            String afterwards = machine.run("journalctl -u btnode --no-pager");
            assertFalse(afterwards.contains("cannot stat"), afterwards);

            // By a user who may not write to the directory below the mount.
            machine.run(
                    "systemd-run --quiet --uid=nobody bash -c "
                            + "'cd /; for i in $(seq 100000); do echo $i > /mnt/tree/home/load.$i || exit 0; dd if=/dev/zero of=/mnt/tree/home/zeros bs=1M count=5 status=none || exit 0; done'");
            Await.until(
                    RESTART_TIMEOUT,
                    "load",
                    () -> machine.result("test -e /mnt/tree/home/load.20").exitCode() == 0);
            machine.run("systemctl stop btnode");
            assertEquals(
                    "inactive",
                    machine.result("systemctl is-active btnode").output().strip());
            assertTrue(machine.run("journalctl -u btnode --no-pager").contains("event=node_stopped clean=true"));
            assertEquals("", machine.run("findmnt -rn -o TARGET -t fuse.blocktree || true"));
            machine.run("systemctl start btnode");
            assertEquals("20\n", machine.run("cat /mnt/tree/home/load.20"));
            machine.run("systemctl stop btnode");
            machine.run("runuser -u btnode -- btnode fsck");

            // The other way to mount it: the node works as the owner of the data, whoever mounts.
            machine.run("mkdir /mnt/other; mount -t btnode -o allow_other /var/lib/btnode /mnt/other");
            assertEquals("20\n", machine.run("cat /mnt/other/home/load.20"));
            assertEquals("btnode", machine.run("ps -o user= -C java").strip());
            machine.run("umount /mnt/other");
            Await.until(
                    RESTART_TIMEOUT,
                    "the end of the node that mount has started",
                    () -> machine.result("pgrep -u btnode java").exitCode() != 0);
        }
    }

    @Test
    void aStartThatFailsSaysWhyAndHoldsUpNothing() throws Exception {
        try (DebianMachine machine = DebianMachine.copyOf(withPackage)) {
            machine.boot(true);
            String none = failedStart(machine);
            assertTrue(none.contains("holds no node") && none.contains("btnode init"), none);
            // Root's own way to the same mistake.
            Program.Result asRoot = machine.result("btnode init --passphrase-file <(echo correct horse)");
            assertEquals(8, asRoot.exitCode(), asRoot.output());
            assertTrue(asRoot.output().contains("runuser -u btnode"), asRoot.output());

            found(machine);
            machine.run(
                    "echo 'retentoin = \"1d\"' | cat - /etc/btnode/btnode.toml > /tmp/t; cp /tmp/t /etc/btnode/btnode.toml; systemctl enable btnode 2>&1");
            machine.powerOff();
            long begun = System.nanoTime();
            machine.boot(true);
            long seconds = Duration.ofNanos(System.nanoTime() - begun).toSeconds();
            assertEquals(
                    "degraded",
                    machine.result("systemctl is-system-running").output().strip());
            assertEquals(
                    "active",
                    machine.run("systemctl is-active multi-user.target").strip(),
                    seconds + " s");
            String wrong =
                    machine.result("systemctl status --no-pager --full btnode").output();
            assertTrue(
                    wrong.contains("/etc/btnode/btnode.toml")
                            && wrong.contains("line 1, column 1: unknown key 'retentoin'; did you mean 'retention'?"),
                    wrong);
            assertTrue(wrong.contains("status=8"), wrong);
            assertTrue(machine.run("journalctl -u btnode -b -p err --no-pager").contains("retentoin"));

            machine.run("sed -i 1d /etc/btnode/btnode.toml");
            machine.powerOff();
            machine.boot(false);
            assertEquals(
                    "active",
                    machine.run("systemctl is-active multi-user.target").strip());
            String noFuse =
                    machine.result("systemctl status --no-pager --full btnode").output();
            assertTrue(noFuse.contains("/dev/fuse does not exist") && noFuse.contains("modprobe fuse"), noFuse);
        }
    }

    @Test
    void systemdHandsOverTheNodeKeyAndThePassphrase() throws Exception {
        try (DebianMachine machine = DebianMachine.copyOf(withPackage)) {
            machine.boot(true);
            machine.run(
                    "install -m 600 -o btnode <(echo correct horse) /tmp/passphrase; "
                            + "runuser -u btnode -- btnode init --passphrase-file /tmp/passphrase --node-key=credential --node-key-path /dev/shm/node.key");

            // As long as nobody has put it there.
            String none = failedStart(machine);
            assertTrue(none.contains("it has handed over no btnode-node-key"), none);
            assertTrue(
                    none.contains("/etc/credstore.encrypted/btnode-node-key")
                            && none.contains("LoadCredentialEncrypted=btnode-node-key"),
                    none);
            assertTrue(none.contains("status=9"), none);

            // As docs/operations.md says.
            machine.run("install -d -m 700 /etc/credstore.encrypted; "
                    + "systemd-creds encrypt --name=btnode-node-key /dev/shm/node.key /etc/credstore.encrypted/btnode-node-key; "
                    + "shred -u /dev/shm/node.key");
            machine.run("systemctl start btnode");
            requireService(machine);
            machine.run("echo kept > /mnt/tree/file; systemctl restart btnode");
            assertEquals("kept\n", machine.run("cat /mnt/tree/file"));

            String backup =
                    "runuser -u btnode -- btnode key backup /var/lib/btnode/keys.txt --passphrase-file /tmp/passphrase";
            Program.Result refused = machine.result(backup);
            assertEquals(9, refused.exitCode(), refused.output());
            assertTrue(refused.output().contains("--node-key KEYFILE"), refused.output());
            machine.run(
                    "(umask 077; systemd-creds decrypt --name=btnode-node-key /etc/credstore.encrypted/btnode-node-key /dev/shm/node.key); "
                            + "chown btnode /dev/shm/node.key; "
                            + backup + " --node-key /dev/shm/node.key");

            // A node key under a passphrase, which systemd hands over.
            machine.run("systemctl stop btnode; rm -r /var/lib/btnode/* /dev/shm/node.key; "
                    + "runuser -u btnode -- btnode init --passphrase-file /tmp/passphrase --node-key=passphrase");
            String typed = failedStart(machine);
            assertTrue(typed.contains("passphrase_file") && typed.contains("status=3"), typed);
            machine.run("systemd-creds encrypt --name=pass /tmp/passphrase /etc/credstore.encrypted/pass; "
                    + "mkdir -p /etc/systemd/system/btnode.service.d; "
                    + "printf '[Service]\\nLoadCredentialEncrypted=pass\\n' > /etc/systemd/system/btnode.service.d/passphrase.conf; "
                    + "sed -i '1i passphrase_file = \"/run/credentials/btnode.service/pass\"' /etc/btnode/btnode.toml; "
                    + "systemctl daemon-reload; systemctl start btnode");
            requireService(machine);
        }
    }

    @Test
    void anOrdinaryUserNeedsNeitherRootNorOptions() throws Exception {
        try (DebianMachine machine = DebianMachine.copyOf(withPackage)) {
            machine.boot(true);
            machine.run("useradd --create-home --shell /bin/bash alice");
            asAlice(machine, """
                    umask 077
                    echo correct horse > passphrase
                    mkdir -p tree second .config/btnode
                    printf '[[mount]]\\npath = "/home/alice/tree"\\n' > .config/btnode/btnode.toml
                    btnode config check
                    btnode init --passphrase-file passphrase
                    setsid btnode run > log 2>&1 < /dev/null &
                    for i in $(seq 300); do
                      ! grep -q event=node_ready log || break
                      sleep 0.1
                    done
                    echo mine > tree/file
                    btnode mount second
                    cat second/file
                    btnode unmount second
                    btnode status
                    """);
            assertEquals("mine\n", machine.run("runuser -u alice -- cat /home/alice/tree/file"));
            assertNotEquals(0, machine.result("cat /home/alice/tree/file").exitCode(), "not even root looks in");
            machine.run("test -f /home/alice/.local/state/btnode/btnode.conf; test ! -e /var/lib/btnode/btnode.conf");
            asAlice(machine, "btnode stop; ! mountpoint -q tree; btnode fsck");
        }
    }

    private static void asAlice(DebianMachine machine, String script) throws IOException {
        Files.writeString(machine.root().resolve("home/alice/script"), script);
        machine.run("runuser --login alice --command 'bash -euo pipefail script'");
    }

    /** What systemd shows of a start that failed. */
    private static String failedStart(DebianMachine machine) {
        assertNotEquals(0, machine.result("systemctl start btnode").exitCode());
        return machine.result("systemctl status --no-pager --full btnode").output();
    }

    private static String install(DebianMachine machine, Path debianPackage) throws IOException {
        Files.copy(
                debianPackage,
                machine.root().resolve("root").resolve("btnode.deb"),
                StandardCopyOption.REPLACE_EXISTING);
        return machine.run("apt-get install -y -q --allow-downgrades /root/btnode.deb 2>&1");
    }

    /** As the package says, the passphrase apart. */
    private static void found(DebianMachine machine) {
        machine.run("install -m 600 -o btnode <(echo correct horse) /tmp/passphrase; "
                + "runuser -u btnode -- btnode init --passphrase-file /tmp/passphrase");
    }

    private static String mainPid(DebianMachine machine) {
        return machine.run("systemctl show -P MainPID btnode").strip();
    }

    /** It runs as a user of its own, with no more rights than it needs, and everybody sees the tree. */
    private static void requireService(DebianMachine machine) {
        assertEquals(
                "active", machine.result("systemctl is-active btnode").output().strip());
        assertEquals(
                "btnode 0000000000200000",
                machine.run(
                                "p=$(systemctl show -P MainPID btnode); echo $(stat -c %U /proc/$p) $(awk '/CapEff/ {print $2}' /proc/$p/status)")
                        .strip());
        assertTrue(machine.run("systemctl show -P StatusText btnode").contains("mounted on /mnt/tree"));
        assertEquals(
                "/mnt/tree",
                machine.run("findmnt -rn -o TARGET -t fuse.blocktree").strip());
        machine.run("runuser -u nobody -- ls /mnt/tree");
        assertEquals(0, machine.result("btnode status").exitCode(), "root may ask the node");
    }
}
