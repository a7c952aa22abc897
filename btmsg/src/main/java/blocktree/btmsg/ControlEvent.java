package blocktree.btmsg;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Something that a node has logged at level INFO or above.
 *
 * @param name stable name, listed in docs/events.md
 * @param fields in the order in which they were logged
 */
public record ControlEvent(long timeMillis, String level, String name, Map<String, String> fields) {
    public ControlEvent {
        fields = Collections.unmodifiableMap(new LinkedHashMap<>(fields));
    }
}
