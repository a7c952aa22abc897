package blocktree.harness;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * How a node is started.
 *
 * @param mounts mount points, made when they are missing
 * @param arguments further arguments of {@code btnode run}, such as {@code --read-only}
 * @param environment variables to set besides those of this process
 * @param readyTimeout how long it may take until the node is ready
 */
public record NodeOptions(
        List<Path> mounts, List<String> arguments, Map<String, String> environment, Duration readyTimeout) {

    public NodeOptions {
        mounts = mounts.stream().map(Path::toAbsolutePath).toList();
        arguments = List.copyOf(arguments);
        environment = Map.copyOf(environment);
    }

    /** No mounts, and a minute to be ready. */
    public static NodeOptions defaults() {
        return new NodeOptions(List.of(), List.of(), Map.of(), Duration.ofMinutes(1));
    }

    public static NodeOptions mountedOn(Path... mountPoints) {
        return new NodeOptions(List.of(mountPoints), List.of(), Map.of(), Duration.ofMinutes(1));
    }

    public NodeOptions withMount(Path mountPoint) {
        List<Path> all = new ArrayList<>(mounts);
        all.add(mountPoint);
        return new NodeOptions(all, arguments, environment, readyTimeout);
    }

    public NodeOptions withArguments(String... more) {
        List<String> all = new ArrayList<>(arguments);
        all.addAll(List.of(more));
        return new NodeOptions(mounts, all, environment, readyTimeout);
    }

    public NodeOptions withEnvironment(Map<String, String> variables) {
        return new NodeOptions(mounts, arguments, variables, readyTimeout);
    }

    public NodeOptions withReadyTimeout(Duration timeout) {
        return new NodeOptions(mounts, arguments, environment, timeout);
    }
}
