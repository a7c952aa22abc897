package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static blocktree.store.TestTree.read;
import static blocktree.store.TestTree.sector;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import blocktree.crypto.BlockId;
import blocktree.crypto.DomainId;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.NodeRecord;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.StoreException.Code;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Stores that apply what a cluster has put in one order: all come to the same log, whatever is in it and whenever they stop. */
class ReplicatedLogTest {

    private static final int STORES = 2;

    @TempDir
    Path temp;

    private final Identity root = Identity.generate();
    private final Identity node = Identity.generate();
    private final TreeFounding founding = TreeFounding.create(root, node, System.currentTimeMillis() - 60_000);

    /** What was put in order, its index first 1; null: nothing for the log. */
    private final List<byte[]> ordered = new ArrayList<>();

    private final List<BlockStore> stores = new ArrayList<>();

    @BeforeEach
    void open() throws StoreException {
        for (int i = 0; i < STORES; i++) {
            BlockStore.create(dir(i), TestTree.options(), founding, node);
            stores.add(BlockStore.open(dir(i), TestTree.options(), node));
        }
        // Commits of the first store are put in order, and applied to it at once.
        stores.get(0).orderBy((commit, sync) -> order(commit));
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

    private CommitPort.Placed order(SealedCommit commit) throws StoreException {
        ordered.add(parcel(commit));
        return stores.get(0).replicatedLog().apply(at(ordered.size()), commit);
    }

    /** The time goes back now and then, as a leader's that was elected may. */
    private static Order at(long index) {
        return new Order(1 + index / 10, index, BEGIN_MILLIS + (index % 7 == 6 ? -5_000 : index * 10));
    }

    private static final long BEGIN_MILLIS = System.currentTimeMillis();

    /** Applies to store {@code i} what it has not yet, up to the entry {@code end}. */
    private void follow(int i, int end) throws StoreException {
        ReplicatedLog replica = stores.get(i).replicatedLog();
        Order applied = replica.applied();
        for (int index = applied == null ? 1 : (int) applied.index() + 1; index <= end; index++) {
            byte[] parcel = ordered.get(index - 1);
            try {
                if (parcel == null) {
                    replica.pass(at(index));
                } else {
                    apply(replica, index, parcel);
                }
            } catch (StoreException e) {
                assertTrue(e.isRefusal(), e::toString);
            }
        }
    }

    private static CommitPort.Placed apply(ReplicatedLog replica, int index, byte[] parcel) throws StoreException {
        try {
            return replica.apply(at(index), hash(parcel), Channels.newChannel(new ByteArrayInputStream(parcel)));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private void assertSame() throws StoreException {
        BlockStore a = stores.get(0);
        BlockStore b = stores.get(1);
        assertEquals(a.headPosition(), b.headPosition());
        for (long position = 1; position <= a.headPosition(); position++) {
            assertEquals(a.ledger().entry(position), b.ledger().entry(position));
        }
        assertEquals(a.ledger().checkpoint().hash(), b.ledger().checkpoint().hash());
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
        byte[] second = ordered.get(1);
        ordered.add(second); // comes twice, as from a writer who was not told
        ordered.add(new byte[] {7, 7, 7});
        ordered.add(Arrays.copyOf(second, second.length - 1));
        ordered.add(null);
        ReplicatedLog replica = stores.get(0).replicatedLog();
        assertCode(Code.CONFLICT, () -> apply(replica, 3, second));
        assertCode(Code.INVALID, () -> apply(replica, 4, ordered.get(3)));
        assertCode(Code.INVALID, () -> apply(replica, 5, ordered.get(4)));
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
        byte[] parcel = ordered.get(0);
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
                stores.get(1).close();
                stores.set(1, BlockStore.open(dir(1), TestTree.options(), node));
            }
        }
        follow(1, ordered.size());
        assertSame();
    }

    @Test
    void authorityRecordsAreAppliedToo() throws StoreException {
        createdByTheFirst(1);
        try (Identity other = Identity.generate()) {
            DomainId domain = stores.get(0).rootDomain();
            byte[] chain = WriteCapabilityChain.of(List.of(WriteCapability.issue(
                            root, founding.tree(), domain, other.keys(), Rights.WRITE, 0, WriteCapability.NO_END)))
                    .toBytes();
            byte[] record = NodeRecord.create(node, founding.tree(), 1, "node", List.of())
                    .toBytes();
            for (BlockStore store : stores) {
                if (store == stores.get(1)) {
                    follow(1, 1);
                }
                store.replicatedLog().applyAuthority(at(2), RecordKind.WRITECAP_CHAIN, chain);
                assertCode(
                        Code.CONFLICT,
                        () -> store.replicatedLog().applyAuthority(at(3), RecordKind.WRITECAP_CHAIN, chain));
                store.replicatedLog().applyAuthority(at(4), RecordKind.NODE, record);
                assertCode(Code.CONFLICT, () -> store.replicatedLog().applyAuthority(at(5), RecordKind.NODE, record));
            }
        }
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
        stores.get(1).close();
        stores.set(1, BlockStore.open(dir(1), TestTree.options(), node));
        assertCode(Code.READ_ONLY, () -> stores.get(1).createSnapshot(bytes("alone")));
        assertSame();
    }
}
