package blocktree.store;

import static java.nio.charset.StandardCharsets.US_ASCII;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainKey;
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
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/**
 * The snapshots of a tree: signed entries of its log that each name a version of the state map, and so of every block. A row of the
 * family {@code meta} ({@code snapshot/} and the id) tells the position of the entry. Thread-safe.
 */
final class Snapshots {

    private static final Logger log = LoggerFactory.getLogger(Snapshots.class);

    static final byte[] ROW_PREFIX = "snapshot/".getBytes(US_ASCII);
    private static final SecureRandom RANDOM = new SecureRandom();

    /** A snapshot in force. */
    private record Held(SnapshotBody body, SnapshotInfo info) {}

    private final Ledger ledger;
    private final KeyRing keys;
    private final ReentrantLock lock = new ReentrantLock(); // taken before the ledger's locks
    private volatile List<Held> held = List.of(); // oldest first
    private volatile Set<String> unreadable = Set.of(); // ids of rows that lead to no sound entry
    private volatile long[] positions = {};

    /** Reads and verifies what is stored. */
    Snapshots(Ledger ledger, KeyRing keys) throws StoreException {
        this.ledger = ledger;
        this.keys = keys;
        List<Held> found = new ArrayList<>();
        Set<String> damaged = new HashSet<>();
        ledger.rocks().scan(Column.META, ROW_PREFIX, Keys.after(ROW_PREFIX), (key, value) -> {
            try {
                if (value.length != Long.BYTES) {
                    throw StoreException.corrupt("the row of a snapshot has " + value.length + " bytes");
                }
                LogEntry entry = ledger.entry(Keys.getU64(value, 0));
                SnapshotBody body = verify(entry, ledger.tree(), ledger.authority());
                if (!Arrays.equals(rowKey(body.id()), key) || body.deleted()) {
                    throw StoreException.corrupt("the row of a snapshot leads to another entry");
                }
                found.add(new Held(body, info(body, entry.position())));
            } catch (StoreException e) {
                if (!e.isUnreadable() && e.code() != StoreException.Code.INVALID) {
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

    /** The snapshot that an entry of the log begins or ends; CORRUPT when it is not by a node of the tree. */
    static SnapshotBody verify(LogEntry entry, TreeId tree, Authority authority) throws StoreException {
        if (entry.kind() != LogKind.SNAPSHOT) {
            throw StoreException.corrupt("log entry " + entry.position() + " is no snapshot");
        }
        try {
            SignedEnvelope envelope = SignedEnvelope.parse(entry.payload());
            SnapshotBody body = SnapshotBody.parse(envelope.body());
            if (!body.tree().equals(tree)) {
                throw StoreException.corrupt("snapshot at position " + entry.position() + " is of tree " + body.tree());
            }
            if (body.position() >= entry.position()) {
                throw StoreException.corrupt("snapshot at position " + entry.position() + " is of a later state");
            }
            envelope.verify(SignatureKind.SNAPSHOT, signer(envelope, entry, authority));
            return body;
        } catch (CryptoException e) {
            throw StoreException.corrupt("snapshot at position " + entry.position() + ": " + e.getMessage());
        }
    }

    /** The keys of the signer, when it could run a node of the tree at the entry's position. */
    private static PrincipalKeys signer(SignedEnvelope envelope, LogEntry entry, Authority authority)
            throws CryptoException, StoreException {
        var root = authority.rootDomain();
        if (root == null) {
            throw StoreException.corrupt("the tree has no root domain");
        }
        CryptoException refusal = null;
        for (WriteCapabilityChain chain : authority.chainsOf(envelope.signer())) {
            try {
                return authority.checkRights(
                        envelope.signer(),
                        chain.id(),
                        root.domain(),
                        Rights.NODE,
                        entry.position(),
                        entry.timeMillis());
            } catch (CryptoException e) {
                refusal = e;
            }
        }
        if (refusal != null) {
            throw refusal;
        }
        throw StoreException.corrupt("signer " + envelope.signer() + " holds no capability");
    }

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

    /** Names the present state; CONFLICT when there is a snapshot of that name. On the device when it returns. */
    SnapshotInfo create(byte[] name) throws StoreException {
        if (name.length == 0 || name.length > DomainKey.NAME_SIZE_MAX) {
            throw StoreException.invalid(
                    "the name of a snapshot has 1 to " + DomainKey.NAME_SIZE_MAX + " bytes, not " + name.length);
        }
        lock.lock();
        List<Held> before = held;
        try {
            if (find(name) != null) {
                throw new StoreException(StoreException.Code.CONFLICT, "there is a snapshot of that name");
            }
            byte[] idBytes = new byte[SnapshotBody.ID_SIZE];
            RANDOM.nextBytes(idBytes);
            String id = HexFormat.of().formatHex(idBytes);
            DomainKey domainKey = keys.currentKey(ledger.rootDomain());
            byte[] sealed = domainKey.sealName(name);
            ledger.appendAtCheckpoint(LogKind.SNAPSHOT, (root, position, timeMillis, batch) -> {
                SnapshotBody body = new SnapshotBody(
                        ledger.tree(), id, sealed, domainKey.epoch(), root.position(), root.hash(), timeMillis, false);
                batch.put(ledger.rocks().family(Column.META), rowKey(id), Keys.u64(position));
                List<Held> with = new ArrayList<>(before);
                with.add(new Held(
                        body, new SnapshotInfo(name.clone(), position, root.position(), root.hash(), timeMillis)));
                // pinned before any commit can supersede what it names
                publish(with);
                return ledger.node().sign(SignatureKind.SNAPSHOT, body.encode()).toBytes();
            });
            Held made = find(name);
            if (made == null) {
                throw new IllegalStateException("a snapshot that was made is listed");
            }
            log.atLevel(level(name))
                    .addKeyValue("snapshot", id)
                    .addKeyValue("position", made.body.position())
                    .log("snapshot_created");
            return made.info;
        } catch (CryptoException e) {
            publish(before);
            throw Ledger.failure("name of a snapshot", e);
        } catch (StoreException | RuntimeException e) {
            publish(before);
            throw e;
        } finally {
            lock.unlock();
        }
    }

    /** Ends the snapshot of that name; NOT_FOUND when there is none. What only it needs is collected later. */
    void delete(byte[] name) throws StoreException {
        lock.lock();
        try {
            Held found = find(name);
            if (found == null && giveUp(new String(name, US_ASCII))) {
                return;
            }
            if (found == null) {
                throw new StoreException(StoreException.Code.NOT_FOUND, "there is no snapshot of that name");
            }
            String id = found.body.id();
            ledger.appendAtCheckpoint(LogKind.SNAPSHOT, (root, position, timeMillis, batch) -> {
                batch.delete(ledger.rocks().family(Column.META), rowKey(id));
                return ledger.node()
                        .sign(
                                SignatureKind.SNAPSHOT,
                                found.body.deletedAt(timeMillis).encode())
                        .toBytes();
            });
            List<Held> without = new ArrayList<>(held);
            without.remove(found);
            publish(without);
            log.atLevel(level(name)).addKeyValue("snapshot", id).log("snapshot_deleted");
        } finally {
            lock.unlock();
        }
    }

    /** Names with a NUL in front are no person's: a check has made the snapshot for itself. */
    private static Level level(byte[] name) {
        return name[0] == 0 ? Level.DEBUG : Level.INFO;
    }

    /** Deletes the row of a snapshot that cannot be read. */
    private boolean giveUp(String id) throws StoreException {
        if (!unreadable.contains(id)) {
            return false;
        }
        ledger.checkWritable();
        ledger.rocks().delete(Column.META, rowKey(id));
        Set<String> left = new HashSet<>(unreadable);
        left.remove(id);
        unreadable = Set.copyOf(left);
        log.atInfo().addKeyValue("snapshot", id).log("snapshot_deleted");
        return true;
    }

    /** The version of the state map that a snapshot names; NOT_FOUND when it has been deleted. */
    StateRoot root(SnapshotInfo info) throws StoreException {
        for (Held one : held) {
            if (one.info.position() == info.position() && one.info.stateRoot().equals(info.stateRoot())) {
                return one.body.root();
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

    private void publish(List<Held> snapshots) {
        List<Held> sorted = new ArrayList<>(snapshots);
        sorted.sort(Comparator.comparingLong(s -> s.info.madePosition()));
        held = List.copyOf(sorted);
        positions = sorted.stream().mapToLong(s -> s.body.position()).toArray();
    }

    /** A name that this node has no key for shows as the id. */
    private SnapshotInfo info(SnapshotBody body, long madePosition) {
        byte[] name;
        try {
            name = keys.domainKey(ledger.rootDomain(), body.epoch()).openName(body.nameSealed());
        } catch (CryptoException e) {
            name = body.id().getBytes(US_ASCII);
        }
        return new SnapshotInfo(name, madePosition, body.position(), body.stateRoot(), body.timeMillis());
    }

    /** Key of a snapshot's row in the family {@code meta}. */
    static byte[] rowKey(String id) {
        byte[] idBytes = id.getBytes(US_ASCII);
        byte[] key = Arrays.copyOf(ROW_PREFIX, ROW_PREFIX.length + idBytes.length);
        System.arraycopy(idBytes, 0, key, ROW_PREFIX.length, idBytes.length);
        return key;
    }
}
