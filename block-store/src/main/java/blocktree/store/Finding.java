package blocktree.store;

import blocktree.crypto.Id;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * Something that {@code fsck} found.
 *
 * @param subject the block it is about, or the domain or tree; null when it is about none of them
 * @param detail for people: ids, generations, positions; never plaintext
 * @param repairable whether a repair can be made that cannot lose anything
 * @param repaired whether it was made
 */
public record Finding(
        Severity severity, Kind kind, @Nullable Id subject, String detail, boolean repairable, boolean repaired) {

    /** How bad it is. */
    public enum Severity {
        /** Something that was committed cannot be read, or cannot be trusted. */
        ERROR,
        /** Waste, or something that heals by itself. */
        WARNING
    }

    /** What it is; {@link #label} is the stable name. */
    public enum Kind {
        /** A file of the database cannot be read; what it held is not checked. */
        DATABASE_DAMAGED,
        /** A log entry is absent, malformed, or does not follow the one before by hash, position or time. */
        LOG_BROKEN,
        /** A record of the tree's authority is not one that could have been accepted. */
        AUTHORITY_INVALID,
        /** The signature of a commit, the authority of its writer, or its form does not hold. */
        COMMIT_INVALID,
        /** A header that a commit or the state map names is absent. */
        HEADER_MISSING,
        /** A header is malformed, under the wrong key, not proven by its commit, or does not follow its predecessor. */
        HEADER_INVALID,
        /** A checkpoint is not by a node of this tree, or not of this log. */
        CHECKPOINT_INVALID,
        /** A snapshot is not by a writer of this tree, or its version of the state map cannot be read. */
        SNAPSHOT_INVALID,
        /** The state map cannot be read, or does not agree with the headers. */
        STATE_MISMATCH,
        /** A node of an integrity tree that a kept generation needs is absent. */
        NODE_MISSING,
        /** A node of an integrity tree is not the one that its parent names. */
        NODE_INVALID,
        /** A node of an integrity tree that no generation needs. */
        NODE_ORPHAN,
        /** A sector that a kept generation needs is absent. */
        SECTOR_MISSING,
        /** A sector is not the one that its integrity tree names, or does not open. */
        SECTOR_INVALID,
        /** A sector that no generation needs. */
        SECTOR_ORPHAN,
        /** The sealed attributes of a generation do not open. */
        ATTRIBUTES_INVALID,
        /** The keys of a generation are not those that its epoch's commitment names, or cannot be opened. */
        KEY_INVALID,
        /** A garbage record is malformed. */
        GARBAGE_INVALID;

        /** Lower case with underscores; stable across versions. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }
}
