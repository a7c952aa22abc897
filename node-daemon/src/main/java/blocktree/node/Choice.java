package blocktree.node;

import java.util.Arrays;
import java.util.Locale;

/** Constants as they are written on the command line and in btnode.conf: in lower case. */
final class Choice {
    private Choice() {}

    static String label(Enum<?> constant) {
        return constant.name().toLowerCase(Locale.ROOT);
    }

    /** The constant of that label, in whatever case. IllegalArgumentException, with what there is, for anything else. */
    static <E extends Enum<E>> E of(Class<E> type, String text) {
        E[] constants = type.getEnumConstants();
        return Arrays.stream(constants)
                .filter(each -> label(each).equalsIgnoreCase(text))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("'" + text + "' is none of "
                        + String.join(
                                ", ",
                                Arrays.stream(constants).map(Choice::label).toList())));
    }
}
