package blocktree.cluster;

import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Whether this node is cut off from the majority: it has heard of no leader for longer than the choice of one takes. Thread-safe. */
final class LeaderWatch {
    private static final Logger log = LoggerFactory.getLogger(LeaderWatch.class);

    /** Two elections, should the first one come to nothing. */
    private static final long ELECTIONS_MILLIS = 3_000;

    /** No more counts between two looks: a process or machine that stood still has not missed anybody meanwhile. */
    private static final long LOOK_MILLIS_MAX = 1_500;

    // All below is guarded by this.
    private long lookedNanos = System.nanoTime();
    private long missedMillis;

    /** To be called several times a second. */
    synchronized void look(boolean hasLeader) {
        long nowNanos = System.nanoTime();
        long passedMillis = TimeUnit.NANOSECONDS.toMillis(nowNanos - lookedNanos);
        boolean before = isCutOff();
        lookedNanos = nowNanos;
        if (!hasLeader) {
            missedMillis += Math.min(passedMillis, LOOK_MILLIS_MAX);
            if (!before && isCutOff()) {
                log.atWarn().log("majority_lost");
            }
            return;
        }
        if (before) {
            log.atInfo().addKeyValue("lasted_millis", missedMillis).log("majority_back");
        }
        missedMillis = 0;
    }

    synchronized boolean isCutOff() {
        return missedMillis > ELECTIONS_MILLIS;
    }

    /** For how long it has been so; 0: it is not. */
    synchronized long cutOffMillis() {
        return isCutOff() ? missedMillis : 0;
    }
}
