package blocktree.btmsg.session;

import java.io.IOException;

/** A machine was not made a node; the message says what to do. */
public final class JoinException extends IOException {

    private static final long serialVersionUID = 1L;

    /** In a form to act on; numbers are those of the wire, so new ones come at the end. */
    public enum Code {
        /** A code of a newer version. */
        OTHER,
        /** The member has no such invitation, or the proof of its secret was wrong. */
        NO_INVITATION,
        /** Another machine has used it. */
        USED,
        /** The name is none that a node can have. */
        BAD_NAME,
        /** The member could not do it; the same keys may try again. */
        FAILED,
        /** As many join as may. */
        BUSY,
        /** The invitation's time has passed. */
        EXPIRED,
        /** Nobody answers. */
        UNREACHABLE,
        /** Who answers is no node of the tree that the invitation is to. */
        OTHER_TREE,
        /** Who answers takes nobody in now. */
        NOT_AWAITED,
        /** Who answers does not know the invitation's secret. */
        UNPROVEN,
        /** What the other side sends is not what it should be. */
        BAD_ANSWER,
        /** The clocks differ too much. */
        CLOCK,
        /** The invitation is for another role than was asked for. */
        OTHER_ROLE,
        /** The person, asked to compare, said no. */
        DECLINED;

        private static final Code[] VALUES = values();

        int number() {
            return ordinal();
        }

        static Code of(int number) {
            return number > 0 && number < VALUES.length ? VALUES[number] : OTHER;
        }
    }

    private final Code code;

    JoinException(Code code, String message) {
        super(message);
        this.code = code;
    }

    JoinException(Code code, String message, Throwable cause) {
        super(message, cause);
        this.code = code;
    }

    public Code code() {
        return code;
    }
}
