package blocktree.store;

import static blocktree.store.BlockStoreTest.assertCode;
import static blocktree.store.TestTree.bytes;
import static blocktree.store.TestTree.read;
import static blocktree.store.TestTree.sector;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import blocktree.crypto.BlockKey;
import blocktree.crypto.DomainId;
import blocktree.crypto.DomainKey;
import blocktree.crypto.DomainRecord;
import blocktree.crypto.EpochRecord;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Revocation;
import blocktree.crypto.Rights;
import blocktree.crypto.SignatureKind;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapability;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.PayloadUpdate.NewNode;
import blocktree.store.StoreException.Code;
import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a port refuses of commits that come from elsewhere. The blocks are honest ones in which one thing is changed. */
class HostileCommitTest {

    @TempDir
    Path temp;

    private TestTree tree;
    private OpenBlock target;
    private final Identity stranger = Identity.generate();
    private final Identity friend = Identity.generate();

    @BeforeEach
    void found() throws StoreException {
        tree = new TestTree(temp);
        target = tree.create("honest", 1, 2, 3);
    }

    @AfterEach
    void close() throws StoreException {
        OpenBlock now = tree.store.read(target.id());
        assertEquals(target.generation(), now.generation(), "a refused commit changes nothing");
        assertArrayEquals(sector(1), read(now, 0));
        tree.reopen();
        tree.close();
        stranger.close();
        friend.close();
    }

    /** How a commit is signed; each test changes one thing. */
    private final class Forgery {
        Identity signer = tree.node;
        Identity writer = tree.node;
        Hash chain = tree.founding.nodeChain();
        TreeId treeId = tree.founding.tree();
        List<CommitBody.Fence> fences = List.of();
        final List<SealedBlock> signed = new ArrayList<>();
        final List<SealedBlock> sent = new ArrayList<>();

        Forgery(SealedBlock... blocks) {
            signed.addAll(List.of(blocks));
            sent.addAll(List.of(blocks));
        }

        Forgery by(Identity who, Hash itsChain) {
            signer = who;
            writer = who;
            chain = itsChain;
            return this;
        }

        SealedCommit seal() {
            List<Hash> hashes = signed.stream().map(b -> b.header().hash()).toList();
            CommitBody body = new CommitBody(
                    treeId, writer.id(), chain, 1, new HeadersTree(hashes).root(), hashes.size(), fences, 0);
            return new SealedCommit(
                    signer.sign(SignatureKind.COMMIT, body.encode()).toBytes(), sent, List.of());
        }

        CommitPort.Placed commit() throws StoreException {
            return tree.store.port().commit(seal(), true);
        }

        void isRefused(Code code) {
            long head = tree.store.headPosition();
            assertCode(code, this::commit);
            assertEquals(head, tree.store.headPosition());
        }
    }

    /** An honest next generation of {@code target}: sector 0 replaced. The commit stays open: its memory holds the sector. */
    private SealedBlock nextGeneration() throws StoreException {
        Commit commit = tree.store.newCommit();
        commit.edit(target).putSector(0, sector(11), 0);
        return commit.seal().commit().blocks().get(0);
    }

    private static SealedBlock withHeader(SealedBlock block, Consumer<StoreProto.Header.Builder> change)
            throws StoreException {
        try {
            StoreProto.Header.Builder header =
                    StoreProto.Header.parseFrom(block.header().encoded()).toBuilder();
            change.accept(header);
            return new SealedBlock(Header.of(header), block.nodes(), block.sectors());
        } catch (InvalidProtocolBufferException e) {
            throw new AssertionError(e);
        }
    }

    private static SealedBlock withNodes(SealedBlock block, UnaryOperator<List<NewNode>> change) {
        return new SealedBlock(block.header(), change.apply(new ArrayList<>(block.nodes())), block.sectors());
    }

    private static SealedBlock withSectors(SealedBlock block, Consumer<TreeMap<Long, Sector>> change) {
        TreeMap<Long, Sector> sectors = new TreeMap<>(block.sectors());
        change.accept(sectors);
        return new SealedBlock(block.header(), block.nodes(), sectors);
    }

    /** Makes the header name the tree that the given nodes and sectors make, as a lying writer with the keys would. */
    private static SealedBlock withPayloadRoot(SealedBlock block, byte[] topNode) throws StoreException {
        IntegrityNode.Entry top =
                new IntegrityNode.Entry(block.header().generation(), IntegrityNode.nodeHash(0, topNode));
        Hash root = IntegrityNode.payloadRoot(
                block.header().sectorCount(), block.header().sectorSize(), top);
        SealedBlock named = withHeader(block, h -> h.setPayloadRoot(Wire.bytes(root)));
        return new SealedBlock(named.header(), List.of(new NewNode(0, 0, topNode)), block.sectors());
    }

    private Hash grant(Identity subject, Rights rights, long from, long to) throws Exception {
        WriteCapabilityChain chain = WriteCapabilityChain.of(List.of(WriteCapability.issue(
                tree.root, tree.founding.tree(), tree.founding.rootDomain(), subject.keys(), rights, from, to)));
        tree.store.appendAuthority(RecordKind.WRITECAP_CHAIN, chain.toBytes());
        return chain.id();
    }

    @Test
    void honestCommitOfAnotherWriterIsTakenAndReadable() throws Exception {
        Hash chain = grant(friend, Rights.WRITE, 0, Long.MAX_VALUE);
        new Forgery(nextGeneration()).by(friend, chain).commit();
        for (int round = 0; round < 2; round++) {
            OpenBlock read = tree.store.read(target.id());
            assertEquals(2, read.generation());
            assertArrayEquals(sector(11), read(read, 0));
            assertArrayEquals(sector(2), read(read, 1));
            assertEquals(friend.id(), tree.store.generations(target.id()).get(0).writer());
            tree.reopen();
        }
        Forgery back = new Forgery(withSector0Again());
        back.commit();
        target = tree.store.read(target.id());
    }

    private SealedBlock withSector0Again() throws StoreException {
        Commit commit = tree.store.newCommit();
        commit.edit(tree.store.read(target.id())).putSector(0, sector(1), 0);
        return commit.seal().commit().blocks().get(0);
    }

    @Test
    void strangerWithTheNodesChain() throws StoreException {
        new Forgery(nextGeneration()).by(stranger, tree.founding.nodeChain()).isRefused(Code.DENIED);
    }

    @Test
    void strangerWhoSignsForTheNode() throws StoreException {
        Forgery forgery = new Forgery(nextGeneration());
        forgery.signer = stranger;
        forgery.isRefused(Code.DENIED);
    }

    @Test
    void chainThatNoLogHolds() throws StoreException {
        WriteCapabilityChain own = WriteCapabilityChain.of(List.of(WriteCapability.issue(
                stranger,
                tree.founding.tree(),
                tree.founding.rootDomain(),
                stranger.keys(),
                Rights.ALL,
                0,
                Long.MAX_VALUE)));
        new Forgery(nextGeneration()).by(stranger, own.id()).isRefused(Code.DENIED);
        assertCode(Code.DENIED, () -> tree.store.appendAuthority(RecordKind.WRITECAP_CHAIN, own.toBytes()));
    }

    @Test
    void signatureAltered() throws StoreException {
        SealedCommit honest = new Forgery(nextGeneration()).seal();
        byte[] envelope = honest.envelope().clone();
        envelope[envelope.length - 1] ^= 1;
        assertCode(
                Code.DENIED,
                () -> tree.store.port().commit(new SealedCommit(envelope, honest.blocks(), List.of()), true));
        assertCode(
                Code.INVALID,
                () -> tree.store.port().commit(new SealedCommit(bytes("junk"), honest.blocks(), List.of()), true));
    }

    @Test
    void commitForAnotherTree() throws StoreException {
        Forgery forgery = new Forgery(nextGeneration());
        forgery.treeId = TreeId.of(sector(5), 0);
        forgery.isRefused(Code.DENIED);
    }

    @Test
    void expiredAndNotYetValidAndRevokedAndTooWeakChains() throws Exception {
        long now = System.currentTimeMillis();
        new Forgery(nextGeneration())
                .by(friend, grant(friend, Rights.WRITE, now + 3_600_000, Long.MAX_VALUE))
                .isRefused(Code.DENIED);
        new Forgery(nextGeneration())
                .by(friend, grant(friend, Rights.NODE, 0, Long.MAX_VALUE))
                .isRefused(Code.DENIED);
        WriteCapability capability = WriteCapability.issue(
                tree.root,
                tree.founding.tree(),
                tree.founding.rootDomain(),
                friend.keys(),
                Rights.WRITE,
                0,
                Long.MAX_VALUE);
        WriteCapabilityChain chain = WriteCapabilityChain.of(List.of(capability));
        tree.store.appendAuthority(RecordKind.WRITECAP_CHAIN, chain.toBytes());
        tree.store.appendAuthority(
                RecordKind.REVOCATION,
                Revocation.create(tree.root, tree.founding.tree(), capability.envelopeId(), now)
                        .toBytes());
        new Forgery(nextGeneration()).by(friend, chain.id()).isRefused(Code.DENIED);
    }

    @Test
    void capabilityThatEndedWhenTheCommitCame() throws Exception {
        long[] now = {System.currentTimeMillis()};
        tree.store.close();
        tree.options = tree.options.withClock(() -> Instant.ofEpochMilli(now[0]));
        tree.open();
        target = tree.store.read(target.id());
        Hash chain = grant(friend, Rights.WRITE, 0, now[0] + 1_000);
        Forgery late = new Forgery(nextGeneration()).by(friend, chain);
        now[0] += 1_000;
        late.isRefused(Code.DENIED);
        tree.create("log time moves on");
        now[0] -= 900;
        late.isRefused(Code.DENIED); // a clock that jumps back does not take log time back
    }

    @Test
    void headerThatDoesNotFollow() throws StoreException {
        SealedBlock next = nextGeneration();
        new Forgery(withHeader(next, h -> h.setPredecessor(ByteString.copyFrom(sector(4), 0, 32))))
                .isRefused(Code.CONFLICT);
        new Forgery(withHeader(next, h -> h.setGeneration(3))).isRefused(Code.CONFLICT);
        new Forgery(withHeader(next, h -> h.setGeneration(1).clearPredecessor().setPayloadGeneration(1)))
                .isRefused(Code.CONFLICT);
    }

    @Test
    void blockMovedToAnotherDomainOrCreator() throws Exception {
        SealedBlock next = nextGeneration();
        DomainRecord.Draft draft = DomainRecord.draft(tree.founding.tree(), tree.founding.rootDomain(), tree.root.id());
        DomainRecord domain = DomainRecord.create(
                tree.root, tree.founding.tree(), tree.founding.rootDomain(), draft, true, target.id());
        tree.store.appendAuthority(RecordKind.DOMAIN, domain.toBytes());
        DomainKey key = DomainKey.random(tree.founding.tree(), domain.domain(), 1);
        EpochRecord epoch =
                EpochRecord.create(tree.root, key, 1, null, tree.store.domainKey(tree.founding.rootDomain(), 1));
        tree.store.appendAuthority(RecordKind.EPOCH, epoch.toBytes());
        new Forgery(withHeader(
                        next,
                        h -> h.setDomain(Wire.bytes(domain.domain())).setEpochCommitment(Wire.bytes(key.commitment()))))
                .isRefused(Code.DENIED);
        new Forgery(withHeader(next, h -> h.setCreator(Wire.bytes(friend.id())))).isRefused(Code.DENIED);
        new Forgery(withHeader(next, h -> h.setNonce(ByteString.copyFrom(sector(4), 0, 32)))).isRefused(Code.DENIED);
    }

    @Test
    void squattedIds() throws Exception {
        NewBlock fresh = tree.store.newBlock(tree.founding.rootDomain());
        Commit commit = tree.store.newCommit();
        commit.create(fresh, 12).attributes(bytes("mine"));
        SealedBlock honest = commit.seal().commit().blocks().get(0);
        DomainId domain = tree.founding.rootDomain();
        new Forgery(withHeader(honest, h -> h.setBlock(ByteString.copyFrom(sector(4), 0, 32)))).isRefused(Code.DENIED);
        Hash chain = grant(friend, Rights.WRITE, 0, Long.MAX_VALUE);
        new Forgery(honest).by(friend, chain).isRefused(Code.DENIED);
        new Forgery(withHeader(honest, h -> h.setCreator(Wire.bytes(friend.id()))))
                .by(friend, chain)
                .isRefused(Code.DENIED);
        assertEquals(domain, fresh.domain());
        new Forgery(honest).commit();
        assertArrayEquals(bytes("mine"), tree.store.read(fresh.id()).attributes());
    }

    @Test
    void epochBelowTheMinimumAndForeignKeys() throws Exception {
        SealedBlock underOne = nextGeneration();
        new Forgery(withHeader(underOne, h -> h.setEpochCommitment(ByteString.copyFrom(sector(4), 0, 32))))
                .isRefused(Code.DENIED);
        DomainKey one = tree.store.domainKey(tree.founding.rootDomain(), 1);
        try (DomainKey two = DomainKey.random(tree.founding.tree(), tree.founding.rootDomain(), 2)) {
            tree.store.appendAuthority(
                    RecordKind.EPOCH,
                    EpochRecord.create(tree.root, two, 2, one, null).toBytes());
        }
        new Forgery(underOne).isRefused(Code.DENIED);
        new Forgery(withHeader(
                        underOne,
                        h -> h.setEpoch(2).addKeys(h.getKeys(0).toBuilder().setEpoch(2))))
                .isRefused(Code.INVALID);
    }

    @Test
    void earlierKeysReplaced() throws Exception {
        SealedBlock next = nextGeneration();
        DomainKey domainKey = tree.store.domainKey(tree.founding.rootDomain(), 1);
        try (BlockKey other = BlockKey.random(target.id(), 1)) {
            new Forgery(withHeader(
                            next,
                            h -> h.setKeys(
                                    0,
                                    h.getKeys(0).toBuilder()
                                            .setWrapped(ByteString.copyFrom(domainKey.sealBlockKey(other))))))
                    .isRefused(Code.INVALID);
        }
    }

    @Test
    void headersWithheldAddedSwappedOrRepeated() throws StoreException {
        OpenBlock second = tree.create("second", 5);
        Commit commit = tree.store.newCommit();
        commit.edit(target).attributes(bytes("x"));
        commit.edit(second).attributes(bytes("y"));
        List<SealedBlock> both = commit.seal().commit().blocks();
        Forgery half = new Forgery(both.get(0), both.get(1));
        half.sent.remove(1);
        half.isRefused(Code.INVALID);
        Forgery swapped = new Forgery(both.get(0), both.get(1));
        swapped.sent.add(swapped.sent.remove(0));
        swapped.isRefused(Code.INVALID);
        Forgery added = new Forgery(both.get(0));
        added.sent.add(both.get(1));
        added.isRefused(Code.INVALID);
        new Forgery(both.get(0), both.get(0)).isRefused(Code.INVALID);
    }

    @Test
    void nodesAndSectorsWithheldAlteredOrAdded() throws StoreException {
        SealedBlock next = nextGeneration();
        new Forgery(withSectors(next, TreeMap::clear)).isRefused(Code.INVALID);
        new Forgery(withSectors(next, s -> s.put(1L, next.sectors().get(0L)))).isRefused(Code.INVALID);
        new Forgery(withSectors(next, s -> s.replaceAll((i, old) -> altered(old)))).isRefused(Code.INVALID);
        new Forgery(withSectors(next, s -> s.replaceAll((i, old) -> shortened(old)))).isRefused(Code.INVALID);
        new Forgery(withNodes(next, nodes -> List.of())).isRefused(Code.INVALID);
        new Forgery(withNodes(next, nodes -> {
                    byte[] node = nodes.get(0).bytes().clone();
                    node[9] ^= 1;
                    return List.of(new NewNode(0, 0, node));
                }))
                .isRefused(Code.INVALID);
        new Forgery(withNodes(next, nodes -> {
                    nodes.add(new NewNode(1, 0, nodes.get(0).bytes()));
                    return nodes;
                }))
                .isRefused(Code.INVALID);
        new Forgery(withNodes(next, nodes -> {
                    nodes.add(nodes.get(0));
                    return nodes;
                }))
                .isRefused(Code.INVALID);
        new Forgery(withHeader(next, h -> h.setSectorCount(2))).isRefused(Code.INVALID);
    }

    private static Sector altered(Sector sector) {
        ByteBuffer copy = ByteBuffer.allocateDirect(sector.size());
        copy.put(sector.ciphertext().duplicate()).flip();
        copy.put(100, (byte) (copy.get(100) ^ 1));
        return hashed(copy);
    }

    private static Sector shortened(Sector sector) {
        return hashed(sector.ciphertext().duplicate().limit(sector.size() - 1));
    }

    private static Sector hashed(ByteBuffer ciphertext) {
        byte[] bytes = new byte[ciphertext.remaining()];
        ciphertext.duplicate().get(bytes);
        return new Sector(ciphertext, IntegrityNode.leafHash(bytes, 0, bytes.length));
    }

    @Test
    void treeThatTakesOverWhatTheBlockHasNotHad() throws StoreException {
        SealedBlock next = nextGeneration();
        byte[] node = next.nodes().get(0).bytes();
        byte[] otherHash = node.clone();
        otherHash[IntegrityNode.ENTRY_SIZE + Long.BYTES] ^= 1;
        new Forgery(withPayloadRoot(next, otherHash)).isRefused(Code.INVALID);
        byte[] otherGeneration = node.clone();
        Keys.putU64(otherGeneration, IntegrityNode.ENTRY_SIZE, 7);
        new Forgery(withPayloadRoot(next, otherGeneration)).isRefused(Code.INVALID);
        new Forgery(withHeader(
                        withPayloadRoot(next, node),
                        h -> h.setSectorCount(2)
                                .setPayloadRoot(Wire.bytes(IntegrityNode.payloadRoot(
                                        2, 4096, new IntegrityNode.Entry(2, IntegrityNode.nodeHash(0, node)))))))
                .isRefused(Code.INVALID);
    }

    @Test
    void topNodeOfAnotherGenerationThanTheTreeHas() throws StoreException {
        Commit commit = tree.store.newCommit();
        commit.edit(target).attributes(bytes("x"));
        SealedBlock next = commit.seal().commit().blocks().get(0);
        assertEquals(1, next.header().payloadGeneration());
        OpenBlock other = tree.create("other", 1);
        assertEquals(1, other.generation());
        // The root is of generation 1; only the field beside it lies.
        new Forgery(withHeader(next, h -> h.setPayloadGeneration(2))).isRefused(Code.INVALID);
    }

    /** Content sealed with the key of an epoch that is over: whoever was shut out with that epoch could read it. */
    @Test
    void contentSealedUnderAnEarlierEpoch() throws Exception {
        SealedBlock underOne = nextGeneration();
        DomainKey one = tree.store.domainKey(tree.founding.rootDomain(), 1);
        try (DomainKey two = DomainKey.random(tree.founding.tree(), tree.founding.rootDomain(), 2);
                BlockKey key = BlockKey.random(target.id(), 2)) {
            tree.store.appendAuthority(
                    RecordKind.EPOCH,
                    EpochRecord.create(tree.root, two, 2, one, null).toBytes());
            StoreProto.WrappedKey wrapped = Header.message(new Header.WrappedKey(2, two.sealBlockKey(key)));
            new Forgery(withHeader(
                            underOne,
                            h -> h.setEpoch(2)
                                    .setEpochCommitment(Wire.bytes(two.commitment()))
                                    .addKeys(wrapped)))
                    .isRefused(Code.INVALID);
        }
    }

    @Test
    void fencesOfLeasesThatNobodyGranted() throws StoreException {
        Forgery forgery = new Forgery(nextGeneration());
        forgery.fences = List.of(new CommitBody.Fence(Hash.of(sector(1), 0), 7));
        forgery.isRefused(Code.INVALID);
    }

    @Test
    void deletedBlockDoesNotComeBack() throws StoreException {
        OpenBlock doomed = tree.create("doomed", 1);
        Commit commit = tree.store.newCommit();
        commit.edit(doomed).attributes(bytes("again"));
        SealedBlock next = commit.seal().commit().blocks().get(0);
        Header tombstone;
        try (Commit delete = tree.store.newCommit()) {
            delete.delete(doomed);
            tombstone = delete.seal().commit().blocks().get(0).header();
            tree.store.commit(delete, true);
        }
        new Forgery(withHeader(next, h -> h.setGeneration(3).setPredecessor(Wire.bytes(tombstone.hash()))))
                .isRefused(Code.CONFLICT);
    }

    @Test
    void aDeletionNeedsTheRightsOfAWrite() throws Exception {
        SealedBlock tombstone;
        try (Commit delete = tree.store.newCommit()) {
            delete.delete(target);
            tombstone = delete.seal().commit().blocks().get(0);
        }
        new Forgery(tombstone).by(stranger, tree.founding.nodeChain()).isRefused(Code.DENIED);
        new Forgery(tombstone)
                .by(friend, grant(friend, Rights.NODE.and(Rights.REKEY), 0, Long.MAX_VALUE))
                .isRefused(Code.DENIED);
        Hash mayWrite = grant(friend, Rights.WRITE, 0, Long.MAX_VALUE);
        new Forgery(withHeader(tombstone, h -> h.setGeneration(7)))
                .by(friend, mayWrite)
                .isRefused(Code.CONFLICT);
    }

    @Test
    void recordOfAnotherTreeIsNoAuthority() throws StoreException {
        try (TestTree other = new TestTree(temp.resolve("other"))) {
            byte[] record = other.founding.entries().get(2).payload();
            assertCode(Code.CONFLICT, () -> tree.store.appendAuthority(RecordKind.WRITECAP_CHAIN, record));
        }
    }
}
