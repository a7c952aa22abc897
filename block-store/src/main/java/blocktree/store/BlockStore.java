package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.BlockId;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainId;
import blocktree.crypto.DomainKey;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyChange;
import blocktree.crypto.KeyRing;
import blocktree.crypto.LocalCipher;
import blocktree.crypto.PrincipalId;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.TreeId;
import blocktree.store.IntegrityNode.Entry;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Lock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksDBException;
import org.rocksdb.WriteBatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The blocks of one tree on this machine: sealed and verified on the way in, verified and opened on the way out (docs/format.md,
 * sections 3 and 4). Thread-safe. Every method throws CLOSED once {@link #close} was called.
 */
public final class BlockStore implements AutoCloseable {

    private static final Logger log = LoggerFactory.getLogger(BlockStore.class);

    /** Buffers of one thread for reading sectors; they grow to the largest sector that the thread met. */
    private static final class ReadBuffers {
        private final ByteBuffer key = ByteBuffer.allocateDirect(Keys.SECTOR_SIZE);
        private ByteBuffer direct = ByteBuffer.allocateDirect(0);
        private byte[] heap = new byte[0];

        void ensure(int size) {
            if (heap.length < size) {
                direct = ByteBuffer.allocateDirect(size);
                heap = new byte[size];
            }
        }
    }

    /** From so many sectors on, one scan is cheaper than a search for each. */
    private static final int SCANNED_MIN = 4;

    private static final ThreadLocal<ReadBuffers> READ_BUFFERS = ThreadLocal.withInitial(ReadBuffers::new);

    private final Gate gate = new Gate();
    private final Rocks rocks;
    private final Ledger ledger;
    private final KeyRing ring;
    private final BlockKeys keys;
    private final SectorCipher cipher;
    private final LocalCipher localCipher;
    private final OpenGenerations openGenerations = new OpenGenerations();
    private final Slabs slabs = new Slabs();
    private final Upkeep upkeep;
    private volatile @Nullable LogPort cluster;
    private final AtomicLong commits = new AtomicLong();
    private final AtomicLong corruptions = new AtomicLong();

    /**
     * Makes a store in {@code dir}, which is created when it is missing, for a tree that is founded with it. The root directory is for
     * the caller to commit, through {@link #newRootBlock}. INVALID when there is a store already.
     */
    public static void create(Path dir, StoreOptions options, TreeFounding founding, Identity node)
            throws StoreException {
        try {
            Files.createDirectories(dir);
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "cannot make " + dir + ": " + e.getMessage(), e);
        }
        try (Rocks rocks = new Rocks(dir, options, Rocks.Mode.CREATE)) {
            Ledger.create(rocks, options, founding, node);
        }
    }

    /**
     * Opens the store in {@code dir}, for which no other process may have it open: LOCKED. Verifies the anchor, the newest checkpoint
     * and the log since: LOST_WRITES when acknowledged writes are missing, CORRUPT when what is there does not verify, WRONG_KEY when
     * {@code node} is not the node that keeps it. {@code node} stays the caller's and must stay open as long as the store.
     */
    public static BlockStore open(Path dir, StoreOptions options, Identity node) throws StoreException {
        if (!Files.isDirectory(dir)) {
            throw new StoreException(StoreException.Code.NOT_FOUND, "no store in " + dir);
        }
        Rocks.Mode mode = options.readOnly()
                ? Rocks.Mode.READ_ONLY
                : options.acceptLoss() ? Rocks.Mode.SALVAGE : Rocks.Mode.WRITE;
        Rocks rocks = recovered(dir, options, mode);
        try {
            BlockStore store = new BlockStore(rocks, new Ledger(rocks, options, node), options, node);
            store.ledger.start();
            if (!options.readOnly()) {
                store.upkeep.start();
            }
            return store;
        } catch (StoreException | RuntimeException e) {
            rocks.close();
            throw e;
        }
    }

    /** Whose keys the store in {@code dir} asks for; a node may have it open. By its records only: opening it shows whether some are missing. */
    public static KeyHolders keyHolders(Path dir) throws StoreException {
        if (!Files.isDirectory(dir)) {
            throw new StoreException(StoreException.Code.NOT_FOUND, "no store in " + dir);
        }
        try (Rocks rocks = new Rocks(dir, StoreOptions.defaults(), Rocks.Mode.READ_ONLY)) {
            return Ledger.keyHolders(rocks);
        }
    }

    /**
     * Makes {@code fresh} the node that keeps the store in {@code dir}, signed for by {@code root}; whole or not at all, whenever it ends
     * (docs/decisions/0007-keys-change-in-one-batch.md). No other process may have the store open. All identities stay the caller's.
     *
     * @param old the node that keeps it now; null when its key is lost: then the anchor is believed only where it says that something is missing, and the local tables are dropped
     * @throws StoreException DENIED when {@code root} is not a root principal in force, READ_ONLY when the store is one of a cluster's, otherwise as {@link #open}
     */
    public static void replaceNode(
            Path dir, StoreOptions options, @Nullable Identity old, Identity root, Identity fresh)
            throws StoreException {
        PrincipalId keeper = keyHolders(dir).node();
        Rocks.Mode mode = options.acceptLoss() ? Rocks.Mode.SALVAGE : Rocks.Mode.WRITE;
        try (Rocks rocks = recovered(dir, options, mode);
                Ledger ledger = new Ledger(rocks, options, old == null ? root : old, old != null);
                LocalCipher sealing = new LocalCipher(ledger.tree(), fresh);
                LocalCipher opening = new LocalCipher(ledger.tree(), old == null ? root : old)) {
            ledger.handOver(
                    fresh,
                    (authority, nowMillis) -> KeyChange.replaceNode(authority, root, keeper, fresh.keys(), nowMillis),
                    (key, ciphertext) -> {
                        try {
                            return sealing.seal(key, opening.open(key, ciphertext));
                        } catch (CryptoException e) {
                            return null; // damaged, or of the key that is lost
                        }
                    });
        }
    }

    private static Rocks recovered(Path dir, StoreOptions options, Rocks.Mode mode) throws StoreException {
        Rocks rocks = new Rocks(dir, options, mode);
        try {
            Takeover.recover(rocks, options);
            return rocks;
        } catch (StoreException | RuntimeException e) {
            rocks.close();
            throw e;
        }
    }

    private BlockStore(Rocks rocks, Ledger ledger, StoreOptions options, Identity node) throws StoreException {
        this.rocks = rocks;
        this.ledger = ledger;
        this.ring = new KeyRing(node, ledger.authority());
        this.keys = new BlockKeys(ring, options.blockKeys());
        this.cipher = new SectorCipher(ledger.tree(), node.id());
        this.localCipher = new LocalCipher(ledger.tree(), node);
        this.upkeep = new Upkeep(this, new Snapshots(ledger, ring), options.retention());
    }

    public TreeId tree() {
        return ledger.tree();
    }

    public DomainId rootDomain() {
        return ledger.rootDomain();
    }

    /** The root directory's id; NOT_FOUND on read until a commit created it through {@link #newRootBlock}. */
    public BlockId rootBlock() {
        return ledger.rootDomainRecord().rootBlock();
    }

    /** What {@link Commit#create} takes to create the root directory. */
    public NewBlock newRootBlock() {
        return new NewBlock(rootBlock(), rootDomain(), ledger.rootNonce());
    }

    /** Draws an id; stores nothing. */
    public NewBlock newBlock(DomainId domain) {
        Hash nonce;
        try (SecretBytes random = SecretBytes.random(Hash.SIZE)) {
            nonce = Hash.of(random.reveal());
        }
        return new NewBlock(BlockId.derive(tree(), domain, ledger.node().id(), nonce.toBytes()), domain, nonce);
    }

    /** Position of the newest log entry. */
    public long headPosition() {
        return ledger.headPosition();
    }

    /** Whether it was opened read-only, or stopped writing after an error that it could not recover from. */
    public boolean isReadOnly() {
        return ledger.isReadOnly();
    }

    /** Whether this node has the key of what is written in the root domain now; a blind node has none, and opens no block. */
    public boolean canRead() {
        try {
            ring.currentKey(rootDomain());
            return true;
        } catch (CryptoException e) {
            return false;
        }
    }

    /** Who may do what, from the records of the log. */
    public Authority authority() {
        return ledger.authority();
    }

    /** The records by which somebody who knows the tree's id alone finds its root principals: genesis, root domain, every rotation, in the log's order. */
    public List<TreeFounding.Entry> foundation() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return ledger.foundation();
        }
    }

    /**
     * Verifies a record of authority (domain, epoch, capability, revocation, rotation, node) and appends it to the log; returns its position.
     * On the device when it returns, in a cluster on those of a majority. DENIED when its signer may not, CONFLICT when it repeats or does not follow another.
     */
    public long appendAuthority(RecordKind kind, byte[] record) throws StoreException {
        return appendAuthority(List.of(new TreeFounding.Entry(kind, record)));
    }

    /** The same for several, all of them or none; at least one. The position of the last. */
    public long appendAuthority(List<TreeFounding.Entry> records) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            LogPort port = cluster;
            if (port == null) {
                return ledger.appendAuthority(records, null);
            }
            ledger.checkWritable();
            return port.change(OrderedChange.ofRecords(records, null).encode()).position();
        }
    }

    /** The same, of records made for the authority as it was with its record at {@code after}: CONFLICT when another has come since. */
    public long appendAuthority(List<TreeFounding.Entry> records, long after) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            Hash authority = ledger.authorityAt(after);
            LogPort port = cluster;
            if (port == null) {
                return ledger.appendAuthority(records, authority);
            }
            ledger.checkWritable();
            return port.change(OrderedChange.ofRecords(records, authority).encode())
                    .position();
        }
    }

    // ---- reading ----

    /** The newest generation; NOT_FOUND when there is none or the block is deleted, CORRUPT when it is not what was committed last. */
    public OpenBlock read(BlockId id) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            while (true) {
                Lock window = openGenerations.reading();
                window.lock();
                try {
                    StateEntry entry = ledger.current(id);
                    OpenBlock block = open(id, entry == null ? null : ledger.header(entry));
                    if (openGenerations.register(block, id, block.generation())) {
                        return block;
                    }
                } finally {
                    window.unlock();
                }
            }
        } catch (StoreException e) {
            throw report(id, null, e);
        }
    }

    /** The generation that was the newest when the snapshot was made. */
    public OpenBlock readAt(BlockId id, SnapshotInfo snapshot) throws StoreException {
        return readAt(id, () -> upkeep.snapshots().root(snapshot));
    }

    /** The generation that was the newest when the state was pinned. */
    public OpenBlock readAt(BlockId id, StatePin pin) throws StoreException {
        return readAt(id, () -> upkeep.snapshots().root(pin));
    }

    private interface RootSource {
        StateRoot find() throws StoreException;
    }

    private OpenBlock readAt(BlockId id, RootSource root) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return register(id, () -> {
                StateEntry entry = ledger.stateMap().get(root.find(), id);
                return entry == null ? null : ledger.header(entry);
            });
        } catch (StoreException e) {
            throw report(id, null, e);
        }
    }

    /**
     * A kept generation. It is proved by the chain of predecessors from the newest generation where that is whole, and by the signature
     * of its commit in any case.
     */
    public OpenBlock readGeneration(BlockId id, long generation) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            // the walk may read thousands of headers: only the last step is in the window that the collector waits for
            PlacedHeader proved = earlier(id, generation);
            return register(id, () -> {
                PlacedHeader now = proved == null ? null : ledger.header(id, generation);
                boolean same = proved != null && now != null && now.header().equals(proved.header());
                return same ? now : null;
            });
        } catch (StoreException e) {
            throw report(id, null, e);
        }
    }

    private @Nullable PlacedHeader earlier(BlockId id, long generation) throws StoreException {
        StateEntry entry = ledger.current(id);
        if (entry == null || generation < 1 || generation > entry.generation()) {
            return null;
        }
        Hash expected = entry.headerHash();
        for (long at = entry.generation(); ; at--) {
            PlacedHeader placed = ledger.header(id, at);
            if (placed == null) {
                // Not kept: what lies before is proved by its commit's signature only.
                return ledger.header(id, generation);
            }
            if (!placed.header().hash().equals(expected)) {
                throw StoreException.corrupt(
                        "header of block " + id + " generation " + at + " is not the one that was committed");
            }
            if (at == generation) {
                return placed;
            }
            expected = placed.header().predecessor();
            if (expected == null) {
                throw StoreException.corrupt("header of block " + id + " generation " + at + " names no predecessor");
            }
        }
    }

    /** The kept generations, newest first, tombstones too. Empty when the block was never created. */
    public List<GenerationInfo> generations(BlockId id) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            StateEntry current = ledger.current(id);
            List<GenerationInfo> kept = new ArrayList<>();
            if (current == null) {
                return kept;
            }
            rocks.scan(
                    Column.HEADERS, Keys.header(id, current.generation()), Keys.after(id.toBytes()), (key, value) -> {
                        PlacedHeader placed = ledger.verified(id, Keys.headerGeneration(key), value);
                        kept.add(new GenerationInfo(
                                placed.header().generation(),
                                placed.position(),
                                placed.timeMillis(),
                                placed.writer(),
                                placed.header().tombstone()));
                        return true;
                    });
            return kept;
        } catch (StoreException e) {
            throw report(id, null, e);
        }
    }

    private interface HeaderSource {
        @Nullable
        PlacedHeader find() throws StoreException;
    }

    private OpenBlock register(BlockId id, HeaderSource source) throws StoreException {
        Lock window = openGenerations.reading();
        window.lock();
        try {
            OpenBlock block = open(id, source.find());
            if (!openGenerations.register(block, id, block.generation())) {
                throw new StoreException(
                        StoreException.Code.NOT_FOUND,
                        "generation " + block.generation() + " of block " + id + " is no longer kept");
            }
            return block;
        } finally {
            window.unlock();
        }
    }

    private OpenBlock open(BlockId id, @Nullable PlacedHeader placed) throws StoreException {
        if (placed == null || placed.header().tombstone()) {
            throw new StoreException(StoreException.Code.NOT_FOUND, "no block " + id);
        }
        return new OpenBlock(this, placed);
    }

    byte[] readAttributes(Header header) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            byte[] sealed = header.sealed();
            int epoch = SectorCipher.epochOf(sealed, 0, sealed.length);
            byte[] padded = new byte[sealed.length];
            int size = keys.with(
                    header,
                    epoch,
                    key -> cipher.open(
                            key,
                            SectorCipher.Kind.ATTRIBUTES,
                            header.generation(),
                            sealed,
                            0,
                            sealed.length,
                            padded,
                            0));
            byte[] plaintext = Padding.unpad(padded, size);
            Arrays.fill(padded, (byte) 0);
            return plaintext;
        } catch (CryptoException e) {
            throw report(
                    header.block(),
                    null,
                    StoreException.corrupt("attributes of block " + header.block() + ": " + e.getMessage()));
        } catch (StoreException e) {
            throw report(header.block(), null, e);
        }
    }

    void readSectors(OpenBlock block, long first, byte[][] targets, OpenBlock.SectorVisitor visitor)
            throws StoreException {
        long index = first;
        try (Gate.Pass pass = gate.enter();
                SectorScan scan = targets.length < SCANNED_MIN ? null : rocks.scanSectors(targets.length)) {
            Header header = block.header();
            Payload payload = block.payload(ledger.nodes());
            SectorSource source = scan == null ? rocks::getSector : scan::get;
            for (int i = 0; i < targets.length; i++, index++) {
                Entry leaf = payload.leaf(index);
                if (leaf.isHole()) {
                    Arrays.fill(targets[i], (byte) 0);
                } else {
                    readSector(header, index, leaf, source, targets[i]);
                }
                visitor.read(i, !leaf.isHole());
            }
        } catch (StoreException e) {
            throw report(block.id(), index, e);
        }
    }

    private void readSector(Header header, long index, Entry leaf, SectorSource source, byte[] target)
            throws StoreException {
        byte[] sealed = readSealed(header, index, leaf, source);
        int sealedSize = header.sectorSize() + SectorCipher.OVERHEAD;
        int epoch;
        try {
            epoch = SectorCipher.epochOf(sealed, 0, sealedSize);
        } catch (CryptoException e) {
            throw StoreException.corrupt("sector " + index + " of block " + header.block() + ": " + e.getMessage());
        }
        keys.with(
                header,
                epoch,
                key -> cipher.open(key, SectorCipher.Kind.SECTOR, index, sealed, 0, sealedSize, target, 0));
    }

    /** The ciphertext of a sector, verified against its leaf; in the buffers of the thread, behind it is something else. */
    private byte[] readSealed(Header header, long index, Entry leaf, SectorSource source) throws StoreException {
        int size = header.sectorSize() + SectorCipher.OVERHEAD;
        ReadBuffers buffers = READ_BUFFERS.get();
        buffers.ensure(size);
        byte[] key = Keys.sector(header.block(), index, leaf.generation());
        StoreException unreadable = null;
        int found = -1;
        try {
            found = read(key, size, source, buffers);
            if (isNamed(buffers, found, size, leaf)) {
                return buffers.heap;
            }
        } catch (StoreException e) {
            unreadable = e;
        }
        // A commit of the same generation that was lost can have left a sector in the other family.
        for (Column column : Column.OF_SECTORS) {
            try {
                int other = read(key, size, (k, target) -> rocks.getSector(column, k, target), buffers);
                if (isNamed(buffers, other, size, leaf)) {
                    return buffers.heap;
                }
            } catch (StoreException e) {
                unreadable = e;
            }
        }
        String what = "sector " + index + " of block " + header.block();
        byte[] elsewhere = ledger.nodes()
                .healing()
                .heal(
                        new Piece(header.block(), Piece.SECTOR, index, leaf.generation()),
                        bytes -> bytes.length == size && IntegrityNode.isSector(bytes, leaf.hash()),
                        unreadable != null
                                ? unreadable
                                : StoreException.corrupt(
                                        found < 0
                                                ? what + " is missing"
                                                : found != size
                                                        ? what + " has " + found + " bytes, not " + size
                                                        : what + " is not the one that its tree names"));
        System.arraycopy(elsewhere, 0, buffers.heap, 0, size);
        return buffers.heap;
    }

    private static int read(byte[] key, int size, SectorSource source, ReadBuffers buffers) throws StoreException {
        buffers.key.clear();
        buffers.key.put(key).flip();
        buffers.direct.clear().limit(size);
        return source.get(buffers.key, buffers.direct);
    }

    /** Whether what was read is what {@code leaf} names; copies it. */
    private static boolean isNamed(ReadBuffers buffers, int found, int size, Entry leaf) {
        if (found != size) {
            return false;
        }
        buffers.direct.get(0, buffers.heap, 0, size);
        return IntegrityNode.isSector(buffers.heap, size, leaf.hash());
    }

    /** Where ciphertexts come from: as {@link Rocks#getSector}. */
    @FunctionalInterface
    private interface SectorSource {
        int get(ByteBuffer key, ByteBuffer target) throws StoreException;
    }

    /** Asks something of a payload. */
    interface Walk {
        long ask(Payload payload) throws StoreException;
    }

    long walk(OpenBlock block, Walk walk) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return walk.ask(block.payload(ledger.nodes()));
        } catch (StoreException e) {
            throw report(block.id(), null, e);
        }
    }

    /** Corruption is an event, once where it is met. */
    private StoreException report(BlockId id, @Nullable Long sector, StoreException e) {
        if (e.isUnreadable()) {
            corruptions.incrementAndGet();
            var event = log.atWarn().addKeyValue("block", id.toHex());
            if (sector != null) {
                event = event.addKeyValue("sector", sector);
            }
            event.addKeyValue("reason", e.getMessage()).log("block_corrupt");
        }
        return e;
    }

    // ---- writing ----

    /** An empty commit. */
    public Commit newCommit() {
        return new Commit(this, ledger, slabs);
    }

    /**
     * Seals, signs and appends {@code commit}, which is closed afterwards in any case. With {@code sync} it is on the device when this
     * returns. A commit that only changes local tables gets no log entry.
     *
     * @throws StoreException CONFLICT when a block has changed since it was read, exists already, or the keys to it were changed
     *     meanwhile; NO_SPACE; READ_ONLY; DENIED; nothing has changed then. An IO error of the sync alone leaves the commit applied
     *     but not known to be durable, and stops the store.
     */
    public CommitReceipt commit(Commit commit, boolean sync) throws StoreException {
        try (commit;
                Gate.Pass pass = gate.enter()) {
            ledger.checkWritable();
            if (commit.isLocalOnly()) {
                return commitLocal(commit, sync);
            }
            Commit.Sealed sealed = commit.seal();
            CommitPort.Placed placed = append(sealed);
            Map<BlockId, OpenBlock> blocks = new HashMap<>();
            for (int i = 0; i < sealed.payloads().size(); i++) {
                Payload payload = sealed.payloads().get(i);
                if (payload != null) {
                    Header header = sealed.commit().blocks().get(i).header();
                    OpenBlock block = new OpenBlock(
                            this,
                            new PlacedHeader(
                                    header,
                                    placed.position(),
                                    placed.timeMillis(),
                                    ledger.node().id()),
                            payload);
                    openGenerations.register(block, block.id(), block.generation());
                    blocks.put(block.id(), block);
                }
            }
            commit.keepKeys();
            commits.incrementAndGet();
            if (sync) {
                sync();
            }
            return new CommitReceipt(placed.position(), placed.timeMillis(), blocks);
        }
    }

    private CommitPort.Placed append(Commit.Sealed sealed) throws StoreException {
        LogPort port = cluster;
        try {
            if (port != null) {
                return port.commit(sealed.commit(), true);
            }
            try {
                return ledger.append(sealed.commit(), sealed.body(), sealed.garbage(), false);
            } catch (StoreException e) {
                if (e.code() != StoreException.Code.NO_SPACE
                        || !upkeep.collector().relieve(ledger.headPosition())) {
                    throw e;
                }
                return ledger.append(sealed.commit(), sealed.body(), sealed.garbage(), false);
            }
        } catch (StoreException e) {
            throw asConflict(sealed, e);
        }
    }

    /** Keys that were changed while the commit was made: to the caller it is one more thing to begin again for. */
    private StoreException asConflict(Commit.Sealed sealed, StoreException e) {
        boolean epoch =
                e.getCause() instanceof CryptoException c && c.denial() == CryptoException.Denial.EPOCH_BELOW_MINIMUM;
        if (epoch) {
            return new StoreException(StoreException.Code.CONFLICT, "the key epoch is over: " + e.getMessage(), e);
        }
        return e.code() == StoreException.Code.DENIED && holdsAnotherChain(sealed)
                ? new StoreException(
                        StoreException.Code.CONFLICT, "the capability was issued again: " + e.getMessage(), e)
                : e;
    }

    private boolean holdsAnotherChain(Commit.Sealed sealed) {
        List<DomainId> domains = sealed.commit().blocks().stream()
                .map(block -> block.header().domain())
                .distinct()
                .toList();
        try {
            return !ledger.chainFor(Rights.WRITE, domains).equals(sealed.body().chain());
        } catch (StoreException e) {
            return false;
        }
    }

    private CommitReceipt commitLocal(Commit commit, boolean sync) throws StoreException {
        try (WriteBatch batch = new WriteBatch()) {
            ledger.putLocalChanges(batch, commit.localChanges());
            ledger.writeOwn(batch);
        } catch (RocksDBException e) {
            throw rocks.failure("write local tables", e);
        }
        if (sync) {
            sync();
        }
        return new CommitReceipt(ledger.headPosition(), ledger.nowMillis(), Map.of());
    }

    /** Everything committed before the call is on the device when it returns; where a cluster orders the log, it was on those of a majority before, and what only this node has is brought to its own. */
    public void sync() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            if (cluster == null) {
                ledger.sync();
            } else {
                ledger.syncOwn();
            }
        }
    }

    /** Names the tree as it is now; CONFLICT when the name is taken. On the device when it returns, in a cluster on those of a majority. */
    public SnapshotInfo createSnapshot(byte[] name) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return upkeep.snapshots().create(name, cluster);
        }
    }

    /** All snapshots, oldest first. */
    public List<SnapshotInfo> snapshots() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return upkeep.snapshots().list();
        }
    }

    /** NOT_FOUND when there is none. What only it needs is removed in the background. */
    public void deleteSnapshot(byte[] name) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            upkeep.deleteSnapshot(name, cluster);
        }
    }

    /** Keeps the tree as it is now readable on this node, until the caller closes what it gets: for whoever looks at all of it while it is in use. */
    public StatePin pin() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return upkeep.pin();
        }
    }

    // ---- checks and upkeep ----

    /**
     * Checks everything that is stored, as of the call; the store may be in use meanwhile. {@code findings} gets each finding as it is
     * made, on the calling thread. CLOSED when the store is closed before its end.
     */
    public FsckReport fsck(FsckOptions options, Consumer<Finding> findings) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return upkeep.fsck(options, findings);
        }
    }

    // ---- what is lost here ----

    /** Has {@code source} asked, from now on, for what is read here and is missing or damaged; what it gives is verified like what the disk gives, and kept. */
    public void healFrom(PieceSource source) {
        ledger.nodes().healing().from(source);
    }

    /** What this store has of a piece, not verified, for a node that has lost it; null where there is nothing. */
    public byte @Nullable [] piece(Piece piece) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return ledger.nodes().healing().piece(piece);
        }
    }

    /** Reads and verifies what is stored of the newest generation of a block, as any reader would, and needs no key: so what is lost here is taken from others. */
    public void heal(BlockId id) throws StoreException {
        OpenBlock block;
        try {
            block = read(id);
        } catch (StoreException e) {
            if (e.code() == StoreException.Code.NOT_FOUND) {
                return; // deleted meanwhile
            }
            throw e;
        }
        for (long index = block.nextData(0); index < block.sectorCount(); index = block.nextData(index + 1)) {
            try (Gate.Pass pass = gate.enter()) {
                readSealed(block.header(), index, block.payload(ledger.nodes()).leaf(index), rocks::getSector);
            } catch (StoreException e) {
                throw report(id, index, e);
            }
        }
    }

    /** Hands over every block that exists now, deleted ones left out, in no useful order. CORRUPT when that cannot be told. */
    public void forEachBlock(Consumer<BlockId> live) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            ledger.forEachCurrent(entry -> handOver(entry, live));
        }
    }

    /** As {@link #forEachBlock}, as of a snapshot. */
    public void forEachBlockAt(SnapshotInfo snapshot, Consumer<BlockId> live) throws StoreException {
        forEachBlockAt(() -> upkeep.snapshots().root(snapshot), live);
    }

    /** As {@link #forEachBlock}, as of the moment of a pin. */
    public void forEachBlockAt(StatePin pin, Consumer<BlockId> live) throws StoreException {
        forEachBlockAt(() -> upkeep.snapshots().root(pin), live);
    }

    private void forEachBlockAt(RootSource root, Consumer<BlockId> live) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            ledger.stateMap().forEach(root.find(), entry -> handOver(entry, live));
        }
    }

    private void handOver(StateEntry entry, Consumer<BlockId> live) throws StoreException {
        byte[] record = rocks.get(Column.HEADERS, Keys.header(entry.id(), entry.generation()));
        boolean deleted;
        try {
            deleted = record != null && HeaderRecord.parse(record).header().tombstone();
        } catch (StoreException e) {
            deleted = false; // damaged blocks are handed over: reading them tells
        }
        if (!deleted) {
            live.accept(entry.id());
        }
    }

    /** The background check of what is stored. */
    public Scrub scrub() {
        return upkeep.scrub();
    }

    /** Removes now what retention, snapshots and readers no longer need, and gives its space back to the device. */
    public void collectGarbage() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            ledger.checkpoint();
            upkeep.collector().collect(true);
        }
    }

    public StoreStats stats() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            Collector.Collected collected = upkeep.collector().collected();
            return new StoreStats(
                    ledger.headPosition(),
                    ledger.checkpointPosition(),
                    commits.get(),
                    corruptions.get(),
                    openGenerations.size(),
                    collected.headers(),
                    collected.sectors(),
                    collected.nodes(),
                    collected.stateNodes(),
                    upkeep.scrub().bytes(),
                    upkeep.scrub().rounds(),
                    upkeep.scrub().errors(),
                    ledger.nodes().healing().healed(),
                    upkeep.snapshots().list().size(),
                    usableBytes(),
                    rocks.totalBytes(),
                    rocks.liveBytes());
        }
    }

    /** This store's log as a cluster orders it; from the first that is applied through it on, the store takes nothing else. */
    public ReplicatedLog replicatedLog() {
        return new ReplicatedLog(this, slabs);
    }

    /**
     * Has all that this store puts in its log go through {@code port} from now on, which a cluster is behind: commits, records of authority, snapshots. What comes of
     * it is applied to the {@link #replicatedLog}.
     */
    public void orderBy(LogPort port) {
        cluster = port;
    }

    /** Whether a cluster orders its log. */
    public boolean isOrdered() {
        return cluster != null || ledger.applied() != null;
    }

    /** The port that takes commits sealed elsewhere. */
    public CommitPort port() {
        return (commit, sync) -> {
            try (Gate.Pass pass = gate.enter()) {
                return ledger.commit(commit, sync);
            }
        };
    }

    /** This node's table of that name; made by its first entry. */
    public LocalTable local(String table) {
        return new LocalTable(this, table);
    }

    byte @Nullable [] readLocal(byte[] key) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return rocks.get(Column.LOCAL, key);
        }
    }

    void writeLocal(byte[] key, byte @Nullable [] value) throws StoreException {
        try (Gate.Pass pass = gate.enter();
                WriteBatch batch = new WriteBatch()) {
            if (value == null) {
                batch.delete(rocks.family(Column.LOCAL), key);
            } else {
                batch.put(rocks.family(Column.LOCAL), key, value);
            }
            ledger.writeOwn(batch);
        } catch (RocksDBException e) {
            throw rocks.failure("write local table", e);
        }
    }

    byte[] openLocal(byte[] key, byte[] sealed) throws StoreException {
        try {
            return localCipher.open(key, sealed);
        } catch (CryptoException e) {
            throw StoreException.corrupt("a local table of this node: " + e.getMessage());
        }
    }

    LocalCipher localCipher() {
        return localCipher;
    }

    void scanLocal(byte[] prefix, Rocks.EntryVisitor visitor) throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            rocks.scan(Column.LOCAL, prefix, Keys.after(prefix), visitor);
        }
    }

    /** The key of an epoch of a domain; DENIED when this node cannot open it. */
    DomainKey domainKey(DomainId domain, int epoch) throws StoreException {
        try {
            return ring.domainKey(domain, epoch);
        } catch (CryptoException e) {
            throw Ledger.failure("domain " + domain, e);
        }
    }

    BlockKeys keys() {
        return keys;
    }

    SectorCipher cipher() {
        return cipher;
    }

    Upkeep upkeep() {
        return upkeep;
    }

    Gate gate() {
        return gate;
    }

    Ledger ledger() {
        return ledger;
    }

    OpenGenerations openGenerations() {
        return openGenerations;
    }

    // ---- sizes and end ----

    /** Bytes of the device that are left for commits with data. */
    public long usableBytes() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return Math.max(0, rocks.freeBytes() - ledger.reserveBytes());
        }
    }

    public long totalBytes() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return rocks.totalBytes();
        }
    }

    /** Bytes that the stored records take, kept generations included; an estimate. */
    public long liveBytes() throws StoreException {
        try (Gate.Pass pass = gate.enter()) {
            return rocks.liveBytes();
        }
    }

    /** Waits for operations under way, makes everything durable and zeroes the keys. Closing again does nothing. */
    @Override
    public void close() throws StoreException {
        upkeep.close();
        if (!gate.close()) {
            return;
        }
        try {
            ledger.close();
        } finally {
            keys.close();
            ring.close();
            localCipher.close();
            rocks.close();
        }
    }
}
