package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.harness.NodeProgram;
import blocktree.testharness.program.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The manual pages that the build made, and the help of the program that it built. */
class ManualTest {
    private static final Path PAGES = TestNode.projectDirectory().resolve("node-daemon/target/dist/share/man");
    private static final Pattern COMMAND = Pattern.compile("(?m)^  ([a-z-]+) {2,}\\S");
    private static final Pattern OPTION = Pattern.compile("(?m)^ {2,}(?:-., )?(--[a-z-]+)");

    static List<Path> pages() throws Exception {
        assertTrue(Files.isDirectory(PAGES), "no pages: build them with 'mvn -DskipTests package'");
        try (Stream<Path> files = Files.walk(PAGES)) {
            return files.filter(Files::isRegularFile).sorted().toList();
        }
    }

    @ParameterizedTest
    @MethodSource("pages")
    void rendersWithoutAWarning(Path page) {
        assertEquals("", man(page, "--warnings", "2>&1 >/dev/null"));
    }

    @Test
    void eachCommandHasAPageThatNamesItsOptions() throws Exception {
        List<String> missing = new ArrayList<>();
        TreeSet<String> pages = pages().stream()
                .map(page -> page.getFileName().toString())
                .collect(Collectors.toCollection(TreeSet::new));
        assertTrue(pages.remove("btnode.toml.5"));
        check(List.of(), pages, missing);
        assertEquals(List.of(), missing);
        assertEquals(new TreeSet<>(), pages, "pages of commands that are not there");
    }

    private static void check(List<String> command, TreeSet<String> pages, List<String> missing) throws Exception {
        String help = run(Stream.concat(command.stream(), Stream.of("--help")).toList());
        String name = String.join(
                        "-",
                        Stream.concat(Stream.of("btnode"), command.stream()).toList()) + ".1";
        if (!pages.remove(name)) {
            missing.add(name);
            return;
        }
        String page = man(PAGES.resolve("man1").resolve(name), "", "| col -b");
        Matcher option = OPTION.matcher(help);
        while (option.find()) {
            if (!page.contains(option.group(1))) {
                missing.add(name + ": " + option.group(1));
            }
        }
        int commands = help.indexOf("\nCommands:\n");
        if (commands >= 0) {
            Matcher word = COMMAND.matcher(help.substring(commands));
            while (word.find()) {
                check(Stream.concat(command.stream(), Stream.of(word.group(1))).toList(), pages, missing);
            }
        }
    }

    @Test
    void theConfigurationsPageNamesEachKey() throws Exception {
        String page = man(PAGES.resolve("man5/btnode.toml.5"), "", "| col -b");
        List<String> keys = run(List.of("config", "show"))
                .lines()
                .filter(line -> line.matches("#? ?[a-z_]+ (=|is not set).*"))
                .map(line -> line.replaceFirst("^#? ?([a-z_]+) .*", "$1"))
                .toList();
        assertTrue(keys.size() > 5, keys::toString);
        for (String key : keys) {
            assertTrue(page.contains(key + " = "), () -> key + " is not in\n" + page);
            assertTrue(page.contains("BTNODE_" + key.toUpperCase(Locale.ROOT)), key);
        }
        assertTrue(page.contains("[[mount]]") && page.contains("allow_other = true|false"), page);
    }

    private static String run(List<String> arguments) throws Exception {
        String[] command = Stream.concat(NodeProgram.find().command().stream(), arguments.stream())
                .toArray(String[]::new);
        return Program.in(TestNode.projectDirectory(), command).run();
    }

    private static String man(Path page, String option, String rest) {
        Program.require("man");
        return Program.shell(PAGES, "man " + option + " -l " + page + " " + rest)
                .with("MANWIDTH", "100")
                .run();
    }
}
