package blocktree.testharness.model;

import static blocktree.testharness.posix.Posix.printable;

import blocktree.testharness.posix.FileStatus;
import blocktree.testharness.posix.Posix;
import blocktree.testharness.posix.PosixException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * Draws operations. Most of them name what exists, so that they do something; the others miss, collide or are wrong on purpose. What the
 * operation will meet when it runs is not looked at here: a step depends on the seed and on the known paths only.
 *
 * <p>Left out, since the two sides may rightly differ: sizes of directories, blocks in use, inode numbers, access times that nobody set,
 * limits on extended attributes (ext4 holds 4 KiB), opening device nodes (the mount is nodev), {@code O_PATH}, rename flags, and what else {@code docs/mount-limits.md} lists.
 */
final class OperationGenerator {
    private static final int[] MODES = {
        0777, 0777, 0755, 0755, 0700, 0644, 0666, 0600, 0444, 0, 01777, 02755, 02777, 04755, 06777, 0611
    };
    private static final int ENTRY_COUNT_MAX = 120;
    private static final int[] BOUNDARIES = {4096, 16384, 65536, 131072};

    /** Names short and odd; the pool is small so that they collide. */
    private static final String[] NAMES = names();

    private static final String[] ATTRIBUTE_NAMES = {
        "user.a",
        "user.b",
        "user.\u00ff\u00fe",
        "user." + "n".repeat(100),
        "trusted.t",
        "user.empty",
        "user.",
        "nonsense"
    };

    private final Random random;
    private final int slotCount;
    private List<String> known = List.of();
    private List<String> knownDirectories = List.of("");

    OperationGenerator(long seed, int slotCount) {
        this.random = new Random(seed);
        this.slotCount = slotCount;
    }

    private static String[] names() {
        List<String> names = new ArrayList<>();
        for (char c = 'a'; c <= 'r'; c++) {
            names.add(String.valueOf(c));
        }
        names.addAll(List.of(
                "a b",
                "-rf",
                ".hidden",
                "...",
                "line\nbreak",
                "\u00ff\u00fe\u0001",
                "n\u00c3\u00a4me",
                "e\u00cc\u0081",
                "\u00e9",
                "A",
                "back\\slash",
                "*?[]",
                ".fuse_hidden0000000100000001",
                "L".repeat(255),
                "\u00ff".repeat(255),
                "M".repeat(256),
                "\u00e2\u0082\u00ac".repeat(85)));
        return names.toArray(new String[0]);
    }

    /** Takes note of what exists: paths, and whether each is a directory. */
    void know(Map<String, Boolean> paths) {
        known = new ArrayList<>(paths.keySet());
        knownDirectories = new ArrayList<>();
        knownDirectories.add("");
        paths.forEach((path, isDirectory) -> {
            if (isDirectory && path.chars().filter(c -> c == '/').count() < 4) {
                knownDirectories.add(path);
            }
        });
    }

    Operation next() {
        if (known.size() > ENTRY_COUNT_MAX && random.nextInt(3) == 0) {
            return random.nextInt(3) == 0 ? removeTree(existing()) : unlink();
        }
        int draw = random.nextInt(200);
        if (draw < 26) {
            return open();
        } else if (draw < 30) {
            return close();
        } else if (draw < 50) {
            return writeAt();
        } else if (draw < 56) {
            return write();
        } else if (draw < 70) {
            return readAt();
        } else if (draw < 75) {
            return read();
        } else if (draw < 79) {
            return seek();
        } else if (draw < 84) {
            return truncateOpen();
        } else if (draw < 89) {
            return truncate();
        } else if (draw < 96) {
            return allocate();
        } else if (draw < 99) {
            return sync();
        } else if (draw < 105) {
            return statusOpen();
        } else if (draw < 107) {
            return changeModeOpen();
        } else if (draw < 110) {
            return listOpen();
        } else if (draw < 117) {
            return makeDirectory();
        } else if (draw < 121) {
            return removeDirectory();
        } else if (draw < 128) {
            return unlink();
        } else if (draw < 141) {
            return rename();
        } else if (draw < 147) {
            return link();
        } else if (draw < 152) {
            return symlink();
        } else if (draw < 154) {
            return readLink();
        } else if (draw < 163) {
            return status();
        } else if (draw < 168) {
            return changeMode();
        } else if (draw < 173) {
            return changeOwner();
        } else if (draw < 178) {
            return setTimes();
        } else if (draw < 183) {
            return setExtendedAttribute();
        } else if (draw < 186) {
            return getExtendedAttribute();
        } else if (draw < 188) {
            return removeExtendedAttribute();
        } else if (draw < 192) {
            return list();
        } else if (draw < 195) {
            return makeNode();
        } else if (draw < 198) {
            return access();
        } else {
            return sparse();
        }
    }

    // Open files

    private Operation open() {
        int slot = slot();
        int flags = Posix.O_NONBLOCK | random.nextInt(3);
        boolean create = random.nextInt(2) == 0;
        flags |= create ? Posix.O_CREAT : 0;
        flags |= oneIn(create ? 4 : 30) ? Posix.O_EXCL : 0;
        flags |= oneIn(6) ? Posix.O_TRUNC : 0;
        flags |= oneIn(5) ? Posix.O_APPEND : 0;
        flags |= oneIn(12) ? Posix.O_SYNC : 0;
        flags |= oneIn(12) ? Posix.O_DSYNC : 0;
        flags |= oneIn(create ? 40 : 6) ? Posix.O_DIRECTORY : 0;
        flags |= oneIn(12) ? Posix.O_NOFOLLOW : 0;
        int allFlags = flags;
        int mode = mode();
        String path = create ? either() : existing();
        return operation(String.format("open %d %s flags 0%o mode 0%o", slot, printable(path), flags, mode), side -> {
            String absolute = side.path(path);
            if (isDevice(absolute)) {
                return Outcome.of("a device");
            }
            side.closeIfLinked(absolute);
            side.keep(slot, Posix.open(absolute, allFlags, mode));
            return Outcome.of("open");
        });
    }

    private static boolean isDevice(String path) {
        try {
            return Posix.stat(path).isDevice();
        } catch (PosixException e) {
            return false;
        }
    }

    private Operation close() {
        int slot = slot();
        return onSlot(slot, "close", (side, fd) -> {
            side.close(slot);
            return Outcome.of("closed");
        });
    }

    private Operation writeAt() {
        byte[] data = data();
        long offset = oneIn(60) ? -1 : offset();
        return onSlot(
                slot(),
                "pwrite " + data.length + " at " + offset,
                (side, fd) -> Outcome.of("wrote " + Posix.pwrite(fd, data, offset)));
    }

    private Operation write() {
        byte[] data = data();
        return onSlot(
                slot(),
                "write " + data.length,
                // The kernel does not let a write to a FIFO change the times of an inode of a mount.
                (side, fd) ->
                        Posix.fstat(fd).isFifo() ? Outcome.of("a FIFO") : Outcome.of("wrote " + Posix.write(fd, data)));
    }

    private Operation readAt() {
        int size = size();
        long offset = oneIn(60) ? -1 : offset();
        return onSlot(
                slot(), "pread " + size + " at " + offset, (side, fd) -> Outcome.of(Posix.pread(fd, size, offset)));
    }

    private Operation read() {
        int size = size();
        return onSlot(
                slot(),
                "read " + size,
                // Where listing leaves a directory's position is each file system's own, and may be past what read
                // takes.
                (side, fd) -> isDirectory(fd) ? Outcome.of("a directory") : Outcome.of(Posix.read(fd, size)));
    }

    private Operation seek() {
        int whence = random.nextInt(3);
        long offset = random.nextInt(4) == 0 ? -offset() : offset();
        return onSlot(slot(), "lseek " + offset + " whence " + whence, (side, fd) -> {
            // Positions in a directory are each file system's own.
            return isDirectory(fd) ? Outcome.of("a directory") : Outcome.of("at " + Posix.seek(fd, offset, whence));
        });
    }

    private Operation truncateOpen() {
        long size = oneIn(30) ? -1 : offset();
        return onSlot(slot(), "ftruncate " + size, (side, fd) -> {
            Posix.ftruncate(fd, size);
            return Outcome.of("truncated");
        });
    }

    private Operation allocate() {
        int[] modes = {
            0,
            Posix.FALLOC_KEEP_SIZE,
            Posix.FALLOC_PUNCH_HOLE | Posix.FALLOC_KEEP_SIZE,
            Posix.FALLOC_PUNCH_HOLE | Posix.FALLOC_KEEP_SIZE,
            Posix.FALLOC_PUNCH_HOLE,
            Posix.FALLOC_ZERO_RANGE,
            Posix.FALLOC_ZERO_RANGE | Posix.FALLOC_KEEP_SIZE
        };
        int mode = modes[random.nextInt(modes.length)];
        long offset = oneIn(40) ? -1 : offset();
        long size = oneIn(20) ? 0 : size();
        return onSlot(slot(), "fallocate mode " + mode + " at " + offset + " size " + size, (side, fd) -> {
            Posix.fallocate(fd, mode, offset, size);
            return Outcome.of("allocated");
        });
    }

    private Operation sync() {
        boolean dataOnly = random.nextBoolean();
        return onSlot(slot(), dataOnly ? "fdatasync" : "fsync", (side, fd) -> {
            if (dataOnly) {
                Posix.fdatasync(fd);
            } else {
                Posix.fsync(fd);
            }
            return Outcome.of("synced");
        });
    }

    private Operation statusOpen() {
        return onSlot(slot(), "fstat", (side, fd) -> Outcome.of(Descriptions.of(Posix.fstat(fd))));
    }

    private static boolean isDirectory(int fd) throws PosixException {
        return Posix.fstat(fd).isDirectory();
    }

    private Operation changeModeOpen() {
        int mode = mode();
        return onSlot(slot(), String.format("fchmod 0%o", mode), (side, fd) -> {
            Posix.fchmod(fd, mode);
            return Outcome.of("changed");
        });
    }

    private Operation listOpen() {
        return onSlot(slot(), "getdents from the start", (side, fd) -> {
            if (Posix.fstat(fd).isDirectory()) {
                Posix.seek(fd, 0, 0);
            }
            return Outcome.of(names(Posix.list(fd)));
        });
    }

    // Names

    private Operation makeDirectory() {
        String path = oneIn(12) ? either() + "/" : either();
        int mode = mode();
        return operation(String.format("mkdir %s 0%o", printable(path), mode), side -> {
            Posix.mkdir(side.path(path), mode);
            return Outcome.of("made");
        });
    }

    private Operation removeDirectory() {
        String path = oneIn(3) ? existing() : directory();
        return operation("rmdir " + printable(path), side -> {
            if (path.isEmpty()) {
                return Outcome.of("the root");
            }
            Posix.rmdir(side.path(path));
            return Outcome.of("removed");
        });
    }

    private Operation unlink() {
        String path = oneIn(20) ? either() + "/" : existing();
        return operation("unlink " + printable(path), side -> {
            side.closeIfLinked(side.path(path));
            Posix.unlink(side.seen(path));
            return Outcome.of("unlinked");
        });
    }

    private Operation removeTree(String path) {
        return operation("remove tree " + printable(path), side -> {
            deleteAll(side, side.path(path));
            return Outcome.of("removed");
        });
    }

    private static void deleteAll(Side side, String path) throws PosixException {
        if (Posix.lstat(path).isDirectory()) {
            for (String name : Posix.list(path).keySet()) {
                deleteAll(side, path + "/" + name);
            }
            Posix.rmdir(path);
        } else {
            side.closeIfLinked(path);
            Posix.unlink(path);
        }
    }

    private Operation rename() {
        String from = oneIn(25) ? existing() + "/" : existing();
        String to = oneIn(8) ? from + "/" + name() : either();
        return operation(String.format("rename %s to %s", printable(from), printable(to)), side -> {
            side.closeIfLinked(side.path(from));
            side.closeIfLinked(side.path(to));
            if (!from.equals(to) && side.isSame(from, to)) {
                return Outcome.of(
                        "names of one file"); // to the kernel, two files on a mount by path: it asks for more rights
            }
            Posix.rename(side.seen(from), side.seen(to));
            return Outcome.of("renamed");
        });
    }

    private Operation link() {
        String from = existing();
        String to = either();
        return operation(String.format("link %s to %s", printable(from), printable(to)), side -> {
            Posix.link(side.path(from), side.path(to));
            return Outcome.of("linked");
        });
    }

    private Operation symlink() {
        // Never "." or "..": a path through such a link could leave the tree.
        String target = switch (random.nextInt(6)) {
            case 0 -> "";
            case 1 -> "t".repeat(random.nextInt(4094) + 1);
            case 2 -> name() + "/" + name();
            default -> name();
        };
        String path = either();
        return operation(String.format("symlink %s at %s", printable(target), printable(path)), side -> {
            Posix.symlink(target, side.path(path));
            return Outcome.of("made");
        });
    }

    private Operation readLink() {
        String path = existing();
        return operation(
                "readlink " + printable(path), side -> Outcome.of(TreeListing.bytes(Posix.readlink(side.path(path)))));
    }

    private Operation makeNode() {
        int[] types = {
            FileStatus.FIFO, FileStatus.SOCKET, FileStatus.REGULAR, FileStatus.CHARACTER_DEVICE, FileStatus.BLOCK_DEVICE
        };
        int mode = types[random.nextInt(types.length)] | mode() & 0777;
        String path = either();
        return operation(String.format("mknod %s 0%o", printable(path), mode), side -> {
            Posix.mknod(side.path(path), mode, 240, 7);
            return Outcome.of("made");
        });
    }

    private Operation list() {
        String path = oneIn(5) ? either() : directory();
        return operation("list " + printable(path), side -> Outcome.of(names(Posix.list(side.path(path)))));
    }

    // Status

    private Operation status() {
        String path = oneIn(4) ? either() : existing();
        boolean follow = random.nextBoolean();
        return operation((follow ? "stat " : "lstat ") + printable(path), side -> {
            String absolute = side.path(path);
            return Outcome.of(Descriptions.of(follow ? Posix.stat(absolute) : Posix.lstat(absolute)));
        });
    }

    private Operation changeMode() {
        String path = either();
        int mode = mode();
        return operation(String.format("chmod %s 0%o", printable(path), mode), side -> {
            Posix.chmod(side.seen(path), mode);
            return Outcome.of("changed");
        });
    }

    private Operation changeOwner() {
        int[] ids = {-1, 0, 1001, 1002, 70000};
        String path = existing();
        int uid = ids[random.nextInt(ids.length)];
        int first = uid == -1 ? 1 : 0; // not -1 twice: docs/mount-limits.md
        int gid = ids[first + random.nextInt(ids.length - first)];
        return operation(String.format("lchown %s %d %d", printable(path), uid, gid), side -> {
            Posix.lchown(side.seen(path), uid, gid);
            return Outcome.of("changed");
        });
    }

    private Operation setTimes() {
        String path = existing();
        long access = oneIn(4) ? Posix.TIME_OMIT : time();
        long modify = oneIn(4) ? Posix.TIME_OMIT : time();
        return operation(String.format("utimensat %s %d %d", printable(path), access, modify), side -> {
            String absolute = side.seen(path);
            Posix.setTimes(absolute, access, modify);
            FileStatus status = Posix.lstat(absolute);
            return Outcome.of(Descriptions.of(status)
                    + (access == Posix.TIME_OMIT ? "" : " atime " + Descriptions.time(status.accessTimeNanos())));
        });
    }

    /** Before 2015 or after 2042: never near now. */
    private long time() {
        long seconds = oneIn(3) ? 2_300_000_000L + random.nextInt(1 << 30) : random.nextInt(1_400_000_000);
        return (oneIn(8) ? -seconds / 2 : seconds) * 1_000_000_000L + random.nextInt(1_000_000_000);
    }

    private Operation truncate() {
        String path = either();
        long size = oneIn(30) ? -1 : offset();
        return operation("truncate " + printable(path) + " to " + size, side -> {
            if (isDevice(side.path(path))) {
                return Outcome.of("a device");
            }
            side.closeIfLinked(side.path(path));
            Posix.truncate(side.path(path), size);
            return Outcome.of("truncated");
        });
    }

    private Operation access() {
        String path = either();
        int mode = random.nextInt(8);
        return operation("access " + printable(path) + " " + mode, side -> {
            Posix.access(side.path(path), mode);
            return Outcome.of("allowed");
        });
    }

    private Operation setExtendedAttribute() {
        String path = existing();
        String name = attributeName();
        byte[] value = new byte[name.equals("user.empty") ? 0 : random.nextInt(200)];
        random.nextBytes(value);
        int flags = oneIn(3) ? 1 + random.nextInt(2) : 0;
        return operation(
                String.format(
                        "setxattr %s %s %d bytes flags %d", printable(path), printable(name), value.length, flags),
                side -> {
                    Posix.setExtendedAttribute(side.path(path), name, value, flags);
                    return Outcome.of("set");
                });
    }

    private Operation getExtendedAttribute() {
        String path = existing();
        String name = attributeName();
        int[] capacities = {0, 1, 50, 4096};
        int capacity = capacities[random.nextInt(capacities.length)];
        boolean list = oneIn(3);
        return operation(
                list
                        ? "listxattr " + printable(path)
                        : "getxattr " + printable(path) + " " + printable(name) + " into " + capacity,
                side -> {
                    String absolute = side.path(path);
                    return list
                            ? Outcome.of(printable(
                                    Posix.listExtendedAttributes(absolute).toString()))
                            : Outcome.of(
                                    HexFormat.of().formatHex(Posix.getExtendedAttribute(absolute, name, capacity)));
                });
    }

    private Operation removeExtendedAttribute() {
        String path = existing();
        String name = attributeName();
        return operation(String.format("removexattr %s %s", printable(path), printable(name)), side -> {
            Posix.removeExtendedAttribute(side.path(path), name);
            return Outcome.of("removed");
        });
    }

    /** A few bytes far out, read back with the hole around them, and the file cut again so that comparing trees stays cheap. */
    private Operation sparse() {
        long offset = (1L << 30) * (1 + random.nextInt(1000)) + random.nextInt(1 << 20);
        byte[] data = data(Math.max(1, size() / 4));
        return onSlot(slot(), "sparse write of " + data.length + " at " + offset, (side, fd) -> {
            if (!Posix.fstat(fd).isRegular()) {
                return Outcome.of("not a file");
            }
            FileStatus before = Posix.fstat(fd);
            Posix.pwrite(fd, data, offset);
            FileStatus after = Posix.fstat(fd);
            byte[] around;
            try {
                around = Posix.pread(fd, data.length + 8192, offset - 4096);
            } catch (PosixException e) {
                around = TreeListing.bytes(e.errnoText());
            }
            Posix.ftruncate(fd, before.sizeBytes());
            return new Outcome("size " + after.sizeBytes(), around);
        });
    }

    // Arguments

    private interface SlotAction {
        Outcome run(Side side, int descriptor) throws PosixException;
    }

    private Operation onSlot(int slot, String text, SlotAction action) {
        return operation(
                text + " on " + slot,
                side -> side.isOpen(slot) ? action.run(side, side.descriptor(slot)) : Outcome.of("not open"));
    }

    private Operation operation(String text, Operation.Action action) {
        int draw = random.nextInt(20);
        return new Operation(text, draw < 15 ? 0 : draw < 18 ? 1001 : 1002, action);
    }

    private static String names(Map<String, Integer> entries) {
        return printable(entries.keySet().toString()) + entries.keySet().hashCode() + entries.values();
    }

    private boolean oneIn(int count) {
        return random.nextInt(count) == 0;
    }

    private int slot() {
        return random.nextInt(slotCount);
    }

    private int mode() {
        return MODES[random.nextInt(MODES.length)];
    }

    private String name() {
        return NAMES[random.nextInt(NAMES.length)];
    }

    private String attributeName() {
        return ATTRIBUTE_NAMES[random.nextInt(ATTRIBUTE_NAMES.length)];
    }

    private String directory() {
        return knownDirectories.get(random.nextInt(knownDirectories.size()));
    }

    private String fresh() {
        String directory = directory();
        String prefix = directory.isEmpty() ? "" : directory + "/";
        if (!directory.isEmpty() && oneIn(20)) {
            prefix = prefix + (random.nextBoolean() ? "../" : "./");
        }
        return prefix + name();
    }

    private String existing() {
        return known.isEmpty() || oneIn(10) ? fresh() : known.get(random.nextInt(known.size()));
    }

    private String either() {
        return random.nextBoolean() ? fresh() : existing();
    }

    /** Around the borders of pages, sectors and kernel requests, or anywhere. */
    private long offset() {
        return switch (random.nextInt(4)) {
            case 0 -> random.nextInt(200);
            case 1 ->
                Math.max(0, BOUNDARIES[random.nextInt(BOUNDARIES.length)] * random.nextInt(4) + random.nextInt(3) - 1);
            default -> random.nextInt(400_000);
        };
    }

    private int size() {
        return switch (random.nextInt(4)) {
            case 0 -> random.nextInt(100);
            case 1 -> Math.max(0, BOUNDARIES[random.nextInt(BOUNDARIES.length)] + random.nextInt(3) - 1);
            case 2 -> random.nextInt(8192);
            default -> random.nextInt(150_000);
        };
    }

    private byte[] data() {
        return data(size());
    }

    private byte[] data(int size) {
        byte[] data = new byte[size];
        if (oneIn(10)) {
            Arrays.fill(data, (byte) 0);
        } else {
            random.nextBytes(data);
        }
        return data;
    }
}
