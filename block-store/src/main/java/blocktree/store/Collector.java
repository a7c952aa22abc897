package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.store.OpenGenerations.Generation;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.rocksdb.ColumnFamilyHandle;
import org.rocksdb.CompactRangeOptions;
import org.rocksdb.ReadOptions;
import org.rocksdb.RocksDB;
import org.rocksdb.RocksDBException;
import org.rocksdb.RocksIterator;
import org.rocksdb.WriteBatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Removes superseded generations that neither {@link Retention}, a snapshot nor a reader keeps, with the sectors and nodes that only
 * they need, and state map nodes that no snapshot names.
 *
 * <p>It works from the garbage records alone, in the order of the log. The rule that makes it safe: a header that exists is whole.
 * First the header of the superseded generation g goes; a sector that generation h wrote and g was the last to need goes only when no
 * header of the generations h to g is left. A record stays until nothing of it is left, and goes in the same batch as the last of it,
 * so it can be interrupted anywhere and runs again.
 *
 * <p>What was superseded after the newest checkpoint is left alone: recovery may look at it.
 */
final class Collector implements AutoCloseable {

    private static final Logger log = LoggerFactory.getLogger(Collector.class);

    /** What the collector must know of the store around it. */
    interface Surroundings {

        /** Log position of the newest checkpoint. */
        long checkpointPosition();

        /** Now, as log time. */
        long nowMillis();

        /** Log positions of all states that must stay readable, ascending: of snapshots and pins. */
        long[] pinnedPositions();

        /** False while it cannot be told what snapshots need. */
        boolean mayCollect();

        /** Whether so little space is free that retention must give way. */
        boolean isSpaceLow() throws StoreException;

        /** Makes a checkpoint, so that all that is superseded can go, and gives back the space of the database's log. */
        void makeRoom() throws StoreException;

        /** Gives the space of deleted sectors back to the device; true when there is more to be had at once. */
        boolean reclaim(CompactRangeOptions compaction) throws StoreException;

        /** Somebody could not read something. */
        void metDamage(RocksDBException e);

        /** Takes out of the database what could not be read, so that it is in nobody's way; true when there was something. */
        boolean takeOutDamage();

        /** Writes deletions; they need not be on the device when it returns. */
        void write(WriteBatch batch) throws StoreException;
    }

    /** The column families that it reads and deletes from; the handles stay the caller's. */
    record Families(
            ColumnFamilyHandle headers,
            ColumnFamilyHandle sectors,
            ColumnFamilyHandle streams,
            ColumnFamilyHandle nodes,
            ColumnFamilyHandle states,
            ColumnFamilyHandle garbage) {}

    /**
     * How often and how fast the background thread works. {@code stateGraceMillis} is as long as a reader may take from learning a
     * state root to opening an iterator. {@code heldMillis} is how long what somebody holds open waits at least for the first look
     * whether he still does, and for what waited for it.
     */
    record Timing(long intervalMillis, long keysPerSecond, long stateGraceMillis, long heldMillis) {

        static final Timing DEFAULT = new Timing(5_000, 50_000, 60_000, 60_000);
    }

    /** What was removed since the store was opened. */
    record Collected(long headers, long sectors, long nodes, long stateNodes) {}

    /** How often the holders are looked for of what was held open at the last look too: each is a collection of the whole heap. */
    private static final long LET_GO_NANOS = TimeUnit.MINUTES.toNanos(10);

    private static final long LET_GO_URGENT_NANOS = TimeUnit.SECONDS.toNanos(2);

    /** After a round for a writer that gained nothing, others are told at once that there is no space, while nothing is committed. */
    private static final long RELIEVE_PAUSE_NANOS = TimeUnit.SECONDS.toNanos(5);

    private static final int BATCH_KEYS = 1_000;
    private static final int FAN_OUT_LOG2 = 7;
    private static final int LEVELS_MAX = 10;
    private static final long FULL_PASS_INTERVAL_NANOS = TimeUnit.MINUTES.toNanos(10);
    /** Full passes take no more than this part of the time, while they come more often than that. */
    private static final int FULL_PASS_DIVISOR = 50;

    /** Deleted sectors after which the blob files are compacted: this many, and this part of all. */
    private static final long RECLAIM_SECTORS_MIN = 4_096;

    private static final int RECLAIM_DIVISOR = 20;
    private static final int RECLAIM_STEPS_MAX = 64;
    /** Records that are removed under pressure between two looks at the space that is left. */
    private static final int PRESSURE_RECORDS = 256;

    /** Blocks of which {@link Left} is remembered within a pass. */
    private static final int LEFT_MAX = 1_024;

    /** Blocks of which it is remembered that they were told to be damaged. */
    private static final int DAMAGED_MAX = 1_024;

    /** The newest generation before {@code before} that a pass left, 0 for none. */
    private record Left(long before, long generation) {
        static final Left NOTHING = new Left(1, 0);
    }

    private final RocksDB db;
    private final Families families;
    private final OpenGenerations openGenerations;
    private final Retention retention;
    private final Surroundings around;
    private final Timing timing;
    private final Pace pace;
    private final ReadOptions readOptions =
            new ReadOptions().setTotalOrderSeek(true).setFillCache(false);

    private final CompactRangeOptions compaction = new CompactRangeOptions().setExclusiveManualCompaction(false);

    private final ReentrantLock running = new ReentrantLock(); // one pass at a time; guards the fields below
    private long examinedPosition; // records up to here have been looked at once
    private long expiredPosition; // records up to here have been looked at since they left the retention window
    private final Set<Long> heldOpen = new HashSet<>(); // positions of records kept back for a reader
    private Set<Long> heldStill = Set.of(); // of those, what was held when holders were looked for
    private final Set<Long> heldState = new HashSet<>(); // and of state records in their grace
    private final Map<BlockId, Left> newestLeft = new HashMap<>(); // of the pass under way
    private final Set<BlockId> damaged = new HashSet<>(); // blocks that could not be collected, each told once
    private boolean fullPassWanted = true;
    private long fullPassNanos = System.nanoTime() - FULL_PASS_INTERVAL_NANOS;
    private long fullPassTookNanos;
    private long stateSafePosition;
    private long stateCandidatePosition;
    private long stateCandidateNanos = System.nanoTime();
    private long reclaimableSectors = 1; // what was deleted before the last stop may be there still
    private long letGoNanos = System.nanoTime() - LET_GO_URGENT_NANOS;
    private volatile long vainPosition;
    private volatile long vainNanos = System.nanoTime() - RELIEVE_PAUSE_NANOS;

    private final AtomicLong headers = new AtomicLong();
    private final AtomicLong sectors = new AtomicLong();
    private final AtomicLong nodes = new AtomicLong();
    private final AtomicLong stateNodes = new AtomicLong();
    private volatile boolean released;
    private boolean givingWay;
    private @Nullable Thread thread;
    private boolean closed; // guarded by this

    Collector(
            RocksDB db,
            Families families,
            OpenGenerations openGenerations,
            Retention retention,
            Surroundings around,
            Timing timing) {
        this.db = db;
        this.families = families;
        this.openGenerations = openGenerations;
        this.retention = retention;
        this.around = around;
        this.timing = timing;
        this.pace = new Pace(timing.keysPerSecond());
    }

    /** Starts the thread that collects until {@link #close}. */
    void start() {
        Thread collector = new Thread(this::run, "blocktree-collector");
        collector.setDaemon(true);
        thread = collector;
        collector.start();
    }

    Collected collected() {
        return new Collected(headers.get(), sectors.get(), nodes.get(), stateNodes.get());
    }

    /** A snapshot or pin is gone: what it pinned is looked at again. */
    void released() {
        released = true;
        pace.wake();
    }

    /** For a writer that found no space at {@code position} of the log: collects what there is. False when that gained nothing. */
    boolean relieve(long position) {
        if (position == vainPosition && System.nanoTime() - vainNanos < RELIEVE_PAUSE_NANOS) {
            return false;
        }
        long before = sectors.get();
        try {
            collect(false, true);
        } catch (StoreException e) {
            log.atWarn().setCause(e).log("collect_failed");
        }
        boolean gained = sectors.get() > before;
        if (!gained) {
            vainPosition = position;
            vainNanos = System.nanoTime();
        }
        return gained;
    }

    private void run() {
        boolean failing = false;
        while (pace.idle(timing.intervalMillis())) {
            try {
                collect(false);
                failing = false;
            } catch (StoreException | RuntimeException e) {
                // the records are still there: the next round tries again, and says nothing new
                if (!failing) {
                    log.atWarn().setCause(e).log("collect_failed");
                }
                failing = true;
            }
        }
    }

    /** One round; {@code everything} looks at all records and gives their space back to the device before it returns. */
    void collect(boolean everything) throws StoreException {
        collect(everything, false);
    }

    private void collect(boolean everything, boolean awaited) throws StoreException {
        running.lock();
        try {
            if (pace.isStopped()) {
                throw new StoreException(StoreException.Code.CLOSED, "the store is closed");
            }
            if (!around.mayCollect()) {
                return;
            }
            boolean changed = around.takeOutDamage();
            boolean low = around.isSpaceLow();
            if (low) {
                around.makeRoom();
            }
            letGo(low, awaited);
            long limit = around.checkpointPosition();
            advanceStateGrace(limit);
            if (everything || changed || wantsFullPass()) {
                heldOpen.clear();
                heldState.clear();
                fullPassNanos = System.nanoTime();
                fullPassWanted = !pass(0, limit, Long.MAX_VALUE);
                fullPassTookNanos = System.nanoTime() - fullPassNanos;
            } else {
                pass(examinedPosition + 1, limit, Long.MAX_VALUE);
                pass(expiredPosition + 1, examinedPosition, around.nowMillis() - retention.windowMillis());
                revisit(heldState);
                fullPassWanted |= revisit(heldOpen); // a later record may have waited for that generation
            }
            examinedPosition = Math.max(examinedPosition, limit);
            relievePressure(limit);
            if (everything || isWorthReclaiming()) {
                reclaim();
            }
        } finally {
            running.unlock();
        }
    }

    /** Finds out who does not hold generations open any more, now and then. */
    private void letGo(boolean low, boolean awaited) {
        long now = System.nanoTime();
        long sinceNanos = now - letGoNanos;
        boolean due = sinceNanos >= LET_GO_NANOS
                || sinceNanos >= TimeUnit.MILLISECONDS.toNanos(timing.heldMillis()) && !heldStill.containsAll(heldOpen);
        if (awaited || low && sinceNanos >= LET_GO_URGENT_NANOS || !heldOpen.isEmpty() && due) {
            letGoNanos = now;
            heldStill = Set.copyOf(heldOpen);
            openGenerations.letGo();
        }
    }

    private boolean wantsFullPass() {
        if (released) {
            released = false;
            return true;
        }
        long pauseNanos =
                Math.max(TimeUnit.MILLISECONDS.toNanos(timing.heldMillis()), FULL_PASS_DIVISOR * fullPassTookNanos);
        return fullPassWanted && System.nanoTime() - fullPassNanos >= Math.min(pauseNanos, FULL_PASS_INTERVAL_NANOS);
    }

    /** State nodes that were superseded at or before a checkpoint go only a while later: a reader may hold the root before it. */
    private void advanceStateGrace(long checkpoint) {
        long now = System.nanoTime();
        if (now - stateCandidateNanos >= TimeUnit.MILLISECONDS.toNanos(timing.stateGraceMillis())) {
            stateSafePosition = stateCandidatePosition;
            stateCandidatePosition = checkpoint;
            stateCandidateNanos = now;
        }
    }

    /** Looks again at the records of these positions; true when one of them no longer waits. */
    private boolean revisit(Set<Long> held) throws StoreException {
        boolean released = false;
        for (Long position : Set.copyOf(held)) {
            held.remove(position);
            pass(position, position, Long.MAX_VALUE);
            released |= !held.contains(position);
        }
        return released;
    }

    private void relievePressure(long limit) throws StoreException {
        if (!around.isSpaceLow()) {
            givingWay = false;
            return;
        }
        if (!givingWay) {
            givingWay = true;
            log.atWarn().log("retention_gives_way");
        }
        if (reclaimableSectors > 0) {
            reclaim();
        }
        long from = 0;
        while (from <= limit && !pace.isStopped() && around.isSpaceLow()) {
            from = pressurePass(from, limit);
            if (reclaimableSectors >= RECLAIM_SECTORS_MIN || from > limit && reclaimableSectors > 0) {
                reclaim();
            }
        }
    }

    private boolean isWorthReclaiming() throws StoreException {
        try {
            return reclaimableSectors >= RECLAIM_SECTORS_MIN
                    && reclaimableSectors
                            >= (db.getLongProperty(families.sectors, "rocksdb.estimate-num-keys")
                                            + db.getLongProperty(families.streams, "rocksdb.estimate-num-keys"))
                                    / RECLAIM_DIVISOR;
        } catch (RocksDBException e) {
            throw failed(e);
        }
    }

    /** Removes some of the oldest records whatever their age; gives the position to go on from. */
    private long pressurePass(long from, long limit) throws StoreException {
        newestLeft.clear();
        try (RocksIterator it = db.newIterator(families.garbage, readOptions)) {
            int seen = 0;
            it.seek(Keys.u64(from));
            for (; it.isValid(); it.next()) {
                long position = Keys.getU64(it.key(), 0);
                if (position > limit || pace.isStopped()) {
                    return Long.MAX_VALUE;
                }
                if (seen++ >= PRESSURE_RECORDS && position > from) {
                    return position;
                }
                examine(it.key(), it.value(), true, Long.MAX_VALUE);
            }
            it.status();
            return Long.MAX_VALUE;
        } catch (RocksDBException e) {
            throw failed(e);
        }
    }

    /**
     * Looks at the records of the positions {@code from} to {@code to}, up to the first that was superseded after {@code
     * supersededMillisMax}. False when it was stopped before its end.
     */
    private boolean pass(long from, long to, long supersededMillisMax) throws StoreException {
        newestLeft.clear();
        try (RocksIterator it = db.newIterator(families.garbage, readOptions)) {
            for (it.seek(Keys.u64(from)); it.isValid(); it.next()) {
                if (pace.isStopped()) {
                    return false;
                }
                byte[] key = it.key();
                if (Keys.getU64(key, 0) > to) {
                    break;
                }
                if (!examine(key, it.value(), false, supersededMillisMax)) {
                    break;
                }
                if (supersededMillisMax != Long.MAX_VALUE) {
                    expiredPosition = Keys.getU64(key, 0);
                }
            }
            it.status();
            return true;
        } catch (RocksDBException e) {
            throw failed(e);
        }
    }

    /**
     * False when the record is younger than {@code supersededMillisMax}. A record of which something cannot be read stays, and is in
     * no other's way.
     */
    private boolean examine(byte[] key, byte[] value, boolean pressure, long supersededMillisMax)
            throws StoreException, RocksDBException {
        Garbage garbage;
        try {
            if (key.length != Keys.GARBAGE_SIZE) {
                throw StoreException.corrupt("a garbage record's key has " + key.length + " bytes");
            }
            garbage = Garbage.decode(value);
        } catch (StoreException e) {
            // it keeps space, and nothing worse: fsck reports it
            log.atWarn().addKeyValue("reason", e.getMessage()).log("garbage_record_malformed");
            return true;
        }
        long position = Keys.getU64(key, 0);
        BlockId block = BlockId.of(key, Long.BYTES);
        try {
            return examine(garbage, key, position, block, pressure, supersededMillisMax);
        } catch (RocksDBException e) {
            if (Rocks.code(e) != StoreException.Code.CORRUPT) {
                throw e;
            }
            around.metDamage(e);
            if (damaged.size() < DAMAGED_MAX && damaged.add(block)) {
                log.atWarn()
                        .addKeyValue("block", block.toHex())
                        .addKeyValue("kind", Finding.Kind.DATABASE_DAMAGED.label())
                        .addKeyValue("reason", e.getMessage())
                        .log("block_corrupt");
            }
            return true;
        }
    }

    private boolean examine(
            Garbage garbage, byte[] key, long position, BlockId block, boolean pressure, long supersededMillisMax)
            throws StoreException, RocksDBException {
        try (Deletion deletion = new Deletion()) {
            if (block.equals(Garbage.STATE)) {
                if (position <= stateSafePosition) {
                    collectState(garbage, key, position, deletion);
                } else {
                    heldState.add(position);
                }
                return true;
            }
            if (garbage.supersededMillis() > supersededMillisMax) {
                return false;
            }
            boolean kept = isPinned(garbage.writtenPosition(), position)
                    || !pressure
                            && retention.keeps(garbage.writtenMillis(), garbage.supersededMillis(), around.nowMillis());
            if (kept) {
                return true;
            }
            if (!isSuperseded(block, garbage.generation())) {
                // what nothing has followed is never removed, whatever a record says: it may be damaged, or of a lost
                // commit
                return true;
            }
            if (openGenerations.condemn(new Generation(block, garbage.generation()))) {
                try {
                    deleteHeader(block, garbage.generation(), deletion);
                } finally {
                    openGenerations.releaseCondemned();
                }
                collectBlock(garbage, key, block, deletion);
            } else {
                heldOpen.add(position);
            }
        }
        return true;
    }

    private boolean isPinned(long from, long before) {
        long[] positions = around.pinnedPositions();
        int at = Arrays.binarySearch(positions, from);
        int next = at >= 0 ? at : -at - 1;
        return next < positions.length && positions[next] < before;
    }

    private boolean isSuperseded(BlockId block, long generation) throws RocksDBException {
        byte[] prefix = block.toBytes();
        try (BoundedReads own = new BoundedReads(readOptions, Keys.after(prefix));
                RocksIterator it = db.newIterator(families.headers, own.options())) {
            it.seek(prefix);
            boolean newer = it.isValid()
                    && it.key().length == Keys.HEADER_SIZE
                    && Keys.startsWith(it.key(), prefix)
                    && Keys.headerGeneration(it.key()) > generation;
            it.status();
            return newer;
        }
    }

    /** From here on nobody opens the generation, and what only it needs is nobody's. */
    private void deleteHeader(BlockId block, long generation, Deletion deletion)
            throws RocksDBException, StoreException {
        byte[] key = Keys.header(block, generation);
        if (db.get(families.headers, readOptions, key) != null) {
            deletion.delete(families.headers, key, headers);
            deletion.write();
        }
    }

    private void collectBlock(Garbage garbage, byte[] key, BlockId block, Deletion deletion)
            throws RocksDBException, StoreException {
        long last = garbage.generation();
        long left = newestLeft(block, last);
        boolean whole = true;
        for (int i = 0; i < garbage.sectorCount(); i++) {
            long generation = garbage.sectorGeneration(i);
            if (generation <= left) {
                whole = false;
            } else {
                deletion.deleteSector(Keys.sector(block, garbage.sectorIndex(i), generation));
            }
        }
        for (int i = 0; i < garbage.nodeCount(); i++) {
            long generation = garbage.nodeGeneration(i);
            if (generation <= left) {
                whole = false;
            } else {
                deletion.delete(
                        families.nodes,
                        Keys.node(block, garbage.nodeLevel(i), garbage.nodeIndex(i), generation),
                        nodes);
            }
        }
        for (int i = 0; i < garbage.sectorRangeCount(); i++) {
            whole &= collectRange(garbage.sectorRangeFrom(i), garbage.sectorRangeTo(i), block, last, left, deletion);
        }
        if (garbage.isAll()) {
            whole &= collectRange(0, Long.MAX_VALUE, block, last, left, deletion);
        }
        if (whole && !pace.isStopped()) {
            deletion.delete(families.garbage, key, null);
        }
        deletion.write();
    }

    /** The sectors of a range, and the nodes that cover nothing else. False when some are still needed. */
    private boolean collectRange(long from, long to, BlockId block, long last, long left, Deletion deletion)
            throws RocksDBException, StoreException {
        boolean whole = true;
        for (ColumnFamilyHandle family : List.of(families.sectors, families.streams)) {
            whole &= collectKeys(
                    family, Keys.sector(block, from, 0), Keys.sector(block, to, 0), last, left, deletion, sectors);
        }
        for (int level = 0; level < LEVELS_MAX; level++) {
            int shift = FAN_OUT_LOG2 * (level + 1);
            boolean toEnd = to == Long.MAX_VALUE;
            long first =
                    shift > 62 ? (from == 0 ? 0 : 1) : (from >>> shift) + ((from & ((1L << shift) - 1)) == 0 ? 0 : 1);
            long end = toEnd ? Long.MAX_VALUE : shift > 62 ? 0 : to >>> shift;
            if (first < end) {
                whole &= collectKeys(
                        families.nodes,
                        Keys.node(block, level, first, 0),
                        Keys.node(block, level, end, 0),
                        last,
                        left,
                        deletion,
                        nodes);
            }
        }
        return whole;
    }

    private boolean collectKeys(
            ColumnFamilyHandle family,
            byte[] from,
            byte[] to,
            long last,
            long left,
            Deletion deletion,
            AtomicLong counter)
            throws RocksDBException, StoreException {
        boolean whole = true;
        try (BoundedReads range = new BoundedReads(readOptions, to);
                RocksIterator it = db.newIterator(family, range.options())) {
            for (it.seek(from); it.isValid(); it.next()) {
                byte[] key = it.key();
                if (pace.isStopped()) {
                    break;
                }
                long generation = Keys.getU64(key, key.length - Long.BYTES);
                if (generation > last) {
                    continue; // written since
                }
                if (generation <= left) {
                    whole = false;
                } else {
                    deletion.delete(family, key, counter);
                }
            }
            it.status();
        }
        return whole;
    }

    /**
     * The newest generation of {@code block} before {@code before} whose header exists; 0 when there is none. What was found for the
     * block's record before is where the search ends: else each would go through all that has been deleted and is not compacted yet.
     */
    private long newestLeft(BlockId block, long before) throws RocksDBException {
        Left known = newestLeft.get(block);
        if (known == null || known.before > before) {
            known = Left.NOTHING;
        }
        long newest = known.generation;
        try (BoundedReads range = new BoundedReads(readOptions, Keys.header(block, known.before - 1));
                RocksIterator it = db.newIterator(families.headers, range.options())) {
            for (it.seek(Keys.header(block, before - 1)); it.isValid(); it.next()) {
                if (it.key().length == Keys.HEADER_SIZE) { // else nobody's: fsck reports it
                    newest = Keys.headerGeneration(it.key());
                    break;
                }
            }
            it.status();
        }
        if (newestLeft.size() >= LEFT_MAX) {
            newestLeft.clear();
        }
        newestLeft.put(block, new Left(before, newest));
        return newest;
    }

    private void collectState(Garbage garbage, byte[] key, long position, Deletion deletion)
            throws RocksDBException, StoreException {
        boolean whole = true;
        try (RocksIterator it = db.newIterator(families.states, readOptions)) {
            for (byte[] path : garbage.statePaths()) {
                long successor = position;
                // the versions of this path before the one that superseded them
                for (it.seek(StateMap.nodeKey(path, position - 1));
                        it.isValid() && isVersionOf(path, it.key());
                        it.next()) {
                    long version = ~Keys.getU64(it.key(), path.length);
                    if (isPinned(version, successor)) {
                        whole = false;
                    } else {
                        deletion.delete(families.states, it.key(), stateNodes);
                    }
                    successor = version;
                }
                it.status();
            }
        }
        if (whole) {
            deletion.delete(families.garbage, key, null);
        }
        deletion.write();
    }

    private static boolean isVersionOf(byte[] path, byte[] key) {
        return key.length == path.length + Long.BYTES && Keys.startsWith(key, path);
    }

    /**
     * Gives deleted space back to the device: blob files shrink only when compaction has seen what is gone from them. The keys are few
     * bytes each; sectors are copied only out of files that are mostly garbage.
     */
    private void reclaim() throws StoreException {
        try {
            boolean more = true;
            for (int step = 0; more && step < RECLAIM_STEPS_MAX; step++) {
                more = around.reclaim(compaction);
            }
            reclaimableSectors = more ? 1 : 0;
        } catch (StoreException e) {
            if (!pace.isStopped()) { // else it was cut short by close
                throw e;
            }
        }
    }

    private StoreException failed(RocksDBException e) {
        around.metDamage(e);
        return new StoreException(StoreException.Code.IO, "collection failed", e);
    }

    /** Deletions in batches of bounded size. */
    private final class Deletion implements AutoCloseable {

        private final WriteBatch batch = new WriteBatch();

        /** From the family that holds it; a filter may take it to be in both. */
        void deleteSector(byte[] key) throws RocksDBException, StoreException {
            boolean stream = db.keyMayExist(families.streams, readOptions, key, null);
            if (stream) {
                batch.delete(families.streams, key);
            }
            if (!stream || db.keyMayExist(families.sectors, readOptions, key, null)) {
                batch.delete(families.sectors, key);
            }
            deleted(sectors);
        }

        void delete(ColumnFamilyHandle family, byte[] key, @Nullable AtomicLong counter)
                throws RocksDBException, StoreException {
            batch.delete(family, key);
            deleted(counter);
        }

        private void deleted(@Nullable AtomicLong counter) throws StoreException {
            if (counter != null) {
                counter.incrementAndGet();
            }
            if (counter == sectors) {
                reclaimableSectors++;
            }
            if (batch.count() >= BATCH_KEYS) {
                write();
            }
        }

        void write() throws StoreException {
            int count = batch.count();
            if (count > 0) {
                around.write(batch);
                batch.clear();
                pace.spend(count);
            }
        }

        @Override
        public void close() {
            batch.close();
        }
    }

    /** Stops the thread; a record that it was working on is finished after the next start. */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        pace.stop();
        // a compaction can take hours, and the one who closes waits for the thread: this ends it
        compaction.setCanceled(true);
        Thread collector = thread;
        if (collector != null) {
            try {
                collector.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
        running.lock();
        try {
            readOptions.close();
            compaction.close();
        } finally {
            running.unlock();
        }
    }
}
