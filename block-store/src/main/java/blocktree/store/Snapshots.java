package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainKey;
import blocktree.crypto.DomainRecord;
import blocktree.crypto.KeyRing;
import blocktree.crypto.PrincipalKeys;
import blocktree.crypto.Rights;
import blocktree.crypto.SignatureKind;
import blocktree.crypto.SignedEnvelope;
import blocktree.crypto.TreeId;
import blocktree.crypto.WriteCapabilityChain;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksDBException;
import org.rocksdb.WriteBatch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The snapshots of a tree: signed entries of its log that each name a version of the state map, and so of every block. A row of the
 * family {@code meta} ({@code snapshot/} and the id) tells the position of the entry. On a lone node the entry signs the root of the
 * state. In a cluster nobody knows that root when he proposes the entry: it names the state at its own place in the log, and each node keeps with
 * the row a checkpoint of the entry before (docs/format.md, section 4.2). Beside them stand {@link StatePin}s. Thread-safe.
 */
final class Snapshots {

    private static final Logger log = LoggerFactory.getLogger(Snapshots.class);

    static final byte[] ROW_PREFIX = "snapshot/".getBytes(US_ASCII);

    /** Row with the u64 position of the newest entry that names the state of its place. */
    static final byte[] NEWEST_PLACED = "snapshot-newest".getBytes(US_ASCII);

    private static final SecureRandom RANDOM = new SecureRandom();

    /** A snapshot in force. */
    private record Held(SnapshotBody body, SnapshotInfo info, StateRoot root) {}

    private final Ledger ledger;
    private final KeyRing keys;
    private final ReentrantLock making = new ReentrantLock(); // a lone node's; taken before the ledger's locks

    // Replaced under this object's monitor, inside which nothing else is taken.
    private volatile List<Held> held = List.of(); // oldest first
    private volatile Set<String> unreadable = Set.of(); // ids of rows that lead to no sound entry
    private final Set<StatePin> pins = new HashSet<>(); // guarded by this
    private volatile long[] positions = {};

    private volatile long newestPlaced;

    /** Reads and verifies what is stored. */
    Snapshots(Ledger ledger, KeyRing keys) throws StoreException {
        this.ledger = ledger;
        this.keys = keys;
        this.newestPlaced = newestPlaced(ledger.rocks());
        List<Held> found = new ArrayList<>();
        Set<String> damaged = new HashSet<>();
        ledger.rocks().scan(Column.META, ROW_PREFIX, Keys.after(ROW_PREFIX), (key, value) -> {
            try {
                LogEntry entry = ledger.entry(position(value));
                SnapshotBody body = verify(entry, ledger.tree(), ledger.authority());
                if (!Arrays.equals(rowKey(body.id()), key) || body.deleted()) {
                    throw StoreException.corrupt("the row of a snapshot leads to another entry");
                }
                found.add(held(body, entry, state(body, entry, value, ledger.authority())));
            } catch (StoreException e) {
                if (!e.isUnreadable()) {
                    throw e;
                }
                String id = new String(key, ROW_PREFIX.length, key.length - ROW_PREFIX.length, US_ASCII);
                damaged.add(id);
                log.atError()
                        .addKeyValue("reason", "snapshot " + id + ": " + e.getMessage())
                        .log("snapshot_corrupt");
            }
            return true;
        });
        unreadable = Set.copyOf(damaged);
        publish(found);
    }

    // ---- what is stored ----

    /** Position of the newest entry that names the state of its place; 0 when there is none. */
    static long newestPlaced(Rocks rocks) throws StoreException {
        byte[] row = rocks.get(Column.META, NEWEST_PLACED);
        if (row != null && row.length != Long.BYTES) {
            throw StoreException.corrupt("the row of the newest snapshot has " + row.length + " bytes");
        }
        return row == null ? 0 : Keys.getU64(row, 0);
    }

    /** Key of a snapshot's row in the family {@code meta}. */
    static byte[] rowKey(String id) {
        byte[] idBytes = id.getBytes(US_ASCII);
        byte[] key = Arrays.copyOf(ROW_PREFIX, ROW_PREFIX.length + idBytes.length);
        System.arraycopy(idBytes, 0, key, ROW_PREFIX.length, idBytes.length);
        return key;
    }

    /** The row of a snapshot whose entry is at {@code position}; {@code state} is a node's checkpoint of the entry before, null where the entry signs the state. */
    static byte[] row(long position, byte @Nullable [] state) {
        byte[] row = new byte[Long.BYTES + (state == null ? 0 : state.length)];
        Keys.putU64(row, 0, position);
        if (state != null) {
            System.arraycopy(state, 0, row, Long.BYTES, state.length);
        }
        return row;
    }

    /** Position of the entry that a row leads to; CORRUPT when it is none. */
    static long position(byte[] row) throws StoreException {
        if (row.length < Long.BYTES) {
            throw StoreException.corrupt("the row of a snapshot has " + row.length + " bytes");
        }
        return Keys.getU64(row, 0);
    }

    /** What a row says of the state; null where it says nothing. */
    static byte @Nullable [] state(byte[] row) {
        return row.length <= Long.BYTES ? null : Arrays.copyOfRange(row, Long.BYTES, row.length);
    }

    /** The state that the snapshot {@code body} of {@code entry} names; CORRUPT when its row does not prove it. */
    static StateRoot state(SnapshotBody body, LogEntry entry, byte[] row, Authority authority) throws StoreException {
        StateRoot signed = body.root();
        byte[] told = state(row);
        if (position(row) != entry.position()) {
            throw StoreException.corrupt("the row of a snapshot leads to another entry");
        }
        if (signed != null && told == null) {
            return signed;
        }
        if (signed == null && told != null) {
            return stateBefore(entry, told, authority);
        }
        throw StoreException.corrupt("the row of a snapshot has " + row.length + " bytes");
    }

    /** The state before {@code entry}, as a node of the tree has told it in a signed checkpoint; CORRUPT when it has not. */
    static StateRoot stateBefore(LogEntry entry, byte[] signed, Authority authority) throws StoreException {
        String what = "the state of the snapshot at position " + entry.position();
        try {
            Checkpoint told = Checkpoint.verify(signed, rootDomain(authority).domain(), authority);
            if (told == null
                    || told.position() != entry.position() - 1
                    || !told.logHash().equals(entry.previous())) {
                throw StoreException.corrupt(what + " is told of another log");
            }
            return told.root();
        } catch (CryptoException e) {
            throw StoreException.corrupt(what + ": " + e.getMessage());
        } catch (StoreException e) {
            throw e.code() == StoreException.Code.INVALID ? StoreException.corrupt(what + ": " + e.getMessage()) : e;
        }
    }

    private static DomainRecord rootDomain(Authority authority) throws StoreException {
        DomainRecord root = authority.rootDomain();
        if (root == null) {
            throw StoreException.corrupt("the tree has no root domain");
        }
        return root;
    }

    /** The snapshot that an entry of the log begins or ends; CORRUPT when it is not by a node of the tree. */
    static SnapshotBody verify(LogEntry entry, TreeId tree, Authority authority) throws StoreException {
        if (entry.kind() != LogKind.SNAPSHOT) {
            throw StoreException.corrupt("log entry " + entry.position() + " is no snapshot");
        }
        try {
            return verify(entry.payload(), entry.position(), entry.timeMillis(), tree, authority);
        } catch (StoreException e) {
            throw StoreException.corrupt("snapshot at position " + entry.position() + ": " + e.getMessage());
        }
    }

    /** As above, of what is to be an entry; DENIED or INVALID when it cannot be. */
    private static SnapshotBody verify(byte[] signed, long position, long timeMillis, TreeId tree, Authority authority)
            throws StoreException {
        try {
            SignedEnvelope envelope = SignedEnvelope.parse(signed);
            SnapshotBody body = SnapshotBody.parse(envelope.body());
            if (!body.tree().equals(tree)) {
                throw StoreException.invalid("it is of tree " + body.tree());
            }
            if (body.position() >= position) {
                throw StoreException.invalid("it is of a later state");
            }
            envelope.verify(SignatureKind.SNAPSHOT, signer(envelope, position, timeMillis, authority));
            return body;
        } catch (CryptoException e) {
            throw Ledger.failure("a snapshot", e);
        }
    }

    /** The keys of the signer, when it could run a node of the tree at this place of the log. */
    private static PrincipalKeys signer(SignedEnvelope envelope, long position, long timeMillis, Authority authority)
            throws CryptoException, StoreException {
        DomainRecord root = rootDomain(authority);
        CryptoException refusal = null;
        for (WriteCapabilityChain chain : authority.chainsOf(envelope.signer())) {
            try {
                return authority.checkRights(
                        envelope.signer(), chain.id(), root.domain(), Rights.NODE, position, timeMillis);
            } catch (CryptoException e) {
                refusal = e;
            }
        }
        if (refusal != null) {
            throw refusal;
        }
        throw new StoreException(
                StoreException.Code.DENIED, "its signer " + envelope.signer() + " holds no capability");
    }

    // ---- those in force ----

    /** All snapshots, oldest first. */
    List<SnapshotInfo> list() {
        return held.stream().map(Held::info).toList();
    }

    /**
     * False when there is a snapshot of which it cannot be told what it pins: nothing may be collected then, until the owner gives it
     * up by {@link #delete deleting} it under its id, which the event {@code snapshot_corrupt} names.
     */
    boolean areReadable() {
        return unreadable.isEmpty();
    }

    /** Log positions whose versions are pinned, ascending. Not to be changed. */
    long[] positions() {
        return positions;
    }

    /** The version of the state map that a snapshot names; NOT_FOUND when it has been deleted. */
    StateRoot root(SnapshotInfo info) throws StoreException {
        for (Held one : held) {
            if (one.info.position() == info.position() && one.info.stateRoot().equals(info.stateRoot())) {
                return one.root;
            }
        }
        throw new StoreException(
                StoreException.Code.NOT_FOUND, "the snapshot of position " + info.position() + " is deleted");
    }

    private @Nullable Held find(byte[] name) {
        for (Held one : held) {
            if (Arrays.equals(one.info.name(), name)) {
                return one;
            }
        }
        return null;
    }

    private synchronized void publish(List<Held> snapshots) {
        List<Held> sorted = new ArrayList<>(snapshots);
        sorted.sort(Comparator.comparingLong(s -> s.info.madePosition()));
        held = List.copyOf(sorted);
        publishPositions();
    }

    private synchronized void publishPositions() {
        positions = LongStream.concat(
                        held.stream().mapToLong(s -> s.root.position()),
                        pins.stream().mapToLong(StatePin::position))
                .sorted()
                .toArray();
    }

    private synchronized void add(Held one) {
        List<Held> with = new ArrayList<>(held);
        with.removeIf(other -> other.body.id().equals(one.body.id()));
        with.add(one);
        publish(with);
    }

    private synchronized void remove(String id) {
        Set<String> left = new HashSet<>(unreadable);
        left.remove(id);
        unreadable = Set.copyOf(left);
        List<Held> without = new ArrayList<>(held);
        without.removeIf(other -> other.body.id().equals(id));
        publish(without);
    }

    /** A name that this node has no key for shows as the id. */
    private Held held(SnapshotBody body, LogEntry entry, StateRoot root) {
        return held(body, entry.position(), entry.timeMillis(), root);
    }

    private Held held(SnapshotBody body, long position, long timeMillis, StateRoot root) {
        byte[] name;
        try {
            name = keys.domainKey(ledger.rootDomain(), body.epoch()).openName(body.nameSealed());
        } catch (CryptoException e) {
            name = body.id().getBytes(US_ASCII);
        }
        long time = body.root() == null ? timeMillis : body.timeMillis();
        return new Held(body, new SnapshotInfo(name, position, root.position(), root.hash(), time), root);
    }

    // ---- pins ----

    /** Pins the newest state on this node. */
    StatePin pin(Upkeep upkeep) throws StoreException {
        StatePin[] made = new StatePin[1];
        // pinned before any commit can supersede what it names
        ledger.atCheckpoint(root -> made[0] = pinned(new StatePin(upkeep, root)));
        return made[0];
    }

    private synchronized StatePin pinned(StatePin pin) {
        pins.add(pin);
        publishPositions();
        return pin;
    }

    /** False when it was unpinned before. */
    synchronized boolean unpin(StatePin pin) {
        boolean was = pins.remove(pin);
        publishPositions();
        return was;
    }

    /** NOT_FOUND when it is unpinned. */
    synchronized StateRoot root(StatePin pin) throws StoreException {
        if (!pins.contains(pin)) {
            throw new StoreException(
                    StoreException.Code.NOT_FOUND, "the state of position " + pin.position() + " is not pinned");
        }
        return pin.root();
    }

    // ---- beginning and ending ----

    /**
     * Names the present state; CONFLICT when there is a snapshot of that name. On the device when it returns.
     *
     * @param cluster that orders the log; null on a lone node
     */
    SnapshotInfo create(byte[] name, @Nullable LogPort cluster) throws StoreException {
        if (name.length == 0 || name.length > DomainKey.NAME_SIZE_MAX) {
            throw StoreException.invalid(
                    "the name of a snapshot has 1 to " + DomainKey.NAME_SIZE_MAX + " bytes, not " + name.length);
        }
        try {
            return cluster == null ? createHere(name) : createIn(cluster, name);
        } catch (CryptoException e) {
            throw Ledger.failure("name of a snapshot", e);
        }
    }

    private SnapshotInfo createHere(byte[] name) throws StoreException, CryptoException {
        making.lock();
        String id = newId();
        try {
            checkFree(name);
            DomainKey domainKey = keys.currentKey(ledger.rootDomain());
            byte[] sealed = domainKey.sealName(name);
            ledger.appendAtCheckpoint(LogKind.SNAPSHOT, (state, signedState, position, timeMillis, batch) -> {
                SnapshotBody body = new SnapshotBody(
                        ledger.tree(),
                        id,
                        sealed,
                        domainKey.epoch(),
                        state.position(),
                        state.hash(),
                        timeMillis,
                        false);
                begin(body, position, timeMillis, state, null, batch);
                return sign(body);
            });
            SnapshotInfo made = made(id);
            begun(id, made.position());
            return made;
        } catch (StoreException | RuntimeException e) {
            remove(id);
            throw e;
        } finally {
            making.unlock();
        }
    }

    /** Proposed again when another snapshot came before it: that one may have the name. */
    private SnapshotInfo createIn(LogPort cluster, byte[] name) throws StoreException, CryptoException {
        ledger.checkWritable();
        while (true) {
            long seen = ledger.headPosition(); // before the look at the names: those up to there are among them
            checkFree(name);
            DomainKey domainKey = keys.currentKey(ledger.rootDomain());
            String id = newId();
            byte[] signed = sign(new SnapshotBody(
                    ledger.tree(),
                    id,
                    domainKey.sealName(name),
                    domainKey.epoch(),
                    seen,
                    null,
                    ledger.nowMillis(),
                    false));
            try {
                cluster.change(OrderedChange.ofSnapshot(signed).encode());
                return made(id);
            } catch (StoreException e) {
                if (e.code() != StoreException.Code.CONFLICT || newestPlaced <= seen) {
                    throw e;
                }
            }
        }
    }

    private SnapshotInfo made(String id) throws StoreException {
        for (Held one : held) {
            if (one.body.id().equals(id)) {
                return one.info;
            }
        }
        throw new StoreException(StoreException.Code.NOT_FOUND, "the snapshot was deleted as soon as it was made");
    }

    private void checkFree(byte[] name) throws StoreException {
        if (find(name) != null) {
            throw new StoreException(StoreException.Code.CONFLICT, "there is a snapshot of that name");
        }
    }

    private static String newId() {
        byte[] id = new byte[SnapshotBody.ID_SIZE];
        RANDOM.nextBytes(id);
        return HexFormat.of().formatHex(id);
    }

    private byte[] sign(SnapshotBody body) {
        return ledger.node().sign(SignatureKind.SNAPSHOT, body.encode()).toBytes();
    }

    /** Ends the snapshot of that name; NOT_FOUND when there is none. What only it needs is collected later. */
    void delete(byte[] name, @Nullable LogPort cluster) throws StoreException {
        Held found = find(name);
        String id = found == null ? new String(name, US_ASCII) : found.body.id();
        if (found == null && !unreadable.contains(id)) {
            throw new StoreException(StoreException.Code.NOT_FOUND, "there is no snapshot of that name");
        }
        ledger.checkWritable();
        if (cluster != null && isId(id)) {
            SnapshotBody body =
                    found == null ? new SnapshotBody(ledger.tree(), id, new byte[0], 1, 0, null, 0, false) : found.body;
            cluster.change(OrderedChange.ofSnapshot(sign(body.deletedAt(ledger.nowMillis())))
                    .encode());
        } else if (found == null) {
            giveUp(id);
        } else {
            deleteHere(found.body);
        }
    }

    /** The key of a row that was damaged may be anything. */
    private static boolean isId(String id) {
        return id.matches("[0-9a-f]{" + 2 * SnapshotBody.ID_SIZE + "}");
    }

    private void deleteHere(SnapshotBody body) throws StoreException {
        making.lock();
        try {
            if (held.stream().noneMatch(one -> one.body.id().equals(body.id()))) {
                throw new StoreException(StoreException.Code.NOT_FOUND, "there is no snapshot of that name");
            }
            ledger.appendAtCheckpoint(LogKind.SNAPSHOT, (state, signedState, position, timeMillis, batch) -> {
                batch.delete(ledger.rocks().family(Column.META), rowKey(body.id()));
                return sign(body.deletedAt(timeMillis));
            });
            end(body.id());
        } finally {
            making.unlock();
        }
    }

    /** Deletes the row of a snapshot that cannot be read. */
    private void giveUp(String id) throws StoreException {
        ledger.rocks().delete(Column.META, rowKey(id));
        end(id);
    }

    /** Before any commit can supersede what it names. */
    private void begin(
            SnapshotBody body,
            long position,
            long timeMillis,
            StateRoot state,
            byte @Nullable [] signedState,
            WriteBatch batch)
            throws RocksDBException {
        batch.put(ledger.rocks().family(Column.META), rowKey(body.id()), row(position, signedState));
        add(held(body, position, timeMillis, state));
    }

    private static void begun(String id, long position) {
        log.atInfo()
                .addKeyValue("snapshot", id)
                .addKeyValue("position", position)
                .log("snapshot_created");
    }

    private void end(String id) {
        remove(id);
        log.atInfo().addKeyValue("snapshot", id).log("snapshot_deleted");
    }

    // ---- what a cluster has put in order ----

    /** Where an entry came to lie, and whether it has ended a snapshot. */
    record Applied(CommitPort.Placed placed, boolean ended) {}

    /** As {@link ReplicatedLog#applyChange}. */
    Applied apply(Order order, byte[] signed) throws StoreException {
        ledger.checkWritable();
        SnapshotBody body;
        try {
            body = judge(signed, ledger.next(order));
        } catch (StoreException e) {
            throw ledger.refused(order, e);
        }
        // What fails from here on fails on this node only.
        try {
            CommitPort.Placed placed = ledger.applyAtCheckpoint(
                    order, LogKind.SNAPSHOT, (state, signedState, position, timeMillis, batch) -> {
                        if (body.deleted()) {
                            batch.delete(ledger.rocks().family(Column.META), rowKey(body.id()));
                        } else {
                            batch.put(ledger.rocks().family(Column.META), NEWEST_PLACED, Keys.u64(position));
                            begin(body, position, timeMillis, state, signedState, batch);
                        }
                        return signed;
                    });
            if (body.deleted()) {
                end(body.id());
            } else {
                newestPlaced = placed.position();
                begun(body.id(), placed.position() - 1);
            }
            return new Applied(placed, body.deleted());
        } catch (StoreException e) {
            if (!body.deleted()) {
                remove(body.id());
            }
            throw e.isRefusal()
                    ? new StoreException(
                            StoreException.Code.READ_ONLY, "this node can make no snapshot: " + e.getMessage(), e)
                    : e;
        }
    }

    /**
     * From the record, its place and the log below it alone, so that all nodes come to the same: rows may be damaged on one of them. An end is taken whatever it
     * ends. A beginning must have seen every other beginning: so no name comes twice, and no record is taken twice.
     */
    private SnapshotBody judge(byte[] signed, CommitPort.Placed place) throws StoreException {
        SnapshotBody body = verify(signed, place.position(), place.timeMillis(), ledger.tree(), ledger.authority());
        if (!body.deleted() && body.stateRoot() != null) {
            throw StoreException.invalid("a snapshot in a cluster names the state of its place in the log");
        }
        if (!body.deleted() && newestPlaced > body.position()) {
            throw new StoreException(
                    StoreException.Code.CONFLICT, "another snapshot was made at position " + newestPlaced);
        }
        return body;
    }
}
