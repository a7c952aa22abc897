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

    /**
     * That of a new inode in {@code directory}, whose default list takes the place of the umask and is handed down. CORRUPT when that list is damaged.
     *
     * @param mode what the maker asks for
     */
    static Protection ofNew(int mode, Caller caller, Protection directory) throws FileSystemException {
        if (typeOf(mode) == Attributes.TYPE_SYMLINK) {
            return new Protection(mode, Collections.emptySortedMap());
        }
        AccessList inherited = directory.defaultList();
        if (inherited == null) {
            return new Protection(mode & ~(caller.umask() & PERMISSIONS), Collections.emptySortedMap());
        }
        AccessList list = inherited.restrictedTo(mode);
        SortedMap<Name, byte[]> attributes = new TreeMap<>();
        if (!list.isPlain()) {
            attributes.put(FileSystem.ACCESS_LIST, list.toBytes());
        }
        if (typeOf(mode) == Attributes.TYPE_DIRECTORY) {
            attributes.put(FileSystem.DEFAULT_ACCESS_LIST, inherited.toBytes());
        }
        return new Protection(mode & ~PERMISSIONS | list.permissions(), attributes);
    }

    /** @param permissions the low 12 bits of a mode. CORRUPT when the access list is damaged */
    Protection withPermissions(int permissions) throws FileSystemException {
        int changed = mode & Attributes.TYPE_MASK | permissions & 07777;
        AccessList list = accessList();
        if (list == null) {
            return new Protection(changed, attributes);
        }
        SortedMap<Name, byte[]> copy = new TreeMap<>(attributes);
        copy.put(FileSystem.ACCESS_LIST, list.withPermissions(permissions).toBytes());
        return new Protection(changed, copy);
    }

    /** With a list set by {@code caller}, as of {@link FileSystem#setExtendedAttribute}, or another attribute. */
    Protection with(Caller caller, Name name, byte[] value) throws FileSystemException {
        SortedMap<Name, byte[]> copy = new TreeMap<>(attributes);
        if (!FileSystem.isAccessList(name)) {
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
        if (copy.remove(name) == null && !FileSystem.isAccessList(name)) {
            throw new FileSystemException(Code.NO_DATA, "no such attribute");
        }
        return new Protection(name.equals(FileSystem.ACCESS_LIST) ? shownMode() : mode, copy);
    }

    /** Null when there is none. CORRUPT for a damaged list. */
    byte @Nullable [] attribute(Name name) throws FileSystemException {
        if (name.equals(FileSystem.ACCESS_LIST)) {
            var unused = accessList();
        } else if (name.equals(FileSystem.DEFAULT_ACCESS_LIST)) {
            var unused = defaultList();
        }
        return attributes.get(name);
    }

    /** The mode for whoever enforces the lists. */
    int shownMode() {
        return isDamaged(this::accessList) ? mode & ~ALL_BUT_THE_OWNERS : mode;
    }

    /** The mode for whoever knows no lists: it gives nobody more than they do. */
    int modeWithoutLists() {
        try {
            AccessList list = accessList();
            return list == null ? mode : mode & ~PERMISSIONS | list.permissionsWithoutList();
        } catch (FileSystemException e) {
            return shownMode();
        }
    }

    boolean hasDamagedList() {
        return isDamaged(this::accessList) || isDamaged(this::defaultList);
    }

    /** Reads a stored list: null when there is none, CORRUPT when it is damaged. */
    private interface Reader {
        @Nullable
        AccessList read() throws FileSystemException;
    }

    private static boolean isDamaged(Reader reader) {
        try {
            var unused = reader.read();
            return false;
        } catch (FileSystemException e) {
            return true;
        }
    }

    private @Nullable AccessList accessList() throws FileSystemException {
        AccessList list = stored(FileSystem.ACCESS_LIST);
        if (list != null && list.permissions() != (mode & PERMISSIONS)) {
            throw damaged();
        }
        return list;
    }

    private @Nullable AccessList defaultList() throws FileSystemException {
        return stored(FileSystem.DEFAULT_ACCESS_LIST);
    }

    private @Nullable AccessList stored(Name name) throws FileSystemException {
        byte[] value = attributes.get(name);
        try {
            return value == null ? null : AccessList.parse(value);
        } catch (FileSystemException e) {
            throw damaged();
        }
    }

    private static FileSystemException damaged() {
        return new FileSystemException(Code.CORRUPT, "a damaged access control list");
    }

    private static int typeOf(int mode) {
        return mode & Attributes.TYPE_MASK;
    }
}
