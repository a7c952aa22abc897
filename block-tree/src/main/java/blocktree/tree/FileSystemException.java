package blocktree.tree;

import org.jspecify.annotations.Nullable;

/** The checked failure of every {@link FileSystem} operation. */
public final class FileSystemException extends Exception {
    private static final long serialVersionUID = 1L;

    /** Why; a binding maps each to one errno. */
    public enum Code {
        NOT_FOUND,
        EXISTS,
        NOT_DIRECTORY,
        IS_DIRECTORY,
        NOT_EMPTY,
        DENIED,
        NOT_PERMITTED,
        READ_ONLY,
        BAD_HANDLE,
        INVALID,
        NAME_TOO_LONG,
        TOO_MANY_LINKS,
        FILE_TOO_BIG,
        NO_SPACE,
        NO_DATA,
        RANGE,
        TOO_BIG,
        CROSS_DOMAIN,
        LOOP,
        DEADLOCK,
        TOO_MANY_LOCKS,
        NOT_SUPPORTED,
        /** What the number or handle stood for was deleted, or changed over what was written here, by another node. */
        STALE,
        CORRUPT,
        IO,
        TIMED_OUT,
        CLOSED
    }

    private final Code code;

    public FileSystemException(Code code, String message) {
        this(code, message, null);
    }

    public FileSystemException(Code code, String message, @Nullable Throwable cause) {
        super(message, cause, false, cause != null);
        this.code = code;
    }

    public Code code() {
        return code;
    }
}
