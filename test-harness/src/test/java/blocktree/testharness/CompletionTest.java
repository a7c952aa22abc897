package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;

import blocktree.harness.NodeProgram;
import blocktree.testharness.program.Program;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** What real shells offer for a line that is half typed, with the scripts of {@code btnode completion}. */
class CompletionTest {
    /** Holds the scripts; lines are completed in {@code folder}. */
    @TempDir
    static Path work;

    private enum Shell {
        /** Calls the function as readline does, with the words that it makes. */
        BASH("""
                source ../bash
                read -r -a COMP_WORDS <<<"${LINE//=/ = }"
                case $LINE in *' ' | *=) [[ $LINE == *= ]] || COMP_WORDS+=('') ;; esac
                COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
                function=$(complete -p btnode)
                function=${function##*-F }
                ${function% btnode} 2>/dev/null
                printf '%s\\n' "${COMPREPLY[@]}"
                """),
        /** Types the line into an interactive shell and asks for a list (Ctrl-T here). Names with a description come one a line. */
        ZSH("""
                zmodload zsh/zpty
                zpty shell zsh -f -i
                ready() { zpty -r shell seen "*$1*" || exit 1; }
                zpty -w shell "PS1='REA''DY'; unset zle_bracketed_paste; bindkey '^T' list-choices; LISTMAX=1000"
                ready READY
                zpty -w shell "autoload -U compinit; compinit -u -D; source ../zsh; print LOA''DED"
                ready LOADED
                ready READY
                zpty -w -n shell "$LINE"$'\\x14\\x15'
                zpty -w shell "print DO''NE"
                ready DONE
                print -r -- ${seen%%READY*} | sed '1d; /DONE/d; s/\\r//g; s/  *-- .*//' | tr -s ' ' '\\n'
                """),
        FISH("source ../fish; complete -C $LINE | cut -f1");

        private final String script;

        Shell(String script) {
            this.script = script;
        }

        String program() {
            return name().toLowerCase(Locale.ROOT);
        }

        Set<String> complete(String line) {
            List<String> command = switch (this) {
                case BASH -> List.of("bash", "--norc", "-c", script);
                case ZSH -> List.of("zsh", "-f", "-c", script);
                case FISH -> List.of("fish", "--no-config", "-c", script);
            };
            String offered = Program.in(work.resolve("folder"), command.toArray(String[]::new))
                    .with("LINE", line)
                    .with("TERM", "dumb")
                    .with("HOME", work.toString())
                    .run();
            return offered.lines()
                    .map(each -> each.replaceFirst("^--[a-z-]+=", "").replaceFirst("/$", ""))
                    .filter(each -> !each.isBlank())
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    @BeforeAll
    static void writeScripts() throws Exception {
        Program.require("zsh", "fish");
        for (Shell shell : Shell.values()) {
            String script =
                    Program.in(work, command("completion", shell.program())).run();
            Files.writeString(work.resolve(shell.program()), script);
        }
        Files.createDirectories(work.resolve("folder/sub"));
        Files.writeString(work.resolve("folder/keys.txt"), "");
    }

    private static String[] command(String... arguments) throws Exception {
        return Stream.concat(NodeProgram.find().command().stream(), Arrays.stream(arguments))
                .toArray(String[]::new);
    }

    static Stream<Arguments> lines() {
        List<List<Object>> cases = List.of(
                List.of("btnode st", Set.of("status", "stop")),
                List.of("btnode key v", Set.of("verify-backup")),
                List.of("btnode snapshot ", Set.of("create", "list", "delete")),
                List.of("btnode key backup --no", Set.of("--node-key")),
                List.of("btnode init --node-key ", Set.of("file", "passphrase", "credential")),
                List.of("btnode init --node-key=pa", Set.of("passphrase")),
                List.of("btnode run --log-format j", Set.of("json", "journal")),
                List.of("btnode completion ", Set.of("bash", "zsh", "fish")),
                List.of("btnode key verify-backup k", Set.of("keys.txt")),
                List.of("btnode fsck --passphrase-file k", Set.of("keys.txt")),
                List.of("btnode run --mount s", Set.of("sub")),
                List.of("btnode mount s", Set.of("sub")),
                List.of("btnode status x", Set.of()));
        return Arrays.stream(Shell.values())
                .flatMap(shell -> cases.stream().map(each -> Arguments.of(shell, each.get(0), each.get(1))));
    }

    @ParameterizedTest
    @MethodSource("lines")
    void offersWhatCanFollow(Shell shell, String line, Set<String> expected) {
        assertEquals(new TreeSet<>(expected), shell.complete(line));
    }
}
