package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.BlockId;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainRecord;
import blocktree.crypto.Hash;
import blocktree.crypto.Id;
import blocktree.crypto.SectorCipher;
import blocktree.crypto.TreeId;
import blocktree.store.Finding.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;

/**
 * Checks a whole store against itself, from the genesis record on and trusting nothing that the open store has in memory: the log and
 * the authority that it makes, every commit, every header against its commit and its predecessor, the state map against the headers,
 * every node and sector against the tree that its header names, and what nobody names. Works on one {@link StoreView}, so the store
 * may be in use.
 *
 * <p>What the entries of directories say is the tree's matter, not the store's.
 */
final class Fsck implements BlockCheck.OrphanPolicy {

    private static final long STATE_CACHE_BYTES = 8 << 20;
    private static final int COMMITS_MAX = 4_096;

    private final Rocks rocks;
    private final StoreView view;
    private final TreeId tree;
    private final BlockKeys keys;
    private final SectorCipher cipher;
    private final FsckOptions options;
    private final Findings findings;

    private final Authority authority;
    private final CommitVerifier verifier;
    private final Map<String, PlacedSnapshot> snapshots = new LinkedHashMap<>(); // those in force, by id
    /** Records whose header is gone but which may name sectors that are still there, by block. */
    private final Map<BlockId, List<byte[]>> pendingGarbage = new HashMap<>();

    private record PlacedSnapshot(SnapshotBody body, LogEntry entry) {}

    private @Nullable Checkpoint checkpoint;
    private boolean stateReadable = true;
    /** Blocks of which something is absent: what nobody names in them may be what is left of it. */
    private final Set<BlockId> incomplete = new HashSet<>();
    /** The newest entry of each block that a commit after the checkpoint changed. */
    private final Map<BlockId, StateEntry> changes = new HashMap<>();

    /** {@code view} is that of {@code rocks}; both stay the caller's. Stopping {@code pace} ends it with CLOSED. */
    Fsck(
            Rocks rocks,
            StoreView view,
            TreeId tree,
            BlockKeys keys,
            SectorCipher cipher,
            IntegrityNodes integrityNodes,
            FsckOptions options,
            Consumer<Finding> consumer,
            Pace pace) {
        this.rocks = rocks;
        this.view = view;
        this.tree = tree;
        this.keys = keys;
        this.cipher = cipher;
        this.options = options;
        this.findings = new Findings(consumer, options.progress(), pace);
        this.authority = new Authority(tree);
        this.verifier = new CommitVerifier(tree, authority, integrityNodes);
    }

    FsckReport run() throws StoreException {
        step(this::checkLog);
        step(this::checkAuthorityCopies);
        step(this::checkNewestCheckpoint);
        step(this::checkGarbage);
        step(this::checkSnapshots);
        step(this::checkBlocks);
        for (Column column : Column.OF_SECTORS) {
            step(() -> checkStrays(column, Kind.SECTOR_ORPHAN));
        }
        step(() -> checkStrays(Column.NODES, Kind.NODE_ORPHAN));
        for (Column column : List.of(Column.META, Column.CHANGES, Column.LOCAL)) {
            step(() -> checkReadable(column));
        }
        FsckReport report = findings.report();
        options.progress().accept(report);
        return report;
    }

    @FunctionalInterface
    private interface Step {
        void run() throws StoreException;
    }

    /** A damaged database file ends the step that reads it, and not the check. */
    private void step(Step step) throws StoreException {
        try {
            step.run();
        } catch (StoreException e) {
            if (!e.isUnreadable()) {
                throw e;
            }
            stateReadable = false; // what was not seen must not count as absent
            findings.error(Kind.DATABASE_DAMAGED, tree, e.getMessage());
        }
    }

    // ---- the log ----

    private void checkLog() throws StoreException {
        Hash previous = LogEntry.START;
        long position = 0;
        long timeMillis = 0;
        Map<Long, Hash> hashes = new LinkedHashMap<>(); // of the last entries: a checkpoint names one of them
        try (RocksIterator it = view.iterator(Column.LOG)) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                findings.logEntries++;
                findings.step();
                LogEntry entry;
                try {
                    entry = LogEntry.parse(it.value());
                    if (!Arrays.equals(it.key(), Keys.log(entry.position()))) {
                        throw StoreException.invalid("it is of position " + entry.position());
                    }
                } catch (StoreException e) {
                    findings.error(Kind.LOG_BROKEN, null, "log entry after " + position + ": " + e.getMessage());
                    continue;
                }
                if (entry.position() != position + 1) {
                    findings.error(
                            Kind.LOG_BROKEN,
                            null,
                            "log entries " + (position + 1) + " to " + (entry.position() - 1) + " are missing");
                } else if (!entry.previous().equals(previous)) {
                    findings.error(
                            Kind.LOG_BROKEN, null, "log entry " + position + " is not the one that the next one names");
                }
                if (entry.timeMillis() < timeMillis) {
                    findings.error(Kind.LOG_BROKEN, null, "log entry " + entry.position() + " goes back in time");
                }
                position = entry.position();
                previous = entry.hash();
                timeMillis = entry.timeMillis();
                hashes.put(position, previous);
                if (hashes.size() > COMMITS_MAX) {
                    hashes.remove(position - COMMITS_MAX);
                }
                checkEntry(entry, hashes);
            }
            view.checkEnd(it, Column.LOG);
        }
    }

    private void checkEntry(LogEntry entry, Map<Long, Hash> hashes) {
        switch (entry.kind()) {
            case COMMIT -> {
                try {
                    verifier.verifySignature(entry.payload());
                } catch (StoreException e) {
                    findings.error(
                            Kind.COMMIT_INVALID,
                            null,
                            "commit at position " + entry.position() + ": " + e.getMessage());
                }
            }
            case CHECKPOINT -> {
                try {
                    Checkpoint made = verifyCheckpoint(entry.payload());
                    Hash covered = hashes.get(made.position());
                    boolean known = covered == null
                            ? made.position() < entry.position() - COMMITS_MAX
                            : covered.equals(made.logHash());
                    if (!known || made.position() >= entry.position()) {
                        throw StoreException.corrupt("it covers another log");
                    }
                } catch (StoreException e) {
                    findings.error(
                            Kind.CHECKPOINT_INVALID,
                            null,
                            "checkpoint at position " + entry.position() + ": " + e.getMessage());
                }
            }
            case SNAPSHOT -> {
                try {
                    SnapshotBody body = Snapshots.verify(entry, tree, authority);
                    if (body.deleted()) {
                        snapshots.remove(body.id());
                    } else {
                        snapshots.put(body.id(), new PlacedSnapshot(body, entry));
                    }
                } catch (StoreException e) {
                    findings.error(Kind.SNAPSHOT_INVALID, null, e.getMessage());
                }
            }
            case GENESIS, DOMAIN, EPOCH, WRITECAP_CHAIN, READCAP, REVOCATION, ROTATION, NODE -> {
                try {
                    authority.apply(entry.kind().number(), entry.payload(), entry.position(), entry.timeMillis());
                } catch (CryptoException e) {
                    findings.error(
                            Kind.AUTHORITY_INVALID,
                            tree,
                            entry.kind() + " record at position " + entry.position() + ": " + e.getMessage());
                }
            }
        }
    }

    private Checkpoint verifyCheckpoint(byte[] encoded) throws StoreException {
        try {
            DomainRecord root = authority.rootDomain();
            Checkpoint made = root == null ? null : Checkpoint.verify(encoded, root.domain(), authority);
            if (made == null) {
                throw StoreException.corrupt("it is of another tree or issuer");
            }
            return made;
        } catch (CryptoException e) {
            throw StoreException.corrupt(String.valueOf(e.getMessage()));
        }
    }

    /** The family {@code authority} must hold the log's authority records, no more and no less. */
    private void checkAuthorityCopies() throws StoreException {
        Set<Long> copies = new HashSet<>();
        try (RocksIterator it = view.iterator(Column.AUTHORITY)) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                byte[] original = view.get(Column.LOG, it.key());
                if (original == null || !Arrays.equals(original, it.value()) || it.key().length != Long.BYTES) {
                    findings.error(Kind.AUTHORITY_INVALID, tree, "an authority record is not the one of the log");
                } else {
                    copies.add(Keys.getU64(it.key(), 0));
                }
            }
            view.checkEnd(it, Column.AUTHORITY);
        }
        try (RocksIterator it = view.iterator(Column.LOG)) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                LogEntry entry = parseEntry(it.value());
                if (entry != null && entry.kind().isAuthority() && !copies.contains(entry.position())) {
                    findings.error(
                            Kind.AUTHORITY_INVALID,
                            tree,
                            "the authority record of position " + entry.position() + " is missing");
                }
            }
            view.checkEnd(it, Column.LOG);
        }
    }

    private static @Nullable LogEntry parseEntry(byte @Nullable [] bytes) {
        try {
            return bytes == null ? null : LogEntry.parse(bytes);
        } catch (StoreException e) {
            return null; // found and reported by the walk over the log
        }
    }

    /** The checkpoint that the store starts from, and what the commits after it changed. */
    private void checkNewestCheckpoint() throws StoreException {
        byte[] encoded = view.get(Column.META, Ledger.META_CHECKPOINT);
        Checkpoint newest;
        try {
            if (encoded == null) {
                throw StoreException.corrupt("it is missing");
            }
            newest = verifyCheckpoint(encoded);
            LogEntry covered = parseEntry(view.get(Column.LOG, Keys.log(newest.position())));
            if (covered == null || !covered.hash().equals(newest.logHash())) {
                throw StoreException.corrupt("it covers another log");
            }
            checkpoint = newest;
        } catch (StoreException e) {
            findings.error(Kind.CHECKPOINT_INVALID, tree, "the newest checkpoint: " + e.getMessage());
            stateReadable = false;
            return;
        }
        try (RocksIterator it = view.iterator(Column.LOG)) {
            for (it.seek(Keys.log(newest.position() + 1)); it.isValid(); it.next()) {
                LogEntry entry = parseEntry(it.value());
                if (entry != null && entry.kind() == LogKind.COMMIT) {
                    checkChanges(entry);
                }
            }
            view.checkEnd(it, Column.LOG);
        }
    }

    private void checkChanges(LogEntry entry) throws StoreException {
        byte[] encoded = view.get(Column.CHANGES, Keys.log(entry.position()));
        try {
            if (encoded == null) {
                throw StoreException.corrupt("the list of its changes is missing");
            }
            List<StateEntry> changed = Changes.parse(encoded);
            verifier.verifyEnvelope(
                    entry.payload(),
                    changed.stream().map(StateEntry::headerHash).toList());
            for (StateEntry change : changed) {
                changes.put(change.id(), change);
                // nothing newer than the checkpoint is ever collected
                if (view.get(Column.HEADERS, Keys.header(change.id(), change.generation())) == null) {
                    incomplete.add(change.id());
                    findings.error(
                            Kind.HEADER_MISSING,
                            change.id(),
                            "generation " + change.generation() + " of the commit at position " + entry.position()
                                    + " is withheld");
                }
            }
        } catch (StoreException e) {
            findings.error(Kind.COMMIT_INVALID, null, "commit at position " + entry.position() + ": " + e.getMessage());
        }
    }

    /** For columns of which not all is looked at otherwise. */
    private void checkReadable(Column column) throws StoreException {
        try (RocksIterator it = view.iterator(column)) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                findings.step();
            }
            view.checkEnd(it, column);
        }
    }

    // ---- blocks ----

    private void checkBlocks() throws StoreException {
        BlockCheck check = new BlockCheck(view, tree, verifier, keys, cipher, findings, this, options.readSectors());
        try (RocksIterator it = view.iterator(Column.HEADERS);
                StateMap map = view.stateMap(STATE_CACHE_BYTES)) {
            it.seekToFirst();
            Checkpoint newest = checkpoint;
            if (newest != null) {
                try {
                    map.forEach(newest.root(), entry -> {
                        while (it.isValid() && BlockCheck.blockOf(it).compareTo(entry.id()) < 0) {
                            check.check(it, changes.get(BlockCheck.blockOf(it)), true);
                        }
                        if (isDamaged(it)) {
                            it.seek(entry.id().toBytes());
                        }
                        if (it.isValid() && BlockCheck.blockOf(it).equals(entry.id())) {
                            check.check(it, changes.getOrDefault(entry.id(), entry), true);
                        } else if (isDamaged(it)) {
                            incomplete.add(entry.id());
                            findings.error(Kind.DATABASE_DAMAGED, entry.id(), "its headers cannot be read");
                        } else {
                            incomplete.add(entry.id());
                            findings.error(
                                    Kind.HEADER_MISSING,
                                    entry.id(),
                                    "the block is in the state map, and has no header");
                        }
                    });
                } catch (StoreException e) {
                    if (!e.isUnreadable()) {
                        throw e;
                    }
                    findings.error(Kind.STATE_MISMATCH, null, e.getMessage());
                    stateReadable = false;
                }
            }
            while (it.isValid()) {
                check.check(it, changes.get(BlockCheck.blockOf(it)), stateReadable);
            }
            view.checkEnd(it, Column.HEADERS);
        }
    }

    /** Whether an iterator ended because of damage; another seek begins anew. */
    private static boolean isDamaged(RocksIterator it) {
        try {
            it.status();
            return false;
        } catch (RocksDBException e) {
            return true;
        }
    }

    // ---- orphans ----

    @Override
    public boolean looksAt(BlockId block) {
        return !incomplete.contains(block);
    }

    @Override
    public void damaged(BlockId block) {
        incomplete.add(block);
    }

    @Override
    public List<Garbage> pending(BlockId block) throws StoreException {
        List<Garbage> records = new ArrayList<>();
        for (byte[] key : pendingGarbage.getOrDefault(block, List.of())) {
            byte[] value = view.get(Column.GARBAGE, key);
            if (value != null) {
                records.add(Garbage.decode(value));
            }
        }
        return records;
    }

    @Override
    public void found(Kind kind, BlockId block, String detail, Column column, byte[] key, boolean useless)
            throws StoreException {
        waste(kind, block, detail, column, key, useless);
    }

    private void waste(Kind kind, @Nullable Id subject, String detail, Column column, byte[] key, boolean useless)
            throws StoreException {
        boolean repairable = useless && stateReadable;
        boolean repair = repairable && options.repair();
        if (repair) {
            rocks.delete(column, key);
        }
        findings.add(new Finding(Finding.Severity.WARNING, kind, subject, detail, repairable, repair));
    }

    // ---- garbage, snapshots, strays ----

    private void checkGarbage() throws StoreException {
        try (RocksIterator it = view.iterator(Column.GARBAGE)) {
            for (it.seekToFirst(); it.isValid(); it.next()) {
                byte[] key = it.key();
                try {
                    if (key.length != Keys.GARBAGE_SIZE) {
                        throw StoreException.corrupt("its key has " + key.length + " bytes");
                    }
                    Garbage garbage = Garbage.decode(it.value());
                    BlockId block = BlockId.of(key, Long.BYTES);
                    boolean gone = !block.equals(Garbage.STATE)
                            && view.get(Column.HEADERS, Keys.header(block, garbage.generation())) == null;
                    if (gone) {
                        pendingGarbage
                                .computeIfAbsent(block, k -> new ArrayList<>())
                                .add(key);
                    }
                } catch (StoreException e) {
                    waste(Kind.GARBAGE_INVALID, null, "garbage record: " + e.getMessage(), Column.GARBAGE, key, true);
                }
            }
            view.checkEnd(it, Column.GARBAGE);
        }
    }

    /** Of each snapshot what differs from the newest state: its nodes, and that the headers that it names are there. */
    private void checkSnapshots() throws StoreException {
        Checkpoint newest = checkpoint;
        StateRoot base = newest == null ? StateRoot.EMPTY : newest.root();
        for (PlacedSnapshot placed : snapshots.values()) {
            SnapshotBody snapshot = placed.body;
            // without its row the store does not list it, and collects what it pins
            byte[] row = view.get(Column.META, Snapshots.rowKey(snapshot.id()));
            if (row == null) {
                findings.error(Kind.SNAPSHOT_INVALID, null, "snapshot " + snapshot.id() + " is withheld");
            }
            try (StateMap map = view.stateMap(STATE_CACHE_BYTES)) {
                StateRoot root =
                        row == null ? snapshot.root() : Snapshots.state(snapshot, placed.entry, row, authority);
                if (root != null) { // else only the row would tell
                    map.diff(base, root, (now, then) -> {
                        findings.step();
                        if (then != null) {
                            checkSnapshotEntry(snapshot, then);
                        }
                    });
                }
            } catch (StoreException e) {
                if (e.code() == StoreException.Code.IO) {
                    throw e;
                }
                findings.error(Kind.SNAPSHOT_INVALID, null, "snapshot " + snapshot.id() + ": " + e.getMessage());
            }
        }
    }

    private void checkSnapshotEntry(SnapshotBody snapshot, StateEntry entry) throws StoreException {
        byte[] value = view.get(Column.HEADERS, Keys.header(entry.id(), entry.generation()));
        String where = "generation " + entry.generation() + " of snapshot " + snapshot.id();
        if (value == null) {
            incomplete.add(entry.id());
            findings.error(Kind.HEADER_MISSING, entry.id(), where);
            return;
        }
        try {
            if (!HeaderRecord.parse(value).header().hash().equals(entry.headerHash())) {
                findings.error(Kind.STATE_MISMATCH, entry.id(), where + " has another header");
            }
        } catch (StoreException e) {
            // found and reported with its block
        }
    }

    /** Sectors and nodes of blocks that have no header at all. */
    private void checkStrays(Column column, Kind kind) throws StoreException {
        try (RocksIterator it = view.iterator(column);
                RocksIterator headerIterator = view.iterator(Column.HEADERS)) {
            it.seekToFirst();
            while (it.isValid()) {
                byte[] prefix = Arrays.copyOf(it.key(), Id.SIZE);
                headerIterator.seek(prefix);
                view.checkEnd(headerIterator, Column.HEADERS);
                boolean known = headerIterator.isValid() && Keys.startsWith(headerIterator.key(), prefix);
                byte[] next = Keys.after(prefix);
                BlockId block = BlockId.of(prefix);
                boolean stray =
                        !known && stateReadable && !incomplete.contains(block) && !pendingGarbage.containsKey(block);
                if (stray) {
                    for (; it.isValid() && Keys.startsWith(it.key(), prefix); it.next()) {
                        waste(kind, block, "the block has no header", column, it.key(), true);
                    }
                } else if (next == null) {
                    break;
                } else {
                    it.seek(next);
                }
            }
            view.checkEnd(it, column);
        }
    }
}
