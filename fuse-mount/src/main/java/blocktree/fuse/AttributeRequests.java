package blocktree.fuse;

import static blocktree.fuse.NativeFuse.MEMORY;

import blocktree.tree.AttributeChange;
import blocktree.tree.Attributes;
import blocktree.tree.FileSystem;
import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystem.ExtendedAttributeMode;
import blocktree.tree.FileSystemException;
import blocktree.tree.Name;
import org.jspecify.annotations.Nullable;

/** Answers requests on the attributes of an inode from the request itself. Layouts are those of linux/fuse.h. */
final class AttributeRequests {
    private static final int FATTR_MODE = 1;
    private static final int FATTR_UID = 1 << 1;
    private static final int FATTR_GID = 1 << 2;
    private static final int FATTR_SIZE = 1 << 3;
    private static final int FATTR_ATIME = 1 << 4;
    private static final int FATTR_MTIME = 1 << 5;
    private static final int FATTR_ATIME_NOW = 1 << 7;
    private static final int FATTR_MTIME_NOW = 1 << 8;
    private static final int FATTR_CTIME = 1 << 10;
    private static final int FATTR_KILL_SUIDGID = 1 << 11;

    /** Places of struct fuse_setattr_in. */
    private static final int SIZE = 16;

    private static final int ACCESS_SECONDS = 32;
    private static final int MODIFY_SECONDS = 40;
    private static final int CHANGE_SECONDS = 48;
    private static final int ACCESS_NANOS = 56;
    private static final int MODIFY_NANOS = 60;
    private static final int CHANGE_NANOS = 64;
    private static final int MODE = 68;
    private static final int UID = 76;
    private static final int GID = 80;

    /** The name of an attribute stands behind the size and flags, or the size and padding; and to set it, behind more flags where the kernel knows access lists. */
    private static final int ATTRIBUTE_NAME = 8;

    private static final int MORE_FLAGS = 8;
    private static final int ATTRIBUTE_NAME_BEHIND_MORE_FLAGS = 16;
    private static final int SETXATTR_ACL_KILL_SGID = 1;

    private final FileSystem fileSystem;
    private final MountOperations operations;

    AttributeRequests(FileSystem fileSystem, MountOperations operations) {
        this.fileSystem = fileSystem;
        this.operations = operations;
    }

    /** Whether a request to set attributes sets the size of a file. */
    static boolean setsSize(RequestThread request) {
        return (request.bodyInt(0) & FATTR_SIZE) != 0;
    }

    /** False: not a request on attributes, and libfuse shall answer. */
    boolean answer(RequestThread request, long inode) {
        switch (request.opcode()) {
            case RequestThread.OPCODE_GETATTR -> getattr(request, inode);
            case RequestThread.OPCODE_SETATTR -> setattr(request, inode);
            case RequestThread.OPCODE_GETXATTR -> getxattr(request, inode);
            case RequestThread.OPCODE_SETXATTR -> setxattr(request, inode);
            case RequestThread.OPCODE_LISTXATTR -> listxattr(request, inode);
            case RequestThread.OPCODE_REMOVEXATTR -> removexattr(request, inode);
            default -> {
                return false;
            }
        }
        return true;
    }

    private void getattr(RequestThread request, long inode) {
        int result = operations.answer(Operation.GETATTR, () -> {
            putAttributes(request, fileSystem.getAttributes(inode));
            return 0;
        });
        request.reply(-result, KernelStructs.ATTRIBUTES_SIZE_BYTES);
    }

    private void putAttributes(RequestThread request, Attributes attributes) {
        KernelStructs.putAttributes(
                request.replyBody(), operations.shown(attributes), operations.attributesValidNanos(attributes.inode()));
    }

    private void setattr(RequestThread request, long inode) {
        int valid = request.bodyInt(0);
        Operation operation = (valid & FATTR_MODE) != 0
                ? Operation.CHMOD
                : (valid & (FATTR_UID | FATTR_GID)) != 0
                        ? Operation.CHOWN
                        : (valid & FATTR_SIZE) != 0 ? Operation.TRUNCATE : Operation.UTIMENS;
        int result = operations.answer(operation, () -> {
            AttributeChange change = new AttributeChange(
                    (valid & FATTR_MODE) == 0 ? null : request.bodyInt(MODE) & MountOperations.PERMISSIONS_MASK,
                    (valid & FATTR_UID) == 0 ? null : request.bodyInt(UID),
                    (valid & FATTR_GID) == 0 ? null : request.bodyInt(GID),
                    (valid & FATTR_SIZE) == 0 ? null : request.bodyLong(SIZE),
                    time(request, valid, FATTR_ATIME, FATTR_ATIME_NOW, ACCESS_SECONDS, ACCESS_NANOS),
                    time(request, valid, FATTR_MTIME, FATTR_MTIME_NOW, MODIFY_SECONDS, MODIFY_NANOS),
                    time(request, valid, FATTR_CTIME, 0, CHANGE_SECONDS, CHANGE_NANOS));
            Caller caller = operations.changer(request, (valid & FATTR_KILL_SUIDGID) != 0);
            putAttributes(request, fileSystem.setAttributes(caller, inode, change));
            return 0;
        });
        request.reply(-result, KernelStructs.ATTRIBUTES_SIZE_BYTES);
    }

    private static @Nullable Long time(RequestThread request, int valid, int set, int setNow, int seconds, int nanos) {
        if ((valid & setNow) != 0) {
            return MountOperations.now();
        }
        return (valid & set) == 0
                ? null
                : Long.valueOf(NativeStructs.nanos(request.bodyLong(seconds), request.bodyInt(nanos)));
    }

    /** Produces the bytes that getxattr or listxattr gives. */
    private interface Source {
        byte[] get() throws FileSystemException;
    }

    private void getxattr(RequestThread request, long inode) {
        give(
                request,
                Operation.GETXATTR,
                () -> operations.attributeValue(inode, operations.attributeName(request.bodyString(ATTRIBUTE_NAME))));
    }

    private void listxattr(RequestThread request, long inode) {
        give(request, Operation.LISTXATTR, () -> operations.nameList(fileSystem.listExtendedAttributes(inode)));
    }

    /** Answers with the size of what {@code source} gives when the caller has room for 0 bytes, and else with the bytes. */
    private void give(RequestThread request, Operation operation, Source source) {
        int room = request.bodyInt(0);
        byte[][] value = new byte[1][];
        int result = operations.answer(operation, () -> {
            value[0] = source.get();
            return room != 0 && value[0].length > room ? -Errno.ERANGE : 0;
        });
        if (result == 0 && room != 0) {
            request.reply(value[0]);
        } else {
            if (result == 0) { // struct fuse_getxattr_out
                MEMORY.putLong(request.replyBody(), value[0].length);
            }
            request.reply(-result, Long.BYTES);
        }
    }

    private void setxattr(RequestThread request, long inode) {
        int result = operations.answer(Operation.SETXATTR, () -> {
            int size = request.bodyInt(0);
            boolean hasMoreFlags = operations.enforcesAccessLists();
            int nameOffset = hasMoreFlags ? ATTRIBUTE_NAME_BEHIND_MORE_FLAGS : ATTRIBUTE_NAME;
            boolean kills = hasMoreFlags && (request.bodyInt(MORE_FLAGS) & SETXATTR_ACL_KILL_SGID) != 0;
            byte[] nameBytes = request.bodyString(nameOffset);
            Name name = operations.attributeName(nameBytes);
            ExtendedAttributeMode mode = MountOperations.attributeMode(request.bodyInt(4));
            byte[] value = request.bodyBytes(nameOffset + nameBytes.length + 1, size);
            fileSystem.setExtendedAttribute(operations.changer(request, kills), inode, name, value, mode);
            operations.attributeChanged(name);
            return 0;
        });
        request.reply(-result, 0);
    }

    private void removexattr(RequestThread request, long inode) {
        int result = operations.answer(Operation.REMOVEXATTR, () -> {
            fileSystem.removeExtendedAttribute(inode, operations.attributeName(request.bodyString(0)));
            return 0;
        });
        request.reply(-result, 0);
    }
}
