package blocktree.store;

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

    final String familyName;

    Column() {
        this.familyName = name().toLowerCase(Locale.ROOT);
    }

    Column(String familyName) {
        this.familyName = familyName;
    }
}
