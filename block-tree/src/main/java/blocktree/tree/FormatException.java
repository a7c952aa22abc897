package blocktree.tree;

/** Decrypted content that does not follow docs/format.md, section 5. The message names no plaintext. */
final class FormatException extends Exception {
    private static final long serialVersionUID = 1L;

    FormatException(String message) {
        super(message);
    }
}
