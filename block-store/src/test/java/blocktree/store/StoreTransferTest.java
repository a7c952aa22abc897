package blocktree.store;

import static blocktree.store.TestTree.bytes;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.crypto.Authority;
import blocktree.crypto.BlockId;
import blocktree.crypto.DomainKey;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyRing;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.ReadCapability;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.SignatureKind;
import blocktree.crypto.SignedEnvelope;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.TransferStream.Type;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.Pipe;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A store is taken over by another node, fresh or behind, from a source that may be hostile. */
@Timeout(300)
class StoreTransferTest {

    private static final Retention KEEP = new Retention(0, 86_400_000);

    @TempDir
    Path directory;

    private final Identity other = Identity.generate();
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private TestTree tree;
    private Path copy;

    @BeforeEach
    void found() throws Exception {
        tree = new TestTree(directory, TestTree.options().withRetention(KEEP));
        copy = directory.resolve("copy");
        grant(other, Rights.WRITE.and(Rights.NODE));
    }

    @AfterEach
    void close() throws Exception {
        threads.shutdown();
        assertTrue(threads.awaitTermination(60, TimeUnit.SECONDS));
        tree.close();
        other.close();
    }

    private void grant(Identity to, Rights rights) throws Exception {
        tree.store.appendAuthority(
                RecordKind.WRITECAP_CHAIN,
                WriteCapabilityChain.of(List.of(WriteCapability.issue(
                                tree.root,
                                tree.founding.tree(),
                                tree.founding.rootDomain(),
                                to.keys(),
                                rights,
                                0,
                                WriteCapability.NO_END)))
                        .toBytes());
        try (KeyRing ring = new KeyRing(tree.root, tree.store.authority())) {
            DomainKey key = ring.currentKey(tree.founding.rootDomain());
            tree.store.appendAuthority(
                    RecordKind.READCAP,
                    ReadCapability.issue(tree.root, key, to.keys()).toBytes());
        }
    }

    // ---- transfers ----

    @FunctionalInterface
    private interface Target {
        void take(ReadableByteChannel in, WritableByteChannel out) throws StoreException;
    }

    /** Keeps what goes through it. */
    private static final class Recorder implements WritableByteChannel {

        private final WritableByteChannel out;
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

        Recorder(WritableByteChannel out) {
            this.out = out;
        }

        @Override
        public int write(ByteBuffer source) throws IOException {
            ByteBuffer copied = source.duplicate();
            int written = out.write(source);
            byte[] part = new byte[written];
            copied.get(part);
            bytes.writeBytes(part);
            return written;
        }

        @Override
        public boolean isOpen() {
            return out.isOpen();
        }

        @Override
        public void close() throws IOException {
            out.close();
        }
    }

    /** Lets both sides talk to their ends; gives what the source sent. */
    private byte[] transfer(BlockStore source, Target target) throws Exception {
        Pipe there = Pipe.open();
        Pipe back = Pipe.open();
        Recorder recorder = new Recorder(there.sink());
        Future<Void> sending = threads.submit(() -> {
            try (recorder) {
                StoreSource.send(source, back.source(), recorder, progress -> {});
            }
            return null;
        });
        try (ReadableByteChannel in = there.source();
                WritableByteChannel out = back.sink()) {
            target.take(in, out);
        }
        sending.get();
        return recorder.bytes.toByteArray();
    }

    private byte[] create() throws Exception {
        return transfer(
                tree.store,
                (in, out) -> StoreTarget.create(copy, options(), other, tree.founding.tree(), in, out, progress -> {}));
    }

    private byte[] update() throws Exception {
        return transfer(tree.store, (in, out) -> StoreTarget.update(copy, options(), other, in, out, progress -> {}));
    }

    private static StoreOptions options() {
        return TestTree.options().withRetention(KEEP);
    }

    private static WritableByteChannel nowhere() {
        return Channels.newChannel(OutputStream.nullOutputStream());
    }

    private void replayCreate(byte[] sent) throws StoreException {
        StoreTarget.create(
                copy,
                options(),
                other,
                tree.founding.tree(),
                Channels.newChannel(new ByteArrayInputStream(sent)),
                nowhere(),
                progress -> {});
    }

    private void replayUpdate(byte[] sent) throws StoreException {
        StoreTarget.update(
                copy, options(), other, Channels.newChannel(new ByteArrayInputStream(sent)), nowhere(), progress -> {});
    }

    // ---- content ----

    private final List<OpenBlock> blocks = new ArrayList<>();

    /** Random commits: many levels, holes, cuts, other sector sizes, deletions, snapshots. */
    private void change(Random random, int commits) throws StoreException {
        for (int i = 0; i < commits; i++) {
            int dice = random.nextInt(24);
            if (dice == 0) {
                tree.store.createSnapshot(bytes("s" + random.nextLong()));
            } else if (dice == 1 && !tree.store.snapshots().isEmpty()) {
                tree.store.deleteSnapshot(tree.store.snapshots().get(0).name());
            } else if (dice == 2) {
                tree.store.ledger().checkpoint();
            } else {
                commit(random);
            }
        }
    }

    private void commit(Random random) throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            List<OpenBlock> edited = new ArrayList<>();
            for (int i = 0; i <= random.nextInt(3); i++) {
                OpenBlock base = blocks.isEmpty() ? null : blocks.get(random.nextInt(blocks.size()));
                if (base == null || random.nextInt(3) == 0) {
                    NewBlock block = tree.store.newBlock(tree.store.rootDomain());
                    mutate(commit.create(block, TestTree.SECTOR_LOG2).attributes(bytes("new")), random);
                } else if (!edited.contains(base)) {
                    edited.add(base);
                    if (random.nextInt(12) == 0) {
                        commit.delete(base);
                    } else {
                        mutate(commit.edit(base), random);
                    }
                }
            }
            CommitReceipt receipt = tree.store.commit(commit, false);
            blocks.removeAll(edited);
            blocks.addAll(receipt.blocks().values());
        }
    }

    private static void mutate(BlockEdit edit, Random random) throws StoreException {
        switch (random.nextInt(8)) {
            case 0 -> edit.truncate(edit.sectorCount() / 2);
            case 1 -> edit.punch(0, 1 + edit.sectorCount() / 3);
            case 2 -> {
                if (random.nextInt(3) == 0) {
                    edit.resize(TestTree.SECTOR_LOG2 + random.nextInt(2));
                }
            }
            default -> edit.attributes(bytes("attributes " + random.nextInt()));
        }
        int places = random.nextInt(4);
        for (int i = 0; i < places; i++) {
            long first = random.nextInt(3) == 0 ? random.nextInt(40_000) : random.nextInt(200);
            for (long index = first; index <= first + random.nextInt(4); index++) {
                byte[] sector = new byte[edit.sectorSize()];
                random.nextBytes(sector);
                edit.putSector(index, sector, 0);
            }
        }
    }

    /** So much that it comes in files of its own. */
    private void createLarge(int sectors) throws StoreException {
        try (Commit commit = tree.store.newCommit()) {
            BlockEdit edit = commit.create(tree.store.newBlock(tree.store.rootDomain()), 12)
                    .attributes(bytes("large"));
            for (int i = 0; i < sectors; i++) {
                edit.putSector(i, TestTree.sector(i + 1), 0);
            }
            tree.store.commit(commit, false);
        }
    }

    private static Map<String, byte[]> rows(BlockStore store, Column... columns) throws StoreException {
        Map<String, byte[]> rows = new LinkedHashMap<>();
        for (Column column : columns) {
            store.ledger().rocks().scan(column, new byte[0], null, (key, value) -> {
                rows.put(java.util.HexFormat.of().formatHex(key), value);
                return true;
            });
        }
        return rows;
    }

    private static void assertSameRows(Map<String, byte[]> expected, Map<String, byte[]> found) {
        assertEquals(expected.keySet(), found.keySet());
        expected.forEach((key, value) -> assertArrayEquals(value, found.get(key)));
    }

    private static void assertClean(BlockStore store) throws StoreException {
        List<Finding> findings = new ArrayList<>();
        FsckReport report = store.fsck(FsckOptions.defaults(), findings::add);
        assertEquals(List.of(), findings);
        assertTrue(report.isClean());
        assertEquals(0, report.sealedBlocks());
    }

    /** Everything that is kept at the source is in the copy, and no more; all of it is sound and opens. */
    private static void assertEqual(BlockStore source, BlockStore taken, boolean sameHeaders) throws StoreException {
        assertEquals(source.headPosition(), taken.headPosition());
        assertSameRows(rows(source, Column.LOG), rows(taken, Column.LOG));
        assertSameRows(rows(source, Column.AUTHORITY), rows(taken, Column.AUTHORITY));
        if (sameHeaders) {
            assertSameRows(rows(source, Column.HEADERS), rows(taken, Column.HEADERS));
        }
        Map<String, byte[]> parts = rows(source, Column.NODES, Column.SECTORS, Column.STREAMS);
        rows(taken, Column.NODES, Column.SECTORS, Column.STREAMS).forEach((key, value) -> {
            if (sameHeaders) {
                assertArrayEquals(parts.get(key), value);
            }
        });
        assertEquals(
                source.ledger().checkpoint().hash(), taken.ledger().checkpoint().hash());
        assertEquals(
                source.snapshots().stream().map(SnapshotInfo::stateRoot).toList(),
                taken.snapshots().stream().map(SnapshotInfo::stateRoot).toList());
        for (int i = 0; i < source.snapshots().size(); i++) {
            assertSameEntries(
                    source, source.snapshots().get(i), taken, taken.snapshots().get(i));
        }
        assertClean(taken);
    }

    private static void assertSameEntries(BlockStore a, SnapshotInfo ofA, BlockStore b, SnapshotInfo ofB)
            throws StoreException {
        List<BlockId> ids = new ArrayList<>();
        a.forEachBlockAt(ofA, ids::add);
        List<BlockId> others = new ArrayList<>();
        b.forEachBlockAt(ofB, others::add);
        assertEquals(ids, others);
        for (BlockId id : ids) {
            OpenBlock one = a.readAt(id, ofA);
            OpenBlock same = b.readAt(id, ofB);
            assertEquals(one.header(), same.header());
            assertArrayEquals(one.attributes(), same.attributes());
            for (long i = one.nextData(0); i < one.sectorCount(); i = one.nextData(i + 1)) {
                assertArrayEquals(TestTree.read(one, i), TestTree.read(same, i));
            }
        }
    }

    private BlockStore openCopy() throws StoreException {
        return BlockStore.open(copy, options(), other);
    }

    /** docs/format.md, section 6. */
    @Test
    void recordsAreBounded() {
        assertEquals(
                List.of(4_096, 4_096, 65_664, 0, 1_476_241, 0, 32_768, 5_120, 1_048_625, 0, 4_096, 4_096),
                Stream.of(Type.values()).map(type -> type.sizeMax).toList());
    }

    // ---- fresh ----

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3})
    void freshCopyHasEverythingThatIsKept(long seed) throws Exception {
        change(new Random(seed), 120);
        createLarge(700);
        tree.store.collectGarbage();
        create();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, true);
            try (Commit commit = taken.newCommit()) {
                commit.create(taken.newBlock(taken.rootDomain()), 12)
                        .attributes(bytes("of the copy"))
                        .putSector(0, TestTree.sector(1), 0);
                commit.edit(taken.read(blocks.get(0).id()))
                        .putSector(1, new byte[blocks.get(0).sectorSize()], 0);
                taken.commit(commit, true);
            }
            assertClean(taken);
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {4, 5})
    void copyCanBeCollected(long seed) throws Exception {
        change(new Random(seed), 150);
        create();
        tree.store.close();
        tree.options = tree.options.withRetention(Retention.NONE);
        tree.open();
        try (BlockStore taken = BlockStore.open(copy, options().withRetention(Retention.NONE), other)) {
            for (BlockStore store : List.of(tree.store, taken)) {
                for (SnapshotInfo snapshot : store.snapshots()) {
                    store.deleteSnapshot(snapshot.name());
                }
                store.collectGarbage();
                store.collectGarbage();
            }
            assertClean(taken);
            assertSameRows(rows(tree.store, Column.HEADERS), rows(taken, Column.HEADERS));
            assertEquals(
                    rows(tree.store, Column.NODES, Column.SECTORS, Column.STREAMS)
                            .keySet(),
                    rows(taken, Column.NODES, Column.SECTORS, Column.STREAMS).keySet(),
                    "nothing is left that nobody needs");
        }
    }

    @Test
    void emptyTreeAndManyBlocksAreCopied() throws Exception {
        create();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, true);
        }
        for (int i = 0; i < 12; i++) {
            try (Commit commit = tree.store.newCommit()) {
                for (int j = 0; j < 1_000; j++) {
                    commit.create(tree.store.newBlock(tree.store.rootDomain()), 12)
                            .attributes(bytes("a" + j));
                }
                tree.store.commit(commit, false);
            }
            if (i % 4 == 0) {
                tree.store.createSnapshot(bytes("s" + i));
            }
        }
        update();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, true);
        }
        copy = directory.resolve("second");
        create();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, true);
        }
    }

    @Test
    void nodeRecordsComeWithTheLog() throws Exception {
        appendNode(tree.node, 1);
        NodeRecord of = appendNode(tree.node, 3);
        create();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, true);
            assertEquals(of, taken.authority().node(tree.node.id()));
            assertNull(taken.authority().node(other.id()));
        }
        NodeRecord moved = appendNode(tree.node, 4);
        NodeRecord others = appendNode(other, 1);
        update();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, false);
            assertEquals(moved, taken.authority().node(tree.node.id()));
            assertEquals(others, taken.authority().node(other.id()));
            long now = System.currentTimeMillis();
            assertEquals(tree.store.authority().nodesAt(now), taken.authority().nodesAt(now));
            assertTrue(taken.authority().nodesAt(now).contains(other.id()));
        }
    }

    private NodeRecord nodeRecord(Identity node, long sequence) {
        return NodeRecord.create(
                node,
                tree.founding.tree(),
                sequence,
                "node",
                List.of(InetSocketAddress.createUnresolved("host" + sequence, 7450)));
    }

    private NodeRecord appendNode(Identity node, long sequence) throws StoreException {
        NodeRecord record = nodeRecord(node, sequence);
        tree.store.appendAuthority(RecordKind.NODE, record.toBytes());
        return record;
    }

    @Test
    void progressTellsWhatIsDone() throws Exception {
        change(new Random(6), 40);
        List<TransferProgress> told = new ArrayList<>();
        byte[] sent = transfer(
                tree.store,
                (in, out) -> StoreTarget.create(copy, options(), other, tree.founding.tree(), in, out, told::add));
        TransferProgress last = told.get(told.size() - 1);
        assertTrue(last.sizeBytes() > sent.length, "what the target sends counts too");
        assertTrue(last.blocks() >= blocks.size());
        assertTrue(last.blocksTotal() > 0);
        assertTrue(last.totalSizeBytes() > 0);
    }

    // ---- behind ----

    @ParameterizedTest
    @ValueSource(longs = {11, 12, 13, 14})
    void copyThatIsBehindIsBroughtUpToDate(long seed) throws Exception {
        Random random = new Random(seed);
        change(random, 60);
        create();
        for (int round = 0; round < 4; round++) {
            change(random, 30);
            if (round % 2 == 0) {
                createLarge(600);
            }
            if (seed % 2 == 0) {
                tree.store.collectGarbage();
            }
            update();
            try (BlockStore taken = openCopy()) {
                assertEqual(tree.store, taken, false);
            }
        }
        update();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, false);
            taken.collectGarbage();
            assertClean(taken);
        }
    }

    /** The source has made its checkpoints at other moments, or has collected the version that the target has. */
    @Test
    void copyIsBroughtUpToDateThoughTheSourceHasNotItsVersionOfTheMap() throws Exception {
        Random random = new Random(21);
        change(random, 60);
        for (SnapshotInfo snapshot : tree.store.snapshots()) {
            tree.store.deleteSnapshot(snapshot.name());
        }
        create();
        for (int i = 0; i < 40; i++) {
            commit(random);
        }
        tree.store.ledger().checkpoint();
        Map<String, byte[]> newest = new HashMap<>();
        Rocks rocks = tree.store.ledger().rocks();
        int[] dropped = {0};
        rocks.scan(Column.STATE, new byte[0], null, (key, value) -> {
            String path = Arrays.toString(Arrays.copyOf(key, key.length - Long.BYTES));
            if (newest.putIfAbsent(path, value) != null) {
                rocks.delete(Column.STATE, key);
                dropped[0]++;
            }
            return true;
        });
        assertTrue(dropped[0] > 0);
        update();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, false);
        }
    }

    /** A snapshot of the very state that the target has: its place in the map is before the target's newest. */
    @Test
    void snapshotOfTheStateThatTheTargetHas() throws Exception {
        change(new Random(22), 60);
        StateRoot root = tree.store.ledger().checkpoint();
        grant(Identity.generate(), Rights.WRITE);
        create();
        tree.store.createSnapshot(bytes("late"));
        assertEquals(
                root.position(),
                tree.store.snapshots().get(tree.store.snapshots().size() - 1).position());
        update();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, false);
        }
    }

    /** Their entries do not sign their states: these come beside the log. */
    @Test
    void snapshotsOfAClusterAreTakenOverAndCountAsIfTheyHadBeenAppliedThere() throws Exception {
        OneNodeOrder.of(tree.store);
        Random random = new Random(23);
        change(random, 60);
        tree.store.createSnapshot(bytes("first"));
        create();
        tree.store.createSnapshot(bytes("of the state that the target has"));
        tree.store.deleteSnapshot(bytes("first"));
        change(random, 60);
        tree.store.createSnapshot(bytes("last"));
        update();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, false);
            assertEquals(
                    tree.store.snapshots().stream()
                            .map(SnapshotInfo::madePosition)
                            .toList(),
                    taken.snapshots().stream().map(SnapshotInfo::madePosition).toList());
            assertEquals(
                    Snapshots.newestPlaced(tree.store.ledger().rocks()),
                    Snapshots.newestPlaced(taken.ledger().rocks()));
            OneNodeOrder.of(taken);
            taken.createSnapshot(bytes("in the copy"));
            BlockStoreTest.assertCode(StoreException.Code.CONFLICT, () -> taken.createSnapshot(bytes("last")));
            assertClean(taken);
        }
        try (BlockStore taken = openCopy()) {
            assertEquals(
                    taken.headPosition(),
                    taken.snapshots().get(taken.snapshots().size() - 1).madePosition());
        }
    }

    @Test
    void commitsGoOnDuringTheTransfer() throws Exception {
        change(new Random(31), 60);
        createLarge(3_000);
        Future<Void> writing = threads.submit(() -> {
            Random random = new Random(32);
            for (int i = 0; i < 150; i++) {
                commit(random);
                if (i % 50 == 49) {
                    tree.store.collectGarbage();
                }
            }
            return null;
        });
        create();
        try (BlockStore taken = openCopy()) {
            assertClean(taken);
        }
        update();
        try (BlockStore taken = openCopy()) {
            assertClean(taken);
        }
        writing.get();
        update();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, false);
        }
    }

    // ---- what does not come to its end ----

    @Test
    void freshCopyThatIsCutSaysSoAndBeginsAgain() throws Exception {
        change(new Random(41), 40);
        createLarge(600);
        byte[] sent = create();
        for (int i = 0; i < 25; i++) {
            copy = directory.resolve("cut" + i % 2);
            int length = (int) ((long) sent.length * i / 25);
            StoreException e =
                    assertThrows(StoreException.class, () -> replayCreate(Arrays.copyOf(sent, length)), "at " + length);
            assertEquals(StoreException.Code.IO, e.code());
            StoreException opening = assertThrows(StoreException.class, this::openCopy);
            assertEquals(StoreException.Code.INVALID, opening.code());
            assertTrue(String.valueOf(opening.getMessage()).contains("incomplete"), opening.getMessage());
        }
        replayCreate(sent);
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, true);
        }
        BlockStoreTest.assertCode(StoreException.Code.INVALID, () -> replayCreate(sent));
    }

    @Test
    void copyThatWasBehindIsAsItWasWhenTheUpdateIsCut() throws Exception {
        Random random = new Random(42);
        change(random, 60);
        create();
        Path kept = copy;
        Map<String, byte[]> before;
        try (BlockStore taken = openCopy()) {
            before = rows(taken, BEHIND);
        }
        change(random, 60);
        createLarge(600);
        tree.store.createSnapshot(bytes("after"));
        copy = copied(kept, "first");
        byte[] sent = update();
        for (int i = 0; i < 20; i++) {
            copy = kept;
            int length = (int) ((long) sent.length * i / 20);
            assertThrows(StoreException.class, () -> replayUpdate(Arrays.copyOf(sent, length)));
            try (BlockStore taken = openCopy()) {
                assertSameRows(before, rows(taken, BEHIND));
                assertClean(taken);
            }
        }
        replayUpdate(sent);
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, false);
        }
    }

    private static final Column[] BEHIND = {
        Column.LOG,
        Column.AUTHORITY,
        Column.HEADERS,
        Column.NODES,
        Column.SECTORS,
        Column.STREAMS,
        Column.GARBAGE,
        Column.STATE
    };

    private Path copied(Path from, String name) throws IOException {
        Path to = directory.resolve(name);
        Files.createDirectories(to);
        try (Stream<Path> files = Files.list(from)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, to.resolve(file.getFileName().toString()));
            }
        }
        return to;
    }

    /** As a kill leaves it: nothing is undone until the next open. */
    @Test
    void updateThatWasKilledIsUndoneByTheNextOpen() throws Exception {
        Random random = new Random(43);
        change(random, 60);
        create();
        Map<String, byte[]> before;
        try (BlockStore taken = openCopy()) {
            before = rows(taken, BEHIND);
        }
        change(random, 60);
        createLarge(600);
        Path kept = copy;
        copy = copied(kept, "first");
        byte[] sent = update();
        copy = kept;
        for (int part = 1; part < 8; part++) {
            byte[] cut = Arrays.copyOf(sent, sent.length / 8 * part);
            try (Rocks rocks = new Rocks(copy, options(), Rocks.Mode.WRITE)) {
                takeWithoutUndoing(rocks, cut);
            }
            StoreException readOnly = assertThrows(
                    StoreException.class, () -> BlockStore.open(copy, options().withReadOnly(true), other));
            assertEquals(StoreException.Code.READ_ONLY, readOnly.code());
            try (BlockStore taken = openCopy()) {
                assertSameRows(before, rows(taken, BEHIND));
                assertClean(taken);
            }
        }
    }

    private void takeWithoutUndoing(Rocks rocks, byte[] sent) throws StoreException {
        Authority authority = new Authority(tree.founding.tree());
        StateRoot root;
        try (Ledger ledger = new Ledger(rocks, options(), other)) {
            root = ledger.checkpoint();
        }
        StoreTarget.Base base = StoreTarget.base(rocks, Ledger.replay(rocks, authority), root);
        Takeover.begin(rocks, base.position());
        TransferStream stream =
                new TransferStream(Channels.newChannel(new ByteArrayInputStream(sent)), nowhere(), progress -> {});
        try (Taking taking = new Taking(rocks, options(), other, authority, base, stream)) {
            assertThrows(StoreException.class, taking::run);
        }
    }

    @Test
    void closingTheSourceOrAChannelEndsBothSides() throws Exception {
        createLarge(4_000);
        Pipe there = Pipe.open();
        Pipe back = Pipe.open();
        Future<StoreException> sending = threads.submit(() -> assertThrows(
                StoreException.class, () -> StoreSource.send(tree.store, back.source(), there.sink(), progress -> {})));
        Future<StoreException> taking = threads.submit(() -> assertThrows(
                StoreException.class,
                () -> StoreTarget.create(
                        copy,
                        options(),
                        other,
                        tree.founding.tree(),
                        new ReadableByteChannel() {
                            private int bytes;

                            @Override
                            public int read(ByteBuffer target) throws IOException {
                                if (bytes > 1_000_000) {
                                    target.limit(target.position() + 1); // from here on hardly anything
                                    try {
                                        Thread.sleep(200);
                                    } catch (InterruptedException e) {
                                        throw new IOException(e);
                                    }
                                }
                                int size = there.source().read(target);
                                bytes += size;
                                return size;
                            }

                            @Override
                            public boolean isOpen() {
                                return there.source().isOpen();
                            }

                            @Override
                            public void close() throws IOException {
                                there.source().close();
                            }
                        },
                        back.sink(),
                        progress -> {})));
        Thread.sleep(1_000);
        tree.store.close(); // waits for nobody
        assertEquals(StoreException.Code.IO, sending.get().code());
        there.source().close();
        assertEquals(StoreException.Code.IO, taking.get().code());
        back.sink().close();
        tree.open();
        assertClean(tree.store);
    }

    // ---- what is refused ----

    @Test
    void anotherTreeAndANodeWithoutARightAreRefused() throws Exception {
        change(new Random(51), 20);
        StoreException e = assertThrows(
                StoreException.class,
                () -> transferred((in, out) ->
                        StoreTarget.create(copy, options(), other, TreeId.of(new byte[32]), in, out, progress -> {})));
        assertEquals(StoreException.Code.DENIED, e.code());
        try (Identity stranger = Identity.generate()) {
            e = assertThrows(
                    StoreException.class,
                    () -> transferred((in, out) -> StoreTarget.create(
                            copy, options(), stranger, tree.founding.tree(), in, out, progress -> {})));
            assertEquals(StoreException.Code.DENIED, e.code());
            assertTrue(String.valueOf(e.getMessage()).contains("holds no capability"), e.getMessage());
            grant(stranger, Rights.WRITE);
            e = assertThrows(
                    StoreException.class,
                    () -> transferred((in, out) -> StoreTarget.create(
                            copy, options(), stranger, tree.founding.tree(), in, out, progress -> {})));
            assertEquals(StoreException.Code.DENIED, e.code());
        }
        create();
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, true);
        }
    }

    /** As {@link #transfer}, whatever becomes of the source. */
    private void transferred(Target target) throws StoreException {
        try {
            transfer(tree.store, target);
        } catch (StoreException e) {
            throw e;
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void logsThatDifferAreRefused() throws Exception {
        change(new Random(52), 20);
        create();
        try (BlockStore taken = openCopy();
                Commit commit = taken.newCommit()) {
            commit.create(taken.newBlock(taken.rootDomain()), 12).attributes(bytes("only here"));
            taken.commit(commit, true);
        }
        StoreException e = assertThrows(StoreException.class, () -> updated());
        assertEquals(StoreException.Code.CONFLICT, e.code());
        commit(new Random(53));
        commit(new Random(54));
        e = assertThrows(StoreException.class, () -> updated());
        assertEquals(StoreException.Code.CONFLICT, e.code());
        try (BlockStore taken = openCopy()) {
            assertClean(taken);
        }
    }

    private void updated() throws StoreException {
        transferred((in, out) -> StoreTarget.update(copy, options(), other, in, out, progress -> {}));
    }

    /** The source's statement about its state, made by whom it should not. */
    @Test
    void checkpointThatIsNotByANodeIsRefused() throws Exception {
        try (Identity writer = Identity.generate();
                Identity stranger = Identity.generate()) {
            grant(writer, Rights.WRITE);
            change(new Random(55), 20);
            byte[] sent = create();
            for (Identity signer : List.of(writer, stranger)) {
                List<Piece> pieces = pieces(sent);
                TransferProto.Offered offered = TransferProto.Offered.parseFrom(pieces.get(0).body);
                Checkpoint made = Checkpoint.parse(
                        SignedEnvelope.parse(offered.getCheckpoint().toByteArray())
                                .body());
                List<WriteCapabilityChain> chains = tree.store.authority().chainsOf(signer.id());
                Checkpoint forged = new Checkpoint(
                        made.tree(),
                        made.position(),
                        made.timeMillis(),
                        made.logHash(),
                        made.stateRoot(),
                        signer.id(),
                        chains.isEmpty() ? made.chain() : chains.get(0).id(),
                        made.authorityHash());
                pieces.set(
                        0,
                        new Piece(
                                Type.OFFERED,
                                offered.toBuilder()
                                        .setCheckpoint(Wire.bytes(signer.sign(SignatureKind.CHECKPOINT, forged.encode())
                                                .toBytes()))
                                        .build()
                                        .toByteArray()));
                copy = directory.resolve("forged");
                StoreException e = assertThrows(StoreException.class, () -> replayCreate(joined(pieces)));
                assertEquals(StoreException.Code.DENIED, e.code());
            }
        }
    }

    /** A node record by whom it should not, where a true one was sent. */
    @Test
    void nodeRecordThatIsNotByANodeIsRefused() throws Exception {
        try (Identity writer = Identity.generate();
                Identity stranger = Identity.generate()) {
            grant(writer, Rights.WRITE);
            appendNode(tree.node, 1);
            byte[] sent = create();
            for (Identity signer : List.of(writer, stranger)) {
                List<Piece> pieces = pieces(sent);
                int at = pieces.indexOf(pieces.stream()
                        .filter(piece -> piece.type == Type.LOG_ENTRY && kindOf(piece) == LogKind.NODE)
                        .findFirst()
                        .orElseThrow());
                LogEntry entry = LogEntry.parse(pieces.get(at).body);
                LogEntry forged = LogEntry.of(
                        entry.position(),
                        entry.timeMillis(),
                        entry.previous(),
                        entry.kind(),
                        nodeRecord(signer, 1).toBytes());
                pieces.set(at, new Piece(Type.LOG_ENTRY, forged.encoded()));
                copy = directory.resolve("forged");
                StoreException e = assertThrows(StoreException.class, () -> replayCreate(joined(pieces)));
                assertEquals(StoreException.Code.DENIED, e.code());
                assertTrue(String.valueOf(e.getMessage()).startsWith("NODE record"), e.getMessage());
            }
        }
    }

    private static LogKind kindOf(Piece piece) {
        try {
            return LogEntry.parse(piece.body).kind();
        } catch (StoreException e) {
            throw new AssertionError(e);
        }
    }

    // ---- hostile streams ----

    @SuppressWarnings("ArrayRecordComponent")
    private record Piece(Type type, byte[] body) {}

    private static List<Piece> pieces(byte[] sent) {
        List<Piece> pieces = new ArrayList<>();
        ByteBuffer buffer = ByteBuffer.wrap(sent);
        while (buffer.hasRemaining()) {
            Type type = Type.values()[buffer.get() - 1];
            byte[] body = new byte[buffer.getInt()];
            buffer.get(body);
            pieces.add(new Piece(type, body));
        }
        return pieces;
    }

    private static byte[] joined(List<Piece> pieces) {
        ByteArrayOutputStream joined = new ByteArrayOutputStream();
        for (Piece piece : pieces) {
            joined.write(piece.type.ordinal() + 1);
            joined.writeBytes(ByteBuffer.allocate(4).putInt(piece.body.length).array());
            joined.writeBytes(piece.body);
        }
        return joined.toByteArray();
    }

    /** Each is refused, whatever the kind of record. */
    private enum Attack {
        DROP {
            @Override
            void on(List<Piece> pieces, int at, Random random) {
                pieces.remove(at);
            }
        },
        DOUBLE {
            @Override
            void on(List<Piece> pieces, int at, Random random) {
                pieces.add(at, pieces.get(at));
            }
        },
        CHANGE {
            @Override
            void on(List<Piece> pieces, int at, Random random) {
                byte[] body = pieces.get(at).body.clone();
                if (body.length == 0) {
                    pieces.remove(at);
                } else {
                    body[random.nextInt(body.length)] ^= (byte) (1 << random.nextInt(8));
                    pieces.set(at, new Piece(pieces.get(at).type, body));
                }
            }
        },
        SHORTEN {
            @Override
            void on(List<Piece> pieces, int at, Random random) {
                byte[] body = pieces.get(at).body;
                pieces.set(at, new Piece(pieces.get(at).type, Arrays.copyOf(body, Math.max(0, body.length - 1))));
                if (body.length == 0) {
                    pieces.remove(at);
                }
            }
        },
        LENGTHEN {
            @Override
            void on(List<Piece> pieces, int at, Random random) {
                byte[] body = pieces.get(at).body;
                pieces.set(at, new Piece(pieces.get(at).type, Arrays.copyOf(body, body.length + 1)));
            }
        },
        /** With another record of its kind: of a sector, or a node, one that is true elsewhere. */
        REPLACE {
            @Override
            void on(List<Piece> pieces, int at, Random random) {
                List<Piece> others = pieces.stream()
                        .filter(p -> p.type == pieces.get(at).type && !Arrays.equals(p.body, pieces.get(at).body))
                        .toList();
                if (others.isEmpty()) {
                    pieces.remove(at);
                } else {
                    pieces.set(at, others.get(random.nextInt(others.size())));
                }
            }
        },
        SAY_OTHER_TYPE {
            @Override
            void on(List<Piece> pieces, int at, Random random) {
                Type[] types = Type.values();
                Type type =
                        types[(pieces.get(at).type.ordinal() + 1 + random.nextInt(types.length - 1)) % types.length];
                pieces.set(at, new Piece(type, pieces.get(at).body));
            }
        };

        abstract void on(List<Piece> pieces, int at, Random random);
    }

    @ParameterizedTest
    @EnumSource
    void everyKindOfRecordIsVerified(Attack attack) throws Exception {
        OneNodeOrder.of(tree.store); // states of snapshots come too
        Random random = new Random(61);
        change(random, 50);
        tree.store.createSnapshot(bytes("kept"));
        byte[] sent = create();
        Path fresh = directory.resolve("attacked");
        Path behind = copy;
        change(random, 50);
        tree.store.createSnapshot(bytes("one more"));
        copy = copied(behind, "updated");
        byte[] sentLater = update();
        for (boolean isFresh : new boolean[] {true, false}) {
            for (Type type : Type.values()) {
                for (int round = 0; round < 3; round++) {
                    List<Piece> pieces = new ArrayList<>(pieces(isFresh ? sent : sentLater));
                    List<Integer> places = new ArrayList<>();
                    for (int i = 0; i < pieces.size(); i++) {
                        // of a block only the newest: what retention alone keeps may be withheld
                        boolean chosen = pieces.get(i).type == type
                                && (type != Type.HEADER
                                        || !blockOf(pieces.get(i)).equals(blockOf(pieces.get(i - 1))));
                        if (chosen) {
                            places.add(i);
                        }
                    }
                    if (places.isEmpty()) {
                        break;
                    }
                    int at = places.get(random.nextInt(places.size()));
                    if (type == Type.OFFERED && attack != Attack.DROP && attack != Attack.DOUBLE) {
                        break; // its totals are for people; everyByte... holds the rest
                    }
                    if (type == Type.END && attack == Attack.DOUBLE) {
                        break; // nobody reads on
                    }
                    attack.on(pieces, at, random);
                    copy = isFresh ? fresh : behind;
                    StoreException e = assertThrows(
                            StoreException.class,
                            () -> {
                                if (isFresh) {
                                    replayCreate(joined(pieces));
                                } else {
                                    replayUpdate(joined(pieces));
                                }
                            },
                            attack + " of " + type + " " + at);
                    assertTrue(
                            String.valueOf(e.getMessage()).startsWith("the other side: ")
                                    || List.of(
                                                    StoreException.Code.CORRUPT,
                                                    StoreException.Code.DENIED,
                                                    StoreException.Code.INVALID,
                                                    StoreException.Code.CONFLICT,
                                                    StoreException.Code.IO)
                                            .contains(e.code()),
                            e.toString());
                }
            }
        }
        copy = behind;
        try (BlockStore taken = openCopy()) {
            assertClean(taken);
        }
        replayUpdate(sentLater);
        try (BlockStore taken = openCopy()) {
            assertEqual(tree.store, taken, false);
        }
    }

    /** Empty for what is no header. */
    private static String blockOf(Piece piece) throws StoreException {
        return piece.type == Type.HEADER
                ? HeaderRecord.parse(piece.body).header().block().toHex()
                : "";
    }

    /** The outcome is an error, or a store that equals the source. */
    @ParameterizedTest
    @ValueSource(longs = {71, 72})
    void bytesThatAreAlteredAreNoticedOrOfNoConsequence(long seed) throws Exception {
        Random random = new Random(seed);
        change(random, 25);
        byte[] sent = create();
        int refused = 0;
        for (int round = 0; round < 40; round++) {
            copy = directory.resolve("altered" + (round & 1));
            byte[] altered = sent.clone();
            int from = random.nextInt(altered.length);
            int length = random.nextInt(4) == 0 ? Math.min(64, altered.length - from) : 1;
            for (int i = from; i < from + length; i++) {
                altered[i] ^= (byte) (1 + random.nextInt(255));
            }
            boolean done;
            try {
                replayCreate(altered);
                done = true;
            } catch (StoreException e) {
                refused++;
                done = false;
            }
            if (done) {
                try (BlockStore taken = openCopy()) {
                    assertEqual(tree.store, taken, true);
                }
                deleteAll(directory.resolve("altered" + (round & 1)));
            }
        }
        assertTrue(refused > 30, "refused " + refused);
    }

    private static void deleteAll(Path dir) throws IOException {
        try (Stream<Path> files = Files.walk(dir)) {
            for (Path file : files.sorted(java.util.Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }
}
