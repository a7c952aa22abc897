package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static blocktree.store.TestTree.read;
import static blocktree.store.TestTree.sector;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import blocktree.crypto.Authority;
import blocktree.crypto.BlockId;
import blocktree.crypto.CryptoException;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyChange;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.SignatureKind;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.StoreException.Code;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Stores that apply what a cluster has put in one order: all come to the same log, whatever is in it and whenever they stop. */
class ReplicatedLogTest {

    private static final int STORES = 2;

    private static final StoreOptions OPTIONS = TestTree.options().withRetention(Retention.NONE);

    @TempDir
    Path temp;

    private final Identity root = Identity.generate();
    private final Identity node = Identity.generate();
    private final TreeFounding founding = TreeFounding.create(root, node, System.currentTimeMillis() - 60_000);

    /** What was put in order, its index first 1; null: nothing for the log. */
    private final List<byte @Nullable []> ordered = new ArrayList<>();

    /** Indexes of what is no parcel. */
    private final Set<Integer> changes = new HashSet<>();

    private final List<BlockStore> stores = new ArrayList<>();

    @BeforeEach
    void open() throws StoreException {
        for (int i = 0; i < STORES; i++) {
            BlockStore.create(dir(i), OPTIONS, founding, node);
            stores.add(BlockStore.open(dir(i), OPTIONS, node));
        }
        stores.get(0).orderBy(new Cluster(0));
    }

    /** What store {@code i} brings is put in order, and applied to it at once. */
    private final class Cluster implements LogPort {
        private final int i;

        Cluster(int i) {
            this.i = i;
        }

        @Override
        public Placed commit(SealedCommit commit, boolean sync) throws StoreException {
            follow(i, ordered.size());
            ordered.add(parcel(commit));
            return stores.get(i).replicatedLog().apply(at(ordered.size()), commit);
        }

        @Override
        public Placed change(byte[] change) throws StoreException {
            Before before = othersComeFirst;
            othersComeFirst = null;
            if (before != null) {
                before.run();
            }
            follow(i, ordered.size());
            orderChange(change);
            return apply(i, ordered.size());
        }
    }

    @FunctionalInterface
    private interface Before {
        void run() throws StoreException;
    }

    /** Run before the next change is put in order. */
    private @Nullable Before othersComeFirst;

    private void orderChange(byte[] change) {
        ordered.add(change);
        changes.add(ordered.size());
    }

    @AfterEach
    void close() throws StoreException {
        for (BlockStore store : stores) {
            store.close();
        }
        root.close();
        node.close();
    }

    private Path dir(int i) {
        return temp.resolve("store" + i);
    }

    private static byte[] parcel(SealedCommit commit) {
        try {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            Hash hash = Parcel.write(commit, Channels.newChannel(out));
            assertEquals(Parcel.sizeBytes(commit), out.size());
            assertEquals(hash, hash(out.toByteArray()));
            return out.toByteArray();
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static Hash hash(byte[] parcel) {
        return Hash.of(Parcel.digest().digest(parcel));
    }

    /** The time goes back now and then, as a leader's that was elected may. */
    private static Order at(long index) {
        return new Order(1 + index / 10, index, BEGIN_MILLIS + (index % 7 == 6 ? -5_000 : index * 10));
    }

    private static final long BEGIN_MILLIS = System.currentTimeMillis();

    /** Applies to store {@code i} what it has not yet, up to the entry {@code end}. */
    private void follow(int i, int end) throws StoreException {
        Order applied = stores.get(i).replicatedLog().applied();
        for (int index = applied == null ? 1 : (int) applied.index() + 1; index <= end; index++) {
            try {
                apply(i, index);
            } catch (StoreException e) {
                assertTrue(e.isRefusal(), e::toString);
            }
        }
    }

    private CommitPort.Placed apply(int i, int index) throws StoreException {
        ReplicatedLog replica = stores.get(i).replicatedLog();
        byte[] bytes = ordered.get(index - 1);
        if (bytes == null) {
            replica.pass(at(index));
            return new CommitPort.Placed(0, 0);
        }
        if (!changes.contains(index)) {
            return apply(replica, index, bytes);
        }
        try {
            return replica.applyChange(at(index), hash(bytes), Channels.newChannel(new ByteArrayInputStream(bytes)));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static CommitPort.Placed apply(ReplicatedLog replica, int index, byte[] parcel) throws StoreException {
        try {
            return replica.apply(at(index), hash(parcel), Channels.newChannel(new ByteArrayInputStream(parcel)));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private void reopen(int i) throws StoreException {
        stores.get(i).close();
        stores.set(i, BlockStore.open(dir(i), OPTIONS, node));
    }

    private void assertSame() throws StoreException {
        BlockStore a = stores.get(0);
        BlockStore b = stores.get(1);
        assertEquals(a.headPosition(), b.headPosition());
        for (long position = 1; position <= a.headPosition(); position++) {
            assertEquals(a.ledger().entry(position), b.ledger().entry(position));
        }
        assertEquals(a.ledger().checkpoint().hash(), b.ledger().checkpoint().hash());
        assertEquals(described(a), described(b));
    }

    private static List<String> described(BlockStore store) throws StoreException {
        return store.snapshots().stream()
                .map(info -> new String(info.name(), StandardCharsets.UTF_8) + " made at " + info.madePosition()
                        + " of " + info.position() + " " + info.stateRoot() + " at " + info.timeMillis())
                .toList();
    }

    private BlockId createdByTheFirst(int... fills) throws StoreException {
        BlockStore store = stores.get(0);
        try (Commit commit = store.newCommit()) {
            NewBlock block = store.newBlock(store.rootDomain());
            BlockEdit edit = commit.create(block, TestTree.SECTOR_LOG2).attributes(bytes("of the first"));
            for (int i = 0; i < fills.length; i++) {
                edit.putSector(i, sector(fills[i]), 0);
            }
            store.commit(commit, false);
            return block.id();
        }
    }

    private void put(BlockId id, long index, int fill) throws StoreException {
        BlockStore store = stores.get(0);
        try (Commit commit = store.newCommit()) {
            commit.edit(store.read(id)).putSector(index, sector(fill), 0);
            store.commit(commit, false);
        }
    }

    @Test
    void whatOneSealedTheOtherServes() throws StoreException {
        BlockId id = createdByTheFirst(1, 2, 3);
        put(id, 1, 20);
        BlockId large = createdByTheFirst(large());
        follow(1, ordered.size());
        assertSame();
        OpenBlock block = stores.get(1).read(id);
        assertArrayEquals(sector(1), read(block, 0));
        assertArrayEquals(sector(20), read(block, 1));
        assertArrayEquals(bytes("of the first"), block.attributes());
        assertArrayEquals(sector(large()[600]), read(stores.get(1).read(large), 600));
        stores.get(1).fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
    }

    /** More than goes through the write-ahead log. */
    private static int[] large() {
        int[] fills = new int[700];
        for (int i = 0; i < fills.length; i++) {
            fills[i] = 1_000 + i;
        }
        return fills;
    }

    @Test
    void refusalsAreTheSameForAllAndAreNotTriedAgain() throws StoreException {
        BlockId id = createdByTheFirst(1);
        put(id, 0, 2);
        byte[] second = Objects.requireNonNull(ordered.get(1));
        byte[] malformed = {7, 7, 7};
        byte[] cut = Arrays.copyOf(second, second.length - 1);
        ordered.add(second); // comes twice, as from a writer who was not told
        ordered.add(malformed);
        ordered.add(cut);
        ordered.add(null);
        ReplicatedLog replica = stores.get(0).replicatedLog();
        assertCode(Code.CONFLICT, () -> apply(replica, 3, second));
        assertCode(Code.INVALID, () -> apply(replica, 4, malformed));
        assertCode(Code.INVALID, () -> apply(replica, 5, cut));
        replica.pass(at(6));
        put(id, 0, 3);
        follow(1, ordered.size());
        assertSame();
        assertEquals(
                7,
                Objects.requireNonNull(stores.get(1).replicatedLog().applied()).index());
    }

    @Test
    void aParcelThatIsNotTheOneNamedIsNoRefusalOfTheTree() throws StoreException {
        createdByTheFirst(1, 2);
        byte[] parcel = Objects.requireNonNull(ordered.get(0));
        ReplicatedLog replica = stores.get(1).replicatedLog();
        Random random = new Random(1);
        for (int round = 0; round < 200; round++) {
            byte[] other = parcel.clone();
            other[random.nextInt(other.length)] ^= (byte) (1 + random.nextInt(255));
            byte[] given = round % 3 == 0 ? Arrays.copyOf(other, random.nextInt(other.length)) : other;
            StoreException e = assertThrows(
                    StoreException.class,
                    () -> replica.apply(at(1), hash(parcel), Channels.newChannel(new ByteArrayInputStream(given))));
            assertEquals(Code.CORRUPT, e.code(), e::toString);
        }
        follow(1, 1);
        assertSame();
    }

    @Test
    void itIsTakenUpAgainWhereItStopped() throws StoreException {
        Random random = new Random(2);
        List<BlockId> ids = new ArrayList<>();
        for (int round = 0; round < 60; round++) {
            if (ids.isEmpty() || random.nextInt(4) == 0) {
                ids.add(createdByTheFirst(round, round + 1));
            } else {
                put(ids.get(random.nextInt(ids.size())), random.nextInt(3), round);
            }
            if (random.nextInt(5) == 0) {
                ordered.add(null);
                stores.get(0).replicatedLog().pass(at(ordered.size()));
            }
            if (random.nextInt(6) == 0) {
                stores.get(random.nextInt(2)).ledger().checkpoint();
            }
            if (random.nextInt(6) == 0) {
                follow(1, ordered.size() - random.nextInt(3));
                reopen(1);
            }
        }
        follow(1, ordered.size());
        assertSame();
    }

    private byte[] chainOf(Identity to) {
        return WriteCapabilityChain.of(List.of(WriteCapability.issue(
                        root,
                        founding.tree(),
                        founding.rootDomain(),
                        to.keys(),
                        Rights.WRITE,
                        0,
                        WriteCapability.NO_END)))
                .toBytes();
    }

    @Test
    void authorityRecordsAreAppliedToo() throws StoreException {
        createdByTheFirst(1);
        try (Identity other = Identity.generate()) {
            byte[] chain = chainOf(other);
            assertEquals(
                    stores.get(0).headPosition() + 1, stores.get(0).appendAuthority(RecordKind.WRITECAP_CHAIN, chain));
            assertCode(Code.CONFLICT, () -> stores.get(0).appendAuthority(RecordKind.WRITECAP_CHAIN, chain));
            byte[] record = NodeRecord.create(node, founding.tree(), 1, "node", List.of())
                    .toBytes();
            stores.get(0).appendAuthority(RecordKind.NODE, record);
            assertCode(Code.CONFLICT, () -> stores.get(0).appendAuthority(RecordKind.NODE, record));
            follow(1, ordered.size());
            assertNotNull(stores.get(1).authority().node(node.id()));
            assertEquals(1, stores.get(1).authority().chainsOf(other.id()).size());
        }
        assertSame();
    }

    // ---- records that belong together

    @Test
    void aRotationIsRefusedWhenTheAuthorityHasChangedSinceItWasMade() throws Exception {
        BlockId id = createdByTheFirst(1);
        try (Identity fresh = Identity.generate();
                Identity friend = Identity.generate()) {
            othersComeFirst = () -> {
                put(id, 0, 2);
                stores.get(0).appendAuthority(RecordKind.WRITECAP_CHAIN, chainOf(friend));
            };
            assertCode(Code.CONFLICT, () -> rotateRoot(fresh));
            KeyChange change = rotateRoot(fresh);
            assertTrue(change.writers().contains(friend.id()));
            follow(1, ordered.size());
            for (BlockStore store : stores) {
                assertEquals(1, store.authority().rotations());
                assertTrue(store.authority().isRoot(fresh.id()));
                assertEquals(2, store.authority().chainsOf(friend.id()).size());
            }
            put(id, 0, 3);
            follow(1, ordered.size());
            reopen(1);
            assertSame();
        }
    }

    private KeyChange rotateRoot(Identity fresh) throws StoreException, CryptoException {
        Authority authority = stores.get(0).authority();
        KeyChange change = KeyChange.rotateRoot(authority, root, fresh, System.currentTimeMillis(), 0);
        stores.get(0).appendAuthority(change.entries(), authority.position());
        return change;
    }

    @Test
    void ofRecordsThatBelongTogetherAllComeIntoForceOrNone() throws StoreException {
        createdByTheFirst(1);
        try (Identity a = Identity.generate();
                Identity b = Identity.generate()) {
            TreeFounding.Entry first = new TreeFounding.Entry(RecordKind.WRITECAP_CHAIN, chainOf(a));
            TreeFounding.Entry second = new TreeFounding.Entry(RecordKind.WRITECAP_CHAIN, chainOf(b));
            long head = stores.get(0).headPosition();
            for (List<TreeFounding.Entry> records : List.of(
                    List.of(first, second, first),
                    List.of(first, new TreeFounding.Entry(RecordKind.EPOCH, new byte[] {1})),
                    List.of(first, new TreeFounding.Entry(RecordKind.GENESIS, bytes("again"))))) {
                orderChange(new OrderedChange(records, null, null).encode());
                StoreException e = assertThrows(StoreException.class, () -> apply(0, ordered.size()));
                assertTrue(e.isRefusal(), e::toString);
            }
            orderChange(OrderedChange.ofRecords(List.of(first, second), Hash.of(new byte[32]))
                    .encode());
            assertCode(Code.CONFLICT, () -> apply(0, ordered.size()));
            assertEquals(head, stores.get(0).headPosition());
            orderChange(new OrderedChange(List.of(first, second), null, null).encode());
            assertEquals(head + 2, apply(0, ordered.size()).position());
            follow(1, ordered.size());
            assertSame();
            for (BlockStore store : stores) {
                assertEquals(1, store.authority().chainsOf(a.id()).size());
                assertEquals(1, store.authority().chainsOf(b.id()).size());
            }
        }
    }

    // ---- snapshots

    @Test
    void aSnapshotNamesOneStateEverywhereWheneverNodesMakeCheckpointsCollectAndStop() throws StoreException {
        Random random = new Random(3);
        Map<String, Integer> expected = new TreeMap<>();
        BlockId id = createdByTheFirst(0, 1_000);
        int fill = 0;
        for (int round = 0; round < 100; round++) {
            int dice = random.nextInt(12);
            if (dice < 5) {
                put(id, 0, ++fill);
            } else if (dice == 5) {
                createdByTheFirst(round);
            } else if (dice == 6) {
                String name = "s" + round;
                stores.get(0).createSnapshot(bytes(name));
                expected.put(name, fill);
            } else if (dice == 7 && expected.size() > 3) {
                String name = List.copyOf(expected.keySet()).get(random.nextInt(expected.size()));
                stores.get(0).deleteSnapshot(bytes(name));
                expected.remove(name);
            } else if (dice == 8) {
                stores.get(random.nextInt(2)).ledger().checkpoint();
            } else if (dice == 9) {
                stores.get(random.nextInt(2)).collectGarbage();
            } else if (dice == 10) {
                ordered.add(null);
                stores.get(0).replicatedLog().pass(at(ordered.size()));
            } else {
                follow(1, ordered.size() - random.nextInt(3));
                reopen(1);
            }
        }
        follow(1, ordered.size());
        assertSame();
        assertEquals(expected.size(), stores.get(0).snapshots().size());
        assertTrue(expected.size() > 2, "snapshots " + expected);
        for (BlockStore store : stores) {
            store.openGenerations().letGo();
            store.collectGarbage();
            for (SnapshotInfo info : store.snapshots()) {
                int then = Objects.requireNonNull(expected.get(new String(info.name(), StandardCharsets.UTF_8)));
                assertArrayEquals(sector(then), read(store.readAt(id, info), 0));
                assertArrayEquals(sector(1_000), read(store.readAt(id, info), 1));
            }
            store.fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
        }
        for (String name : expected.keySet()) {
            stores.get(0).deleteSnapshot(bytes(name));
        }
        follow(1, ordered.size());
        for (int i = 0; i < STORES; i++) {
            reopen(i); // nobody has anything open
            BlockStore store = stores.get(i);
            store.collectGarbage();
            long[] headers = {0};
            store.ledger().rocks().scan(Column.HEADERS, id.toBytes(), Keys.after(id.toBytes()), (key, value) -> {
                headers[0]++;
                return true;
            });
            assertEquals(1, headers[0], "what only snapshots kept is gone");
        }
        assertSame();
    }

    @Test
    void ofTwoThatAreMadeAtOnceTheSecondIsMadeAgainUnlessTheFirstHasItsName() throws StoreException {
        createdByTheFirst(1);
        stores.get(1).orderBy(new Cluster(1));
        BlockStore first = stores.get(0);
        othersComeFirst = () -> stores.get(1).createSnapshot(bytes("theirs"));
        SnapshotInfo ours = first.createSnapshot(bytes("ours"));
        assertEquals(first.headPosition(), ours.madePosition());
        assertEquals(first.headPosition() - 1, ours.position());
        othersComeFirst = () -> stores.get(1).createSnapshot(bytes("wanted"));
        assertCode(Code.CONFLICT, () -> first.createSnapshot(bytes("wanted")));
        othersComeFirst = () -> stores.get(1).deleteSnapshot(bytes("theirs"));
        first.deleteSnapshot(bytes("theirs")); // both ends are taken
        assertCode(Code.NOT_FOUND, () -> first.deleteSnapshot(bytes("theirs")));
        follow(1, ordered.size());
        assertSame();
        assertEquals(
                List.of("ours", "wanted"),
                first.snapshots().stream()
                        .map(info -> new String(info.name(), StandardCharsets.UTF_8))
                        .toList());
        first.fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
    }

    @Test
    void noRecordOfASnapshotIsTakenTwiceAndNoneThatIsNotInOrder() throws StoreException {
        createdByTheFirst(1);
        BlockStore first = stores.get(0);
        SnapshotInfo made = first.createSnapshot(bytes("a"));
        byte[] record = Objects.requireNonNull(ordered.get(ordered.size() - 1));
        first.deleteSnapshot(bytes("a"));
        long head = first.headPosition();
        StateRoot state = first.ledger().checkpoint();
        refused(Code.CONFLICT, record);
        refused(Code.INVALID, new byte[0]);
        refused(Code.INVALID, new byte[] {1, 2, 3});
        refused(Code.INVALID, OrderedChange.ofSnapshot(new byte[] {1}).encode());
        refused(Code.INVALID, snapshot(node, state.position(), state.hash()));
        refused(Code.INVALID, snapshot(node, head + 1, null));
        try (Identity stranger = Identity.generate()) {
            refused(Code.DENIED, snapshot(stranger, head, null));
        }
        assertEquals(head, first.headPosition());
        assertEquals(made.madePosition() + 1, head);
        follow(1, ordered.size());
        reopen(1);
        orderChange(record);
        assertCode(Code.CONFLICT, () -> apply(1, ordered.size()));
        follow(0, ordered.size());
        assertSame();
    }

    private void refused(Code code, byte[] change) {
        orderChange(change);
        assertCode(code, () -> apply(0, ordered.size()));
    }

    private byte[] snapshot(Identity signer, long position, @Nullable Hash stateRoot) {
        SnapshotBody body = new SnapshotBody(
                founding.tree(), "00112233445566778899aabbccddeeff", bytes("x"), 1, position, stateRoot, 1, false);
        return OrderedChange.ofSnapshot(
                        signer.sign(SignatureKind.SNAPSHOT, body.encode()).toBytes())
                .encode();
    }

    @Test
    void aStateThatIsToldOfAnotherPlaceIsDamageAndCanBeGivenUpEverywhere() throws StoreException {
        BlockId id = createdByTheFirst(1);
        BlockStore first = stores.get(0);
        first.createSnapshot(bytes("a"));
        put(id, 0, 2);
        first.createSnapshot(bytes("b"));
        follow(1, ordered.size());
        Rocks rocks = stores.get(1).ledger().rocks();
        List<byte[]> keys = new ArrayList<>();
        List<byte[]> rows = new ArrayList<>();
        rocks.scan(Column.META, Snapshots.ROW_PREFIX, Keys.after(Snapshots.ROW_PREFIX), (key, value) -> {
            keys.add(key);
            rows.add(value);
            return true;
        });
        byte[] state = Objects.requireNonNull(Snapshots.state(rows.get(1)));
        rocks.put(Column.META, keys.get(0), Snapshots.row(Snapshots.position(rows.get(0)), state));
        reopen(1);
        assertEquals(1, stores.get(1).snapshots().size());
        List<Finding.Kind> findings = new ArrayList<>();
        stores.get(1).fsck(FsckOptions.defaults(), finding -> findings.add(finding.kind()));
        assertEquals(List.of(Finding.Kind.SNAPSHOT_INVALID), findings);
        String damaged = new String(keys.get(0), StandardCharsets.US_ASCII).substring("snapshot/".length());
        stores.get(1).orderBy(new Cluster(1));
        stores.get(1).deleteSnapshot(bytes(damaged));
        follow(0, ordered.size());
        assertEquals(1, first.snapshots().size());
        assertSame();
        stores.get(1).fsck(FsckOptions.defaults(), finding -> fail(finding.toString()));
    }

    // ---- what is this node's

    @Test
    void aPinPutsNothingInTheLogAndKeepsItsState() throws StoreException {
        BlockId id = createdByTheFirst(1);
        follow(1, 1);
        BlockStore store = stores.get(1);
        long head = store.headPosition();
        try (StatePin pin = store.pin()) {
            put(id, 0, 2);
            follow(1, ordered.size());
            store.openGenerations().letGo();
            store.collectGarbage();
            assertArrayEquals(sector(1), read(store.readAt(id, pin), 0));
            assertArrayEquals(sector(2), read(store.read(id), 0));
        }
        assertEquals(head + 1, store.headPosition());
        assertSame();
    }

    @Test
    void theKeyOfANodeIsNotReplaced() throws StoreException {
        createdByTheFirst(1);
        follow(1, 1);
        stores.get(1).close();
        try (Identity fresh = Identity.generate()) {
            StoreException e =
                    assertCode(Code.READ_ONLY, () -> BlockStore.replaceNode(dir(1), OPTIONS, node, root, fresh));
            assertTrue(String.valueOf(e.getMessage()).contains("retire the node"), e.getMessage());
        }
        stores.set(1, BlockStore.open(dir(1), OPTIONS, node));
        assertSame();
    }

    @Test
    void aLogThatAClusterOrdersTakesNothingOfItsOwn() throws StoreException {
        createdByTheFirst(1);
        follow(1, 1);
        BlockStore store = stores.get(1);
        StoreException e = assertThrows(StoreException.class, () -> {
            try (Commit commit = store.newCommit()) {
                commit.create(store.newBlock(store.rootDomain()), TestTree.SECTOR_LOG2)
                        .attributes(bytes("alone"));
                store.commit(commit, false);
            }
        });
        assertEquals(Code.READ_ONLY, e.code());
        assertCode(Code.READ_ONLY, () -> store.createSnapshot(bytes("alone")));
        assertCode(Code.READ_ONLY, () -> store.appendAuthority(RecordKind.REVOCATION, new byte[0]));
        reopen(1);
        assertCode(Code.READ_ONLY, () -> stores.get(1).createSnapshot(bytes("alone")));
        assertSame();
    }
}
