package blocktree.testharness;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.testharness.posix.Posix;
import blocktree.testharness.program.Program;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.TestInstance;

/** Programs that people use, on the mount of one node that is restarted between writing and checking where that could matter. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
abstract class RealProgramsTest {
    private final String library;
    private final List<String> options;
    TestNode node;
    Path directory;

    @SuppressWarnings("NullAway.Init")
    RealProgramsTest(String library, String... options) {
        this.library = library;
        this.options = List.of(options);
    }

    @BeforeAll
    void startNode() throws Exception {
        node = TestNode.initialised()
                .withArguments("--fuse-library", library)
                .withArguments(options.toArray(String[]::new));
        node.start();
    }

    @AfterAll
    void everythingIsInOrder() throws Exception {
        try (TestNode closing = node) {
            assertEquals(library, closing.process().status().mounts().get(0).library());
            closing.requireCleanFsck();
        }
    }

    @BeforeEach
    void makeDirectory(TestInfo test) throws IOException {
        directory = Files.createDirectory(
                node.mount().resolve(test.getTestMethod().orElseThrow().getName()));
    }

    @Test
    void git() throws Exception {
        run("git init -q -b main origin");
        Path origin = directory.resolve("origin");
        shell(origin, "git config user.name tester; git config user.email tester@example.org");
        for (int i = 0; i < 150; i++) {
            Path file = origin.resolve("src/" + i % 10 + "/file" + i);
            Files.createDirectories(file.getParent());
            Files.writeString(file, ("line " + i + "\n").repeat(1 + i * 3));
        }
        shell(origin, "git add -A; git commit -q -m one");
        shell(origin, """
                git checkout -q -b side; echo side >> src/1/file1; git mv src/2/file2 src/2/moved; git commit -q -am side
                git checkout -q main; echo main >> src/3/file3; git commit -q -am main
                git merge -q -m merge side
                git clone -q --no-hardlinks . ../clone
                git clone -q . ../linked
                git gc -q --aggressive --prune=now
                git fsck --strict --full
                test -z "$(git status --porcelain)"
                """);
        node.restart();
        shell(directory, """
                for r in origin clone linked; do git -C $r fsck --strict --full; test -z "$(git -C $r status --porcelain)"; done
                test "$(git -C origin rev-parse HEAD)" = "$(git -C linked rev-parse HEAD)"
                git -C clone gc -q
                git -C clone log --oneline | wc -l
                """);
    }

    @Test
    void sqliteWithRollbackJournal() {
        sqlite("data.db", "create table t(id integer primary key, text text);");
        for (int i = 0; i < 5; i++) {
            sqlite(
                    "data.db",
                    "with recursive n(i) as (select 1 union all select i+1 from n where i < 400) insert into t(text) select hex(randomblob(200)) from n;");
        }
        sqlite(
                "data.db",
                "delete from t where id % 3 = 0; update t set text = upper(text) || 'x' where id % 5 = 0; vacuum;");
        assertEquals("ok", sqlite("data.db", "pragma integrity_check;"));
        assertEquals("1334", sqlite("data.db", "select count(*) from t;"));
        assertFalse(Files.exists(directory.resolve("data.db-journal")));
    }

    @Test
    void sqliteWithWriteAheadLogAndMemoryMap() throws Exception {
        assertEquals("wal", sqlite("data.db", "pragma journal_mode=wal;"));
        sqlite(
                "data.db",
                "pragma mmap_size=268435456; create table t(id integer primary key, text text); with recursive n(i) as (select 1 union all select i+1 from n where i < 3000) insert into t(text) select hex(randomblob(200)) from n;");
        // Two processes at once share the log's index through mmap.
        Process reader = Program.shell(
                        directory,
                        "for i in $(seq 20); do sqlite3 -cmd '.timeout 10000' data.db 'pragma mmap_size=268435456; select count(*) from t;' > /dev/null; done")
                .start(ProcessBuilder.Redirect.DISCARD);
        for (int i = 0; i < 20; i++) {
            sqlite("data.db", "pragma mmap_size=268435456; insert into t(text) values (hex(randomblob(2000)));");
        }
        assertEquals(0, reader.waitFor());
        assertEquals(
                "ok",
                sqlite("data.db", "pragma mmap_size=268435456; pragma integrity_check;")
                        .lines()
                        .skip(1)
                        .findFirst()
                        .orElseThrow());
        assertEquals("3020", sqlite("data.db", "select count(*) from t;"));
        node.restart();
        assertEquals("ok", sqlite("data.db", "pragma integrity_check;"));
    }

    @Test
    void sqliteAfterItsProcessWasKilled() throws Exception {
        for (String mode : List.of("delete", "wal")) {
            String database = mode + ".db";
            Process writer = startSqliteWriter(database, mode);
            long acknowledged = awaitRows(database, 30);
            Posix.signal(writer.pid(), Posix.SIGKILL);
            writer.waitFor();
            assertSqliteHolds(database, acknowledged);
        }
    }

    @Test
    void sqliteAfterTheNodeWasKilled() throws Exception {
        for (String mode : List.of("delete", "wal")) {
            String database = mode + ".db";
            Process writer = startSqliteWriter(database, mode);
            awaitRows(database, 30);
            node.kill();
            writer.waitFor();
            node.start();
            assertSqliteHolds(database, rowsReported(database));
        }
    }

    // "extra": with "full" the end of the journal, an unlink, is not synced and may come back after a crash on any file
    // system.
    /** Commits one row after the other, telling outside of the mount of each that was acknowledged. */
    private Process startSqliteWriter(String database, String mode) throws IOException {
        Path script = node.work().resolve(database + ".sql");
        StringBuilder sql = new StringBuilder(".bail on\npragma journal_mode=" + mode
                + ";\npragma synchronous=extra;\ncreate table t(id integer primary key, text text);\n");
        for (int i = 1; i <= 20_000; i++) {
            sql.append("insert into t(text) values (hex(randomblob(500)));\nselect 'row ' || max(id) from t;\n");
        }
        Files.writeString(script, sql);
        Program.require("sqlite3");
        return new ProcessBuilder(
                        "stdbuf", "-oL", "sqlite3", directory.resolve(database).toString())
                .redirectInput(script.toFile())
                .redirectErrorStream(true)
                .redirectOutput(node.work().resolve(database + ".out").toFile())
                .start();
    }

    private long awaitRows(String database, long count) throws Exception {
        Await.until(
                Duration.ofSeconds(30), database + " has " + count + " rows", () -> rowsReported(database) >= count);
        return rowsReported(database);
    }

    private long rowsReported(String database) throws IOException {
        try (Stream<String> lines = Files.lines(node.work().resolve(database + ".out"))) {
            return lines.filter(line -> line.matches("row \\d+")).count();
        }
    }

    private void assertSqliteHolds(String database, long acknowledged) {
        assertEquals("ok", sqlite(database, "pragma integrity_check;"));
        long found = Long.parseLong(sqlite(database, "select count(*) from t;"));
        assertTrue(
                found >= acknowledged,
                () -> database + " has " + found + " rows, " + acknowledged + " were acknowledged");
    }

    @Test
    void tarAndRsyncThereAndBack() throws Exception {
        Program.require("tar", "rsync", "setfattr", "setfacl");
        Path source = Files.createDirectory(node.work().resolve("source"));
        shell(source, """
                n=0
                for d in $(ls -d /usr/share/doc/* | sort); do
                  [ -d "$d" ] && [ ! -L "$d" ] || continue
                  cp -a "$d" .
                  n=$((n + $(find "$d" | wc -l)))
                  [ $n -lt 700 ] || break
                done
                mkdir special
                cd special
                head -c 300000 /dev/urandom > data; ln data hard; ln data 'hard link'; ln -s data soft; ln -s nowhere dangling
                truncate -s 5M sparse; printf end >> sparse
                printf x > $'odd\\n\\xff name'; mkfifo fifo; : > empty
                printf suid > suid; chmod 6755 suid; mkdir sticky; chmod 1777 sticky; mkdir setgid; chmod 2770 setgid
                printf a > owned; chown 1234:4321 owned
                printf b > attributes; setfattr -n user.one -v 1 attributes; setfattr -n user.two -v "$(head -c 1500 /dev/zero | tr '\\0' y)" attributes; setfattr -n user.dir -v d sticky
                printf c > list; setfacl -m u:1234:rw,g:4321:r list; setfacl -m u:1234:rwx -d -m u:1234:rx,o:- setgid
                touch -d '2001-02-03 04:05:06.789012345' empty; touch -h -d '1999-01-01 00:00:00.5' soft
                """);
        run("rsync -aHX " + lists("-A") + " --numeric-ids " + source + "/ there/");
        run("tar -C " + source + " --xattrs " + lists("--acls") + " --numeric-owner -cf " + node.work() + "/all.tar .");
        Files.createDirectory(directory.resolve("untarred"));
        run("tar -C untarred --xattrs " + lists("--acls") + " --numeric-owner -p -xf " + node.work() + "/all.tar");
        node.restart();
        run("tar -C untarred --xattrs " + lists("--acls") + " --numeric-owner --compare -f " + node.work()
                + "/all.tar");
        for (String copy : List.of("there", "untarred")) {
            assertEquals(
                    "",
                    run("rsync -aHX " + lists("-A") + " --numeric-ids --delete -n -i --checksum " + source + "/ " + copy
                            + "/"));
        }
        run("rsync -aHX " + lists("-A") + " --numeric-ids there/ " + node.work() + "/back/");
        assertEquals(
                "",
                run("rsync -aHX " + lists("-A") + " --numeric-ids --delete -n -i --checksum " + source + "/ "
                        + node.work() + "/back/"));
        run("tar -C there --xattrs " + lists("--acls") + " --numeric-owner -cf " + node.work() + "/again.tar .");
        run("tar -C " + source + " --xattrs " + lists("--acls") + " --numeric-owner --compare -f " + node.work()
                + "/again.tar");
        run("diff -r --no-dereference " + source + "/special/data there/special/data");
        run("rm -rf there untarred");
    }

    /** The option, where access control lists are kept. */
    private String lists(String option) {
        return options.contains("--acl") ? option : "";
    }

    @Test
    void aMavenBuild() throws Exception {
        Path project = TestNode.projectDirectory();
        run("cp -r " + project.resolve("pom.xml") + " " + project.resolve(".mvn") + " " + project.resolve("config")
                + " .");
        run("mkdir crypto; cp -r " + project.resolve("crypto/pom.xml") + " " + project.resolve("crypto/src")
                + " crypto/");
        Program.in(
                        directory,
                        "mvn",
                        "-o",
                        "-q",
                        "-f",
                        "crypto/pom.xml",
                        "package",
                        "-Dmaven.test.skip",
                        "-Djacoco.skip")
                .with("JAVA_HOME", System.getProperty("java.home"))
                .within(Duration.ofMinutes(4))
                .run();
        String listing =
                run("jar=$(ls crypto/target/crypto-*.jar); " + System.getProperty("java.home") + "/bin/jar tf $jar");
        assertTrue(listing.contains("blocktree/crypto/BlockId.class"), listing);
    }

    @Test
    void vimsSavePatterns() throws Exception {
        for (String copy : List.of("yes", "no", "auto", "auto,breakhardlink")) {
            Path file = directory.resolve("file " + copy);
            Files.writeString(file, "one\ntwo\n");
            Files.createLink(directory.resolve("link " + copy), file);
            Posix.chmod(file.toString(), 0640);
            Program.in(
                            directory,
                            "vim",
                            "-u",
                            "NONE",
                            "-N",
                            "-es",
                            "--not-a-term",
                            "-c",
                            "set backup writebackup swapfile fsync undofile backupdir=. directory=. undodir=. backupskip= backupcopy="
                                    + copy,
                            "-c",
                            "edit " + file.getFileName().toString().replace(" ", "\\ "),
                            "-c",
                            "preserve",
                            "-c",
                            "%s/two/three/",
                            "-c",
                            "write",
                            "-c",
                            "normal Gofour",
                            "-c",
                            "write",
                            "-c",
                            "qall!")
                    .run();
            assertEquals("one\nthree\nfour\n", Files.readString(file), copy);
            assertEquals("one\nthree\n", Files.readString(directory.resolve(file.getFileName() + "~")), copy);
            assertEquals(0640, Posix.stat(file.toString()).mode() & 0777, copy);
        }
        assertEquals("", run("find . -name '*.sw*'"));
    }

    /** A lock file beside the document, a temporary file that is synced and renamed over it, the old version kept as a backup. */
    @Test
    void anOfficeProgramsSavePattern() throws Exception {
        Path document = directory.resolve("report.odt");
        byte[] content = new byte[300_000];
        for (int save = 0; save < 20; save++) {
            new Random(save).nextBytes(content);
            Path lock = directory.resolve(".~lock.report.odt#");
            Path temporary = directory.resolve("lu" + save + "abc.tmp");
            Files.write(lock, ",user,host,".getBytes(UTF_8), StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
            try (FileChannel channel = FileChannel.open(
                    temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
                assertTrue(channel.tryLock() != null, "lock");
                channel.write(ByteBuffer.wrap(content, 0, 100_000));
                channel.write(ByteBuffer.wrap(content, 100_000, 200_000));
                channel.write(ByteBuffer.wrap(content, 0, 30), 0);
                channel.truncate(content.length);
                channel.force(true);
            }
            if (save > 0) {
                Files.deleteIfExists(directory.resolve("report.bak"));
                Files.createLink(directory.resolve("report.bak"), document);
            }
            Posix.rename(temporary.toString(), document.toString());
            Files.delete(lock);
            assertArrayEquals(content, Files.readAllBytes(document), "save " + save);
        }
        byte[] previous = new byte[300_000];
        new Random(18).nextBytes(previous);
        assertArrayEquals(previous, Files.readAllBytes(directory.resolve("report.bak")));
        assertEquals(
                List.of("report.bak", "report.odt"),
                List.copyOf(Posix.list(directory.toString()).keySet()));
    }

    @Test
    void findAndDu() throws Exception {
        run(
                "mkdir -p a/b/c a/d; for i in $(seq 300); do head -c 5000 /dev/urandom > a/b/c/$i; done; truncate -s 1G a/d/sparse; ln a/b/c/1 a/d/again; ln -s b a/symlink");
        assertEquals("302", run("find . -type f | wc -l").strip());
        assertEquals("2", run("find . -samefile a/d/again | wc -l").strip());
        assertEquals("5", run("find . -type d | wc -l").strip());
        assertEquals(
                "1",
                run("find . -type l -printf '%p %l\\n' | grep -c 'symlink b'").strip());
        assertEquals("301", run("find . -type f -size 10b | wc -l").strip());
        long kib = Long.parseLong(run("du -sk . | cut -f1").strip());
        assertTrue(kib > 1400 && kib < 8000, () -> "du says " + kib + " KiB for 1500 KiB of data and a hole of 1 GiB");
        assertTrue(Long.parseLong(
                        run("du -s --apparent-size -b a/d/sparse | cut -f1").strip())
                == 1L << 30);
        run("find a -delete");
        assertEquals("", run("ls -A"));
    }

    @Test
    void fioVerifiesWhatItWrote() {
        Program.require("fio");
        for (String engine : List.of("psync", "mmap")) {
            run("fio --name=verify --filename=" + engine + ".dat --ioengine=" + engine + " --rw=randwrite --bsrange="
                    + (engine.equals("mmap") ? "4k" : "1k")
                    + "-96k --size=48m --verify=crc32c --verify_fatal=1 --fsync=64 --randseed=4711 --minimal");
        }
        run(
                "fio --name=direct --filename=direct.dat --ioengine=psync --direct=1 --rw=randrw --bs=4k --size=16m --verify=crc32c --verify_fatal=1 --minimal");
        run(
                "fio --name=jobs --directory=. --numjobs=3 --ioengine=psync --rw=randwrite --bs=8k --size=8m --verify=crc32c --verify_fatal=1 --minimal");
    }

    @Test
    void copiesSparseReflinkedAndDirect() throws Exception {
        run(
                "head -c 3000000 /dev/urandom > data; truncate -s 64M holes; dd if=data of=holes bs=1M seek=30 conv=notrunc status=none");
        run("cp --reflink=auto data copy; cmp data copy");
        run("cp --sparse=always holes holes2; cmp holes holes2; cp -a holes holes3; cmp holes holes3");
        long kib = Long.parseLong(run("du -k holes2 | cut -f1").strip());
        assertTrue(kib < 10_000, () -> "a sparse copy of 3 MB in 64 MiB takes " + kib + " KiB");
        run(
                "dd if=/dev/zero of=direct bs=64k count=20 oflag=direct status=none; dd if=data of=direct bs=4k count=700 oflag=direct conv=notrunc status=none");
        run("dd if=direct of=" + node.work() + "/read bs=128k iflag=direct status=none; cmp direct " + node.work()
                + "/read");
        run("cmp -n 2867200 direct data; dd if=data of=synced bs=64k oflag=dsync status=none; cmp data synced");
        run(
                "cat data >> appended; cat data >> appended; test $(stat -c %s appended) = 6000000; tail -c 3000000 appended | cmp - data");
        run("mv data moved; split -b 1000000 moved part.; cat part.* | cmp - moved");
    }

    @Test
    void memoryMapsSharedByWriterAndReader() throws Exception {
        Path file = directory.resolve("mapped");
        try (FileChannel writer = FileChannel.open(
                        file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
                FileChannel reader = FileChannel.open(file, StandardOpenOption.READ)) {
            writer.write(ByteBuffer.allocate(1 << 20));
            MappedByteBuffer written = writer.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20);
            MappedByteBuffer read = reader.map(FileChannel.MapMode.READ_ONLY, 0, 1 << 20);
            Random random = new Random(5);
            for (int i = 0; i < 2000; i++) {
                int at = random.nextInt(1 << 20);
                byte value = (byte) random.nextInt();
                if (i % 2 == 0) {
                    written.put(at, value);
                } else {
                    writer.write(ByteBuffer.wrap(new byte[] {value}), at);
                }
                assertEquals(value, read.get(at), "through the other map");
                ByteBuffer one = ByteBuffer.allocate(1);
                reader.read(one, at);
                assertEquals(value, one.get(0), "through read");
            }
            written.force();
            byte[] expected = new byte[1 << 20];
            written.get(0, expected);
            assertArrayEquals(expected, Files.readAllBytes(file));
            // What msync acknowledged must be there however the node ends.
            Files.write(node.work().resolve("expected"), expected);
        }
        node.kill();
        node.start();
        assertArrayEquals(Files.readAllBytes(node.work().resolve("expected")), Files.readAllBytes(file));
    }

    String run(String script) {
        return shell(directory, script);
    }

    static String shell(Path where, String script) {
        return Program.shell(where, script).run();
    }

    private String sqlite(String database, String sql) {
        return Program.in(directory, "sqlite3", "-bail", "-cmd", ".timeout 10000", database, sql)
                .run()
                .strip();
    }
}
