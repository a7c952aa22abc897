package blocktree.fuse;

import org.junit.jupiter.api.Test;

/** What Linux programs may expect of access control lists (acl(5)) where they are enforced: part of {@link MountContractTest} there. The same programs do the same on ext4, which has another error for a list that is too long. */
public interface AccessListContractTest {
    /** As of {@link MountContractTest#python}. */
    void python(String program);

    @Test
    default void accessListsDecideWhoMayDoWhat() {
        python("""
                put("file", b"content"); os.mkdir("dir"); os.chown("file", 1000, 1000); os.chown("dir", 1000, 1000)
                def rights():
                    result = 0
                    for bit, flags in ((4, os.O_RDONLY), (2, os.O_WRONLY)):
                        try: os.close(os.open("file", flags)); result |= bit
                        except PermissionError: pass
                    return result | (1 if os.access("file", os.X_OK) else 0)
                def rights_in_directory():
                    result = 0
                    try: os.listdir("dir"); result |= 4
                    except PermissionError: pass
                    try: os.stat("dir/none")
                    except FileNotFoundError: result |= 1
                    except PermissionError: pass
                    name = "dir/%d" % os.getpid()
                    try: os.mkdir(name); os.rmdir(name); result |= 3
                    except PermissionError: pass
                    return result
                def expected(uid, groups, user, users, group, named, mask, other):
                    if uid == 1000: return user
                    if uid in users: return users[uid] & mask
                    found = [p for g, p in [(1000, group)] + list(named.items()) if g in groups]
                    if not found: return other
                    return max(sum(bit for bit in (1, 2, 4) if any(p & bit for p in found)) & mask, 0)
                lists = [(6, {2000: p}, 4, {3000: g}, m, o) for p in (7, 5, 4, 0) for g in (6, 1) for m in (7, 5, 2) for o in (4, 0)]
                lists += [(7, {2000: 0}, 7, {}, 7, 7), (7, {}, 0, {3000: 7, 3001: 0}, 7, 7), (0, {1000: 7, 2000: 7}, 5, {}, 5, 5), (7, {}, 6, {}, 4, 4)]
                users = [(1000, [1000]), (2000, [2000]), (2000, [1000, 3000]), (2001, [3000]), (2001, [1000]), (2002, [2002]), (2003, [2003, 3001]), (2003, [2003, 3000])]
                for l in lists:
                    for name in ("file", "dir"): os.setxattr(name, ACCESS, acl(*l))
                    for uid, groups in users:
                        may = expected(uid, groups, *l)
                        same((l, uid, groups, as_user(uid, groups, rights)), (l, uid, groups, may))
                        in_directory = may & 5 | (3 if may & 3 == 3 else 0)
                        same((l, uid, groups, as_user(uid, groups, rights_in_directory)), (l, uid, groups, in_directory))
                os.removexattr("file", ACCESS); os.chmod("file", 0o604); same(as_user(2000, [2000], rights), 4); same(as_user(2000, [1000], rights), 0)
                os.setxattr("file", ACCESS, acl(6, {2000: 6}, 0, {}, 6, 0)); os.chmod("file", 0o640); same(as_user(2000, [2000], rights), 4)
                os.chmod("file", 0o600); same(as_user(2000, [2000], rights), 0); os.chmod("file", 0o660); same(as_user(2000, [2000], rights), 6)
                os.rename("file", "moved"); os.link("moved", "file"); same(as_user(2000, [2000], rights), 6); os.removexattr("moved", ACCESS); same(as_user(2000, [2000], rights), 0)
                """);
    }

    @Test
    default void accessListsAndModesChangeTogether() {
        python("""
                put("f"); os.mkdir("d"); os.symlink("f", "l")
                for name in ("f", "d"):
                    os.setxattr(name, ACCESS, acl(7, {2000: 6}, 4, {}, 6, 1)); same(mode(name), 0o761); same(os.listxattr(name), [ACCESS])
                    os.chmod(name, 0o652); same(os.getxattr(name, ACCESS), acl(6, {2000: 6}, 4, {}, 5, 2)); same(mode(name), 0o652)
                    os.setxattr(name, ACCESS, acl(6, {}, 4, {}, None, 0)); same(mode(name), 0o640); same(os.listxattr(name), []); fails(errno.ENODATA, os.getxattr, name, ACCESS)
                    os.removexattr(name, ACCESS); os.removexattr(name, DEFAULT)
                    os.setxattr(name, ACCESS, acl(6, {}, 4, {}, 5, 0)); os.removexattr(name, ACCESS); same(mode(name), 0o650)
                    os.chown(name, 1000, 1000); os.chmod(name, 0o2770)
                    same(as_user(1000, [1000], lambda: os.setxattr(name, ACCESS, acl(6, {5: 6}, 4, {}, 6, 0)) or 0), 0); same(mode(name), 0o2660)
                    same(as_user(1000, [1001], lambda: os.setxattr(name, ACCESS, acl(6, {5: 7}, 4, {}, 7, 0)) or 0), 0); same(mode(name), 0o670)
                    same(as_user(1001, [1000], lambda: os.setxattr(name, ACCESS, acl(7, {}, 7, {}, 7, 7)) or 0), 201); same(mode(name), 0o670)
                    for wrong in (b"x", b"\\2\\0\\0\\0\\1", acl(6, {5: 6}, 4, {}, None, 0), acl(6, {5: 6, 0xffffffff: 6}, 4, {}, 6, 0), acl(9, {}, 4, {}, None, 0)):
                        fails(errno.EINVAL, os.setxattr, name, ACCESS, wrong)
                    fails(errno.E2BIG, os.setxattr, name, ACCESS, acl(7, {i: 6 for i in range(600)}, 4, {}, 6, 0)); same(mode(name), 0o670)
                    os.setxattr(name, ACCESS, acl(7, {i: 6 for i in range(500)}, 4, {}, 6, 0)); same(len(os.getxattr(name, ACCESS)), 4 + 8 * 504)
                fails(errno.EACCES, os.setxattr, "f", DEFAULT, acl(7, {}, 7, {}, None, 7)); fails(errno.EOPNOTSUPP, os.setxattr, "l", ACCESS, acl(7, {}, 7, {}, None, 7), follow_symlinks=False)
                """);
    }

    @Test
    default void defaultAccessListsAreInherited() {
        python("""
                os.mkdir("d"); os.setxattr("d", DEFAULT, acl(7, {2000: 7}, 5, {3000: 5}, 7, 0)); same(mode("d"), 0o755); same(os.listxattr("d"), [DEFAULT])
                os.umask(0o077)
                put("d/file", b"", 0o666); same(os.getxattr("d/file", ACCESS), acl(6, {2000: 7}, 5, {3000: 5}, 6, 0)); same(mode("d/file"), 0o660)
                os.mkdir("d/sub", 0o751); same(os.getxattr("d/sub", ACCESS), acl(7, {2000: 7}, 5, {3000: 5}, 5, 0)); same(os.getxattr("d/sub", DEFAULT), os.getxattr("d", DEFAULT))
                os.mkfifo("d/fifo", 0o622); same(mode("d/fifo"), 0o620); os.mknod("d/node", stat.S_IFREG | 0o604); same(mode("d/node"), 0o600)
                os.symlink("x", "d/link"); same(os.listxattr("d/link", follow_symlinks=False), [])
                os.mkdir("d/sub/below", 0o777); same(mode("d/sub/below"), 0o770); put("d/sub/below/file", b"", 0o444); same(mode("d/sub/below/file"), 0o440)
                os.setxattr("d", DEFAULT, acl(7, {}, 4, {}, None, 1)); put("d/plain", b"", 0o777); same(mode("d/plain"), 0o741); same(os.listxattr("d/plain"), [])
                os.removexattr("d", DEFAULT); put("d/masked", b"", 0o666); same(mode("d/masked"), 0o600); os.umask(0); put("d/open", b"", 0o666); same(mode("d/open"), 0o666)
                """);
    }
}
