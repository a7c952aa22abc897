package blocktree.cluster;

import java.util.concurrent.ExecutionException;
import org.jspecify.annotations.Nullable;

/** Why an entry was not put into the order, or why that cannot be told. */
public final class AgreementException extends Exception {

    private static final long serialVersionUID = 1L;

    public enum Code {
        /** The leader's machine did not admit it. */
        REFUSED,
        /** No leader could be reached; it is not in the order. */
        NO_LEADER,
        /** It may be in the order or not. */
        UNKNOWN,
        /** This voter was stopped, or stopped itself after an error. */
        STOPPED
    }

    private final Code code;

    public AgreementException(Code code, String message) {
        this(code, message, null);
    }

    public AgreementException(Code code, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.code = code;
    }

    /** What a future has failed with: as it is when it is such a failure; UNKNOWN for anything else. */
    static AgreementException of(ExecutionException e) {
        return e.getCause() instanceof AgreementException failure
                ? failure
                : new AgreementException(Code.UNKNOWN, String.valueOf(e.getCause()), e.getCause());
    }

    public Code code() {
        return code;
    }
}
