package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * What Linux programs may expect of a mounted tree, checked through the kernel by small Python programs, since Java shows neither errno nor
 * most of the calls. Run as root on a mount with {@code allow_other}, {@code dev} and {@code suid}; needs the programs python3 and setpriv.
 */
public abstract class MountContractTest {
    static final String PRELUDE = """
            import ctypes, errno, fcntl, mmap, os, select, signal, socket, stat, struct, subprocess, sys, threading, time
            libc = ctypes.CDLL("libc.so.6", use_errno=True)
            def fails(number, call, *args, **kwargs):
                try:
                    result = call(*args, **kwargs)
                except OSError as e:
                    assert e.errno == number, "%s instead of %s" % (errno.errorcode[e.errno], errno.errorcode[number])
                else:
                    raise AssertionError("%r instead of %s" % (result, errno.errorcode[number]))
            def put(name, content=b"", mode=0o644):
                f = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
                os.write(f, content)
                os.close(f)
            def get(name):
                f = os.open(name, os.O_RDONLY)
                try:
                    return read_all(f)
                finally:
                    os.close(f)
            def read_all(f):
                parts = []
                while True:
                    part = os.read(f, 1 << 20)
                    if not part:
                        return b"".join(parts)
                    parts.append(part)
            def fallocate(f, mode, offset, length):
                if libc.fallocate(f, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
                    raise OSError(ctypes.get_errno(), "fallocate")
            def acl(user, users, group, groups, mask, other):
                none = 0xffffffff
                entries = [(1, user, none)] + [(2, p, i) for i, p in users.items()] + [(4, group, none)] + [(8, p, i) for i, p in groups.items()]
                entries += ([] if mask is None else [(16, mask, none)]) + [(32, other, none)]
                return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)
            ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
            def as_user(uid, groups, call):
                pid = os.fork()
                if pid == 0:
                    try:
                        os.setgroups(groups[1:]); os.setgid(groups[0]); os.setuid(uid)
                        os._exit(call())
                    except OSError as e:
                        os._exit(200 if e.errno == errno.EACCES else 201)
                return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            def mode(name):
                return stat.S_IMODE(os.lstat(name).st_mode)
            def same(actual, expected):
                assert actual == expected, "%.500r instead of %.500r" % (actual, expected)
            os.umask(0o022)
            """;

    private Path directory = Path.of("");

    /** A directory within the mount, or its root. */
    protected abstract Path mountPoint();

    /** Whether the library's requests name inodes, which some calls need. */
    protected abstract boolean namesInodes();

    @BeforeEach
    void makeDirectory() throws IOException {
        directory = Files.createTempDirectory(mountPoint(), "contract-");
        run(List.of("chmod", "755", directory.toString()));
    }

    @AfterEach
    void removeDirectory() throws IOException {
        run(List.of("rm", "-rf", directory.toString()));
    }

    public final void python(String program) {
        run(List.of("/usr/bin/python3", "-c", PRELUDE + program));
    }

    /** As a user who owns nothing here. */
    private void pythonAsNobody(String program) {
        run(List.of(
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "/usr/bin/python3",
                "-c",
                PRELUDE + program));
    }

    private void run(List<String> command) {
        try {
            Path output = Files.createTempFile("contract", ".out");
            try {
                Process process = new ProcessBuilder(command)
                        .directory(directory.toFile())
                        .redirectErrorStream(true)
                        .redirectOutput(output.toFile())
                        .start();
                boolean ended = process.waitFor(120, TimeUnit.SECONDS);
                process.destroyForcibly();
                assertTrue(ended, () -> "still running after 120 s: " + command.get(0));
                assertEquals(0, process.exitValue(), () -> text(output));
            } finally {
                Files.delete(output);
            }
        } catch (IOException e) {
            throw new AssertionError("cannot run " + command.get(0) + ": apt-get install python3 util-linux", e);
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static String text(Path output) {
        try {
            return Files.readString(output);
        } catch (IOException e) {
            return e.toString();
        }
    }

    // ------------------------------------------------------------------------------------------------ names

    @Test
    void missingNamesAreEnoent() {
        python("""
                for call in (os.stat, os.unlink, os.rmdir, os.readlink, os.listdir, os.listxattr):
                    fails(errno.ENOENT, call, "none")
                fails(errno.ENOENT, os.open, "none", os.O_RDONLY)
                fails(errno.ENOENT, os.open, "none/child", os.O_RDWR | os.O_CREAT)
                fails(errno.ENOENT, os.mkdir, "none/child")
                fails(errno.ENOENT, os.rename, "none", "other")
                fails(errno.ENOENT, os.link, "none", "other")
                fails(errno.ENOENT, os.symlink, "target", "none/link")
                fails(errno.ENOENT, os.chmod, "none", 0o600)
                fails(errno.ENOENT, os.utime, "none")
                """);
    }

    @Test
    void takenNamesAreEexist() {
        python("""
                put("file"); os.mkdir("dir"); os.symlink("nowhere", "link")
                for name in ("file", "dir", "link"):
                    fails(errno.EEXIST, os.open, name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
                    fails(errno.EEXIST, os.mkdir, name)
                    fails(errno.EEXIST, os.symlink, "target", name)
                    fails(errno.EEXIST, os.mknod, name, stat.S_IFIFO | 0o600)
                    fails(errno.EEXIST, os.link, "file", name)
                """);
    }

    @Test
    void kindsAreKeptApart() {
        python("""
                put("file"); os.mkdir("dir"); put("dir/child")
                for call in (os.stat, os.unlink, os.mkdir, os.readlink):
                    fails(errno.ENOTDIR, call, "file/child")
                fails(errno.ENOTDIR, os.rmdir, "file")
                fails(errno.ENOTDIR, os.listdir, "file")
                fails(errno.ENOTDIR, os.open, "file", os.O_RDONLY | os.O_DIRECTORY)
                fails(errno.EISDIR, os.unlink, "dir")
                fails(errno.EISDIR, os.open, "dir", os.O_WRONLY)
                fails(errno.EISDIR, os.truncate, "dir", 0)
                fails(errno.EINVAL, os.readlink, "file")
                fails(errno.EINVAL, os.readlink, "dir")
                fails(errno.EPERM, os.link, "dir", "other")
                fails(errno.ENOTEMPTY, os.rmdir, "dir")
                fails(errno.EINVAL, os.rmdir, "dir/.")
                f = os.open("dir", os.O_RDONLY)
                fails(errno.EISDIR, os.read, f, 10)
                """);
    }

    @Test
    void namesHoldUpTo255BytesOfAnyKind() {
        python("""
                longest = b"n" * 255
                put(longest, b"content"); same(get(longest), b"content")
                fails(errno.ENAMETOOLONG, os.open, b"n" * 256, os.O_CREAT | os.O_RDWR)
                fails(errno.ENAMETOOLONG, os.mkdir, b"n" * 256)
                fails(errno.ENAMETOOLONG, os.stat, b"n" * 256)
                fails(errno.ENAMETOOLONG, os.rename, longest, b"n" * 256)
                os.unlink(longest)
                names = [bytes([b]) for b in range(1, 256) if b not in b"./"]
                names += [b"\\xff\\xfe\\x80" * 85, "\\u00fc\\U0001f333".encode(), b"a\\nb", b"-rf", b"...", b"\\\\040"]
                for name in names:
                    put(name, name)
                same(sorted(os.listdir(b".")), sorted(names))
                for name in names:
                    same(get(name), name)
                    os.rename(name, name[:200] + b"\\xc3"); os.unlink(name[:200] + b"\\xc3")
                same(os.listdir(b"."), [])
                """);
    }

    @Test
    void treesGoDeeperThanPathMax() {
        python("""
                top = os.open(".", os.O_RDONLY)
                level = top
                for i in range(20):
                    os.mkdir("d" * 250, dir_fd=level)
                    level = os.open("d" * 250, os.O_RDONLY, dir_fd=level)
                os.close(os.open("leaf", os.O_CREAT | os.O_RDWR, dir_fd=level))
                os.stat("leaf", dir_fd=level)
                same(os.listdir(level), ["leaf"])
                fails(errno.ENAMETOOLONG, os.stat, "/".join(["d" * 250] * 17))
                path = "/".join(["d" * 250] * 16)
                path += "/" * (4095 - len(path))
                os.stat(path)
                fails(errno.ENAMETOOLONG, os.stat, path + "/")
                subprocess.check_call(["rm", "-rf", "d" * 250])
                """);
    }

    @Test
    void renameReplacesWhatItMay() {
        python("""
                put("a", b"a"); put("b", b"b"); os.mkdir("d"); os.mkdir("empty"); os.mkdir("full"); put("full/x")
                inode = os.stat("a").st_ino
                os.rename("a", "b"); same(get("b"), b"a"); same(os.stat("b").st_ino, inode); fails(errno.ENOENT, os.stat, "a")
                fails(errno.EISDIR, os.rename, "b", "d")
                fails(errno.ENOTDIR, os.rename, "d", "b")
                fails(errno.ENOTEMPTY, os.rename, "d", "full")
                os.rename("d", "empty"); fails(errno.ENOENT, os.stat, "d")
                fails(errno.EINVAL, os.rename, "full", "full/inside")
                os.mkdir("full/inside"); fails(errno.EINVAL, os.rename, "full", "full/inside/deep")
                fails(errno.ENOTEMPTY, os.rename, "full/inside", "full")
                os.rename("b", "b"); same(get("b"), b"a")
                os.link("b", "c"); os.rename("b", "c"); same(get("b"), b"a"); same(get("c"), b"a")
                os.rename("full", "empty/moved"); same(sorted(os.listdir("empty/moved")), ["inside", "x"])
                same(os.stat("empty/moved/..").st_ino, os.stat("empty").st_ino)
                """);
    }

    @Test
    void renameOfADirectoryTakesItsPathsAlong() {
        python("""
                os.makedirs("a/b/c"); put("a/b/c/file", b"1")
                os.stat("a/b/c/file")
                os.rename("a/b", "moved"); os.makedirs("a/b/c"); put("a/b/c/file", b"2")
                same(get("moved/c/file"), b"1"); same(get("a/b/c/file"), b"2")
                f = os.open("moved/c", os.O_RDONLY)
                os.rename("moved", "again"); same(os.listdir(f), ["file"])
                os.close(os.open("new", os.O_CREAT | os.O_RDWR, dir_fd=f)); same(get("again/c/new"), b"")
                """);
    }

    @Test
    void readersSeeOneFileOrTheOtherDuringRename() {
        python("""
                put("target", b"old"); kept = os.open("target", os.O_RDONLY)
                stop = threading.Event(); failures = []
                def reader():
                    while not stop.is_set():
                        try:
                            if len(get("target")) not in (3, 4): failures.append("torn")
                        except OSError as e:
                            failures.append(errno.errorcode[e.errno])
                threads = [threading.Thread(target=reader) for i in range(2)]
                for t in threads: t.start()
                for i in range(300):
                    put("temp", b"%04d" % i); os.rename("temp", "target")
                stop.set()
                for t in threads: t.join()
                same(failures, []); same(get("target"), b"0299"); same(os.read(kept, 9), b"old")
                """);
    }

    @Test
    void linksCountAndShareContent() {
        python("""
                put("a", b"1"); os.mkdir("d"); os.link("a", "d/b"); os.link("d/b", "c")
                same(os.stat("c").st_nlink, 3); same(os.stat("c").st_ino, os.stat("a").st_ino)
                f = os.open("a", os.O_WRONLY); os.write(f, b"22"); os.close(f)
                same(get("d/b"), b"22")
                same(os.stat("a").st_nlink, 3); os.unlink("a"); same(os.stat("d/b").st_nlink, 2); same(os.stat("c").st_nlink, 2)
                os.chmod("c", 0o600); same(stat.S_IMODE(os.stat("d/b").st_mode), 0o600)
                os.unlink("c"); os.rename("d/b", "e"); same(get("e"), b"22")
                same(os.stat("d").st_nlink, 2); os.mkdir("d/x"); time.sleep(1.1); same(os.stat("d").st_nlink, 3)
                """);
    }

    @Test
    void symlinksHoldAnyTarget() {
        python("""
                for target in (b"file", b"/absolute/none", b"\\xff\\xfe", b"t" * 4095, b"../up"):
                    os.symlink(target, b"link"); same(os.readlink(b"link"), target)
                    s = os.lstat(b"link"); assert stat.S_ISLNK(s.st_mode); same(s.st_size, len(target))
                    os.unlink(b"link")
                fails(errno.ENAMETOOLONG, os.symlink, b"t" * 4096, b"link")
                fails(errno.ENOENT, os.symlink, b"", b"link")
                put("file", b"content"); os.symlink("file", "link"); same(get("link"), b"content")
                os.symlink("loop", "loop"); fails(errno.ELOOP, os.stat, "loop")
                fails(errno.ELOOP, os.open, "link", os.O_RDONLY | os.O_NOFOLLOW)
                os.link("link", "hard", follow_symlinks=False); same(os.readlink("hard"), "file")
                """);
    }

    @Test
    void specialFilesWork() {
        python("""
                os.mkfifo("fifo", 0o640)
                s = os.stat("fifo"); assert stat.S_ISFIFO(s.st_mode); same(stat.S_IMODE(s.st_mode), 0o640)
                child = os.fork()
                if child == 0:
                    w = os.open("fifo", os.O_WRONLY); os.write(w, b"through"); os._exit(0)
                r = os.open("fifo", os.O_RDONLY); same(read_all(r), b"through"); os.waitpid(child, 0)
                server = socket.socket(socket.AF_UNIX); server.bind("socket"); server.listen()
                assert stat.S_ISSOCK(os.stat("socket").st_mode)
                client = socket.socket(socket.AF_UNIX); client.connect("socket")
                os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
                s = os.stat("null"); assert stat.S_ISCHR(s.st_mode); same(s.st_rdev, os.makedev(1, 3))
                os.mknod("disk", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
                s = os.stat("disk"); assert stat.S_ISBLK(s.st_mode); same(s.st_rdev, os.makedev(259, 70000))
                os.mknod("plain", stat.S_IFREG | 0o644); same(get("plain"), b"")
                """);
    }

    @Test
    void listingsAreStableWhileTheDirectoryChanges() {
        python("""
                os.mkdir("d")
                stable = set("stable-%05d" % i for i in range(10000))
                for name in stable: os.close(os.open("d/" + name, os.O_CREAT | os.O_WRONLY))
                for i in range(500): put("d/old-%d" % i)
                seen = []; i = 0
                with os.scandir("d") as entries:
                    for entry in entries:
                        seen.append(entry.name); i += 1
                        if i % 20 == 0:
                            put("d/new-%d" % i)
                            if i // 20 <= 500: os.unlink("d/old-%d" % (i // 20 - 1))
                            put("d/replacing"); os.rename("d/replacing", "d/stable-%05d" % (i % 10000))
                same(len(seen), len(set(seen)))
                same(set(n for n in seen if n.startswith("stable")), stable)
                assert "." not in os.listdir("d")
                f = os.open("d", os.O_RDONLY)
                same(len(os.listdir(f)), len(os.listdir("d")))
                put("d/zz"); assert "zz" in os.listdir(f)
                """);
    }

    @Test
    void listingsShowKindsInodesAndTheWayUp() {
        python("""
                put("file"); os.mkdir("dir"); os.symlink("x", "link"); os.mkfifo("fifo")
                with os.scandir(".") as entries:
                    for e in entries:
                        same(e.inode(), os.lstat(e.name).st_ino)
                        same((e.is_dir(follow_symlinks=False), e.is_symlink()), (e.name == "dir", e.name == "link"))
                raw = subprocess.run(["ls", "-ai1"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
                numbers = dict(zip(raw[1::2], map(int, raw[0::2])))
                same(numbers["."], os.stat(".").st_ino)
                os.chdir("dir")
                raw = subprocess.run(["ls", "-ai1"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
                same(int(raw[raw.index("..") - 1]), os.stat("..").st_ino)
                """);
    }

    // ------------------------------------------------------------------------------------------------ content

    @Test
    void openFlagsMeanWhatTheySay() {
        python("""
                f = os.open("x", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640); same(stat.S_IMODE(os.fstat(f).st_mode), 0o640)
                os.write(f, b"0123456789"); fails(errno.EBADF, os.read, f, 1); os.close(f)
                f = os.open("x", os.O_RDONLY); fails(errno.EBADF, os.write, f, b"x"); os.close(f)
                f = os.open("x", os.O_WRONLY | os.O_APPEND); g = os.open("x", os.O_WRONLY | os.O_APPEND)
                for i in range(100):
                    os.write(f, b"f" * 100); os.write(g, b"g" * 100)
                os.lseek(f, 0, os.SEEK_SET); os.write(f, b"end"); os.pwrite(f, b"END", 0); os.close(f); os.close(g)
                content = get("x"); same(content[:10], b"0123456789"); same(len(content), 10 + 20000 + 6); same(content[-6:], b"endEND")
                f = os.open("x", os.O_RDWR | os.O_TRUNC); same(os.fstat(f).st_size, 0); os.write(f, b"new"); os.close(f)
                same(get("x"), b"new"); same(os.stat("x").st_size, 3)
                f = os.open("x", os.O_RDONLY | os.O_CREAT); same(os.read(f, 9), b"new")
                f = os.open("y", os.O_RDWR | os.O_CREAT, 0o000); os.write(f, b"mine"); same(os.pread(f, 9, 0), b"mine")
                f = os.open("x", os.O_RDWR | os.O_SYNC); os.write(f, b"SYN"); os.fsync(f); os.fdatasync(f); same(get("x"), b"SYN")
                d = os.open(".", os.O_RDONLY); os.fsync(d)
                """);
    }

    @Test
    void holesReadAsZeros() {
        python("""
                f = os.open("x", os.O_RDWR | os.O_CREAT)
                os.pwrite(f, b"tail", 1 << 20); same(os.fstat(f).st_size, (1 << 20) + 4)
                same(os.pread(f, 1 << 20, 0), bytes(1 << 20)); same(os.pread(f, 10, 1 << 20), b"tail")
                same(os.pread(f, 10, 1 << 21), b"")
                big = 20 << 40
                os.pwrite(f, b"far", big); same(os.fstat(f).st_size, big + 3); same(os.pread(f, 5, big - 2), b"\\0\\0far")
                assert os.stat("x").st_blocks * 512 < 1 << 24
                same(os.lseek(f, 0, os.SEEK_HOLE), 0)
                data = os.lseek(f, 0, os.SEEK_DATA); assert 0 < data <= 1 << 20
                assert (1 << 20) + 4 <= os.lseek(f, data, os.SEEK_HOLE) < big
                assert (1 << 21) < os.lseek(f, 1 << 21, os.SEEK_DATA) <= big
                fails(errno.ENXIO, os.lseek, f, big + 3, os.SEEK_DATA)
                fails(errno.ENXIO, os.lseek, f, big + 3, os.SEEK_HOLE)
                """);
    }

    @Test
    void truncateCutsAndExtends() {
        python("""
                put("x", b"0123456789" * 10000); os.truncate("x", 15); same(get("x"), b"012345678901234")
                os.truncate("x", 200000); same(get("x"), b"012345678901234" + bytes(199985))
                f = os.open("x", os.O_RDWR); os.ftruncate(f, 5); same(os.fstat(f).st_size, 5); os.ftruncate(f, 10)
                same(os.pread(f, 20, 0), b"01234\\0\\0\\0\\0\\0")
                before = os.stat("x").st_mtime_ns; time.sleep(0.02); os.ftruncate(f, 10); os.fsync(f)
                os.truncate("x", 0); same(get("x"), b"")
                os.truncate("x", 1 << 44); same(os.stat("x").st_size, 1 << 44)
                fails(errno.EINVAL, os.truncate, "x", -1)
                """);
    }

    @Test
    void unlinkedFilesLiveUntilClosed() {
        python("""
                os.mkdir("d")
                f = os.open("d/x", os.O_RDWR | os.O_CREAT); os.write(f, b"content")
                os.unlink("d/x"); same(os.listdir("d"), []); fails(errno.ENOENT, os.stat, "d/x")
                time.sleep(1.1)
                s = os.fstat(f); same((s.st_nlink, s.st_size), (0, 7))
                os.write(f, b" more"); same(os.pread(f, 99, 0), b"content more")
                os.ftruncate(f, 3); os.fchmod(f, 0o600); os.fchown(f, 1, 2); os.utime(f, ns=(5, 7)); os.setxattr(f, "user.k", b"v")
                time.sleep(1.1)
                s = os.fstat(f); same((s.st_size, stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns), (3, 0o600, 1, 2, 7))
                same(os.getxattr(f, "user.k"), b"v"); os.fsync(f)
                put("d/x", b"another"); same(get("d/x"), b"another"); same(os.pread(f, 9, 0), b"con")
                g = os.open("/proc/self/fd/%d" % f, os.O_RDONLY); same(os.read(g, 9), b"con")
                os.close(g); os.unlink("d/x"); os.rmdir("d"); same(os.pread(f, 9, 0), b"con")
                time.sleep(1.1); same(os.fstat(f).st_nlink, 0); os.ftruncate(f, 1); same(os.fstat(f).st_size, 1)
                os.fchmod(f, 0o4711); os.fchown(f, 3, 4); os.fchmod(f, 0o640); os.utime(f, ns=(1234567890123456789, 11))
                os.setxattr(f, "user.big", b"b" * 60000); os.removexattr(f, "user.k"); fails(errno.ENODATA, os.getxattr, f, "user.k")
                fails(errno.EEXIST, os.setxattr, f, "user.big", b"", os.XATTR_CREATE); fails(errno.ENODATA, os.removexattr, f, "user.k")
                fails(errno.EOPNOTSUPP, os.setxattr, f, "system.k", b"v")
                time.sleep(1.1); s = os.fstat(f)
                same((stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, s.st_atime_ns, s.st_mtime_ns), (0o640, 3, 4, 1234567890123456789, 11))
                same(os.listxattr(f), ["user.big"]); same(os.getxattr(f, "user.big"), b"b" * 60000); os.close(f)
                f = os.open("a", os.O_RDWR | os.O_CREAT); os.write(f, b"a"); os.link("a", "b"); os.unlink("a")
                time.sleep(1.1); same(os.fstat(f).st_nlink, 1); same(get("b"), b"a")
                """);
    }

    @Test
    void filesWithoutANameLiveUntilClosedOrAreGivenOne() {
        String link = """
                def link(f, name, dir=-100):
                    if libc.linkat(f, b"", dir, name, 0x1000) != 0: # AT_EMPTY_PATH
                        raise OSError(ctypes.get_errno(), "linkat")
                """;
        if (!namesInodes()) {
            python("fails(errno.EOPNOTSUPP, os.open, '.', os.O_TMPFILE | os.O_RDWR, 0o600)");
            return;
        }
        python(link + """
                AT_SYMLINK_FOLLOW = 0x400
                os.mkdir("d"); before = os.stat("d")
                f = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o640)
                s = os.fstat(f); same(s.st_nlink, 0); same(stat.S_IMODE(s.st_mode), 0o640); same(s.st_size, 0)
                same(os.listdir("d"), []); same(os.stat("d").st_mtime_ns, before.st_mtime_ns)
                content = os.urandom(300000); os.write(f, content); os.fsync(f); same(os.fstat(f).st_size, 300000)
                other = os.open("/proc/self/fd/%d" % f, os.O_RDONLY); same(read_all(other), content); os.close(other)
                os.fchmod(f, 0o604); os.setxattr(f, "user.k", b"v"); os.ftruncate(f, 299999)
                link(f, b"named"); same(os.fstat(f).st_nlink, 1); same(get("named"), content[:299999])
                same(stat.S_IMODE(os.stat("named").st_mode), 0o604); same(os.getxattr("named", "user.k"), b"v")
                fails(errno.EEXIST, link, f, b"named")
                os.write(f, b"more"); same(os.stat("named").st_size, 300004)
                link(f, b"d/again"); same(os.stat("named").st_nlink, 2)
                os.unlink("named"); os.unlink("d/again"); same(os.fstat(f).st_nlink, 0)
                fails(errno.ENOENT, link, f, b"third"); os.close(f)
                f = os.open(".", os.O_TMPFILE | os.O_WRONLY, 0o600); os.write(f, b"x")
                same(libc.linkat(-100, b"/proc/self/fd/%d" % f, -100, b"second", AT_SYMLINK_FOLLOW), 0); os.close(f); same(get("second"), b"x")
                f = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600); os.write(f, b"x")
                fails(errno.ENOENT, link, f, b"third"); os.close(f)
                put("u", b"u"); f = os.open("u", os.O_RDWR); os.unlink("u"); fails(errno.ENOENT, link, f, b"third"); os.close(f)
                fails(errno.EINVAL, os.open, ".", os.O_TMPFILE | os.O_RDONLY)
                fails(errno.ENOTDIR, os.open, "second", os.O_TMPFILE | os.O_RDWR, 0o600)
                os.chmod("d", 0o2775); os.chown("d", 0, 4321)
                f = os.open("d", os.O_TMPFILE | os.O_RDWR, 0o600); same(os.fstat(f).st_gid, 4321); os.close(f)
                files = [os.open("d", os.O_TMPFILE | os.O_RDWR, 0o600) for i in range(50)]
                for i, f in enumerate(files): os.pwrite(f, b"%d" % i, 5000)
                for i, f in enumerate(files): same(os.pread(f, 10, 5000), b"%d" % i); os.close(f)
                same(sorted(os.listdir(".")), ["d", "second"]); same(os.listdir("d"), [])
                """);
        pythonAsNobody("""
                fails(errno.EACCES, os.open, ".", os.O_TMPFILE | os.O_RDWR, 0o600)
                """);
    }

    @Test
    void removedDirectoriesAnswerUntilClosed() {
        python("""
                os.mkdir("d"); put("d/x"); f = os.open("d", os.O_RDONLY)
                same(os.fstat(f).st_ino, os.stat("d").st_ino)
                os.unlink("d/x"); os.rmdir("d"); os.mkdir("d"); put("d/y")
                time.sleep(1.1); same(os.fstat(f).st_nlink, 0); same(os.listdir(f), [])
                fails(errno.ENOENT, os.open, "new", os.O_CREAT | os.O_RDWR, dir_fd=f)
                os.fchmod(f, 0o700); os.fchown(f, 5, 6); os.utime(f, ns=(8, 9)); os.setxattr(f, "user.k", b"v"); os.fsync(f)
                time.sleep(1.1); s = os.fstat(f); same(os.getxattr(f, "user.k"), b"v")
                same((stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, s.st_mtime_ns), (0o700, 5, 6, 9))
                os.close(f); same(os.listdir("d"), ["y"])
                os.mkdir("a"); os.mkdir("b"); f = os.open("b", os.O_RDONLY); os.rename("a", "b")
                time.sleep(1.1); same(os.fstat(f).st_nlink, 0); os.fsync(f); os.close(f)
                """);
    }

    @Test
    void aWriteByAnotherUserTakesTheSetIdBitsOfEveryName() {
        python("""
                put("program", b"#!"); os.link("program", "second"); put("unlinked"); os.chmod("program", 0o777); os.chmod("unlinked", 0o777)
                def as_nobody(call):
                    pid = os.fork()
                    if pid == 0:
                        os.setgroups([]); os.setgid(65534); os.setuid(65534)
                        call(); os._exit(0)
                    same(os.waitpid(pid, 0)[1], 0)
                def mode(name):
                    return stat.S_IMODE(os.stat(name).st_mode)
                f = os.open("second", os.O_RDWR); os.stat("second"); os.chmod("program", 0o6777)
                as_nobody(lambda: os.pwrite(f, b"x", 0)); time.sleep(1.1); same((mode("program"), mode("second")), (0o777, 0o777))
                os.chmod("program", 0o6777); as_nobody(lambda: os.ftruncate(f, 1)); time.sleep(1.1); same(mode("second"), 0o777)
                os.chmod("program", 0o6777); os.pwrite(f, b"x", 0); time.sleep(1.1); same(mode("second"), 0o6777)
                os.chmod("program", 0o2767); as_nobody(lambda: os.pwrite(f, b"x", 0)); time.sleep(1.1); same(mode("second"), 0o2767)
                g = os.open("unlinked", os.O_RDWR); os.unlink("unlinked"); os.fchmod(g, 0o6777)
                as_nobody(lambda: os.pwrite(g, b"x", 0)); same(stat.S_IMODE(os.fstat(g).st_mode), 0o777)
                """);
    }

    @Test
    void replacedFilesLiveUntilClosed() {
        python("""
                put("old", b"old"); f = os.open("old", os.O_RDWR)
                put("new", b"new"); os.rename("new", "old")
                same(os.listdir("."), ["old"]); same(get("old"), b"new")
                time.sleep(1.1); same(os.fstat(f).st_nlink, 0); same(os.read(f, 9), b"old"); os.write(f, b"er")
                same(os.pread(f, 9, 0), b"older"); same(get("old"), b"new"); os.close(f)
                put("x"); f = os.open("x", os.O_RDWR); os.mkdir("dir")
                fails(errno.ENOTDIR, os.rename, "dir", "x"); os.write(f, b"still"); same(get("x"), b"still")
                os.unlink("x"); fails(errno.ENOENT, os.stat, "x")
                """);
    }

    @Test
    void fallocateReservesPunchesAndZeroes() {
        python("""
                f = os.open("x", os.O_RDWR | os.O_CREAT)
                os.posix_fallocate(f, 0, 300000); same(os.fstat(f).st_size, 300000); same(os.pread(f, 300000, 0), bytes(300000))
                fallocate(f, 1, 0, 900000); same(os.fstat(f).st_size, 300000)
                os.pwrite(f, b"x" * 300000, 0)
                fallocate(f, 3, 1000, 200000)
                same(os.pread(f, 300000, 0), b"x" * 1000 + bytes(200000) + b"x" * 99000)
                fallocate(f, 16, 290000, 20000); same(os.fstat(f).st_size, 310000)
                same(os.pread(f, 99999, 280000), b"x" * 10000 + bytes(20000))
                fallocate(f, 17, 0, 500); same(os.pread(f, 501, 0), bytes(500) + b"x")
                fails(errno.EOPNOTSUPP, fallocate, f, 8, 0, 4096)
                fails(errno.EINVAL, fallocate, f, 0, 0, 0)
                g = os.open("x", os.O_RDONLY); fails(errno.EBADF, fallocate, g, 0, 0, 10)
                """);
    }

    @Test
    void mappedFilesShareWithReadersAndWriters() {
        python("""
                size = 1 << 20
                f = os.open("x", os.O_RDWR | os.O_CREAT); os.ftruncate(f, size)
                m = mmap.mmap(f, size); m[0:5] = b"first"; m[size - 4:] = b"last"
                same(os.pread(f, 5, 0), b"first")
                child = os.fork()
                if child == 0:
                    n = mmap.mmap(os.open("x", os.O_RDWR), size); n[100:105] = b"child"; n.flush(); os._exit(0)
                os.waitpid(child, 0); same(m[100:105], b"child")
                os.pwrite(f, b"write", 200); same(m[200:205], b"write")
                m.flush(); m.close(); os.close(f)
                content = get("x"); same(content[:5], b"first"); same(content[-4:], b"last"); same(content[100:105], b"child")
                m = mmap.mmap(os.open("x", os.O_RDONLY), size, prot=mmap.PROT_READ); same(m[200:205], b"write")
                a = os.open("x", os.O_RDWR | os.O_APPEND); m = mmap.mmap(a, size); m[8192:8195] = b"mid"; m.flush(); os.fsync(a)
                m.close(); os.close(a); same(os.stat("x").st_size, size); same(get("x")[8192:8195], b"mid")
                """);
    }

    @Test
    void directIoReadsAndWrites() {
        python("""
                f = os.open("x", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
                page = mmap.mmap(-1, 8192); page.write(os.urandom(8192))
                same(os.pwritev(f, [page], 0), 8192); same(os.pwritev(f, [page], 16384), 8192)
                back = mmap.mmap(-1, 32768); same(os.preadv(f, [back], 0), 24576)
                same(back[:24576], page[:] + bytes(8192) + page[:]); same(get("x"), back[:24576])
                """);
    }

    @Test
    void manyThreadsDoNotDisturbOneAnother() {
        python("""
                failures = []
                def work(n):
                    try:
                        mine = "t%d" % n; os.mkdir(mine)
                        for i in range(60):
                            name = "%s/%d" % (mine, i); put(name, b"%d" % i * 1000); same(get(name), b"%d" % i * 1000)
                            os.rename(name, name + "r"); os.link(name + "r", name); os.unlink(name + "r")
                            put("shared-%d" % (i % 3), b"s" * 100)
                            try: os.rename("shared-%d" % (i % 3), "shared-other")
                            except FileNotFoundError: pass
                        same(len(os.listdir(mine)), 60)
                    except BaseException as e: failures.append(repr(e))
                threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
                for t in threads: t.start()
                for t in threads: t.join()
                same(failures, [])
                """);
    }

    // ------------------------------------------------------------------------------------------------ attributes

    @Test
    void timesHaveNanoseconds() {
        python("""
                put("x")
                os.utime("x", ns=(1234567890123456789, 1987654321987654321)); s = os.stat("x")
                same((s.st_atime_ns, s.st_mtime_ns), (1234567890123456789, 1987654321987654321))
                os.utime("x", ns=(-1500000001, -1)); s = os.stat("x"); same((s.st_atime_ns, s.st_mtime_ns), (-1500000001, -1))
                class Timespec(ctypes.Structure): _fields_ = [("s", ctypes.c_long), ("n", ctypes.c_long)]
                def utimensat(a, m):
                    same(libc.utimensat(-100, b"x", (Timespec * 2)(Timespec(*a), Timespec(*m)), 0), 0)
                NOW, OMIT = (0, 0x3fffffff), (0, 0x3ffffffe)
                utimensat((5, 6), OMIT); s = os.stat("x"); same((s.st_atime_ns, s.st_mtime_ns), (5000000006, -1))
                utimensat(OMIT, (7, 8)); s = os.stat("x"); same((s.st_atime_ns, s.st_mtime_ns), (5000000006, 7000000008))
                utimensat(OMIT, NOW); s = os.stat("x"); same(s.st_atime_ns, 5000000006); assert abs(time.time() - s.st_mtime) < 5
                before = os.stat("x").st_ctime_ns; time.sleep(0.02); os.chmod("x", 0o600); assert os.stat("x").st_ctime_ns > before
                os.mkdir("d"); os.utime("d", ns=(1, 1)); put("d/x"); time.sleep(1.1); assert abs(time.time() - os.stat("d").st_mtime) < 9
                os.utime("x", ns=(1, 1)); f = os.open("x", os.O_WRONLY); os.write(f, b"x"); os.close(f); time.sleep(1.1)
                assert abs(time.time() - os.stat("x").st_mtime) < 9
                os.symlink("x", "l"); os.utime("l", ns=(3, 4), follow_symlinks=False); same(os.lstat("l").st_mtime_ns, 4)
                """);
    }

    @Test
    void theTimeOfBirthIsKept() {
        python("""
                def birth(name):
                    return subprocess.check_output(["stat", "-c", "%W", name], text=True).strip()
                """ + (namesInodes() ? """
                now = time.time(); os.umask(0)
                put("f", b"content"); os.mkdir("d"); os.symlink("f", "l"); os.mknod("n", stat.S_IFCHR | 0o600, os.makedev(1, 3))
                names = ["f", "d", "l", "n"]
                born = [birth(name) for name in names]
                for b in born: assert abs(int(b) - now) < 30, b
                for n in names[:2]: os.utime(n, (1, 1)); os.chmod(n, 0o640)
                put("f", b"changed"); os.rename("f", "g"); os.link("g", "f")
                same([birth(name) for name in names], born); same(birth("g"), born[0]); same(get("f"), b"changed")
                for name in names:
                    plain = os.lstat(name); shown = subprocess.check_output(["stat", "-c", "%i %h %s %b %u %Y %Z %f", name], text=True)
                    same(shown.split(), ["%d" % n for n in (plain.st_ino, plain.st_nlink, plain.st_size, plain.st_blocks,
                        plain.st_uid, plain.st_mtime, plain.st_ctime)] + ["%x" % plain.st_mode])
                same(subprocess.check_output(["stat", "-c", "%t %T", "n"], text=True).split(), ["1", "3"])
                """ : """
                put("f"); same(birth("f"), "0")
                """));
    }

    @Test
    void modesAndOwnersAreKept() {
        python("""
                put("x", mode=0o666); same(stat.S_IMODE(os.stat("x").st_mode), 0o644)
                for mode in (0o000, 0o777, 0o4755, 0o2711, 0o1600):
                    os.chmod("x", mode); same(stat.S_IMODE(os.stat("x").st_mode), mode)
                os.chown("x", 1000, 2000); s = os.stat("x"); same((s.st_uid, s.st_gid), (1000, 2000))
                os.chown("x", -1, 3000); s = os.stat("x"); same((s.st_uid, s.st_gid), (1000, 3000))
                os.chown("x", 4294967294, -1); same(os.stat("x").st_uid, 4294967294)
                os.mkdir("d", 0o777); same(stat.S_IMODE(os.stat("d").st_mode), 0o755)
                os.symlink("x", "l"); os.chown("l", 7, 8, follow_symlinks=False); same(os.lstat("l").st_uid, 7)
                """);
    }

    @Test
    void setGroupIdDirectoriesHandDownTheirGroup() {
        python("""
                os.mkdir("d"); os.chown("d", 0, 4000); os.chmod("d", 0o2775)
                put("d/f"); os.mkdir("d/s"); os.symlink("x", "d/l"); os.mkfifo("d/p")
                for name in ("f", "s", "l", "p"): same(os.lstat("d/" + name).st_gid, 4000)
                assert os.stat("d/s").st_mode & stat.S_ISGID; assert not os.stat("d/f").st_mode & stat.S_ISGID
                """);
    }

    @Test
    void otherUsersAreHeldToPermissions() {
        python("""
                put("public", b"public"); put("secret", b"secret", 0o600); os.mkdir("closed", 0o700); put("closed/x")
                os.mkdir("open"); os.chmod("open", 0o777); os.mkdir("sticky"); os.chmod("sticky", 0o1777); put("sticky/root")
                os.mkdir("noexec"); os.chmod("noexec", 0o777); put("setuid", b"#!", 0o755); os.chmod("setuid", 0o6777)
                """);
        pythonAsNobody("""
                same(get("public"), b"public")
                fails(errno.EACCES, os.open, "public", os.O_RDWR); fails(errno.EACCES, os.open, "secret", os.O_RDONLY)
                fails(errno.EACCES, os.open, "public", os.O_RDONLY | os.O_TRUNC)
                fails(errno.EACCES, os.stat, "closed/x"); fails(errno.EACCES, os.listdir, "closed")
                fails(errno.EACCES, put, "new"); fails(errno.EACCES, os.unlink, "public"); fails(errno.EACCES, os.mkdir, "new")
                fails(errno.EPERM, os.chmod, "public", 0o777); fails(errno.EPERM, os.chown, "public", 65534, -1)
                fails(errno.EACCES, os.rename, "public", "open/public"); fails(errno.EPERM, os.utime, "public", ns=(1, 1))
                fails(errno.EACCES, os.truncate, "public", 0); fails(errno.EPERM, os.mknod, "open/dev", stat.S_IFCHR | 0o600, 259)
                put("open/mine", b"mine"); s = os.stat("open/mine"); same((s.st_uid, s.st_gid), (65534, 65534))
                fails(errno.EPERM, os.chown, "open/mine", 0, -1)
                fails(errno.EPERM, os.unlink, "sticky/root"); fails(errno.EPERM, os.rename, "sticky/root", "sticky/mine")
                put("sticky/own"); os.unlink("sticky/own")
                f = os.open("setuid", os.O_WRONLY); os.write(f, b"!"); os.close(f)
                same(os.stat("setuid").st_mode & (stat.S_ISUID | stat.S_ISGID), 0)
                fails(errno.EACCES, os.setxattr, "public", "user.k", b"v")
                """);
    }

    @Test
    void extendedAttributesAreKept() {
        python("""
                put("x"); os.mkdir("d"); os.symlink("x", "l")
                for name in ("x", "d"):
                    same(os.listxattr(name), [])
                    fails(errno.ENODATA, os.getxattr, name, "user.none"); fails(errno.ENODATA, os.removexattr, name, "user.none")
                    os.setxattr(name, "user.a", b""); os.setxattr(name, "user.b", bytes(range(256)) * 16); os.setxattr(name, "trusted.t", b"t")
                    same(os.getxattr(name, "user.a"), b""); same(os.getxattr(name, "user.b"), bytes(range(256)) * 16)
                    same(sorted(os.listxattr(name)), ["trusted.t", "user.a", "user.b"])
                    fails(errno.EEXIST, os.setxattr, name, "user.a", b"2", os.XATTR_CREATE)
                    fails(errno.ENODATA, os.setxattr, name, "user.c", b"2", os.XATTR_REPLACE)
                    os.setxattr(name, "user.a", b"2", os.XATTR_REPLACE); same(os.getxattr(name, "user.a"), b"2")
                    os.removexattr(name, "user.a"); same(sorted(os.listxattr(name)), ["trusted.t", "user.b"])
                    same(libc.getxattr(name.encode(), b"user.b", ctypes.create_string_buffer(10), 10), -1); same(ctypes.get_errno(), errno.ERANGE)
                    same(libc.getxattr(name.encode(), b"user.b", None, 0), 4096)
                os.setxattr("x", "user.big", b"v" * 60000); same(len(os.getxattr("x", "user.big")), 60000)
                fails(errno.E2BIG, os.setxattr, "x", "user.big", b"v" * 70000)
                fails(errno.EOPNOTSUPP, os.setxattr, "x", "unknown.k", b"v"); fails(errno.EOPNOTSUPP, os.setxattr, "x", "system.k", b"v")
                fails(errno.EINVAL, os.setxattr, "x", "user.", b"v")
                fails(errno.EPERM, os.setxattr, "l", "user.k", b"v", follow_symlinks=False)
                capability = struct.pack("<IIIII", 0x02000000, 1 << 10, 0, 0, 0)
                fails(errno.EOPNOTSUPP, os.getxattr, "x", "security.selinux"); fails(errno.ENODATA, os.removexattr, "x", "security.selinux")
                os.setxattr("x", "security.selinux", b"label"); same(os.getxattr("x", "security.selinux"), b"label"); os.removexattr("x", "security.selinux")
                os.setxattr("x", "security.capability", capability); same(os.getxattr("x", "security.capability"), capability)
                f = os.open("x", os.O_WRONLY); os.write(f, b"x"); os.close(f); fails(errno.ENODATA, os.getxattr, "x", "security.capability")
                """);
    }

    @Test
    void statfsCountsSpace() {
        python("""
                s = os.statvfs("."); assert s.f_blocks > 0 and s.f_bavail <= s.f_bfree <= s.f_blocks; same(s.f_namemax, 255); assert s.f_bsize >= 512
                put("x", b"x" * (8 << 20)); f = os.open("x", os.O_RDWR); os.fsync(f)
                assert os.stat("x").st_blocks * 512 >= 8 << 20
                same(os.statvfs("x").f_blocks, s.f_blocks)
                """);
    }

    // ------------------------------------------------------------------------------------------------ locks

    @Test
    void locksExcludeOtherProcesses() {
        python("""
                put("x", b"0123456789")
                def in_child(program):
                    return subprocess.run([sys.executable, "-c", "import fcntl, os\\nf = os.open('x', os.O_RDWR)\\n" + program]).returncode
                f = os.open("x", os.O_RDWR)
                fcntl.flock(f, fcntl.LOCK_EX)
                same(in_child("fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"), 1)
                fcntl.flock(f, fcntl.LOCK_SH); same(in_child("fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)"), 0)
                fcntl.flock(f, fcntl.LOCK_UN); same(in_child("fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"), 0)
                fcntl.lockf(f, fcntl.LOCK_EX, 4, 2)
                same(in_child("fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 0)"), 0)
                same(in_child("fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 2, 4)"), 1)
                waiting = subprocess.Popen([sys.executable, "-c", "import fcntl, os\\nf = os.open('x', os.O_RDWR)\\nfcntl.lockf(f, fcntl.LOCK_EX)\\nos.write(f, b'!')"])
                same(get("x"), b"0123456789"); fcntl.lockf(f, fcntl.LOCK_UN, 4, 2); same(waiting.wait(30), 0); same(get("x")[:1], b"!")
                fcntl.lockf(f, fcntl.LOCK_EX)
                stuck = subprocess.Popen([sys.executable, "-c", "import fcntl, os\\nf = os.open('x', os.O_RDWR)\\nprint(flush=True)\\nfcntl.lockf(f, fcntl.LOCK_EX)"], stdout=subprocess.PIPE)
                stuck.stdout.readline(); stuck.terminate(); same(stuck.wait(30), -signal.SIGTERM)
                """);
    }

    @Test
    void coreutilsCopyTreesWithoutDifference() {
        python("""
                os.makedirs("from/a/b"); os.mkdir("to")
                for i in range(50): put("from/a/f%d" % i, os.urandom(i * 997))
                os.link("from/a/f1", "from/a/b/hard"); os.symlink("../f2", "from/a/b/soft"); os.mkfifo("from/a/p")
                os.setxattr("from/a/f3", "user.k", b"v"); os.utime("from/a/f4", ns=(1, 1000000007)); os.chmod("from/a/f5", 0o4711)
                f = os.open("from/a/sparse", os.O_RDWR | os.O_CREAT); os.pwrite(f, b"x", 50 << 20); os.close(f)
                subprocess.check_call("cp -a from/a to/a && diff -x p -r --no-dereference from/a to/a", shell=True)
                same(os.getxattr("to/a/f3", "user.k"), b"v"); same(os.stat("to/a/f4").st_mtime_ns, 1000000007)
                same(stat.S_IMODE(os.stat("to/a/f5").st_mode), 0o4711); assert os.stat("to/a/sparse").st_blocks < 4096
                same(os.stat("to/a/b/hard").st_ino, os.stat("to/a/f1").st_ino)
                """);
    }
}
