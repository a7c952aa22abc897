package blocktree.store;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;

/** The column families of the database (docs/format.md, section 4.1). */
enum Column {
    /** RocksDB insists on a family of the name {@code default}. */
    META("default"),
    LOG,
    CHANGES,
    HEADERS,
    SECTORS,
    /** Sectors that came in long runs; see {@link SectorFiles}. A sector is here or in {@link #SECTORS}. */
    STREAMS,
    NODES,
    STATE,
    AUTHORITY,
    GARBAGE,
    LOCAL;

    /** The families that hold sectors, in the order in which one is searched: a block without a file of streams costs next to nothing there. */
    static final List<Column> OF_SECTORS = List.of(STREAMS, SECTORS);

    final String familyName;

    Column() {
        this.familyName = name().toLowerCase(Locale.ROOT);
    }

    Column(String familyName) {
        this.familyName = familyName;
    }

    byte[] nameBytes() {
        return familyName.getBytes(StandardCharsets.US_ASCII);
    }
}
