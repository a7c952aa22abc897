package blocktree.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import blocktree.tree.MemoryFileSystem;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Access control lists of a tree with several mounts: {@code one} and {@code two} through libfuse 3, {@code paths} through libfuse 2, which enforces none. */
class SharedAccessListsTest {
    @TempDir
    Path directory = Path.of("");

    private final List<FuseMount> mounts = new ArrayList<>();

    @BeforeEach
    void mount() throws Exception {
        Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxr-xr-x"));
        MemoryFileSystem fileSystem = new MemoryFileSystem();
        for (String name : List.of("one", "two", "paths")) {
            MountOptions options = MountOptions.defaults()
                    .withAllowOther(true)
                    .withTimeouts(Duration.ZERO, Duration.ZERO)
                    .withAccessLists(!name.equals("paths"))
                    .withLibrary(name.equals("paths") ? Library.LIBFUSE2 : Library.LIBFUSE3);
            mounts.add(FuseMount.mount(fileSystem, Files.createDirectory(directory.resolve(name)), options));
        }
    }

    @AfterEach
    void unmount() throws Exception {
        for (FuseMount mount : mounts) {
            mount.unmount(Duration.ofSeconds(10));
        }
    }

    private void python(String program) throws IOException, InterruptedException {
        Process process = new ProcessBuilder("/usr/bin/python3", "-c", MountContractTest.PRELUDE + program)
                .directory(directory.toFile())
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
    }

    @Test
    void theOtherMountsKernelDropsTheListsThatItHas() throws Exception {
        python("""
                put("one/f", b"content"); os.chown("one/f", 1000, 1000); os.mkdir("one/d"); os.chmod("one/f", 0o640)
                reads = lambda: as_user(2000, [2000], lambda: os.close(os.open("two/f", os.O_RDONLY)) or 0)
                enters = lambda: as_user(2000, [2000], lambda: 0 if os.access("two/d", os.X_OK) else 200)
                for i in range(30):
                    same(reads(), 200)
                    os.setxattr("one/f", ACCESS, acl(6, {2000: 4}, 4, {}, 4, 0)); same(reads(), 0); same(os.getxattr("two/f", ACCESS), acl(6, {2000: 4}, 4, {}, 4, 0))
                    os.setxattr("one/f", ACCESS, acl(6, {2000: 2}, 4, {}, 6, 0)); same(reads(), 200)
                    os.setxattr("one/f", ACCESS, acl(6, {2000: 6}, 4, {}, 6, 0)); same(reads(), 0)
                    os.chmod("one/f", 0o620); same(reads(), 200); same(os.getxattr("two/f", ACCESS), acl(6, {2000: 6}, 4, {}, 2, 0))
                    os.removexattr("one/f", ACCESS); os.chmod("one/f", 0o644); same(reads(), 0); os.chmod("one/f", 0o640)
                    os.setxattr("one/d", ACCESS, acl(7, {2000: 0}, 7, {}, 7, 7)); same(enters(), 200)
                    os.removexattr("one/d", ACCESS); os.chmod("one/d", 0o755); same(enters(), 0)
                """);
    }

    @Test
    void theKernelAsksOnceForTheListOfAnInode() throws Exception {
        python("""
                os.mkdir("one/d")
                for i in range(20): put("one/d/%d" % i, b"", 0o644)
                """);
        long asked = getxattrCount();
        python("""
                os.chdir("one/d") # the kernel keeps no list of the root of a mount
                def opens():
                    for i in range(200): os.close(os.open("%d" % (i % 20), os.O_RDONLY))
                    return 0
                same(as_user(2000, [2000], opens), 0)
                """);
        long more = getxattrCount() - asked;
        assertTrue(more >= 20 && more < 30, () -> "asked " + more + " times");
    }

    private long getxattrCount() {
        MountStatistics.Count count = mounts.get(0).stats().operations().get(Operation.GETXATTR);
        return count == null ? 0 : count.count();
    }

    @Test
    void aMountThatEnforcesNoListsGivesNobodyMore() throws Exception {
        python("""
                put("one/f", b"content"); os.chown("one/f", 1000, 1000)
                def rights(name):
                    result = 0
                    for bit, flags in ((4, os.O_RDONLY), (2, os.O_WRONLY)):
                        try: os.close(os.open(name, flags)); result |= bit
                        except PermissionError: pass
                    return result
                users = [(1000, [1000]), (2000, [2000]), (2000, [1000]), (2001, [3000]), (2001, [1000]), (2002, [2002]), (2003, [2003, 3001])]
                more = []; given = 0
                for user in (7, 4, 0):
                    for group in (6, 2):
                        for named in (6, 4, 0):
                            for mask in (7, 4):
                                for other in (7, 4, 0):
                                    for l in ((7, {2000: user}, group, {3000: named, 3001: 7}, mask, other), (6, {}, group, {3000: named}, mask, other)):
                                        os.setxattr("one/f", ACCESS, acl(*l))
                                        for uid, groups in users:
                                            enforced = as_user(uid, groups, lambda: rights("one/f")); plain = as_user(uid, groups, lambda: rights("paths/f"))
                                            given += plain != 0
                                            if plain & ~enforced: more.append((l, uid, groups, enforced, plain))
                same(more, []); assert given > 300, given
                os.setxattr("one/f", ACCESS, acl(6, {2000: 6}, 4, {}, 6, 4)); same(mode("one/f"), 0o664); same(mode("paths/f"), 0o644)
                same(os.listxattr("paths/f"), []); fails(errno.EOPNOTSUPP, os.getxattr, "paths/f", ACCESS); fails(errno.EOPNOTSUPP, os.removexattr, "paths/f", ACCESS)
                f = os.open("paths/f", os.O_RDWR); os.unlink("paths/f"); same(stat.S_IMODE(os.fstat(f).st_mode), 0o644); same(os.listxattr(f), []); os.close(f)
                """);
    }

    @Test
    void whatIsChangedThroughAMountThatEnforcesNoListsKeepsThem() throws Exception {
        python("""
                def soon(name, wanted):
                    deadline = time.monotonic() + 5
                    while os.getxattr(name, ACCESS) != wanted and time.monotonic() < deadline: time.sleep(0.01)
                    same(os.getxattr(name, ACCESS), wanted)
                os.mkdir("one/d"); os.setxattr("one/d", DEFAULT, acl(7, {2000: 6}, 5, {}, 7, 0))
                put("paths/d/f", b"", 0o666); same(os.getxattr("one/d/f", ACCESS), acl(6, {2000: 6}, 5, {}, 4, 0)); same(mode("paths/d/f"), 0o640)
                os.mkdir("paths/d/sub", 0o777); same(os.getxattr("one/d/sub", DEFAULT), os.getxattr("one/d", DEFAULT))
                os.chmod("paths/d/f", 0o600); soon("one/d/f", acl(6, {2000: 6}, 5, {}, 0, 0)); same(mode("one/d/f"), 0o600)
                os.rename("paths/d/f", "paths/d/g"); os.chown("paths/d/g", 5, 6); same(os.getxattr("one/d/g", ACCESS), acl(6, {2000: 6}, 5, {}, 0, 0))
                """);
    }
}
