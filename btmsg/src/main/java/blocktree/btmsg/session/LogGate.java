package blocktree.btmsg.session;

/** Lets so many lines pass in so much time: strangers do not fill the log. Thread-safe. */
final class LogGate {
    private final int linesMax;
    private final long periodNanos;

    // guarded by this
    private long beganNanos = System.nanoTime();
    private int lines;

    LogGate(int linesMax, long periodMillis) {
        this.linesMax = linesMax;
        this.periodNanos = periodMillis * 1_000_000;
    }

    synchronized boolean mayLog() {
        long now = System.nanoTime();
        if (now - beganNanos >= periodNanos) {
            beganNanos = now;
            lines = 0;
        }
        return ++lines <= linesMax;
    }
}
