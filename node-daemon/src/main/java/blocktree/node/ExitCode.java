package blocktree.node;

import java.util.Locale;

/** What the process ends with: stable, listed in docs/operations.md. */
enum ExitCode {
    OK(0),
    /** It did not work, or a check has findings. */
    FAILED(1),
    /** The command line is wrong. */
    USAGE(2),
    WRONG_PASSPHRASE(3),
    /** The mount point is missing, not a directory, not empty, in use, or the kernel refused the mount. */
    MOUNT_POINT(4),
    /** Another process has the data directory. */
    ALREADY_RUNNING(5),
    /** No node runs on the data directory. */
    NOT_RUNNING(6),
    /** The store is damaged or has lost acknowledged writes. */
    DAMAGED_STORE(7),
    /** The data directory or its configuration is not one that this program can use. */
    BAD_CONFIGURATION(8),
    /** A key file is missing, damaged, readable by others, not the one of this tree, or no longer in force. */
    BAD_KEY_FILE(9),
    NO_SPACE(10),
    TIMED_OUT(11);

    private final int code;

    ExitCode(int code) {
        this.code = code;
    }

    int code() {
        return code;
    }

    /** The name in machine-readable output. */
    String label() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** The code that a node has put on the wire; FAILED when a newer node sends one that is not known here. */
    static ExitCode of(int code) {
        for (ExitCode exitCode : values()) {
            if (exitCode.code == code) {
                return exitCode;
            }
        }
        return FAILED;
    }
}
