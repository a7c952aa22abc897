package blocktree.store;

import blocktree.crypto.Authority;
import blocktree.crypto.Hash;
import blocktree.crypto.Identity;
import blocktree.crypto.TreeId;
import java.io.IOException;
import java.nio.channels.ReadableByteChannel;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.Consumer;

/**
 * Takes over what another node has of a tree: the other end is a {@link StoreSource} (docs/format.md, section 6). All that comes is verified as if it came from
 * a hostile disk, and counts at once at the end or not at all. Afterwards the directory opens with {@link BlockStore#open} for the node that took it over.
 */
public final class StoreTarget {

    /** What there is before anything comes. */
    record Base(long position, long timeMillis, Hash logHash, Hash authorityHash, StateRoot root) {

        static final Base NONE = new Base(0, 0, LogEntry.START, LogEntry.START, StateRoot.EMPTY);
    }

    private StoreTarget() {}

    /**
     * Makes a store in {@code dir}, which is absent or empty, or has what a call of this left that did not come to its end: that is deleted. The channels are
     * in blocking mode, and the caller's to close; closing one ends this with IO.
     *
     * @param tree that the other side must have
     * @param node that will keep the store; the log must grant it to run a node
     * @param progress called a few times a second, on this thread
     * @throws StoreException INVALID when there is a store already, or what comes is out of bounds or out of turn; CORRUPT when it does not verify; DENIED when
     *     {@code node}, the other node, or a writer lacks a right, or it is another tree; IO, NO_SPACE; and what the other side failed of. The directory says
     *     that it is incomplete then
     */
    public static void create(
            Path dir,
            StoreOptions options,
            Identity node,
            TreeId tree,
            ReadableByteChannel in,
            WritableByteChannel out,
            Consumer<TransferProgress> progress)
            throws StoreException {
        TransferStream stream = new TransferStream(in, out, progress);
        try {
            clear(dir, options);
            try (Rocks rocks = new Rocks(dir, options, Rocks.Mode.CREATE)) {
                Takeover.begin(rocks, 0);
                take(rocks, options, node, new Authority(tree), Base.NONE, stream);
            }
        } catch (StoreException e) {
            stream.fail(e);
            throw e;
        }
    }

    /**
     * Brings the store in {@code dir}, which nobody has open, up to the newest state of the other side, whose log must go on from this one's. The channels as
     * in {@link #create}.
     *
     * @throws StoreException as {@link #create} and {@link BlockStore#open}; CONFLICT when the logs differ, or the other side's ends before. The store is as it
     *     was then
     */
    public static void update(
            Path dir,
            StoreOptions options,
            Identity node,
            ReadableByteChannel in,
            WritableByteChannel out,
            Consumer<TransferProgress> progress)
            throws StoreException {
        TransferStream stream = new TransferStream(in, out, progress);
        try {
            if (!Files.isDirectory(dir)) {
                throw new StoreException(StoreException.Code.NOT_FOUND, "no store in " + dir);
            }
            try (Rocks rocks = new Rocks(dir, options, Rocks.Mode.WRITE)) {
                Takeover.recover(rocks, options);
                StateRoot root;
                Authority authority;
                try (Ledger ledger = new Ledger(rocks, options, node)) {
                    root = ledger.checkpoint();
                    authority = new Authority(ledger.tree());
                }
                Base base = base(rocks, Ledger.replay(rocks, authority), root);
                Takeover.begin(rocks, base.position);
                boolean done = false;
                try {
                    take(rocks, options, node, authority, base, stream);
                    done = true;
                } finally {
                    if (!done) {
                        Takeover.undo(rocks, base.position);
                    }
                }
            }
        } catch (StoreException e) {
            stream.fail(e);
            throw e;
        }
    }

    /** What a verified store has, of which {@code records} are the authority records and {@code root} the newest state. */
    static Base base(Rocks rocks, List<LogEntry> records, StateRoot root) throws StoreException {
        byte[] newest = rocks.last(Column.LOG);
        if (newest == null) {
            throw StoreException.corrupt("the store in " + rocks.dir() + " has no log");
        }
        LogEntry entry = LogEntry.parse(newest);
        Hash authorityHash = LogEntry.START;
        for (LogEntry one : records) {
            authorityHash = Ledger.nextAuthorityHash(authorityHash, one);
        }
        return new Base(entry.position(), entry.timeMillis(), entry.hash(), authorityHash, root);
    }

    private static void take(
            Rocks rocks, StoreOptions options, Identity node, Authority authority, Base base, TransferStream stream)
            throws StoreException {
        try (Taking taking = new Taking(rocks, options, node, authority, base, stream)) {
            taking.run();
        }
    }

    /** Leaves {@code dir} empty of a database. */
    private static void clear(Path dir, StoreOptions options) throws StoreException {
        try {
            Files.createDirectories(dir);
            if (!Files.exists(dir.resolve("CURRENT"))) {
                return;
            }
            boolean unfinished;
            try (Rocks rocks = new Rocks(dir, options, Rocks.Mode.SALVAGE)) {
                Long position = Takeover.underWay(rocks);
                // A kill can come before the row.
                unfinished = position == null
                        ? rocks.get(Column.META, Ledger.META_TREE) == null && rocks.last(Column.LOG) == null
                        : position == 0;
            }
            if (!unfinished) {
                throw StoreException.invalid("there is a store in " + dir + " already");
            }
            Rocks.destroy(dir);
        } catch (IOException e) {
            throw new StoreException(StoreException.Code.IO, "cannot make " + dir + ": " + e.getMessage(), e);
        }
    }
}
