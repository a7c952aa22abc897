package blocktree.fuse;

import blocktree.tree.Attributes;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.ExtendedAttributeMode;
import blocktree.tree.FileSystem.OpenMode;
import blocktree.tree.FileSystemException;
import blocktree.tree.FileSystemException.Code;
import blocktree.tree.Name;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Set;
import java.util.concurrent.CompletionException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Answers the kernel's requests from a {@link FileSystem}; one subclass for each library that passes them on. Nothing is thrown into native code. */
abstract class MountOperations {
    private static final Logger log = LoggerFactory.getLogger(MountOperations.class);

    private static final int O_ACCMODE = 3;
    private static final int O_WRONLY = 1;
    private static final int O_RDWR = 2;
    static final int O_EXCL = 0200;
    private static final int O_TRUNC = 01000;
    private static final int O_APPEND = 02000;
    private static final int O_DSYNC = 010000;
    static final int PERMISSIONS_MASK = 07777;
    private static final int XATTR_CREATE = 1;
    private static final int XATTR_REPLACE = 2;
    static final int XATTR_VALUE_SIZE_MAX = 65_536;
    static final int SEEK_DATA = 3;
    static final int SEEK_HOLE = 4;
    static final Caller PRIVILEGED = new Caller(0, 0);
    static final Name SELF = Name.of(".");
    static final Name PARENT = Name.of("..");

    /** Cookies of a listing count from here on: 1 and 2 stand behind "." and "..". */
    static final long COOKIE_FIRST = 2;

    static final Name SECURITY_CAPABILITY = Name.of("security.capability");
    private static final Name SECURITY_SELINUX = Name.of("security.selinux");

    /** Produces the result of a request: 0 or more, or a negated errno. */
    interface Body {
        int run() throws FileSystemException;
    }

    final FileSystem fileSystem;
    final MountOptions options;
    private final OperationMetrics metrics = new OperationMetrics();
    private final WaitingRequests waiting = new WaitingRequests(metrics);

    MountOperations(FileSystem fileSystem, MountOptions options) {
        this.fileSystem = fileSystem;
        this.options = options;
    }

    final OperationMetrics metrics() {
        return metrics;
    }

    /** Requests that wait without a thread. */
    final WaitingRequests waiting() {
        return waiting;
    }

    /** The extended attribute of some inode has just been set or removed. */
    abstract void attributeChanged(Name attribute);

    /** Whether the kernel checks access by the lists that it is given, tells the umask of whoever makes something, and in a request to set a list whether the set-group-id bit goes. */
    abstract boolean enforcesAccessLists();

    /** The attributes to give to the kernel. */
    final Attributes shown(Attributes attributes) {
        return enforcesAccessLists() ? attributes : attributes.withoutLists();
    }

    /** How long the kernel may use the attributes of an inode in an answer without asking again. */
    abstract long attributesValidNanos(long inode);

    /**
     * As whom a file is changed, for {@link Caller#modeAfterWrite}.
     *
     * @param kills whether the kernel has found that set-user-id and set-group-id bits are to go
     */
    abstract Caller changer(RequestThread request, boolean kills);

    /** Inodes that the kernel has references to, as far as the library tells. */
    abstract int knownInodeCount();

    /** The mount is gone: gives back what the kernel, cut off, has not. */
    abstract void ended();

    final int answer(Operation operation, Body body) {
        RequestThread thread = RequestThread.current();
        if (thread != null) {
            thread.operation = operation;
        }
        long start = thread == null || thread.cameNanos == 0 ? System.nanoTime() : thread.cameNanos;
        int result;
        try {
            result = body.run();
        } catch (Throwable t) { // also an Error: native code cannot take it
            result = -errno(operation, t);
        }
        if (thread == null || !thread.left) {
            metrics.finished(operation, result < 0, System.nanoTime() - start);
        }
        return result;
    }

    /** What to answer when an operation has failed so, which is noted. */
    static int errno(Operation operation, Throwable failure) {
        Throwable cause =
                failure instanceof CompletionException && failure.getCause() != null ? failure.getCause() : failure;
        if (cause instanceof FileSystemException e) {
            log.atTrace()
                    .addKeyValue("operation", operation)
                    .addKeyValue("code", e.code())
                    .log("operation_failed");
            return Errno.of(e.code());
        }
        reportBug(operation, cause);
        return Errno.EIO;
    }

    @SuppressWarnings("EmptyCatch")
    private static void reportBug(Operation operation, Throwable t) {
        try {
            log.atError()
                    .addKeyValue("operation", operation)
                    .addKeyValue("errno", "EIO")
                    .setCause(t)
                    .log("callback_failed");
        } catch (Throwable ignored) {
            // Logging can fail for the same reason, such as a full heap; the caller still gets its EIO.
        }
    }

    static OpenMode openMode(int flags) {
        int access = flags & O_ACCMODE;
        return new OpenMode(
                access != O_WRONLY,
                access == O_WRONLY || access == O_RDWR,
                (flags & O_APPEND) != 0,
                (flags & O_TRUNC) != 0,
                (flags & O_DSYNC) != 0);
    }

    static long now() {
        Instant now = Instant.now();
        return NativeStructs.nanos(now.getEpochSecond(), now.getNano());
    }

    private static final Set<String> NAMESPACES = Set.of("user", "trusted", "security");

    /**
     * Only namespaces that are kept and given back without a meaning here, and access control lists where they are enforced: one that is not would be worse than
     * none.
     */
    final Name attributeName(byte[] bytes) throws FileSystemException {
        int dot = 0;
        while (dot < bytes.length && bytes[dot] != '.') {
            dot++;
        }
        if (dot == bytes.length - 1) {
            throw new FileSystemException(Code.INVALID, "an extended attribute without a name");
        }
        Name name = Name.wrap(bytes);
        boolean kept = FileSystem.isAccessList(name)
                ? enforcesAccessLists()
                : NAMESPACES.contains(new String(bytes, 0, dot, StandardCharsets.ISO_8859_1));
        if (dot == bytes.length || !kept) {
            throw new FileSystemException(Code.NOT_SUPPORTED, "a namespace of extended attributes that is not kept");
        }
        return name;
    }

    /**
     * The value of an extended attribute.
     *
     * <p>A file without the label of SELinux is answered as if labels were not kept, which only a kernel without SELinux lets
     * a file system see: ls -l asks for it of every file, unless it hears that of the first.
     */
    final byte[] attributeValue(long inode, Name attribute) throws FileSystemException {
        try {
            return fileSystem.getExtendedAttribute(inode, attribute);
        } catch (FileSystemException e) {
            throw e.code() == Code.NO_DATA && attribute.equals(SECURITY_SELINUX)
                    ? new FileSystemException(Code.NOT_SUPPORTED, "no label")
                    : e;
        }
    }

    static ExtendedAttributeMode attributeMode(int flags) throws FileSystemException {
        return switch (flags) {
            case 0 -> ExtendedAttributeMode.SET;
            case XATTR_CREATE -> ExtendedAttributeMode.CREATE;
            case XATTR_REPLACE -> ExtendedAttributeMode.REPLACE;
            default -> throw new FileSystemException(Code.INVALID, "flags of setxattr");
        };
    }

    /** As listxattr(2) gives them: each with a NUL behind it; those that can be asked for. */
    final byte[] nameList(Name[] names) {
        ByteArrayOutputStream list = new ByteArrayOutputStream();
        for (Name name : names) {
            if (enforcesAccessLists() || !FileSystem.isAccessList(name)) {
                list.writeBytes(name.bytes());
                list.write(0);
            }
        }
        return list.toByteArray();
    }
}
