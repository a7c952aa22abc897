package blocktree.bench;

import java.time.Duration;
import java.util.Locale;

/** What a row's figure counts. */
enum Unit {
    /** 10^6 bytes per second; work is in bytes. */
    MEGABYTES_PER_SECOND("MB/s", true, "s/GiB"),
    /** Work is a number of operations. */
    OPERATIONS_PER_SECOND("op/s", true, "µs/op"),
    /** Of the whole, whatever the work. */
    SECONDS("s", false, "s");

    private static final double GIB = 1 << 30;

    private final String label;
    private final boolean higherIsBetter;
    private final String processorLabel;

    Unit(String label, boolean higherIsBetter, String processorLabel) {
        this.label = label;
        this.higherIsBetter = higherIsBetter;
        this.processorLabel = processorLabel;
    }

    String label() {
        return label;
    }

    String processorLabel() {
        return processorLabel;
    }

    double figure(long work, Duration elapsed) {
        double seconds = elapsed.toNanos() / 1e9;
        return switch (this) {
            case MEGABYTES_PER_SECOND -> work / 1e6 / seconds;
            case OPERATIONS_PER_SECOND -> work / seconds;
            case SECONDS -> seconds;
        };
    }

    /** Processor time by {@link #processorLabel}. */
    double processor(long work, Duration time) {
        double seconds = time.toNanos() / 1e9;
        return switch (this) {
            case MEGABYTES_PER_SECOND -> seconds / (work / GIB);
            case OPERATIONS_PER_SECOND -> seconds * 1e6 / work;
            case SECONDS -> seconds;
        };
    }

    /** How many times as good {@code figure} is as {@code other}; above 1 is better, whichever way the unit counts. */
    double ratio(double figure, double other) {
        return higherIsBetter ? figure / other : other / figure;
    }

    /** Three significant digits and a suffix for thousands, such as {@code 0.314}, {@code 27.1} or {@code 43.9k}. */
    static String format(double value) {
        if (value >= 99_950) {
            return String.format(Locale.ROOT, "%.0fk", value / 1000);
        }
        if (value >= 9_995) {
            return String.format(Locale.ROOT, "%.1fk", value / 1000);
        }
        int decimals = value >= 99.95 ? 0 : value >= 9.995 ? 1 : value >= 0.9995 ? 2 : 3;
        return String.format(Locale.ROOT, "%." + decimals + "f", value);
    }
}
