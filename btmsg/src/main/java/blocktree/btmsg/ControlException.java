package blocktree.btmsg;

import java.io.IOException;

/** The control connection cannot go on. */
public final class ControlException extends IOException {
    private static final long serialVersionUID = 1L;

    public enum Code {
        /** The other side sent what the protocol does not allow. */
        PROTOCOL,
        /** The other side speaks another version. */
        VERSION,
        /** The connection is closed. */
        CLOSED,
        /** No answer in time. */
        TIMED_OUT
    }

    private final Code code;

    public ControlException(Code code, String message) {
        super(message);
        this.code = code;
    }

    public Code code() {
        return code;
    }
}
