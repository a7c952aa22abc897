package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the documents say is tested names tests that exist. */
class NamedTestsTest {

    private static final Pattern NAMED = Pattern.compile("`(\\w+Test)\\.(\\w+)`");

    @ParameterizedTest
    @ValueSource(strings = {"threat-model.md", "invariants.md"})
    void everyTestThatIsNamedIsThere(String document) throws IOException {
        List<Path> sources = new ArrayList<>();
        try (Stream<Path> modules = Files.list(Path.of(".."))) { // tests run in their module's directory
            for (Path tests : modules.map(m -> m.resolve("src/test/java")).toList()) {
                if (Files.isDirectory(tests)) {
                    try (Stream<Path> files = Files.walk(tests)) {
                        files.filter(f -> f.toString().endsWith("Test.java")).forEach(sources::add);
                    }
                }
            }
        }
        Matcher named = NAMED.matcher(Files.readString(Path.of("..", "docs", document)));
        List<String> absent = new ArrayList<>();
        int count = 0;
        while (named.find()) {
            count++;
            if (!isThere(sources, named.group(1), named.group(2))) {
                absent.add(named.group());
            }
        }
        assertTrue(count > 30, "the tables are there");
        assertEquals(List.of(), absent);
    }

    private static boolean isThere(List<Path> sources, String type, String method) throws IOException {
        for (Path source : sources) {
            if (source.getFileName().toString().equals(type + ".java")
                    && Files.readString(source).contains("void " + method + "(")) {
                return true;
            }
        }
        return false;
    }
}
