package blocktree.node;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

@Command(
        name = "completion",
        description = {
            "Print a script by which a shell completes commands, options and values of btnode.",
            "",
            "A package of btnode has installed it. Else put a line of these into the shell's own start file:",
            "  bash  source <(btnode completion bash)",
            "  zsh   source <(btnode completion zsh), after compinit",
            "  fish  btnode completion fish | source"
        },
        mixinStandardHelpOptions = true)
final class CompletionCommand implements Callable<Integer> {
    enum Shell {
        BASH("bash-completion/completions/btnode"),
        ZSH("zsh/vendor-completions/_btnode"),
        FISH("fish/vendor_completions.d/btnode.fish");

        private final String place;

        Shell(String place) {
            this.place = place;
        }

        /** Where the shell finds its script, below /usr/share. */
        String place() {
            return place;
        }

        String script() {
            return switch (this) {
                case BASH -> Completions.bash(Main.commandLine());
                case ZSH -> Completions.zsh(Main.commandLine());
                case FISH -> Completions.fish(Main.commandLine());
            };
        }
    }

    @Parameters(paramLabel = "bash|zsh|fish", description = "The shell.")
    private Shell shell;

    @Override
    public Integer call() {
        System.out.print(shell.script());
        System.out.flush();
        return ExitCode.OK.code();
    }
}
