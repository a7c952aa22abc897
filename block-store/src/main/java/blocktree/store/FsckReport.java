package blocktree.store;

/**
 * What {@code fsck} has looked at and found.
 *
 * @param blocks blocks with at least one header, tombstones included
 * @param headers generations
 * @param sectors sectors read, each once however many generations share it
 * @param sealedBlocks blocks of domains whose key this node does not hold: verified, but not opened
 */
public record FsckReport(
        long logEntries,
        long blocks,
        long headers,
        long nodes,
        long sectors,
        long sectorBytes,
        long sealedBlocks,
        long errors,
        long warnings,
        long repaired) {

    /** Whether nothing that was committed is damaged. */
    public boolean isClean() {
        return errors == 0;
    }
}
