package blocktree.store;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.BlockId;
import blocktree.crypto.Identity;
import blocktree.crypto.SignatureKind;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.slf4j.LoggerFactory;

/**
 * Somebody who can write the disk edits the database of a store that is not running (docs/threat-model.md). What comes of it is an
 * error and an event, or the store does not open at all: never wrong bytes, and what was not touched stays usable.
 */
class TamperTest {

    /** Keeps superseded generations for the attacker to replay. */
    private static final Retention KEEP = new Retention(0, 86_400_000);

    @TempDir
    Path directory;

    private final ListAppender<ILoggingEvent> events = new ListAppender<>();
    private final Logger logger = (Logger) LoggerFactory.getLogger("blocktree.store");

    @BeforeEach
    void listen() {
        events.start();
        logger.addAppender(events);
    }

    @AfterEach
    void stopListening() {
        logger.detachAppender(events);
    }

    /** The victim has two generations, the second with sector 0 overwritten; the other two blocks have one. */
    private static final class Scene {

        private final OpenBlock victim;
        private final OpenBlock accomplice;
        private final OpenBlock bystander;

        Scene(TestTree tree) throws StoreException {
            OpenBlock first = tree.create("victim", 1, 2, 3);
            tree.store.ledger().checkpoint();
            victim = tree.put(first, 0, 4);
            accomplice = tree.create("accomplice", 11, 12, 13);
            bystander = tree.create("bystander", 21, 22, 23);
        }
    }

    /** The attacker's view: the raw database, no keys. */
    private record Disk(Rocks rocks, Scene scene) {

        byte[] get(Column column, byte[] key) throws StoreException {
            byte[] value = rocks.get(column, key);
            assertNotNull(value, "the attack needs something to attack");
            return value;
        }

        void put(Column column, byte[] key, byte[] value) throws StoreException {
            rocks.put(column, key, value);
        }

        void delete(Column column, byte[] key) throws StoreException {
            get(column, key);
            rocks.delete(column, key);
        }

        void flip(Column column, byte[] key, int at) throws StoreException {
            byte[] value = get(column, key);
            value[at < 0 ? value.length + at : at] ^= 0x10;
            put(column, key, value);
        }

        void swap(Column column, byte[] a, byte[] b) throws StoreException {
            byte[] first = get(column, a);
            put(column, a, get(column, b));
            put(column, b, first);
        }

        byte[] sector(long index, long generation) {
            return Keys.sector(scene.victim.id(), index, generation);
        }

        byte[] header(long generation) {
            return Keys.header(scene.victim.id(), generation);
        }
    }

    @FunctionalInterface
    private interface Edit {
        void on(Disk disk) throws StoreException;
    }

    private enum Attack {
        FLIP_SECTOR(d -> d.flip(Column.SECTORS, d.sector(0, 2), 200)),
        FLIP_SECTOR_EPOCH(d -> d.flip(Column.SECTORS, d.sector(0, 2), 4)),
        FLIP_SECTOR_TAG(d -> d.flip(Column.SECTORS, d.sector(0, 2), -1)),
        TRUNCATE_SECTOR(d ->
                d.put(Column.SECTORS, d.sector(0, 2), Arrays.copyOf(d.get(Column.SECTORS, d.sector(0, 2)), 1000))),
        EXTEND_SECTOR(d ->
                d.put(Column.SECTORS, d.sector(0, 2), Arrays.copyOf(d.get(Column.SECTORS, d.sector(0, 2)), 100_000))),
        EMPTY_SECTOR(d -> d.put(Column.SECTORS, d.sector(0, 2), new byte[0])),
        DELETE_SECTOR(d -> d.delete(Column.SECTORS, d.sector(0, 2))),
        SWAP_SECTORS_OF_A_BLOCK(d -> d.swap(Column.SECTORS, d.sector(0, 2), d.sector(1, 1))),
        SWAP_SECTORS_OF_TWO_BLOCKS(
                d -> d.swap(Column.SECTORS, d.sector(0, 2), Keys.sector(d.scene.accomplice.id(), 0, 1))),
        REPLAY_OLDER_SECTOR(d -> d.put(Column.SECTORS, d.sector(0, 2), d.get(Column.SECTORS, d.sector(0, 1)))),
        FLIP_NODE(d -> d.flip(Column.NODES, Keys.node(d.scene.victim.id(), 0, 0, 2), 20)),
        DELETE_NODE(d -> d.delete(Column.NODES, Keys.node(d.scene.victim.id(), 0, 0, 2))),
        REPLAY_OLDER_NODE(d -> {
            byte[] old = d.get(Column.NODES, Keys.node(d.scene.victim.id(), 0, 0, 1));
            d.put(Column.NODES, Keys.node(d.scene.victim.id(), 0, 0, 2), old);
        }),
        FLIP_HEADER(d -> d.flip(Column.HEADERS, d.header(2), 150)),
        TRUNCATE_HEADER(d -> d.put(Column.HEADERS, d.header(2), Arrays.copyOf(d.get(Column.HEADERS, d.header(2)), 99))),
        DELETE_NEWEST_HEADER(d -> d.delete(Column.HEADERS, d.header(2))),
        DELETE_ALL_HEADERS(d -> {
            d.delete(Column.HEADERS, d.header(2));
            d.delete(Column.HEADERS, d.header(1));
        }),
        REPLAY_OLDER_HEADER(d -> d.put(Column.HEADERS, d.header(2), d.get(Column.HEADERS, d.header(1)))),
        SWAP_HEADERS_OF_TWO_BLOCKS(d -> d.swap(Column.HEADERS, d.header(2), Keys.header(d.scene.accomplice.id(), 1))),
        SWAP_TWO_BLOCKS_WHOLLY(d -> {
            BlockId a = d.scene.victim.id();
            BlockId b = d.scene.accomplice.id();
            d.swap(Column.HEADERS, Keys.header(a, 2), Keys.header(b, 1));
            d.swap(Column.NODES, Keys.node(a, 0, 0, 2), Keys.node(b, 0, 0, 1));
            d.swap(Column.SECTORS, Keys.sector(a, 0, 2), Keys.sector(b, 0, 1));
            d.swap(Column.SECTORS, Keys.sector(a, 1, 1), Keys.sector(b, 1, 1));
            d.swap(Column.SECTORS, Keys.sector(a, 2, 1), Keys.sector(b, 2, 1));
        }),
        FLIP_COMMIT(d -> d.flip(Column.LOG, Keys.log(d.scene.victim.position()), 120)),
        DELETE_COMMIT(d -> d.delete(Column.LOG, Keys.log(d.scene.victim.position()))),
        COMMIT_OF_ANOTHER(d -> d.put(
                Column.LOG,
                Keys.log(d.scene.victim.position()),
                d.get(Column.LOG, Keys.log(d.scene.accomplice.position())))),
        FORGED_HEADER_WITH_A_FRESH_KEY(d -> {
            // a header of the attacker's under a commit that the attacker signs, in the place of the true ones
            try (Identity stranger = Identity.generate()) {
                Header victim =
                        HeaderRecord.parse(d.get(Column.HEADERS, d.header(2))).header();
                LogEntry entry = LogEntry.parse(d.get(Column.LOG, Keys.log(d.scene.victim.position())));
                CommitBody body = commitBody(entry.payload());
                HeadersTree tree = new HeadersTree(List.of(victim.hash()));
                CommitBody forged = new CommitBody(
                        body.tree(),
                        stranger.id(),
                        body.chain(),
                        1,
                        tree.root(),
                        1,
                        List.of(),
                        body.writerTimeMillis());
                byte[] envelope =
                        stranger.sign(SignatureKind.COMMIT, forged.encode()).toBytes();
                d.put(
                        Column.LOG,
                        Keys.log(entry.position()),
                        LogEntry.of(entry.position(), entry.timeMillis(), entry.previous(), LogKind.COMMIT, envelope)
                                .encoded());
                d.put(Column.HEADERS, d.header(2), new HeaderRecord(victim, entry.position(), 0, List.of()).encode());
            }
        });

        private final Edit edit;

        Attack(Edit edit) {
            this.edit = edit;
        }
    }

    private static CommitBody commitBody(byte[] envelope) throws StoreException {
        try {
            return CommitBody.parse(
                    blocktree.crypto.SignedEnvelope.parse(envelope).body());
        } catch (blocktree.crypto.CryptoException e) {
            throw StoreException.corrupt(String.valueOf(e.getMessage()));
        }
    }

    @ParameterizedTest
    @EnumSource
    void aBlockThatWasTamperedWithIsAnErrorAndAnEventAndTheRestIsUsable(Attack attack) throws Exception {
        try (TestTree tree = new TestTree(directory, TestTree.options().withRetention(KEEP))) {
            Scene scene = new Scene(tree);
            tree.store.close();
            try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
                attack.edit.on(new Disk(rocks, scene));
            }
            BlockStore store = tree.open();
            int failures = failuresOf(store, scene.victim.id(), "victim", 4, 2, 3);
            assertTrue(failures > 0, "the attack goes unnoticed");
            assertTrue(
                    events.list.stream()
                            .anyMatch(e -> e.getMessage().equals("block_corrupt")
                                    && e.getKeyValuePairs().stream()
                                            .anyMatch(p -> p.key.equals("block")
                                                    && p.value.equals(
                                                            scene.victim.id().toHex()))),
                    "no event tells of it");
            assertTrue(store.stats().blocksCorrupt() > 0);
            assertEquals(0, failuresOf(store, scene.bystander.id(), "bystander", 21, 22, 23));
            tree.create("later", 31);
            List<Finding> findings = new ArrayList<>();
            FsckReport report = store.fsck(FsckOptions.defaults(), findings::add);
            assertFalse(report.isClean(), "fsck does not see it");
            assertFalse(
                    findings.stream().anyMatch(f -> Objects.equals(scene.bystander.id(), f.subject())),
                    findings.toString());
        }
    }

    /** How many of the reads of a block fail with CORRUPT; those that succeed give what was written. */
    private static int failuresOf(BlockStore store, BlockId id, String attributes, int... fills) throws StoreException {
        OpenBlock block;
        try {
            block = store.read(id);
        } catch (StoreException e) {
            assertEquals(StoreException.Code.CORRUPT, e.code(), e.getMessage());
            return 1;
        }
        int failures = 0;
        assertArrayEquals(TestTree.bytes(attributes), block.attributes());
        assertEquals(fills.length, block.sectorCount());
        for (int i = 0; i < fills.length; i++) {
            byte[] target = new byte[block.sectorSize()];
            Arrays.fill(target, (byte) 0x77);
            try {
                assertTrue(block.readSector(i, target));
                assertArrayEquals(TestTree.sector(fills[i]), target);
            } catch (StoreException e) {
                assertEquals(StoreException.Code.CORRUPT, e.code(), e.getMessage());
                failures++;
            }
        }
        // In one go, as a stream is read: the same refusal, and before it the same content.
        byte[][] run = new byte[fills.length + 1][block.sectorSize()];
        try {
            block.readSectors(0, run, (i, present) -> {
                assertEquals(i < fills.length, present);
                assertArrayEquals(present ? TestTree.sector(fills[i]) : new byte[run[i].length], run[i]);
            });
            assertEquals(0, failures);
        } catch (StoreException e) {
            assertEquals(StoreException.Code.CORRUPT, e.code(), e.getMessage());
            assertTrue(failures > 0, e.getMessage());
        }
        return failures;
    }

    // ---- what the whole tree rests on ----

    private void refusesToOpen(TestTree tree, StoreException.Code code) {
        StoreException e = assertThrows(StoreException.class, tree::open);
        assertEquals(code, e.code(), e.getMessage());
    }

    private static void edit(TestTree tree, Scene scene, Edit edit) throws StoreException {
        try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
            edit.on(new Disk(rocks, scene));
        }
    }

    private static void copy(Path from, Path to) throws IOException {
        try (Stream<Path> files = Files.walk(from)) {
            for (Path file : files.toList()) {
                Path target = to.resolve(from.relativize(file).toString());
                if (Files.isDirectory(file)) {
                    Files.createDirectories(target);
                } else if (!file.getFileName().toString().equals("LOCK")) {
                    Files.copy(file, target);
                }
            }
        }
    }

    private static void delete(Path dir) throws IOException {
        try (Stream<Path> files = Files.walk(dir)) {
            for (Path file : files.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }

    /** Puts a crash in the place of the store: its files as they were while it ran, after everything was synced. */
    private static void crash(TestTree tree) throws Exception {
        tree.store.sync();
        Path copy = tree.dir.resolveSibling("crash");
        copy(tree.dir, copy);
        tree.store.close();
        delete(tree.dir);
        Files.move(copy, tree.dir);
    }

    @Test
    void halfOfACommitThatIsWithheldIsMissed() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            OpenBlock a = tree.create("a", 1);
            OpenBlock b = tree.create("b", 2);
            tree.store.ledger().checkpoint();
            try (Commit commit = tree.store.newCommit()) {
                commit.edit(a).putSector(0, TestTree.sector(3), 0);
                commit.edit(b).putSector(0, TestTree.sector(4), 0);
                tree.store.commit(commit, true);
            }
            crash(tree);
            try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
                rocks.delete(Column.HEADERS, Keys.header(b.id(), 2));
            }
            BlockStore store = tree.open();
            assertArrayEquals(TestTree.sector(3), TestTree.read(store.read(a.id()), 0));
            assertEquals(
                    StoreException.Code.CORRUPT,
                    assertThrows(StoreException.class, () -> store.read(b.id())).code());
            List<Finding> findings = new ArrayList<>();
            store.fsck(FsckOptions.defaults(), findings::add);
            assertTrue(
                    findings.stream()
                            .anyMatch(f ->
                                    f.kind() == Finding.Kind.HEADER_MISSING && Objects.equals(b.id(), f.subject())),
                    findings.toString());
        }
    }

    @Test
    void aCommitThatIsSaidToHaveChangedLessIsRefused() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            OpenBlock a = tree.create("a", 1);
            OpenBlock b = tree.create("b", 2);
            tree.store.ledger().checkpoint();
            long position;
            try (Commit commit = tree.store.newCommit()) {
                commit.edit(a).putSector(0, TestTree.sector(3), 0);
                commit.edit(b).putSector(0, TestTree.sector(4), 0);
                position = tree.store.commit(commit, true).position();
            }
            crash(tree);
            try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
                byte[] changes = rocks.get(Column.CHANGES, Keys.log(position));
                assertNotNull(changes);
                rocks.put(Column.CHANGES, Keys.log(position), Arrays.copyOf(changes, changes.length / 2));
            }
            refusesToOpen(tree, StoreException.Code.CORRUPT);
        }
    }

    private enum TreeAttack {
        CHECKPOINT_FLIPPED(StoreException.Code.CORRUPT, d -> d.flip(Column.META, Ledger.META_CHECKPOINT, 60)),
        CHECKPOINT_MISSING(StoreException.Code.CORRUPT, d -> d.delete(Column.META, Ledger.META_CHECKPOINT)),
        AUTHORITY_FLIPPED(StoreException.Code.CORRUPT, d -> d.flip(Column.AUTHORITY, Keys.log(4), -10)),
        AUTHORITY_RECORD_MISSING(StoreException.Code.CORRUPT, d -> d.delete(Column.AUTHORITY, Keys.log(5))),
        LOG_ENTRY_OF_THE_CHECKPOINT_MISSING(
                StoreException.Code.CORRUPT, d -> d.delete(Column.LOG, Keys.log(newestPosition(d) - 1))),
        NEWEST_LOG_ENTRY_MISSING(
                StoreException.Code.LOST_WRITES, d -> d.delete(Column.LOG, Keys.log(newestPosition(d))));

        private final StoreException.Code code;
        private final Edit edit;

        TreeAttack(StoreException.Code code, Edit edit) {
            this.code = code;
            this.edit = edit;
        }

        private static long newestPosition(Disk disk) throws StoreException {
            byte[] last = disk.rocks.last(Column.LOG);
            assertNotNull(last);
            return LogEntry.parse(last).position();
        }
    }

    @ParameterizedTest
    @EnumSource
    void aStoreWhoseRootsWereTamperedWithDoesNotOpen(TreeAttack attack) throws Exception {
        try (TestTree tree = new TestTree(directory, TestTree.options().withRetention(KEEP))) {
            Scene scene = new Scene(tree);
            tree.store.createSnapshot(TestTree.bytes("an entry behind the newest checkpoint"));
            tree.store.close();
            edit(tree, scene, attack.edit);
            refusesToOpen(tree, attack.code);
        }
    }

    @Test
    void aCapabilityWhoseTimeWasExtendedIsRefused() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            Scene scene = new Scene(tree);
            tree.store.close();
            edit(tree, scene, disk -> {
                int attacked = 0;
                for (long position = 1; position <= tree.founding.entries().size(); position++) {
                    LogEntry entry = LogEntry.parse(disk.get(Column.AUTHORITY, Keys.log(position)));
                    if (entry.kind() == LogKind.WRITECAP_CHAIN) {
                        byte[] payload = extendTime(entry.payload(), tree.founding.createdMillis());
                        LogEntry forged = LogEntry.of(
                                entry.position(), entry.timeMillis(), entry.previous(), entry.kind(), payload);
                        disk.put(Column.AUTHORITY, Keys.log(position), forged.encoded());
                        disk.put(Column.LOG, Keys.log(position), forged.encoded());
                        attacked++;
                    }
                }
                assertTrue(attacked > 0);
            });
            refusesToOpen(tree, StoreException.Code.CORRUPT);
        }
    }

    /** Lets every link of a chain begin decades earlier: field 8 (not_before_millis) of a founding chain is the founding's time. */
    private static byte[] extendTime(byte[] chain, long notBeforeMillis) {
        byte[] begin = new byte[7];
        begin[0] = 8 << 3;
        for (int i = 1; i < begin.length; i++) {
            begin[i] = (byte) (notBeforeMillis >>> 7 * (i - 1) | (i < begin.length - 1 ? 0x80 : 0));
        }
        byte[] forged = chain.clone();
        int links = 0;
        for (int i = 0; i + begin.length <= forged.length; i++) {
            if (Arrays.equals(forged, i, i + begin.length, begin, 0, begin.length)) {
                forged[i + begin.length - 1] = 1;
                links++;
            }
        }
        assertTrue(links > 0, "no link begins when the tree was founded");
        return forged;
    }

    @Test
    void aStateMapThatWasAlteredOrRolledBackIsNoticedAndNotBelieved() throws Exception {
        try (TestTree tree = new TestTree(directory, TestTree.options().withRetention(KEEP))) {
            Scene scene = new Scene(tree);
            StateRoot root = tree.store.ledger().checkpoint();
            tree.store.close();
            byte[] newest = StateMap.nodeKey(new byte[] {0}, root.position());
            byte[][] original = new byte[1][];
            for (int attack = 0; attack < 3; attack++) {
                int kind = attack;
                edit(tree, scene, disk -> {
                    if (kind == 0) {
                        original[0] = disk.get(Column.STATE, newest);
                        disk.flip(Column.STATE, newest, 40);
                    } else if (kind == 1) {
                        disk.delete(Column.STATE, newest); // an older version of the path is there still
                    } else {
                        byte[][] older = new byte[1][];
                        disk.rocks.scan(Column.STATE, new byte[] {0}, new byte[] {1}, (key, value) -> {
                            older[0] = value;
                            return true;
                        });
                        disk.put(Column.STATE, newest, older[0]);
                    }
                });
                BlockStore store = tree.open();
                for (OpenBlock block : List.of(scene.victim, scene.accomplice, scene.bystander)) {
                    assertEquals(
                            StoreException.Code.CORRUPT,
                            assertThrows(StoreException.class, () -> store.read(block.id()))
                                    .code());
                }
                FsckReport report = store.fsck(FsckOptions.defaults().withRepair(true), finding -> {});
                assertFalse(report.isClean());
                assertEquals(0, report.repaired(), "nothing is removed while the state cannot be told");
                store.close();
            }
            edit(tree, scene, disk -> disk.put(Column.STATE, newest, original[0]));
            assertEquals(0, failuresOf(tree.open(), scene.victim.id(), "victim", 4, 2, 3));
        }
    }

    @Test
    void aStoreThatWasRolledBackUnderItsAnchorDoesNotOpen() throws Exception {
        try (TestTree tree = new TestTree(
                directory, TestTree.options().withRetention(KEEP).withAnchor(directory.resolve("elsewhere/anchor")))) {
            OpenBlock block = tree.create("one", 1);
            tree.store.close();
            Path backup = directory.resolve("backup");
            copy(tree.dir, backup);
            tree.open();
            tree.put(tree.store.read(block.id()), 0, 2);
            tree.store.close();
            delete(tree.dir);
            copy(backup, tree.dir);
            refusesToOpen(tree, StoreException.Code.LOST_WRITES);
        }
    }

    @Test
    void anAnchorThatWasAlteredRemovedOrTakenFromAnotherNodeIsRefused() throws Exception {
        try (TestTree tree = new TestTree(directory);
                TestTree another = new TestTree(directory.resolve("another"))) {
            tree.create("one", 1);
            tree.store.close();
            another.create("one", 1);
            another.store.close();
            Path anchor = tree.dir.resolve("anchor");
            byte[] original = Files.readAllBytes(anchor);
            byte[] altered = original.clone();
            for (int slot = 0; slot < altered.length; slot += 512) {
                altered[slot + 60] ^= 1;
            }
            for (byte @Nullable [] replacement : new byte[] @Nullable [] {
                altered, null, new byte[0], Files.readAllBytes(another.dir.resolve("anchor"))
            }) {
                if (replacement == null) {
                    Files.delete(anchor);
                } else {
                    Files.write(anchor, replacement);
                }
                refusesToOpen(tree, StoreException.Code.LOST_WRITES);
            }
            Files.write(anchor, original);
            tree.open();
        }
    }

    @Test
    void aCheckpointOfAnotherTreeIsRefused() throws Exception {
        try (TestTree tree = new TestTree(directory);
                TestTree another = new TestTree(directory.resolve("another"))) {
            Scene scene = new Scene(tree);
            tree.store.close();
            new Scene(another);
            another.store.close();
            byte[] foreign;
            try (Rocks rocks = new Rocks(another.dir, another.options, Rocks.Mode.WRITE)) {
                foreign = rocks.get(Column.META, Ledger.META_CHECKPOINT);
            }
            assertNotNull(foreign);
            byte[] checkpoint = foreign;
            edit(tree, scene, disk -> disk.put(Column.META, Ledger.META_CHECKPOINT, checkpoint));
            StoreException e = assertThrows(StoreException.class, tree::open);
            assertTrue(
                    e.code() == StoreException.Code.CORRUPT || e.code() == StoreException.Code.WRONG_KEY,
                    e.code() + ": " + e.getMessage());
        }
    }

    @Test
    void anOlderCheckpointInThePlaceOfTheNewestIsRefused() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            Scene scene = new Scene(tree);
            byte[] older = tree.store.ledger().rocks().get(Column.META, Ledger.META_CHECKPOINT);
            assertNotNull(older);
            tree.store.close();
            byte[] checkpoint = older;
            edit(tree, scene, disk -> disk.put(Column.META, Ledger.META_CHECKPOINT, checkpoint));
            StoreException e = assertThrows(StoreException.class, tree::open);
            assertTrue(
                    e.code() == StoreException.Code.CORRUPT || e.code() == StoreException.Code.LOST_WRITES,
                    e.code() + ": " + e.getMessage());
        }
    }

    @Test
    void aSnapshotThatWasTamperedWithIsReportedAndTheOthersKept() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            OpenBlock block = tree.create("one", 1);
            tree.store.createSnapshot(TestTree.bytes("a"));
            OpenBlock second = tree.put(tree.store.read(block.id()), 0, 2);
            SnapshotInfo b = tree.store.createSnapshot(TestTree.bytes("b"));
            tree.put(second, 0, 3);
            long position = tree.store.headPosition();
            tree.store.close();
            try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
                for (long at = 1; at < position; at++) {
                    byte[] value = rocks.get(Column.LOG, Keys.log(at));
                    if (value != null && LogEntry.parse(value).kind() == LogKind.SNAPSHOT) {
                        value[value.length - 20] ^= 1;
                        rocks.put(Column.LOG, Keys.log(at), value);
                        break;
                    }
                }
            }
            BlockStore store = tree.open();
            assertEquals(1, store.snapshots().size());
            assertTrue(events.list.stream().anyMatch(e -> e.getMessage().equals("snapshot_corrupt")));
            assertArrayEquals(TestTree.sector(2), TestTree.read(store.readAt(block.id(), b), 0));
            assertFalse(store.fsck(FsckOptions.defaults(), finding -> {}).isClean());
        }
    }

    @Test
    void whatADamagedSnapshotMayNeedIsNotCollectedUntilTheOwnerGivesItUp() throws Exception {
        try (TestTree tree = new TestTree(directory, TestTree.options().withRetention(Retention.NONE))) {
            OpenBlock block = tree.create("one", 1);
            tree.store.createSnapshot(TestTree.bytes("a"));
            long position = tree.store.headPosition();
            tree.put(tree.store.read(block.id()), 0, 2);
            tree.store.close();
            byte[] key = Keys.log(position);
            byte[][] entry = new byte[1][];
            try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
                byte[] value = rocks.get(Column.LOG, key);
                assertNotNull(value);
                entry[0] = value.clone();
                value[value.length - 20] ^= 1;
                rocks.put(Column.LOG, key, value);
            }
            tree.open().collectGarbage();
            assertNotNull(tree.store.ledger().rocks().get(Column.HEADERS, Keys.header(block.id(), 1)));
            tree.store.ledger().rocks().put(Column.LOG, key, entry[0]);
            tree.reopen(); // the entry was restored: the snapshot is whole
            SnapshotInfo whole = tree.store.snapshots().get(0);
            assertArrayEquals(TestTree.sector(1), TestTree.read(tree.store.readAt(block.id(), whole), 0));
            entry[0][entry[0].length - 20] ^= 1;
            tree.store.ledger().rocks().put(Column.LOG, key, entry[0]);
            tree.reopen();
            String reason = events.list.stream()
                    .filter(e -> e.getMessage().equals("snapshot_corrupt"))
                    .flatMap(e -> e.getKeyValuePairs().stream())
                    .map(p -> String.valueOf(p.value))
                    .findFirst()
                    .orElseThrow();
            String id = reason.substring("snapshot ".length(), "snapshot ".length() + 32);
            tree.store.deleteSnapshot(TestTree.bytes(id));
            tree.store.collectGarbage();
            assertEquals(null, tree.store.ledger().rocks().get(Column.HEADERS, Keys.header(block.id(), 1)));
        }
    }

    @Test
    void aSnapshotThatIsWithheldIsMissedByFsck() throws Exception {
        try (TestTree tree = new TestTree(directory)) {
            tree.create("one", 1);
            tree.store.createSnapshot(TestTree.bytes("a"));
            tree.store.close();
            byte[] prefix = TestTree.bytes("snapshot/");
            try (Rocks rocks = new Rocks(tree.dir, tree.options, Rocks.Mode.WRITE)) {
                rocks.scan(Column.META, prefix, Keys.after(prefix), (key, value) -> {
                    rocks.delete(Column.META, key);
                    return true;
                });
            }
            List<Finding> findings = new ArrayList<>();
            tree.open().fsck(FsckOptions.defaults(), findings::add);
            assertEquals(
                    List.of(Finding.Kind.SNAPSHOT_INVALID),
                    findings.stream().map(Finding::kind).toList());
        }
    }
}
