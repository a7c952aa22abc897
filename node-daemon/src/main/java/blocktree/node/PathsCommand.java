package blocktree.node;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.StringJoiner;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

@Command(
        name = "paths",
        description = "Print where everything of a node is, or would be.",
        mixinStandardHelpOptions = true,
        sortOptions = false)
final class PathsCommand implements Callable<Integer> {
    @Mixin
    private NodeOptions node;

    @Mixin
    private Output output;

    @Override
    public Integer call() throws NodeException {
        Settings settings = node.settings();
        Path data = settings.dataDirectory();
        boolean founded = Files.exists(data.resolve(NodeSettings.FILE_NAME));
        Map<String, Path> paths = new LinkedHashMap<>();
        Path file = settings.file();
        Path passedOver = settings.passedOver();
        if (passedOver != null) {
            paths.put("passed_over", passedOver); // it is for another data directory
        } else {
            paths.put("configuration", file == null ? new Places(System.getenv()::get).configuration() : file);
        }
        paths.put("data_directory", data);
        paths.put("root_key", data.resolve(DataDirectory.ROOT_KEY));
        if (founded) {
            DataDirectory directory = DataDirectory.open(data);
            paths.put("node_key", directory.nodeKey());
            paths.put("anchor", directory.anchor());
        }
        paths.put("store", data.resolve(DataDirectory.TREE));
        if (founded) {
            try {
                paths.put("control_socket", ControlSocket.find(data));
            } catch (IOException e) {
                // no node runs, or this user may not know
            }
        }
        StringJoiner text = new StringJoiner("\n");
        Map<String, Object> json = new LinkedHashMap<>();
        paths.forEach((name, path) -> {
            boolean exists = Files.exists(path);
            json.put(name, Map.of("path", path, "exists", exists));
            String note = Files.notExists(path) ? "  (not there)" : "  (this user may not look)";
            text.add("%-15s %s%s".formatted(name, path, exists ? "" : note));
        });
        output.print(json, text.toString());
        return ExitCode.OK.code();
    }
}
