package blocktree.bench;

import java.time.Duration;

/** One run of a row on one side. */
record Measurement(Duration elapsed, Duration daemonProcessor) {}
