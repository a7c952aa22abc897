package blocktree.node;

import java.nio.file.Path;
import java.util.regex.Pattern;

/** Command lines that an operator may copy into a shell. */
final class Shell {
    private static final Pattern PLAIN = Pattern.compile("[\\p{Alnum}_@%+=:,./-]+", Pattern.UNICODE_CHARACTER_CLASS);

    private Shell() {}

    /** As one word: as it is where that is one, in quotes otherwise. */
    static String word(Path path) {
        String text = path.toString();
        return PLAIN.matcher(text).matches() ? text : "'" + text.replace("'", "'\\''") + "'";
    }
}
