package blocktree.node;

import ch.qos.logback.classic.Level;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.UsageMessageSpec;
import picocli.CommandLine.Spec;

/** The program {@code btnode}: each command is a class of its own. */
@Command(
        name = "btnode",
        description = "Keeps a tree of encrypted, signed files on this machine, and mounts it.",
        synopsisSubcommandLabel = "COMMAND",
        mixinStandardHelpOptions = true,
        versionProvider = VersionCommand.Provider.class,
        sortOptions = false,
        subcommands = {
            InitCommand.class,
            RunCommand.class,
            MountCommand.class,
            UnmountCommand.class,
            StatusCommand.class,
            TopCommand.class,
            BenchCommand.class,
            DoctorCommand.class,
            SnapshotCommand.class,
            FsckCommand.class,
            ScrubCommand.class,
            KeyCommand.class,
            InviteCommand.class,
            JoinCommand.class,
            NodesCommand.class,
            VoteCommands.Promote.class,
            VoteCommands.Demote.class,
            RetireCommand.class,
            RecoverCommand.class,
            LocksCommand.class,
            LockCommand.class,
            ConfigCommand.class,
            PathsCommand.class,
            StopCommand.class,
            CompletionCommand.class,
            VersionCommand.class
        },
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:it worked",
            "1:it failed, or a check has findings",
            "2:the command line is wrong",
            "3:the passphrase is wrong or missing",
            "4:the mount point cannot be used",
            "5:another process has the data directory",
            "6:no node runs on the data directory",
            "7:the store is damaged, or acknowledged writes are missing",
            "8:the data directory or its configuration cannot be used",
            "9:a key file is missing, damaged, open to others, of another tree, or no longer in force",
            "10:no space on the disk",
            "11:not done in time"
        },
        footer = {
            "",
            "Start with:  btnode init --data-dir DIR   then   btnode run --data-dir DIR --mount MOUNTPOINT",
            "Each command explains itself:  btnode COMMAND --help"
        })
final class Main implements Runnable {
    private static final int USAGE_COLUMNS_MAX = 100;

    @Spec
    private CommandSpec spec;

    private Main() {}

    public static void main(String[] args) {
        StandardOutput output = StandardOutput.install();
        // What a store notes while it is open says nothing to whoever gave a command; a node that runs sets its own.
        EventLog.start(EventLog.Format.TEXT, Level.ERROR);
        int exitCode = execute(args);
        try {
            output.requireWhole();
        } catch (NodeException e) {
            explain(e);
            exitCode = exitCode == ExitCode.OK.code() ? e.exitCode().code() : exitCode;
        }
        System.exit(exitCode);
    }

    /** Runs one command and says how it ended. */
    static int execute(String... args) {
        return commandLine().execute(args);
    }

    static CommandLine commandLine() {
        CommandLine commandLine = new CommandLine(new Main());
        commandLine.setExpandAtFiles(false); // a path may begin with '@'
        commandLine.registerConverter(Path.class, Main::path);
        registerChoice(commandLine, NodeSettings.NodeKeyProtection.class);
        registerChoice(commandLine, EventLog.Format.class);
        registerChoice(commandLine, RunCommand.Control.class);
        registerChoice(commandLine, RunCommand.LogLevel.class);
        registerChoice(commandLine, Setting.FuseLibrary.class);
        registerChoice(commandLine, CompletionCommand.Shell.class);
        commandLine.setUsageHelpWidth(USAGE_COLUMNS_MAX);
        commandLine.setUsageHelpAutoWidth(true);
        commandLine.setHelpFactory(Main::help);
        sayVersion(commandLine);
        commandLine.setExecutionExceptionHandler(Main::report);
        commandLine.setParameterExceptionHandler(Main::explainUsage);
        return commandLine;
    }

    /** As wide as the terminal, within what reads well. */
    private static CommandLine.Help help(CommandSpec spec, CommandLine.Help.ColorScheme colors) {
        UsageMessageSpec usage = spec.usageMessage();
        int columns = Math.min(usage.width(), USAGE_COLUMNS_MAX);
        usage.autoWidth(false);
        usage.width(columns);
        return new CommandLine.Help(spec, colors);
    }

    /** So that each command answers its --version. */
    private static void sayVersion(CommandLine commandLine) {
        commandLine.getCommandSpec().versionProvider(new VersionCommand.Provider());
        commandLine.getSubcommands().values().forEach(Main::sayVersion);
    }

    private static <E extends Enum<E>> void registerChoice(CommandLine commandLine, Class<E> type) {
        commandLine.registerConverter(type, text -> {
            try {
                return Choice.of(type, text);
            } catch (IllegalArgumentException e) {
                throw new CommandLine.TypeConversionException(e.getMessage());
            }
        });
    }

    private static Path path(String text) {
        if (text.isEmpty()) {
            throw new CommandLine.TypeConversionException("an empty path");
        }
        return Path.of(text);
    }

    @Override
    public void run() {
        throw new CommandLine.ParameterException(spec.commandLine(), "Which command?");
    }

    private static int explainUsage(CommandLine.ParameterException e, String[] args) {
        String name = e.getCommandLine().getCommandSpec().qualifiedName();
        reportToPrograms(
                new NodeException(
                        ExitCode.USAGE,
                        "to read the command line",
                        String.valueOf(e.getMessage()),
                        "see " + name + " --help"),
                e.getCommandLine(),
                List.of(args));
        System.err.println("btnode: " + e.getMessage());
        CommandLine.UnmatchedArgumentException.printSuggestions(e, System.err);
        if (e.getCommandLine().getParent() == null && args.length > 0 && args[0].startsWith("-")) {
            System.err.println("  found: an option before the command; it belongs after it");
        }
        System.err.println("  do:    see " + name + " --help");
        return ExitCode.USAGE.code();
    }

    private static int report(Exception e, CommandLine failed, CommandLine.ParseResult parsed) throws Exception {
        if (!(e instanceof NodeException failure)) {
            throw e;
        }
        reportToPrograms(failure, failed, parsed.expandedArgs());
        explain(failure);
        return failure.exitCode().code();
    }

    private static void explain(NodeException failure) {
        String level = Supervisor.isJournal(System.getenv()) ? EventLog.journalPrefix(Level.ERROR) : "";
        System.err.println(level + "btnode: failed " + failure.tried());
        System.err.println(level + "  found: " + failure.found());
        System.err.println(level + "  do:    " + failure.remedy());
    }

    /** Prints a failure as JSON where the command was asked for that. */
    private static void reportToPrograms(NodeException failure, CommandLine failed, List<String> args) {
        if (failed.getCommandSpec().findOption("--json") == null || !args.contains("--json")) {
            return;
        }
        Map<String, Object> error = new LinkedHashMap<>();
        error.put("code", failure.exitCode().label());
        error.put("exit_code", failure.exitCode().code());
        error.put("tried", failure.tried());
        error.put("found", failure.found());
        error.put("do", failure.remedy());
        System.out.println(Json.of(Map.of("error", error)));
    }
}
