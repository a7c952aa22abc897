package blocktree.node;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Timer;
import java.util.TimerTask;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/** How far a long command is, on one line that is written over and over while a person watches it on a terminal; nothing for anybody else, and nothing for what is done within two seconds. Thread-safe. */
final class ProgressLine implements AutoCloseable {
    private static final long QUIET_NANOS = 2_000_000_000L;
    private static final long INTERVAL_NANOS = 200_000_000L;
    private static final long TICK_MILLIS = 1000;
    private static final String CLEAR_LINE = "\r\033[K";
    private static final double MEBIBYTE = 1 << 20;

    private final boolean watched;
    private final PrintStream out;
    private final LongSupplier clock;
    private final long startNanos;
    private long shownNanos;
    private boolean shown;
    private @Nullable Timer ticks;

    /** On standard error. */
    ProgressLine() {
        this(isTerminal(2), System.err, System::nanoTime);
    }

    /** Says until it is closed what is being done and for how long by now, where there is nothing to count. Nothing else may print meanwhile. */
    static ProgressLine during(String phase) {
        return new ProgressLine().tick(phase);
    }

    ProgressLine(boolean watched, PrintStream out, LongSupplier clock) {
        this.watched = watched;
        this.out = out;
        this.clock = clock;
        startNanos = clock.getAsLong();
    }

    /** Whether a descriptor of this process is a terminal. */
    static boolean isTerminal(int descriptor) {
        try {
            Path file = Files.readSymbolicLink(Path.of("/proc/self/fd/" + descriptor));
            return file.startsWith("/dev/pts") || file.startsWith("/dev/tty") || file.startsWith("/dev/console");
        } catch (IOException e) {
            return false;
        }
    }

    synchronized ProgressLine tick(String phase) {
        if (watched) {
            ticks = new Timer("progress", true);
            TimerTask task = new TimerTask() {
                @Override
                public void run() {
                    showTime(phase);
                }
            };
            ticks.schedule(task, QUIET_NANOS / 1_000_000, TICK_MILLIS);
        }
        return this;
    }

    private synchronized void showTime(String phase) {
        if (ticks != null) { // else it was closed meanwhile
            show(phase + "  " + (clock.getAsLong() - startNanos) / 1_000_000_000L + " s");
        }
    }

    /** @param totalBytes about; 0 when it is not known */
    synchronized void show(String phase, long doneBytes, long totalBytes) {
        long now = clock.getAsLong();
        if (!watched || now - startNanos < QUIET_NANOS || shown && now - shownNanos < INTERVAL_NANOS) {
            return;
        }
        shown = true;
        shownNanos = now;
        double seconds = (now - startNanos) / 1e9;
        double perSecond = doneBytes / seconds;
        StringBuilder text =
                new StringBuilder(CLEAR_LINE).append("%s  %,.0f MiB".formatted(phase, doneBytes / MEBIBYTE));
        if (totalBytes > 0) {
            // Other things are written meanwhile, so the total is an estimate.
            double part = Math.min(0.99, (double) doneBytes / totalBytes);
            text.append(" of about %,.0f (%.0f %%)".formatted(totalBytes / MEBIBYTE, 100 * part));
        }
        text.append("  %,.0f MiB/s".formatted(perSecond / MEBIBYTE));
        if (totalBytes > doneBytes && doneBytes > 0) {
            text.append("  ")
                    .append(timeLeft((totalBytes - doneBytes) / perSecond))
                    .append(" left");
        }
        out.print(text);
        out.flush();
    }

    /** What is being done, where there is nothing to count; at once. */
    synchronized void show(String phase) {
        if (watched) {
            shown = true;
            out.print(CLEAR_LINE + phase);
            out.flush();
        }
    }

    private static String timeLeft(double seconds) {
        Duration left = Duration.ofSeconds((long) Math.ceil(seconds));
        return left.toHours() > 0
                ? left.toHours() + " h " + left.toMinutesPart() + " min"
                : left.toMinutes() > 0
                        ? left.toMinutes() + " min " + left.toSecondsPart() + " s"
                        : left.toSeconds() + " s";
    }

    /** Takes the line away, so that something else can be printed. */
    synchronized void clear() {
        if (shown) {
            out.print(CLEAR_LINE);
            out.flush();
            shown = false;
        }
    }

    @Override
    public synchronized void close() {
        if (ticks != null) {
            ticks.cancel();
            ticks = null;
        }
        clear();
    }
}
