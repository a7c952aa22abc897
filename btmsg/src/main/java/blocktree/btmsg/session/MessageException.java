package blocktree.btmsg.session;

import java.io.IOException;

/** A message or a stream that came to nothing. */
public final class MessageException extends IOException {

    private static final long serialVersionUID = 1L;

    /** In a form to act on; numbers are those of the wire, so new ones come at the end. */
    public enum Code {
        /** A code of a newer version. */
        OTHER,
        /** There is no session, or it ended first: whether the request was carried out is not known. */
        DISCONNECTED,
        /** The deadline has passed: whether the request was carried out is not known. */
        TIMED_OUT,
        /** As much is under way as may be; nothing was done. */
        BUSY,
        /** The peer has no such service; nothing was done. */
        NO_SERVICE,
        /** The peer may not use the service; nothing was done. */
        DENIED,
        /** The service could not do it, and its text says why. */
        FAILED,
        /** The body does not fit into a message. */
        TOO_LARGE,
        /** Nobody waits any more, or the other side let the stream go. */
        CANCELLED;

        private static final Code[] VALUES = values();

        int number() {
            return ordinal();
        }

        static Code of(int number) {
            return number > 0 && number < VALUES.length ? VALUES[number] : OTHER;
        }
    }

    private final Code code;

    public MessageException(Code code, String message) {
        super(message);
        this.code = code;
    }

    public Code code() {
        return code;
    }
}
