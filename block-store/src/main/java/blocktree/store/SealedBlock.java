package blocktree.store;

import blocktree.store.PayloadUpdate.NewNode;
import java.util.List;
import java.util.SortedMap;

/** The next generation of one block as its writer sealed it: the header, and the nodes and sectors that this generation adds. */
record SealedBlock(Header header, List<NewNode> nodes, SortedMap<Long, Sector> sectors) {

    /** Bytes of ciphertext in its sectors. */
    long sizeBytes() {
        long bytes = 0;
        for (Sector sector : sectors.values()) {
            bytes += sector.size();
        }
        return bytes;
    }
}
