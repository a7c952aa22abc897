package blocktree.tree;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.FileSystemException.Code;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class AccessListTest {
    private static final int OWNER = 1;
    private static final int USER = 2;
    private static final int OWNING_GROUP = 4;
    private static final int GROUP = 8;
    private static final int MASK = 16;
    private static final int OTHERS = 32;

    /** In the kernel's form: tag, permissions and id for each entry. */
    static byte[] list(int... fields) {
        ByteBuffer out = ByteBuffer.allocate(4 + fields.length / 3 * 8).order(ByteOrder.LITTLE_ENDIAN);
        out.putInt(2);
        for (int i = 0; i < fields.length; i += 3) {
            out.putShort((short) fields[i]).putShort((short) fields[i + 1]).putInt(fields[i + 2]);
        }
        return out.array();
    }

    /** The owner may do all, user 2000 as given, the owning group read, the mask is as given, others nothing. */
    static byte[] withUser(int user, int mask) {
        return list(OWNER, 7, -1, USER, user, 2000, OWNING_GROUP, 4, -1, MASK, mask, -1, OTHERS, 0, -1);
    }

    @Test
    void bytesAreTheKernels() throws Exception {
        byte[] bytes = HexFormat.of()
                .parseHex("02000000"
                        + "01000700ffffffff"
                        + "02000600d0070000"
                        + "04000400ffffffff"
                        + "08000500b80b0000"
                        + "10000600ffffffff"
                        + "20000000ffffffff");
        AccessList list = AccessList.parse(bytes);
        assertArrayEquals(bytes, list.toBytes());
        assertEquals(0760, list.permissions());
        assertEquals(0740, list.permissionsWithoutList());
        assertEquals(0, AccessList.parse(withUser(7, 0)).permissions() & 077);
    }

    @Test
    void whatIsNoListIsRefused() {
        int[][] refused = {
            {},
            {OWNER, 7, -1, OWNING_GROUP, 5, -1},
            {OWNING_GROUP, 5, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, OWNER, 7, -1, OWNING_GROUP, 5, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, OWNING_GROUP, 5, -1, OTHERS, 1, -1, OTHERS, 1, -1},
            {OWNER, 8, -1, OWNING_GROUP, 5, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, USER, 7, 5, OWNING_GROUP, 5, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, OWNING_GROUP, 5, -1, GROUP, 7, 5, OTHERS, 1, -1},
            {OWNER, 7, -1, OWNING_GROUP, 5, -1, USER, 7, 5, MASK, 7, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, USER, 7, 5, USER, 6, 5, OWNING_GROUP, 5, -1, MASK, 7, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, USER, 7, -1, OWNING_GROUP, 5, -1, MASK, 7, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, OWNING_GROUP, 5, -1, MASK, 7, -1, MASK, 7, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, 3, 7, -1, OWNING_GROUP, 5, -1, OTHERS, 1, -1},
            {0, 7, -1, OWNER, 7, -1, OWNING_GROUP, 5, -1, OTHERS, 1, -1},
            {OWNER, 7, -1, OWNING_GROUP, 5, -1, OTHERS, 1, -1, 64, 1, -1},
        };
        for (int[] fields : refused) {
            assertInvalid(list(fields));
        }
        byte[] plain = list(OWNER, 7, -1, OWNING_GROUP, 5, -1, OTHERS, 1, -1);
        for (int size = 0; size < plain.length; size++) {
            assertInvalid(Arrays.copyOf(plain, size));
        }
        byte[] otherVersion = plain.clone();
        otherVersion[0] = 1;
        assertInvalid(otherVersion);
        FileSystemException e = assertThrows(FileSystemException.class, () -> AccessList.parse(new byte[5000]));
        assertEquals(Code.TOO_BIG, e.code());
    }

    private static void assertInvalid(byte[] bytes) {
        FileSystemException e = assertThrows(FileSystemException.class, () -> AccessList.parse(bytes));
        assertEquals(Code.INVALID, e.code(), () -> HexFormat.of().formatHex(bytes));
    }

    @Test
    void aModeChangesTheEntriesThatItSpeaksOf() throws Exception {
        AccessList withMask = AccessList.parse(withUser(6, 7));
        assertArrayEquals(
                list(OWNER, 6, -1, USER, 6, 2000, OWNING_GROUP, 4, -1, MASK, 5, -1, OTHERS, 1, -1),
                withMask.withPermissions(0651).toBytes());
        assertArrayEquals(
                list(OWNER, 6, -1, USER, 6, 2000, OWNING_GROUP, 4, -1, MASK, 4, -1, OTHERS, 0, -1),
                withMask.restrictedTo(0644).toBytes());
        AccessList plain = AccessList.parse(list(OWNER, 7, -1, OWNING_GROUP, 5, -1, OTHERS, 1, -1));
        assertEquals(0640, plain.withPermissions(0640).permissions());
        assertEquals(0640, plain.restrictedTo(0642).permissions());
        assertTrue(plain.isPlain());
    }

    @Test
    void permissionsWithoutTheListGiveNobodyMore() throws Exception {
        long seed = System.nanoTime();
        System.out.println("AccessListTest seed=" + seed);
        Random random = new Random(seed);
        int allowed = 0;
        for (int i = 0; i < 20_000; i++) {
            Map<Integer, Integer> users = new TreeMap<>();
            Map<Integer, Integer> groups = new TreeMap<>();
            for (int n = random.nextInt(3); n > 0; n--) {
                users.put(1 + random.nextInt(3), random.nextInt(8));
            }
            for (int n = random.nextInt(3); n > 0; n--) {
                groups.put(1 + random.nextInt(3), random.nextInt(8));
            }
            int owningGroup = random.nextInt(8);
            int others = random.nextInt(8);
            boolean masked = random.nextBoolean() || users.size() + groups.size() > 0;
            int mask = masked ? random.nextInt(8) : 7;
            List<Integer> fields = new ArrayList<>(List.of(OWNER, 7, -1));
            users.forEach((id, permissions) -> fields.addAll(List.of(USER, permissions, id)));
            fields.addAll(List.of(OWNING_GROUP, owningGroup, -1));
            groups.forEach((id, permissions) -> fields.addAll(List.of(GROUP, permissions, id)));
            if (masked) {
                fields.addAll(List.of(MASK, mask, -1));
            }
            fields.addAll(List.of(OTHERS, others, -1));
            AccessList list = AccessList.parse(
                    list(fields.stream().mapToInt(Integer::intValue).toArray()));
            int plain = list.permissionsWithoutList();
            for (int uid = 0; uid < 4; uid++) { // 0: no entry
                for (int member = 0; member < 16; member++) { // bit 0: of the owning group
                    for (int wanted = 1; wanted < 8; wanted++) {
                        boolean byMode = ((member & 1) != 0 ? plain >> 3 & wanted : plain & wanted) == wanted;
                        boolean byList = grants(users, groups, owningGroup, mask, others, uid, member, wanted);
                        assertTrue(byList || !byMode, () -> fields + " gives " + Integer.toOctalString(plain));
                        allowed += byMode ? 1 : 0;
                    }
                }
            }
        }
        assertTrue(allowed > 10_000, "mode bits that give something");
    }

    /** The access check algorithm of acl(5). */
    private static boolean grants(
            Map<Integer, Integer> users,
            Map<Integer, Integer> groups,
            int owningGroup,
            int mask,
            int others,
            int uid,
            int member,
            int wanted) {
        Integer user = users.get(uid);
        if (user != null) {
            return (user & mask & wanted) == wanted;
        }
        Set<Integer> matching = new HashSet<>();
        if ((member & 1) != 0) {
            matching.add(owningGroup);
        }
        groups.forEach((id, permissions) -> {
            if ((member >> id & 1) != 0) {
                matching.add(permissions);
            }
        });
        return matching.isEmpty()
                ? (others & wanted) == wanted
                : matching.stream().anyMatch(permissions -> (permissions & mask & wanted) == wanted);
    }
}
