package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainRecord;
import blocktree.crypto.Hash;
import blocktree.crypto.SignedEnvelope;
import blocktree.crypto.TreeId;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** The log of a store that is being taken over: each entry is verified as it comes, and what follows from it is kept. For one thread. */
final class TakenLog {

    private static final int COMMITS_MAX = 4_096;

    /** A snapshot and the entry that begins it; {@code told} is what a node has said of its state where the entry does not sign it, {@code root} that state once it is known. */
    @SuppressWarnings("ArrayRecordComponent") // read-only by agreement, never compared
    record PlacedSnapshot(
            SnapshotBody body,
            LogEntry entry,
            byte @Nullable [] told,
            @Nullable StateRoot root) {

        long position() {
            return entry.position();
        }
    }

    private final Rocks rocks;
    private final TreeId tree;
    private final Authority authority;
    private final CommitVerifier verifier;
    private final Map<String, PlacedSnapshot> snapshots = new LinkedHashMap<>(); // those in force, by id
    private final Map<Long, CommitAt> commits = new Recent<>(COMMITS_MAX);
    private final long base;
    private long position;
    private long timeMillis;
    private Hash hash;
    private Hash authorityHash;
    private long newestPlaced;

    /** Goes on behind the entry {@code base}, which is trusted; {@code authority} has the records up to it. */
    TakenLog(
            Rocks rocks,
            Authority authority,
            IntegrityNodes nodes,
            long base,
            long baseTimeMillis,
            Hash baseHash,
            Hash authorityHash,
            long newestPlaced) {
        this.rocks = rocks;
        this.tree = authority.tree();
        this.authority = authority;
        this.verifier = new CommitVerifier(tree, authority, nodes);
        this.base = base;
        this.position = base;
        this.timeMillis = baseTimeMillis;
        this.hash = baseHash;
        this.authorityHash = authorityHash;
        this.newestPlaced = newestPlaced;
    }

    /** As {@link Snapshots#newestPlaced}, of the log up to here. */
    long newestPlaced() {
        return newestPlaced;
    }

    long position() {
        return position;
    }

    long timeMillis() {
        return timeMillis;
    }

    Hash hash() {
        return hash;
    }

    Hash authorityHash() {
        return authorityHash;
    }

    CommitVerifier verifier() {
        return verifier;
    }

    /** Those in force, by id. */
    Map<String, PlacedSnapshot> snapshots() {
        return snapshots;
    }

    /** A snapshot of before {@link #base}. */
    void keepSnapshot(SnapshotBody body, LogEntry entry, byte[] row) throws StoreException {
        StateRoot root = Snapshots.state(body, entry, row, authority);
        snapshots.put(body.id(), new PlacedSnapshot(body, entry, Snapshots.state(row), root));
    }

    /** What the other side says of the state of a snapshot in force that came without; the log is at its end. */
    void takeState(byte[] signed) throws StoreException {
        long at = verifyCheckpoint(signed).position() + 1;
        for (PlacedSnapshot one : snapshots.values()) {
            if (one.position() == at && one.root == null) {
                StateRoot root = Snapshots.stateBefore(one.entry, signed, authority);
                snapshots.put(one.body.id(), new PlacedSnapshot(one.body, one.entry, signed, root));
                return;
            }
        }
        throw StoreException.corrupt("a state is told of position " + (at - 1) + ", where no snapshot needs it");
    }

    /** Verifies the next entry and stores it. */
    void take(byte[] encoded, IncomingRows rows) throws StoreException {
        LogEntry entry = LogEntry.parse(encoded);
        if (entry.position() != position + 1
                || !entry.previous().equals(hash)
                || entry.timeMillis() < timeMillis
                || (entry.position() == 1) != (entry.kind() == LogKind.GENESIS)) {
            throw StoreException.corrupt(
                    "log entry " + entry.position() + " does not follow the one before, " + position);
        }
        try {
            verify(entry);
        } catch (StoreException e) {
            throw e.code() == StoreException.Code.INVALID
                    ? StoreException.corrupt("log entry " + entry.position() + ": " + e.getMessage())
                    : e;
        }
        position = entry.position();
        timeMillis = entry.timeMillis();
        hash = entry.hash();
        rows.put(Column.LOG, Keys.log(position), encoded);
        if (entry.kind().isAuthority()) {
            authorityHash = Ledger.nextAuthorityHash(authorityHash, entry);
            rows.put(Column.AUTHORITY, Keys.log(position), encoded);
        }
    }

    private void verify(LogEntry entry) throws StoreException {
        switch (entry.kind()) {
            case GENESIS, DOMAIN, EPOCH, WRITECAP_CHAIN, READCAP, REVOCATION, ROTATION, NODE -> {
                try {
                    authority.apply(entry.kind().number(), entry.payload(), entry.position(), entry.timeMillis());
                } catch (CryptoException e) {
                    throw Ledger.failure(entry.kind() + " record at position " + entry.position(), e);
                }
            }
            case COMMIT -> verifier.verifySignature(entry.payload());
            case SNAPSHOT -> {
                SnapshotBody body = Snapshots.verify(entry, tree, authority);
                if (body.deleted()) {
                    snapshots.remove(body.id());
                } else {
                    snapshots.put(body.id(), new PlacedSnapshot(body, entry, null, body.root()));
                    newestPlaced = body.root() == null ? entry.position() : newestPlaced;
                }
            }
            case CHECKPOINT -> verifyCheckpoint(entry.payload());
        }
    }

    /** The body of a checkpoint of this tree that is signed by a node that had the right to. */
    Checkpoint verifyCheckpoint(byte[] encoded) throws StoreException {
        try {
            Checkpoint made = Checkpoint.verify(encoded, rootDomain().domain(), authority);
            if (made == null) {
                throw new StoreException(
                        StoreException.Code.DENIED, "a checkpoint is of another tree or issuer than it says");
            }
            return made;
        } catch (CryptoException e) {
            throw Ledger.failure("checkpoint", e);
        }
    }

    DomainRecord rootDomain() throws StoreException {
        DomainRecord root = authority.rootDomain();
        if (root == null) {
            throw StoreException.corrupt("the log founds no root domain");
        }
        return root;
    }

    /** A commit that was taken, as it is in the database. */
    CommitAt commit(long at) throws StoreException {
        CommitAt known = commits.get(at);
        if (known != null) {
            return known;
        }
        byte[] encoded = at <= base || at > position ? null : rocks.get(Column.LOG, Keys.log(at));
        LogEntry entry = encoded == null ? null : LogEntry.parse(encoded);
        if (entry == null || entry.kind() != LogKind.COMMIT) {
            throw StoreException.corrupt("a header names log entry " + at + ", which is no commit that came");
        }
        try {
            CommitAt commit = new CommitAt(
                    CommitBody.parse(SignedEnvelope.parse(entry.payload()).body()), entry.timeMillis());
            commits.put(at, commit);
            return commit;
        } catch (CryptoException e) {
            throw Ledger.failure("commit at position " + at, e);
        }
    }
}
