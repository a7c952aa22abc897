package blocktree.fuse;

import org.jspecify.annotations.Nullable;

/** A mount could not be made or taken away. The message says what was found and, after a colon, what to do. */
public final class MountException extends Exception {
    private static final long serialVersionUID = 1L;

    /** Why. */
    public enum Code {
        /** The mount point does not exist. */
        MISSING,
        NOT_DIRECTORY,
        NOT_EMPTY,
        /** Something is mounted there, or unmounting found open files. */
        BUSY,
        /** What a killed process left mounted could not be cleared. */
        STALE,
        NOT_PERMITTED,
        /** libfuse.so.2 cannot be loaded. */
        LIBRARY_MISSING,
        /** The program fusermount is not there, and who is not root needs it. */
        FUSERMOUNT_MISSING,
        /** /dev/fuse is not there. */
        DEVICE_MISSING,
        FAILED
    }

    private final Code code;
    private final String found;
    private final String remedy;

    MountException(Code code, String found, String remedy) {
        this(code, found, remedy, null);
    }

    MountException(Code code, String found, String remedy, @Nullable Throwable cause) {
        super(found + ": " + remedy, cause);
        this.code = code;
        this.found = found;
        this.remedy = remedy;
    }

    public Code code() {
        return code;
    }

    public String found() {
        return found;
    }

    /** What to do about it. */
    public String remedy() {
        return remedy;
    }
}
