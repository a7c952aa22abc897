package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import blocktree.crypto.Authority;
import blocktree.crypto.BlockId;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainId;
import blocktree.crypto.DomainRecord;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.Identity;
import blocktree.crypto.KeyChange;
import blocktree.crypto.RecordKind;
import blocktree.crypto.Rights;
import blocktree.crypto.SecretBytes;
import blocktree.crypto.SignatureKind;
import blocktree.crypto.SignedEnvelope;
import blocktree.crypto.TaggedHash;
import blocktree.crypto.TreeFounding;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapabilityChain;
import blocktree.store.PayloadUpdate.NewNode;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksDBException;
import org.rocksdb.WriteBatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The tree's log on this machine and what follows from it: the newest header of each block, the state map, authority. Takes commits
 * (it is the {@link CommitPort} of a lone node), verifies what it reads back, and keeps the anchor. Knows no plaintext.
 *
 * <p>Order of locks: {@code checkpointLock}, then {@code commitLock}. Entries get into the log under {@code commitLock}, one after
 * another; readers take no lock: they see the newest state through {@link View}, which is replaced after the database has the write.
 *
 * <p>The trust that reading rests on: the anchor is authenticated by the node's key and lies outside the database; it names a
 * checkpoint and a log position that must be reached. The checkpoint is signed and names the state root, the log and the authority
 * records up to it. What came after it is a chain of entries, each naming the one before, whose commits are signed. A header counts
 * when the state map, or a commit since the checkpoint, names its hash.
 */
final class Ledger implements CommitPort, AutoCloseable {

    private static final Logger log = LoggerFactory.getLogger(Ledger.class);

    static final byte[] META_FORMAT = "format".getBytes(US_ASCII);
    static final byte[] META_TREE = "tree".getBytes(US_ASCII);
    static final byte[] META_ROOT_NONCE = "root-block-nonce".getBytes(US_ASCII);
    static final byte[] META_CHECKPOINT = "checkpoint".getBytes(US_ASCII);
    static final byte[] FORMAT = {1};

    private static final int VERIFIED_COMMITS_MAX = 4096;

    /** Commits with less data than this may use half of the reserve. */
    private static final long SMALL_COMMIT_BYTES = 256 << 10;

    /** What a block of a commit takes besides its sectors, roughly. */
    private static final long BLOCK_BYTES = 1 << 10;

    /** The anchor is synced at most so often; the window in which an acknowledged write can vanish unnoticed is that long. */
    private static final long ANCHOR_PAUSE_MILLIS = 50;

    /** The newest state. {@code frozen} is what the checkpoint under way is about to put into the state map. */
    private record View(
            ConcurrentHashMap<BlockId, StateEntry> changes, Map<BlockId, StateEntry> frozen, StateRoot root) {}

    /** The end of the log, and the authority there. */
    private record Head(long position, long timeMillis, Hash hash, Hash authority) {}

    private final Rocks rocks;
    private final StoreOptions options;
    private final Identity node;
    private final boolean keeper;
    private final TreeId tree;
    private final Authority authority;
    private final StateMap stateMap;
    private final IntegrityNodes nodes;
    private final CommitVerifier verifier;
    private final @Nullable SectorFiles sectorFiles;
    private final WalSync walSync;

    /** Ticket of the newest write of what only this node has. */
    private final AtomicLong newestOwn = new AtomicLong();

    private final @Nullable AnchorFile anchorFile;
    private final Hash rootNonce;

    private final ReentrantLock checkpointLock = new ReentrantLock();
    private final ReentrantLock commitLock = new ReentrantLock();
    private final Map<Long, CommitAt> verifiedCommits = new Recent<>(VERIFIED_COMMITS_MAX); // guarded by itself

    // Written under commitLock.
    private volatile View view;
    private volatile long headPosition;
    private Hash headHash = LogEntry.START;
    private long headTimeMillis;
    private Hash authorityHash = LogEntry.START;
    private volatile @Nullable Order applied;

    // Guarded by anchorMonitor.
    private final Object anchorMonitor = new Object();
    private Anchor anchor;
    private long durablePosition;
    private Hash durableHash;
    private Checkpoint durableCheckpoint;
    private boolean anchorDue;

    /** The newest checkpoint, under commitLock; in the anchor only once it is synced. */
    private Checkpoint checkpoint;

    private final AtomicLong writerSequence = new AtomicLong();
    private boolean lossAccepted;
    private volatile @Nullable StoreException failure;
    private volatile boolean closing;
    private final List<Thread> threads = new ArrayList<>();

    /** Writes the founding records, an empty checkpoint and the anchor into a fresh database. */
    static void create(Rocks rocks, StoreOptions options, TreeFounding founding, Identity node) throws StoreException {
        try (WriteBatch batch = new WriteBatch()) {
            Authority authority = new Authority(founding.tree());
            Hash previous = LogEntry.START;
            Hash authorityHash = LogEntry.START;
            long position = 0;
            long time = founding.createdMillis();
            for (TreeFounding.Entry record : founding.entries()) {
                position++;
                authority.apply(record.kind(), record.payload(), position, time);
                LogEntry entry = LogEntry.of(
                        position, time, previous, LogKind.of(record.kind().number()), record.payload());
                batch.put(rocks.family(Column.LOG), Keys.log(position), entry.encoded());
                batch.put(rocks.family(Column.AUTHORITY), Keys.log(position), entry.encoded());
                previous = entry.hash();
                authorityHash = nextAuthorityHash(authorityHash, entry);
            }
            Checkpoint checkpoint = new Checkpoint(
                    founding.tree(),
                    position,
                    time,
                    previous,
                    StateRoot.NONE,
                    node.id(),
                    founding.nodeChain(),
                    authorityHash);
            SignedEnvelope signed = node.sign(SignatureKind.CHECKPOINT, checkpoint.encode());
            batch.put(rocks.family(Column.META), META_CHECKPOINT, signed.toBytes());
            batch.put(rocks.family(Column.META), META_FORMAT, FORMAT);
            batch.put(rocks.family(Column.META), META_TREE, founding.tree().toBytes());
            batch.put(rocks.family(Column.META), META_ROOT_NONCE, founding.rootBlockNonce());
            rocks.write(batch);
            rocks.syncWal();
            try (AnchorFile file = openAnchor(rocks.dir(), options, node)) {
                if (file != null) {
                    file.write(new Anchor(founding.tree(), 1, position, StateRoot.NONE, position, previous));
                }
            }
        } catch (RocksDBException e) {
            throw rocks.failure("found a tree", e);
        } catch (CryptoException e) {
            throw failure("founding record", e);
        }
    }

    static @Nullable AnchorFile openAnchor(Path dir, StoreOptions options, @Nullable Identity node)
            throws StoreException {
        Path path = options.anchor() == null ? dir.resolve("anchor") : options.anchor();
        return AnchorFile.open(path, node == null ? null : node.deriveSecret("anchor"), options.readOnly());
    }

    /** Opens and verifies a database; the caller closes {@code rocks} also when this throws. {@code node} stays the caller's. */
    Ledger(Rocks rocks, StoreOptions options, Identity node) throws StoreException {
        this(rocks, options, node, true);
    }

    /**
     * As above; unless {@code keeper}, {@code node} is somebody else than the node that keeps the store, whose key is lost: the anchor is read unauthenticated,
     * and all that can be done is to {@link #handOver}.
     */
    Ledger(Rocks rocks, StoreOptions options, Identity node, boolean keeper) throws StoreException {
        this.rocks = rocks;
        this.options = options;
        this.node = node;
        this.keeper = keeper;
        byte[] format = rocks.get(Column.META, META_FORMAT);
        byte[] treeBytes = rocks.get(Column.META, META_TREE);
        byte[] nonce = rocks.get(Column.META, META_ROOT_NONCE);
        byte[] checkpointBytes = rocks.get(Column.META, META_CHECKPOINT);
        if (format == null
                || treeBytes == null
                || treeBytes.length != Id.SIZE
                || nonce == null
                || nonce.length != Id.SIZE
                || checkpointBytes == null) {
            throw StoreException.corrupt("the store in " + rocks.dir() + " has no tree, or its founding is incomplete");
        }
        if (format.length != 1 || format[0] != FORMAT[0]) {
            throw StoreException.invalid(
                    "the store in " + rocks.dir() + " has format " + format[0] + "; this program knows format 1");
        }
        tree = TreeId.of(treeBytes);
        rootNonce = Hash.of(nonce);
        authority = new Authority(tree);
        stateMap = new StateMap(rocks.db(), rocks.family(Column.STATE), options.stateCacheBytes());
        nodes = new IntegrityNodes(rocks, options.nodeCacheBytes());
        verifier = new CommitVerifier(tree, authority, nodes);
        walSync = new WalSync(this::syncNow);
        sectorFiles =
                options.readOnly() ? null : new SectorFiles(rocks, rocks.dir().resolve("incoming"));
        AnchorFile opened = null;
        try {
            opened = openAnchor(rocks.dir(), options, keeper ? node : null);
            if (opened != null && !options.readOnly() && (keeper || options.acceptLoss())) {
                cutAtGap(checkpointBytes, opened.read());
            }
            applied = OrderMarks.newest(rocks);
            List<LogEntry> records = replay(rocks, authority);
            checkpoint = verifyCheckpoint(checkpointBytes, records);
            view = new View(new ConcurrentHashMap<>(), Map.of(), checkpoint.root());
            replayLog(records);
            anchorFile = opened;
            anchor = verifyAnchor(opened);
            durablePosition = headPosition;
            durableHash = headHash;
            durableCheckpoint = checkpoint;
            if (sectorFiles != null) {
                sectorFiles.clean(this::newestGeneration);
            }
        } catch (StoreException | RuntimeException e) {
            stateMap.close();
            if (sectorFiles != null) {
                sectorFiles.close();
            }
            if (opened != null) {
                opened.close();
            }
            throw e;
        }
    }

    /** Starts the threads that keep checkpoints and the anchor. */
    void start() throws StoreException {
        if (options.readOnly()) {
            return;
        }
        if (lossAccepted) {
            rocks.syncWal();
            // Both slots: the one before still names what is lost.
            writeAnchor();
            writeAnchor();
        }
        start("store-checkpoint", this::keepCheckpoints);
        start("store-anchor", this::keepAnchor);
    }

    private void start(String name, Runnable body) {
        Thread thread = new Thread(body, name);
        thread.setDaemon(true);
        thread.start();
        threads.add(thread);
    }

    // ---- opening ----

    /**
     * After a power loss the database can have lost the end of one of its write-ahead logs and kept some of the next: entries that
     * follow a gap. When nothing from the gap on was acknowledged, the log ends before it. What the commits behind it brought is named
     * by nothing then, but for the rows that are deleted here.
     */
    private void cutAtGap(byte[] checkpointBytes, @Nullable Anchor found) throws StoreException {
        long from;
        try {
            from = Checkpoint.parse(SignedEnvelope.parse(checkpointBytes).body())
                    .position();
        } catch (CryptoException | StoreException e) {
            return; // told when it is verified
        }
        long[] last = {from};
        boolean[] gap = {false};
        rocks.scan(Column.LOG, Keys.log(from + 1), null, (key, value) -> {
            gap[0] = key.length == Long.BYTES && Keys.getU64(key, 0) != last[0] + 1;
            if (!gap[0]) {
                last[0]++;
            }
            return !gap[0];
        });
        if (!gap[0] || found == null || found.acknowledgedPosition() > last[0]) {
            return;
        }
        byte[] cut = Keys.log(last[0] + 1);
        byte[] end = Keys.log(-1);
        try (WriteBatch batch = new WriteBatch()) {
            for (Column column : List.of(Column.LOG, Column.CHANGES, Column.AUTHORITY, Column.GARBAGE)) {
                batch.deleteRange(rocks.family(column), cut, end);
            }
            List<byte[]> snapshots = new ArrayList<>();
            rocks.scan(Column.META, Snapshots.ROW_PREFIX, Keys.after(Snapshots.ROW_PREFIX), (key, value) -> {
                if (value.length >= Long.BYTES && Keys.getU64(value, 0) > last[0]) {
                    snapshots.add(key);
                }
                return true;
            });
            for (byte[] row : snapshots) {
                batch.delete(rocks.family(Column.META), row);
            }
            OrderMarks.cut(rocks, batch, last[0]);
            rocks.write(batch);
        } catch (RocksDBException e) {
            throw rocks.failure("cut the log", e);
        }
        rocks.syncWal();
        log.atWarn().addKeyValue("position", last[0]).log("log_cut");
    }

    /** Applies all authority records in order; that none is missing is for the caller to check. */
    static List<LogEntry> replay(Rocks rocks, Authority authority) throws StoreException {
        List<LogEntry> records = new ArrayList<>();
        rocks.scan(Column.AUTHORITY, new byte[0], null, (key, value) -> {
            LogEntry entry = parseStored(value, "authority record");
            try {
                authority.apply(entry.kind().number(), entry.payload(), entry.position(), entry.timeMillis());
            } catch (CryptoException e) {
                throw StoreException.corrupt(
                        "authority record at position " + entry.position() + ": " + e.getMessage());
            }
            records.add(entry);
            return true;
        });
        if (authority.rootDomain() == null) {
            throw StoreException.corrupt("the authority records found no root domain");
        }
        return records;
    }

    /** As {@link BlockStore#foundation}. */
    List<TreeFounding.Entry> foundation() throws StoreException {
        List<TreeFounding.Entry> records = new ArrayList<>();
        rocks.scan(Column.AUTHORITY, new byte[0], null, (key, value) -> {
            LogEntry entry = parseStored(value, "authority record");
            boolean founds = entry.kind() == LogKind.GENESIS
                    || entry.kind() == LogKind.ROTATION
                    || entry.kind() == LogKind.DOMAIN
                            && Arrays.equals(
                                    entry.payload(),
                                    rootDomainRecord().envelope().toBytes());
            if (founds) {
                records.add(
                        new TreeFounding.Entry(RecordKind.valueOf(entry.kind().name()), entry.payload()));
            }
            return true;
        });
        return List.copyOf(records);
    }

    /** Whose keys count, by the records alone: neither the anchor nor anything else says whether later ones are missing. */
    static KeyHolders keyHolders(Rocks rocks) throws StoreException {
        byte[] treeBytes = rocks.get(Column.META, META_TREE);
        byte[] encoded = rocks.get(Column.META, META_CHECKPOINT);
        if (treeBytes == null || treeBytes.length != Id.SIZE || encoded == null) {
            throw StoreException.corrupt("the store in " + rocks.dir() + " has no tree, or its founding is incomplete");
        }
        Authority authority = new Authority(TreeId.of(treeBytes));
        replay(rocks, authority);
        try {
            return new KeyHolders(
                    authority,
                    Checkpoint.parse(SignedEnvelope.parse(encoded).body()).issuer());
        } catch (CryptoException e) {
            throw StoreException.corrupt("the newest checkpoint: " + e.getMessage());
        }
    }

    private Checkpoint verifyCheckpoint(byte[] encoded, List<LogEntry> records) throws StoreException {
        Checkpoint newest;
        try {
            SignedEnvelope envelope = SignedEnvelope.parse(encoded);
            newest = Checkpoint.parse(envelope.body());
            if (keeper && !newest.issuer().equals(node.id())) {
                boolean known = !authority.chainsOf(node.id()).isEmpty();
                throw new StoreException(
                        StoreException.Code.WRONG_KEY,
                        "this store is kept by node " + newest.issuer() + ", the key given is of " + node.id()
                                + (known ? ", which kept it before and was replaced" : ""));
            }
            if (!newest.tree().equals(tree)) {
                throw StoreException.corrupt("the newest checkpoint is of tree " + newest.tree());
            }
            envelope.verify(
                    SignatureKind.CHECKPOINT,
                    authority.checkRights(
                            newest.issuer(),
                            newest.chain(),
                            rootDomain(),
                            Rights.NODE,
                            newest.position(),
                            newest.timeMillis()));
        } catch (CryptoException e) {
            throw StoreException.corrupt("the newest checkpoint: " + e.getMessage());
        } catch (StoreException e) {
            throw e.code() == StoreException.Code.INVALID
                    ? StoreException.corrupt("the newest checkpoint: " + e.getMessage())
                    : e;
        }
        Hash hash = LogEntry.START;
        for (LogEntry entry : records) {
            if (entry.position() <= newest.position()) {
                hash = nextAuthorityHash(hash, entry);
            }
        }
        if (!hash.equals(newest.authorityHash())) {
            throw StoreException.corrupt("the authority records are not those that the newest checkpoint covers");
        }
        return newest;
    }

    /** Follows the log from the checkpoint to its end and collects what its commits changed. */
    private void replayLog(List<LogEntry> records) throws StoreException {
        headPosition = checkpoint.position();
        headHash = checkpoint.logHash();
        headTimeMillis = checkpoint.timeMillis();
        authorityHash = checkpoint.authorityHash();
        LogEntry covered = entry(headPosition);
        if (!covered.hash().equals(headHash)) {
            throw StoreException.corrupt("log entry " + headPosition + " is not the one that the checkpoint covers");
        }
        Map<Long, LogEntry> recordsByPosition = new LinkedHashMap<>();
        records.forEach(r -> recordsByPosition.put(r.position(), r));
        rocks.scan(Column.LOG, Keys.log(headPosition + 1), null, (key, value) -> {
            LogEntry entry = parseStored(value, "log entry");
            long expected = headPosition + 1;
            if (entry.position() != expected
                    || !entry.previous().equals(headHash)
                    || entry.timeMillis() < headTimeMillis) {
                throw StoreException.corrupt("log entry " + expected + " does not follow the one before");
            }
            LogEntry record = recordsByPosition.remove(expected);
            if (entry.kind().isAuthority() != (record != null) || record != null && !record.equals(entry)) {
                throw StoreException.corrupt("log entry " + expected + " and the authority records differ");
            }
            if (record != null) {
                authorityHash = nextAuthorityHash(authorityHash, entry);
            }
            if (entry.kind() == LogKind.COMMIT) {
                replayCommit(entry);
            }
            headPosition = expected;
            headHash = entry.hash();
            headTimeMillis = entry.timeMillis();
            return true;
        });
        if (recordsByPosition.keySet().stream().anyMatch(p -> p > checkpoint.position())) {
            throw StoreException.corrupt("the log ends before the authority records do");
        }
    }

    private void replayCommit(LogEntry entry) throws StoreException {
        byte[] encoded = rocks.get(Column.CHANGES, Keys.log(entry.position()));
        if (encoded == null) {
            throw StoreException.corrupt("what the commit at position " + entry.position() + " changed is missing");
        }
        try {
            List<StateEntry> changes = Changes.parse(encoded);
            CommitBody body = verifier.verifyEnvelope(
                    entry.payload(),
                    changes.stream().map(StateEntry::headerHash).toList());
            keepVerified(entry.position(), new CommitAt(body, entry.timeMillis()));
            changes.forEach(change -> view.changes.put(change.id(), change));
        } catch (StoreException e) {
            throw StoreException.corrupt("commit at position " + entry.position() + ": " + e.getMessage());
        }
    }

    /** The anchor to go on from; LOST_WRITES when the store has not what it says. */
    private Anchor verifyAnchor(@Nullable AnchorFile file) throws StoreException {
        Anchor found = file == null ? null : file.read();
        if (found == null) {
            String what = file == null || file.isEmpty() ? "is missing" : "is damaged or not of this node's key";
            return lost(
                    null,
                    "the anchor of the store in " + rocks.dir() + " " + what
                            + ": whether acknowledged writes are lost cannot be told");
        }
        if (!found.tree().equals(tree)) {
            throw new StoreException(
                    StoreException.Code.WRONG_KEY, "the anchor is of tree " + found.tree() + ", the store of " + tree);
        }
        if (headPosition < found.acknowledgedPosition()) {
            return lost(
                    found,
                    "acknowledged writes are lost: log entries " + (headPosition + 1) + " to "
                            + found.acknowledgedPosition() + " are missing in " + rocks.dir());
        }
        if (!entry(found.acknowledgedPosition()).hash().equals(found.acknowledgedHash())) {
            return lost(
                    found,
                    "acknowledged writes are lost: log entry " + found.acknowledgedPosition() + " in " + rocks.dir()
                            + " is not the one that was acknowledged");
        }
        if (checkpoint.position() < found.checkpointPosition()) {
            return lost(
                    found,
                    "the store in " + rocks.dir() + " was rolled back: its newest checkpoint is of position "
                            + checkpoint.position() + ", the anchor has seen " + found.checkpointPosition());
        }
        if (checkpoint.position() == found.checkpointPosition()
                && !checkpoint.stateRoot().equals(found.stateRoot())) {
            return lost(
                    found,
                    "the checkpoint of position " + checkpoint.position() + " in " + rocks.dir()
                            + " is not the one that the anchor has seen");
        }
        return found;
    }

    private Anchor lost(@Nullable Anchor found, String message) throws StoreException {
        if (!options.acceptLoss()) {
            throw new StoreException(StoreException.Code.LOST_WRITES, message);
        }
        log.atWarn().addKeyValue("reason", message).log("loss_accepted");
        lossAccepted = true;
        long sequence = found == null ? 0 : found.sequence();
        return new Anchor(tree, sequence, 0, StateRoot.NONE, 0, LogEntry.START);
    }

    private static LogEntry parseStored(byte[] value, String what) throws StoreException {
        try {
            return LogEntry.parse(value);
        } catch (StoreException e) {
            throw StoreException.corrupt(what + ": " + e.getMessage());
        }
    }

    static Hash nextAuthorityHash(Hash before, LogEntry entry) {
        return TaggedHash.of("authority").add(before).add(entry.hash()).hash();
    }

    // ---- what is there ----

    Rocks rocks() {
        return rocks;
    }

    StoreOptions options() {
        return options;
    }

    Identity node() {
        return node;
    }

    TreeId tree() {
        return tree;
    }

    Authority authority() {
        return authority;
    }

    IntegrityNodes nodes() {
        return nodes;
    }

    StateMap stateMap() {
        return stateMap;
    }

    CommitVerifier verifier() {
        return verifier;
    }

    DomainId rootDomain() {
        return rootDomainRecord().domain();
    }

    DomainRecord rootDomainRecord() {
        DomainRecord root = authority.rootDomain();
        if (root == null) {
            throw new IllegalStateException("a tree has a root domain");
        }
        return root;
    }

    Hash rootNonce() {
        return rootNonce;
    }

    long headPosition() {
        return headPosition;
    }

    /** Log position of the newest checkpoint. */
    long checkpointPosition() {
        return view.root.position();
    }

    /** Everything as it is now, with no commit half-way in. The caller closes it. */
    StoreView openView() {
        commitLock.lock();
        try {
            return new StoreView(rocks);
        } finally {
            commitLock.unlock();
        }
    }

    /** One moment of the log, with a checkpoint of its newest entry that this node signs; to be closed. */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    record Moment(
            StoreView view,
            Checkpoint checkpoint,
            StateRoot root,
            byte[] signed,
            @Nullable Order applied) implements AutoCloseable {
        @Override
        public void close() {
            view.close();
        }
    }

    /** Everything as it is now; {@code root} is the version of the state map in which that is. */
    Moment openMoment() throws StoreException {
        checkpoint(); // most of it while commits go on
        checkpointLock.lock();
        commitLock.lock();
        try {
            StateRoot root = checkpoint();
            Checkpoint made = checkpointOf(head(), root.hash());
            return new Moment(new StoreView(rocks), made, root, sign(made), applied);
        } finally {
            commitLock.unlock();
            checkpointLock.unlock();
        }
    }

    /** Hands over the newest state, which no commit changes before {@code taken} returns. */
    void atCheckpoint(Consumer<StateRoot> taken) throws StoreException {
        checkpoint(); // most of it while commits go on
        checkpointLock.lock();
        commitLock.lock();
        try {
            taken.accept(checkpoint());
        } finally {
            commitLock.unlock();
            checkpointLock.unlock();
        }
    }

    /** Under commitLock. */
    private Head head() {
        return new Head(headPosition, headTimeMillis, headHash, authorityHash);
    }

    /** What this node says of the log and the state at {@code head}. */
    private Checkpoint checkpointOf(Head head, Hash stateRoot) throws StoreException {
        return new Checkpoint(
                tree,
                head.position,
                head.timeMillis,
                head.hash,
                stateRoot,
                node.id(),
                chainFor(Rights.NODE, List.of(rootDomain()), head.position, head.timeMillis),
                head.authority);
    }

    private byte[] sign(Checkpoint made) {
        return node.sign(SignatureKind.CHECKPOINT, made.encode()).toBytes();
    }

    /** Hands over the newest entry of every block, tombstones too: those of the state map first, each verified. */
    void forEachCurrent(StateMap.EntryConsumer consumer) throws StoreException {
        View now = view;
        Map<BlockId, StateEntry> since = new HashMap<>(now.frozen);
        since.putAll(now.changes);
        stateMap.forEach(now.root, entry -> {
            StateEntry newer = since.remove(entry.id());
            consumer.accept(newer == null ? entry : newer);
        });
        for (StateEntry entry : since.values()) {
            consumer.accept(entry);
        }
    }

    /** Orders the commits that this process seals; continues above every sequence that the log can hold. */
    long nextWriterSequence() {
        return writerSequence.updateAndGet(last -> Math.max(last, headPosition) + 1);
    }

    /** Why the store no longer writes; null while it does. */
    @Nullable
    StoreException failure() {
        return failure;
    }

    /** Log time now: at least that of the newest entry. */
    long nowMillis() {
        return Math.max(headTimeMillis, options.clock().millis());
    }

    /** 0 when the block was never created. */
    private long newestGeneration(BlockId id) throws StoreException {
        StateEntry entry = current(id);
        return entry == null ? 0 : entry.generation();
    }

    /** The newest (generation, header hash) of a block, tombstones too; null when it was never created. Each answer is verified. */
    @Nullable
    StateEntry current(BlockId id) throws StoreException {
        View now = view;
        StateEntry entry = now.changes.get(id);
        if (entry == null) {
            entry = now.frozen.get(id);
        }
        return entry == null ? stateMap.get(now.root, id) : entry;
    }

    /** The header that {@code entry} names, proved to be part of a commit whose writer had the authority for it. */
    PlacedHeader header(StateEntry entry) throws StoreException {
        PlacedHeader placed = header(entry.id(), entry.generation());
        if (placed == null) {
            throw StoreException.corrupt(
                    "header of block " + entry.id() + " generation " + entry.generation() + " is missing");
        }
        if (!placed.header().hash().equals(entry.headerHash())) {
            throw StoreException.corrupt("header of block " + entry.id() + " generation " + entry.generation()
                    + " is not the newest that was committed");
        }
        return placed;
    }

    /** A stored header, proved to be part of a commit but not to be of the caller's version of the tree; null when there is none. */
    @Nullable
    PlacedHeader header(BlockId id, long generation) throws StoreException {
        byte[] bytes = rocks.get(Column.HEADERS, Keys.header(id, generation));
        return bytes == null ? null : verified(id, generation, bytes);
    }

    /** Proves the value of a header key. */
    PlacedHeader verified(BlockId id, long generation, byte[] bytes) throws StoreException {
        HeaderRecord record;
        try {
            record = HeaderRecord.parse(bytes);
        } catch (StoreException e) {
            throw StoreException.corrupt("header of block " + id + " generation " + generation + ": " + e.getMessage());
        }
        Header header = record.header();
        if (!header.block().equals(id) || header.generation() != generation) {
            throw StoreException.corrupt("header of block " + id + " generation " + generation + " is of block "
                    + header.block() + " generation " + header.generation());
        }
        CommitAt commit = verifiedCommit(record.position());
        CommitBody body = commit.body();
        if (!HeadersTree.proves(body.headersRoot(), body.headerCount(), record.index(), header.hash(), record.path())) {
            throw StoreException.corrupt("header of block " + id + " generation " + generation
                    + " is not part of the commit at position " + record.position());
        }
        try {
            verifier.verifyAuthority(body, header, record.position(), commit.timeMillis());
        } catch (StoreException e) {
            throw StoreException.corrupt("header of block " + id + " generation " + generation + ": " + e.getMessage());
        }
        return new PlacedHeader(header, record.position(), commit.timeMillis(), body.writer());
    }

    private CommitAt verifiedCommit(long position) throws StoreException {
        synchronized (verifiedCommits) {
            CommitAt known = verifiedCommits.get(position);
            if (known != null) {
                return known;
            }
        }
        LogEntry entry = entry(position);
        if (entry.kind() != LogKind.COMMIT) {
            throw StoreException.corrupt("log entry " + position + " is no commit");
        }
        try {
            CommitAt commit = new CommitAt(verifier.verifySignature(entry.payload()), entry.timeMillis());
            keepVerified(position, commit);
            return commit;
        } catch (StoreException e) {
            throw StoreException.corrupt("commit at position " + position + ": " + e.getMessage());
        }
    }

    private void keepVerified(long position, CommitAt commit) {
        synchronized (verifiedCommits) {
            verifiedCommits.put(position, commit);
        }
    }

    /** CORRUPT when it is not there. */
    LogEntry entry(long position) throws StoreException {
        byte[] bytes = rocks.get(Column.LOG, Keys.log(position));
        if (bytes == null) {
            throw StoreException.corrupt("log entry " + position + " is missing");
        }
        LogEntry entry = parseStored(bytes, "log entry " + position);
        if (entry.position() != position) {
            throw StoreException.corrupt("log entry " + position + " is that of position " + entry.position());
        }
        return entry;
    }

    // ---- writing ----

    @Override
    public Placed commit(SealedCommit commit, boolean sync) throws StoreException {
        Checked checked = check(commit);
        return append(commit, checked.body, checked.garbage, sync);
    }

    /** What is left of a commit to check is what may change until it has its place; {@code garbage} as for {@link #append}. */
    private record Checked(CommitBody body, List<Garbage.@Nullable Builder> garbage) {}

    private Checked check(SealedCommit commit) throws StoreException {
        List<Garbage.@Nullable Builder> garbage = new ArrayList<>();
        CommitBody body = verifier.verifyEnvelope(
                commit.envelope(),
                commit.blocks().stream().map(b -> b.header().hash()).toList());
        if (!body.fences().isEmpty()) {
            throw StoreException.invalid("the commit rests on leases, and a lone node grants none");
        }
        for (SealedBlock block : commit.blocks()) {
            Header header = block.header();
            PlacedHeader predecessor = predecessor(header);
            verifier.verifySuccession(body, header, predecessor == null ? null : predecessor.header());
            Garbage.Builder items = predecessor == null ? null : garbage(predecessor);
            verifier.verifyPayload(block, predecessor == null ? null : predecessor.header(), items);
            garbage.add(items);
        }
        return new Checked(body, garbage);
    }

    /** The newest header of the block, which the new one must follow; null when it creates the block. */
    private @Nullable PlacedHeader predecessor(Header header) throws StoreException {
        StateEntry current = current(header.block());
        checkFollows(header, current);
        return current == null ? null : header(current);
    }

    static Garbage.Builder garbage(PlacedHeader superseded) {
        return new Garbage.Builder(superseded.header().generation(), superseded.position(), superseded.timeMillis());
    }

    private static void checkFollows(Header header, @Nullable StateEntry current) throws StoreException {
        boolean follows = current == null
                ? header.generation() == 1
                : current.generation() == header.generation() - 1 && header.hasPredecessor(current.headerHash());
        if (!follows) {
            throw new StoreException(
                    StoreException.Code.CONFLICT,
                    "block " + header.block() + " generation " + header.generation() + " does not follow the newest, "
                            + (current == null ? "there is none" : current.generation()));
        }
    }

    /**
     * Appends a commit of which only that is left to check which may change until it has its place in the log: the predecessors and
     * the authority. {@code garbage} holds for each block what it supersedes, null for created ones.
     */
    Placed append(SealedCommit commit, CommitBody body, List<Garbage.@Nullable Builder> garbage, boolean sync)
            throws StoreException {
        checkWritable();
        checkUnordered();
        checkSpace(commit);
        Written written = put(commit, body, garbage, null);
        if (sync) {
            walSync.await(written.ticket);
        }
        return written.placed();
    }

    /** An entry that the database has, and what to wait for until it is on the device. */
    private record Written(LogEntry entry, long ticket) {
        Placed placed() {
            return new Placed(entry.position(), entry.timeMillis());
        }
    }

    /** {@code order} is null where this node gives the commit its place. */
    private Written put(
            SealedCommit commit, CommitBody body, List<Garbage.@Nullable Builder> garbage, @Nullable Order order)
            throws StoreException {
        List<SealedBlock> large = new ArrayList<>();
        List<SealedBlock> small = new ArrayList<>();
        for (SealedBlock block : commit.blocks()) {
            (sectorFiles != null && SectorFiles.isWorthFile(block) ? large : small).add(block);
        }
        long batchBytes = small.stream().mapToLong(SealedBlock::sizeBytes).sum();
        List<SectorFiles.SectorFile> files = new ArrayList<>();
        try (WriteBatch batch =
                new WriteBatch((int) Math.min(Integer.MAX_VALUE, batchBytes + (batchBytes >> 6) + 4096))) {
            for (SealedBlock block : large) {
                files.add(files().write(block));
            }
            for (SealedBlock block : commit.blocks()) {
                putNodes(batch, block);
            }
            for (SealedBlock block : small) {
                putSectors(batch, block);
            }
            putLocalChanges(batch, commit.localChanges());
            commitLock.lock();
            try {
                checkWritable();
                long position = headPosition + 1;
                long time = timeOf(order);
                List<StateEntry> changes = putHeaders(batch, commit, body, garbage, position, time);
                LogEntry entry = LogEntry.of(position, time, headHash, LogKind.COMMIT, commit.envelope());
                batch.put(rocks.family(Column.LOG), Keys.log(position), entry.encoded());
                batch.put(rocks.family(Column.CHANGES), Keys.log(position), Changes.encode(changes));
                long ticket = large.isEmpty()
                        ? write(batch, entry, order)
                        : ingestAndWrite(large, files, batch, entry, order);
                if (!commit.localChanges().isEmpty()) {
                    wroteOwn(ticket);
                }
                keepVerified(position, new CommitAt(body, time));
                View now = view;
                changes.forEach(change -> now.changes.put(change.id(), change));
                if (now.changes.size() >= options.checkpointChanges()) {
                    wakeCheckpoints();
                }
                return new Written(entry, ticket);
            } finally {
                commitLock.unlock();
            }
        } catch (RocksDBException e) {
            throw rocks.failure("commit", e);
        } finally {
            if (sectorFiles != null) {
                sectorFiles.discard(files);
            }
        }
    }

    private long timeOf(@Nullable Order order) {
        return order == null ? nowMillis() : Math.max(headTimeMillis, order.timeMillis());
    }

    // ---- what a cluster has put in order ----

    /** As {@link ReplicatedLog#applied}. */
    @Nullable
    Order applied() {
        return applied;
    }

    /** As {@link ReplicatedLog#apply(Order, SealedCommit)}. */
    Placed apply(Order order, SealedCommit commit) throws StoreException {
        checkWritable();
        try {
            Checked checked = check(commit);
            return put(commit, checked.body, checked.garbage, order).placed();
        } catch (StoreException e) {
            throw refused(order, e);
        }
    }

    /** As {@link ReplicatedLog#applyChange}, of records of authority; where the last of them came to lie. */
    Placed applyAuthority(Order order, List<TreeFounding.Entry> records, @Nullable Hash after) throws StoreException {
        checkWritable();
        try {
            return putAuthority(records, after, order).placed();
        } catch (StoreException e) {
            throw refused(order, e);
        }
    }

    /** Where in the log what comes next in the cluster's order would lie. */
    Placed next(Order order) {
        commitLock.lock();
        try {
            return new Placed(headPosition + 1, timeOf(order));
        } finally {
            commitLock.unlock();
        }
    }

    /** {@code e}; when it is a refusal, which is a result like others, its place in the order is kept. */
    StoreException refused(Order order, StoreException e) throws StoreException {
        if (e.isRefusal()) {
            pass(order);
        }
        return e;
    }

    /** As {@link ReplicatedLog#pass}. */
    void pass(Order order) throws StoreException {
        checkWritable();
        commitLock.lock();
        try (WriteBatch batch = new WriteBatch()) {
            OrderMarks.put(rocks, batch, headPosition, order);
            rocks.write(batch);
            walSync.ticket();
            applied = order;
        } catch (RocksDBException e) {
            throw rocks.failure("keep the place in the cluster's order", e);
        } catch (StoreException e) {
            stopIfBroken(e);
            throw e;
        } finally {
            commitLock.unlock();
        }
    }

    /** A log that a cluster orders takes nothing of its own: it would be another log than that of the others. */
    private void checkUnordered() throws StoreException {
        if (applied != null) {
            throw new StoreException(
                    StoreException.Code.READ_ONLY,
                    "the log of this store is ordered by its cluster, and takes this only through it");
        }
    }

    private SectorFiles files() {
        if (sectorFiles == null) {
            throw new IllegalStateException("a read-only store writes no files");
        }
        return sectorFiles;
    }

    private long ingestAndWrite(
            List<SealedBlock> blocks,
            List<SectorFiles.SectorFile> files,
            WriteBatch batch,
            LogEntry entry,
            @Nullable Order order)
            throws StoreException, RocksDBException {
        boolean done = false;
        try {
            files().ingest(blocks, files, batch);
            long ticket = write(batch, entry, order);
            done = true;
            return ticket;
        } catch (StoreException e) {
            stopIfBroken(e);
            throw e;
        } finally {
            if (!done) {
                files().undo(blocks);
            }
        }
    }

    /** Under commitLock: the last checks, then headers and garbage into the batch. */
    private List<StateEntry> putHeaders(
            WriteBatch batch,
            SealedCommit commit,
            CommitBody body,
            List<Garbage.@Nullable Builder> garbage,
            long position,
            long time)
            throws StoreException, RocksDBException {
        List<StateEntry> changes = new ArrayList<>();
        for (SealedBlock block : commit.blocks()) {
            Header header = block.header();
            checkFollows(header, current(header.block()));
            verifier.verifyAuthority(body, header, position, time);
            changes.add(new StateEntry(header.block(), header.generation(), header.hash()));
        }
        if (changes.stream().map(StateEntry::id).distinct().count() < changes.size()) {
            throw StoreException.invalid("a block is twice in a commit");
        }
        HeadersTree headers =
                new HeadersTree(changes.stream().map(StateEntry::headerHash).toList());
        for (int i = 0; i < changes.size(); i++) {
            Header header = commit.blocks().get(i).header();
            batch.put(
                    rocks.family(Column.HEADERS),
                    Keys.header(header.block(), header.generation()),
                    new HeaderRecord(header, position, i, headers.path(i)).encode());
            Garbage.Builder superseded = garbage.get(i);
            if (superseded != null) {
                batch.put(
                        rocks.family(Column.GARBAGE), Keys.garbage(position, header.block()), superseded.encode(time));
            }
        }
        return changes;
    }

    /** Puts into (null: deletes from) the local tables. */
    void putLocalChanges(WriteBatch batch, List<SealedCommit.LocalChange> changes) throws RocksDBException {
        for (SealedCommit.LocalChange change : changes) {
            if (change.value() == null) {
                batch.delete(rocks.family(Column.LOCAL), change.key());
            } else {
                batch.put(rocks.family(Column.LOCAL), change.key(), change.value());
            }
        }
    }

    private void putNodes(WriteBatch batch, SealedBlock block) throws RocksDBException {
        Header header = block.header();
        for (NewNode node : block.nodes()) {
            batch.put(
                    rocks.family(Column.NODES),
                    Keys.node(header.block(), node.level(), node.index(), header.generation()),
                    node.bytes());
        }
    }

    private void putSectors(WriteBatch batch, SealedBlock block) throws RocksDBException {
        Header header = block.header();
        ByteBuffer key = ByteBuffer.allocateDirect(Keys.SECTOR_SIZE);
        for (Map.Entry<Long, Sector> sector : block.sectors().entrySet()) {
            key.clear();
            key.put(Keys.sector(header.block(), sector.getKey(), header.generation()))
                    .flip();
            batch.put(
                    rocks.family(Column.SECTORS),
                    key,
                    sector.getValue().ciphertext().duplicate());
        }
    }

    /**
     * Under commitLock: writes a batch that ends with {@code entry}, which becomes the head; {@code order} is null where this node gives it
     * its place. Returns the ticket to sync it.
     */
    private long write(WriteBatch batch, LogEntry entry, @Nullable Order order)
            throws StoreException, RocksDBException {
        if (order != null) {
            OrderMarks.put(rocks, batch, entry.position(), order);
        }
        try {
            rocks.write(batch);
        } catch (StoreException e) {
            stopIfBroken(e);
            throw e;
        }
        headHash = entry.hash();
        headTimeMillis = entry.timeMillis();
        headPosition = entry.position();
        applied = order == null ? applied : order;
        return walSync.ticket();
    }

    /** Verifies authority records and appends them to the log, all of them or none; {@code after} as in {@link #putAuthority}. On the device when it returns. */
    long appendAuthority(List<TreeFounding.Entry> records, @Nullable Hash after) throws StoreException {
        checkWritable();
        checkUnordered();
        Written written = putAuthority(records, after, null);
        walSync.await(written.ticket);
        return written.entry.position();
    }

    /** {@code after} is the authority that the records were made for, null for any; {@code order} is null where this node gives them their places. */
    private Written putAuthority(List<TreeFounding.Entry> records, @Nullable Hash after, @Nullable Order order)
            throws StoreException {
        commitLock.lock();
        try (WriteBatch batch = new WriteBatch()) {
            if (after != null && !after.equals(authorityHash)) {
                throw new StoreException(
                        StoreException.Code.CONFLICT, "the authority has changed since the records were made");
            }
            return putAuthority(batch, records, timeOf(order), order);
        } catch (RocksDBException e) {
            throw rocks.failure("append records of authority", e);
        } catch (CryptoException e) {
            throw failure(records.size() == 1 ? records.get(0).kind() + " record" : "records of authority", e);
        } finally {
            commitLock.unlock();
        }
    }

    /** Under commitLock: appends the records, all of them or none. */
    private Written putAuthority(WriteBatch batch, List<TreeFounding.Entry> records, long time, @Nullable Order order)
            throws StoreException, CryptoException, RocksDBException {
        List<LogEntry> appended = entriesOf(batch, records, time);
        LogEntry last = appended.get(appended.size() - 1);
        long ticket = write(batch, last, order);
        for (LogEntry entry : appended) {
            authority.apply(entry.kind().number(), entry.payload(), entry.position(), time);
            authorityHash = nextAuthorityHash(authorityHash, entry);
        }
        return new Written(last, ticket);
    }

    /** Of the authority whose newest record is at {@code position}; CONFLICT when that is another. */
    Hash authorityAt(long position) throws StoreException {
        commitLock.lock();
        try {
            if (authority.position() != position) {
                throw new StoreException(
                        StoreException.Code.CONFLICT,
                        "the newest record of authority is at " + authority.position() + ", not at " + position);
            }
            return authorityHash;
        } finally {
            commitLock.unlock();
        }
    }

    /** Makes the records of a change of keys for a log at this time. */
    @FunctionalInterface
    interface KeyChangeMaker {
        KeyChange make(Authority authority, long nowMillis) throws CryptoException;
    }

    /** Under commitLock: into the batch, once each has been verified after those before it. */
    private List<LogEntry> entriesOf(WriteBatch batch, List<TreeFounding.Entry> records, long time)
            throws StoreException, CryptoException, RocksDBException {
        Authority trial = authority;
        if (records.size() > 1) {
            trial = new Authority(tree);
            replay(rocks, trial);
        }
        List<LogEntry> entries = new ArrayList<>();
        Hash previous = headHash;
        for (TreeFounding.Entry record : records) {
            LogEntry entry = LogEntry.of(
                    headPosition + 1 + entries.size(),
                    time,
                    previous,
                    LogKind.of(record.kind().number()),
                    record.payload());
            if (trial == authority) {
                trial.verify(record.kind(), record.payload(), entry.position(), time);
            } else {
                trial.apply(record.kind(), record.payload(), entry.position(), time);
            }
            batch.put(rocks.family(Column.LOG), Keys.log(entry.position()), entry.encoded());
            batch.put(rocks.family(Column.AUTHORITY), Keys.log(entry.position()), entry.encoded());
            entries.add(entry);
            previous = entry.hash();
        }
        return entries;
    }

    /**
     * Makes {@code successor} the node that keeps this store (docs/decisions/0007-keys-change-in-one-batch.md): records, its first checkpoint and its local tables in one
     * batch, around which the anchor changes hands. For a ledger that was not started; it only takes {@link #close} afterwards.
     *
     * @param reseal gives a row of the local tables to the successor, null to drop it
     */
    void handOver(Identity successor, KeyChangeMaker maker, RowChange reseal) throws StoreException {
        checkWritable();
        if (applied != null) {
            throw new StoreException(
                    StoreException.Code.READ_ONLY,
                    "this store is one of a cluster's, where no node's key is replaced: retire the node and let it join"
                            + " anew, with a key of its own");
        }
        checkpointLock.lock();
        commitLock.lock();
        try (WriteBatch batch = new WriteBatch();
                SecretBytes anchorKey = successor.deriveSecret("anchor")) {
            long time = nowMillis();
            KeyChange change = maker.make(authority, time);
            List<LogEntry> appended = entriesOf(batch, change.entries(), time);
            LogEntry last = appended.get(appended.size() - 1);
            Hash authorityAfter = authorityHash;
            for (LogEntry entry : appended) {
                authorityAfter = nextAuthorityHash(authorityAfter, entry);
            }
            StateRoot root = view.changes.isEmpty()
                    ? new StateRoot(last.position(), view.root.hash())
                    : stateMap.apply(
                            view.root, last.position(), view.changes.values(), batch, rocks.family(Column.GARBAGE));
            Checkpoint made = new Checkpoint(
                    tree,
                    last.position(),
                    time,
                    last.hash(),
                    root.hash(),
                    successor.id(),
                    change.chain(),
                    authorityAfter);
            byte[] signed =
                    successor.sign(SignatureKind.CHECKPOINT, made.encode()).toBytes();
            batch.put(rocks.family(Column.META), META_CHECKPOINT, signed);
            batch.deleteRange(
                    rocks.family(Column.CHANGES), Keys.log(view.root.position()), Keys.log(last.position() + 1));
            putLocalAgain(batch, reseal);

            rocks.syncWal();
            long sequence = anchor.sequence();
            writeAnchor(
                    new Anchor(tree, ++sequence, checkpoint.position(), checkpoint.stateRoot(), headPosition, headHash),
                    anchorKey);
            rocks.write(batch);
            rocks.syncWal();
            for (int slot = 0; slot < 2; slot++) {
                writeAnchor(
                        new Anchor(tree, ++sequence, made.position(), made.stateRoot(), last.position(), last.hash()),
                        anchorKey);
            }
        } catch (RocksDBException e) {
            throw rocks.failure("hand the store over", e);
        } catch (CryptoException e) {
            throw failure("a change of keys", e);
        } finally {
            failure = new StoreException(StoreException.Code.CLOSED, "the store was handed over to another node");
            commitLock.unlock();
            checkpointLock.unlock();
        }
    }

    private void writeAnchor(Anchor next, SecretBytes key) throws StoreException {
        if (anchorFile != null) {
            anchorFile.write(next, key);
        }
    }

    /** What becomes of a row of the local tables; null: it goes. */
    @FunctionalInterface
    interface RowChange {
        byte @Nullable [] apply(byte[] key, byte[] sealed);
    }

    private void putLocalAgain(WriteBatch batch, RowChange change) throws StoreException {
        rocks.scan(Column.LOCAL, new byte[0], null, (key, value) -> {
            if (LocalTable.isSealed(key)) {
                byte[] changed = change.apply(key, value);
                try {
                    if (changed == null) {
                        batch.delete(rocks.family(Column.LOCAL), key);
                    } else {
                        batch.put(rocks.family(Column.LOCAL), key, changed);
                    }
                } catch (RocksDBException e) {
                    throw rocks.failure("seal the local tables anew", e);
                }
            }
            return true;
        });
    }

    /**
     * Makes the payload of an entry that rests on the state at the entry before, and adds to the entry's batch. {@code signedState} is this
     * node's checkpoint of the entry before; on a lone node null when the state has a checkpoint already.
     */
    @FunctionalInterface
    interface EntryMaker {
        byte[] make(StateRoot state, byte @Nullable [] signedState, long position, long timeMillis, WriteBatch batch)
                throws StoreException, RocksDBException;
    }

    /** Appends an entry on top of a checkpoint, with no commit between the two. On the device when it returns. */
    void appendAtCheckpoint(LogKind kind, EntryMaker maker) throws StoreException {
        walSync.await(putAtCheckpoint(kind, null, maker).ticket);
    }

    /** As {@link #appendAtCheckpoint}, of an entry that has this place in a cluster's order. */
    Placed applyAtCheckpoint(Order order, LogKind kind, EntryMaker maker) throws StoreException {
        return putAtCheckpoint(kind, order, maker).placed();
    }

    /** One batch, so that a start finds the state where it finds the entry. */
    private Written putAtCheckpoint(LogKind kind, @Nullable Order order, EntryMaker maker) throws StoreException {
        checkpoint(); // most of it while commits go on
        checkpointLock.lock();
        commitLock.lock();
        try (WriteBatch batch = new WriteBatch()) {
            if (order == null) {
                checkUnordered();
            }
            View now = view;
            Head head = head();
            // What a lone node names twice keeps the position that it had.
            boolean named = order == null && now.changes.isEmpty();
            Signed covered = named ? null : putCheckpoint(batch, now.root, now.changes.values(), head);
            StateRoot state = covered == null ? now.root : covered.made.root();
            long position = head.position + 1;
            long time = timeOf(order);
            byte[] payload = maker.make(state, covered == null ? null : covered.bytes, position, time, batch);
            LogEntry entry = LogEntry.of(position, time, head.hash, kind, payload);
            batch.put(rocks.family(Column.LOG), Keys.log(position), entry.encoded());
            long ticket = write(batch, entry, order);
            view = new View(new ConcurrentHashMap<>(), Map.of(), state);
            checkpoint = covered == null ? checkpoint : covered.made;
            return new Written(entry, ticket);
        } catch (RocksDBException e) {
            throw rocks.failure("append " + kind, e);
        } finally {
            commitLock.unlock();
            checkpointLock.unlock();
        }
    }

    /** Writes a batch that changes nothing in the log: a checkpoint, garbage collection, local tables. */
    void writeAside(WriteBatch batch) throws StoreException {
        putAside(batch);
    }

    /** As {@link #writeAside}, of what nobody else has: {@link #syncOwn} waits for it. */
    void writeOwn(WriteBatch batch) throws StoreException {
        wroteOwn(putAside(batch));
    }

    private long putAside(WriteBatch batch) throws StoreException {
        checkWritable();
        try {
            rocks.write(batch);
        } catch (StoreException e) {
            stopIfBroken(e);
            throw e;
        }
        return walSync.ticket();
    }

    private void wroteOwn(long ticket) {
        newestOwn.accumulateAndGet(ticket, Math::max);
    }

    /** The newest state root, after what was committed before the call has been put into the state map. */
    StateRoot checkpoint() throws StoreException {
        checkWritable();
        checkpointLock.lock();
        try {
            Map<BlockId, StateEntry> frozen;
            StateRoot base;
            Head head;
            commitLock.lock();
            try {
                View now = view;
                if (now.changes.isEmpty()) {
                    return now.root;
                }
                frozen = now.changes;
                base = now.root;
                view = new View(new ConcurrentHashMap<>(), frozen, base);
                head = head();
            } finally {
                commitLock.unlock();
            }
            boolean done = false;
            try (WriteBatch batch = new WriteBatch()) {
                Checkpoint made = putCheckpoint(batch, base, frozen.values(), head).made;
                commitLock.lock();
                try {
                    writeAside(batch);
                    view = new View(view.changes, Map.of(), made.root());
                    checkpoint = made;
                    done = true;
                } finally {
                    commitLock.unlock();
                }
                return view.root;
            } catch (RocksDBException e) {
                throw rocks.failure("write a checkpoint", e);
            } finally {
                if (!done) {
                    thaw(frozen, base);
                }
            }
        } finally {
            checkpointLock.unlock();
        }
    }

    /** A checkpoint and its bytes, as they are signed. */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    private record Signed(Checkpoint made, byte[] bytes) {}

    /** Into the batch: the state map with {@code changes} on top of {@code base}, and the checkpoint of {@code head} that names it. */
    private Signed putCheckpoint(WriteBatch batch, StateRoot base, Collection<StateEntry> changes, Head head)
            throws StoreException, RocksDBException {
        Hash root = changes.isEmpty()
                ? base.hash()
                : stateMap.apply(base, head.position, changes, batch, rocks.family(Column.GARBAGE))
                        .hash();
        Checkpoint made = checkpointOf(head, root);
        byte[] signed = sign(made);
        batch.put(rocks.family(Column.META), META_CHECKPOINT, signed);
        batch.deleteRange(rocks.family(Column.CHANGES), Keys.log(base.position()), Keys.log(head.position + 1));
        OrderMarks.forget(rocks, batch, head.position);
        return new Signed(made, signed);
    }

    /** After a checkpoint that failed: what it was about to cover waits for the next one. */
    private void thaw(Map<BlockId, StateEntry> frozen, StateRoot base) {
        commitLock.lock();
        try {
            ConcurrentHashMap<BlockId, StateEntry> changes = new ConcurrentHashMap<>(frozen);
            changes.putAll(view.changes);
            view = new View(changes, Map.of(), base);
        } finally {
            commitLock.unlock();
        }
    }

    /** The newest chain of this node that grants {@code needed} in each of {@code domains} now; DENIED when there is none. */
    Hash chainFor(Rights needed, List<DomainId> domains) throws StoreException {
        return chainFor(needed, domains, headPosition + 1, nowMillis());
    }

    /** As {@link #chainFor(Rights, List)}, for a place in the log. */
    private Hash chainFor(Rights needed, List<DomainId> domains, long position, long timeMillis) throws StoreException {
        List<WriteCapabilityChain> chains = authority.chainsOf(node.id());
        CryptoException refusal = null;
        for (int i = chains.size() - 1; i >= 0; i--) {
            Hash chain = chains.get(i).id();
            try {
                for (DomainId domain : domains) {
                    authority.checkRights(node.id(), chain, domain, needed, position, timeMillis);
                }
                return chain;
            } catch (CryptoException e) {
                refusal = e;
            }
        }
        if (refusal != null) {
            throw failure("this node", refusal);
        }
        throw new StoreException(StoreException.Code.DENIED, "this node, " + node.id() + ", holds no capability");
    }

    /** What was written before the call is on the device when it returns. */
    void sync() throws StoreException {
        if (options.readOnly()) {
            return;
        }
        walSync.await(walSync.newestTicket());
    }

    /** As {@link #sync}, of what only this node has; all else was on the devices of others when they put it in order, and is asked of them after a crash. */
    void syncOwn() throws StoreException {
        walSync.await(newestOwn.get());
    }

    private void syncNow() throws StoreException {
        checkNotBroken();
        long position;
        Hash hash;
        Checkpoint newest;
        commitLock.lock();
        try {
            position = headPosition;
            hash = headHash;
            newest = checkpoint;
        } finally {
            commitLock.unlock();
        }
        try {
            rocks.syncWal();
        } catch (StoreException e) {
            // After a failed sync the kernel may have dropped the pages: nothing later can be promised.
            stop(e);
            throw e;
        }
        synchronized (anchorMonitor) {
            durablePosition = position;
            durableHash = hash;
            durableCheckpoint = newest;
            anchorDue = true;
            anchorMonitor.notifyAll();
        }
    }

    void checkWritable() throws StoreException {
        if (options.readOnly()) {
            throw new StoreException(StoreException.Code.READ_ONLY, "the store was opened read-only");
        }
        checkNotBroken();
    }

    boolean isReadOnly() {
        return options.readOnly() || failure != null;
    }

    private void checkNotBroken() throws StoreException {
        StoreException cause = failure;
        if (cause != null) {
            throw new StoreException(
                    StoreException.Code.READ_ONLY,
                    "the store stopped writing after an error; restart the node: " + cause.getMessage(),
                    cause);
        }
    }

    /** Free bytes of the device that commits with data leave alone. */
    long reserveBytes() throws StoreException {
        return options.reserveBytes(rocks.totalBytes());
    }

    /** What is written must be flushed and compacted, and what is deleted must be written: that takes the reserve. */
    private void checkSpace(SealedCommit commit) throws StoreException {
        long reserve = reserveBytes();
        if (reserve == 0) {
            return;
        }
        long bytes = commit.sizeBytes();
        boolean deletes =
                commit.blocks().stream().anyMatch(block -> block.header().tombstone());
        long kept = deletes ? reserve / 8 : bytes < SMALL_COMMIT_BYTES ? reserve / 2 : reserve;
        long needed = kept + 2 * (bytes + commit.blocks().size() * BLOCK_BYTES);
        if (rocks.freeBytes() >= needed) {
            return;
        }
        rocks.settle();
        long free = rocks.freeBytes();
        if (free < needed) {
            throw new StoreException(
                    StoreException.Code.NO_SPACE,
                    ("%d MiB are free in %s; a write of %d KiB needs %d MiB, most of it kept for removing files and for the"
                                    + " database's own work: make room")
                            .formatted(
                                    Math.max(0, free) >> 20,
                                    rocks.dir(),
                                    bytes + 1023 >> 10,
                                    needed + (1 << 20) - 1 >> 20));
        }
    }

    private void stopIfBroken(StoreException e) {
        if (e.code() != StoreException.Code.NO_SPACE) {
            stop(e);
        }
    }

    private void stop(StoreException e) {
        boolean damaged = e.code() == StoreException.Code.CORRUPT;
        failure = damaged
                ? new StoreException(
                        e.code(), "a file of the database is damaged, which a restart takes out: " + e.getMessage(), e)
                : e;
        log.atError().addKeyValue("reason", failure.getMessage()).log("store_stopped");
        if (damaged) {
            rocks.damagedTables().remember();
        }
    }

    /** Takes damaged tables out that somebody has met; true when there were such. Commits wait for it. */
    boolean salvageTables() {
        commitLock.lock();
        try {
            return !isReadOnly() && rocks.damagedTables().salvage();
        } finally {
            commitLock.unlock();
        }
    }

    // ---- threads ----

    private final Object checkpointMonitor = new Object();
    private boolean checkpointWanted; // guarded by checkpointMonitor

    private void wakeCheckpoints() {
        synchronized (checkpointMonitor) {
            checkpointWanted = true;
            checkpointMonitor.notifyAll();
        }
    }

    private void keepCheckpoints() {
        while (!closing) {
            try {
                synchronized (checkpointMonitor) {
                    if (!checkpointWanted && !closing) {
                        checkpointMonitor.wait(options.checkpointMillis());
                    }
                    checkpointWanted = false;
                }
                if (!closing && failure == null) {
                    checkpoint();
                }
            } catch (InterruptedException e) {
                return;
            } catch (StoreException | RuntimeException e) {
                log.atWarn().setCause(e).addKeyValue("reason", e.getMessage()).log("checkpoint_failed");
                pause();
            }
        }
    }

    private void pause() {
        synchronized (checkpointMonitor) {
            try {
                if (!closing) {
                    checkpointMonitor.wait(1_000);
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private void keepAnchor() {
        while (!closing) {
            try {
                synchronized (anchorMonitor) {
                    while (!anchorDue && !closing) {
                        anchorMonitor.wait();
                    }
                }
                if (!closing) {
                    writeAnchor();
                    pauseAnchor();
                }
            } catch (InterruptedException e) {
                return;
            } catch (StoreException | RuntimeException e) {
                log.atWarn().setCause(e).addKeyValue("reason", e.getMessage()).log("anchor_failed");
                pause();
            }
        }
    }

    /** In full, however many syncs wake the monitor meanwhile; closing ends it. */
    private void pauseAnchor() throws InterruptedException {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(ANCHOR_PAUSE_MILLIS);
        synchronized (anchorMonitor) {
            for (long left = ANCHOR_PAUSE_MILLIS; left > 0 && !closing; ) {
                anchorMonitor.wait(left);
                left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
            }
        }
    }

    private void writeAnchor() throws StoreException {
        AnchorFile file = anchorFile;
        if (file == null) {
            return;
        }
        Anchor next;
        synchronized (anchorMonitor) {
            anchorDue = false;
            next = new Anchor(
                    tree,
                    anchor.sequence() + 1,
                    durableCheckpoint.position(),
                    durableCheckpoint.stateRoot(),
                    durablePosition,
                    durableHash);
        }
        try {
            file.write(next);
        } catch (StoreException e) {
            synchronized (anchorMonitor) {
                anchorDue = true;
            }
            throw e;
        }
        synchronized (anchorMonitor) {
            anchor = next;
        }
    }

    /** Checkpoint, sync, anchor. Does not close the database. */
    @Override
    public void close() throws StoreException {
        closing = true;
        synchronized (checkpointMonitor) {
            checkpointMonitor.notifyAll();
        }
        synchronized (anchorMonitor) {
            anchorMonitor.notifyAll();
        }
        boolean interrupted = false;
        for (Thread thread : threads) {
            while (thread.isAlive()) {
                try {
                    thread.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        try {
            if (!isReadOnly()) {
                // First what was promised; the checkpoint only makes the next start shorter, and a full device refuses
                // it.
                syncNow();
                try {
                    checkpoint();
                    syncNow();
                } finally {
                    writeAnchor();
                }
            }
        } finally {
            stateMap.close();
            if (sectorFiles != null) {
                sectorFiles.close();
            }
            if (anchorFile != null) {
                anchorFile.close();
            }
        }
    }

    static StoreException failure(String what, CryptoException e) {
        StoreException.Code code = switch (e.code()) {
            case DENIED, BAD_SIGNATURE -> StoreException.Code.DENIED;
            case CORRUPT, WRONG_KEY -> StoreException.Code.CORRUPT;
            case OUT_OF_ORDER -> StoreException.Code.CONFLICT;
            case IO -> StoreException.Code.IO;
            case MALFORMED,
                    UNSUPPORTED,
                    TOO_MANY,
                    BAD_PASSPHRASE,
                    DAMAGED_KEY_FILE,
                    UNSAFE_PERMISSIONS,
                    PASSPHRASE_NEEDED -> StoreException.Code.INVALID;
        };
        return new StoreException(code, what + ": " + e.getMessage(), e);
    }
}
