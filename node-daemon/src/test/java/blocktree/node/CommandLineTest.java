package blocktree.node;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;

/** What commands print and exit with, where no node needs to run. */
class CommandLineTest {
    private static final int COLUMNS_MAX = 100;

    @TempDir
    Path temporary;

    private final PrintStream realOut = System.out;
    private final PrintStream realErr = System.err;
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();
    private final ByteArrayOutputStream err = new ByteArrayOutputStream();

    @BeforeEach
    void capture() {
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
    }

    @AfterEach
    void release() {
        System.setOut(realOut);
        System.setErr(realErr);
    }

    static List<String> commands() {
        List<String> names = new ArrayList<>();
        collect(Main.commandLine(), "", names);
        return names;
    }

    private static void collect(CommandLine commandLine, String prefix, List<String> names) {
        names.add(prefix.strip());
        commandLine.getSubcommands().forEach((name, sub) -> collect(sub, prefix + " " + name, names));
    }

    @ParameterizedTest
    @MethodSource("commands")
    void everyCommandExplainsItself(String command) {
        List<String> args = new ArrayList<>(command.isEmpty() ? List.of() : List.of(command.split(" ")));
        args.add("--help");
        assertEquals(0, Main.execute(args.toArray(String[]::new)), err.toString());
        assertTrue(out.toString(StandardCharsets.UTF_8).contains("Usage: btnode"), out.toString());
        assertEquals("", err.toString());
        out.toString(StandardCharsets.UTF_8)
                .lines()
                .forEach(line -> assertTrue(line.length() <= COLUMNS_MAX, "too long: " + line));
        CommandLine explained = Main.commandLine();
        for (String word : command.isEmpty() ? new String[0] : command.split(" ")) {
            explained = Objects.requireNonNull(explained.getSubcommands().get(word));
        }
        for (CommandLine.Model.ArgSpec argument : explained.getCommandSpec().args()) {
            assertFalse(String.join("", argument.description()).isBlank(), "undescribed: " + argument);
        }
    }

    @ParameterizedTest
    @MethodSource("commands")
    void everyCommandRefusesWhatItDoesNotKnow(String command) {
        String line = (command + " --no-such-option").strip();
        assertEquals(2, Main.execute(line.split(" ")));
        assertEquals("", out.toString());
        assertTrue(err.toString().contains("see " + ("btnode " + command).strip() + " --help"), err.toString());
    }

    @ParameterizedTest
    @MethodSource("commands")
    void everyCommandSaysTheVersion(String command) {
        String line = (command + " --version").strip();
        assertEquals(0, Main.execute(line.split(" ")), err.toString());
        assertTrue(out.toString().startsWith("btnode " + Version.NAME), out.toString());
    }

    @Test
    void exitCodesAreTheSameInTheHelpAndInTheDocumentation() throws IOException {
        List<String> labels = new ArrayList<>();
        List<String> rows = Files.readAllLines(Path.of("../docs/operations.md")).stream()
                .filter(line -> line.matches("\\| \\d+ \\| `.*"))
                .map(line -> line.replaceAll("\\| (\\d+) \\| `(\\w+)` .*", "$1 $2"))
                .toList();
        List<String> codes = new ArrayList<>();
        for (ExitCode code : ExitCode.values()) {
            labels.add(code.code() + " " + code.label());
            codes.add(String.valueOf(code.code()));
        }
        assertEquals(labels, rows);
        assertEquals(
                codes,
                List.copyOf(Main.commandLine()
                        .getCommandSpec()
                        .usageMessage()
                        .exitCodeList()
                        .keySet()));
    }

    @Test
    void anOptionBeforeItsCommandIsExplained() {
        assertEquals(2, Main.execute("--data-dir", temporary.toString(), "status"));
        assertTrue(err.toString().contains("belongs after it"), err.toString());
        assertTrue(err.toString().contains("--help"), err.toString());
    }

    @Test
    void whoMeantAnotherDirectoryIsNotSentToMakeANodeWhereNoneCanBeMade() throws IOException {
        assertEquals(8, Main.execute("status", "--data-dir", temporary.toString()));
        assertTrue(err.toString().contains("btnode init --data-dir " + temporary), err.toString());
        err.reset();
        Files.writeString(temporary.resolve("mine"), "x");
        assertEquals(8, Main.execute("status", "--data-dir", temporary.toString()));
        assertTrue(err.toString().contains("name an empty directory"), err.toString());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "frobnicate",
                "",
                "run --moun /x",
                "snapshot",
                "snapshot create",
                "key",
                "mount",
                "init --node-key=sticker",
                "run --control=tcp",
                "run --data-dir",
                "run --retention often",
                "top --count -1"
            })
    void aWrongCommandLineIsExplainedBriefly(String line) {
        assertEquals(2, Main.execute(line.isEmpty() ? new String[0] : line.split(" ")));
        assertEquals("", out.toString());
        assertTrue(err.toString().contains("--help"), err.toString());
        assertTrue(err.toString().lines().count() <= 5, err.toString());
    }

    @Test
    void takesPathsAsTheyAreAndNamesValuesAsTheyAreTyped() {
        assertEquals(2, Main.execute("status", "--data-dir", ""));
        assertTrue(err.toString().contains("an empty path"), err.toString());
        err.reset();
        assertEquals(2, Main.execute("init", "--node-key=sticker"));
        assertTrue(err.toString().contains("'sticker' is none of file, passphrase, credential"), err.toString());
        err.reset();
        assertEquals(2, Main.execute("unmount"));
        assertEquals(8, Main.execute("unmount", "--data-dir", temporary.toString(), "@/etc/hostname"), err.toString());
    }

    @Test
    void saysItsVersion() {
        assertEquals(0, Main.execute("--version"));
        assertEquals(0, Main.execute("version", "--json"));
        assertTrue(out.toString().startsWith("btnode " + Version.NAME), out.toString());
        assertTrue(out.toString().contains("{\"version\":\"" + Version.NAME + "\""), out.toString());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "run",
                "status",
                "stop",
                "fsck",
                "scrub",
                "key show",
                "snapshot list",
                "snapshot create x",
                "mount /m",
                "unmount /m"
            })
    void aDirectoryWithoutANodeIsABadConfiguration(String command) {
        List<String> args = new ArrayList<>(List.of(command.split(" ")));
        args.addAll(List.of("--data-dir", temporary.toString()));
        assertEquals(ExitCode.BAD_CONFIGURATION.code(), Main.execute(args.toArray(String[]::new)));
        assertTrue(err.toString().contains("found: a directory that holds no node"), err.toString());
        assertTrue(err.toString().contains("do:    "), err.toString());
    }

    @Test
    void anErrorIsJsonTooWhereJsonIsAskedFor() {
        assertEquals(8, Main.execute("status", "--json", "--data-dir", temporary.toString()));
        assertTrue(
                out.toString().startsWith("{\"error\":{\"code\":\"bad_configuration\",\"exit_code\":8,"),
                out.toString());
        assertEquals(1, out.toString().lines().count());
    }

    @Test
    void initMakesANodeThatIsClosedToOthersAndShowsItsKeys() throws IOException {
        Path data = temporary.resolve("data");
        assertEquals(0, init(data), err.toString());
        assertEquals("rwx------", permissions(data));
        for (String name : List.of(DataDirectory.ROOT_KEY, DataDirectory.NODE_KEY)) {
            assertEquals("rw-------", permissions(data.resolve(name)), name);
        }
        assertTrue(Files.exists(data.resolve(DataDirectory.ANCHOR)));
        assertEquals(List.of("anchor", "btnode.conf", "node.key", "root.key", "tree"), list(data));

        out.reset();
        assertEquals(0, Main.execute("key", "show", "--data-dir", data.toString(), "--json"));
        assertEquals(2, out.toString().lines().count(), out.toString());
        assertTrue(
                out.toString().contains("\"role\":\"root\"") && out.toString().contains("\"protection\":\"none\""));

        out.reset();
        assertEquals(ExitCode.NOT_RUNNING.code(), Main.execute("status", "--data-dir", data.toString(), "--json"));
        assertTrue(out.toString().startsWith("{\"state\":\"not_running\""), out.toString());
        assertEquals(ExitCode.NOT_RUNNING.code(), Main.execute("stop", "--data-dir", data.toString()));
        assertEquals(ExitCode.NOT_RUNNING.code(), Main.execute("snapshot", "list", "--data-dir", data.toString()));
    }

    @Test
    void initKeepsTheKeyAndTheAnchorWhereItIsTold() throws IOException {
        Path data = temporary.resolve("data");
        Path key = temporary.resolve("stick/node.key");
        Path anchor = temporary.resolve("stick/anchor");
        Files.createDirectories(key.getParent());
        assertEquals(
                0,
                init(
                        data,
                        "--node-key=passphrase",
                        "--node-key-path",
                        key.toString(),
                        "--anchor-path",
                        anchor.toString()),
                err.toString());
        assertTrue(Files.exists(key) && Files.exists(anchor));
        assertEquals(List.of("btnode.conf", "root.key", "tree"), list(data));
        assertTrue(Files.readString(key).contains("Protection: passphrase"));
    }

    @Test
    void initTouchesNothingThatIsThere() throws IOException {
        Path data = Files.createDirectories(temporary.resolve("data"));
        Files.writeString(data.resolve("mine"), "x");
        assertEquals(ExitCode.BAD_CONFIGURATION.code(), init(data));
        assertEquals(List.of("mine"), list(data));

        Path key = temporary.resolve("old.key");
        Files.writeString(key, "old");
        assertEquals(
                ExitCode.BAD_CONFIGURATION.code(), init(temporary.resolve("other"), "--node-key-path", key.toString()));
        assertEquals("old", Files.readString(key));
        assertFalse(Files.exists(temporary.resolve("other")));
    }

    @Test
    void initLeavesNothingBehindWhenItFails() throws IOException {
        Path data = temporary.resolve("data");
        Path key = temporary.resolve("out.key");
        // Where the anchor should be made is a file: found out after the keys are made.
        Path anchor = Files.createFile(temporary.resolve("file")).resolve("anchor");
        int code = init(data, "--node-key-path", key.toString(), "--anchor-path", anchor.toString());
        assertTrue(code != 0, out.toString());
        assertFalse(Files.exists(data), () -> "left " + data);
        assertFalse(Files.exists(key));
    }

    @Test
    void initTakesAwayTheDirectoriesThatItMadeWhenItFails() throws IOException {
        Path data = temporary.resolve("a/b/data");
        int code =
                init(data, "--node-key-path", temporary.resolve("none/node.key").toString());
        assertTrue(code != 0, out.toString());
        assertFalse(Files.exists(temporary.resolve("a")));
    }

    @Test
    void initCleansUpAfterOneThatWasKilled() throws IOException {
        Path data = Files.createDirectories(temporary.resolve("data"));
        Path unfinished = Files.createDirectories(data.resolve(".init"));
        Files.createDirectories(unfinished.resolve("tree"));
        Files.writeString(unfinished.resolve(".key12345.new"), "half");
        // It was killed while it moved up what it had made.
        Path movedUp = Files.writeString(data.resolve("root.key"), "whole");
        Files.writeString(
                unfinished.resolve(".made-by-btnode-init"),
                "root.key " + Files.getAttribute(movedUp, "unix:ino") + "\n");
        assertEquals(0, init(data), err.toString());
        assertEquals(List.of("anchor", "btnode.conf", "node.key", "root.key", "tree"), list(data));
    }

    @Test
    void initKeepsAwayFromADirectoryWhereAnotherIsAtWork() throws IOException {
        Path data = Files.createDirectories(temporary.resolve("data"));
        Path lock = data.resolve(".init.lock");
        try (FileChannel other = FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                FileLock held = other.lock()) {
            Files.createDirectories(data.resolve(".init"));
            Files.createFile(data.resolve("tree"));
            assertEquals(ExitCode.ALREADY_RUNNING.code(), init(data), err.toString());
            assertTrue(err.toString().contains("another btnode init is at work"), err.toString());
            assertEquals(List.of(".init", ".init.lock", "tree"), list(data));
        }
        // That one was killed.
        Files.delete(data.resolve("tree"));
        assertEquals(0, init(data), err.toString());
        assertEquals(List.of("anchor", "btnode.conf", "node.key", "root.key", "tree"), list(data));

        Path foreign = Files.createDirectories(temporary.resolve("foreign"));
        Files.writeString(foreign.resolve(".init.lock"), "mine");
        assertEquals(ExitCode.BAD_CONFIGURATION.code(), init(foreign));
        assertEquals("mine", Files.readString(foreign.resolve(".init.lock")));
    }

    @Test
    void initDeletesNothingThatItDidNotMake() throws IOException {
        Path data = Files.createDirectories(temporary.resolve("data"));
        Path tree = Files.createDirectories(data.resolve("tree"));
        Files.writeString(tree.resolve("oak"), "mine");
        Path unfinished = Files.createDirectories(data.resolve(".init"));
        assertEquals(ExitCode.BAD_CONFIGURATION.code(), init(data));
        assertTrue(err.toString().contains("it holds tree"), err.toString());

        // A leftover beside it changes nothing.
        Path marker = Files.writeString(unfinished.resolve(".made-by-btnode-init"), "tree 1\n");
        assertEquals(ExitCode.BAD_CONFIGURATION.code(), init(data));
        assertEquals("mine", Files.readString(tree.resolve("oak")));
        Files.delete(tree.resolve("oak"));
        Files.delete(tree);

        Path foreign = Files.writeString(unfinished.resolve("notes"), "mine too");
        assertEquals(ExitCode.BAD_CONFIGURATION.code(), init(data));
        Files.move(foreign, unfinished.resolve("root.key"));
        Files.delete(marker);
        assertEquals(ExitCode.BAD_CONFIGURATION.code(), init(data));
        assertEquals("mine too", Files.readString(unfinished.resolve("root.key")));

        Path elsewhere = Files.move(unfinished, temporary.resolve("elsewhere"));
        Files.createFile(elsewhere.resolve(".made-by-btnode-init"));
        Files.createSymbolicLink(unfinished, elsewhere);
        assertEquals(ExitCode.BAD_CONFIGURATION.code(), init(data));
        assertEquals(List.of(".init"), list(data));
        assertEquals("mine too", Files.readString(elsewhere.resolve("root.key")));
    }

    @Test
    void initRefusesPathsThatAreTakenOrThatItsConfigurationCannotName() throws IOException {
        Path data = temporary.resolve("data");
        Files.createSymbolicLink(temporary.resolve("link"), Files.createDirectory(temporary.resolve("real")));
        List<List<String>> wrong = List.of(
                List.of("--node-key-path", "data/root.key"),
                List.of("--node-key-path", "data/lock"),
                List.of("--node-key-path", "data/tree/node.key"),
                List.of("--node-key-path", "data/.init/node.key"),
                List.of("--node-key-path", "data/anchor"),
                List.of("--anchor-path", "data/btnode.conf"),
                List.of("--anchor-path", "data/x/../control.sock"),
                List.of("--anchor-path", "data"),
                List.of("--anchor-path", "two\nlines"),
                List.of("--anchor-path", "blank "),
                List.of("--node-key-path", "same", "--anchor-path", "same"),
                List.of("--node-key-path", "real/same", "--anchor-path", "link/same"));
        for (List<String> options : wrong) {
            String[] absolute = options.stream()
                    .map(each -> each.startsWith("--")
                            ? each
                            : temporary.resolve(each).toString())
                    .toArray(String[]::new);
            err.reset();
            assertEquals(ExitCode.USAGE.code(), init(data, absolute), options + ": " + err);
            assertTrue(err.toString().contains("-path"), err.toString());
            assertFalse(Files.exists(data), () -> "made by " + options);
        }
        Path usual = data.resolve(DataDirectory.NODE_KEY);
        assertEquals(0, init(data, "--node-key-path", usual.toString()), err.toString());
        assertTrue(Files.exists(usual));
    }

    @Test
    void filesWithoutAnEndAreRefused() throws IOException {
        Path data = temporary.resolve("da ta");
        assertEquals(0, init(data), err.toString());
        assertTrue(out.toString().contains("Next: btnode run --data-dir '" + data + "' --mount"), out.toString());
        for (String command : List.of("verify-backup", "restore")) {
            assertEquals(9, Main.execute("key", command, "--data-dir", data.toString(), "/dev/zero"), err.toString());
        }
        assertEquals(
                9,
                Main.execute("key", "rotate-root", "--data-dir", data.toString(), "--root-key", "/dev/zero"),
                err.toString());
    }

    @Test
    void memoryThatTheMachineHasNotIsAMistakeOfTheConfiguration() throws IOException {
        Path file = temporary.resolve("btnode.toml");
        Files.writeString(file, "# mine\n  cache_size = \"100T\"\n");
        assertEquals(8, Main.execute("config", "check", "--config", file.toString()));
        assertTrue(err.toString().contains("line 2, column 3 of " + file + ": cache_size is 100T"), err.toString());
        err.reset();
        Files.writeString(file, "dirty_limit = \"1234567T\"\n");
        assertEquals(8, Main.execute("config", "check", "--config", file.toString()));
        assertTrue(err.toString().contains("line 1, column 1 of " + file + ": dirty_limit"), err.toString());
        err.reset();
        Files.writeString(file, "dirty_limit = 1001\n");
        assertEquals(8, Main.execute("config", "check", "--config", file.toString()));
        assertTrue(err.toString().contains("dirty_limit is 1001 bytes, and a heap of"), err.toString());
    }

    @Test
    void fsckTellsAWrongPassphrase() throws IOException {
        Path data = temporary.resolve("data");
        assertEquals(0, init(data), err.toString());
        Path wrong = passphraseFile("another");
        assertEquals(
                ExitCode.WRONG_PASSPHRASE.code(),
                Main.execute("fsck", "--data-dir", data.toString(), "--passphrase-file", wrong.toString(), "--json"));
        assertTrue(out.toString().contains("\"code\":\"wrong_passphrase\""), out.toString());
        assertFalse(err.toString().contains("another") || out.toString().contains("another"));
    }

    @Test
    void damageThatKeepsTheStoreFromBeingOpenedIsAFinding() throws IOException {
        Path data = temporary.resolve("data");
        assertEquals(0, init(data), err.toString());
        assertEquals(0, Main.execute("fsck", "--data-dir", data.toString()), err.toString());
        Path current = data.resolve("tree/CURRENT");
        Files.writeString(current, "nonsense");
        out.reset();
        assertEquals(ExitCode.DAMAGED_STORE.code(), Main.execute("fsck", "--data-dir", data.toString(), "--json"));
        String[] lines = out.toString().split("\n");
        assertEquals(2, lines.length, out.toString());
        assertTrue(lines[0].contains("\"kind\":\"not_opened\"") && lines[0].contains("from a copy"), lines[0]);
        assertTrue(lines[1].startsWith("{\"type\":\"summary\",\"clean\":false,\"findings\":1"), lines[1]);
        assertEquals("", err.toString());
    }

    @Test
    void aKeyFileThatOthersCanReadIsRefused() throws IOException {
        Path data = temporary.resolve("data");
        assertEquals(0, init(data), err.toString());
        Files.setPosixFilePermissions(
                data.resolve(DataDirectory.NODE_KEY), PosixFilePermissions.fromString("rw-r--r--"));
        assertEquals(ExitCode.BAD_KEY_FILE.code(), Main.execute("fsck", "--data-dir", data.toString()));
        assertTrue(err.toString().contains("open to others"), err.toString());
    }

    @Test
    void whoLostAKeyIsToldHowToGetItBack() throws IOException {
        Path data = temporary.resolve("data");
        assertEquals(0, init(data), err.toString());
        Files.delete(data.resolve(DataDirectory.NODE_KEY));
        assertEquals(ExitCode.BAD_KEY_FILE.code(), Main.execute("fsck", "--data-dir", data.toString()));
        assertTrue(err.toString().contains("btnode key restore"), err.toString());
    }

    private int init(Path data, String... options) throws IOException {
        List<String> args = new ArrayList<>(List.of("init", "--data-dir", data.toString()));
        args.addAll(List.of("--passphrase-file", passphraseFile("correct horse").toString()));
        args.addAll(List.of(options));
        return Main.execute(args.toArray(String[]::new));
    }

    private Path passphraseFile(String passphrase) throws IOException {
        Path file = Files.createTempFile(
                temporary,
                "pass",
                "",
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        return Files.writeString(file, passphrase + "\n");
    }

    private static String permissions(Path path) throws IOException {
        return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
    }

    private static List<String> list(Path directory) throws IOException {
        try (Stream<Path> entries = Files.list(directory)) {
            return entries.map(path -> path.getFileName().toString()).sorted().toList();
        }
    }
}
