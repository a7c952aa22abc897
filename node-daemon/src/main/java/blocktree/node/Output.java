package blocktree.node;

import java.io.PrintStream;
import picocli.CommandLine.Option;

/** What a command prints: for people, or one JSON value a line for programs. */
final class Output {
    @Option(names = "--json", description = "Print JSON, one value a line.")
    private boolean json;

    private final PrintStream out = System.out;

    boolean isJson() {
        return json;
    }

    /** {@code name} as it is, or quoted where its characters would break the line. */
    static String onOneLine(String name) {
        return name.chars().anyMatch(Character::isISOControl) ? Json.of(name) : name;
    }

    /** Prints {@code value} when JSON was asked for, else {@code text}. */
    void print(Object value, String text) {
        out.println(json ? Json.of(value) : text);
        out.flush();
    }
}
