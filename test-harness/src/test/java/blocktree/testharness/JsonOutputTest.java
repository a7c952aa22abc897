package blocktree.testharness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.harness.CommandResult;
import blocktree.harness.NodeCluster;
import blocktree.harness.NodeDirectory;
import blocktree.harness.NodeProgram;
import com.networknt.schema.Error;
import com.networknt.schema.InputFormat;
import com.networknt.schema.Schema;
import com.networknt.schema.SchemaLocation;
import com.networknt.schema.SchemaRegistry;
import com.networknt.schema.SpecificationVersion;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What commands print with --json is what docs/schemas says. */
class JsonOutputTest {
    private static final Path SCHEMAS = TestNode.projectDirectory().resolve("docs/schemas");

    private static final Set<String> OF_SEVERAL =
            Set.of("invite", "join", "nodes", "promote", "demote", "retire", "recover");

    /** How nodes come to be several; the harness reads it. */
    private static final Set<String> PRINTED_BY_CLUSTER = Set.of("invite", "join");

    @TempDir
    Path folder;

    private final SchemaRegistry registry = SchemaRegistry.withDefaultDialect(SpecificationVersion.DRAFT_2020_12);
    /** Of the commands that have printed something. */
    private final Set<String> seen = new TreeSet<>();

    @Test
    void schemasAreSchemasAndNotEmptyOnes() throws Exception {
        Schema schemaOfSchemas =
                registry.getSchema(SchemaLocation.of(SpecificationVersion.DRAFT_2020_12.getDialectId()));
        for (String name : names()) {
            String text = Files.readString(SCHEMAS.resolve(name + ".json"));
            assertEquals(List.of(), schemaOfSchemas.validate(text, InputFormat.JSON), name);
            for (String wrong : List.of("{}", "[]", "{\"extra\":1}")) {
                assertFalse(schema(name).validate(wrong, InputFormat.JSON).isEmpty(), name + " takes " + wrong);
            }
        }
    }

    @Test
    void everyCommandPrintsWhatItsSchemaSays() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            NodeDirectory data = node.directory();
            String passphrase = data.passphraseFile().toString();
            String extra = Files.createDirectory(node.work().resolve("extra")).toString();

            prints(0, data, "version");
            prints(0, data, "paths");
            prints(0, data, "config show");
            prints(0, data, "config check");
            prints(0, data, "key show");
            prints(6, data, "status");
            NodeDirectory other = NodeDirectory.in(node.work().resolve("other"), data.program());
            prints(0, other, "init", "--passphrase-file", other.passphraseFile().toString());

            String backup = node.work().resolve("backup.txt").toString();
            prints(0, data, "key backup", backup, "--passphrase-file", passphrase);
            prints(0, data, "key backup", "-", "--passphrase-file", passphrase);
            prints(0, data, "key verify-backup", backup, "--passphrase-file", passphrase);
            Files.delete(node.data().resolve("root.key"));
            prints(0, data, "key restore", backup, "--passphrase-file", passphrase);
            Path fresh = Files.writeString(node.work().resolve("fresh"), "another one\n");
            Files.setPosixFilePermissions(fresh, PosixFilePermissions.fromString("rw-------"));
            prints(
                    0,
                    data,
                    "key passphrase",
                    "--passphrase-file",
                    passphrase,
                    "--new-passphrase-file",
                    fresh.toString());
            String secret = fresh.toString();
            prints(0, data, "key rotate-root", "--passphrase-file", secret, "--new-passphrase-file", secret);
            prints(0, data, "key replace-node", "--passphrase-file", secret);
            prints(0, data, "key create", node.work().resolve("root.key").toString(), "--passphrase-file", secret);

            Path configuration = Files.writeString(
                    node.work().resolve("btnode.toml"), "data_dir = \"data\"\n[[mount]]\npath = \"" + extra + "\"\n");
            prints(0, data, "config show", "--config", configuration.toString());

            node.start();
            prints(0, data, "doctor");
            prints(0, data, "status");
            prints(0, data, "mount", extra);
            Files.writeString(node.mount().resolve("file"), "content");
            prints(0, data, "top", "--count", "2", "--interval", "100ms");
            prints(0, data, "bench", "--size", "4M", "--time", "50ms");
            prints(0, data, "unmount", extra);
            try (FileChannel locked = FileChannel.open(node.mount().resolve("file"), StandardOpenOption.WRITE)) {
                locked.lock();
                prints(0, data, "locks");
            }
            prints(0, data, "snapshot create", "a\nb");
            prints(0, data, "snapshot list");
            prints(0, data, "snapshot delete", "a\nb");
            prints(0, data, "fsck");
            prints(0, data, "scrub");
            prints(0, data, "stop");

            Files.delete(node.data().resolve("tree/CURRENT"));
            prints(7, data, "fsck");
        }
        Set<String> expected = names();
        expected.remove("error");
        expected.removeAll(OF_SEVERAL);
        assertEquals(expected, seen);
    }

    @Test
    void soDoThoseForSeveralMachines() throws Exception {
        try (NodeCluster cluster = NodeCluster.start(folder, NodeProgram.find(), 2)) {
            NodeDirectory data = cluster.directory(0);
            prints(0, data, "nodes");
            prints(0, data, "demote", "node1");
            prints(0, data, "promote", "node1");
            prints(
                    0,
                    data,
                    "retire",
                    "node1",
                    "--passphrase-file",
                    data.passphraseFile().toString());
            assertEquals(0, cluster.node(0).terminate());
            prints(
                    0,
                    data,
                    "recover",
                    "--yes",
                    "--passphrase-file",
                    data.passphraseFile().toString());
        }
        seen.addAll(PRINTED_BY_CLUSTER);
        assertEquals(OF_SEVERAL, seen);
    }

    @Test
    void aFailurePrintsAnErrorAsItsSchemaSays() throws Exception {
        try (TestNode node = TestNode.initialised()) {
            NodeDirectory data = node.directory();
            Path wrong = Files.writeString(node.work().resolve("wrong"), "not it\n");
            fails(2, "usage", data.command("snapshot create", "--json"));
            fails(2, "usage", data.command("status", "--json", "--frobnicate"));
            fails(3, "wrong_passphrase", data.command("fsck", "--json", "--passphrase-file", wrong.toString()));
            fails(6, "not_running", data.command("stop", "--json"));
            fails(8, "bad_configuration", data.command("init", "--json", "--passphrase-file", wrong.toString()));
            node.start();
            fails(4, "mount_point", data.command("mount", "--json", "/nonexistent"));
            fails(1, "failed", data.command("snapshot delete", "--json", "none"));
        }
    }

    private void prints(int exitCode, NodeDirectory data, String command, String... arguments) throws Exception {
        String[] all = Stream.concat(Stream.of(arguments), Stream.of("--json")).toArray(String[]::new);
        if (command.equals("version") || command.equals("key create")) {
            // They are about no data directory.
            List<String> line = Stream.of(
                            data.program().command().stream(), Stream.of(command.split(" ")), Stream.of(all))
                    .flatMap(part -> part)
                    .toList();
            Process process = new ProcessBuilder(line).start();
            requireValid(
                    command.replace(' ', '-'),
                    new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip());
            assertEquals(exitCode, process.waitFor());
            return;
        }
        CommandResult result = data.command(command, all);
        assertEquals(exitCode, result.exitCode(), () -> command + ": " + result.output() + result.errors());
        assertFalse(result.lines().isEmpty(), command);
        for (String line : result.lines()) {
            requireValid(command.replace(' ', '-'), line);
        }
    }

    private void fails(int exitCode, String code, CommandResult result) throws IOException {
        assertEquals(exitCode, result.exitCode(), result.errors());
        assertEquals(1, result.lines().size(), result.output());
        requireValid("error", result.output());
        assertTrue(
                result.output().contains("{\"code\":\"" + code + "\",\"exit_code\":" + exitCode + ","),
                result.output());
        assertFalse(result.errors().isBlank(), "people are told too");
    }

    private void requireValid(String name, String line) throws IOException {
        List<Error> errors = schema(name).validate(line, InputFormat.JSON);
        assertEquals(List.of(), errors, () -> name + ": " + line);
        seen.add(name);
    }

    private Schema schema(String name) throws IOException {
        return registry.getSchema(Files.readString(SCHEMAS.resolve(name + ".json")), InputFormat.JSON);
    }

    private static Set<String> names() throws IOException {
        try (Stream<Path> files = Files.list(SCHEMAS)) {
            return files.map(file -> file.getFileName().toString().replace(".json", ""))
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }
}
