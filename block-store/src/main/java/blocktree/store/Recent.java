package blocktree.store;

import java.util.LinkedHashMap;
import java.util.Map;

/** Values that were used last, so many of them. Not thread-safe. */
final class Recent<K, V> extends LinkedHashMap<K, V> {

    private static final long serialVersionUID = 1L;

    private final int countMax;

    Recent(int countMax) {
        super(16, 0.75f, true);
        this.countMax = countMax;
    }

    @Override
    protected boolean removeEldestEntry(Map.Entry<K, V> eldest) {
        return size() > countMax;
    }
}
