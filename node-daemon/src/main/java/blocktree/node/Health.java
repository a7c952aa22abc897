package blocktree.node;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Whether a node is alive (its process answers, and so do its mounts) and ready (it serves its tree).
 *
 * @param stalled a request of a mount has waited longer than the node's request timeout
 */
record Health(String state, boolean stalled) {

    /** No majority of the nodes is reached: the tree can be read. */
    static final String CUT_OFF = "cut_off";

    static boolean isReady(String state) {
        return state.equals("running") || state.equals("read_only") || state.equals(CUT_OFF);
    }

    boolean isLive() {
        return !stalled;
    }

    boolean isReady() {
        return isLive() && isReady(state);
    }

    Map<String, Object> toJson() {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("live", isLive());
        json.put("ready", isReady());
        json.put("state", state);
        return json;
    }
}
