package blocktree.node;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Parameters;

@Command(
        name = "completion",
        description = {
            "Print a script by which a shell completes commands and options of btnode.",
            "bash and zsh:  source <(btnode completion bash)    fish:  btnode completion fish | source"
        },
        mixinStandardHelpOptions = true)
final class CompletionCommand implements Callable<Integer> {
    enum Shell {
        BASH,
        ZSH,
        FISH
    }

    @Parameters(paramLabel = "bash|zsh|fish", description = "The shell.")
    private Shell shell;

    @Override
    public Integer call() {
        CommandLine all = Main.commandLine();
        System.out.print(shell == Shell.FISH ? fish(all.getCommandSpec()) : AutoComplete.bash("btnode", all));
        System.out.flush();
        return ExitCode.OK.code();
    }

    /** picocli knows bash and zsh only. */
    static String fish(CommandSpec root) {
        StringBuilder script = new StringBuilder("complete -c btnode -f\n");
        addFish(root, List.of(), script);
        return script.toString();
    }

    private static void addFish(CommandSpec spec, List<String> words, StringBuilder script) {
        List<String> below = List.copyOf(spec.subcommands().keySet());
        List<String> conditions = new ArrayList<>();
        words.forEach(word -> conditions.add("__fish_seen_subcommand_from " + word));
        if (!below.isEmpty()) {
            conditions.add("not __fish_seen_subcommand_from " + String.join(" ", below));
        }
        String when = " -n '" + String.join("; and ", conditions) + "'";
        spec.subcommands()
                .forEach((name, command) -> script.append("complete -c btnode")
                        .append(when)
                        .append(" -a ")
                        .append(name)
                        .append(description(
                                command.getCommandSpec().usageMessage().description()))
                        .append('\n'));
        for (OptionSpec option : spec.options()) {
            script.append("complete -c btnode").append(when);
            for (String name : option.names()) {
                script.append(name.startsWith("--") ? " -l " + name.substring(2) : " -s " + name.substring(1));
            }
            if (option.arity().max() > 0) {
                boolean path = List.of("FILE", "DIR", "KEYFILE").contains(option.paramLabel());
                script.append(path ? " -r -F" : " -x");
                if (option.paramLabel().contains("|")) {
                    script.append(" -a '")
                            .append(option.paramLabel().replace('|', ' '))
                            .append('\'');
                }
            }
            script.append(description(option.description())).append('\n');
        }
        boolean takesPath = spec.positionalParameters().stream()
                .anyMatch(parameter -> List.of("FILE", "MOUNTPOINT").contains(parameter.paramLabel()));
        if (takesPath) {
            script.append("complete -c btnode").append(when).append(" -F\n");
        }
        spec.subcommands().forEach((name, command) -> {
            List<String> longer = new ArrayList<>(words);
            longer.add(name);
            addFish(command.getCommandSpec(), longer, script);
        });
    }

    /** Its first sentence. */
    private static String description(String[] lines) {
        if (lines.length == 0) {
            return "";
        }
        String first = lines[0].split("(?<=\\.) ", 2)[0].replaceAll("[.:]$", "");
        return " -d '" + first.replace("\\", "\\\\").replace("'", "\\'") + "'";
    }
}
