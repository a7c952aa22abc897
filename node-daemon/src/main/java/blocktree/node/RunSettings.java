package blocktree.node;

import java.time.Duration;

/** How a tree is opened. */
record RunSettings(
        DataDirectory directory,
        boolean readOnly,
        boolean acceptLoss,
        long retentionMillis,
        long dirtyBytesMax,
        long cacheBytes,
        long scrubBytesPerSecond,
        Duration requestTimeout,
        Setting.FuseLibrary fuseLibrary,
        Duration stopTimeout) {

    static RunSettings of(DataDirectory directory, Settings settings, boolean readOnly, boolean acceptLoss) {
        Settings all = settings.withOlder(directory);
        return new RunSettings(
                directory,
                readOnly,
                acceptLoss,
                all.time(Setting.RETENTION).toMillis(),
                all.sizeBytes(Setting.DIRTY_LIMIT),
                all.sizeBytes(Setting.CACHE_SIZE),
                all.sizeBytes(Setting.SCRUB_RATE),
                all.time(Setting.REQUEST_TIMEOUT),
                all.choice(Setting.FUSE_LIBRARY, Setting.FuseLibrary.class),
                all.time(Setting.STOP_TIMEOUT));
    }
}
