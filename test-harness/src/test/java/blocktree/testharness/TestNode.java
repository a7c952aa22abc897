package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;

import blocktree.btmsg.ControlReply;
import blocktree.harness.HarnessException;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeOptions;
import blocktree.harness.NodeProcess;
import blocktree.harness.NodeProgram;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;

/**
 * A node of its own for a test: a child process with a data directory, a mount point and room for the test's files in one temporary folder.
 * Whatever happens, the process, the mount and the folder are gone when the tests end.
 */
final class TestNode implements AutoCloseable {
    /** What a node may take, however large its tree and its files. */
    static final long RESIDENT_BYTES_MAX = 600L << 20;

    /** Making a root key takes a second of Argon2: nodes of tests start as copies of one that was made once. */
    private static @Nullable Path template;

    private static final Set<TestNode> OPEN = ConcurrentHashMap.newKeySet();

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(TestNode::closeAll, "test-nodes-close"));
    }

    private final Path work;
    private final NodeDirectory directory;
    private NodeOptions options;
    private @Nullable NodeProcess process;

    private TestNode(Path work, NodeDirectory directory) {
        this.work = work;
        this.directory = directory;
        this.options = NodeOptions.mountedOn(mount());
        OPEN.add(this);
    }

    /** A node that was made but does not run. */
    static TestNode initialised() throws Exception {
        return initialised(NodeProgram.find());
    }

    static TestNode initialised(NodeProgram program) throws Exception {
        return initialised(program, data -> {});
    }

    /** @param prepare may mount something on the empty data directory */
    static TestNode initialised(NodeProgram program, Prepare prepare) throws Exception {
        Program.require("fusermount");
        Path work = workDirectory();
        TestNode node = new TestNode(work, NodeDirectory.in(work, program));
        try {
            Files.createDirectory(node.data());
            prepare.on(node.data());
            Path made = template();
            Program.shell(work, "cp -a " + made + "/data/. data/; cp -a " + made + "/passphrase .")
                    .run();
            return node;
        } catch (Exception | AssertionError e) {
            node.close();
            throw e;
        }
    }

    /** What happens to a data directory before a node is put there. */
    interface Prepare {
        void on(Path data) throws Exception;
    }

    /** A node that runs, mounted. */
    static TestNode started() throws Exception {
        TestNode node = initialised();
        node.start();
        return node;
    }

    private static synchronized Path template() throws Exception {
        Path made = template;
        if (made == null) {
            made = workDirectory();
            NodeDirectory.in(made, NodeProgram.find()).init();
            template = made;
        }
        return made;
    }

    private static Path workDirectory() throws IOException {
        return Files.createTempDirectory(
                "blocktree-test-", PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
    }

    /** The folder of this node's files, on a local disk, and of the test's. */
    Path work() {
        return work;
    }

    Path mount() {
        return work.resolve("mount");
    }

    Path data() {
        return directory.data();
    }

    NodeDirectory directory() {
        return directory;
    }

    NodeOptions options() {
        return options;
    }

    /** How it is started from now on. */
    TestNode with(NodeOptions newOptions) {
        options = newOptions;
        return this;
    }

    TestNode withArguments(String... arguments) {
        return with(options.withArguments(arguments));
    }

    NodeProcess process() {
        if (process == null) {
            throw new IllegalStateException("the node was never started");
        }
        return process;
    }

    NodeProcess start() throws HarnessException {
        process = directory.start(options);
        return process;
    }

    void kill() {
        process().kill();
    }

    /** SIGTERM: everything written is kept, the exit code is 0. */
    void stop() throws HarnessException {
        assertEquals(
                0,
                process().terminate(),
                () -> "exit code after SIGTERM; log:\n" + process().log());
    }

    void restart() throws HarnessException {
        stop();
        start();
    }

    /** A size in the running node's {@code /proc/PID/status}, such as VmRSS or, at its highest, VmHWM. */
    long memoryBytes(String field) throws IOException {
        try (var lines = Files.lines(Path.of("/proc/" + process().pid() + "/status"))) {
            String line =
                    lines.filter(l -> l.startsWith(field + ":")).findFirst().orElseThrow();
            return Long.parseLong(line.replaceAll("\\D", "")) * 1024;
        }
    }

    /** A check of the running node finds nothing. */
    void requireCleanFsck() throws HarnessException {
        List<ControlReply.Finding> findings = process().fsck();
        assertEquals(List.of(), findings);
    }

    /** A check of the stopped node's directory finds nothing and says so with its exit code. */
    void requireCleanOfflineFsck() throws HarnessException {
        var result = directory.fsck();
        assertEquals(0, result.exitCode(), () -> result.output() + result.errors());
    }

    /** The top of the checkout that is being tested. */
    static Path projectDirectory() {
        Path at = Path.of("").toAbsolutePath();
        while (!Files.isDirectory(at.resolve("node-daemon"))) {
            at = at.getParent();
            if (at == null) {
                throw new IllegalStateException("not inside the project");
            }
        }
        return at;
    }

    @Override
    public void close() {
        OPEN.remove(this);
        if (process != null) {
            process.close();
        }
        remove(work);
    }

    private static void closeAll() {
        OPEN.forEach(TestNode::close);
        if (template != null) {
            remove(template);
        }
    }

    /** Never into a mount that could not be taken away. */
    private static void remove(Path folder) {
        Program.shell(
                        Path.of("/"),
                        "for m in $(awk '$2 ~ \"^" + folder
                                + "/\" { print $2 }' /proc/mounts); do fusermount -u -z $m || umount -l $m; done; "
                                + "chmod -R u+w " + folder + "; rm -rf --one-file-system " + folder)
                .result();
    }
}
