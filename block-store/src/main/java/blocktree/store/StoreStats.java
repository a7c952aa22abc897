package blocktree.store;

/**
 * Counters of one open store, since it was opened, and sizes now.
 *
 * @param headPosition last position of the log
 * @param checkpointPosition position of the newest checkpoint
 * @param blocksCorrupt times that something read was not what was committed
 * @param openGenerations generations that somebody holds open
 * @param collectedHeaders superseded generations removed
 * @param collectedSectors sectors removed
 * @param scrubbedBytes ciphertext that scrub has verified
 * @param scrubRounds times that scrub has been through the whole store
 * @param scrubErrors sectors, nodes and headers that scrub found damaged
 * @param healedPieces sectors and nodes that were missing or damaged here, and are taken from other nodes
 */
public record StoreStats(
        long headPosition,
        long checkpointPosition,
        long commits,
        long blocksCorrupt,
        int openGenerations,
        long collectedHeaders,
        long collectedSectors,
        long collectedNodes,
        long collectedStateNodes,
        long scrubbedBytes,
        long scrubRounds,
        long scrubErrors,
        long healedPieces,
        int snapshots,
        long usableBytes,
        long totalBytes,
        long liveBytes) {}
