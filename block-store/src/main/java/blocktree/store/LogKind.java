package blocktree.store;

/** Kinds of log entry (docs/format.md, section 4). Those up to ROTATION, and NODE, make up the tree's authority. */
enum LogKind {
    GENESIS,
    DOMAIN,
    EPOCH,
    WRITECAP_CHAIN,
    READCAP,
    REVOCATION,
    ROTATION,
    COMMIT,
    SNAPSHOT,
    /** Only in logs of before: a checkpoint is no entry. */
    CHECKPOINT,
    NODE;

    int number() {
        return ordinal() + 1;
    }

    boolean isAuthority() {
        return this.compareTo(ROTATION) <= 0 || this == NODE;
    }

    static LogKind of(int number) throws StoreException {
        if (number < 1 || number > values().length) {
            throw StoreException.invalid("log entry kind " + Integer.toUnsignedString(number) + " is not known");
        }
        return values()[number - 1];
    }
}
