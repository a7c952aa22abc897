package blocktree.node;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.PositionalParamSpec;

/** Scripts by which shells complete a command line. picocli writes that of bash; what it makes of it in zsh has no descriptions, and fish it does not know. */
final class Completions {
    private Completions() {}

    static String bash(CommandLine root) {
        nameChoices(root);
        return AutoComplete.bash(root.getCommandName(), root) + """

                # bash takes --option=value for three words, picocli's function an option and its value for two.
                _btnode() {
                  local i
                  local -a words=()
                  for ((i = 0; i <= COMP_CWORD; i++)); do
                    if [[ ${COMP_WORDS[i]} != = ]]; then
                      words+=("${COMP_WORDS[i]}")
                    elif ((i == COMP_CWORD)); then
                      words+=('')
                    fi
                  done
                  COMP_WORDS=("${words[@]}")
                  COMP_CWORD=$((${#words[@]} - 1))
                  _complete_btnode
                }
                complete -o default -F _btnode btnode
                """;
    }

    /** picocli would offer constants as Java names them. */
    private static void nameChoices(CommandLine command) {
        CommandSpec spec = command.getCommandSpec();
        for (OptionSpec option : List.copyOf(spec.options())) {
            if (!choices(option).isEmpty()) {
                spec.remove(option);
                spec.addOption(
                        option.toBuilder().completionCandidates(choices(option)).build());
            }
        }
        for (PositionalParamSpec parameter : List.copyOf(spec.positionalParameters())) {
            if (!choices(parameter).isEmpty()) {
                spec.remove(parameter);
                spec.addPositional(parameter.toBuilder()
                        .completionCandidates(choices(parameter))
                        .build());
            }
        }
        command.getSubcommands().values().forEach(Completions::nameChoices);
    }

    // ---- zsh

    /** Sourced, or as a file of {@code $fpath}, where it is the body of a function of its own name. */
    static String zsh(CommandLine root) {
        String name = zshFunction(root.getCommandSpec());
        StringBuilder script = new StringBuilder("#compdef " + root.getCommandName() + "\n");
        addZsh(root.getCommandSpec(), script);
        return script.append("\nif [[ ${funcstack[1]} == ")
                .append(name)
                .append(" ]]; then\n  ")
                .append(name)
                .append(" \"$@\"\nelse\n  compdef ")
                .append(name + " " + root.getCommandName())
                .append("\nfi\n")
                .toString();
    }

    private static void addZsh(CommandSpec spec, StringBuilder script) {
        String name = zshFunction(spec);
        List<String> arguments = new ArrayList<>();
        for (OptionSpec option : spec.options()) {
            String before = option.usageHelp() || option.versionHelp() ? "(- : *)" : option.isMultiValue() ? "*" : "";
            String explanation =
                    "[" + summary(option.description()).replace("[", "\\[").replace("]", "\\]") + "]";
            for (String each : option.names()) {
                arguments.add(before
                        + (takesValue(option) ? each + "=" + explanation + zshValue(option) : each + explanation));
            }
        }
        script.append("\n").append(name).append("() {\n");
        if (spec.subcommands().isEmpty()) {
            for (PositionalParamSpec parameter : spec.positionalParameters()) {
                arguments.add(parameter.index().min() + 1 + zshValue(parameter));
            }
            script.append("  _arguments \\\n    ")
                    .append(quotedLines(arguments))
                    .append("\n}\n");
            return;
        }
        arguments.add("1:command:->command");
        arguments.add("*::argument:->argument");
        script.append("  local curcontext=$curcontext state line\n  typeset -A opt_args\n  _arguments -C \\\n    ")
                .append(quotedLines(arguments))
                .append(" && return\n  case $state in\n  command)\n    local -a commands=(\n      ");
        script.append(spec.subcommands().entrySet().stream()
                        .map(each -> quoted(each.getKey() + ":" + summary(each.getValue())))
                        .collect(Collectors.joining("\n      ")))
                .append(
                        "\n    )\n    _describe -t commands command commands\n    ;;\n  argument)\n    case $words[1] in\n");
        spec.subcommands()
                .forEach((word, command) -> script.append("    ")
                        .append(word)
                        .append(") ")
                        .append(zshFunction(command.getCommandSpec()))
                        .append(" ;;\n"));
        script.append("    esac\n    ;;\n  esac\n}\n");
        spec.subcommands().values().forEach(command -> addZsh(command.getCommandSpec(), script));
    }

    private static String zshFunction(CommandSpec spec) {
        return "_" + spec.qualifiedName("_").replace('-', '_');
    }

    private static String zshValue(ArgSpec argument) {
        String action = switch (Kind.of(argument)) {
            case CHOICE -> "(" + String.join(" ", choices(argument)) + ")";
            case DIRECTORY -> "_files -/";
            case FILE -> "_files";
            case OTHER -> " ";
        };
        return ":" + argument.paramLabel().replace(":", "\\:") + ":" + action;
    }

    private static String quotedLines(List<String> arguments) {
        return arguments.stream().map(Completions::quoted).collect(Collectors.joining(" \\\n    "));
    }

    private static String quoted(String text) {
        return "'" + text.replace("'", "'\\''") + "'";
    }

    // ---- fish

    static String fish(CommandLine root) {
        StringBuilder script = new StringBuilder("complete -c btnode -f\n");
        addFish(root.getCommandSpec(), List.of(), script);
        return script.toString();
    }

    private static void addFish(CommandSpec spec, List<String> words, StringBuilder script) {
        List<String> conditions = new ArrayList<>();
        words.forEach(word -> conditions.add("__fish_seen_subcommand_from " + word));
        if (!spec.subcommands().isEmpty()) {
            conditions.add("not __fish_seen_subcommand_from "
                    + String.join(" ", spec.subcommands().keySet()));
        }
        String line = "complete -c btnode -n '" + String.join("; and ", conditions) + "'";
        spec.subcommands()
                .forEach((name, command) ->
                        script.append(line).append(" -a ").append(name).append(fishDescription(summary(command))));
        for (OptionSpec option : spec.options()) {
            script.append(line);
            for (String name : option.names()) {
                script.append(name.startsWith("--") ? " -l " + name.substring(2) : " -s " + name.substring(1));
            }
            script.append(takesValue(option) ? fishValue(option, " -x") : "")
                    .append(fishDescription(summary(option.description())));
        }
        for (PositionalParamSpec parameter : spec.positionalParameters()) {
            if (Kind.of(parameter) != Kind.OTHER) {
                script.append(line).append(fishValue(parameter, "")).append('\n');
            }
        }
        spec.subcommands()
                .forEach((name, command) -> addFish(
                        command.getCommandSpec(),
                        Stream.concat(words.stream(), Stream.of(name)).toList(),
                        script));
    }

    /** @param exclusive what says that a value must follow, and that it is no file */
    private static String fishValue(ArgSpec argument, String exclusive) {
        return switch (Kind.of(argument)) {
            case CHOICE -> exclusive + " -a '" + String.join(" ", choices(argument)) + "'";
            case DIRECTORY -> exclusive + " -a '(__fish_complete_directories)'";
            case FILE -> (exclusive.isEmpty() ? "" : " -r") + " -F";
            case OTHER -> exclusive;
        };
    }

    private static String fishDescription(String text) {
        return " -d '" + text.replace("\\", "\\\\").replace("'", "\\'") + "'\n";
    }

    // ---- what all need to know

    private enum Kind {
        /** One of a few words. */
        CHOICE,
        DIRECTORY,
        FILE,
        OTHER;

        static Kind of(ArgSpec argument) {
            if (!choices(argument).isEmpty()) {
                return CHOICE;
            } else if (elementType(argument) != Path.class) {
                return OTHER;
            }
            return List.of("DIR", "MOUNTPOINT").contains(argument.paramLabel()) ? DIRECTORY : FILE;
        }
    }

    private static boolean takesValue(OptionSpec option) {
        return option.arity().max() > 0;
    }

    private static Class<?> elementType(ArgSpec argument) {
        return argument.isMultiValue() ? argument.auxiliaryTypes()[0] : argument.type();
    }

    private static List<String> choices(ArgSpec argument) {
        return Choice.labels(elementType(argument));
    }

    private static String summary(CommandLine command) {
        return summary(command.getCommandSpec().usageMessage().description());
    }

    /** Its first sentence. */
    private static String summary(String[] description) {
        return description.length == 0 ? "" : description[0].split("(?<=\\.) ", 2)[0].replaceAll("[.:]$", "");
    }
}
