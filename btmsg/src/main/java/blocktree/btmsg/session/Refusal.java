package blocktree.btmsg.session;

/**
 * Why a node that has proven who it is gets no session.
 *
 * @param text for the operators of both nodes
 */
public record Refusal(Code code, String text) {

    /** In a form to act on; numbers are those of the wire. */
    public enum Code {
        /** A code of a newer version. */
        OTHER,
        /** The node is of another tree. */
        OTHER_TREE,
        /** Its capability does not give the right to run a node. */
        NOT_A_NODE,
        /** Its capability has ended. */
        EXPIRED,
        /** Its capability has not begun. */
        NOT_YET,
        /** It was removed from the tree. */
        REVOKED,
        /** Its chain does not reach a root key that this node knows. */
        UNKNOWN_ISSUER,
        /** The clocks of the two nodes differ too much. */
        CLOCK,
        /** No version of the protocol is spoken by both. */
        INCOMPATIBLE,
        /** A node has reached itself. */
        SELF,
        /** There are as many peers as there may be. */
        BUSY;

        private static final Code[] VALUES = values();

        int number() {
            return ordinal();
        }

        static Code of(int number) {
            return number > 0 && number < VALUES.length ? VALUES[number] : OTHER;
        }
    }
}
