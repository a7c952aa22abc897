package blocktree.store;

import org.jspecify.annotations.Nullable;

/** An operation of the store did not happen. The message names ids, never plaintext or keys. */
public final class StoreException extends Exception {

    private static final long serialVersionUID = 1L;

    /** What went wrong, in a form to act on. */
    public enum Code {
        /** No such block, generation or snapshot, or the block is deleted. */
        NOT_FOUND,
        /** What is stored is not what was committed: altered, replayed, missing or withheld. */
        CORRUPT,
        /** This principal may not read or write it. */
        DENIED,
        /** The device, or the reserve kept free on it, is full. Nothing was written. */
        NO_SPACE,
        /** A block that the commit replaces has changed since it was read, or exists already. */
        CONFLICT,
        /** The device or the operating system failed. */
        IO,
        /** Not done within its deadline. */
        TIMED_OUT,
        /** The store is closed. */
        CLOSED,
        /** The store was opened read-only, or stopped writing after an error that it could not recover from. */
        READ_ONLY,
        /** Another process has the store open. */
        LOCKED,
        /** Writes that were acknowledged are not there. */
        LOST_WRITES,
        /** The key given does not belong to this store. */
        WRONG_KEY,
        /** Not well-formed, or out of bounds. */
        INVALID
    }

    private final Code code;

    public StoreException(Code code, String message) {
        this(code, message, null);
    }

    public StoreException(Code code, String message, @Nullable Throwable cause) {
        super(message, cause);
        this.code = code;
    }

    public Code code() {
        return code;
    }

    /** What is asked for cannot be had from the device: it is damaged, or the device does not read it. */
    public boolean isUnreadable() {
        return code == Code.CORRUPT || code == Code.IO;
    }

    /** The tree does not take what was brought: whoever else holds the same log refuses it as well. */
    public boolean isRefusal() {
        return code == Code.CONFLICT || code == Code.DENIED || code == Code.INVALID;
    }

    static StoreException corrupt(String message) {
        return new StoreException(Code.CORRUPT, message);
    }

    static StoreException invalid(String message) {
        return new StoreException(Code.INVALID, message);
    }
}
