package blocktree.testharness.model;

/** The two sides answered differently; the message has the seed, the step, both answers and the steps before. */
public final class ModelMismatch extends AssertionError {
    private static final long serialVersionUID = 1L;

    ModelMismatch(String message) {
        super(message);
    }
}
