package blocktree.testharness.posix;

/** A system call failed. */
public final class PosixException extends Exception {
    private static final long serialVersionUID = 1L;

    private final Errno errno;
    private final int number;

    PosixException(String call, int number) {
        super(call + ": " + Errno.of(number) + " (" + number + ")");
        this.errno = Errno.of(number);
        this.number = number;
    }

    public Errno errno() {
        return errno;
    }

    /** The errno's name, or its number where it is not one that tests know. */
    public String errnoText() {
        return errno == Errno.OTHER ? "errno " + number : errno.name();
    }

    /** Whether the file system behind the mount went away: the node was killed or the mount was torn down. */
    public boolean isDisconnected() {
        return errno == Errno.ENOTCONN || errno == Errno.ECONNABORTED || errno == Errno.ENODEV;
    }
}
