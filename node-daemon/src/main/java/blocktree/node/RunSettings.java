package blocktree.node;

import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.time.Duration;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * How a tree is opened.
 *
 * @param listen where other nodes reach this one; null: nowhere
 * @param advertised under which addresses, where listen does not say it
 * @param logKept how many changes are kept for other nodes that were away
 * @param name what other nodes call this one; empty: as it was called when it joined
 */
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
        Duration stopTimeout,
        @Nullable InetSocketAddress listen,
        List<InetSocketAddress> advertised,
        int logKept,
        String name) {

    /** Whether the node is one of several, or is to be: the store's log is then ordered by all voters. */
    boolean isClustered() {
        return !readOnly && (listen != null || Files.isDirectory(directory.cluster()));
    }

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
                all.time(Setting.STOP_TIMEOUT),
                all.address(Setting.LISTEN),
                all.addresses(Setting.ADVERTISE),
                all.count(Setting.LOG_KEPT),
                all.text(Setting.NODE_NAME));
    }
}
