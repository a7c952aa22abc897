package blocktree.node;

/** Which program this is. */
final class Version {
    static final String NAME = "0.1.0";

    /** What other nodes are told. */
    static final String SOFTWARE = "btnode " + NAME;

    private Version() {}
}
