package blocktree.store;

import blocktree.crypto.BlockId;
import blocktree.crypto.Id;
import blocktree.store.BlockCheck.OrphanPolicy;
import blocktree.store.Finding.Kind;
import blocktree.store.Finding.Severity;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import org.jspecify.annotations.Nullable;
import org.rocksdb.RocksIterator;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads the whole store again and again, slowly, and verifies it, so that a failing disk is noticed while other copies are still good:
 * every kept header, node and sector, block by block. Goes on after a restart where it was. Each damaged block is an event {@code
 * block_corrupt}, each round ends with {@code scrub_finished}. Thread-safe.
 */
public final class Scrub implements AutoCloseable {

    private static final Logger log = LoggerFactory.getLogger(Scrub.class);

    static final byte[] CURSOR = LocalTable.key("scrub", new byte[] {'c'});

    private final BlockStore store;
    private final ReentrantLock lock = new ReentrantLock(); // guards thread and pace
    private final ReentrantLock round = new ReentrantLock(); // one round at a time
    private @Nullable Thread thread;
    private Pace pace = new Pace(Long.MAX_VALUE);
    private volatile boolean closed;

    private final AtomicLong bytes = new AtomicLong();
    private final AtomicLong rounds = new AtomicLong();
    private final AtomicLong errors = new AtomicLong();

    Scrub(BlockStore store) {
        this.store = store;
    }

    /** Nobody names orphans here: while the store works, some only wait for their commit or the collector. */
    private static final class NoOrphans implements OrphanPolicy {

        @Override
        public boolean looksAt(BlockId block) {
            return false;
        }

        @Override
        public List<Garbage> pending(BlockId block) {
            return List.of();
        }

        @Override
        public void found(Kind kind, BlockId block, String detail, Column column, byte[] key, boolean useless) {
            throw new IllegalStateException("orphans are not looked at");
        }

        @Override
        public void damaged(BlockId block) {}
    }

    /**
     * Starts scrubbing in the background, round after round with {@code pauseMillis} between them; anew when it runs already. {@code
     * bytesPerSecond} bounds what it reads.
     */
    public void start(long bytesPerSecond, long pauseMillis) {
        stop();
        lock.lock();
        try {
            if (closed) {
                return;
            }
            Pace own = new Pace(bytesPerSecond);
            Thread scrubber = new Thread(() -> run(own, pauseMillis), "blocktree-scrub");
            scrubber.setDaemon(true);
            pace = own;
            thread = scrubber;
            scrubber.start();
        } finally {
            lock.unlock();
        }
    }

    /** Ends what {@link #start} started; the next start goes on where it was. */
    public void stop() {
        Thread scrubber;
        lock.lock();
        try {
            pace.stop();
            scrubber = thread;
            thread = null;
        } finally {
            lock.unlock();
        }
        if (scrubber != null) {
            try {
                scrubber.join();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** Whether the background thread runs. */
    public boolean isRunning() {
        lock.lock();
        try {
            return thread != null;
        } finally {
            lock.unlock();
        }
    }

    /** Verifies from where the last round was left to the end, at full speed; gives the number of errors. */
    public long runOnce() throws StoreException {
        Pace own = new Pace(Long.MAX_VALUE);
        return round(own);
    }

    long bytes() {
        return bytes.get();
    }

    long rounds() {
        return rounds.get();
    }

    long errors() {
        return errors.get();
    }

    private void run(Pace own, long pauseMillis) {
        do {
            try {
                round(own);
            } catch (StoreException e) {
                if (!own.isStopped() && e.code() != StoreException.Code.CLOSED) {
                    log.atWarn().addKeyValue("reason", e.getMessage()).log("scrub_failed");
                }
            }
        } while (own.idle(Math.max(pauseMillis, 1)));
    }

    private long round(Pace own) throws StoreException {
        round.lock();
        try {
            long before = errors.get();
            byte[] from = cursor();
            long blocks = 0;
            while (true) {
                if (own.isStopped() || closed) {
                    throw new StoreException(StoreException.Code.CLOSED, "scrub was ended");
                }
                long errorsBefore = errors.get();
                BlockId checked = checkNext(from, own);
                if (checked == null) {
                    break;
                }
                if (errors.get() > errorsBefore) {
                    heal(checked);
                }
                blocks++;
                byte[] next = Keys.after(checked.toBytes());
                if (next == null) {
                    break;
                }
                from = Arrays.copyOf(next, Id.SIZE);
                keepCursor(from);
            }
            keepCursor(null);
            rounds.incrementAndGet();
            long found = errors.get() - before;
            log.atInfo()
                    .addKeyValue("blocks", blocks)
                    .addKeyValue("errors", found)
                    .log("scrub_finished");
            return found;
        } finally {
            round.unlock();
        }
    }

    /** As far as other nodes have what is damaged. */
    private void heal(BlockId block) throws StoreException {
        try {
            store.heal(block);
        } catch (StoreException e) {
            if (!e.isUnreadable()) {
                throw e;
            }
        }
    }

    /** Where the last round was ended; from the start when that is not known. */
    private byte[] cursor() throws StoreException {
        try {
            byte[] cursor = store.readLocal(CURSOR);
            return cursor == null || cursor.length != Id.SIZE ? new byte[Id.SIZE] : cursor;
        } catch (StoreException e) {
            if (!e.isUnreadable()) {
                throw e;
            }
            report(new Finding(
                    Severity.ERROR, Kind.DATABASE_DAMAGED, store.tree(), String.valueOf(e.getMessage()), false, false));
            return new byte[Id.SIZE];
        }
    }

    private void keepCursor(byte @Nullable [] cursor) throws StoreException {
        if (!store.isReadOnly()) {
            store.writeLocal(CURSOR, cursor);
        }
    }

    /** Checks the first block from {@code from} on; null when there is none. */
    private @Nullable BlockId checkNext(byte[] from, Pace own) throws StoreException {
        try (Gate.Pass pass = store.gate().enter();
                StoreView view = store.ledger().openView();
                RocksIterator it = view.iterator(Column.HEADERS)) {
            it.seek(from);
            if (!it.isValid()) {
                view.checkEnd(it, Column.HEADERS);
                return null;
            }
            BlockId block = BlockCheck.blockOf(it);
            Findings findings = new Findings(this::report, progress -> {}, own);
            try {
                new BlockCheck(
                                view,
                                store.tree(),
                                store.ledger().verifier(),
                                store.keys(),
                                store.cipher(),
                                findings,
                                new NoOrphans(),
                                true)
                        .check(it, null, false);
            } catch (StoreException e) {
                if (!e.isUnreadable()) {
                    throw e;
                }
                findings.error(Kind.DATABASE_DAMAGED, block, e.getMessage());
            } finally {
                bytes.addAndGet(findings.report().sectorBytes());
            }
            return block;
        }
    }

    private void report(Finding finding) {
        errors.incrementAndGet();
        Id subject = finding.subject();
        log.atWarn()
                .addKeyValue("block", subject == null ? "" : subject.toHex())
                .addKeyValue("kind", finding.kind().label())
                .addKeyValue("reason", finding.detail())
                .log("block_corrupt");
    }

    @Override
    public void close() {
        closed = true;
        stop();
    }
}
