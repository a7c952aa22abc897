package blocktree.harness;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * How btnode is started.
 *
 * @param command what comes before btnode's own arguments; it ends in exec, so that the process id is that of the node itself
 */
public record NodeProgram(List<String> command) {
    public NodeProgram {
        command = List.copyOf(command);
    }

    /** The node that this checkout has built, on the Java that runs this program; nothing is built. */
    public static NodeProgram find() throws HarnessException {
        for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
            Path script = at.resolve("bin/btnode");
            if (Files.isExecutable(script) && Files.isDirectory(at.resolve("node-daemon/target/dist/lib"))) {
                return ofScript(script)
                        .withEnvironment("BTNODE_NO_BUILD", "1")
                        .withEnvironment("BTNODE_JAVA_HOME", System.getProperty("java.home"));
            }
        }
        throw new HarnessException(
                "no bin/btnode with node-daemon/target/dist/lib here or above: build it with 'mvn -DskipTests package'");
    }

    /** A program such as {@code bin/btnode}, on the newest Java of the machine. */
    public static NodeProgram ofScript(Path script) {
        return new NodeProgram(List.of(script.toAbsolutePath().toString()));
    }

    /** The same with options for Java, such as {@code -Xmx1g}, which override the usual ones. */
    public NodeProgram withJavaOptions(List<String> options) {
        return withEnvironment("BTNODE_JAVA_OPTS", String.join(" ", options));
    }

    /** The same, started by another program that ends in exec, such as {@code setpriv --reuid 1001 --}. */
    public NodeProgram withPrefix(List<String> prefix) {
        List<String> changed = new ArrayList<>(prefix);
        changed.addAll(command);
        return new NodeProgram(changed);
    }

    private NodeProgram withEnvironment(String name, String value) {
        return withPrefix(List.of("env", name + "=" + value));
    }
}
