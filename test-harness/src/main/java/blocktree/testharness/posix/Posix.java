package blocktree.testharness.posix;

import static java.nio.charset.StandardCharsets.ISO_8859_1;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import jnr.ffi.Pointer;

/** System calls. Constants are those of Linux on x86-64 and, but for {@code O_DIRECT}, aarch64. */
public final class Posix {
    public static final int O_RDONLY = 0;
    public static final int O_WRONLY = 1;
    public static final int O_RDWR = 2;
    public static final int O_CREAT = 0100;
    public static final int O_EXCL = 0200;
    public static final int O_TRUNC = 01000;
    public static final int O_APPEND = 02000;
    public static final int O_NONBLOCK = 04000;
    public static final int O_DSYNC = 010000;
    public static final int O_SYNC = 04010000;
    public static final int O_DIRECTORY = 0200000;
    public static final int O_NOFOLLOW = 0400000;
    public static final int O_PATH = 010000000;

    public static final int RENAME_NOREPLACE = 1;
    public static final int RENAME_EXCHANGE = 2;

    public static final int FALLOC_KEEP_SIZE = 1;
    public static final int FALLOC_PUNCH_HOLE = 2;
    public static final int FALLOC_COLLAPSE_RANGE = 8;
    public static final int FALLOC_ZERO_RANGE = 16;
    public static final int FALLOC_INSERT_RANGE = 32;

    public static final int XATTR_CREATE = 1;
    public static final int XATTR_REPLACE = 2;

    public static final int SIGKILL = 9;
    public static final int SIGTERM = 15;
    public static final int SIGCONT = 18;
    public static final int SIGSTOP = 19;

    /** In place of a time for {@link #setTimes}: leave it as it is. */
    public static final long TIME_OMIT = Long.MIN_VALUE;

    private static final int AT_FDCWD = -100;
    private static final int AT_SYMLINK_NOFOLLOW = 0x100;
    private static final int AT_EACCESS = 0x200;
    private static final int AT_EMPTY_PATH = 0x1000;
    private static final int STATX_BASIC_STATS = 0x7ff;
    private static final int UTIME_OMIT = (1 << 30) - 2;

    private static final int PAGE_SIZE = 4096;
    private static final int PROT_READ = 1;
    private static final int PROT_WRITE = 2;
    private static final int MAP_SHARED = 1;
    private static final int MS_SYNC = 4;

    private Posix() {}

    public static int open(String path, int flags, int mode) throws PosixException {
        return (int) check("open", LibC.INSTANCE.open(bytes(path), flags, mode));
    }

    public static int open(String path, int flags) throws PosixException {
        return open(path, flags, 0);
    }

    public static void close(int fd) throws PosixException {
        check("close", LibC.INSTANCE.close(fd));
    }

    /** Reads at most {@code sizeBytes} at the descriptor's offset, in one call. */
    public static byte[] read(int fd, int sizeBytes) throws PosixException {
        byte[] buffer = new byte[sizeBytes];
        return Arrays.copyOf(buffer, (int) check("read", LibC.INSTANCE.read(fd, buffer, sizeBytes)));
    }

    public static byte[] pread(int fd, int sizeBytes, long offset) throws PosixException {
        byte[] buffer = new byte[sizeBytes];
        return Arrays.copyOf(buffer, (int) check("pread", LibC.INSTANCE.pread(fd, buffer, sizeBytes, offset)));
    }

    public static long write(int fd, byte[] data) throws PosixException {
        return check("write", LibC.INSTANCE.write(fd, data, data.length));
    }

    public static long pwrite(int fd, byte[] data, long offset) throws PosixException {
        return check("pwrite", LibC.INSTANCE.pwrite(fd, data, data.length, offset));
    }

    public static long seek(int fd, long offset, int whence) throws PosixException {
        return check("lseek", LibC.INSTANCE.lseek(fd, offset, whence));
    }

    public static void truncate(String path, long sizeBytes) throws PosixException {
        check("truncate", LibC.INSTANCE.truncate(bytes(path), sizeBytes));
    }

    public static void ftruncate(int fd, long sizeBytes) throws PosixException {
        check("ftruncate", LibC.INSTANCE.ftruncate(fd, sizeBytes));
    }

    public static void fallocate(int fd, int mode, long offset, long sizeBytes) throws PosixException {
        check("fallocate", LibC.INSTANCE.fallocate(fd, mode, offset, sizeBytes));
    }

    public static void fsync(int fd) throws PosixException {
        check("fsync", LibC.INSTANCE.fsync(fd));
    }

    public static void fdatasync(int fd) throws PosixException {
        check("fdatasync", LibC.INSTANCE.fdatasync(fd));
    }

    /**
     * Copies within a file, in one call.
     *
     * @return how many bytes were copied, fewer than {@code sizeBytes} at the end of the file or when the kernel copies in parts
     */
    public static long copyRange(int fd, long from, long to, long sizeBytes) throws PosixException {
        return check(
                "copy_file_range",
                LibC.INSTANCE.copy_file_range(fd, new long[] {from}, fd, new long[] {to}, sizeBytes, 0));
    }

    /** Reads through a shared map that is made for it, at most to the end of the page in which the file ends. */
    public static byte[] readMapped(int fd, int sizeBytes, long offset) throws PosixException {
        byte[] data = new byte[sizeBytes];
        mapped(fd, PROT_READ, sizeBytes, offset, (map, at) -> map.get(at, data, 0, sizeBytes));
        return data;
    }

    /** Writes through a shared map that is made for it; the file must be as long already. */
    public static void writeMapped(int fd, byte[] data, long offset, boolean sync) throws PosixException {
        mapped(fd, PROT_READ | PROT_WRITE, data.length, offset, (map, at) -> {
            map.put(at, data, 0, data.length);
            if (sync) {
                check("msync", LibC.INSTANCE.msync(map, at + data.length, MS_SYNC));
            }
        });
    }

    private static void mapped(int fd, int protection, int sizeBytes, long offset, MapUse use) throws PosixException {
        int at = (int) (offset % PAGE_SIZE);
        long mapSizeBytes = (long) at + sizeBytes;
        Pointer map = LibC.INSTANCE.mmap(null, mapSizeBytes, protection, MAP_SHARED, fd, offset - at);
        check("mmap", map.address()); // MAP_FAILED is -1
        try {
            use.of(map, at);
        } finally {
            check("munmap", LibC.INSTANCE.munmap(map, mapSizeBytes));
        }
    }

    /** What is done with a map; {@code at} is where the asked-for offset lies in it. */
    private interface MapUse {
        void of(Pointer map, int at) throws PosixException;
    }

    public static void mkdir(String path, int mode) throws PosixException {
        check("mkdir", LibC.INSTANCE.mkdir(bytes(path), mode));
    }

    public static void rmdir(String path) throws PosixException {
        check("rmdir", LibC.INSTANCE.rmdir(bytes(path)));
    }

    public static void unlink(String path) throws PosixException {
        check("unlink", LibC.INSTANCE.unlink(bytes(path)));
    }

    public static void rename(String from, String to) throws PosixException {
        check("rename", LibC.INSTANCE.rename(bytes(from), bytes(to)));
    }

    public static void renameat2(String from, String to, int flags) throws PosixException {
        check("renameat2", LibC.INSTANCE.renameat2(AT_FDCWD, bytes(from), AT_FDCWD, bytes(to), flags));
    }

    /** link(2): a symlink is itself linked, not what it names. */
    public static void link(String existing, String path) throws PosixException {
        check("link", LibC.INSTANCE.linkat(AT_FDCWD, bytes(existing), AT_FDCWD, bytes(path), 0));
    }

    public static void symlink(String target, String path) throws PosixException {
        check("symlink", LibC.INSTANCE.symlink(bytes(target), bytes(path)));
    }

    public static String readlink(String path) throws PosixException {
        byte[] buffer = new byte[8192];
        int size = (int) check("readlink", LibC.INSTANCE.readlink(bytes(path), buffer, buffer.length));
        return new String(buffer, 0, size, ISO_8859_1);
    }

    /** @param mode type and permission bits */
    public static void mknod(String path, int mode, int major, int minor) throws PosixException {
        check("mknod", LibC.INSTANCE.mknod(bytes(path), mode, ((long) major << 8) | minor));
    }

    /** The entry itself: a symlink is not followed. */
    public static FileStatus lstat(String path) throws PosixException {
        return statx("lstat", AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
    }

    public static FileStatus stat(String path) throws PosixException {
        return statx("stat", AT_FDCWD, path, 0);
    }

    public static FileStatus fstat(int fd) throws PosixException {
        return statx("fstat", fd, "", AT_EMPTY_PATH);
    }

    private static FileStatus statx(String call, int directory, String path, int flags) throws PosixException {
        byte[] buffer = new byte[FileStatus.STATX_SIZE];
        check(call, LibC.INSTANCE.statx(directory, bytes(path), flags, STATX_BASIC_STATS, buffer));
        return FileStatus.decode(buffer);
    }

    /** Whether something is there, dangling symlinks included. */
    public static boolean exists(String path) throws PosixException {
        try {
            lstat(path);
            return true;
        } catch (PosixException e) {
            if (e.errno() == Errno.ENOENT || e.errno() == Errno.ENOTDIR) {
                return false;
            }
            throw e;
        }
    }

    public static void chmod(String path, int mode) throws PosixException {
        check("chmod", LibC.INSTANCE.chmod(bytes(path), mode));
    }

    public static void fchmod(int fd, int mode) throws PosixException {
        check("fchmod", LibC.INSTANCE.fchmod(fd, mode));
    }

    /** @param uid -1: as it is; the same for {@code gid} */
    public static void lchown(String path, int uid, int gid) throws PosixException {
        check("lchown", LibC.INSTANCE.lchown(bytes(path), uid, gid));
    }

    /** Nanoseconds since 1970, or {@link #TIME_OMIT}; a symlink is not followed. */
    public static void setTimes(String path, long accessTimeNanos, long modifyTimeNanos) throws PosixException {
        long[] times = new long[4];
        putTime(times, 0, accessTimeNanos);
        putTime(times, 2, modifyTimeNanos);
        check("utimensat", LibC.INSTANCE.utimensat(AT_FDCWD, bytes(path), times, AT_SYMLINK_NOFOLLOW));
    }

    private static void putTime(long[] times, int index, long nanos) {
        if (nanos == TIME_OMIT) {
            times[index + 1] = UTIME_OMIT;
        } else {
            times[index] = Math.floorDiv(nanos, 1_000_000_000L);
            times[index + 1] = Math.floorMod(nanos, 1_000_000_000L);
        }
    }

    /** access(2) with the effective ids; {@code mode} is a sum of 4 read, 2 write, 1 execute. */
    public static void access(String path, int mode) throws PosixException {
        check("access", LibC.INSTANCE.faccessat(AT_FDCWD, bytes(path), mode, AT_EACCESS));
    }

    public static void setExtendedAttribute(String path, String name, byte[] value, int flags) throws PosixException {
        check("lsetxattr", LibC.INSTANCE.lsetxattr(bytes(path), bytes(name), value, value.length, flags));
    }

    public static byte[] getExtendedAttribute(String path, String name, int capacityBytes) throws PosixException {
        byte[] buffer = new byte[capacityBytes];
        long size = check("lgetxattr", LibC.INSTANCE.lgetxattr(bytes(path), bytes(name), buffer, capacityBytes));
        return Arrays.copyOf(buffer, (int) Math.min(size, capacityBytes));
    }

    public static TreeSet<String> listExtendedAttributes(String path) throws PosixException {
        byte[] buffer = new byte[65536];
        int size = (int) check("llistxattr", LibC.INSTANCE.llistxattr(bytes(path), buffer, buffer.length));
        TreeSet<String> names = new TreeSet<>();
        for (int start = 0, i = 0; i < size; i++) {
            if (buffer[i] == 0) {
                names.add(new String(buffer, start, i - start, ISO_8859_1));
                start = i + 1;
            }
        }
        return names;
    }

    public static void removeExtendedAttribute(String path, String name) throws PosixException {
        check("lremovexattr", LibC.INSTANCE.lremovexattr(bytes(path), bytes(name)));
    }

    /** What is listed from the descriptor's position on, with "." and "..": names with their {@code d_type}. */
    public static SortedMap<String, Integer> list(int fd) throws PosixException {
        SortedMap<String, Integer> entries = new TreeMap<>();
        byte[] buffer = new byte[32768];
        while (true) {
            int size = (int) check("getdents64", LibC.INSTANCE.getdents64(fd, buffer, buffer.length));
            if (size == 0) {
                return entries;
            }
            ByteBuffer b = ByteBuffer.wrap(buffer).order(ByteOrder.nativeOrder());
            for (int at = 0; at < size; at += b.getShort(at + 16) & 0xffff) {
                int end = at + 19;
                while (buffer[end] != 0) {
                    end++;
                }
                String name = new String(buffer, at + 19, end - at - 19, ISO_8859_1);
                if (entries.put(name, (int) buffer[at + 18]) != null) {
                    throw new IllegalStateException("listed twice: " + printable(name));
                }
            }
        }
    }

    /** Lists a directory without "." and "..". */
    public static SortedMap<String, Integer> list(String path) throws PosixException {
        int fd = open(path, O_RDONLY | O_DIRECTORY);
        try {
            SortedMap<String, Integer> entries = list(fd);
            entries.remove(".");
            entries.remove("..");
            return entries;
        } finally {
            close(fd);
        }
    }

    /**
     * Runs {@code call} with the file-system ids of another user on this thread; the test itself must be root. The kernel then also drops the
     * capabilities that override permission bits.
     */
    public static <T> T as(int uid, int gid, Call<T> call) throws PosixException {
        if (uid == 0 && gid == 0) {
            return call.run();
        }
        LibC.INSTANCE.setfsgid(gid);
        LibC.INSTANCE.setfsuid(uid);
        try {
            return call.run();
        } finally {
            LibC.INSTANCE.setfsuid(0);
            LibC.INSTANCE.setfsgid(0);
        }
    }

    /** Sets the mask of the whole process. */
    public static void umask(int mask) {
        LibC.INSTANCE.umask(mask);
    }

    /** The path of an open descriptor, usable even where its name is gone. */
    public static String descriptorPath(int fd) {
        return "/proc/self/fd/" + fd;
    }

    /** kill(2) itself: a program that sends signals would first have to close the files that it inherits, on a mount that may not answer. */
    public static void signal(long pid, int signal) throws PosixException {
        check("kill", LibC.INSTANCE.kill(Math.toIntExact(pid), signal));
    }

    /** Text for messages: bytes outside printable ASCII become \xNN, long names are shortened. */
    public static String printable(String path) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < path.length(); i++) {
            char c = path.charAt(i);
            if (c >= ' ' && c <= '~') {
                text.append(c);
            } else {
                text.append(String.format("\\x%02x", (int) c));
            }
        }
        return text.length() <= 160
                ? text.toString()
                : text.substring(0, 120) + "…(" + path.length() + " bytes)…" + text.substring(text.length() - 20);
    }

    /** Something that makes system calls. */
    public interface Call<T> {
        T run() throws PosixException;
    }

    private static byte[] bytes(String path) {
        return (path + "\0").getBytes(ISO_8859_1);
    }

    private static long check(String call, long result) throws PosixException {
        if (result < 0) {
            throw new PosixException(call, LibC.RUNTIME.getLastError());
        }
        return result;
    }
}
