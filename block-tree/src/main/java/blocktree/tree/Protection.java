package blocktree.tree;

import blocktree.tree.FileSystem.Caller;
import blocktree.tree.FileSystemException.Code;
import java.util.Collections;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * Who may use an inode: its mode and, among its extended attributes, its access control lists, which change together. The mode's bits of the group are the mask of the access list while there is one; a
 * list that says no more than the mode is not kept.
 *
 * <p>A stored access list that is none, or not that of the mode, is damaged: it gives nobody but the owner anything, and lasts until it is removed or replaced. Immutable, and the map with it.
 */
record Protection(int mode, SortedMap<Name, byte[]> attributes) {
    private static final int PERMISSIONS = 0777;
    private static final int SET_GROUP_ID = 02000;
    private static final int ALL_BUT_THE_OWNERS = 077;

    static boolean isList(Name name) {
        return name.equals(FileSystem.ACCESS_LIST) || name.equals(FileSystem.DEFAULT_ACCESS_LIST);
    }

    /**
     * That of a new inode in {@code directory}, whose default list takes the place of the umask and is handed down. CORRUPT when that list is damaged.
     *
     * @param mode what the maker asks for
     */
    static Protection ofNew(int mode, Caller caller, Protection directory) throws FileSystemException {
        if (typeOf(mode) == Attributes.TYPE_SYMLINK) {
            return new Protection(mode, Collections.emptySortedMap());
        }
        byte[] inherited = directory.attributes.get(FileSystem.DEFAULT_ACCESS_LIST);
        if (inherited == null) {
            return new Protection(mode & ~(caller.umask() & PERMISSIONS), Collections.emptySortedMap());
        }
        AccessList list = parseStored(inherited).restrictedTo(mode);
        SortedMap<Name, byte[]> attributes = new TreeMap<>();
        if (!list.isPlain()) {
            attributes.put(FileSystem.ACCESS_LIST, list.toBytes());
        }
        if (typeOf(mode) == Attributes.TYPE_DIRECTORY) {
            attributes.put(FileSystem.DEFAULT_ACCESS_LIST, inherited);
        }
        return new Protection(mode & ~PERMISSIONS | list.permissions(), attributes);
    }

    /** @param permissions the low 12 bits of a mode. CORRUPT when the access list is damaged */
    Protection withPermissions(int permissions) throws FileSystemException {
        int changed = mode & Attributes.TYPE_MASK | permissions & 07777;
        byte[] list = attributes.get(FileSystem.ACCESS_LIST);
        if (list == null) {
            return new Protection(changed, attributes);
        }
        if (hasDamagedAccessList()) {
            throw damaged();
        }
        SortedMap<Name, byte[]> copy = new TreeMap<>(attributes);
        copy.put(
                FileSystem.ACCESS_LIST,
                parseStored(list).withPermissions(permissions).toBytes());
        return new Protection(changed, copy);
    }

    /** With a list set by {@code caller}, as of {@link FileSystem#setExtendedAttribute}, or another attribute. */
    Protection with(Caller caller, Name name, byte[] value) throws FileSystemException {
        SortedMap<Name, byte[]> copy = new TreeMap<>(attributes);
        if (!isList(name)) {
            copy.put(name, value);
            return new Protection(mode, copy);
        }
        if (typeOf(mode) == Attributes.TYPE_SYMLINK) {
            throw new FileSystemException(Code.NOT_SUPPORTED, "a symlink has no access control list");
        }
        AccessList list = AccessList.parse(value);
        if (name.equals(FileSystem.DEFAULT_ACCESS_LIST)) {
            if (typeOf(mode) != Attributes.TYPE_DIRECTORY) {
                throw new FileSystemException(Code.DENIED, "only a directory has a default access control list");
            }
            copy.put(name, list.toBytes());
            return new Protection(mode, copy);
        }
        if (list.isPlain()) {
            copy.remove(name);
        } else {
            copy.put(name, list.toBytes());
        }
        int kept = caller.uid() == 0 ? mode : mode & ~SET_GROUP_ID;
        return new Protection(kept & ~PERMISSIONS | list.permissions(), copy);
    }

    /** NO_DATA when there is no such attribute, unless it is a list. The mode stays what it shows. */
    Protection without(Name name) throws FileSystemException {
        SortedMap<Name, byte[]> copy = new TreeMap<>(attributes);
        if (copy.remove(name) == null && !isList(name)) {
            throw new FileSystemException(Code.NO_DATA, "no such attribute");
        }
        return new Protection(name.equals(FileSystem.ACCESS_LIST) ? shownMode() : mode, copy);
    }

    /** Null when there is none. CORRUPT for a damaged list. */
    byte @Nullable [] attribute(Name name) throws FileSystemException {
        byte[] value = attributes.get(name);
        if (value != null && isList(name)) {
            parseStored(value);
            if (name.equals(FileSystem.ACCESS_LIST) && hasDamagedAccessList()) {
                throw damaged();
            }
        }
        return value;
    }

    /** The mode for whoever enforces the lists. */
    int shownMode() {
        return hasDamagedAccessList() ? mode & ~ALL_BUT_THE_OWNERS : mode;
    }

    /** The mode for whoever knows no lists: it gives nobody more than they do. */
    int modeWithoutLists() {
        byte[] value = attributes.get(FileSystem.ACCESS_LIST);
        AccessList list = value == null || hasDamagedAccessList() ? null : parsed(value);
        return list == null ? shownMode() : mode & ~PERMISSIONS | list.permissionsWithoutList();
    }

    boolean hasDamagedList() {
        byte[] inherited = attributes.get(FileSystem.DEFAULT_ACCESS_LIST);
        return hasDamagedAccessList() || inherited != null && parsed(inherited) == null;
    }

    private boolean hasDamagedAccessList() {
        byte[] value = attributes.get(FileSystem.ACCESS_LIST);
        if (value == null) {
            return false;
        }
        AccessList list = parsed(value);
        return list == null || list.permissions() != (mode & PERMISSIONS);
    }

    private static @Nullable AccessList parsed(byte[] value) {
        try {
            return AccessList.parse(value);
        } catch (FileSystemException e) {
            return null;
        }
    }

    private static AccessList parseStored(byte[] value) throws FileSystemException {
        AccessList list = parsed(value);
        if (list == null) {
            throw damaged();
        }
        return list;
    }

    private static FileSystemException damaged() {
        return new FileSystemException(Code.CORRUPT, "a damaged access control list");
    }

    private static int typeOf(int mode) {
        return mode & Attributes.TYPE_MASK;
    }
}
