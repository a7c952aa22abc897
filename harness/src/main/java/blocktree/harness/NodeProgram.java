package blocktree.harness;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * How btnode is started.
 *
 * @param command what comes before btnode's own arguments
 */
public record NodeProgram(List<String> command) {
    private static final String MAIN_CLASS = "blocktree.node.Main";

    public NodeProgram {
        command = List.copyOf(command);
    }

    /**
     * The node that this checkout has built, in {@code node-daemon/target/dist/lib}, on the Java that runs this program: nothing is
     * built, and the process id is that of the node itself. The system property {@code blocktree.dist} names another folder.
     */
    public static NodeProgram find() throws HarnessException {
        String given = System.getProperty("blocktree.dist");
        if (given != null) {
            return ofFolder(Path.of(given));
        }
        for (Path at = Path.of("").toAbsolutePath(); at != null; at = at.getParent()) {
            Path folder = at.resolve("node-daemon/target/dist/lib");
            if (Files.isDirectory(folder)) {
                return ofFolder(folder);
            }
        }
        throw new HarnessException(
                "no node-daemon/target/dist/lib here or above: build it with 'mvn -DskipTests package', or set -Dblocktree.dist");
    }

    /** The jars in a folder. */
    public static NodeProgram ofFolder(Path folder) {
        return ofClassPath(folder.toAbsolutePath() + File.separator + "*", List.of());
    }

    /** @param javaOptions come after the usual ones, which they override */
    public static NodeProgram ofClassPath(String classPath, List<String> javaOptions) {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(
                List.of("-Dfile.encoding=UTF-8", "-XX:+UseSerialGC", "-Xmx256m", "-XX:MaxDirectMemorySize=128m"));
        command.addAll(List.of("-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError"));
        if (Runtime.version().feature() >= 24) {
            command.addAll(List.of("--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"));
        }
        command.addAll(javaOptions);
        command.addAll(List.of("-cp", classPath, MAIN_CLASS));
        return new NodeProgram(command);
    }

    /** A program such as {@code bin/btnode}. */
    public static NodeProgram ofScript(Path script) {
        return new NodeProgram(List.of(script.toAbsolutePath().toString()));
    }

    /** The same with options for Java, which come last. Not for a script. */
    public NodeProgram withJavaOptions(List<String> options) {
        int classPath = command.indexOf("-cp");
        if (classPath < 0) {
            throw new IllegalStateException("not a Java command: " + command);
        }
        List<String> changed = new ArrayList<>(command);
        changed.addAll(classPath, options);
        return new NodeProgram(changed);
    }

    /** The same, started by another program that ends in exec, such as {@code setpriv --reuid 1001 --}. */
    public NodeProgram withPrefix(List<String> prefix) {
        List<String> changed = new ArrayList<>(prefix);
        changed.addAll(command);
        return new NodeProgram(changed);
    }
}
