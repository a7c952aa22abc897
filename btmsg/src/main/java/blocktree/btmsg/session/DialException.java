package blocktree.btmsg.session;

import org.jspecify.annotations.Nullable;

/** A try to reach a peer has failed. */
final class DialException extends Exception {

    private static final long serialVersionUID = 1L;

    /** What one of the two sides has told the other; null when it did not come to that. */
    private final transient @Nullable Refusal refusal;

    DialException(String message) {
        super(message);
        this.refusal = null;
    }

    DialException(Refusal refusal) {
        super(refusal.code() + ": " + refusal.text());
        this.refusal = refusal;
    }

    @Nullable
    Refusal refusal() {
        return refusal;
    }
}
