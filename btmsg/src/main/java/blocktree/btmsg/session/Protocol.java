package blocktree.btmsg.session;

import java.util.ArrayList;
import java.util.List;

/**
 * What a program speaks.
 *
 * @param versionMin lowest version
 * @param versionMax highest
 * @param features by name; one counts in a session when both sides name it
 */
record Protocol(int versionMin, int versionMax, List<String> features) {

    /** Of this program. */
    static final Protocol CURRENT = new Protocol(1, 1, List.of());

    /** The highest version that both speak; 0 when there is none. */
    int agree(int otherMin, int otherMax) {
        int highest = Math.min(versionMax, otherMax);
        return highest >= Math.max(versionMin, otherMin) ? highest : 0;
    }

    List<String> agree(List<String> others) {
        List<String> both = new ArrayList<>(features);
        both.retainAll(others);
        return List.copyOf(both);
    }

    Refusal incompatible(int otherMin, int otherMax) {
        return new Refusal(
                Refusal.Code.INCOMPATIBLE,
                "the node that dialled speaks versions " + otherMin + " to " + otherMax + ", the one that answered "
                        + versionMin + " to " + versionMax + ": upgrade the older one");
    }
}
