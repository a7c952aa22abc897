package blocktree.node;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;

/** Constants as they are written on the command line and in configuration files: in lower case. */
final class Choice {
    private Choice() {}

    static String label(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }

    /** Of all its constants; none of a type that has no constants. */
    static List<String> labels(Class<?> type) {
        Object[] constants = type.getEnumConstants();
        return constants == null
                ? List.of()
                : Arrays.stream(constants)
                        .map(constant -> label((Enum<?>) constant))
                        .toList();
    }

    /** The constant of that label, in whatever case. IllegalArgumentException, with what there is, for anything else. */
    static <E extends Enum<E>> E of(Class<E> type, String text) {
        return Arrays.stream(type.getEnumConstants())
                .filter(each -> label(each).equalsIgnoreCase(text))
                .findFirst()
                .orElseThrow(() ->
                        new IllegalArgumentException("'" + text + "' is none of " + String.join(", ", labels(type))));
    }

    /** What was probably meant by {@code text}: the one that differs least from it, in two letters at most. */
    static Optional<String> nearest(String text, List<String> known) {
        return known.stream()
                .filter(each -> distance(text, each) <= 2)
                .min(Comparator.comparingInt(each -> distance(text, each)));
    }

    /** The least number of letters to insert, delete or replace (Levenshtein). */
    private static int distance(String a, String b) {
        int[] row = IntStream.rangeClosed(0, b.length()).toArray();
        for (int i = 1; i <= a.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int replaced = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.min(replaced, 1 + Math.min(row[j], row[j - 1]));
            }
        }
        return row[b.length()];
    }
}
