package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.BlockKey;
import blocktree.crypto.DomainId;
import blocktree.crypto.Hash;
import blocktree.crypto.Rights;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.SignatureKind;
import blocktree.store.IntegrityNode.Entry;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Changes to several blocks that will happen together or not at all. Used once, by one thread at a time, except that {@link
 * BlockEdit#putSector} may be called from several threads. {@link #close} gives back what an unused commit holds; a committed one is
 * closed by {@link BlockStore#commit}, whether that succeeds or not.
 */
public final class Commit implements AutoCloseable {

    /** The largest ciphertext of a thread, for sealing; grows to the largest sector that the thread met. */
    private static final ThreadLocal<byte[]> SEALED = ThreadLocal.withInitial(() -> new byte[0]);

    /** What {@link #seal} makes of an edit besides what the port gets. */
    private record Built(
            SealedBlock block,
            Garbage.@Nullable Builder garbage,
            @Nullable Payload payload) {}

    /** A sealed commit with what its sealer knows already, and a port would find out again. */
    record Sealed(
            SealedCommit commit,
            CommitBody body,
            List<Garbage.@Nullable Builder> garbage,
            List<@Nullable Payload> payloads) {}

    private final BlockStore store;
    private final Ledger ledger;
    private final Slabs.Lease memory;
    private final Map<BlockId, BlockEdit> edits = new LinkedHashMap<>();
    private final Map<BlockId, OpenBlock> deletions = new LinkedHashMap<>();
    private final List<SealedCommit.LocalChange> localChanges = new ArrayList<>();
    private boolean closed;

    Commit(BlockStore store, Ledger ledger, Slabs slabs) {
        this.store = store;
        this.ledger = ledger;
        this.memory = slabs.lease();
    }

    /** Creates a block with sectors of {@code 1 << sectorSizeLog2} bytes (12 to 20). DENIED without the domain's key. */
    public BlockEdit create(NewBlock block, int sectorSizeLog2) throws StoreException {
        checkSectorSize(sectorSizeLog2);
        int epoch = ledger.authority().currentEpoch(block.domain());
        store.domainKey(block.domain(), epoch);
        return add(new BlockEdit(
                this,
                block.id(),
                block.domain(),
                block.nonce(),
                null,
                epoch,
                BlockKey.random(block.id(), epoch),
                sectorSizeLog2));
    }

    /**
     * Replaces {@code base} by a new generation, with the same attributes and payload until they are changed. When the domain has begun
     * a new key epoch, what is written gets a new block key under it.
     */
    public BlockEdit edit(OpenBlock base) throws StoreException {
        Header header = base.header();
        int epoch = ledger.authority().currentEpoch(header.domain());
        store.domainKey(header.domain(), epoch);
        BlockKey fresh = header.key(epoch) == null ? BlockKey.random(header.block(), epoch) : null;
        return add(new BlockEdit(
                this, header.block(), header.domain(), header.nonce(), base, epoch, fresh, header.sectorSizeLog2()));
    }

    private BlockEdit add(BlockEdit edit) {
        checkFree(edit.id());
        edits.put(edit.id(), edit);
        return edit;
    }

    /** Replaces {@code base} by a tombstone. */
    public void delete(OpenBlock base) throws StoreException {
        checkFree(base.id());
        deletions.put(base.id(), base);
    }

    private void checkFree(BlockId id) {
        if (closed) {
            throw new IllegalStateException("commit is closed");
        }
        if (edits.containsKey(id) || deletions.containsKey(id)) {
            throw new IllegalArgumentException("block " + id + " is in this commit already");
        }
    }

    /** Puts (null: deletes) a value of a {@link LocalTable} in the same atomic write. */
    public void putLocal(String table, byte[] key, byte @Nullable [] value) {
        byte[] whole = LocalTable.key(table, key);
        byte[] sealed = value == null ? null : store.localCipher().seal(whole, value);
        localChanges.add(new SealedCommit.LocalChange(whole, sealed));
    }

    /** Ciphertext bytes of the sectors held so far: what the commit costs in memory. */
    public long sizeBytes() {
        return memory.sizeBytes();
    }

    /** Whether it changes no block: such a commit only writes local tables and gets no log entry. */
    boolean isLocalOnly() {
        return edits.isEmpty() && deletions.isEmpty();
    }

    List<SealedCommit.LocalChange> localChanges() {
        return localChanges;
    }

    static void checkSectorSize(int sectorSizeLog2) {
        if (sectorSizeLog2 < Header.SECTOR_SIZE_LOG2_MIN || sectorSizeLog2 > Header.SECTOR_SIZE_LOG2_MAX) {
            throw new IllegalArgumentException("sector size 2^" + sectorSizeLog2);
        }
    }

    /** One sector of an edit: ciphertext and leaf hash. Called by many threads. */
    Sector seal(BlockEdit edit, long index, byte[] buffer, int offset) throws StoreException {
        int size = edit.sectorSize();
        byte[] sealed = SEALED.get();
        if (sealed.length < size + SectorCipher.OVERHEAD) {
            sealed = new byte[size + SectorCipher.OVERHEAD];
            SEALED.set(sealed);
        }
        int sealedSize = seal(edit, SectorCipher.Kind.SECTOR, index, buffer, offset, size, sealed);
        return Sector.of(sealed, sealedSize, memory);
    }

    private int seal(
            BlockEdit edit, SectorCipher.Kind kind, long index, byte[] buffer, int offset, int size, byte[] sealed)
            throws StoreException {
        BlockKey fresh = edit.freshKey();
        if (fresh != null) {
            return store.cipher().seal(fresh, kind, index, buffer, offset, size, sealed, 0);
        }
        OpenBlock base = edit.base();
        if (base == null) {
            throw new IllegalStateException("a new block has a fresh key");
        }
        return store.keys()
                .with(
                        base.header(),
                        edit.epoch(),
                        key -> store.cipher().seal(key, kind, index, buffer, offset, size, sealed, 0));
    }

    /** Builds and signs the commit. The memory of its sectors stays with this object. */
    Sealed seal() throws StoreException {
        List<Built> built = new ArrayList<>(edits.size() + deletions.size());
        Set<DomainId> domains = new LinkedHashSet<>();
        for (BlockEdit edit : edits.values()) {
            domains.add(edit.domain());
            built.add(build(edit));
        }
        for (OpenBlock deleted : deletions.values()) {
            domains.add(deleted.domain());
            built.add(tombstone(deleted));
        }
        List<Hash> hashes = built.stream().map(b -> b.block.header().hash()).toList();
        CommitBody body = new CommitBody(
                ledger.tree(),
                ledger.node().id(),
                ledger.chainFor(Rights.WRITE, List.copyOf(domains)),
                ledger.nextWriterSequence(),
                new HeadersTree(hashes).root(),
                hashes.size(),
                List.of(),
                ledger.options().clock().millis());
        byte[] envelope =
                ledger.node().sign(SignatureKind.COMMIT, body.encode()).toBytes();
        List<Garbage.@Nullable Builder> garbage = new ArrayList<>();
        List<@Nullable Payload> payloads = new ArrayList<>();
        for (Built b : built) {
            garbage.add(b.garbage);
            payloads.add(b.payload);
        }
        SealedCommit commit =
                new SealedCommit(envelope, built.stream().map(Built::block).toList(), localChanges);
        return new Sealed(commit, body, garbage, payloads);
    }

    private Built build(BlockEdit edit) throws StoreException {
        OpenBlock base = edit.base();
        long generation = base == null ? 1 : base.generation() + 1;
        StoreProto.Header.Builder header = base == null
                ? Header.first(edit.id(), edit.domain(), ledger.node().id(), edit.nonce())
                : base.header().next();
        header.setEpoch(edit.epoch());
        Hash commitment = ledger.authority().epochCommitment(edit.domain(), edit.epoch());
        if (commitment == null) {
            throw new StoreException(
                    StoreException.Code.DENIED, "domain " + edit.domain() + " has no epoch " + edit.epoch());
        }
        header.setEpochCommitment(Wire.bytes(commitment));
        if (base != null) {
            base.header().keys().forEach(key -> header.addKeys(Header.message(key)));
        }
        BlockKey fresh = edit.freshKey();
        if (fresh != null) {
            byte[] wrapped = store.domainKey(edit.domain(), edit.epoch()).sealBlockKey(fresh);
            header.addKeys(Header.message(new Header.WrappedKey(edit.epoch(), wrapped)));
        }
        header.setSealed(Wire.bytes(sealAttributes(edit, generation)));

        Garbage.Builder garbage = base == null ? null : Ledger.garbage(base.placed());
        IntegrityNodes nodes = ledger.nodes();
        boolean keepsSectors = base != null && !edit.isResized();
        if (base != null && edit.isResized() && garbage != null) {
            garbage.all();
        }
        Payload before = keepsSectors && base != null ? base.payload(nodes) : Payload.empty(nodes, edit.id());
        PayloadUpdate update = new PayloadUpdate(before, generation, edit.sectors(), edit.dropped(), garbage);
        long count = edit.sectorCount();
        Entry top = update.build(count);
        for (int i = 0; i < update.nodes().size(); i++) {
            nodes.put(update.nodeEntries().get(i).hash(), update.nodes().get(i).bytes());
        }
        header.setSectorSizeLog2(edit.sectorSizeLog2()).setSectorCount(count);
        if (count > 0) {
            header.setPayloadRoot(Wire.bytes(IntegrityNode.payloadRoot(count, edit.sectorSize(), top)))
                    .setPayloadGeneration(top.generation());
        }
        return new Built(
                new SealedBlock(Header.of(header), update.nodes(), Collections.unmodifiableSortedMap(edit.sectors())),
                garbage,
                new Payload(nodes, edit.id(), count, top));
    }

    private byte[] sealAttributes(BlockEdit edit, long generation) throws StoreException {
        byte[] plaintext = edit.attributes();
        OpenBlock base = edit.base();
        if (plaintext == null) {
            if (base == null) {
                throw new IllegalStateException("new block " + edit.id() + " has no attributes");
            }
            plaintext = base.attributes();
        }
        byte[] padded = Padding.pad(plaintext);
        byte[] sealed = new byte[padded.length + SectorCipher.OVERHEAD];
        seal(edit, SectorCipher.Kind.ATTRIBUTES, generation, padded, 0, padded.length, sealed);
        return sealed;
    }

    private Built tombstone(OpenBlock deleted) throws StoreException {
        Header header = Header.of(deleted.header()
                .next()
                .setTombstone(true)
                .setEpoch(deleted.header().epoch()));
        return new Built(
                new SealedBlock(header, List.of(), new TreeMap<>()),
                Ledger.garbage(deleted.placed()).all(),
                null);
    }

    /** After the commit is in the log: its fresh keys are those of their blocks now. */
    void keepKeys() throws StoreException {
        for (BlockEdit edit : edits.values()) {
            BlockKey fresh = edit.freshKey();
            if (fresh != null) {
                store.keys().put(fresh);
            }
        }
        edits.clear();
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            memory.close();
            for (BlockEdit edit : edits.values()) {
                BlockKey fresh = edit.freshKey();
                if (fresh != null) {
                    fresh.close();
                }
            }
            edits.clear();
        }
    }
}
