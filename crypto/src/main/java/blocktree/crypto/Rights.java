package blocktree.crypto;

import java.util.ArrayList;
import java.util.List;

/** What a write capability allows, as the bits of docs/format.md, section 2. */
public record Rights(int bits) {

    /** Change blocks. */
    public static final Rights WRITE = new Rights(1);
    /** Grant some of one's own rights to others, and make domains. */
    public static final Rights DELEGATE = new Rights(2);
    /** Begin key epochs, raise the minimum epoch. */
    public static final Rights REKEY = new Rights(4);
    /** Run a node: sign checkpoints. */
    public static final Rights NODE = new Rights(8);
    /** All of the above. */
    public static final Rights ALL = new Rights(15);

    private static final List<String> NAMES = List.of("write", "delegate", "rekey", "node");

    /** Throws IllegalArgumentException unless at least one known right and none unknown is set. */
    public Rights {
        if (bits < 1 || bits > 15) {
            throw new IllegalArgumentException("rights are bits 1 to 8, at least one, not " + bits);
        }
    }

    public Rights and(Rights others) {
        return new Rights(bits | others.bits);
    }

    public boolean contains(Rights others) {
        return (bits & others.bits) == others.bits;
    }

    /** Such as {@code write|node}. */
    @Override
    public String toString() {
        List<String> names = new ArrayList<>();
        for (int bit = 0; bit < NAMES.size(); bit++) {
            if ((bits & 1 << bit) != 0) {
                names.add(NAMES.get(bit));
            }
        }
        return String.join("|", names);
    }
}
