package blocktree.tree;

import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * A POSIX file system addressed by inode, neutral to the library that mounts it.
 *
 * <p>Inode numbers are positive; {@link #ROOT_INODE} is the root. Names are bytes: 1 to 255 of them, neither '/' nor NUL. Every
 * method may be called from many threads at once. Permission bits are checked by the kernel (mounts use {@code
 * default_permissions}); this interface enforces what the kernel leaves to a file system: existence, kinds, emptiness, set-group-id
 * inheritance, name and size limits, read-only views; and it keeps mode and access control lists in step.
 *
 * <p>Every lookup, create, mkdir, mknod, symlink and link that returns {@link Attributes} adds one reference to that inode, which
 * {@link #forget} takes back. An inode that has lost its last name stays as it is until its references and handles are gone, too;
 * a removed directory takes no new entries meanwhile. A path-based binding that never forgets calls {@link #forget} at once after use.
 */
public interface FileSystem extends AutoCloseable {
    long ROOT_INODE = 1;
    int NAME_SIZE_MAX = 255;

    /**
     * The extended attributes that are POSIX access control lists (acl(5)), in the kernel's binary form: who else may use an inode, and what new inodes in a directory get. Whoever mounts without enforcing them has to show {@link
     * Attributes#withoutLists}.
     */
    Name ACCESS_LIST = Name.of("system.posix_acl_access");

    Name DEFAULT_ACCESS_LIST = Name.of("system.posix_acl_default");

    static boolean isAccessList(Name extendedAttribute) {
        return extendedAttribute.equals(ACCESS_LIST) || extendedAttribute.equals(DEFAULT_ACCESS_LIST);
    }

    /** The entry {@code name} of directory {@code parent}; NOT_FOUND when there is none. "." and ".." are not looked up here. */
    Attributes lookup(long parent, Name name) throws FileSystemException;

    /** Takes back {@code count} references. Never fails; unknown inodes are ignored. */
    void forget(long inode, long count);

    Attributes getAttributes(long inode) throws FileSystemException;

    /** Changes what {@code change} names, and nothing else; ctime moves. Size changes need a regular file. Permissions change the access list, too: those of the group are its mask. */
    Attributes setAttributes(Caller caller, long inode, AttributeChange change) throws FileSystemException;

    /**
     * Makes a regular file, fifo, socket or device node. {@code mode} holds the type (S_IFMT) and the permission bits that are asked for, as everywhere here: the directory's default list restricts them and becomes the new
     * inode's list, and where there is none the caller's umask is taken from them. {@code device} is the Linux device number for device nodes, else 0.
     */
    Attributes makeNode(Caller caller, long parent, Name name, int mode, long device) throws FileSystemException;

    Attributes makeDirectory(Caller caller, long parent, Name name, int mode) throws FileSystemException;

    /** Makes a symlink to {@code target}, 1 to 4095 bytes of any content but NUL. */
    Attributes makeSymlink(Caller caller, long parent, Name name, byte[] target) throws FileSystemException;

    byte[] readSymlink(long inode) throws FileSystemException;

    /** Adds a name for a non-directory. One that has lost its last name gets none again: NOT_FOUND. */
    Attributes link(long inode, long newParent, Name newName) throws FileSystemException;

    void unlink(long parent, Name name) throws FileSystemException;

    void removeDirectory(long parent, Name name) throws FileSystemException;

    /** Renames with POSIX semantics; {@code mode} says what happens when the new name exists. */
    void rename(long parent, Name name, long newParent, Name newName, RenameMode mode) throws FileSystemException;

    /**
     * Opens a regular file. The handle stays valid, and its inode readable and writable, until {@link #release}, whether or not the
     * file is unlinked meanwhile.
     */
    long open(Caller caller, long inode, OpenMode mode) throws FileSystemException;

    /** {@link #makeNode} of a regular file and {@link #open} in one step. EXISTS when the name is taken. */
    Created create(Caller caller, long parent, Name name, int mode, OpenMode open) throws FileSystemException;

    /**
     * Makes a regular file without a name, and opens it, as O_TMPFILE does. It goes with its last handle and reference, unless {@link #link} has named it before.
     *
     * @param parent the directory that it belongs to as if it had a name there, such as for its group
     * @param linkable whether it may be named at all
     */
    Created createNameless(Caller caller, long parent, int mode, OpenMode open, boolean linkable)
            throws FileSystemException;

    /**
     * Reads from {@code offset} until {@code target} has no room or the file ends.
     *
     * @return bytes read; 0 at or behind the end
     */
    int read(long handle, long offset, ByteBuffer target) throws FileSystemException;

    /**
     * Writes all of {@code source} at {@code offset}, or at the end when the handle was opened with append. A write by anybody but the
     * superuser takes away the set-user-id bit, and the set-group-id bit of what its group may execute, as a change of size does.
     */
    int write(Caller caller, long handle, long offset, ByteBuffer source) throws FileSystemException;

    /** A descriptor was closed: reports a write error that is not reported yet. Does not sync. */
    void flush(long handle) throws FileSystemException;

    /**
     * What was written through any handle of the inode, and every name needed to find it, is durable when the result is complete. This may do the work, and does not wait for others who are at it.
     *
     * @return fails with a {@link FileSystemException}; what depends on it must neither wait nor call the file system, since it may keep others waiting
     */
    CompletableFuture<Void> beginFsync(long handle, boolean dataOnly) throws FileSystemException;

    /** {@link #beginFsync}, done when this returns. */
    default void fsync(long handle, boolean dataOnly) throws FileSystemException {
        await(beginFsync(handle, dataOnly));
    }

    /** Ends the handle. Never fails; unknown handles are ignored. */
    void release(long handle);

    /** The same promise as {@link #beginFsync}, for a directory and its entries. */
    CompletableFuture<Void> beginFsyncDirectory(long inode) throws FileSystemException;

    /** {@link #beginFsyncDirectory}, done when this returns. */
    default void fsyncDirectory(long inode) throws FileSystemException {
        await(beginFsyncDirectory(inode));
    }

    /** fallocate(2): {@code mode} 0, KEEP_SIZE (1), PUNCH_HOLE|KEEP_SIZE (3), ZERO_RANGE (16, 17); others NOT_SUPPORTED. */
    void allocate(Caller caller, long handle, int mode, long offset, long sizeBytes) throws FileSystemException;

    /**
     * Copies up to {@code sizeBytes} from one handle to another, or within one, as copy_file_range(2) does.
     *
     * @return bytes copied: fewer at the end of the source, or when going on would mean to wait for {@link #room}
     */
    default long copy(Caller caller, long source, long sourceOffset, long target, long targetOffset, long sizeBytes)
            throws FileSystemException {
        return Copying.copy(
                sizeBytes,
                (at, buffer) -> read(source, sourceOffset + at, buffer),
                (at, buffer) -> write(caller, target, targetOffset + at, buffer),
                this::room);
    }

    /** lseek(2) for data ({@code hole} false) or a hole; NO_DATA behind the end. */
    long seek(long handle, long offset, boolean hole) throws FileSystemException;

    /**
     * Lists a directory, without "." and "..", from behind {@code cookie} (0: from the start) until {@code sink} says stop or nothing is left. Entries that
     * exist during the whole listing appear exactly once, however the directory changes meanwhile.
     */
    void readDirectory(long inode, long cookie, DirectorySink sink) throws FileSystemException;

    /** The inode of the directory that holds directory {@code inode}; the root is its own parent. */
    long parent(long inode) throws FileSystemException;

    /** The value; NO_DATA when the attribute is absent. Answered from memory for inodes with open handles. */
    byte[] getExtendedAttribute(long inode, Name name) throws FileSystemException;

    /**
     * Sets a value of at most 65,536 bytes. An access list sets the permissions of the mode, and is not kept when it says no more than they do; when anybody but the superuser sets one, the set-group-id bit goes. INVALID for what is
     * no list, DENIED for the default list of what is no directory, NOT_SUPPORTED for a symlink's list.
     */
    void setExtendedAttribute(Caller caller, long inode, Name name, byte[] value, ExtendedAttributeMode mode)
            throws FileSystemException;

    Name[] listExtendedAttributes(long inode) throws FileSystemException;

    /** NO_DATA when the attribute is absent, unless it is an access list: to be without is all that is asked for then. */
    void removeExtendedAttribute(long inode, Name name) throws FileSystemException;

    /**
     * Complete while there is room for changes in memory; a change that is tried before then waits. What depends on it must neither wait nor call the file system.
     */
    CompletableFuture<Void> room();

    /** Where to hear of changes, whoever makes them. */
    Changes changes();

    /** The locks on its files, whoever holds them. */
    FileLocks locks();

    /** The number that {@link #changes} has for the root. */
    default long rootNumber() {
        return ROOT_INODE;
    }

    Statistics statistics() throws FileSystemException;

    /** Writes everything back durably. */
    void sync() throws FileSystemException;

    /** Syncs and frees everything; later calls fail with CLOSED. */
    @Override
    void close() throws FileSystemException;

    /** Waits for what was begun, and throws what it fails with. */
    static void await(CompletableFuture<Void> begun) throws FileSystemException {
        try {
            begun.get();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new FileSystemException(Code.TIMED_OUT, "interrupted while waiting for the store", e);
        } catch (ExecutionException e) {
            Throwable cause = e.getCause();
            throw cause instanceof FileSystemException failure
                    ? new FileSystemException(failure.code(), String.valueOf(failure.getMessage()), failure)
                    : new FileSystemException(Code.IO, "ended with an error", e);
        }
    }

    enum RenameMode {
        REPLACE,
        NO_REPLACE,
        EXCHANGE
    }

    enum ExtendedAttributeMode {
        SET,
        CREATE,
        REPLACE
    }

    /** How a regular file is opened. */
    record OpenMode(boolean read, boolean write, boolean append, boolean truncate, boolean sync) {}

    /** Who calls: the effective ids of the process, as the kernel passes them, and its umask where it makes something. */
    record Caller(int uid, int gid, int umask) {
        private static final int SET_USER_ID = 04000;
        private static final int SET_GROUP_ID_OF_A_PROGRAM = 02010;

        public Caller(int uid, int gid) {
            this(uid, gid, 0);
        }

        /** What is left of {@code mode} when this caller has changed the content of the file. */
        int modeAfterWrite(int mode) {
            if (uid == 0 || (mode & (SET_USER_ID | 02000)) == 0) {
                return mode;
            }
            int left = mode & ~SET_USER_ID;
            return (left & SET_GROUP_ID_OF_A_PROGRAM) == SET_GROUP_ID_OF_A_PROGRAM ? left & ~02000 : left;
        }
    }

    record Created(Attributes attributes, long handle) {}

    /** Sizes in bytes for statfs(2). */
    record Statistics(
            long totalBytes,
            long freeBytes,
            long availableBytes,
            long inodeCount,
            long freeInodeCount,
            int blockSizeBytes) {}

    /** Receives directory entries. */
    interface DirectorySink {
        /**
         * @param cookie what to pass to continue behind this entry
         * @param mode the type bits (S_IFMT) of the entry
         * @return false when there was no room: this entry was not taken and the listing stops
         */
        boolean entry(Name name, long inode, int mode, long cookie);
    }
}
