package blocktree.store;

import blocktree.crypto.Id;
import blocktree.store.Finding.Kind;
import blocktree.store.Finding.Severity;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** What one check has looked at and found so far. Hands findings on as they come, keeps to a rate, and ends the check when told to. */
final class Findings {

    private static final long PROGRESS_NANOS = TimeUnit.SECONDS.toNanos(1);

    private final Consumer<Finding> consumer;
    private final Consumer<FsckReport> progress;
    private final Pace pace;
    private long progressNanos = System.nanoTime();

    long logEntries;
    long blocks;
    long headers;
    long nodes;
    long sectors;
    long sectorBytes;
    long sealedBlocks;
    private long errors;
    private long warnings;
    private long repaired;

    Findings(Consumer<Finding> consumer, Consumer<FsckReport> progress, Pace pace) {
        this.consumer = consumer;
        this.progress = progress;
        this.pace = pace;
    }

    void error(Kind kind, @Nullable Id subject, @Nullable String detail) {
        add(new Finding(Severity.ERROR, kind, subject, String.valueOf(detail), false, false));
    }

    void add(Finding finding) {
        if (finding.severity() == Severity.ERROR) {
            errors++;
        } else {
            warnings++;
        }
        if (finding.repaired()) {
            repaired++;
        }
        consumer.accept(finding);
    }

    /** To be called for each piece of work; CLOSED when the check is to end. */
    void step() throws StoreException {
        if (pace.isStopped()) {
            throw new StoreException(StoreException.Code.CLOSED, "the check was ended");
        }
        long now = System.nanoTime();
        if (now - progressNanos >= PROGRESS_NANOS) {
            progressNanos = now;
            progress.accept(report());
        }
    }

    void sectorRead(int sizeBytes) throws StoreException {
        sectors++;
        sectorBytes += sizeBytes;
        pace.spend(sizeBytes);
        step();
    }

    FsckReport report() {
        return new FsckReport(
                logEntries, blocks, headers, nodes, sectors, sectorBytes, sealedBlocks, errors, warnings, repaired);
    }
}
