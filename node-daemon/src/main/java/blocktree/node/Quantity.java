package blocktree.node;

import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Sizes and times as people write them: {@code 64M}, {@code 7d}. */
final class Quantity {
    private static final Pattern FORM = Pattern.compile("(\\d{1,15})([a-zA-Z]*)");
    private static final Map<String, Long> BYTES =
            Map.of("", 1L, "K", 1L << 10, "M", 1L << 20, "G", 1L << 30, "T", 1L << 40);
    private static final Map<String, Long> MILLIS =
            Map.of("ms", 1L, "s", 1_000L, "m", 60_000L, "h", 3_600_000L, "d", 86_400_000L);

    private Quantity() {}

    /** Bytes: a number, with K, M, G or T for powers of 1,024. IllegalArgumentException for anything else. */
    static long parseBytes(String text) {
        return parse(text, BYTES, "a number with K, M, G or T, such as 64M");
    }

    /** Milliseconds: a number with ms, s, m, h or d. IllegalArgumentException for anything else. */
    static long parseMillis(String text) {
        return parse(text, MILLIS, "a number with ms, s, m, h or d, such as 7d");
    }

    /** In the largest unit that leaves a whole number. */
    static String ofBytes(long bytes) {
        return format(bytes, BYTES);
    }

    /** In the largest unit that leaves a whole number. */
    static String ofMillis(long millis) {
        return format(millis, MILLIS);
    }

    private static String format(long value, Map<String, Long> units) {
        Map.Entry<String, Long> best = units.entrySet().stream()
                .filter(unit -> unit.getValue() == 1 || value > 0 && value % unit.getValue() == 0)
                .max(Map.Entry.comparingByValue())
                .orElseThrow();
        return value / best.getValue() + best.getKey();
    }

    private static long parse(String text, Map<String, Long> units, String expected) {
        Matcher matcher = FORM.matcher(text);
        Long unit = matcher.matches() ? units.get(matcher.group(2)) : null;
        if (unit == null) {
            throw new IllegalArgumentException("'" + text + "' is not " + expected);
        }
        try {
            return Math.multiplyExact(Long.parseLong(matcher.group(1)), unit);
        } catch (ArithmeticException e) {
            throw new IllegalArgumentException("'" + text + "' is too large", e);
        }
    }
}
