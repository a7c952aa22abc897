package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.CryptoException;
import blocktree.crypto.DomainRecord;
import blocktree.crypto.Hash;
import blocktree.crypto.SignedEnvelope;
import blocktree.crypto.TreeId;
import java.util.LinkedHashMap;
import java.util.Map;

/** The log of a store that is being taken over: each entry is verified as it comes, and what follows from it is kept. For one thread. */
final class TakenLog {

    private static final int COMMITS_MAX = 4_096;

    /** A snapshot and the position of the entry that begins it. */
    record PlacedSnapshot(SnapshotBody body, long position) {}

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

    /** Goes on behind the entry {@code base}, which is trusted; {@code authority} has the records up to it. */
    TakenLog(
            Rocks rocks,
            Authority authority,
            IntegrityNodes nodes,
            long base,
            long baseTimeMillis,
            Hash baseHash,
            Hash authorityHash) {
        this.rocks = rocks;
        this.tree = authority.tree();
        this.authority = authority;
        this.verifier = new CommitVerifier(tree, authority, nodes);
        this.base = base;
        this.position = base;
        this.timeMillis = baseTimeMillis;
        this.hash = baseHash;
        this.authorityHash = authorityHash;
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
    void keepSnapshot(SnapshotBody body, long entryPosition) {
        snapshots.put(body.id(), new PlacedSnapshot(body, entryPosition));
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
                    keepSnapshot(body, entry.position());
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
