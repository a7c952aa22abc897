package blocktree.testharness.history;

/** A name that clients on all mounts use; how they do is a matter of its kind. */
public record Name(Kind kind, int number) {

    /** What is done to a name. */
    public enum Kind {
        /** Always a file, whose content is overwritten in place, all of it with one call. */
        OVERWRITTEN,
        /** Always a file; another one that is complete and synced is renamed over it. */
        REPLACED,
        /** Created as a file that must not exist yet, and unlinked. */
        CREATED,
        /** A directory that is made and removed. */
        MADE,
        /** A complete file is renamed to it where nothing may be yet, and renamed away. */
        PLACED;

        /** Whether the name is always there, with one value after the other; else it is taken and given free. */
        boolean isRegister() {
            return this == OVERWRITTEN || this == REPLACED;
        }
    }

    /** As it is in its directory. */
    @Override
    public String toString() {
        return kind.name().toLowerCase(java.util.Locale.ROOT) + "-" + number;
    }
}
