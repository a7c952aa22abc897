package blocktree.harness;

/** A node did not do what it was told to. The message holds the end of its log. */
public final class HarnessException extends Exception {
    private static final long serialVersionUID = 1L;

    public HarnessException(String message) {
        super(message);
    }

    public HarnessException(String message, Throwable cause) {
        super(message, cause);
    }
}
