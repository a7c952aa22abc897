package blocktree.tree;

import java.time.Clock;

/**
 * How a tree is held in memory.
 *
 * @param dirtyBytesMax content that the store does not have yet; writers wait beyond it
 * @param cleanBytesMax cached sectors of files and directories
 * @param inodeBytesMax cached inodes
 * @param dirtyAgeMillisMax longest time that a change stays in memory only
 * @param clock for file times
 */
public record TreeOptions(
        long dirtyBytesMax, long cleanBytesMax, long inodeBytesMax, long dirtyAgeMillisMax, Clock clock) {
    private static final long MIB = 1 << 20;

    public TreeOptions {
        if (dirtyBytesMax < MIB || cleanBytesMax < 0 || inodeBytesMax < 0 || dirtyAgeMillisMax < 1) {
            throw new IllegalArgumentException("cache sizes and ages out of range");
        }
    }

    public static TreeOptions defaults() {
        return new TreeOptions(48 * MIB, 32 * MIB, 32 * MIB, 5_000, Clock.systemUTC());
    }

    public TreeOptions withCaches(long dirtyBytes, long cleanBytes, long inodeBytes) {
        return new TreeOptions(dirtyBytes, cleanBytes, inodeBytes, dirtyAgeMillisMax, clock);
    }

    public TreeOptions withDirtyAgeMillis(long millis) {
        return new TreeOptions(dirtyBytesMax, cleanBytesMax, inodeBytesMax, millis, clock);
    }

    public TreeOptions withClock(Clock other) {
        return new TreeOptions(dirtyBytesMax, cleanBytesMax, inodeBytesMax, dirtyAgeMillisMax, other);
    }
}
