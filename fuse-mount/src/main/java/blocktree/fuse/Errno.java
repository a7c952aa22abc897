package blocktree.fuse;

import blocktree.tree.FileSystemException;

/** Linux error numbers, the same on every architecture that Java runs on, and which one a failure of the file system is. */
final class Errno {
    static final int EPERM = 1;
    static final int ENOENT = 2;
    static final int EINTR = 4;
    static final int EIO = 5;
    static final int ENXIO = 6;
    static final int E2BIG = 7;
    static final int EBADF = 9;
    static final int EAGAIN = 11;
    static final int EACCES = 13;
    static final int EEXIST = 17;
    static final int EXDEV = 18;
    static final int ENOTDIR = 20;
    static final int EISDIR = 21;
    static final int EINVAL = 22;
    static final int EFBIG = 27;
    static final int ENOSPC = 28;
    static final int EROFS = 30;
    static final int EMLINK = 31;
    static final int ERANGE = 34;
    static final int EDEADLK = 35;
    static final int ENAMETOOLONG = 36;
    static final int ENOLCK = 37;
    static final int ENOSYS = 38;
    static final int ENOTEMPTY = 39;
    static final int ELOOP = 40;
    static final int ENODATA = 61;
    static final int EOPNOTSUPP = 95;
    static final int ENOTCONN = 107;
    static final int ETIMEDOUT = 110;
    static final int ESTALE = 116;

    private Errno() {}

    /** The one place where a failure becomes an errno. */
    static int of(FileSystemException.Code code) {
        return switch (code) {
            case NOT_FOUND -> ENOENT;
            case EXISTS -> EEXIST;
            case NOT_DIRECTORY -> ENOTDIR;
            case IS_DIRECTORY -> EISDIR;
            case NOT_EMPTY -> ENOTEMPTY;
            case DENIED -> EACCES;
            case NOT_PERMITTED -> EPERM;
            case READ_ONLY -> EROFS;
            case BAD_HANDLE -> EBADF;
            case INVALID -> EINVAL;
            case NAME_TOO_LONG -> ENAMETOOLONG;
            case TOO_MANY_LINKS -> EMLINK;
            case FILE_TOO_BIG -> EFBIG;
            case NO_SPACE -> ENOSPC;
            case NO_DATA -> ENODATA;
            case RANGE -> ERANGE;
            case TOO_BIG -> E2BIG;
            case CROSS_DOMAIN -> EXDEV;
            case LOOP -> ELOOP;
            case DEADLOCK -> EDEADLK;
            case TOO_MANY_LOCKS -> ENOLCK;
            case NOT_SUPPORTED -> EOPNOTSUPP;
            case STALE -> ESTALE;
            case CORRUPT, IO, CLOSED -> EIO;
            case TIMED_OUT -> ETIMEDOUT;
        };
    }
}
