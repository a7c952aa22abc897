package blocktree.node;

import java.time.Duration;
import org.jspecify.annotations.Nullable;

/** How a tree is opened: the data directory's configuration, and what the command line says instead. */
record RunSettings(
        DataDirectory directory,
        boolean readOnly,
        boolean acceptLoss,
        long retentionMillis,
        long dirtyBytesMax,
        long cacheBytes,
        Duration requestTimeout,
        Duration stopTimeout) {

    /** What a command other than run needs. */
    static RunSettings of(DataDirectory directory) {
        NodeSettings settings = directory.settings();
        return new RunSettings(
                directory,
                false,
                false,
                settings.retentionMillis(),
                settings.dirtyBytesMax(),
                settings.cacheBytes(),
                Duration.ofMinutes(2),
                Duration.ofMinutes(1));
    }

    /** Options that are null are taken from the configuration. */
    static RunSettings of(
            DataDirectory directory,
            @Nullable String retention,
            @Nullable String dirtyLimit,
            @Nullable String cacheSize,
            boolean readOnly,
            boolean acceptLoss,
            Duration requestTimeout,
            Duration stopTimeout)
            throws NodeException {
        NodeSettings settings = directory.settings();
        try {
            return new RunSettings(
                    directory,
                    readOnly,
                    acceptLoss,
                    retention == null ? settings.retentionMillis() : Quantity.parseMillis(retention),
                    dirtyLimit == null ? settings.dirtyBytesMax() : Quantity.parseBytes(dirtyLimit),
                    cacheSize == null ? settings.cacheBytes() : Quantity.parseBytes(cacheSize),
                    requestTimeout,
                    stopTimeout);
        } catch (IllegalArgumentException e) {
            throw new NodeException(
                    ExitCode.USAGE, "to read the options", String.valueOf(e.getMessage()), "see btnode run --help", e);
        }
    }

    RunSettings withReadOnly() {
        return new RunSettings(
                directory, true, acceptLoss, retentionMillis, dirtyBytesMax, cacheBytes, requestTimeout, stopTimeout);
    }
}
