package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** docs/events.md lists exactly the events that the code of all modules logs. */
class EventCatalogueTest {
    private static final Pattern LOGGED = Pattern.compile("\\.log\\(\\s*\"([a-z][a-z0-9_]*)\"");
    private static final Pattern LISTED = Pattern.compile("(?m)^\\| `([a-z][a-z0-9_]*)` \\|");
    /** Written by {@link EventLog} itself for what libraries log. */
    private static final String LIBRARY_MESSAGE = "library_message";

    private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();

    @Test
    void isCompleteAndHoldsNothingElse() throws IOException {
        TreeSet<String> logged = new TreeSet<>(List.of(LIBRARY_MESSAGE));
        try (Stream<Path> modules = Files.list(ROOT)) {
            for (Path module : modules.toList()) {
                Path sources = module.resolve("src/main/java");
                if (Files.isDirectory(sources)) {
                    collect(sources, logged);
                }
            }
        }
        TreeSet<String> listed = new TreeSet<>();
        Matcher matcher = LISTED.matcher(Files.readString(ROOT.resolve("docs/events.md")));
        while (matcher.find()) {
            listed.add(matcher.group(1));
        }
        assertEquals(String.join("\n", logged), String.join("\n", listed));
    }

    private static void collect(Path sources, TreeSet<String> names) throws IOException {
        try (Stream<Path> files = Files.walk(sources)) {
            for (Path file :
                    files.filter(path -> path.toString().endsWith(".java")).toList()) {
                Matcher matcher = LOGGED.matcher(Files.readString(file));
                while (matcher.find()) {
                    names.add(matcher.group(1));
                }
            }
        }
    }
}
