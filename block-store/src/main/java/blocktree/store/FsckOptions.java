package blocktree.store;

import java.util.function.Consumer;

/**
 * What {@code fsck} does.
 *
 * @param repair removes what is provably of no use: sectors, nodes and garbage records that nothing can need
 * @param readSectors reads every sector, checks it against its integrity tree and opens it where the key is held; without it only their
 *     presence is checked
 * @param bytesPerSecond bounds the reading of sectors; Long.MAX_VALUE for no bound
 * @param progress called about once a second with what has been looked at so far
 */
public record FsckOptions(boolean repair, boolean readSectors, long bytesPerSecond, Consumer<FsckReport> progress) {

    /** Everything is read, as fast as it can be, and nothing changed. */
    public static FsckOptions defaults() {
        return new FsckOptions(false, true, Long.MAX_VALUE, report -> {});
    }

    public FsckOptions withRepair(boolean value) {
        return new FsckOptions(value, readSectors, bytesPerSecond, progress);
    }

    public FsckOptions withReadSectors(boolean value) {
        return new FsckOptions(repair, value, bytesPerSecond, progress);
    }

    public FsckOptions withBytesPerSecond(long value) {
        return new FsckOptions(repair, readSectors, value, progress);
    }

    public FsckOptions withProgress(Consumer<FsckReport> value) {
        return new FsckOptions(repair, readSectors, bytesPerSecond, value);
    }
}
