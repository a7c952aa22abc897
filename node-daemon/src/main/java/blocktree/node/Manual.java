package blocktree.node;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import picocli.CommandLine;
import picocli.CommandLine.Model.CommandSpec;
import picocli.codegen.docgen.manpage.ManPageGenerator;

/**
 * Writes what is installed beside the program: manual pages, in AsciiDoc, and completions. Only the build runs it (profile {@code manual} of this
 * module); its libraries are not part of the program.
 */
final class Manual {
    private static final String SEE_ALSO = "%n== See also%n%n%s%n";
    private static final String FILES_AND_ENVIRONMENT = """

            == Files

            */etc/btnode/btnode.toml*, or *~/.config/btnode/btnode.toml* of who is not root::
              The configuration, if there is one.

            */var/lib/btnode*, or *~/.local/state/btnode* of who is not root::
              The data directory, unless told otherwise.

            == Environment

            *BTNODE_CONFIG*::
              The configuration, as *--config* names it.

            *BTNODE_DATA_DIR* and others::
              Each setting has a variable: *btnode.toml*(5).

            *BTNODE_JAVA_HOME*, *BTNODE_JAVA_OPTS*::
              The Java to run on, and more options for it.
            """;

    private Manual() {}

    /**
     * Writes all of it.
     *
     * @param args the folder for the sources of the pages; that for the completions; an example of {@code btnode.toml}; the day to put on the pages, as
     *     2026-01-01, after which more may follow
     */
    public static void main(String[] args) throws IOException {
        Path pages = Path.of(args[0]);
        String date = args[3].substring(0, "2026-01-01".length());
        CommandLine commands = Main.commandLine();
        commands.setUsageHelpAutoWidth(false); // the same pages on every terminal
        writeCommand(commands, date, Files.createDirectories(pages.resolve("man1")));
        Path configuration = pages.resolve("man5/" + ConfigurationFile.NAME + ".adoc");
        Files.writeString(create(configuration), configuration(date, Files.readString(Path.of(args[2]))));
        Path share = Path.of(args[1]);
        for (CompletionCommand.Shell shell : CompletionCommand.Shell.values()) {
            Files.writeString(create(share.resolve(shell.place())), shell.script());
        }
    }

    private static Path create(Path file) throws IOException {
        Files.createDirectories(file.getParent());
        return file;
    }

    private static void writeCommand(CommandLine command, String date, Path folder) throws IOException {
        CommandSpec spec = command.getCommandSpec();
        Files.writeString(folder.resolve(spec.qualifiedName("-") + ".adoc"), command(date, spec));
        for (CommandLine each : command.getSubcommands().values()) {
            writeCommand(each, date, folder);
        }
    }

    private static String command(String date, CommandSpec spec) {
        StringWriter page = new StringWriter();
        PrintWriter writer = new PrintWriter(page, true);
        ManPageGenerator.writeSingleManPage(writer, spec);
        CommandSpec parent =
                spec.parent() == null ? null : spec.parent().commandLine().getCommandSpec();
        if (parent == null) {
            writer.print(FILES_AND_ENVIRONMENT);
            writer.printf(SEE_ALSO, "*btnode.toml*(5), *mount.fuse*(8), *systemctl*(1)");
        } else {
            writer.printf("%n== Exit status%n%n*btnode*(1) lists what commands end with.%n");
            String above = parent.parent() == null ? "" : ", *" + parent.qualifiedName("-") + "*(1)";
            writer.printf(SEE_ALSO, "*btnode*(1)" + above + ", *btnode.toml*(5)");
        }
        return page.toString()
                .replaceFirst("(?s)^.*?(?=\n= )", header(date))
                .replace("==  Exit codes:", "== Exit status")
                // a name and what it means, as a description has them
                .replaceAll("(?m)^  (\\S+)  +(\\S.*)$", "\n*$1*::\n  $2")
                // apropos shows this line
                .replaceFirst("(?m)^(\\S+ - .*?)[.:]( .*)?$", "$1")
                // pages beside this one, in a terminal
                .replaceAll("xref:(\\S+)\\.adoc\\[\\*\\S+\\*]", "*$1*(1)");
    }

    private static String header(String date) {
        return """
                :doctype: manpage
                :docdate: %s
                :manmanual: Blocktree
                :mansource: Blocktree %s""".formatted(date, Version.NAME);
    }

    private static String configuration(String date, String example) {
        StringBuilder page = new StringBuilder(header(date)).append("""

                = btnode.toml(5)

                == Name

                btnode.toml - configuration of a Blocktree node

                == Synopsis

                */etc/btnode/btnode.toml* for root, *~/.config/btnode/btnode.toml* ($XDG_CONFIG_HOME) for others, or what
                *--config* or the variable *BTNODE_CONFIG* names

                == Description

                The file is TOML. What it does not say has its default, and without a file everything has. A variable of the
                environment goes before the file, an option of the command line before both. *btnode config check* finds every
                mistake, *btnode config show* prints what counts and where it comes from.

                A _TIME_ is a number with ms, s, m, h or d, such as "7d"; a _SIZE_ is one with K, M, G or T, powers of 1,024, such as
                "64M"; a _PATH_ is absolute, or relative to the folder of the file.

                == Settings
                """);
        for (Setting setting : Setting.values()) {
            String byDefault = setting.defaultText().isEmpty() ? "" : " Default: " + setting.defaultText() + ".";
            page.append(entry(
                    setting.key(),
                    '"' + setting.label() + '"',
                    sentence(setting.description()) + byDefault + " Variable: " + setting.variable() + "."));
        }
        page.append("""

                == Mounts

                Each table +[[mount]]+ is a mount. The option *--mount* of *btnode run* takes the place of all of them.
                """);
        page.append(
                entry(ConfigurationFile.MOUNT_PATH, "\"PATH\"", "The empty directory to mount on. Has to be given."));
        CommandSpec mount = CommandSpec.forAnnotatedObject(new MountCommand());
        for (String key : ConfigurationFile.MOUNT_KEYS) {
            CommandLine.Model.OptionSpec option = mount.findOption("--" + key.replace('_', '-'));
            if (option != null) {
                String label = option.arity().max() == 0 ? "true|false" : '"' + option.paramLabel() + '"';
                page.append(entry(key, label, String.join(" ", option.description())));
            }
        }
        page.append("\n== Example\n\n----\n").append(example).append("----\n");
        return page.append(SEE_ALSO.formatted("*btnode*(1), *btnode-config*(1), *btnode-run*(1)"))
                .toString();
    }

    private static String entry(String key, String label, String text) {
        return "%n*%s* = _%s_::%n  %s%n".formatted(key, label, text);
    }

    private static String sentence(String text) {
        return text.substring(0, 1).toUpperCase(Locale.ROOT) + text.substring(1) + ".";
    }
}
