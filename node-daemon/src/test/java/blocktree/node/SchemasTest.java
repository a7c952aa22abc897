package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/** What commands print with --json is described; that they print that is tested where nodes run. */
class SchemasTest {
    private static final Path SCHEMAS = Path.of("../docs/schemas");

    @Test
    void everyCommandThatPrintsJsonHasASchema() throws IOException {
        Set<String> expected = new TreeSet<>(Set.of("error.json"));
        collect(Main.commandLine(), "", expected);
        try (Stream<Path> files = Files.list(SCHEMAS)) {
            assertEquals(
                    expected,
                    files.map(file -> file.getFileName().toString()).collect(Collectors.toCollection(TreeSet::new)));
        }
    }

    private static void collect(CommandLine command, String name, Set<String> schemas) {
        if (command.getCommandSpec().findOption("--json") != null) {
            schemas.add(name + ".json");
        }
        command.getSubcommands()
                .forEach((word, below) -> collect(below, name.isEmpty() ? word : name + "-" + word, schemas));
    }
}
