package blocktree.tree;

import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.UnaryOperator;

/**
 * A POSIX access control list (acl(5)) in the form in which the kernel passes it as an extended attribute: {@code u32 2}, then for each entry {@code u16 tag, u16 permissions, u32 id},
 * little-endian. Permissions are 4 to read, 2 to write, 1 to execute. Immutable.
 */
final class AccessList {
    /** The kernel takes no longer one: a page. */
    static final int SIZE_BYTES_MAX = 4096;

    private static final int VERSION = 2;
    private static final int HEADER_SIZE_BYTES = 4;
    private static final int ENTRY_SIZE_BYTES = 8;

    private static final int OWNER = 1;
    private static final int USER = 2;
    private static final int OWNING_GROUP = 4;
    private static final int GROUP = 8;
    private static final int MASK = 16;
    private static final int OTHERS = 32;

    private static final int ALL = 7;
    private static final int NOBODY = -1;

    /** @param id of the user or group; of others none */
    private record Entry(int tag, int permissions, int id) {
        boolean isNamed() {
            return tag == USER || tag == GROUP;
        }

        Entry with(int changed) {
            return new Entry(tag, changed & ALL, id);
        }
    }

    private final List<Entry> entries;

    private AccessList(List<Entry> entries) {
        this.entries = entries;
    }

    /** INVALID unless these are the bytes of a list: the entries of its owner, of users, of the owning group, of groups, the mask (needed with users or groups) and others, in this order, each once. */
    static AccessList parse(byte[] bytes) throws FileSystemException {
        if (bytes.length > SIZE_BYTES_MAX) {
            throw new FileSystemException(Code.TOO_BIG, "a list of " + bytes.length + " bytes");
        }
        ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        if (bytes.length % ENTRY_SIZE_BYTES != HEADER_SIZE_BYTES || in.getInt() != VERSION) {
            throw invalid();
        }
        List<Entry> entries = new ArrayList<>(in.remaining() / ENTRY_SIZE_BYTES);
        Set<Entry> seen = new HashSet<>();
        int last = 0;
        int tags = 0;
        while (in.hasRemaining()) {
            int tag = Short.toUnsignedInt(in.getShort());
            int permissions = Short.toUnsignedInt(in.getShort());
            int id = in.getInt();
            boolean known = Integer.bitCount(tag) == 1 && tag <= OTHERS;
            boolean named = tag == USER || tag == GROUP;
            Entry entry = new Entry(tag, permissions, named ? id : NOBODY);
            if (!known
                    || permissions > ALL
                    || tag < last
                    || named && id == NOBODY
                    || !seen.add(new Entry(tag, 0, entry.id))) {
                throw invalid();
            }
            entries.add(entry);
            last = tag;
            tags |= tag;
        }
        int needed = OWNER | OWNING_GROUP | OTHERS | ((tags & (USER | GROUP)) == 0 ? 0 : MASK);
        if ((tags & needed) != needed) {
            throw invalid();
        }
        return new AccessList(entries);
    }

    private static FileSystemException invalid() {
        return new FileSystemException(Code.INVALID, "not an access control list");
    }

    byte[] toBytes() {
        ByteBuffer out = ByteBuffer.allocate(HEADER_SIZE_BYTES + ENTRY_SIZE_BYTES * entries.size())
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(VERSION);
        for (Entry entry : entries) {
            out.putShort((short) entry.tag).putShort((short) entry.permissions).putInt(entry.id);
        }
        return out.array();
    }

    /** Whether the mode says all that the list says. */
    boolean isPlain() {
        return entries.size() == 3;
    }

    /** The nine bits that the mode has beside this list: those of the group are the mask, where there is one. */
    int permissions() {
        return of(OWNER) << 6 | upperBound() << 3 | of(OTHERS);
    }

    /** The same list for a mode that was set to {@code permissions}. */
    AccessList withPermissions(int permissions) {
        return changed(entry -> entry.with(sharesOf(entry, permissions)));
    }

    /** The list of a new inode, for which its maker asks for {@code permissions}: none of them is given that either leaves out. */
    AccessList restrictedTo(int permissions) {
        return changed(entry -> entry.with(entry.permissions & sharesOf(entry, permissions)));
    }

    /** What a mode gives to this entry; one that it does not speak of keeps its own. */
    private int sharesOf(Entry entry, int permissions) {
        return switch (entry.tag) {
            case OWNER -> permissions >> 6;
            case OWNING_GROUP -> has(MASK) ? entry.permissions : permissions >> 3;
            case MASK -> permissions >> 3;
            case OTHERS -> permissions;
            default -> entry.permissions;
        };
    }

    private AccessList changed(UnaryOperator<Entry> change) {
        return new AccessList(entries.stream().map(change).toList());
    }

    /**
     * The most that nine bits without the list may say so that they give nobody what the list does not: whoever is in the owning group may be a user with an entry, and whoever is not may be one, or be in a group with an
     * entry.
     */
    int permissionsWithoutList() {
        int users = ALL;
        int groups = ALL;
        for (Entry entry : entries) {
            if (entry.tag == USER) {
                users &= entry.permissions;
            } else if (entry.tag == GROUP) {
                groups &= entry.permissions;
            }
        }
        int named = entries.stream().anyMatch(Entry::isNamed) ? upperBound() : ALL;
        int owningGroup = of(OWNING_GROUP) & upperBound() & users;
        int others = of(OTHERS) & users & groups & named;
        return of(OWNER) << 6 | owningGroup << 3 | others;
    }

    private int upperBound() {
        return of(has(MASK) ? MASK : OWNING_GROUP);
    }

    private boolean has(int tag) {
        return entries.stream().anyMatch(entry -> entry.tag == tag);
    }

    private int of(int tag) {
        for (Entry entry : entries) {
            if (entry.tag == tag) {
                return entry.permissions;
            }
        }
        throw new IllegalArgumentException("no entry of this kind");
    }
}
