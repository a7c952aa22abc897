package blocktree.btmsg.session;

import java.util.concurrent.atomic.LongAdder;

/** What has happened with one peer, over all its sessions. */
final class PeerCounters {
    final LongAdder requests = new LongAdder();
    final LongAdder failures = new LongAdder();
    final LongAdder sessions = new LongAdder();
    /** Of sessions that are over. */
    final LongAdder bytesIn = new LongAdder();

    final LongAdder bytesOut = new LongAdder();
}
