package blocktree.crypto;

/** The kinds of log entry that make up a tree's authority; the numbers are those of the log (docs/format.md, section 4). */
public enum RecordKind {
    GENESIS(1),
    DOMAIN(2),
    EPOCH(3),
    WRITECAP_CHAIN(4),
    READCAP(5),
    REVOCATION(6),
    ROTATION(7),
    NODE(11);

    private final int number;

    RecordKind(int number) {
        this.number = number;
    }

    public int number() {
        return number;
    }

    /** MALFORMED when {@code number} is the kind of no authority record. */
    public static RecordKind of(int number) throws CryptoException {
        for (RecordKind kind : values()) {
            if (kind.number == number) {
                return kind;
            }
        }
        throw CryptoException.malformed("log entry kind " + number + " is no authority record");
    }
}
