package blocktree.node;

import org.jspecify.annotations.Nullable;

/** A failure as an operator needs it: what was tried, what was found, what to do. Never holds a secret. */
final class NodeException extends Exception {
    private static final long serialVersionUID = 1L;

    private final ExitCode exitCode;
    private final String tried;
    private final String found;
    private final String remedy;

    NodeException(ExitCode exitCode, String tried, String found, String remedy) {
        this(exitCode, tried, found, remedy, null);
    }

    NodeException(ExitCode exitCode, String tried, String found, String remedy, @Nullable Throwable cause) {
        super("tried " + tried + "; found: " + found + "; do: " + remedy, cause);
        this.exitCode = exitCode;
        this.tried = tried;
        this.found = found;
        this.remedy = remedy;
    }

    ExitCode exitCode() {
        return exitCode;
    }

    /** Continues "tried", for example "to open the data directory /var/lib/btnode". */
    String tried() {
        return tried;
    }

    String found() {
        return found;
    }

    String remedy() {
        return remedy;
    }
}
